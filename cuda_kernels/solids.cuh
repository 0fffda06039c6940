/* Solids by their signed distance, joined smoothly: parts of an assembly, and parts cut out of it.
 * A part has half lengths h along its own axes, a frame that takes the world's (x, y, z) to them, and kind 0: ellipsoid,
 * 1: box, 2: cylinder along z of radius h0 and half length h2, 3: capsule likewise, whose round ends come on top; it is cut
 * out where 16 is added to its kind.  Joined: h = -w log sum exp(-F / w); then what is cut, likewise, from the other side
 * (Quilez, "distance functions" and "smooth minimum", for the formulas; that of ellipsoids is right to first order).
 * Numbers are T: real, or Dual for derivatives. */
#pragma once
#include "dual.cuh"

#define SOLID_CUT 16
#define SOLID_BANDS 4
#define SOLID_NUMBERS (15 + SOLID_BANDS) /* of a part: half lengths, frame by rows, colours */
#define SOLID_WAVES 9
#define SOLID_FAR ((real)(sizeof(real) == 8 ? 40 : 12)) /* widths from the surface beyond which nothing is seen of it */

/* What a distance to two or three faces is, from how far beyond each face a place lies. */
template <int N, class T>
static __device__ __forceinline__ void solid_faces(const T beyond[N], T& f, T share[N]) {
    T square = (real)0;
    real most = value_of(beyond[0]);
#pragma unroll
    for (int a = 0; a < N; ++a) {
        share[a] = (real)0;
        if (value_of(beyond[a]) > (real)0) square = square + beyond[a] * beyond[a];
        most = value_of(beyond[a]) > most ? value_of(beyond[a]) : most;
    }
    if (value_of(square) > (real)0) {
        f = d_sqrt(square);
#pragma unroll
        for (int a = 0; a < N; ++a)
            if (value_of(beyond[a]) > (real)0) share[a] = beyond[a] / f;
    } else {
#pragma unroll
        for (int a = 0; a < N; ++a)
            if (value_of(beyond[a]) == most) f = beyond[a], share[a] = (real)1, most = (real)1; /* the first of equals */
    }
}

/* The distance f from the surface, below 0 inside, and the outward normal, at a place q in the part's own axes. */
template <class T>
static __device__ __forceinline__ void solid_distance(int kind, const T q[3], const T h[3], T& f, T normal[3]) {
    const real sx = value_of(q[0]) < (real)0 ? (real)-1 : (real)1, sy = value_of(q[1]) < (real)0 ? (real)-1 : (real)1;
    const real sz = value_of(q[2]) < (real)0 ? (real)-1 : (real)1;
    if (kind == 1) {
        const T beyond[3] = {d_abs(q[0]) - h[0], d_abs(q[1]) - h[1], d_abs(q[2]) - h[2]};
        solid_faces<3>(beyond, f, normal);
        normal[0] = normal[0] * sx, normal[1] = normal[1] * sy, normal[2] = normal[2] * sz;
        return;
    }
    if (kind == 0) {
        const T a[3] = {q[0] / h[0], q[1] / h[1], q[2] / h[2]}, b[3] = {a[0] / h[0], a[1] / h[1], a[2] / h[2]};
        const T k = d_sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]), g = d_sqrt(b[0] * b[0] + b[1] * b[1] + b[2] * b[2]);
        if (!(value_of(k) > (real)1e-6)) { /* the very middle, which no ray reaches that sees the surface */
            f = h[0] * (real)-1, normal[0] = (real)0, normal[1] = (real)0, normal[2] = (real)1;
            return;
        }
        f = k * (k - (real)1) / g;
        normal[0] = b[0] / g, normal[1] = b[1] / g, normal[2] = b[2] / g;
        return;
    }
    T z = q[2]; /* of a capsule: beyond the straight part */
    if (kind == 3) {
        z = (real)0;
        if (value_of(q[2]) > value_of(h[2])) z = q[2] - h[2];
        if (value_of(q[2]) < -value_of(h[2])) z = q[2] + h[2];
    }
    const T flat = q[0] * q[0] + q[1] * q[1], radius = d_sqrt(kind == 3 ? flat + z * z : flat);
    const bool middle = !(value_of(radius) > (real)1e-12);
    if (kind == 3) {
        f = radius - h[0];
        normal[0] = middle ? T((real)1) : q[0] / radius, normal[1] = middle ? T((real)0) : q[1] / radius;
        normal[2] = middle ? T((real)0) : z / radius;
        return;
    }
    const T beyond[2] = {radius - h[0], d_abs(q[2]) - h[2]};
    T share[2];
    solid_faces<2>(beyond, f, share);
    normal[0] = middle ? T((real)0) : share[0] * q[0] / radius, normal[1] = middle ? T((real)0) : share[0] * q[1] / radius;
    normal[2] = share[1] * sz;
}

/* Nine real harmonics at a direction, those of projectors/harmonics.py. */
#define WAVE_0 ((real)0.28209479177387814)
#define WAVE_1 ((real)0.4886025119029199)
#define WAVE_2 ((real)1.0925484305920792)
#define WAVE_20 ((real)0.31539156525252005)
#define WAVE_22 ((real)0.5462742152960396)
template <class T> static __device__ __forceinline__ void solid_waves(const T n[3], T y[SOLID_WAVES]) {
    y[0] = WAVE_0, y[1] = n[1] * -WAVE_1, y[2] = n[2] * WAVE_1, y[3] = n[0] * -WAVE_1;
    y[4] = n[0] * n[1] * WAVE_2, y[5] = n[1] * n[2] * -WAVE_2, y[6] = (n[2] * n[2] * (real)3 - (real)1) * WAVE_20;
    y[7] = n[0] * n[2] * -WAVE_2, y[8] = (n[0] * n[0] - n[1] * n[1]) * WAVE_22;
}
/* Its transpose, g for harmonics: overwrites gn. */
static __device__ __forceinline__ void solid_waves_back(const real n[3], const real g[SOLID_WAVES], real gn[3]) {
    gn[0] = WAVE_2 * (g[4] * n[1] - g[7] * n[2]) - WAVE_1 * g[3] + (real)2 * WAVE_22 * g[8] * n[0];
    gn[1] = WAVE_2 * (g[4] * n[0] - g[5] * n[2]) - WAVE_1 * g[1] - (real)2 * WAVE_22 * g[8] * n[1];
    gn[2] = (real)6 * WAVE_20 * g[6] * n[2] - WAVE_2 * (g[5] * n[1] + g[7] * n[0]) + WAVE_1 * g[2];
}

/* log(1 + exp(-f / width)): how deep a ray is in the solid, which grows by what is seen of it (Wang et al. 2021, NeuS: along a
 * ray that comes nearest at f, one that enters from outside, 1 / (1 + exp(f / width)) is seen of the solid in all). */
template <class T> static __device__ __forceinline__ T solid_depth(const T& f, real width) {
    const T x = f / -width;
    return value_of(x) > (real)0 ? x + d_log(d_exp(x * (real)-1) + (real)1) : d_log(d_exp(x) + (real)1);
}
