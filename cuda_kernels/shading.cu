/* The reflectance of a surface given by heights on a grid, at once: from heights to reflectance, and to its derivatives in
 * the slopes p and q of each element, with the geometry in registers.  One thread: LANES elements of a row. */
#include "reflectance.cuh"
#include "surface.cuh"

/* R = the reflectance (1 plane); overwrites.  s, v: as in surface.cu. */
extern "C" __global__ void shading_value(const real* __restrict__ h, const real* __restrict__ sun, const real* __restrict__ view,
                                         const real* __restrict__ p, real* __restrict__ R, int ny, int nx, real wx, real wy,
                                         int sun_field, int view_field, int model) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const long long e = (long long)j * nx + first + l;
        real a, b, inverse;
        surface_slopes(h, j, first + l, ny, nx, wx, wy, a, b);
        const Vec m = surface_normal(a, b, inverse);
        const Vec s = vector_at(sun, sun_field, n, e), v = vector_at(view, view_field, n, e);
        const Geometry<real> at = {dot(m, s), dot(m, v), dot(s, v), dot(m, cross(s, v))};
        R[e] = reflectance(model, at, p);
    }
}

/* n . a with its derivatives in the slopes, of a normal m whose third component is `inverse`. */
static __device__ __forceinline__ Dual<2> along_normal(const Vec& m, real inverse, const Vec& a) {
    Dual<2> made;
    made.v = dot(m, a);
    made.d[0] = inverse * madd(m.x, made.v, -a.x);
    made.d[1] = inverse * madd(m.y, made.v, -a.y);
    return made;
}

/* made = the reflectance and its derivatives in p and q (3 planes); overwrites. */
extern "C" __global__ void shading_slopes(const real* __restrict__ h, const real* __restrict__ sun, const real* __restrict__ view,
                                          const real* __restrict__ p, real* __restrict__ made, int ny, int nx, real wx, real wy,
                                          int sun_field, int view_field, int model) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const long long e = (long long)j * nx + first + l;
        real a, b, inverse;
        surface_slopes(h, j, first + l, ny, nx, wx, wy, a, b);
        const Vec m = surface_normal(a, b, inverse);
        const Vec s = vector_at(sun, sun_field, n, e), v = vector_at(view, view_field, n, e);
        const Geometry<Dual<2>> at = {along_normal(m, inverse, s), along_normal(m, inverse, v), Dual<2>(dot(s, v)),
                                      along_normal(m, inverse, cross(s, v))};
        const Dual<2> R = reflectance(model, at, p);
        made[e] = R.v;
        made[n + e] = R.d[0];
        made[2 * n + e] = R.d[1];
    }
}

/* d_R = the change of the reflectance along d_h, from what shading_slopes made; overwrites. */
extern "C" __global__ void shading_push(const real* __restrict__ made, const real* __restrict__ d_h, real* __restrict__ d_R, int ny,
                                        int nx, real wx, real wy) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const long long e = (long long)j * nx + first + l;
        real a, b;
        surface_slopes(d_h, j, first + l, ny, nx, wx, wy, a, b);
        d_R[e] = madd(made[n + e], a, made[2 * n + e] * b);
    }
}

/* g_h += the gradient in the heights from the gradient g in the reflectance.  Every element gathers from its neighbours. */
extern "C" __global__ void shading_pull(const real* __restrict__ made, const real* __restrict__ g, real* __restrict__ g_h, int ny,
                                        int nx, real wx, real wy) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const int i = first + l;
        const long long e = (long long)j * nx + i;
        const real x = product_gathered(made + n + e, g + e, 1, i, nx), y = product_gathered(made + 2 * n + e, g + e, nx, j, ny);
        g_h[e] += madd(wx, x, -wy * y);
    }
}
