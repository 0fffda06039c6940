/* Heights on a grid as a surface: row 0 is the northernmost, columns run east, z is up.  The slopes are differences of fourth
 * order, of which mean heights of elements give their mean slopes; of second order beside the edges, one-sided at them. */
#pragma once
#include "lane.cuh"

struct Vec {
    real x, y, z;
};
static __device__ __forceinline__ real dot(const Vec& a, const Vec& b) { return madd(a.x, b.x, madd(a.y, b.y, a.z * b.z)); }
static __device__ __forceinline__ Vec cross(const Vec& a, const Vec& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static __device__ __forceinline__ Vec add(const Vec& a, const Vec& b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
static __device__ __forceinline__ Vec scaled(real f, const Vec& a) { return {f * a.x, f * a.y, f * a.z}; }

static __device__ __forceinline__ Vec vector_at(const real* __restrict__ a, int field, long long n, long long i) {
    return field ? Vec{a[i], a[n + i], a[2 * n + i]} : Vec{a[0], a[1], a[2]};
}

/* Weights of the neighbours next to element i of n, and of those beyond them, in its slope. */
static __device__ __forceinline__ real weight_near(int i, int n) {
    return i >= 2 && i + 2 < n ? (real)2 / 3 : i > 0 && i + 1 < n ? (real)0.5 : (real)1;
}
static __device__ __forceinline__ real weight_far(int i, int n) { return i >= 2 && i + 2 < n ? (real)-1 / 12 : (real)0; }

/* The slope at element i of n, `step` apart, in elements. */
static __device__ __forceinline__ real slope_along(const real* __restrict__ at, long long step, int i, int n) {
    const real near = at[i + 1 < n ? step : 0] - at[i > 0 ? -step : 0];
    const real far = at[i + 2 < n ? 2 * step : 0] - at[i > 1 ? -2 * step : 0];
    return madd(weight_near(i, n), near, weight_far(i, n) * far);
}
/* p and q of heights at element (row j, column i). */
static __device__ __forceinline__ void surface_slopes(const real* __restrict__ h, int j, int i, int ny, int nx, real wx, real wy,
                                                      real& p, real& q) {
    const real* at = h + (long long)j * nx + i;
    p = wx * slope_along(at, 1, i, nx);
    q = -wy * slope_along(at, nx, j, ny);
}
/* What slope_along does, transposed: the gradient in height i of n from those in the slopes, which are a g. */
static __device__ __forceinline__ real product_gathered(const real* __restrict__ a, const real* __restrict__ g, long long step, int i,
                                                        int n) {
    real made = i == 0 ? -a[0] * g[0] : (real)0;
    if (i + 1 == n) made += a[0] * g[0];
    if (i > 0) made = madd(weight_near(i - 1, n), a[-step] * g[-step], made);
    if (i + 1 < n) made = madd(-weight_near(i + 1, n), a[step] * g[step], made);
    if (i > 1) made = madd(weight_far(i - 2, n), a[-2 * step] * g[-2 * step], made);
    if (i + 2 < n) made = madd(-weight_far(i + 2, n), a[2 * step] * g[2 * step], made);
    return made;
}
/* What slope_along does, transposed: the gradient in height i of n from those in the slopes. */
static __device__ __forceinline__ real slope_gathered(const real* __restrict__ g, long long step, int i, int n) {
    real made = i == 0 ? -g[0] : (real)0;
    if (i + 1 == n) made += g[0];
    if (i > 0) made = madd(weight_near(i - 1, n), g[-step], made);
    if (i + 1 < n) made = madd(-weight_near(i + 1, n), g[step], made);
    if (i > 1) made = madd(weight_far(i - 2, n), g[-2 * step], made);
    if (i + 2 < n) made = madd(-weight_far(i + 2, n), g[2 * step], made);
    return made;
}
static __device__ __forceinline__ Vec surface_normal(real p, real q, real& inverse) {
    inverse = (real)1 / sqrt(madd(p, p, madd(q, q, (real)1)));
    return {-p * inverse, -q * inverse, inverse};
}
