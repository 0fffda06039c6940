/* Isotropic total variation of a volume (nz, ny, nx): TV(x) = sum over voxels of |D x|, with forward differences
 * (D x)_k = w_k (x[i + e_k] - x[i]), zero at the last voxel of axis k (replicated boundary), w_k = 1/spacing_k.
 * A dual field p is three such volumes, for z, y and x, with |p| <= 1 at every voxel and zero where D is.
 * One thread: LANES voxels of one row, except where a kernel says otherwise.  The voxel of a row without a neighbour
 * on its left (first) or right (last) is done outside the loop over lanes, which so has no branches. */
#include "lane.cuh"

#define TV_PLANES 16 /* planes that one thread of tv_value and tv_gap sums up, in `real` */

struct TvVector {
    real z, y, x;
};

/* D at one voxel; the steps are the distances to the next voxel along each axis, zero at the end of the axis. */
struct TvStencil {
    long long z, y;
    real wz, wy, wx;
};

static __device__ __forceinline__ TvStencil tv_stencil(int k, int j, int nz, int ny, int nx, real wz, real wy, real wx) {
    return {k + 1 < nz ? (long long)ny * nx : 0, j + 1 < ny ? nx : 0, wz, wy, wx};
}

static __device__ __forceinline__ TvVector tv_difference(const real* __restrict__ x, const TvStencil& s, long long i, int right) {
    return {s.wz * (x[i + s.z] - x[i]), s.wy * (x[i + s.y] - x[i]), s.wx * (x[i + right] - x[i])};
}

static __device__ __forceinline__ real tv_length(const TvVector& d) { return sqrt(d.z * d.z + d.y * d.y + d.x * d.x); }

/* One row of the dual point r = p + beta (p - q) that momentum points to, and the D' of it; u_k = 0 where a voxel has
 * no neighbour before it along axis k. */
struct TvDual {
    const real *pz, *py, *px, *qz, *qy, *qx;
    long long below, before;
    real wz, wy, wx, uz, uy, beta;
};

static __device__ __forceinline__ real tv_ahead(const real* __restrict__ p, const real* __restrict__ q, long long i, real beta) {
    return p[i] + beta * (p[i] - q[i]);
}

static __device__ __forceinline__ real tv_minus_adjoint(const TvDual& r, int l, int left) {
    const real z = r.wz * tv_ahead(r.pz, r.qz, l, r.beta) - r.uz * tv_ahead(r.pz, r.qz, l - r.below, r.beta);
    const real y = r.wy * tv_ahead(r.py, r.qy, l, r.beta) - r.uy * tv_ahead(r.py, r.qy, l - r.before, r.beta);
    const real x = tv_ahead(r.px, r.qx, l, r.beta);
    return z + y + r.wx * (left ? x - tv_ahead(r.px, r.qx, l - left, r.beta) : x);
}

static __device__ __forceinline__ real tv_clip(real v, real low, real high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}

/* z = clip(x - lambda D' r, low, high) with r = p + beta (p - q): the primal point of a dual one. */
extern "C" __global__ void tv_primal(const real* __restrict__ x, const real* __restrict__ p, const real* __restrict__ q,
                                     real* __restrict__ z, int nz, int ny, int nx, real wz, real wy, real wx, real beta,
                                     real lambda, real low, real high) {
    const int x0 = THREAD_X * LANES, j = THREAD_Y, k = THREAD_Z;
    if (x0 >= nx || j >= ny || k >= nz) return;
    const long long n = (long long)nz * ny * nx, row = ((long long)k * ny + j) * nx + x0;
    const real *p0 = p + row, *q0 = q + row;
    const TvDual r = {p0, p0 + n, p0 + 2 * n, q0, q0 + n, q0 + 2 * n, k > 0 ? (long long)ny * nx : 0, j > 0 ? nx : 0,
                      wz, wy, wx, k > 0 ? wz : (real)0, j > 0 ? wy : (real)0, beta};
    const real* __restrict__ in = x + row;
    real* __restrict__ out = z + row;
    const int lanes = nx - x0 < LANES ? nx - x0 : LANES, first = x0 == 0;
    if (first) out[0] = tv_clip(in[0] + lambda * tv_minus_adjoint(r, 0, 0), low, high);
    for (int l = first; l < lanes; ++l) out[l] = tv_clip(in[l] + lambda * tv_minus_adjoint(r, l, 1), low, high);
}

/* 1 / max(length, 1). */
static __device__ __forceinline__ real tv_within(real a, real b, real c) {
    const real length = sqrt(a * a + b * b + c * c);
    return (real)1 / (length > (real)1 ? length : (real)1);
}

/* q becomes the next dual point, r + sigma D z with r = p + beta (p - q), projected onto |.| <= 1. */
extern "C" __global__ void tv_dual(const real* __restrict__ z, const real* __restrict__ p, real* __restrict__ q, int nz, int ny,
                                   int nx, real wz, real wy, real wx, real beta, real sigma) {
    const int x0 = THREAD_X * LANES, j = THREAD_Y, k = THREAD_Z;
    if (x0 >= nx || j >= ny || k >= nz) return;
    const long long n = (long long)nz * ny * nx, row = ((long long)k * ny + j) * nx + x0;
    const TvStencil s = tv_stencil(k, j, nz, ny, nx, sigma * wz, sigma * wy, sigma * wx);
    const real *pz = p + row, *py = pz + n, *px = py + n;
    real *__restrict__ qz = q + row, *__restrict__ qy = q + row + n, *__restrict__ qx = q + row + 2 * n;
    const int lanes = nx - x0 < LANES ? nx - x0 : LANES, inside = lanes - (x0 + lanes == nx);
    const real* __restrict__ in = z + row;
    real a[LANES], b[LANES], c[LANES]; /* a loop of all in one has more pointers than g++ tells apart, and makes no vectors */
    for (int l = 0; l < lanes; ++l) a[l] = tv_ahead(pz, qz, l, beta) + s.wz * (in[l + s.z] - in[l]);
    for (int l = 0; l < lanes; ++l) b[l] = tv_ahead(py, qy, l, beta) + s.wy * (in[l + s.y] - in[l]);
    for (int l = 0; l < inside; ++l) c[l] = tv_ahead(px, qx, l, beta) + s.wx * (in[l + 1] - in[l]);
    if (inside < lanes) c[inside] = tv_ahead(px, qx, inside, beta);
    for (int l = 0; l < lanes; ++l) {
        const real scale = tv_within(a[l], b[l], c[l]);
        qz[l] = a[l] * scale, qy[l] = b[l] * scale, qx[l] = c[l] * scale;
    }
}

static __device__ __forceinline__ real tv_huber(const TvVector& d, real eps, real half_inverse) {
    const real length = tv_length(d);
    return length > eps ? length - (real)0.5 * eps : length * length * half_inverse;
}

/* Sums over TV_PLANES planes of the Huber function of |D x|: |d| - eps/2 beyond eps, |d|^2 / (2 eps) within; with
 * eps = half_inverse = 0 it is |d|.  One thread: LANES columns of the result (ceil(nz / TV_PLANES), ny, nx). */
extern "C" __global__ void tv_value(const real* __restrict__ x, real* __restrict__ sums, int nz, int ny, int nx, real wz,
                                    real wy, real wx, real eps, real half_inverse) {
    const int x0 = THREAD_X * LANES, j = THREAD_Y, first = THREAD_Z * TV_PLANES;
    if (x0 >= nx || j >= ny || first >= nz) return;
    const int lanes = nx - x0 < LANES ? nx - x0 : LANES, inside = lanes - (x0 + lanes == nx);
    const int last = first + TV_PLANES < nz ? first + TV_PLANES : nz;
    real* __restrict__ out = sums + ((long long)THREAD_Z * ny + j) * nx + x0;
    for (int l = 0; l < lanes; ++l) out[l] = 0;
    for (int k = first; k < last; ++k) {
        const TvStencil s = tv_stencil(k, j, nz, ny, nx, wz, wy, wx);
        const real* __restrict__ in = x + ((long long)k * ny + j) * nx + x0;
        for (int l = 0; l < inside; ++l) out[l] += tv_huber(tv_difference(in, s, l, 1), eps, half_inverse);
        if (inside < lanes) out[inside] += tv_huber(tv_difference(in, s, inside, 0), eps, half_inverse);
    }
}

static __device__ __forceinline__ real tv_slack(const TvVector& d, const real* __restrict__ p, long long n, int l) {
    return tv_length(d) - (d.z * p[l] + d.y * p[l + n] + d.x * p[l + 2 * n]);
}

/* Sums over TV_PLANES planes of |D z| - <D z, p>, which is never negative: the duality gap over lambda when z is the
 * primal point of p.  One thread: LANES columns of the result (ceil(nz / TV_PLANES), ny, nx). */
extern "C" __global__ void tv_gap(const real* __restrict__ z, const real* __restrict__ p, real* __restrict__ sums, int nz, int ny,
                                  int nx, real wz, real wy, real wx) {
    const int x0 = THREAD_X * LANES, j = THREAD_Y, first = THREAD_Z * TV_PLANES;
    if (x0 >= nx || j >= ny || first >= nz) return;
    const long long n = (long long)nz * ny * nx;
    const int lanes = nx - x0 < LANES ? nx - x0 : LANES, inside = lanes - (x0 + lanes == nx);
    const int last = first + TV_PLANES < nz ? first + TV_PLANES : nz;
    real* __restrict__ out = sums + ((long long)THREAD_Z * ny + j) * nx + x0;
    for (int l = 0; l < lanes; ++l) out[l] = 0;
    for (int k = first; k < last; ++k) {
        const TvStencil s = tv_stencil(k, j, nz, ny, nx, wz, wy, wx);
        const long long row = ((long long)k * ny + j) * nx + x0;
        const real *__restrict__ in = z + row, *__restrict__ dual = p + row;
        for (int l = 0; l < inside; ++l) out[l] += tv_slack(tv_difference(in, s, l, 1), dual, n, l);
        if (inside < lanes) out[inside] += tv_slack(tv_difference(in, s, inside, 0), dual, n, inside);
    }
}

/* D x / max(|D x|, eps), the field whose D' is the gradient. */
static __device__ __forceinline__ TvVector tv_flow(const real* __restrict__ x, const TvStencil& s, long long i, int right, real eps) {
    const TvVector d = tv_difference(x, s, i, right);
    const real length = tv_length(d), inverse = (real)1 / (length > eps ? length : eps);
    return {d.z * inverse, d.y * inverse, d.x * inverse};
}

/* D' of that field at voxel l of a row, from the stencils of this row and of the rows before it in z and in y. */
static __device__ __forceinline__ real tv_gradient_at(const real* __restrict__ x, const TvStencil& here, const TvStencil& down,
                                                      const TvStencil& back, long long below, long long before, int l, int left,
                                                      int right, real eps) {
    const TvVector f = tv_flow(x, here, l, right, eps);
    real g = -(here.wz * f.z + here.wy * f.y + here.wx * f.x);
    if (below) g += here.wz * tv_flow(x, down, l - below, right, eps).z;
    if (before) g += here.wy * tv_flow(x, back, l - before, right, eps).y;
    return left ? g + here.wx * tv_flow(x, here, l - 1, 1, eps).x : g;
}

/* g = D' (D x / max(|D x|, eps)), the gradient of the Huber total variation that tv_value sums; eps > 0. */
extern "C" __global__ void tv_gradient(const real* __restrict__ x, real* __restrict__ g, int nz, int ny, int nx, real wz,
                                       real wy, real wx, real eps) {
    const int x0 = THREAD_X * LANES, j = THREAD_Y, k = THREAD_Z;
    if (x0 >= nx || j >= ny || k >= nz) return;
    const long long row = ((long long)k * ny + j) * nx + x0;
    const long long below = k > 0 ? (long long)ny * nx : 0, before = j > 0 ? nx : 0;
    const TvStencil here = tv_stencil(k, j, nz, ny, nx, wz, wy, wx);
    const TvStencil down = tv_stencil(k > 0 ? k - 1 : k, j, nz, ny, nx, wz, wy, wx);
    const TvStencil back = tv_stencil(k, j > 0 ? j - 1 : j, nz, ny, nx, wz, wy, wx);
    const int lanes = nx - x0 < LANES ? nx - x0 : LANES, inside = lanes - (x0 + lanes == nx), first = x0 == 0;
    const real* __restrict__ in = x + row;
    real* __restrict__ out = g + row;
    if (first) out[0] = tv_gradient_at(in, here, down, back, below, before, 0, 0, nx > 1, eps);
    for (int l = first; l < inside; ++l) out[l] = tv_gradient_at(in, here, down, back, below, before, l, 1, 1, eps);
    if (inside < lanes && x0 + inside > 0)
        out[inside] = tv_gradient_at(in, here, down, back, below, before, inside, 1, 0, eps);
}
