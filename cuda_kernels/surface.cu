/* The photometric geometry of a surface given by heights on a grid: n = (-p, -q, 1) / |..| with p east and q north.  s and v
 * point to the sun and to the camera, one vector for all (field = 0) or one per element (3 planes).  Geometry: n . s, n . v,
 * s . v, n . (s x v), 4 planes.  One thread: LANES elements of a row. */
#include "surface.cuh"

/* wx, wy: 1 / spacing.  Overwrites. */
extern "C" __global__ void surface_geometry(const real* __restrict__ h, const real* __restrict__ sun, const real* __restrict__ view,
                                            real* __restrict__ geometry, int ny, int nx, real wx, real wy, int sun_field,
                                            int view_field) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const long long e = (long long)j * nx + first + l;
        real p, q, inverse;
        surface_slopes(h, j, first + l, ny, nx, wx, wy, p, q);
        const Vec m = surface_normal(p, q, inverse);
        const Vec s = vector_at(sun, sun_field, n, e), v = vector_at(view, view_field, n, e);
        geometry[e] = dot(m, s);
        geometry[n + e] = dot(m, v);
        geometry[2 * n + e] = dot(s, v);
        geometry[3 * n + e] = dot(m, cross(s, v));
    }
}

/* The derivative along d_h, d_sun, d_view (fields as the vectors themselves are); overwrites. */
extern "C" __global__ void surface_push(const real* __restrict__ h, const real* __restrict__ sun, const real* __restrict__ view,
                                        const real* __restrict__ d_h, const real* __restrict__ d_sun,
                                        const real* __restrict__ d_view, real* __restrict__ geometry, int ny, int nx, real wx,
                                        real wy, int sun_field, int view_field) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const long long e = (long long)j * nx + first + l;
        real p, q, dp, dq, inverse;
        surface_slopes(h, j, first + l, ny, nx, wx, wy, p, q);
        surface_slopes(d_h, j, first + l, ny, nx, wx, wy, dp, dq);
        const Vec m = surface_normal(p, q, inverse), t = {-dp * inverse, -dq * inverse, (real)0};
        const Vec dm = add(t, scaled(-dot(m, t), m));
        const Vec s = vector_at(sun, sun_field, n, e), v = vector_at(view, view_field, n, e);
        const Vec ds = vector_at(d_sun, sun_field, n, e), dv = vector_at(d_view, view_field, n, e);
        geometry[e] = dot(dm, s) + dot(m, ds);
        geometry[n + e] = dot(dm, v) + dot(m, dv);
        geometry[2 * n + e] = dot(ds, v) + dot(s, dv);
        geometry[3 * n + e] = dot(dm, cross(s, v)) + dot(m, add(cross(ds, v), cross(s, dv)));
    }
}

/* The transpose but for the stencil: gradients in p and q (2 planes) and, unless it is null, in s and v of every element
 * (6 planes); overwrites. */
extern "C" __global__ void surface_pull(const real* __restrict__ h, const real* __restrict__ sun, const real* __restrict__ view,
                                        const real* __restrict__ g, real* __restrict__ g_slopes, real* __restrict__ g_vectors,
                                        int ny, int nx, real wx, real wy, int sun_field, int view_field) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const long long e = (long long)j * nx + first + l;
        real p, q, inverse;
        surface_slopes(h, j, first + l, ny, nx, wx, wy, p, q);
        const Vec m = surface_normal(p, q, inverse);
        const Vec s = vector_at(sun, sun_field, n, e), v = vector_at(view, view_field, n, e);
        const real g0 = g[e], g1 = g[n + e], g2 = g[2 * n + e], g3 = g[3 * n + e];
        const Vec gm = add(add(scaled(g0, s), scaled(g1, v)), scaled(g3, cross(s, v)));
        const real along = dot(gm, m);
        g_slopes[e] = -inverse * (gm.x - along * m.x);
        g_slopes[n + e] = -inverse * (gm.y - along * m.y);
        if (g_vectors) {
            const Vec gs = add(add(scaled(g0, m), scaled(g2, v)), scaled(g3, cross(v, m)));
            const Vec gv = add(add(scaled(g1, m), scaled(g2, s)), scaled(g3, cross(m, s)));
            g_vectors[e] = gs.x;
            g_vectors[n + e] = gs.y;
            g_vectors[2 * n + e] = gs.z;
            g_vectors[3 * n + e] = gv.x;
            g_vectors[4 * n + e] = gv.y;
            g_vectors[5 * n + e] = gv.z;
        }
    }
}

/* The transpose of the stencil: g_h from gradients in p and q; overwrites.  Every element gathers from its neighbours. */
extern "C" __global__ void surface_gather(const real* __restrict__ g_slopes, real* __restrict__ g_h, int ny, int nx, real wx,
                                          real wy) {
    const int first = THREAD_X * LANES, j = THREAD_Y;
    if (j >= ny) return;
    const long long n = (long long)ny * nx;
    for (int l = 0; l < LANES && first + l < nx; ++l) {
        const int i = first + l;
        const real *gp = g_slopes + (long long)j * nx + i, *gq = gp + n;
        g_h[(long long)j * nx + i] = madd(wx, slope_gathered(gp, 1, i, nx), -wy * slope_gathered(gq, nx, j, ny));
    }
}
