/* Line integrals along any rays (Joseph 1982): per-view vectors, tilted and rolled detectors, curved ones.  See ray.cuh.
 *
 * volume (ny, row_step): row y is (nx, width), voxel z at place z + PAD, zeros around.  projections (view, nu, nv).
 * A voxel (k, j, i) has the weight (1 - |b(k) - j|)(1 - |c(k) - i|) times the length between planes. */
#include "box.cuh"
#include "ray.cuh"

/* The value at (b, c) of a plane, zero outside. */
static __device__ __forceinline__ real plane_value(const real* __restrict__ plane, const Box& x, real b, real c) {
    Cell q;
    if (!cell_at(plane, x, b, c, q)) return 0;
    const real low = madd(q.h, q.v01 - q.v00, q.v00), high = madd(q.h, q.v11 - q.v10, q.v10);
    return madd(q.f, high - low, low);
}

/* Its transpose. */
template <bool Atomic>
static __device__ __forceinline__ void add_to_plane(real* plane, const Box& x, real b, real c, real value) {
    if (!(b > (real)-1 && b < (real)x.nb && c > (real)-1 && c < (real)x.nc)) return;
    const int j = floor_index(b), i = floor_index(c);
    const real f = b - (real)j, h = c - (real)i;
    real* p = plane + j * x.b_step + i * x.c_step;
    const bool i0 = i >= 0, i1 = i + 1 < x.nc;
    const real low = ((real)1 - f) * value, high = f * value;
    if (j >= 0 && i0) add<Atomic>(p, ((real)1 - h) * low);
    if (j >= 0 && i1) add<Atomic>(p + x.c_step, h * low);
    if (j + 1 < x.nb && i0) add<Atomic>(p + x.b_step, ((real)1 - h) * high);
    if (j + 1 < x.nb && i1) add<Atomic>(p + x.b_step + x.c_step, h * high);
}

#if LANES > 1
#include "ray_lanes.cuh"
#else
/* A GPU thread owns one ray. */
static __device__ __forceinline__ bool walk_fan(const Beam&, const real*, real*, int, int, int, int, int, int, int) { return false; }
static __device__ __forceinline__ bool spread_fan(const Beam&, real*, const real*, int, int, int, int, int, const Box&) { return false; }
#endif

/* One thread: LANES rays of one detector column. */
extern "C" __global__ void xray_ray_forward(const real* __restrict__ volume, real* __restrict__ projections,
                                            const real* __restrict__ lines, const real* __restrict__ views, int nx, int ny,
                                            int nz, int nu, int nv, int n_views, int width, int row_step, real sx, real sy,
                                            real sz, int cone) {
    const int v0 = THREAD_X * LANES, u = THREAD_Y, w = THREAD_Z;
    if (v0 >= nv || u >= nu || w >= n_views) return;
    const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
    real* out = projections + ((long long)w * nu + u) * nv + v0;
    const int rows = nv - v0 < LANES ? nv - v0 : LANES;
    if (walk_fan(m, volume, out, v0, rows, nx, ny, nz, width, row_step)) return;
    for (int l = 0; l < rows; ++l) {
        const int axis = ray_axis(m, v0 + l);
        const Ray r = trace(m, axis, v0 + l);
        const Box x = box_along(axis, nx, ny, nz, width, row_step);
        const real middle = middle_of(m, axis);
        real sum = 0;
        for (int k = 0; k < entry(m.n, axis); ++k)
            if (!behind(m, axis, r.sign, k))
                sum += plane_value(volume + PAD + k * x.plane_step, x, madd(r.gb, (real)k - middle, r.bc),
                                   madd(r.gc, (real)k - middle, r.cc));
        out[l] = sum * r.length;
    }
}

/* The transpose, one thread owning `owned` grid planes of the major axis `axis`: it walks the rays across them, so no two
 * threads write to one voxel and the sums have one order.  Adds to volume; launched once for each axis. */
extern "C" __global__ void xray_ray_adjoint_planes(real* __restrict__ volume, const real* __restrict__ projections,
                                                   const real* __restrict__ lines, const real* __restrict__ views, int nx, int ny,
                                                   int nz, int nu, int nv, int n_views, int width, int row_step, real sx, real sy,
                                                   real sz, int cone, int axis, int owned) {
    const int k0 = THREAD_X * owned, planes = axis == 0 ? nx : axis == 1 ? ny : nz;
    if (k0 >= planes) return;
    const int k1 = k0 + owned - 1 < planes ? k0 + owned - 1 : planes - 1;
    const Box x = box_along(axis, nx, ny, nz, width, row_step);
    const real middle = (real)0.5 * (real)(planes - 1);
    for (int w = 0; w < n_views; ++w)
        for (int u = 0; u < nu; ++u) {
            const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
            for (int v0 = 0; v0 < nv; v0 += LANES) {
                const real* p = projections + ((long long)w * nu + u) * nv + v0;
                const int rows = nv - v0 < LANES ? nv - v0 : LANES;
                if (spread_fan(m, volume, p, v0, rows, axis, k0, k1, x)) continue;
                for (int l = 0; l < rows; ++l) {
                    if (ray_axis(m, v0 + l) != axis) continue;
                    const Ray r = trace(m, axis, v0 + l);
                    for (int k = k0; k <= k1; ++k)
                        if (!behind(m, axis, r.sign, k))
                            add_to_plane<false>(volume + PAD + k * x.plane_step, x, madd(r.gb, (real)k - middle, r.bc),
                                                madd(r.gc, (real)k - middle, r.cc), p[l] * r.length);
                }
            }
        }
}

/* The same, one thread owning one ray, for devices where adding atomically is cheap; the order of the sums varies. */
extern "C" __global__ void xray_ray_adjoint_atomic(real* __restrict__ volume, const real* __restrict__ projections,
                                                   const real* __restrict__ lines, const real* __restrict__ views, int nx, int ny,
                                                   int nz, int nu, int nv, int n_views, int width, int row_step, real sx, real sy,
                                                   real sz, int cone) {
    const int v0 = THREAD_X * LANES, u = THREAD_Y, w = THREAD_Z;
    if (v0 >= nv || u >= nu || w >= n_views) return;
    const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
    const real* p = projections + ((long long)w * nu + u) * nv;
    const int end = v0 + LANES < nv ? v0 + LANES : nv;
    for (int v = v0; v < end; ++v) {
        const int axis = ray_axis(m, v);
        const Ray r = trace(m, axis, v);
        const Box x = box_along(axis, nx, ny, nz, width, row_step);
        const real middle = middle_of(m, axis);
        for (int k = 0; k < entry(m.n, axis); ++k)
            if (!behind(m, axis, r.sign, k))
                add_to_plane<true>(volume + PAD + k * x.plane_step, x, madd(r.gb, (real)k - middle, r.bc),
                                   madd(r.gc, (real)k - middle, r.cc), p[v] * r.length);
    }
}

/* Where point (x, y, z), in voxels, lands on a flat detector: the matrix m (12) gives (u, v, 1) up to a positive factor. */
static __device__ __forceinline__ bool land(const real* m, real x, real y, real z, real& u, real& v) {
    const real depth = m[8] * x + m[9] * y + m[10] * z + m[11];
    if (!(depth > (real)0)) return false;
    u = (m[0] * x + m[1] * y + m[2] * z + m[3]) / depth;
    v = (m[4] * x + m[5] * y + m[6] * z + m[7]) / depth;
    return true;
}

/* The transpose for flat detectors, one thread owning LANES voxels along z: each gathers from the rays that touch it.
 * matrices (view, 12).  Overwrites. */
extern "C" __global__ void xray_ray_adjoint_gather(real* __restrict__ volume, const real* __restrict__ projections,
                                                   const real* __restrict__ lines, const real* __restrict__ views,
                                                   const real* __restrict__ matrices, int nx, int ny, int nz, int nu, int nv,
                                                   int n_views, int width, int row_step, real sx, real sy, real sz, int cone) {
    const int z0 = THREAD_X * LANES, x = THREAD_Y, y = THREAD_Z;
    if (z0 >= nz || x >= nx || y >= ny) return;
    const int lanes = nz - z0 < LANES ? nz - z0 : LANES;
    real* out = volume + (long long)y * row_step + (long long)x * width + PAD + z0;
    for (int l = 0; l < lanes; ++l) {
        const real voxel[3] = {(real)x, (real)y, (real)(z0 + l)}; /* read with constant indices only */
        real sum = 0;
        for (int w = 0; w < n_views; ++w) {
            real u0 = (real)nu, u1 = (real)-1, v0 = (real)nv, v1 = (real)-1;
            bool seen = true;
#pragma unroll
            for (int i = 0; i < 12; ++i) { /* the corners of the footprints in the three planes through the voxel */
                const int b = second_axis(i / 4), c = third_axis(i / 4);
                const real db = i & 1 ? (real)1 : (real)-1, dc = i & 2 ? (real)1 : (real)-1;
                real u = 0, v = 0;
                seen = seen && land(matrices + 12 * w, (real)x + (b == 0 ? db : c == 0 ? dc : (real)0),
                                    (real)y + (b == 1 ? db : (real)0), (real)(z0 + l) + (c == 2 ? dc : (real)0), u, v);
                u0 = u < u0 ? u : u0, u1 = u > u1 ? u : u1, v0 = v < v0 ? v : v0, v1 = v > v1 ? v : v1;
            }
            if (!seen) u0 = v0 = 0, u1 = (real)(nu - 1), v1 = (real)(nv - 1); /* beside the source: try every pixel */
            const int first_u = u0 > (real)1 ? (int)(u0 - (real)0.01) : 0, first_v = v0 > (real)1 ? (int)(v0 - (real)0.01) : 0;
            const int last_u = u1 < (real)(nu - 2) ? (int)(u1 + (real)1.01) : nu - 1;
            const int last_v = v1 < (real)(nv - 2) ? (int)(v1 + (real)1.01) : nv - 1;
            for (int u = first_u; u <= last_u; ++u) {
                const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
                const real* p = projections + ((long long)w * nu + u) * nv;
                for (int v = first_v; v <= last_v; ++v) {
                    const int axis = ray_axis(m, v);
                    const Ray r = trace(m, axis, v);
                    const real depth = entry(voxel, axis);
                    const real k = depth - middle_of(m, axis);
                    const real b = (real)1 - fabs(madd(r.gb, k, r.bc) - (axis == 1 ? voxel[0] : voxel[1]));
                    const real c = (real)1 - fabs(madd(r.gc, k, r.cc) - (axis == 2 ? voxel[0] : voxel[2]));
                    if (b > (real)0 && c > (real)0 && !behind(m, axis, r.sign, (int)depth)) sum += b * c * r.length * p[v];
                }
            }
        }
        out[l] = sum;
    }
}
