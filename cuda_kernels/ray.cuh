/* Any ray: where it crosses the grid planes of its major axis, in voxels.
 *
 * A ray is a line with direction d and moment m = q x d, q any of its points counted from the middle of the grid
 * (Pluecker 1865).  Both are linear in the detector row: lines (view, u, 6) holds d and m of row 0, views (view, 9) their
 * steps to the next row, then the source, where rays of a cone begin.  The middle as origin keeps single precision
 * good to a fraction of a voxel wherever the source is.
 * The major axis is that of the largest component of the direction, the first of equals; with (a, b, c) = (x, y, z),
 * (y, x, z) or (z, y, x) for axis 0, 1, 2 the ray crosses plane k at b(k) = bc + gb*(k - kc), c(k) = cc + gc*(k - kc). */
#pragma once
#include "resample.cuh"

struct Beam { /* what all rays of one detector column share */
    int cone, n[3];
    real d[3], d_step[3], m[3], m_step[3], s[3], spacing[3];
};

static __device__ __forceinline__ Beam read_beam(const real* lines, const real* views, int w, int u, int nu, int cone, int nx,
                                                 int ny, int nz, real sx, real sy, real sz) {
    Beam m;
    m.cone = cone, m.n[0] = nx, m.n[1] = ny, m.n[2] = nz;
    m.spacing[0] = sx, m.spacing[1] = sy, m.spacing[2] = sz;
    const real *line = lines + 6 * ((long long)w * nu + u), *view = views + 9 * w;
    for (int i = 0; i < 3; ++i) {
        m.d[i] = line[i], m.m[i] = line[3 + i];
        m.d_step[i] = view[i], m.m_step[i] = view[3 + i], m.s[i] = view[6 + i];
    }
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

static __device__ __forceinline__ real ray_direction(const Beam& m, int i, int v) {
    return madd((real)v, entry(m.d_step, i), entry(m.d, i));
}

static __device__ __forceinline__ int ray_axis(const Beam& m, int v) {
    const real x = fabs(ray_direction(m, 0, v)), y = fabs(ray_direction(m, 1, v)), z = fabs(ray_direction(m, 2, v));
    const int in_plane = y > x;
    return z > (in_plane ? y : x) ? 2 : in_plane;
}

static __device__ __forceinline__ real middle_of(const Beam& m, int axis) { return (real)0.5 * (real)(entry(m.n, axis) - 1); }

/* The rays of a beam along one major axis: directions and moments in the order of its axes a, b, c, at row 0 and their
 * steps.  b(kc) - (n_b - 1)/2 and c(kc) - (n_c - 1)/2 are a component of the moment, up to its sign, over d_a. */
struct Track {
    real a, b, c, mb, mc, a_step, b_step, c_step, mb_step, mc_step, middle_b, middle_c, p, q, r;
};

static __device__ __forceinline__ Track track_along(const Beam& m, int axis) {
    const int b = second_axis(axis), c = third_axis(axis), ib = axis == 2 ? 0 : 2, ic = axis == 1 ? 0 : 1;
    const real sign = axis == 0 ? (real)-1 : (real)1;
    Track t;
    t.a = entry(m.d, axis), t.b = entry(m.d, b), t.c = entry(m.d, c);
    t.a_step = entry(m.d_step, axis), t.b_step = entry(m.d_step, b), t.c_step = entry(m.d_step, c);
    t.mb = sign * entry(m.m, ib), t.mc = -sign * entry(m.m, ic);
    t.mb_step = sign * entry(m.m_step, ib), t.mc_step = -sign * entry(m.m_step, ic);
    t.middle_b = middle_of(m, b), t.middle_c = middle_of(m, c);
    t.p = entry(m.spacing, axis), t.q = entry(m.spacing, b), t.r = entry(m.spacing, c);
    return t;
}

/* One ray: slopes, crossings of the middle plane, the sign of its direction, length between planes in mm. */
struct Ray {
    real gb, gc, bc, cc, sign, length;
};

static __device__ __forceinline__ Ray ray_of(const Track& t, int v) {
    const real along = madd((real)v, t.a_step, t.a), inverse = (real)1 / along;
    Ray r;
    r.gb = madd((real)v, t.b_step, t.b) * inverse, r.gc = madd((real)v, t.c_step, t.c) * inverse;
    r.bc = madd(madd((real)v, t.mb_step, t.mb), inverse, t.middle_b);
    r.cc = madd(madd((real)v, t.mc_step, t.mc), inverse, t.middle_c);
    r.sign = along < (real)0 ? (real)-1 : (real)1;
    const real q = r.gb * t.q, s = r.gc * t.r;
    r.length = sqrt(t.p * t.p + q * q + s * s);
    return r;
}

static __device__ __forceinline__ Ray trace(const Beam& m, int axis, int v) { return ray_of(track_along(m, axis), v); }

/* Is plane k before the source of a cone beam?  (Rays begin there.) */
static __device__ __forceinline__ bool behind(const Beam& m, int axis, real sign, int k) {
    return m.cone && ((real)k - entry(m.s, axis)) * sign <= (real)0;
}
