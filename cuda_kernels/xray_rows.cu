/* Line integrals of a parallel beam whose detector rows are the slices of the volume (Joseph 1982, eq. 5-8).
 *
 * volume (ny, row_step) holds row y as (nx, nz) and projections (view, nu, nz) keep the slice contiguous; nz is a
 * multiple of ROW_STEP.  In the plane of a slice, ray (view, u) crosses the grid planes k of its major axis
 * (0: x, 1: y) at
 *     b(u, k) = gb*(k - kc) + b0 + dbu*u,   kc = (planes - 1)/2,
 * along the other axis, and takes the two voxels beside b with weights 1 - |b - j|, times the length of its step.
 * axes (view): the major axis.  lines (view, 5): b0, dbu, gb, step length in mm, 1/dbu. */
#include "lane.cuh"

#define ROW_STEP (LANES < 16 ? 1 : 16)
#define TOGETHER (LANES < 16 ? 1 : 4) /* neighbouring rays or voxels that one thread walks side by side */

static __device__ __forceinline__ real rows_position(const real* line, real plane, int u) {
    return madd(line[1], (real)u, madd(line[2], plane, line[0]));
}

/* N rows of `TOGETHER` neighbouring rays, which read nearly the same columns of voxels. */
template <int N>
static __device__ __forceinline__ void rows_walk(const real* __restrict__ volume, real* __restrict__ out, const real* line,
                                                 int u0, int nu, int nz, int planes, int across, long long plane_step,
                                                 long long step) {
    real sum[TOGETHER][N];
    for (int i = 0; i < TOGETHER; ++i)
        for (int l = 0; l < N; ++l) sum[i][l] = 0;
    const real middle = (real)0.5 * (real)(planes - 1);
    const real b_first = rows_position(line, -middle, u0), b_last = rows_position(line, -middle, u0 + TOGETHER - 1);
    int first = 0, last = planes - 1;
    if (fabs(line[2]) > (real)1e-6) { /* the planes where any of these rays is inside, a plane generous */
        const real low = ((real)-2 - (b_first > b_last ? b_first : b_last)) / line[2];
        const real high = ((real)(across + 1) - (b_first < b_last ? b_first : b_last)) / line[2];
        const real from = low < high ? low : high, to = low < high ? high : low;
        if (from > (real)0) first = from < (real)planes ? (int)from : planes;
        if (to < (real)last) last = to > (real)-1 ? (int)to : -1;
    }
    for (int k = first; k <= last; ++k) {
        for (int i = 0; i < TOGETHER; ++i) {
            const real b = rows_position(line, (real)k - middle, u0 + i);
            const real inside = b > (real)-1 && b < (real)across ? b : (real)-1; /* at -1 both weights vanish */
            const int j = floor_index(inside);
            const real f = inside - (real)j;
            const real w0 = j >= 0 ? (real)1 - f : (real)0, w1 = j + 1 < across ? f : (real)0;
            const real* __restrict__ c0 = volume + k * plane_step + (j >= 0 ? j : 0) * step;
            const real* __restrict__ c1 = volume + k * plane_step + (j + 1 < across ? j + 1 : j) * step;
            for (int l = 0; l < N; ++l) sum[i][l] += w0 * c0[l] + w1 * c1[l];
        }
    }
    for (int i = 0; i < TOGETHER; ++i)
        if (u0 + i < nu)
            for (int l = 0; l < N; ++l) out[(long long)i * nz + l] = line[3] * sum[i][l];
}

/* One thread: up to 64 rows of TOGETHER ray columns. */
extern "C" __global__ void xray_rows_forward(const real* __restrict__ volume, real* __restrict__ projections,
                                             const int* __restrict__ axes, const real* __restrict__ lines, int nx, int ny,
                                             int nz, int nu, int n_views, int row_step) {
    const int per_thread = ROW_STEP == 1 ? 1 : 64;
    int v = THREAD_X * per_thread;
    const int u = THREAD_Y * TOGETHER, w = THREAD_Z;
    if (v >= nz || u >= nu || w >= n_views) return;
    const int axis = axes[w];
    const int planes = axis ? ny : nx, across = axis ? nx : ny;
    const long long step = axis ? nz : row_step, plane_step = axis ? row_step : nz;
    const real* line = lines + 5 * w;
    real* out = projections + ((long long)w * nu + u) * nz + v;
    const int end = v + per_thread < nz ? v + per_thread : nz;
    for (; v + 4 * ROW_STEP <= end; v += 4 * ROW_STEP, out += 4 * ROW_STEP)
        rows_walk<4 * ROW_STEP>(volume + v, out, line, u, nu, nz, planes, across, plane_step, step);
    for (; v + 2 * ROW_STEP <= end; v += 2 * ROW_STEP, out += 2 * ROW_STEP)
        rows_walk<2 * ROW_STEP>(volume + v, out, line, u, nu, nz, planes, across, plane_step, step);
    for (; v < end; v += ROW_STEP, out += ROW_STEP)
        rows_walk<ROW_STEP>(volume + v, out, line, u, nu, nz, planes, across, plane_step, step);
}

/* N slices of `TOGETHER` voxels side by side along x, gathered from the rays that touch them. */
template <int N>
static __device__ __forceinline__ void rows_gather(const real* __restrict__ projections, real* __restrict__ out,
                                                   const int* __restrict__ axes, const real* __restrict__ lines, int x0, int y,
                                                   int nx, int ny, int nu, int nz, int n_views) {
    real sum[TOGETHER][N];
    for (int i = 0; i < TOGETHER; ++i)
        for (int l = 0; l < N; ++l) sum[i][l] = 0;
    const real middle_x = (real)0.5 * (real)(nx - 1), middle_y = (real)0.5 * (real)(ny - 1);
    for (int w = 0; w < n_views; ++w) {
        const int axis = axes[w];
        const real* line = lines + 5 * w;
        const real reach = fabs(line[4]);
        const int taps = (int)((real)2 * reach) + 1; /* the rays closer than one voxel; a weight of the last may be zero */
        const real* p = projections + (long long)w * nu * nz;
        for (int i = 0; i < TOGETHER; ++i) {
            const real plane = axis ? (real)y - middle_y : (real)(x0 + i) - middle_x;
            const real target = axis ? (real)(x0 + i) : (real)y;
            const real centre = (target - rows_position(line, plane, 0)) * line[4];
            const real low = centre - reach;
            if (!(low < (real)nu && centre + reach > (real)-1)) continue;
            const int u0 = floor_index(low) + 1;
            for (int q = 0; q < taps; ++q) {
                const bool seen = u0 + q >= 0 && u0 + q < nu;
                const int u = seen ? u0 + q : 0;
                const real share = (real)1 - fabs(rows_position(line, plane, u) - target);
                const real weight = seen && share > (real)0 ? share * line[3] : (real)0;
                const real* __restrict__ column = p + (long long)u * nz;
                for (int l = 0; l < N; ++l) sum[i][l] += weight * column[l];
            }
        }
    }
    for (int i = 0; i < TOGETHER; ++i)
        if (x0 + i < nx)
            for (int l = 0; l < N; ++l) out[(long long)i * nz + l] = sum[i][l];
}

/* One thread: up to 64 slices of TOGETHER voxel columns. */
extern "C" __global__ void xray_rows_adjoint(real* __restrict__ volume, const real* __restrict__ projections,
                                             const int* __restrict__ axes, const real* __restrict__ lines, int nx, int ny,
                                             int nz, int nu, int n_views, int row_step) {
    const int per_thread = ROW_STEP == 1 ? 1 : 64;
    int z = THREAD_X * per_thread;
    const int x = THREAD_Y * TOGETHER, y = THREAD_Z;
    if (z >= nz || x >= nx || y >= ny) return;
    real* out = volume + (long long)y * row_step + (long long)x * nz + z;
    const int end = z + per_thread < nz ? z + per_thread : nz;
    for (; z + 4 * ROW_STEP <= end; z += 4 * ROW_STEP, out += 4 * ROW_STEP)
        rows_gather<4 * ROW_STEP>(projections + z, out, axes, lines, x, y, nx, ny, nu, nz, n_views);
    for (; z + 2 * ROW_STEP <= end; z += 2 * ROW_STEP, out += 2 * ROW_STEP)
        rows_gather<2 * ROW_STEP>(projections + z, out, axes, lines, x, y, nx, ny, nu, nz, n_views);
    for (; z < end; z += ROW_STEP, out += ROW_STEP)
        rows_gather<ROW_STEP>(projections + z, out, axes, lines, x, y, nx, ny, nu, nz, n_views);
}
