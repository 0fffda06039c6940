/* Numbers with N derivatives beside them, so that a formula is written once and gives exact derivatives, to rounding, in
 * whichever of its inputs are seeded. */
#pragma once
#include "turns.cuh"

template <int N> struct Dual {
    real v, d[N];
    __device__ __forceinline__ Dual() {}
    __device__ __forceinline__ Dual(real x) : v(x) {
#pragma unroll
        for (int i = 0; i < N; ++i) d[i] = 0;
    }
};

/* f(x), whose value is v and whose derivative is slope. */
template <int N> static __device__ __forceinline__ Dual<N> chained(const Dual<N>& x, real v, real slope) {
    Dual<N> y;
    y.v = v;
#pragma unroll
    for (int i = 0; i < N; ++i) y.d[i] = slope * x.d[i];
    return y;
}
/* f(x, y). */
template <int N>
static __device__ __forceinline__ Dual<N> chained(const Dual<N>& x, real dx, const Dual<N>& y, real dy, real v) {
    Dual<N> z;
    z.v = v;
#pragma unroll
    for (int i = 0; i < N; ++i) z.d[i] = dx * x.d[i] + dy * y.d[i];
    return z;
}

#if LANES > 1
/* Eight derivatives are a vector of a CPU, which a compiler does not make of the loops above. */
template <> struct Dual<8> {
    typedef real Eight __attribute__((vector_size(8 * sizeof(real))));
    real v;
    Eight d;
    Dual() {}
    Dual(real x) : v(x), d{} {}
};
static inline __attribute__((always_inline)) Dual<8> chained(const Dual<8>& x, real v, real slope) {
    Dual<8> y;
    y.v = v, y.d = slope * x.d;
    return y;
}
static inline __attribute__((always_inline)) Dual<8> chained(const Dual<8>& x, real dx, const Dual<8>& y, real dy, real v) {
    Dual<8> z;
    z.v = v, z.d = dx * x.d + dy * y.d;
    return z;
}
#endif

template <int N> static __device__ __forceinline__ Dual<N> operator+(const Dual<N>& a, const Dual<N>& b) {
    return chained(a, (real)1, b, (real)1, a.v + b.v);
}
template <int N> static __device__ __forceinline__ Dual<N> operator-(const Dual<N>& a, const Dual<N>& b) {
    return chained(a, (real)1, b, (real)-1, a.v - b.v);
}
template <int N> static __device__ __forceinline__ Dual<N> operator*(const Dual<N>& a, const Dual<N>& b) {
    return chained(a, b.v, b, a.v, a.v * b.v);
}
template <int N> static __device__ __forceinline__ Dual<N> operator/(const Dual<N>& a, const Dual<N>& b) {
    const real r = (real)1 / b.v, q = a.v * r;
    return chained(a, r, b, -q * r, q);
}
template <int N> static __device__ __forceinline__ Dual<N> operator+(const Dual<N>& a, real b) { return chained(a, a.v + b, (real)1); }
template <int N> static __device__ __forceinline__ Dual<N> operator+(real a, const Dual<N>& b) { return chained(b, a + b.v, (real)1); }
template <int N> static __device__ __forceinline__ Dual<N> operator-(const Dual<N>& a, real b) { return chained(a, a.v - b, (real)1); }
template <int N> static __device__ __forceinline__ Dual<N> operator-(real a, const Dual<N>& b) { return chained(b, a - b.v, (real)-1); }
template <int N> static __device__ __forceinline__ Dual<N> operator*(const Dual<N>& a, real b) { return chained(a, a.v * b, b); }
template <int N> static __device__ __forceinline__ Dual<N> operator*(real a, const Dual<N>& b) { return chained(b, a * b.v, a); }
template <int N> static __device__ __forceinline__ Dual<N> operator/(const Dual<N>& a, real b) {
    const real r = (real)1 / b;
    return chained(a, a.v * r, r);
}
template <int N> static __device__ __forceinline__ Dual<N> operator/(real a, const Dual<N>& b) {
    const real r = (real)1 / b.v;
    return chained(b, a * r, -a * r * r);
}

static __device__ __forceinline__ real value_of(real x) { return x; }
template <int N> static __device__ __forceinline__ real value_of(const Dual<N>& x) { return x.v; }

/* The functions below have a finite derivative wherever they have a value: where the true one is infinite, at the end of
 * the domain, or one-sided, at a kink, it is zero, which is the mean of what both sides would do to the whole formula. */
static __device__ __forceinline__ real d_exp(real x) { return exp(x); }
template <int N> static __device__ __forceinline__ Dual<N> d_exp(const Dual<N>& x) {
    const real e = exp(x.v);
    return chained(x, e, e);
}
static __device__ __forceinline__ real d_log(real x) { return log(x); }
template <int N> static __device__ __forceinline__ Dual<N> d_log(const Dual<N>& x) {
    return chained(x, log(x.v), (real)1 / x.v);
}
static __device__ __forceinline__ real d_sqrt(real x) { return x > (real)0 ? sqrt(x) : (real)0; }
template <int N> static __device__ __forceinline__ Dual<N> d_sqrt(const Dual<N>& x) {
    const real s = d_sqrt(x.v);
    return chained(x, s, s > (real)0 ? (real)0.5 / s : (real)0);
}
static __device__ __forceinline__ real d_abs(real x) { return x < (real)0 ? -x : x; }
template <int N> static __device__ __forceinline__ Dual<N> d_abs(const Dual<N>& x) {
    return chained(x, d_abs(x.v), x.v > (real)0 ? (real)1 : x.v < (real)0 ? (real)-1 : (real)0);
}
/* Angles of no more than a few turns. */
static __device__ __forceinline__ real d_cos(real x) {
    real s, c;
    turns(x / TWO_PI, s, c);
    return c;
}
template <int N> static __device__ __forceinline__ Dual<N> d_cos(const Dual<N>& x) {
    real s, c;
    turns(x.v / TWO_PI, s, c);
    return chained(x, c, -s);
}
static __device__ __forceinline__ real d_tan(real x) {
    real s, c;
    turns(x / TWO_PI, s, c);
    return s / c;
}
template <int N> static __device__ __forceinline__ Dual<N> d_tan(const Dual<N>& x) {
    const real t = d_tan(x.v);
    return chained(x, t, (real)1 + t * t);
}
static __device__ __forceinline__ real d_atan2(real y, real x) { return atan2(y, x); }
template <int N> static __device__ __forceinline__ Dual<N> d_atan2(const Dual<N>& y, const Dual<N>& x) {
    const real square = x.v * x.v + y.v * y.v, r = square > (real)0 ? (real)1 / square : (real)0;
    return chained(y, x.v * r, x, -y.v * r, atan2(y.v, x.v));
}
template <class T, class P> static __device__ __forceinline__ T d_pow(const T& x, const P& k) { return d_exp(k * d_log(x)); }
