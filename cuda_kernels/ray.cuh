/* Any ray: where it crosses the grid planes of its major axis, in voxels.
 *
 * Ray (view, u, v) passes through bases[view, u] + v*V.  In a parallel beam all rays of a view have the direction S; in
 * a cone beam S is the source and bases are counted from it, so the direction is bases + v*V.  views (view, 6): S, V.
 * The major axis is that of the largest component of the direction, the first of equals; with (a, b, c) = (x, y, z),
 * (y, x, z) or (z, y, x) for axis 0, 1, 2 the ray crosses plane k at b(k) = bc + gb*(k - kc), c(k) = cc + gc*(k - kc). */
#pragma once
#include "resample.cuh"

struct Beam { /* what all rays of one detector column share */
    int cone, n[3];
    real base[3], s[3], v[3], spacing[3];
};

static __device__ __forceinline__ Beam read_beam(const real* bases, const real* views, int w, int u, int nu, int cone, int nx,
                                                 int ny, int nz, real sx, real sy, real sz) {
    Beam m;
    m.cone = cone, m.n[0] = nx, m.n[1] = ny, m.n[2] = nz;
    m.spacing[0] = sx, m.spacing[1] = sy, m.spacing[2] = sz;
    const real* base = bases + 3 * ((long long)w * nu + u);
    for (int i = 0; i < 3; ++i) m.base[i] = base[i], m.s[i] = views[6 * w + i], m.v[i] = views[6 * w + 3 + i];
    return m;
}

/* The axes b and c that go with a major axis. */
static __device__ __forceinline__ int second_axis(int axis) { return axis == 1 ? 0 : 1; }
static __device__ __forceinline__ int third_axis(int axis) { return axis == 2 ? 0 : 2; }

/* a[i], written so that a GPU keeps `a` in registers. */
template <class T>
static __device__ __forceinline__ T entry(const T* a, int i) {
    return i == 0 ? a[0] : i == 1 ? a[1] : a[2];
}

static __device__ __forceinline__ real ray_point(const Beam& m, int i, int v) {
    return madd((real)v, entry(m.v, i), entry(m.base, i));
}

static __device__ __forceinline__ int ray_axis(const Beam& m, int v) {
    const real x = fabs(m.cone ? ray_point(m, 0, v) : m.s[0]), y = fabs(m.cone ? ray_point(m, 1, v) : m.s[1]);
    const real z = fabs(m.cone ? ray_point(m, 2, v) : m.s[2]);
    const int in_plane = y > x;
    return z > (in_plane ? y : x) ? 2 : in_plane;
}

/* One ray: slopes, crossings of the middle plane, the sign of its direction, length between planes in mm. */
struct Ray {
    real gb, gc, bc, cc, sign, length;
};

static __device__ __forceinline__ Ray trace(const Beam& m, int axis, int v) {
    const int b = second_axis(axis), c = third_axis(axis);
    const real da = m.cone ? ray_point(m, axis, v) : entry(m.s, axis);
    const real db = m.cone ? ray_point(m, b, v) : entry(m.s, b), dc = m.cone ? ray_point(m, c, v) : entry(m.s, c);
    const real oa = m.cone ? entry(m.s, axis) : ray_point(m, axis, v);
    const real ob = m.cone ? entry(m.s, b) : ray_point(m, b, v), oc = m.cone ? entry(m.s, c) : ray_point(m, c, v);
    const real to_middle = (real)0.5 * (real)(entry(m.n, axis) - 1) - oa;
    Ray r;
    r.gb = db / da, r.gc = dc / da;
    r.bc = madd(to_middle, r.gb, ob), r.cc = madd(to_middle, r.gc, oc);
    r.sign = da < (real)0 ? (real)-1 : (real)1;
    const real p = entry(m.spacing, axis), q = r.gb * entry(m.spacing, b), t = r.gc * entry(m.spacing, c);
    r.length = sqrt(p * p + q * q + t * t);
    return r;
}

/* Is plane k before the source of a cone beam?  (Rays begin there.) */
static __device__ __forceinline__ bool behind(const Beam& m, int axis, real sign, int k) {
    return m.cone && ((real)k - entry(m.s, axis)) * sign <= (real)0;
}
