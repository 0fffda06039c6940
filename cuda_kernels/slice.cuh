/* Central slices of a Fourier volume, as a cryo-electron microscope sees them (De Rosier and Klug 1968): the share that
 * every kernel of slice_linear.cu and slice_wide.cu has in common.
 *
 * spectrum: (nz, nz, nx) complex numbers, interleaved; entry [z + offset][y + offset][x + skirt] is frequency (x, y, z)
 * of the padded volume, x >= -skirt: half of a Hermitian volume and the neighbours that a kernel of W taps reaches.
 * images: (image, box, box / 2 + 1) complex, the rfft2 of an image whose origin is its pixel box / 2.
 * records: 48 numbers per particle, see below.  A point is k = (kx, ky), whole numbers, and (u, v) = k * 2 / box.
 *
 *   model(k) = scale * E(u, v) * exp(2 pi i o(u, v)) * c(e(u, v)) * V(kx * X + ky * Y [+- (kx^2 + ky^2) * Z])
 *   c(e) = 1 | -sin(2 pi e) | |sin(2 pi e)|; on an Ewald sphere two terms, V above and below the plane, whose phases
 *   exp(+-2 pi i e) make up the sine (DeRosier 2000, Ultramicroscopy 81, 83; Russo and Henderson 2018).
 *   o is an odd polynomial (shift, beam tilt, trefoil), e an even one (defocus, Cs, amplitude contrast, tetrafoil), in
 *   turns; E = exp(quadratic form - dose / (2 Ne(|k|))), Ne the critical exposure of Grant and Grigorieff (2015). */
#pragma once
#include "turns.cuh"

#define RECORD 48
#define R_AXES 0   /* X, Y, Z: 3 x 3 */
#define R_EVEN 9   /* 1; u2 uv v2; u4 u3v .. v4; u6 .. v6 */
#define R_ODD 25   /* u v; u3 u2v uv2 v3; u5 .. v5 */
#define R_SCALE 37
#define R_FORM 38  /* u2 uv v2 of the exponent of E */
#define R_DOSE 41  /* electrons per square angstrom */
#define R_UNIT 42  /* 1/angstrom of one step of k */
#define R_USED 43

/* What the points of one row of a particle's image share: the polynomials in v done, those in u left. */
struct SliceRow {
    real e[7], o[6], form[3], scale, v, unit, dose, ky;
};

static __device__ __forceinline__ SliceRow slice_row(const real* __restrict__ r, int ky, real step) {
    const real v = step * (real)ky, w = v * v;
    const real *e = r + R_EVEN, *o = r + R_ODD;
    SliceRow row;
    row.e[0] = madd(madd(madd(e[15], w, e[8]), w, e[3]), w, e[0]);
    row.e[1] = v * madd(madd(e[14], w, e[7]), w, e[2]);
    row.e[2] = madd(madd(e[13], w, e[6]), w, e[1]);
    row.e[3] = v * madd(e[12], w, e[5]);
    row.e[4] = madd(e[11], w, e[4]);
    row.e[5] = v * e[10];
    row.e[6] = e[9];
    row.o[0] = v * madd(madd(o[11], w, o[5]), w, o[1]);
    row.o[1] = madd(madd(o[10], w, o[4]), w, o[0]);
    row.o[2] = v * madd(o[9], w, o[3]);
    row.o[3] = madd(o[8], w, o[2]);
    row.o[4] = v * o[7];
    row.o[5] = o[6];
    row.form[0] = r[R_FORM + 2] * w;
    row.form[1] = r[R_FORM + 1] * v;
    row.form[2] = r[R_FORM];
    row.scale = r[R_SCALE];
    row.v = v;
    row.unit = r[R_UNIT];
    row.dose = r[R_DOSE];
    row.ky = (real)ky;
    return row;
}

static __device__ __forceinline__ real slice_even(const SliceRow& row, real u) {
    return madd(madd(madd(madd(madd(madd(row.e[6], u, row.e[5]), u, row.e[4]), u, row.e[3]), u, row.e[2]), u, row.e[1]), u,
                row.e[0]);
}

static __device__ __forceinline__ real slice_odd(const SliceRow& row, real u) {
    return madd(madd(madd(madd(madd(row.o[5], u, row.o[4]), u, row.o[3]), u, row.o[2]), u, row.o[1]), u, row.o[0]);
}

/* 1 / (2 Ne): the loss of signal per unit of dose at frequency f (Grant and Grigorieff 2015, eq. 3). */
static __device__ __forceinline__ real slice_loss(real f) {
    const real tiny = (real)1e-6;
    return (real)0.5 / madd((real)0.245, pow(f > tiny ? f : tiny, (real)-1.665), (real)2.81);
}

static __device__ __forceinline__ real slice_frequency(const SliceRow& row, real kx) {
    return row.unit * sqrt(madd(kx, kx, row.ky * row.ky));
}

/* E; one where the record has neither B factor nor dose, which most have not. */
static __device__ __forceinline__ real slice_envelope(const SliceRow& row, real kx, real u) {
    if (row.form[0] == (real)0 && row.form[1] == (real)0 && row.form[2] == (real)0 && row.dose == (real)0) return (real)1;
    real x = madd(madd(row.form[2], u, row.form[1]), u, row.form[0]);
    if (row.dose != (real)0) x -= row.dose * slice_loss(slice_frequency(row, kx));
    return exp(x);
}

/* The CTF's factor c and its derivative in e (turns). */
static __device__ __forceinline__ void slice_contrast(int ctf, real s, real c, real& value, real& slope) {
    const real sign = ctf == 2 ? (s < (real)0 ? (real)-1 : (real)1) : (real)-1;
    value = ctf ? sign * s : (real)1;
    slope = ctf ? sign * TWO_PI * c : (real)0;
}

/* ---- interpolation: 2 W consecutive reals of a row of the spectrum at a time -------------------------------------- */

#if LANES > 1
template <int N> struct SliceLine;
template <> struct SliceLine<4> {
    typedef real V __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
    V x;
};
template <> struct SliceLine<8> {
    typedef real V __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));
    V x;
};
template <> struct SliceLine<16> {
    typedef real V __attribute__((vector_size(16 * sizeof(real)), aligned(sizeof(real)), may_alias));
    V x;
};
template <int N> static __device__ __forceinline__ void line_add(SliceLine<N>& a, real w, const real* __restrict__ p) {
    a.x += w * *(const typename SliceLine<N>::V*)p;
}
template <int N> static __device__ __forceinline__ void line_store(real* __restrict__ p, real w, const SliceLine<N>& a) {
    *(typename SliceLine<N>::V*)p += w * a.x;
}
#else
template <int N> struct SliceLine {
    real x[N];
};
template <int N> static __device__ __forceinline__ void line_store(real* __restrict__ p, real w, const SliceLine<N>& a) {
#pragma unroll
    for (int i = 0; i < N; ++i) p[i] = madd(w, a.x[i], p[i]);
}
#endif
template <int N> static __device__ __forceinline__ SliceLine<N> line_zero() {
    SliceLine<N> a;
#pragma unroll
    for (int i = 0; i < N; ++i) a.x[i] = 0;
    return a;
}

struct SliceSizes {
    int nx, nz, offset, skirt, degree;
};

/* The weight of tap j of an axis at the place `t` in [0, 1) between two entries, and its derivative.
 * W = 2: linear.  Else: one polynomial per tap, `taper` (degree + 1, W), highest power first. */
template <int W>
static __device__ __forceinline__ void slice_tap(real t, int j, const real* __restrict__ taper, int degree, real& w, real& d) {
    if (W == 2) {
        w = j ? t : (real)1 - t;
        d = j ? (real)1 : (real)-1;
        return;
    }
    w = taper[j];
    d = 0;
#pragma unroll 1
    for (int n = 1; n <= degree; ++n) {
        d = madd(d, t, w);
        w = madd(w, t, taper[n * W + j]);
    }
}

/* The W weights of one axis. */
template <int W>
static __device__ __forceinline__ void slice_taps(real t, const real* __restrict__ taper, int degree, real* w, real* d) {
#if LANES > 1
    if (W > 2) { /* all taps at once, in vector registers */
        for (int j = 0; j < W; ++j) {
            w[j] = taper[j];
            d[j] = 0;
        }
        for (int n = 1; n <= degree; ++n)
            for (int j = 0; j < W; ++j) {
                d[j] = madd(d[j], t, w[j]);
                w[j] = madd(w[j], t, taper[n * W + j]);
            }
        return;
    }
#endif
#pragma unroll
    for (int j = 0; j < W; ++j) slice_tap<W>(t, j, taper, degree, w[j], d[j]);
}

/* Where a point lies in the spectrum: the first of its W^3 entries, and its place between them; on a CPU with all
 * weights, which a GPU makes where it needs them, to save registers.  `flip` is -1 where the conjugate of the opposite
 * point is read. */
template <int W> struct SlicePlace {
    real tx, ty, tz, flip;
    int x, y, z; /* indices into the array */
    int inside;
#if LANES > 1
    real wx[W], wy[W], wz[W], dx[W], dy[W], dz[W];
#endif
};

template <int W>
static __device__ __forceinline__ SlicePlace<W> slice_place(real x, real y, real z, const real* __restrict__ taper,
                                                            const SliceSizes& n) {
    SlicePlace<W> p;
    p.flip = x < (real)0 ? (real)-1 : (real)1;
    x *= p.flip;
    y *= p.flip;
    z *= p.flip;
    const int ix = floor_index(x), iy = floor_index(y), iz = floor_index(z);
    p.tx = x - (real)ix;
    p.ty = y - (real)iy;
    p.tz = z - (real)iz;
#if LANES > 1
    slice_taps<W>(p.tx, taper, n.degree, p.wx, p.dx);
    slice_taps<W>(p.ty, taper, n.degree, p.wy, p.dy);
    slice_taps<W>(p.tz, taper, n.degree, p.wz, p.dz);
#endif
    p.x = ix + n.skirt - (W / 2 - 1);
    p.y = iy + n.offset - (W / 2 - 1);
    p.z = iz + n.offset - (W / 2 - 1);
    p.inside = p.x >= 0 && p.x + W <= n.nx && p.y >= 0 && p.y + W <= n.nz && p.z >= 0 && p.z + W <= n.nz;
    return p;
}

struct SliceValue {
    real re, im, xr, xi, yr, yi, zr, zi; /* V and its derivatives along the axes of the spectrum */
};

#if LANES > 1
/* Whole rows at a time, in vector registers. */
template <int W, bool SLOPES>
static __device__ __forceinline__ SliceValue slice_sum(const real* __restrict__ plane, const SlicePlace<W>& p, const SliceSizes& n,
                                                       const real* __restrict__) {
    SliceLine<2 * W> sum = line_zero<2 * W>(), along_y = line_zero<2 * W>(), along_z = line_zero<2 * W>();
    for (int k = 0; k < W; ++k) {
        SliceLine<2 * W> rows = line_zero<2 * W>(), slopes = line_zero<2 * W>();
        for (int j = 0; j < W; ++j) {
            const real* q = plane + 2 * ((long long)k * n.nz + j) * n.nx;
            line_add(rows, p.wy[j], q);
            if (SLOPES) line_add(slopes, p.dy[j], q);
        }
        sum.x += p.wz[k] * rows.x;
        if (SLOPES) {
            along_y.x += p.wz[k] * slopes.x;
            along_z.x += p.dz[k] * rows.x;
        }
    }
    SliceValue v = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < W; ++i) {
        v.re = madd(p.wx[i], sum.x[2 * i], v.re);
        v.im = madd(p.wx[i], sum.x[2 * i + 1], v.im);
        if (SLOPES) {
            v.xr = madd(p.dx[i], sum.x[2 * i], v.xr);
            v.xi = madd(p.dx[i], sum.x[2 * i + 1], v.xi);
            v.yr = madd(p.wx[i], along_y.x[2 * i], v.yr);
            v.yi = madd(p.wx[i], along_y.x[2 * i + 1], v.yi);
            v.zr = madd(p.wx[i], along_z.x[2 * i], v.zr);
            v.zi = madd(p.wx[i], along_z.x[2 * i + 1], v.zi);
        }
    }
    return v;
}
#else
/* Row after row, in few registers. */
template <int W, bool SLOPES>
static __device__ __forceinline__ SliceValue slice_sum(const real* __restrict__ plane, const SlicePlace<W>& p, const SliceSizes& n,
                                                       const real* __restrict__ taper) {
    SliceValue v = {0, 0, 0, 0, 0, 0, 0, 0};
    real wx[W], dx[W];
    slice_taps<W>(p.tx, taper, n.degree, wx, dx);
#pragma unroll 1
    for (int k = 0; k < W; ++k) {
        real wz, dz;
        slice_tap<W>(p.tz, k, taper, n.degree, wz, dz);
#pragma unroll 1
        for (int j = 0; j < W; ++j) {
            const real* q = plane + 2 * ((long long)k * n.nz + j) * n.nx;
            real wy, dy, re = 0, im = 0, xr = 0, xi = 0;
            slice_tap<W>(p.ty, j, taper, n.degree, wy, dy);
#pragma unroll
            for (int i = 0; i < W; ++i) {
                re = madd(wx[i], q[2 * i], re);
                im = madd(wx[i], q[2 * i + 1], im);
                if (SLOPES) {
                    xr = madd(dx[i], q[2 * i], xr);
                    xi = madd(dx[i], q[2 * i + 1], xi);
                }
            }
            const real w = wz * wy;
            v.re = madd(w, re, v.re);
            v.im = madd(w, im, v.im);
            if (SLOPES) {
                const real y = wz * dy, z = dz * wy;
                v.xr = madd(w, xr, v.xr);
                v.xi = madd(w, xi, v.xi);
                v.yr = madd(y, re, v.yr);
                v.yi = madd(y, im, v.yi);
                v.zr = madd(z, re, v.zr);
                v.zi = madd(z, im, v.zi);
            }
        }
    }
    return v;
}
#endif

template <int W, bool SLOPES>
static __device__ __forceinline__ SliceValue slice_read(const real* __restrict__ spectrum, const SlicePlace<W>& p,
                                                        const SliceSizes& n, const real* __restrict__ taper) {
    if (!p.inside) return SliceValue{0, 0, 0, 0, 0, 0, 0, 0};
    SliceValue v = slice_sum<W, SLOPES>(spectrum + 2 * (((long long)p.z * n.nz + p.y) * n.nx + p.x), p, n, taper);
    v.im *= p.flip; /* V(-k) is the conjugate of V(k); a derivative changes its sign once more */
    if (SLOPES) {
        v.xr *= p.flip;
        v.yr *= p.flip;
        v.zr *= p.flip;
    }
    return v;
}
