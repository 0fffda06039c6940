/* A volume (nz, ny, nx) pulled through a displacement field: out[i] = V(i + s d(i)), V trilinear between voxels and zero
 * beyond them, d (3, nz, ny, nx) along z, y and x, s = 1/spacing (the image warp of registration: Modersitzki 2004,
 * chapter 3).  A place that is no number, or beyond the volume, is zero and passes nothing on.
 * One thread: LANES voxels of a row, except where a kernel says otherwise. */
#include "lane.cuh"

struct WarpTap {
    int z, y, x;    /* the voxel before the place, -1 at the least */
    real fz, fy, fx; /* the rest */
};

/* Where voxel (k, j, i) looks; false where no voxel is near. */
static __device__ __forceinline__ bool warp_place(const real* __restrict__ d, long long n, long long e, int k, int j, int i,
                                                  int nz, int ny, int nx, real sz, real sy, real sx, WarpTap& tap) {
    const real z = madd(sz, d[e], (real)k), y = madd(sy, d[n + e], (real)j), x = madd(sx, d[2 * n + e], (real)i);
    if (!(z > (real)-1 && z < (real)nz && y > (real)-1 && y < (real)ny && x > (real)-1 && x < (real)nx)) return false;
    tap.z = floor_index(z), tap.y = floor_index(y), tap.x = floor_index(x);
    tap.fz = z - (real)tap.z, tap.fy = y - (real)tap.y, tap.fx = x - (real)tap.x;
    return true;
}

/* The eight voxels around a place; those beyond the volume are zero. */
static __device__ __forceinline__ void warp_corners(const real* __restrict__ volume, const WarpTap& t, int nz, int ny, int nx,
                                                    real c[8]) {
#pragma unroll
    for (int q = 0; q < 8; ++q) {
        const int z = t.z + (q >> 2), y = t.y + (q >> 1 & 1), x = t.x + (q & 1);
        const bool inside = z >= 0 && z < nz && y >= 0 && y < ny && x >= 0 && x < nx;
        c[q] = inside ? volume[((long long)z * ny + y) * nx + x] : (real)0;
    }
}

static __device__ __forceinline__ real mixed(real f, real a, real b) { return madd(f, b - a, a); }

static __device__ __forceinline__ real warp_value(const real c[8], const WarpTap& t) {
    const real above = mixed(t.fy, mixed(t.fx, c[0], c[1]), mixed(t.fx, c[2], c[3]));
    const real below = mixed(t.fy, mixed(t.fx, c[4], c[5]), mixed(t.fx, c[6], c[7]));
    return mixed(t.fz, above, below);
}

/* The gradient of V at a place, along z, y and x, per voxel. */
static __device__ __forceinline__ void warp_slope(const real c[8], const WarpTap& t, real g[3]) {
    const real a = mixed(t.fx, c[0], c[1]), b = mixed(t.fx, c[2], c[3]);
    const real e = mixed(t.fx, c[4], c[5]), f = mixed(t.fx, c[6], c[7]);
    g[0] = mixed(t.fy, e, f) - mixed(t.fy, a, b);
    g[1] = mixed(t.fz, b - a, f - e);
    g[2] = mixed(t.fz, mixed(t.fy, c[1] - c[0], c[3] - c[2]), mixed(t.fy, c[5] - c[4], c[7] - c[6]));
}

#define WARP_ROW                                                               \
    const int j = THREAD_Y, k = THREAD_Z;                                      \
    const long long n = (long long)nz * ny * nx, row = ((long long)k * ny + j) * nx; \
    if (j >= ny || k >= nz) return;                                            \
    for (int i = THREAD_X * LANES; i < nx && i < (THREAD_X + 1) * LANES; ++i)

/* Overwrites out. */
extern "C" __global__ void warp_forward(const real* __restrict__ volume, const real* __restrict__ d, real* __restrict__ out, int nz,
                                        int ny, int nx, real sz, real sy, real sx) {
    WARP_ROW {
        WarpTap t;
        real c[8], value = (real)0;
        if (warp_place(d, n, row + i, k, j, i, nz, ny, nx, sz, sy, sx, t)) {
            warp_corners(volume, t, nz, ny, nx, c);
            value = warp_value(c, t);
        }
        out[row + i] = value;
    }
}

/* Adds to out what a change of the displacement does to it. */
extern "C" __global__ void warp_push(const real* __restrict__ volume, const real* __restrict__ d, const real* __restrict__ change,
                                     real* __restrict__ out, int nz, int ny, int nx, real sz, real sy, real sx) {
    WARP_ROW {
        WarpTap t;
        real c[8], g[3];
        if (!warp_place(d, n, row + i, k, j, i, nz, ny, nx, sz, sy, sx, t)) continue;
        warp_corners(volume, t, nz, ny, nx, c);
        warp_slope(c, t, g);
        const real* q = change + row + i;
        out[row + i] += g[0] * sz * q[0] + g[1] * sy * q[n] + g[2] * sx * q[2 * n];
    }
}

/* The transpose of warp_push.  Overwrites back (3, nz, ny, nx). */
extern "C" __global__ void warp_pull(const real* __restrict__ volume, const real* __restrict__ d, const real* __restrict__ values,
                                     real* __restrict__ back, int nz, int ny, int nx, real sz, real sy, real sx) {
    WARP_ROW {
        WarpTap t;
        real c[8], g[3] = {};
        if (warp_place(d, n, row + i, k, j, i, nz, ny, nx, sz, sy, sx, t)) {
            warp_corners(volume, t, nz, ny, nx, c);
            warp_slope(c, t, g);
        }
        const real v = values[row + i];
        back[row + i] = g[0] * sz * v, back[row + i + n] = g[1] * sy * v, back[row + i + 2 * n] = g[2] * sx * v;
    }
}

/* Adds the transposed weights of one voxel to the planes [first, last) of the volume. */
template <bool Atomic>
static __device__ __forceinline__ void warp_scatter(real* volume, const WarpTap& t, real value, int first, int last, int ny, int nx) {
#pragma unroll
    for (int q = 0; q < 8; ++q) {
        const int z = t.z + (q >> 2), y = t.y + (q >> 1 & 1), x = t.x + (q & 1);
        const real wz = q >> 2 ? t.fz : (real)1 - t.fz, wy = q >> 1 & 1 ? t.fy : (real)1 - t.fy;
        const real wx = q & 1 ? t.fx : (real)1 - t.fx;
        if (z >= first && z < last && y >= 0 && y < ny && x >= 0 && x < nx)
            add<Atomic>(volume + ((long long)z * ny + y) * nx + x, wz * wy * wx * value);
    }
}

/* The transpose of warp_forward, added to volume. */
extern "C" __global__ void warp_adjoint_atomic(real* volume, const real* __restrict__ d, const real* __restrict__ values, int nz,
                                               int ny, int nx, real sz, real sy, real sx) {
    WARP_ROW {
        WarpTap t;
        if (warp_place(d, n, row + i, k, j, i, nz, ny, nx, sz, sy, sx, t))
            warp_scatter<true>(volume, t, values[row + i], 0, nz, ny, nx);
    }
}

/* The same.  One thread: `planes` planes of the volume, to which only voxels no more than `reach` planes away give. */
extern "C" __global__ void warp_adjoint_planes(real* volume, const real* __restrict__ d, const real* __restrict__ values, int nz,
                                               int ny, int nx, real sz, real sy, real sx, int planes, int reach) {
    const long long n = (long long)nz * ny * nx;
    const int first = THREAD_X * planes, last = first + planes < nz ? first + planes : nz;
    const int from = first > reach ? first - reach : 0, to = last < nz - reach ? last + reach : nz;
    for (int k = from; k < to; ++k)
        for (int j = 0; j < ny; ++j) {
            const long long row = ((long long)k * ny + j) * nx;
            for (int i = 0; i < nx; ++i) {
                WarpTap t;
                const real z = madd(sz, d[row + i], (real)k);
                if (!(z > (real)(first - 1) && z < (real)last)) continue;
                if (warp_place(d, n, row + i, k, j, i, nz, ny, nx, sz, sy, sx, t))
                    warp_scatter<false>(volume, t, values[row + i], first, last, ny, nx);
            }
        }
}
