/* A radiance field along rays: a density that absorbs, and a colour that depends on the direction through spherical harmonics
 * (Fridovich-Keil et al. 2022, CVPR, whose colour rule this is; the adjoint replays the march, as there).
 *   C = sum over samples of T (1 - exp(-sigma step)) c + T_end background,   c = max(0, 1/2 + sum over k of Y_k B_k)
 * A voxel of the field holds 1 + 3 K numbers: what the density is made of, by `activation` after interpolation (0: max(0, v),
 * 1: log(1 + exp v), 2: exp v), and B for red, green and blue.  basis (ray, K) is Y at each ray's direction.  `clear`, a null
 * pointer where none is, says which cells are empty (march.cuh), and they are left out; where T falls below `stop` the march
 * ends, and what is left goes to the background, in all kernels alike. */
#include "march.cuh"

static __device__ __forceinline__ real radiance_density(real v, int activation, real& slope) {
    if (activation == 0) {
        slope = v > (real)0 ? (real)1 : (real)0;
        return v > (real)0 ? v : (real)0;
    }
    if (activation == 2) {
        slope = exp(v);
        return slope;
    }
    const real e = exp(v > (real)0 ? -v : v);
    slope = v > (real)0 ? (real)1 / ((real)1 + e) : e / ((real)1 + e);
    return (v > (real)0 ? v : (real)0) + log((real)1 + e);
}

/* The first number of the field at a place. */
template <int C>
static __device__ __forceinline__ real radiance_first(const real* __restrict__ field, const MarchCell& c) {
    real v = (real)0;
    if (c.whole) {
        const real* p = field + c.at[0] * C;
        const int y = c.row * C, z = c.plane * C;
        v = madd(c.w[0], p[0], madd(c.w[1], p[C], madd(c.w[2], p[y], c.w[3] * p[y + C])));
        p += z;
        return v + madd(c.w[4], p[0], madd(c.w[5], p[C], madd(c.w[6], p[y], c.w[7] * p[y + C])));
    }
#pragma unroll
    for (int q = 0; q < 8; ++q)
        if (c.at[q] >= 0) v = madd(c.w[q], field[c.at[q] * C], v);
    return v;
}

/* The numbers of the field at a place. */
template <int C>
static __device__ __forceinline__ void radiance_numbers(const real* __restrict__ field, const MarchCell& c, real v[C]) {
#pragma unroll
    for (int n = 0; n < C; ++n) v[n] = (real)0;
    if (c.whole) {
        const real *p = field + c.at[0] * C, *y = p + c.row * C, *z = p + c.plane * C, *zy = z + c.row * C;
        TOGETHER
        for (int n = 0; n < C; ++n)
            v[n] = madd(c.w[0], p[n], madd(c.w[1], p[n + C], madd(c.w[2], y[n], c.w[3] * y[n + C]))) +
                   madd(c.w[4], z[n], madd(c.w[5], z[n + C], madd(c.w[6], zy[n], c.w[7] * zy[n + C])));
        return;
    }
#pragma unroll
    for (int q = 0; q < 8; ++q) {
        if (c.at[q] < 0) continue;
        const real* voxel = field + c.at[q] * C;
#pragma unroll
        for (int n = 0; n < C; ++n) v[n] = madd(c.w[q], voxel[n], v[n]);
    }
}

/* The colour of one channel, and whether it is above zero. */
template <int K>
static __device__ __forceinline__ real radiance_colour(const real* v, const real* __restrict__ basis) {
    real sum = (real)0.5;
#pragma unroll
    for (int k = 0; k < K; ++k) sum = madd(basis[k], v[k], sum);
    return sum > (real)0 ? sum : (real)0;
}

template <int K>
static __device__ __forceinline__ void radiance_see(const real* __restrict__ field, const int* __restrict__ clear,
                                                    const real* __restrict__ basis, const MarchRay& ray,
                                                    const real* __restrict__ background, real* image, real* left, int nz, int ny,
                                                    int nx, real step, int activation, real stop) {
    real through = (real)1, sum[3] = {};
    for (int i = ray.first; i < ray.last && through >= stop; ++i) {
        MarchCell c;
        const real t = ((real)i + (real)0.5) * step;
        if (!march_met(clear, ray, t, nz, ny, nx, i, c)) continue;
        real v[1 + 3 * K], slope;
        const real density = radiance_density(radiance_first<1 + 3 * K>(field, c), activation, slope);
        if (density == (real)0) continue;
        radiance_numbers<1 + 3 * K>(field, c, v);
        const real e = exp(-step * density), w = through * ((real)1 - e);
        through *= e;
#pragma unroll
        for (int q = 0; q < 3; ++q) sum[q] = madd(w, radiance_colour<K>(v + 1 + q * K, basis), sum[q]);
    }
#pragma unroll
    for (int q = 0; q < 3; ++q) image[q] = madd(through, background[q], sum[q]);
    *left = through;
}

/* One thread: LANES rays.  Overwrites image (ray, 3) and left (ray), the share of the background that comes through. */
extern "C" __global__ void radiance_forward(const real* __restrict__ field, const int* __restrict__ clear,
                                            const real* __restrict__ basis, const real* __restrict__ origins,
                                            const real* __restrict__ directions, const real* __restrict__ background,
                                            real* __restrict__ image, real* __restrict__ left, int rays, int nz, int ny, int nx,
                                            int terms, real step, int activation, real stop) {
    for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
        const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
        const real *y = basis + r * terms, *b = background + 3 * r;
        if (terms == 1) radiance_see<1>(field, clear, y, ray, b, image + 3 * r, left + r, nz, ny, nx, step, activation, stop);
        else if (terms == 4) radiance_see<4>(field, clear, y, ray, b, image + 3 * r, left + r, nz, ny, nx, step, activation, stop);
        else radiance_see<9>(field, clear, y, ray, b, image + 3 * r, left + r, nz, ny, nx, step, activation, stop);
    }
}

/* How the weight of corner q changes as the place moves. */
static __device__ __forceinline__ real march_turn(const MarchCell& c, int q, const real moved[3]) {
    const real wz = q >> 2 ? c.fz : (real)1 - c.fz, wy = q >> 1 & 1 ? c.fy : (real)1 - c.fy, wx = q & 1 ? c.fx : (real)1 - c.fx;
    return (q >> 2 ? moved[0] : -moved[0]) * wy * wx + (q >> 1 & 1 ? moved[1] : -moved[1]) * wz * wx +
           (q & 1 ? moved[2] : -moved[2]) * wz * wy;
}

/* N of the C numbers of a voxel, from the first-th on, at a place, and their changes as field and place change. */
template <int N, int C>
static __device__ __forceinline__ void radiance_some(const real* __restrict__ field, const real* __restrict__ d_field,
                                                     const MarchCell& c, int first, const real moved[3], real* v, real* d) {
#pragma unroll
    for (int n = 0; n < N; ++n) v[n] = d[n] = (real)0;
#pragma unroll
    for (int q = 0; q < 8; ++q) {
        if (c.at[q] < 0) continue;
        const real turn = march_turn(c, q, moved);
        const real *voxel = field + c.at[q] * C + first, *change = d_field + c.at[q] * C + first;
#pragma unroll
        for (int n = 0; n < N; ++n) v[n] = madd(c.w[q], voxel[n], v[n]), d[n] += turn * voxel[n] + c.w[q] * change[n];
    }
}

template <int K>
static __device__ __forceinline__ void radiance_change(const real* __restrict__ field, const real* __restrict__ d_field,
                                                       const int* __restrict__ clear, const real* __restrict__ basis,
                                                       const real* __restrict__ d_basis, const MarchRay& ray,
                                                       const real* __restrict__ d_origin, const real* __restrict__ d_direction,
                                                       const real* __restrict__ background, const real* __restrict__ d_background,
                                                       real* out, int nz, int ny, int nx, real step, int activation, real stop) {
    real through = (real)1, depth = (real)0, sum[3] = {};
    for (int i = ray.first; i < ray.last && through >= stop; ++i) {
        MarchCell c;
        const real t = ((real)i + (real)0.5) * step;
        if (!march_met(clear, ray, t, nz, ny, nx, i, c)) continue;
        const real moved[3] = {madd(t, d_direction[0], d_origin[0]), madd(t, d_direction[1], d_origin[1]),
                               madd(t, d_direction[2], d_origin[2])};
        real v[K], d[K], slope;
        radiance_some<1, 1 + 3 * K>(field, d_field, c, 0, moved, v, d);
        const real e = exp(-step * radiance_density(v[0], activation, slope)), w = through * ((real)1 - e);
        const real dtau = step * slope * d[0], dw = through * e * dtau - depth * w;
        through *= e;
        depth += dtau;
#pragma unroll
        for (int q = 0; q < 3; ++q) {
            radiance_some<K, 1 + 3 * K>(field, d_field, c, 1 + q * K, moved, v, d);
            const real colour = radiance_colour<K>(v, basis);
            real dc = (real)0;
            if (colour > (real)0)
#pragma unroll
                for (int k = 0; k < K; ++k) dc += basis[k] * d[k] + d_basis[k] * v[k];
            sum[q] += dw * colour + w * dc;
        }
    }
#pragma unroll
    for (int q = 0; q < 3; ++q) out[q] = sum[q] + through * (d_background[q] - depth * background[q]);
}

/* What changes of all inputs do to the image.  Overwrites out (ray, 3).  One thread: LANES rays. */
extern "C" __global__ void radiance_push(const real* __restrict__ field, const int* __restrict__ clear,
                                         const real* __restrict__ basis, const real* __restrict__ origins,
                                         const real* __restrict__ directions, const real* __restrict__ background,
                                         const real* __restrict__ d_field, const real* __restrict__ d_basis,
                                         const real* __restrict__ d_origins, const real* __restrict__ d_directions,
                                         const real* __restrict__ d_background, real* __restrict__ out, int rays, int nz, int ny,
                                         int nx, int terms, real step, int activation, real stop) {
    for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
        const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
        const real *y = basis + r * terms, *dy = d_basis + r * terms, *o = d_origins + 3 * r, *u = d_directions + 3 * r;
        const real *b = background + 3 * r, *db = d_background + 3 * r;
        if (terms == 1)
            radiance_change<1>(field, d_field, clear, y, dy, ray, o, u, b, db, out + 3 * r, nz, ny, nx, step, activation, stop);
        else if (terms == 4)
            radiance_change<4>(field, d_field, clear, y, dy, ray, o, u, b, db, out + 3 * r, nz, ny, nx, step, activation, stop);
        else radiance_change<9>(field, d_field, clear, y, dy, ray, o, u, b, db, out + 3 * r, nz, ny, nx, step, activation, stop);
    }
}

/* The transpose for one ray: adds to the field, unless it is null, overwrites what is the ray's own; its gradients in the ray
 * may be null. */
template <bool Atomic, int K>
static __device__ __forceinline__ void radiance_back(const real* __restrict__ field, const int* __restrict__ clear,
                                                     const real* __restrict__ basis, const MarchRay& ray,
                                                     const real* __restrict__ image, const real* __restrict__ g, real* g_field,
                                                     real* g_basis, real* g_origin, real* g_direction, real* g_background, int nz,
                                                     int ny, int nx, real step, int activation, real stop) {
    constexpr int C = 1 + 3 * K;
    real through = (real)1, behind = g[0] * image[0] + g[1] * image[1] + g[2] * image[2], go[3] = {}, gd[3] = {}, gy[K] = {};
    for (int i = ray.first; i < ray.last && through >= stop; ++i) {
        MarchCell c;
        const real t = ((real)i + (real)0.5) * step;
        if (!march_met(clear, ray, t, nz, ny, nx, i, c)) continue;
        real v[C], u[C], slope, seen = (real)0;
        const real density = radiance_density(radiance_first<C>(field, c), activation, slope);
        if (density == (real)0 && slope == (real)0) continue;
        radiance_numbers<C>(field, c, v);
        const real e = exp(-step * density), w = through * ((real)1 - e);
        through *= e;
#pragma unroll
        for (int q = 0; q < 3; ++q) {
            const real colour = radiance_colour<K>(v + 1 + q * K, basis), gc = colour > (real)0 ? w * g[q] : (real)0;
            seen = madd(g[q], colour, seen);
#pragma unroll
            for (int k = 0; k < K; ++k) {
                u[1 + q * K + k] = gc * basis[k];
                gy[k] = madd(gc, v[1 + q * K + k], gy[k]);
            }
        }
        behind -= w * seen;
        u[0] = slope * step * (through * seen - behind);
#pragma unroll
        for (int q = 0; q < 8; ++q) {
            if (c.at[q] < 0 || g_field == nullptr) continue;
            real* voxel = g_field + c.at[q] * C;
            TOGETHER
            for (int n = 0; n < C; ++n) add<Atomic>(voxel + n, c.w[q] * u[n]);
        }
        if (g_origin == nullptr) continue;
        real slopes[3] = {};
#pragma unroll
        for (int q = 0; q < 8; ++q) {
            if (c.at[q] < 0) continue;
            const real* voxel = field + c.at[q] * C;
            real h = (real)0;
#pragma unroll
            for (int n = 0; n < C; ++n) h = madd(u[n], voxel[n], h);
            const real wz = q >> 2 ? c.fz : (real)1 - c.fz, wy = q >> 1 & 1 ? c.fy : (real)1 - c.fy;
            const real wx = q & 1 ? c.fx : (real)1 - c.fx;
            slopes[0] += (q >> 2 ? h : -h) * wy * wx, slopes[1] += (q >> 1 & 1 ? h : -h) * wz * wx;
            slopes[2] += (q & 1 ? h : -h) * wz * wy;
        }
#pragma unroll
        for (int a = 0; a < 3; ++a) go[a] += slopes[a], gd[a] = madd(t, slopes[a], gd[a]);
    }
#pragma unroll
    for (int q = 0; q < 3; ++q) g_background[q] = g[q] * through;
    if (g_origin == nullptr) return;
#pragma unroll
    for (int a = 0; a < 3; ++a) g_origin[a] = go[a], g_direction[a] = gd[a];
#pragma unroll
    for (int k = 0; k < K; ++k) g_basis[k] = gy[k];
}

#define RADIANCE_BACK(Atomic, K, into)                                                                                          \
    radiance_back<Atomic, K>(field, clear, basis + r * terms, ray, image + 3 * r, g + 3 * r, into,                           \
                             moving ? g_basis + r * terms : nullptr, moving ? g_origins + 3 * r : nullptr,                      \
                             moving ? g_directions + 3 * r : nullptr, g_background + 3 * r, nz, ny, nx, step, activation, stop)

/* The transpose of radiance_push.  One thread: a ray. */
extern "C" __global__ void radiance_pull_atomic(const real* __restrict__ field, const int* __restrict__ clear,
                                                const real* __restrict__ basis, const real* __restrict__ origins,
                                                const real* __restrict__ directions, const real* __restrict__ image,
                                                const real* __restrict__ g, real* g_field, real* g_basis, real* g_origins,
                                                real* g_directions, real* g_background, int rays, int nz, int ny, int nx, int terms,
                                                real step, int activation, real stop) {
    const long long r = THREAD_X;
    if (r >= rays) return;
    const bool moving = g_origins != nullptr;
    const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
    if (terms == 1) RADIANCE_BACK(true, 1, g_field);
    else if (terms == 4) RADIANCE_BACK(true, 4, g_field);
    else RADIANCE_BACK(true, 9, g_field);
}

/* The same into copies of the field, (copies, nz, ny, nx, 1 + 3 K).  One thread: every `copies`-th ray, and a copy of its own. */
extern "C" __global__ void radiance_pull_copies(const real* __restrict__ field, const int* __restrict__ clear,
                                                const real* __restrict__ basis, const real* __restrict__ origins,
                                                const real* __restrict__ directions, const real* __restrict__ image,
                                                const real* __restrict__ g, real* g_field, real* g_basis, real* g_origins,
                                                real* g_directions, real* g_background, int rays, int nz, int ny, int nx, int terms,
                                                real step, int activation, real stop, int copies) {
    const bool moving = g_origins != nullptr;
    real* own = g_field == nullptr ? g_field : g_field + (long long)THREAD_X * nz * ny * nx * (1 + 3 * terms);
    for (long long r = THREAD_X; r < rays; r += copies) {
        const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
        if (terms == 1) RADIANCE_BACK(false, 1, own);
        else if (terms == 4) RADIANCE_BACK(false, 4, own);
        else RADIANCE_BACK(false, 9, own);
    }
}
