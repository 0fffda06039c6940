/* Line integrals along rays whose detector columns see one path in the slice plane (Joseph 1982): circular and helical
 * cone beam, fan beam, equiangular detectors, parallel beam with any row pitch, laminography.  See column.cuh.
 *
 * volume (ny, row_step): row y is (nx, width), voxel z at place z + PAD, zeros around; width is a multiple of 16.
 * projections (view, nu, nv).  A voxel (k, j, z) has the weight (1 - |b(k) - j|)(1 - |z(k, v) - z|), times the length. */
#include "column.cuh"

/* One thread: LANES rows of one ray column. */
extern "C" __global__ void xray_column_forward(const real* __restrict__ volume, real* __restrict__ projections,
                                               const int* __restrict__ spans, const real* __restrict__ columns, int nx, int ny,
                                               int nz, int nu, int nv, int n_views, int width, int row_step, real sx, real sy,
                                               real sz) {
    const int v0 = THREAD_X * LANES, u = THREAD_Y, w = THREAD_Z;
    if (v0 >= nv || u >= nu || w >= n_views) return;
    const int lanes = nv - v0 < LANES ? nv - v0 : LANES;
    const Column c = read_column(spans, columns, (long long)w * nu + u, nx, ny, width, row_step);
    real sum[LANES + (LANES > 1 ? 16 : 0)];
    for (int l = 0; l < LANES; ++l) sum[l] = 0;
    for (int k = c.first; k <= c.last; ++k) {
        Pair p;
        if (!beside(column_position(c, k), c.across, p)) continue;
        const real* c0 = volume + k * c.plane_step + p.j * c.step + PAD;
        const real pitch = column_pitch(c, k), height = madd((real)v0, pitch, column_height(c, k));
        int first = 0, last = lanes - 1;
        if (rows_between(height, pitch, (real)-1, (real)nz, first, last))
            add_blended(sum, c0, c0 + p.next * c.step, p.w0, p.w1, height, pitch, first, last);
    }
    real* out = projections + ((long long)w * nu + u) * nv + v0;
    for (int l = 0; l < lanes; ++l) out[l] = sum[l] * step_length(c, v0 + l, sx, sy, sz);
}

#if LANES > 1
#define ROWS LANES /* detector rows that the plane walk takes at a time: as the forward, so that both round heights alike */
#define MARGINS (2 * MARGIN + ROWS)
#else
#define ROWS 1
#define MARGINS 1
#endif

/* The transpose, one thread owning `owned` grid planes of the major axis `axis`: it walks the rays across them, so no
 * two threads write to one voxel and the sums have one order.  Adds to volume; launched once for each axis. */
extern "C" __global__ void xray_column_adjoint_planes(real* __restrict__ volume, const real* __restrict__ projections,
                                                      const int* __restrict__ spans, const real* __restrict__ columns, int nx,
                                                      int ny, int nz, int nu, int nv, int n_views, int width, int row_step,
                                                      real sx, real sy, real sz, int axis,
                                                      int owned) {
    const int k0 = THREAD_X * owned;
    if (k0 >= (axis ? ny : nx)) return;
    real values[MARGINS];
    for (int l = 0; l < MARGINS; ++l) values[l] = 0;
    const int origin = MARGINS == 1 ? 0 : (MARGINS - ROWS) / 2;
    for (long long i = 0; i < (long long)n_views * nu; ++i) {
        if (spans[3 * i] != axis) continue;
        const Column c = read_column(spans, columns, i, nx, ny, width, row_step);
        const int first = k0 > c.first ? k0 : c.first, end = k0 + owned - 1 < c.last ? k0 + owned - 1 : c.last;
        if (first > end) continue;
        for (int v0 = 0; v0 < nv; v0 += ROWS) {
            const int rows = nv - v0 < ROWS ? nv - v0 : ROWS;
            for (int l = 0; l < rows; ++l) values[origin + l] = projections[i * nv + v0 + l] * step_length(c, v0 + l, sx, sy, sz);
            for (int l = rows; l < rows + origin; ++l) values[origin + l] = 0;
            for (int k = first; k <= end; ++k) {
                Pair p;
                if (!beside(column_position(c, k), c.across, p)) continue;
                const real pitch = column_pitch(c, k), height = madd((real)v0, pitch, column_height(c, k));
                const real top = madd((real)(rows - 1), pitch, height);
                const real low = height < top ? height : top, high = height < top ? top : height;
                if (!(low < (real)nz && high > (real)-1)) continue;
                const int below = low > (real)0 ? (int)low : 0, above = high < (real)(nz - 1) ? (int)(high + (real)1) : nz - 1;
                real* c0 = volume + k * c.plane_step + p.j * c.step + PAD;
                real* c1 = c0 + p.next * c.step;
                add_transposed(c0, c1, p.w0, p.w1, values + origin, height, pitch, rows, below, above);
            }
        }
    }
}

/* Where a point of the slice plane, in voxels, lands on the detector of a view: column number, a fraction of a column
 * exact.  locator (view, 7): 0 flat or parallel, else columns per radian; numerator x, y, 1; denominator x, y, 1. */
static __device__ __forceinline__ bool locate(const real* locator, real x, real y, real& u) {
    const real* n = locator + 1;
    const real* d = locator + 4;
    const real above = n[0] * x + n[1] * y + n[2], below = d[0] * x + d[1] * y + d[2];
    if (!(below > (real)0)) return false;
    u = locator[0] > (real)0 ? locator[0] * atan2(above, below) : above / below;
    return true;
}

/* The transpose, one thread owning LANES voxels of a column: it gathers from the rays that touch them.  Overwrites. */
extern "C" __global__ void xray_column_adjoint_gather(real* __restrict__ volume, const real* __restrict__ projections,
                                                      const int* __restrict__ spans, const real* __restrict__ columns,
                                                      const real* __restrict__ locators, int nx, int ny, int nz, int nu, int nv,
                                                      int n_views, int width, int row_step, real sx, real sy, real sz) {
    const int z0 = THREAD_X * LANES, x = THREAD_Y, y = THREAD_Z;
    if (z0 >= nz || x >= nx || y >= ny) return;
    const int lanes = nz - z0 < LANES ? nz - z0 : LANES;
    real sum[LANES];
    for (int l = 0; l < LANES; ++l) sum[l] = 0;
    for (int w = 0; w < n_views; ++w) {
        real corner[4], from = (real)nu, to = (real)-1;
        bool seen = true;
        for (int i = 0; i < 4; ++i) {
            const real aside = (real)(i % 2 ? 1 : -1);
            seen = seen && locate(locators + 7 * w, (real)x + (i < 2 ? aside : 0), (real)y + (i < 2 ? 0 : aside), corner[i]);
            from = corner[i] < from ? corner[i] : from, to = corner[i] > to ? corner[i] : to;
        }
        if (!seen) from = 0, to = (real)(nu - 1); /* next to the source: look at every column */
        const int u0 = from > (real)1 ? (int)from - 1 : 0, end = to < (real)(nu - 2) ? (int)(to + (real)2) : nu - 1;
        for (int u = u0; u <= end && u < nu; ++u) { /* to + 2 may round up to nu */
            const Column c = read_column(spans, columns, (long long)w * nu + u, nx, ny, width, row_step);
            const int k = c.axis ? y : x;
            const real beside = (real)1 - fabs(column_position(c, k) - (real)(c.axis ? x : y));
            if (!(beside > (real)0) || k < c.first || k > c.last) continue;
            const real pitch = column_pitch(c, k), height = column_height(c, k), inverse = (real)1 / pitch, reach = fabs(inverse);
            const real* p = projections + ((long long)w * nu + u) * nv;
            for (int l = 0; l < lanes; ++l) {
                const real z = (real)(z0 + l), centre = (z - height) * inverse, low = centre - reach, high = centre + reach;
                const int v0 = low > (real)0 ? (int)low : 0;
                const int v1 = high < (real)(nv - 1) ? (high > (real)-1 ? (int)(high + (real)1) : -1) : nv - 1;
                for (int v = v0; v <= v1 && v < nv; ++v) {
                    const real weight = (real)1 - fabs(madd((real)v, pitch, height) - z);
                    if (weight > (real)0) sum[l] += beside * weight * step_length(c, v, sx, sy, sz) * p[v];
                }
            }
        }
    }
    real* out = volume + (long long)y * row_step + (long long)x * width + PAD + z0;
    for (int l = 0; l < lanes; ++l) out[l] = sum[l];
}
#undef ROWS
#undef MARGINS
