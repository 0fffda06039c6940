/* How much light a surface element sends to the camera, as a function of its photometric geometry: bidirectional
 * reflectance models in I/F, of a surface that is lit by the sun alone and whose albedo is 1.
 *
 * mu0 = n . s and mu = n . v are the cosines of incidence and emission, cg = s . v that of the phase angle g, and side =
 * n . (s x v).  The azimuth psi between the planes of incidence and emission comes from the last: X = cg - mu0 mu = sin i
 * sin e cos psi and |side| = sin i sin e sin psi, which keeps its derivative exact where psi is 0 or 180 degrees.
 * T: real or Dual, of the geometry; P: the same of the model's parameters p.  Angles among the parameters in radians;
 * polynomials in the phase take it in degrees, as in the literature.
 * Formulas: Hapke 1981 (J. Geophys. Res. 86, 3039), 1984 (Icarus 59, 41), 1993, 2002 (Icarus 157, 523), 2012 (Theory of
 * Reflectance and Emittance Spectroscopy, 2nd ed.); McEwen 1991 (Icarus 92, 298); Minnaert 1941 (Astrophys. J. 93, 403);
 * Akimov in Shkuratov et al. 2011 (Planet. Space Sci. 59, 1326); Oren and Nayar 1994 (SIGGRAPH, 239); Buie et al. 2010
 * (Astron. J. 139, 1117); Boyd et al. 2014 and 2019 (LROC empirical); Walter et al. 2007 (EGSR, 195, GGX), Heitz
 * 2014 (J. Comput. Graph. Tech. 3, 2, 48, its shadowing) and Schlick 1994 (Comput. Graph. Forum 13, 233). */
#pragma once
#include "dual.cuh"

#define PI_ ((real)3.14159265358979323846)
#define DEGREES ((real)57.295779513082320877)

#define R_LAMBERT 0
#define R_LOMMEL_SEELIGER 1
#define R_LUNAR_LAMBERT 2
#define R_LUNAR_LAMBERT_MCEWEN 3
#define R_LUNAR_LAMBERT_EXPONENTIAL 4
#define R_LUNAR_LAMBERT_CUBIC 5
#define R_MINNAERT 6
#define R_AKIMOV 7
#define R_OREN_NAYAR 8
#define R_CHARON 9
#define R_LROC_2014 10
#define R_LROC_2019 11
#define R_HAPKE_1981 12
#define R_HAPKE_2002 13
#define R_HAPKE_LEGENDRE 14
#define R_GGX 15

template <class T> struct Geometry {
    T mu0, mu, cg, side;
};

/* The phase angle, radians. */
template <class T> static __device__ __forceinline__ T phase_angle(const T& cg) {
    return d_atan2(d_sqrt((real)1 - cg * cg), cg);
}

template <class T, class P> static __device__ __forceinline__ auto cubic(const P* p, const T& a) {
    return p[0] + a * (p[1] + a * (p[2] + a * p[3]));
}

template <class T, class P>
static __device__ __forceinline__ T lunar_lambert(const Geometry<T>& at, const P& share) {
    return (real)2 * share * at.mu0 / (at.mu0 + at.mu) + ((real)1 - share) * at.mu0;
}

/* gamma and beta are photometric longitude and latitude; 1 at g = 0 wherever the element lies. */
template <class T, class P> static __device__ __forceinline__ T akimov(const Geometry<T>& at, const P& nu) {
    const T sg = d_sqrt((real)1 - at.cg * at.cg), g = d_atan2(sg, at.cg);
    if (value_of(sg) < (real)1e-7) return T((real)1);
    const T tangent = (at.mu0 / at.mu - at.cg) / sg, slant = d_sqrt((real)1 + tangent * tangent); /* 1 / cos gamma */
    const T gamma = d_atan2(tangent, T((real)1)), rest = PI_ - g;
    const T beta = at.mu * slant;
    return d_cos((real)0.5 * g) * d_cos(PI_ / rest * (gamma - (real)0.5 * g)) * d_pow(beta, nu * g / rest) * slant;
}

template <class T, class P> static __device__ __forceinline__ T oren_nayar(const Geometry<T>& at, const P& sigma) {
    const P square = sigma * sigma;
    const P a = (real)1 - (real)0.5 * square / (square + (real)0.33), b = (real)0.45 * square / (square + (real)0.09);
    const T x = at.cg - at.mu0 * at.mu;
    const real ahead = value_of(at.mu0) - value_of(at.mu);
    const T larger = ahead > (real)0 ? at.mu0 : ahead < (real)0 ? at.mu : (real)0.5 * (at.mu0 + at.mu);
    const real open = value_of(x) > (real)0 ? (real)1 : value_of(x) < (real)0 ? (real)0 : (real)0.5; /* max(0, x) */
    return at.mu0 * (a + open * b * x / larger);
}

/* Facets that are mirrors, of GGX's distribution with alpha = roughness^2, and what is matt below.  p: roughness, the mirrors'
 * reflectance from ahead, matt share. */
template <class T, class P> static __device__ __forceinline__ T microfacets(const Geometry<T>& at, const P* p) {
    const P alpha = p[0] * p[0], square = alpha * alpha, rest = (real)1 - square;
    const T both = at.mu0 + at.mu, half = (real)0.5 * ((real)1 + at.cg); /* cos^2 of half the phase */
    const T nh = (real)0.25 * both * both / half, q = (real)1 - rest * nh;
    const T seen = (real)0.5 / (at.mu0 * d_sqrt(rest * at.mu * at.mu + square) + at.mu * d_sqrt(rest * at.mu0 * at.mu0 + square));
    const T miss = (real)1 - d_sqrt(half), twice = miss * miss, mirror = p[1] + ((real)1 - p[1]) * twice * twice * miss;
    return at.mu0 * (p[2] + square / (q * q) * seen * mirror);
}

/* ---- Hapke ------------------------------------------------------------------------------------------------------- */

template <class T, class P> static __device__ __forceinline__ T hapke_h_1981(const T& x, const P& root) {
    return ((real)1 + (real)2 * x) / ((real)1 + (real)2 * root * x);
}
template <class T, class P> static __device__ __forceinline__ T hapke_h_2002(const T& x, const P& w, const P& root) {
    const P r0 = ((real)1 - root) / ((real)1 + root);
    return (real)1 / ((real)1 - w * x * (r0 + ((real)0.5 - r0 * x) * d_log((x + (real)1) / x)));
}

/* One lobe of Henyey and Greenstein; b > 0 scatters back to the sun. */
template <class T, class P> static __device__ __forceinline__ T hapke_lobe(const T& cg, const P& b) {
    const T q = (real)1 - (real)2 * b * cg + b * b;
    return ((real)1 - b * b) / (q * d_sqrt(q));
}
template <class T, class P> static __device__ __forceinline__ T hapke_phase(const T& cg, const P& b, const P& c) {
    return (real)0.5 * ((real)1 + c) * hapke_lobe(cg, b) + (real)0.5 * ((real)1 - c) * hapke_lobe(cg, (real)-1 * b);
}

/* tan(g / 2). */
template <class T> static __device__ __forceinline__ T half_phase(const T& cg) {
    const T fore = (real)1 - cg, back = (real)1 + cg;
    if (value_of(fore) < (real)1e-14) return T((real)0);
    return d_sqrt(fore / (value_of(back) < (real)1e-14 ? T((real)1e-14) : back));
}
template <class T, class P> static __device__ __forceinline__ T coherent(const T& half, const P& hc) {
    const T y = half / hc;
    const T mean = value_of(y) < (real)1e-3 ? (real)1 - y * ((real)0.5 - y * ((real)0.16666666666666667 - y * (real)0.041666666666666667))
                                            : ((real)1 - d_exp((real)-1 * y)) / y;
    return ((real)1 + mean) / ((real)2 * ((real)1 + y) * ((real)1 + y));
}

/* What tilts of the surface below a pixel do: cosines of incidence and emission as the light sees them, and the factor S. */
template <class T> struct Rough {
    T mu0, mu, factor;
};
/* exp(-power cot(theta) cot(x) ...) of an angle with cosine c and sine s; 0 at the zenith. */
template <class T, class P> static __device__ __forceinline__ T facets(const P& slope, const T& c, const T& s, bool square) {
    if (value_of(s) < (real)1e-10) return T((real)0);
    const T x = c / (s * slope);
    return square ? d_exp((real)(-1 / 3.14159265358979323846) * x * x) : d_exp((real)(-2 / 3.14159265358979323846) * x);
}
/* steeper: whether e > i, or counts as it where they are the same. */
template <class T, class P>
static __device__ __forceinline__ Rough<T> roughened(const Geometry<T>& at, const P& theta, bool steeper) {
    Rough<T> made = {at.mu0, at.mu, T((real)1)};
    if (!(value_of(theta) > (real)0)) return made;
    const P slope = d_tan(theta), chi = (real)1 / d_sqrt((real)1 + PI_ * slope * slope);
    const T si = d_sqrt((real)1 - at.mu0 * at.mu0), se = d_sqrt((real)1 - at.mu * at.mu);
    const T x = at.cg - at.mu0 * at.mu, y = d_abs(at.side), both = d_sqrt(x * x + y * y); /* sin i sin e (cos, sin, 1) */
    const T psi = d_atan2(y, x) / PI_;
    const T e1i = facets(slope, at.mu0, si, false), e2i = facets(slope, at.mu0, si, true);
    const T e1e = facets(slope, at.mu, se, false), e2e = facets(slope, at.mu, se, true);
    const T eta_i = chi * (at.mu0 + slope * si * e2i / ((real)2 - e1i)), eta_e = chi * (at.mu + slope * se * e2e / ((real)2 - e1e));
    const T half = (real)0.5 * (both - x); /* sin i sin e sin^2(psi / 2) */
    T q;
    if (steeper) {
        const T below = (real)2 - e1e - psi * e1i;
        const T along = value_of(se) < (real)1e-10 ? T((real)0) : x / se, across = value_of(se) < (real)1e-10 ? T((real)0) : half / se;
        const T turned = value_of(both) > (real)0 ? half / both : T((real)0);
        made.mu0 = chi * (at.mu0 + slope * (along * e2e + across * e2i) / below);
        made.mu = chi * (at.mu + slope * se * (e2e - turned * e2i) / below);
        q = at.mu0 / eta_i;
    } else {
        const T below = (real)2 - e1i - psi * e1e;
        const T along = value_of(si) < (real)1e-10 ? T((real)0) : x / si, across = value_of(si) < (real)1e-10 ? T((real)0) : half / si;
        const T turned = value_of(both) > (real)0 ? half / both : T((real)0);
        made.mu0 = chi * (at.mu0 + slope * si * (e2i - turned * e2e) / below);
        made.mu = chi * (at.mu + slope * (along * e2i + across * e2e) / below);
        q = at.mu / eta_e;
    }
    /* f = exp(-2 tan(psi / 2)) */
    const T near = both + x;
    const bool far = !(value_of(near) > (real)1e-12 * value_of(both));
    const T f = value_of(both) > (real)0 ? (far ? T((real)0) : d_exp((real)-2 * y / near)) : T((real)1);
    made.factor = made.mu / eta_e * (at.mu0 / eta_i) * chi / ((real)1 - f + f * (chi * q));
    return made;
}

/* p: w, b, c, Bs0, hs, Bc0, hc, theta, phi.  kind: R_HAPKE_...; with Legendre polynomials b and c are their factors. */
template <class T, class P>
static __device__ __forceinline__ T hapke(const Geometry<T>& at, const P* p, int kind, bool steeper) {
    const P w = p[0], root = d_sqrt((real)1 - w);
    const Rough<T> rough = roughened(at, p[7], steeper);
    P stretch = P((real)1); /* K of a porous surface */
    if (value_of(p[8]) > (real)0) {
        const P filled = (real)1.209 * d_pow(p[8], (real)0.66666666666666667);
        stretch = (real)-1 * d_log((real)1 - filled) / filled;
    }
    const T half = half_phase(at.cg);
    const T shadow = (real)1 + p[3] / ((real)1 + half / p[4]);
    const T bright = value_of(p[5]) != (real)0 ? (real)1 + p[5] * coherent(half, p[6]) : T((real)1);
    const T lobes = kind == R_HAPKE_LEGENDRE ? (real)1 + p[1] * at.cg + p[2] * ((real)1.5 * at.cg * at.cg - (real)0.5)
                                             : hapke_phase(at.cg, p[1], p[2]);
    const T many = kind == R_HAPKE_2002
                       ? hapke_h_2002(rough.mu0 / stretch, w, root) * hapke_h_2002(rough.mu / stretch, w, root) - (real)1
                       : hapke_h_1981(rough.mu0 / stretch, root) * hapke_h_1981(rough.mu / stretch, root) - (real)1;
    return (real)0.25 * stretch * w * rough.mu0 / (rough.mu0 + rough.mu) * (lobes * shadow + many) * bright * rough.factor;
}

/* ------------------------------------------------------------------------------------------------------------------ */

/* Zero where the sun or the camera is below the element's horizon. */
template <class T, class P>
static __device__ __forceinline__ T reflectance(int model, const Geometry<T>& at, const P* p) {
    if (!(value_of(at.mu0) > (real)0) || !(value_of(at.mu) > (real)0)) return T((real)0);
    const T sum = at.mu0 + at.mu;
    switch (model) {
    case R_LAMBERT: return at.mu0;
    case R_LOMMEL_SEELIGER: return (real)2 * at.mu0 / sum;
    case R_LUNAR_LAMBERT: return lunar_lambert(at, p[0]);
    case R_LUNAR_LAMBERT_MCEWEN: {
        const T g = phase_angle(at.cg);
        return lunar_lambert(at, cubic(p, DEGREES * g)) * (d_exp((real)-1 * p[4] * g) + p[5]);
    }
    case R_LUNAR_LAMBERT_EXPONENTIAL: return lunar_lambert(at, d_exp((real)-1 * DEGREES * phase_angle(at.cg) / p[0]));
    case R_LUNAR_LAMBERT_CUBIC: {
        const T a = DEGREES * phase_angle(at.cg);
        return (real)2 * cubic(p, a) * at.mu0 / sum / cubic(p + 8, a) + ((real)1 - cubic(p + 4, a)) * at.mu0 / cubic(p + 12, a);
    }
    case R_MINNAERT: return d_pow(at.mu0, p[0]) * d_pow(at.mu, p[0] - (real)1);
    case R_AKIMOV: return akimov(at, p[0]);
    case R_OREN_NAYAR: return oren_nayar(at, p[0]);
    case R_GGX: return microfacets(at, p);
    case R_CHARON: return p[1] * p[0] * at.mu0 / sum + ((real)1 - p[0]) * at.mu0;
    case R_LROC_2014: return d_exp(p[0] + p[1] * (DEGREES * phase_angle(at.cg)) + p[2] * at.mu + p[3] * at.mu0);
    case R_LROC_2019: {
        const T a = DEGREES * phase_angle(at.cg);
        return at.mu0 / sum *
               d_exp(p[0] + p[1] * a * a + p[2] * a + p[3] * d_sqrt(a) + p[4] * at.mu + p[5] * at.mu0 + p[6] * at.mu0 * at.mu0);
    }
    default: break;
    }
    /* The slope jumps where i = e: the mean of both sides. */
    const bool same = value_of(at.mu0) == value_of(at.mu), steeper = value_of(at.mu0) >= value_of(at.mu);
    T total = T((real)0);
#pragma unroll 1
    for (int k = 0; k < (same ? 2 : 1); ++k) total = total + hapke(at, p, model, k ? !steeper : steeper);
    return same ? (real)0.5 * total : total;
}
