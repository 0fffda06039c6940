/* The parallel beam of xray_rows.cu for a few slices: neighbouring lanes are detector columns and voxels of a row, so
 * that a single slice is as quick for its size as many.  Same geometry table, same weights.
 *
 * rows (nz, ny, wide_x) holds the slices, columns (nz, nx, wide_y) their transposes; voxel j of a line is at place
 * j + PAD, zeros around.  projections (view, nv, nu) in the public order; row v lies in slice v + shift. */
#include "resample.cuh"

static __device__ __forceinline__ real slices_position(const real* line, int planes, int k, int u) {
    return madd(line[1], (real)u, madd(line[2], (real)k - (real)0.5 * (real)(planes - 1), line[0]));
}

/* One thread: LANES detector columns of one row and view. */
extern "C" __global__ void xray_slices_forward(const real* __restrict__ rows, const real* __restrict__ columns,
                                               real* __restrict__ projections, const int* __restrict__ axes,
                                               const real* __restrict__ lines, int nx, int ny, int nz, int nu, int nv,
                                               int n_views, int wide_x, int wide_y, int shift) {
    const int u0 = THREAD_X * LANES, v = THREAD_Y, w = THREAD_Z;
    if (u0 >= nu || v >= nv || w >= n_views) return;
    const int lanes = nu - u0 < LANES ? nu - u0 : LANES, z = v + shift, axis = axes[w];
    const int planes = axis ? ny : nx, across = axis ? nx : ny, wide = axis ? wide_x : wide_y;
    const real* line = lines + 5 * w;
    const real* image = (axis ? rows : columns) + (long long)z * planes * wide + PAD;
    real sum[LANES + (LANES > 1 ? 16 : 0)];
    for (int l = 0; l < LANES; ++l) sum[l] = 0;
    for (int k = 0; z >= 0 && z < nz && k < planes; ++k) {
        const real b = slices_position(line, planes, k, u0);
        int first = 0, last = lanes - 1;
        if (!rows_between(b, line[1], (real)-1, (real)across, first, last)) continue;
#if LANES > 1
        const real b0 = madd((real)first, line[1], b), b1 = madd((real)last, line[1], b), low = b0 < b1 ? b0 : b1;
        const int below = low > (real)0 ? (int)low : 0; /* counted from here, places keep their digits in single precision */
        interpolate_lanes(sum, image + (long long)k * wide + below, b - (real)below, line[1], first, last);
#else
        interpolate_plain(sum, image + (long long)k * wide, b, line[1], first, last);
#endif
    }
    real* out = projections + ((long long)w * nv + v) * nu + u0;
    for (int l = 0; l < lanes; ++l) out[l] = line[3] * sum[l];
}

#if LANES > 1
#define TAKEN LANES /* detector columns at a time: as the forward, so that both round places alike */
#define AROUND MARGIN
#else
#define TAKEN 1
#define AROUND 0
#endif

/* The transpose: one thread owns `owned` grid planes of the major axis `axis` in one slice.  image is `rows` for axis 1
 * and `columns` for axis 0; adds to it. */
extern "C" __global__ void xray_slices_adjoint(real* __restrict__ image, const real* __restrict__ projections,
                                               const int* __restrict__ axes, const real* __restrict__ lines, int nx, int ny,
                                               int nz, int nu, int nv, int n_views, int wide, int shift, int axis, int owned) {
    const int k0 = THREAD_X * owned, z = THREAD_Y, v = z - shift;
    const int planes = axis ? ny : nx, across = axis ? nx : ny;
    if (k0 >= planes || z >= nz || v < 0 || v >= nv) return;
    const int k1 = k0 + owned < planes ? k0 + owned : planes;
    real values[TAKEN + 2 * AROUND];
    for (int l = 0; l < TAKEN + 2 * AROUND; ++l) values[l] = 0;
    for (int w = 0; w < n_views; ++w) {
        if (axes[w] != axis) continue;
        const real* line = lines + 5 * w;
        const real* p = projections + ((long long)w * nv + v) * nu;
        for (int u0 = 0; u0 < nu; u0 += TAKEN) {
            const int taken = nu - u0 < TAKEN ? nu - u0 : TAKEN;
            for (int l = 0; l < taken; ++l) values[AROUND + l] = line[3] * p[u0 + l];
            for (int l = taken; l < taken + AROUND; ++l) values[AROUND + l] = 0;
            for (int k = k0; k < k1; ++k) {
                const real b = slices_position(line, planes, k, u0), end = madd(line[1], (real)(taken - 1), b);
                const real low = b < end ? b : end, high = b < end ? end : b;
                if (!(low < (real)across && high > (real)-1)) continue;
                const int below = low > (real)0 ? (int)low : 0;
                const int above = high < (real)(across - 1) ? (int)(high + (real)1) : across - 1;
                real* out = image + ((long long)z * planes + k) * wide + PAD;
                add_transposed(out, out, (real)1, (real)0, values + AROUND, b, line[1], taken, below, above);
            }
        }
    }
}
#undef TAKEN
#undef AROUND
