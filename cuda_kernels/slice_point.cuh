/* What happens at one point of a particle's image, chosen by compile-time switches, so that every slice kernel computes
 * coordinates, weights and phases in the same operations. */
#pragma once
#include "slice.cuh"

#define SLICE_STORE 1    /* write the model into `stored` */
#define SLICE_TANGENT 2  /* write the model's derivative along d_records into `stored` */
#define SLICE_RESIDUAL 4 /* images are data: the cotangent is w * (model - data), values get w |model - data|^2 / 2 */
#define SLICE_PARAM 8    /* sum the cotangent's products with the derivatives into g_records */
#define SLICE_NORMAL 16  /* sum J'J and J'r over the pose's columns into values */
#define SLICE_TURNS 512  /* which takes the spectrum's derivatives */
#define SLICE_SCATTER 32 /* add conj(f) * cotangent to `grown` (re, im) */
#define SLICE_INSERT 64  /* add w conj(f) data and w |f|^2 to `grown` (re, im, weight, unused) */
#define SLICE_ATOMIC 128 /* other threads add to the same entries */
#define SLICE_CTF 256    /* SLICE_NORMAL over the CTF's columns in place of the pose's */

#define SLICE_READS (SLICE_STORE | SLICE_TANGENT | SLICE_RESIDUAL | SLICE_PARAM)
#define SLICE_SLOPES (SLICE_TANGENT | SLICE_PARAM | SLICE_TURNS)

struct SliceJob {
    const real *spectrum, *images, *records, *d_records, *weights, *taper;
    real *grown, *stored, *values, *g_records;
    const int *image_of, *groups;
    SliceSizes n;
    int particles, box, shells, ctf, ewald, unique, each, rows_each, across, planes_each;
    real r_max;
};

/* A job with the sizes of the kernel's parameters, and no arrays yet. */
#define SLICE_JOB                                                                                                    \
    {0, 0, records, 0, 0, taper, 0, 0, 0, 0, 0, 0, {nx, nz, offset, skirt, degree}, particles, box, shells, ctf, ewald, \
     unique, each, rows_each, across, planes_each, r_max}

/* f of one of the two terms of an Ewald sphere (side = +-1), or of the plane, without scale; and df/de. */
struct SliceFactor {
    real re, im, slope_re, slope_im;
};

static __device__ __forceinline__ SliceFactor slice_factor(int ctf, int ewald, int side, real er, real ei, real s, real c) {
    SliceFactor f;
    if (ewald) { /* (-sin + side * i cos) / 2, and its derivative, 2 pi i side times it */
        const real p = (real)-0.5 * s, q = (real)0.5 * (real)side * c, turn = TWO_PI * (real)side;
        f.re = er * p - ei * q;
        f.im = er * q + ei * p;
        f.slope_re = -turn * f.im;
        f.slope_im = turn * f.re;
    } else {
        real value, slope;
        slice_contrast(ctf, s, c, value, slope);
        f.re = er * value;
        f.im = ei * value;
        f.slope_re = er * slope;
        f.slope_im = ei * slope;
    }
    return f;
}

/* The whole numbers k of first..last for which low <= b + a k <= high, widened so that rounding loses none. */
static __device__ __forceinline__ void slice_between(real a, real b, real low, real high, int& first, int& last) {
    const real size = a < (real)0 ? -a : a;
    if (size < (real)1e-4) {
        if (b < low - (real)1 || b > high + (real)1) last = first - 1;
        return;
    }
    real p = (low - b) / a, q = (high - b) / a;
    if (p > q) {
        const real t = p;
        p = q;
        q = t;
    }
    p = p < (real)-4 ? (real)-4 : p > (real)1e6 ? (real)1e6 : p;
    q = q < (real)-4 ? (real)-4 : q > (real)1e6 ? (real)1e6 : q;
    const int from = floor_index(p), to = floor_index(q) + 1;
    first = from > first ? from : first;
    last = to < last ? to : last;
}

/* Add weights times (re, im) or (re, im, weight, 0) to W^3 entries, those in planes from <= z < to alone. */
template <int W, int C, bool ATOMIC>
static __device__ __forceinline__ void slice_grow(real* __restrict__ grown, const SlicePlace<W>& p, const SliceSizes& n,
                                                  const real* __restrict__ taper, int from, int to, real re, real im, real weight) {
    im *= p.flip;
#if LANES > 1
    SliceLine<C * W> line = line_zero<C * W>();
    for (int i = 0; i < W; ++i) {
        line.x[C * i] = p.wx[i] * re;
        line.x[C * i + 1] = p.wx[i] * im;
        if (C == 4) line.x[C * i + 2] = p.wx[i] * weight;
    }
    for (int k = 0; k < W; ++k) {
        if (p.z + k < from || p.z + k >= to) continue;
        for (int j = 0; j < W; ++j) {
            real* q = grown + C * (((long long)(p.z + k) * n.nz + p.y + j) * n.nx + p.x);
            const real w = p.wz[k] * p.wy[j];
            if (ATOMIC) {
                for (int i = 0; i < C * W; ++i)
                    if (i % C < 3) atomicAdd(q + i, w * line.x[i]);
            } else {
                line_store(q, w, line);
            }
        }
    }
#else
    real wx[W], unused[W];
    slice_taps<W>(p.tx, taper, n.degree, wx, unused);
#pragma unroll 1
    for (int k = 0; k < W; ++k) {
        if (p.z + k < from || p.z + k >= to) continue;
        real wz, wy, slope;
        slice_tap<W>(p.tz, k, taper, n.degree, wz, slope);
#pragma unroll 1
        for (int j = 0; j < W; ++j) {
            real* q = grown + C * (((long long)(p.z + k) * n.nz + p.y + j) * n.nx + p.x);
            slice_tap<W>(p.ty, j, taper, n.degree, wy, slope);
#pragma unroll
            for (int i = 0; i < W; ++i) {
                const real w = wz * wy * wx[i];
                if (ATOMIC) {
                    atomicAdd(q + C * i, w * re);
                    atomicAdd(q + C * i + 1, w * im);
                    if (C == 4) atomicAdd(q + C * i + 2, w * weight);
                } else {
                    q[C * i] = madd(w, re, q[C * i]);
                    q[C * i + 1] = madd(w, im, q[C * i + 1]);
                    if (C == 4) q[C * i + 2] = madd(w, weight, q[C * i + 2]);
                }
            }
        }
    }
#endif
}

/* Sums over a row, and where they end up in a record's gradient. */
struct SliceSums {
    real cx[3], c1[3], cz[3], e[7], o[6], form[3], scale, dose;
};

static __device__ __forceinline__ void slice_flush(const SliceSums& s, const SliceRow& row, real* __restrict__ g) {
    const real v = row.v, w = v * v;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        g[R_AXES + i] += s.cx[i];
        g[R_AXES + 3 + i] += row.ky * s.c1[i];
        g[R_AXES + 6 + i] += s.cz[i];
    }
    real* e = g + R_EVEN;
    e[0] += s.e[0];
    e[1] += s.e[2];
    e[2] += v * s.e[1];
    e[3] += w * s.e[0];
    e[4] += s.e[4];
    e[5] += v * s.e[3];
    e[6] += w * s.e[2];
    e[7] += w * v * s.e[1];
    e[8] += w * w * s.e[0];
    e[9] += s.e[6];
    e[10] += v * s.e[5];
    e[11] += w * s.e[4];
    e[12] += w * v * s.e[3];
    e[13] += w * w * s.e[2];
    e[14] += w * w * v * s.e[1];
    e[15] += w * w * w * s.e[0];
    real* o = g + R_ODD;
    o[0] += s.o[1];
    o[1] += v * s.o[0];
    o[2] += s.o[3];
    o[3] += v * s.o[2];
    o[4] += w * s.o[1];
    o[5] += w * v * s.o[0];
    o[6] += s.o[5];
    o[7] += v * s.o[4];
    o[8] += w * s.o[3];
    o[9] += w * v * s.o[2];
    o[10] += w * w * s.o[1];
    o[11] += w * w * v * s.o[0];
    g[R_SCALE] += s.scale;
    g[R_FORM] += s.form[2];
    g[R_FORM + 1] += v * s.form[1];
    g[R_FORM + 2] += w * s.form[0];
    g[R_DOSE] += s.dose;
}

/* Add conj(g) times each derivative of the model; (ar, ai) = f V without scale, (br, bi) = scale f' V summed over terms. */
static __device__ __forceinline__ void slice_gather_phases(SliceSums& s, const SliceRow& row, real kx, real u, real gr, real gi,
                                                           real ar, real ai, real br, real bi) {
    const real along = madd(gr, ar, gi * ai), m = row.scale * along, e = row.scale * madd(gr, br, gi * bi);
    const real o = row.scale * TWO_PI * (gi * ar - gr * ai);
    real p = (real)1;
#pragma unroll
    for (int i = 0; i < 7; ++i) {
        s.e[i] = madd(p, e, s.e[i]);
        if (i < 6) s.o[i] = madd(p, o, s.o[i]);
        if (i < 3) s.form[i] = madd(p, m, s.form[i]);
        p *= u;
    }
    s.scale += along;
    s.dose -= m * slice_loss(slice_frequency(row, kx));
}

/* The derivative of e, o and the exponent of E along a tangent, at one point. */
struct SliceTangent {
    real e, o, form, dose, scale;
};

static __device__ __forceinline__ SliceTangent slice_tangent(const SliceRow& d, const SliceRow& row, real kx, real u) {
    SliceTangent t;
    t.e = slice_even(d, u);
    t.o = slice_odd(d, u);
    t.form = madd(madd(d.form[2], u, d.form[1]), u, d.form[0]);
    t.dose = d.dose == (real)0 ? (real)0 : -d.dose * slice_loss(slice_frequency(row, kx));
    t.scale = d.scale;
    return t;
}

template <int Q> struct SliceNormal {
    real value, gradient[Q], matrix[Q * (Q + 1) / 2];
};

template <int Q>
static __device__ __forceinline__ void slice_normal(SliceNormal<Q>& s, const real* jr, const real* ji, real rr, real ri, real w) {
    s.value = madd((real)0.5 * w, madd(rr, rr, ri * ri), s.value);
    int at = 0;
#pragma unroll
    for (int a = 0; a < Q; ++a) {
        const real pr = w * jr[a], pi = w * ji[a];
        s.gradient[a] = madd(pr, rr, madd(pi, ri, s.gradient[a]));
#pragma unroll
        for (int b = 0; b <= a; ++b, ++at) s.matrix[at] = madd(pr, jr[b], madd(pi, ji[b], s.matrix[at]));
    }
}

/* Ask for the entries around a point some lanes before they are needed: the walk through the spectrum waits for memory. */
#define SLICE_AHEAD 12
template <int W, int SIZE>
static __device__ __forceinline__ void slice_prefetch(const real* __restrict__ entries, const SliceSizes& n, const real* r, real kx,
                                                      real ky) {
#if LANES > 1
    real x = madd(kx, r[0], ky * r[3]), y = madd(kx, r[1], ky * r[4]), z = madd(kx, r[2], ky * r[5]);
    const real flip = x < (real)0 ? (real)-1 : (real)1;
    const int ix = floor_index(flip * x) + n.skirt - (W / 2 - 1), iy = floor_index(flip * y) + n.offset - (W / 2 - 1);
    const int iz = floor_index(flip * z) + n.offset - (W / 2 - 1);
    if (ix < 0 || ix + W > n.nx || iy < 0 || iy + W > n.nz || iz < 0 || iz + W > n.nz) return;
    const real* first = entries + SIZE * (((long long)iz * n.nz + iy) * n.nx + ix);
    for (int k = 0; k < W; ++k)
        for (int j = 0; j < W; ++j) __builtin_prefetch(first + SIZE * ((long long)k * n.nz + j) * n.nx);
#endif
}

/* Add sums to those in memory: value, gradient, lower triangle. */
template <int Q> static __device__ __forceinline__ void slice_keep(const SliceNormal<Q>& s, real* __restrict__ sum) {
    sum[0] += s.value;
#pragma unroll
    for (int a = 0; a < Q; ++a) sum[1 + a] += s.gradient[a];
#pragma unroll
    for (int a = 0; a < Q * (Q + 1) / 2; ++a) sum[1 + Q + a] += s.matrix[a];
}

/* The same as slice_normal, straight into memory. */
template <int Q>
static __device__ __forceinline__ void slice_normal_kept(real* __restrict__ sum, const real* jr, const real* ji, real rr, real ri,
                                                         real w) {
    sum[0] += (real)0.5 * w * madd(rr, rr, ri * ri);
    int at = 1 + Q;
#pragma unroll
    for (int a = 0; a < Q; ++a) {
        const real pr = w * jr[a], pi = w * ji[a];
        sum[1 + a] += madd(pr, rr, pi * ri);
#pragma unroll
        for (int b = 0; b <= a; ++b, ++at) sum[at] += madd(pr, jr[b], pi * ji[b]);
    }
}

/* One point: everything of it that the switches ask for. */
template <int W, int WHAT, int TERMS, int Q> struct SlicePoint {
    SliceValue v[TERMS];
    SliceFactor f[TERMS];
    real x[TERMS], y[TERMS], z[TERMS];
    real ar, ai, br, bi; /* f V and f' V without scale, summed over the terms */
    real mr, mi;         /* how f V moves along a tangent of the axes */
    real gr, gi;         /* the cotangent */

    /* Where the terms lie, and what is read there. */
    __device__ __forceinline__ void locate(const SliceJob& job, const real* r, real kx, real ky, real height, real er, real ei,
                                           real s, real c) {
#pragma unroll
        for (int t = 0; t < TERMS; ++t) {
            const int side = t ? -1 : 1;
            const real h = TERMS > 1 ? (real)side * height : (real)0;
            x[t] = madd(kx, r[0], ky * r[3]);
            y[t] = madd(kx, r[1], ky * r[4]);
            z[t] = madd(kx, r[2], ky * r[5]);
            if (TERMS > 1) {
                x[t] = madd(h, r[6], x[t]);
                y[t] = madd(h, r[7], y[t]);
                z[t] = madd(h, r[8], z[t]);
            }
            f[t] = slice_factor(job.ctf, TERMS > 1, side, er, ei, s, c);
        }
    }

    __device__ __forceinline__ SlicePlace<W> place(int t, const SliceJob& job) const {
        return slice_place<W>(x[t], y[t], z[t], job.taper, job.n);
    }

    /* Read all terms; with d, the axes of a tangent, also how the model moves with the terms' places, into (mr, mi). */
    __device__ __forceinline__ void read(const SliceJob& job, const real* d, real kx, real ky, real height) {
        ar = ai = br = bi = mr = mi = 0;
#pragma unroll
        for (int t = 0; t < TERMS; ++t) {
            v[t] = slice_read<W, (WHAT & SLICE_SLOPES) != 0>(job.spectrum, place(t, job), job.n, job.taper);
            ar += f[t].re * v[t].re - f[t].im * v[t].im;
            ai += f[t].re * v[t].im + f[t].im * v[t].re;
            br += f[t].slope_re * v[t].re - f[t].slope_im * v[t].im;
            bi += f[t].slope_re * v[t].im + f[t].slope_im * v[t].re;
            if (WHAT & SLICE_TANGENT) {
                const real h = TERMS > 1 ? (t ? -height : height) : (real)0;
                along(t, kx * d[0] + ky * d[3] + h * d[6], kx * d[1] + ky * d[4] + h * d[7], kx * d[2] + ky * d[5] + h * d[8], mr,
                      mi);
            }
        }
    }

    /* scale (f dV + ...) for moves of the terms' places, (dx, dy, dz) of term t. */
    __device__ __forceinline__ void along(int t, real dx, real dy, real dz, real& re, real& im) const {
        const real pr = v[t].xr * dx + v[t].yr * dy + v[t].zr * dz, pi = v[t].xi * dx + v[t].yi * dy + v[t].zi * dz;
        re += f[t].re * pr - f[t].im * pi;
        im += f[t].re * pi + f[t].im * pr;
    }

    /* The model's derivative along a tangent, t of it of the phases and the envelope; the terms have moved already. */
    __device__ __forceinline__ void tangent(const SliceTangent& t, const SliceRow& row, real* stored) const {
        const real o = TWO_PI * t.o, m = t.form + t.dose;
        stored[0] = row.scale * (mr + br * t.e - o * ai + m * ar) + t.scale * ar;
        stored[1] = row.scale * (mi + bi * t.e + o * ar + m * ai) + t.scale * ai;
    }

    __device__ __forceinline__ void param(SliceSums& s, const SliceRow& row, real kx, real u, real height) const {
#pragma unroll
        for (int t = 0; t < TERMS; ++t) {
            const real p = row.scale * (gr * f[t].re + gi * f[t].im), q = row.scale * (gi * f[t].re - gr * f[t].im);
            const real h = TERMS > 1 ? (t ? -height : height) : (real)0;
            const real c[3] = {p * v[t].xr + q * v[t].xi, p * v[t].yr + q * v[t].yi, p * v[t].zr + q * v[t].zi};
#pragma unroll
            for (int i = 0; i < 3; ++i) {
                s.cx[i] = madd(kx, c[i], s.cx[i]);
                s.c1[i] += c[i];
                if (TERMS > 1) s.cz[i] = madd(h, c[i], s.cz[i]);
            }
        }
        slice_gather_phases(s, row, kx, u, gr, gi, ar, ai, br, bi);
    }

    /* J'J and J'r, into `kept` if that is given: of turns w (place -> place + w x place) and of u and v of o, or with CTF
     * of u2, uv, v2 of e and of the scale. */
    __device__ __forceinline__ void normal(SliceNormal<Q>& s, real* kept, const SliceRow& row, real u, real rr, real ri,
                                           real w) const {
        real jr[Q], ji[Q];
        if (WHAT & SLICE_CTF) {
            const real p[3] = {u * u, u * row.v, row.v * row.v};
#pragma unroll
            for (int a = 0; a < 3; ++a) {
                jr[a % Q] = row.scale * p[a] * br;
                ji[a % Q] = row.scale * p[a] * bi;
            }
            jr[Q - 1] = ar;
            ji[Q - 1] = ai;
        } else {
#pragma unroll
            for (int a = 0; a < 3; ++a) {
                jr[a % Q] = ji[a % Q] = 0;
#pragma unroll
                for (int t = 0; t < TERMS; ++t) {
                    const real dx = a == 0 ? (real)0 : a == 1 ? z[t] : -y[t], dy = a == 0 ? -z[t] : a == 1 ? (real)0 : x[t];
                    const real dz = a == 0 ? y[t] : a == 1 ? -x[t] : (real)0;
                    along(t, row.scale * dx, row.scale * dy, row.scale * dz, jr[a % Q], ji[a % Q]);
                }
            }
            const real turn = TWO_PI * row.scale;
            jr[3 % Q] = -turn * u * ai;
            ji[3 % Q] = turn * u * ar;
            jr[4 % Q] = -turn * row.v * ai;
            ji[4 % Q] = turn * row.v * ar;
        }
        if (kept)
            slice_normal_kept<Q>(kept, jr, ji, rr, ri, w);
        else
            slice_normal<Q>(s, jr, ji, rr, ri, w);
    }
};
