/* What an image shows at the elements of a height field: where each is seen is a cubic in its height; the image is a cubic
 * B-spline of its coefficients, mirrored at the middles of its outermost pixels.  One thread: LANES elements. */
#include "lane.cuh"

/* Weights of the four taps around a place f (0 to 1) beyond the second, and their derivatives. */
static __device__ __forceinline__ void spline_taps(real f, real* w, real* d) {
    const real g = (real)1 - f, sixth = (real)(1.0 / 6.0);
    w[0] = sixth * g * g * g;
    w[1] = sixth * ((real)4 + f * f * ((real)3 * f - (real)6));
    w[2] = sixth * ((real)4 + g * g * ((real)3 * g - (real)6));
    w[3] = sixth * f * f * f;
    d[0] = (real)-0.5 * g * g;
    d[1] = (real)0.5 * f * ((real)3 * f - (real)4);
    d[2] = (real)-0.5 * g * ((real)3 * g - (real)4);
    d[3] = (real)0.5 * f * f;
}

/* The tap before whole pixel `start` + floor(x), and the rest of x; held, with inside = 0, at the image's last pixels. */
static __device__ __forceinline__ int spline_place(int start, real x, int size, real& f, real& inside) {
    const real low = (real)-start, high = (real)(size - 1 - start);
    const real held = x > low ? (x < high ? x : high) : low;
    inside = held == x ? (real)1 : (real)0;
    int k = floor_index(held);
    k = k < size - 2 - start ? k : size - 2 - start;
    f = held - (real)k;
    return start + k - 1;
}

static __device__ __forceinline__ int mirrored(int i, int size) {
    i = i < 0 ? -i : i;
    return i < size ? i : 2 * (size - 1) - i;
}

static __device__ __forceinline__ real cubic(const real* __restrict__ path, long long n, long long e, real t, real& slope) {
    const real c1 = path[n + e], c2 = path[2 * n + e], c3 = path[3 * n + e];
    slope = madd(t, madd(t, (real)3 * c3, (real)2 * c2), c1);
    return madd(t, madd(t, madd(t, c3, c2), c1), path[e]);
}

/* image: coefficients (rows, columns), at least 4 x 4.  t = (height - middle) unit; start (2, n): whole column and row, to
 * which path (2, 4, n), of powers 0 to 3 of t, adds.  correction (2, 3): of 1, u and v, pixels, which are (column - centre) /
 * size and the same of rows, before it.  seen (6, n): value; its derivatives by height, column and row; u, v.  Overwrites. */
extern "C" __global__ void sighting(const real* __restrict__ image, const real* __restrict__ height, const int* __restrict__ start,
                                    const real* __restrict__ path, const real* __restrict__ correction, real* __restrict__ seen,
                                    int rows, int columns, long long n, real middle, real unit, real centre_x, real centre_y,
                                    real size_x, real size_y) {
    const long long first = (long long)THREAD_X * LANES;
    for (long long e = first; e < first + LANES && e < n; ++e) {
        const real t = (height[e] - middle) * unit;
        real dx, dy;
        const real x = cubic(path, n, e, t, dx), y = cubic(path + 4 * n, n, e, t, dy);
        const real u = ((real)start[e] - centre_x + x) / size_x, v = ((real)start[n + e] - centre_y + y) / size_y;
        const real *a = correction, *b = correction + 3;
        real fx, fy, in_x, in_y;
        const int i0 = spline_place(start[e], x + a[0] + a[1] * u + a[2] * v, columns, fx, in_x);
        const int j0 = spline_place(start[n + e], y + b[0] + b[1] * u + b[2] * v, rows, fy, in_y);
        real wx[4], wy[4], gx[4], gy[4];
        spline_taps(fx, wx, gx);
        spline_taps(fy, wy, gy);
        real value = 0, by_x = 0, by_y = 0;
        for (int j = 0; j < 4; ++j) {
            const real* line = image + (long long)mirrored(j0 + j, rows) * columns;
            real along = 0, slope = 0;
            for (int i = 0; i < 4; ++i) {
                const real c = line[mirrored(i0 + i, columns)];
                along = madd(wx[i], c, along);
                slope = madd(gx[i], c, slope);
            }
            value = madd(wy[j], along, value);
            by_x = madd(wy[j], slope, by_x);
            by_y = madd(gy[j], along, by_y);
        }
        by_x *= in_x;
        by_y *= in_y;
        const real moved_x = dx + a[1] * dx / size_x + a[2] * dy / size_y;
        const real moved_y = dy + b[1] * dx / size_x + b[2] * dy / size_y;
        seen[e] = value;
        seen[n + e] = unit * (by_x * moved_x + by_y * moved_y);
        seen[2 * n + e] = by_x;
        seen[3 * n + e] = by_y;
        seen[4 * n + e] = u;
        seen[5 * n + e] = v;
    }
}
