/* The horizon of every element of a height field towards the sun: the largest tangent of elevation along the azimuth, and
 * the step at which it stands.  A ray goes from grid line to grid line: steps of one element along its major axis, and of
 * `drift` along the other, between two elements of which it takes the height linearly.  One thread: LANES elements of a
 * row, whose rays run side by side. */
#include "lane.cuh"

/* tangent: starts at `low`, below which nothing is of interest; step: 0 where nothing rises above it.  run: length of a
 * step; curve: 1 / (2 radius of the body), by whose curvature distant heights sink; highest: of all heights.
 * y_major: steps go along the rows' axis.  sign: towards rising or falling indices.  Overwrites. */
extern "C" __global__ void horizon_march(const real* __restrict__ h, real* __restrict__ tangent, int* __restrict__ step, int ny,
                                         int nx, int y_major, int sign, int steps, real drift, real run, real low, real curve,
                                         real highest) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny || first >= nx) return;
    const int count = first + LANES < nx ? LANES : nx - first;
    const long long row = (long long)j * nx + first;
    real best[LANES];
    int at[LANES];
    real lowest = h[row];
    for (int l = 0; l < count; ++l) {
        best[l] = low;
        at[l] = 0;
        lowest = h[row + l] < lowest ? h[row + l] : lowest;
    }
    for (int t = 1; t <= steps; ++t) {
        const real away = run * (real)t, inverse = (real)1 / away, sunk = curve * away * away;
        if ((highest - sunk - lowest) * inverse <= low) break;
        const real side = drift * (real)t;
        const int whole = floor_index(side);
        const real part = side - (real)whole;
        const int r0 = y_major ? j + sign * t : j + whole, r1 = y_major ? r0 : part > (real)0 ? r0 + 1 : r0;
        const int c0 = y_major ? whole : sign * t, c1 = y_major && part > (real)0 ? c0 + 1 : c0;
        if (r0 < 0 || r0 >= ny || r1 >= ny) break; /* a ray that has left stays outside */
        const int from = -(first + c0) > 0 ? -(first + c0) : 0, end = nx - first - c1;
        const int to = end < count ? end : count;
        const real *a = h + (long long)r0 * nx + first + c0, *b = h + (long long)r1 * nx + first + c1;
        for (int l = from; l < to; ++l) {
            const real rise = madd(part, b[l] - a[l], a[l]) - sunk - h[row + l];
            const real slope = rise * inverse;
            at[l] = slope > best[l] ? t : at[l];
            best[l] = slope > best[l] ? slope : best[l];
        }
    }
    for (int l = 0; l < count; ++l) {
        tangent[row + l] = best[l];
        step[row + l] = at[l];
    }
}
