/* Voxel-driven back projection of filtered projections (Feldkamp, Davis & Kress 1984, eq. 28): each voxel takes the
 * interpolated value where it lands on the detector, weighted by 1/depth^2.  Adds to volume.  Not the adjoint of a projector.
 *
 * projections (view, nu, width): row v at place v + PAD, zeros around.  volume (ny, row_step) with row y as
 * (nx, nz).  matrices (view, 12) take (x, y, z, 1) in voxels to (u, v, 1)*depth, with depth 1 on the axis. */
#include "resample.cuh"

/* One thread: LANES voxels along z. */
extern "C" __global__ void backproject(real* __restrict__ volume, const real* __restrict__ projections,
                                       const real* __restrict__ matrices, int nx, int ny, int nz, int nu, int nv, int n_views,
                                       int width, int row_step) {
    const int z0 = THREAD_X * LANES, x = THREAD_Y, y = THREAD_Z;
    if (z0 >= nz || x >= nx || y >= ny) return;
    const int lanes = nz - z0 < LANES ? nz - z0 : LANES;
    real sum[LANES + (LANES > 1 ? 16 : 0)];
    real* out = volume + (long long)y * row_step + (long long)x * nz + z0;
    for (int l = 0; l < LANES; ++l) sum[l] = l < lanes ? out[l] : (real)0;
    for (int w = 0; w < n_views; ++w) {
        const real* m = matrices + 12 * w;
        const real nu0 = m[0] * (real)x + m[1] * (real)y + m[3], nv0 = m[4] * (real)x + m[5] * (real)y + m[7];
        const real depth0 = m[8] * (real)x + m[9] * (real)y + m[11];
        const real* view = projections + (long long)w * nu * width + PAD;
        for (int l = 0; l < lanes; ++l) {
            const real z = (real)(z0 + l), depth = madd(m[10], z, depth0);
            if (!(depth > (real)0)) continue;
            const real inverse = (real)1 / depth, u = madd(m[2], z, nu0) * inverse, v = madd(m[6], z, nv0) * inverse;
            if (!(u > (real)-1 && u < (real)nu && v > (real)-1 && v < (real)nv)) continue;
            const int j = floor_index(u), i = slice_below(v);
            const real f = u - (real)j, h = v - (real)i;
            const real* c0 = view + (long long)(j >= 0 ? j : 0) * width + i;
            const real* c1 = view + (long long)(j + 1 < nu ? j + 1 : j) * width + i;
            const real w0 = j >= 0 ? (real)1 - f : (real)0, w1 = j + 1 < nu ? f : (real)0;
            const real low = w0 * c0[0] + w1 * c1[0], high = w0 * c0[1] + w1 * c1[1];
            sum[l] += madd(h, high - low, low) * inverse * inverse;
        }
    }
    for (int l = 0; l < lanes; ++l) out[l] = sum[l];
}

/* The same where depth and u do not depend on z (detector columns parallel to the volume's z axis): two detector
 * columns are blended once and resampled.  One thread: LANES voxels along z. */
extern "C" __global__ void backproject_columns(real* __restrict__ volume, const real* __restrict__ projections,
                                               const real* __restrict__ matrices, int nx, int ny, int nz, int nu, int nv,
                                               int n_views, int width, int row_step) {
    const int z0 = THREAD_X * LANES, x = THREAD_Y, y = THREAD_Z;
    if (z0 >= nz || x >= nx || y >= ny) return;
    const int lanes = nz - z0 < LANES ? nz - z0 : LANES;
    real sum[LANES + (LANES > 1 ? 16 : 0)];
    real* out = volume + (long long)y * row_step + (long long)x * nz + z0;
    for (int l = 0; l < LANES; ++l) sum[l] = l < lanes ? out[l] : (real)0;
    for (int w = 0; w < n_views; ++w) {
        const real* m = matrices + 12 * w;
        const real depth = m[8] * (real)x + m[9] * (real)y + m[11];
        if (!(depth > (real)0)) continue;
        const real inverse = (real)1 / depth, u = (m[0] * (real)x + m[1] * (real)y + m[3]) * inverse;
        if (!(u > (real)-1 && u < (real)nu)) continue;
        const real pitch = m[6] * inverse;
        const real v = madd(m[6], (real)z0, m[4] * (real)x + m[5] * (real)y + m[7]) * inverse;
        int first = 0, last = lanes - 1;
        if (!rows_between(v, pitch, (real)-1, (real)nv, first, last)) continue;
        const int j = floor_index(u);
        const real f = u - (real)j, scale = inverse * inverse;
        const real* c0 = projections + ((long long)w * nu + (j >= 0 ? j : 0)) * width + PAD;
        const real* c1 = projections + ((long long)w * nu + (j + 1 < nu ? j + 1 : j)) * width + PAD;
        const real w0 = j >= 0 ? ((real)1 - f) * scale : (real)0, w1 = j + 1 < nu ? f * scale : (real)0;
        add_blended(sum, c0, c1, w0, w1, v, pitch, first, last);
    }
    for (int l = 0; l < lanes; ++l) out[l] = sum[l];
}

/* The same for an upright parallel beam: u is linear along a row of voxels and v depends on z alone, so the lanes are
 * the voxels of a row and volume is in the public order (nz, ny, nx).  rows (view, nv, wide): column u at place u + PAD.
 * One thread: LANES voxels along x. */
extern "C" __global__ void backproject_rows(real* __restrict__ volume, const real* __restrict__ rows,
                                            const real* __restrict__ matrices, int nx, int ny, int nz, int nu, int nv,
                                            int n_views, int wide) {
    const int x0 = THREAD_X * LANES, y = THREAD_Y, z = THREAD_Z;
    if (x0 >= nx || y >= ny || z >= nz) return;
    const int lanes = nx - x0 < LANES ? nx - x0 : LANES;
    real sum[LANES + (LANES > 1 ? 16 : 0)];
    real* out = volume + ((long long)z * ny + y) * nx + x0;
    for (int l = 0; l < LANES; ++l) sum[l] = l < lanes ? out[l] : (real)0;
    for (int w = 0; w < n_views; ++w) {
        const real* m = matrices + 12 * w;
        const real v = madd(m[6], (real)z, m[7]);
        if (!(v > (real)-1 && v < (real)nv)) continue;
        const real u = madd(m[0], (real)x0, madd(m[1], (real)y, m[3]));
        int first = 0, last = lanes - 1;
        if (!rows_between(u, m[0], (real)-1, (real)nu, first, last)) continue;
        const int i = floor_index(v);
        const real h = v - (real)i;
        const real* c0 = rows + ((long long)w * nv + (i >= 0 ? i : 0)) * wide + PAD;
        const real* c1 = rows + ((long long)w * nv + (i + 1 < nv ? i + 1 : i)) * wide + PAD;
        add_blended(sum, c0, c1, i >= 0 ? (real)1 - h : (real)0, i + 1 < nv ? h : (real)0, u, m[0], first, last);
    }
    for (int l = 0; l < lanes; ++l) out[l] = sum[l];
}
