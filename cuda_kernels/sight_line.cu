/* Where the sight of an image's pixels meets a height field: its place over the grid is a cubic in the height, followed from
 * high to low until the ground, bilinear between elements, rises above it.  One thread: LANES pixels. */
#include "lane.cuh"

/* The height of the ground at (x, y), held at the grid's edges. */
static __device__ __forceinline__ real ground_at(const real* __restrict__ h, real x, real y, int ny, int nx) {
    const real cx = x > (real)0 ? (x < (real)(nx - 1) ? x : (real)(nx - 1)) : (real)0;
    const real cy = y > (real)0 ? (y < (real)(ny - 1) ? y : (real)(ny - 1)) : (real)0;
    const int i = (int)cx < nx - 2 ? (int)cx : nx - 2, j = (int)cy < ny - 2 ? (int)cy : ny - 2;
    const real fx = cx - (real)i, fy = cy - (real)j;
    const real* a = h + (long long)j * nx + i;
    const real upper = madd(fx, a[1] - a[0], a[0]), lower = madd(fx, a[nx + 1] - a[nx], a[nx]);
    return madd(fy, lower - upper, upper);
}

static __device__ __forceinline__ real cubic_at(const real* __restrict__ path, long long n, long long e, real t) {
    return madd(t, madd(t, madd(t, path[3 * n + e], path[2 * n + e]), path[n + e]), path[e]);
}

/* path (2, 4, n): column and row over the grid, of powers 0 to 3 of t in [-1, 1]; height = middle + half t.  met (n): t of
 * the first place met from above, NaN where that lies outside of the grid or there is none.  Overwrites. */
extern "C" __global__ void sight_line(const real* __restrict__ height, const real* __restrict__ path, real* __restrict__ met, int ny,
                                      int nx, long long n, int steps, real middle, real half) {
    const long long first = (long long)THREAD_X * LANES;
    const real none = (real)0 / (real)0 * (real)0;
    for (long long e = first; e < first + LANES && e < n; ++e) {
        met[e] = none;
        if (!(path[e] == path[e])) continue;
        const real step = (real)2 / (real)steps;
        real above = (real)1, below = (real)1;
        int found = 0;
        for (int k = 0; k <= steps && !found; ++k) {
            const real t = (real)1 - step * (real)k;
            const real x = cubic_at(path, n, e, t), y = cubic_at(path + 4 * n, n, e, t);
            if (madd(half, t, middle) <= ground_at(height, x, y, ny, nx)) {
                found = k > 0; /* a sight that begins below the ground is none */
                below = t;
                if (!found) break;
            } else
                above = t;
        }
        if (!found) continue;
        for (int k = 0; k < 50; ++k) {
            const real t = (real)0.5 * (above + below);
            const real x = cubic_at(path, n, e, t), y = cubic_at(path + 4 * n, n, e, t);
            if (madd(half, t, middle) <= ground_at(height, x, y, ny, nx))
                below = t;
            else
                above = t;
        }
        const real t = (real)0.5 * (above + below);
        const real x = cubic_at(path, n, e, t), y = cubic_at(path + 4 * n, n, e, t);
        const real edge = (real)1e-3; /* elements, for rounding */
        if (x >= -edge && x <= (real)(nx - 1) + edge && y >= -edge && y <= (real)(ny - 1) + edge) met[e] = t;
    }
}
