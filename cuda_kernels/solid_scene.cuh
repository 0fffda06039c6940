/* A scene of solid parts under a light: its numbers, how far a place is from what is left of them after the cuts, how much of the
 * colour there is each part's, and which samples of a ray may see anything. */
#pragma once
#include "solids.cuh"

/* Numbers with how they change in N ways, or, with a null pointer, do not.  Changes (number, stride). */
template <class T> struct SolidInput {
    const real *value, *change;
    int stride;
    __device__ __forceinline__ T operator[](long long i) const {
        T made = value[i];
        if (change != nullptr) seed(made, change + i * stride);
        return made;
    }
    static __device__ __forceinline__ void seed(real&, const real*) {}
    template <int N> static __device__ __forceinline__ void seed(Dual<N>& made, const real* change) {
#pragma unroll
        for (int k = 0; k < N; ++k) made.d[k] = change[k];
    }
};

template <class T> struct SolidScene {
    const int* kinds;
    SolidInput<T> parts, light; /* (part, SOLID_NUMBERS), (SOLID_BANDS, SOLID_WAVES) */
    int count, bands, cuts;
    real width;
};

/* The distance and, in the world, the normal of a part at a place; of one that is cut out, from the other side. */
template <class T>
static __device__ __forceinline__ void solid_part(const SolidScene<T>& s, int m, const T p[3], T& f, T normal[3]) {
    const long long at = (long long)m * SOLID_NUMBERS;
    T q[3], h[3], own[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const long long row = at + 3 + 4 * a;
        h[a] = s.parts[at + a];
        q[a] = s.parts[row] * p[0] + s.parts[row + 1] * p[1] + s.parts[row + 2] * p[2] + s.parts[row + 3];
    }
    solid_distance(s.kinds[m] & (SOLID_CUT - 1), q, h, f, own);
    const real side = s.kinds[m] & SOLID_CUT ? (real)-1 : (real)1;
#pragma unroll
    for (int a = 0; a < 3; ++a)
        normal[a] = (s.parts[at + 3 + a] * own[0] + s.parts[at + 7 + a] * own[1] + s.parts[at + 11 + a] * own[2]) * side;
}

/* low - width log(sum of exp(-(f - low) / width)) over what came so far. */
template <class T> struct SolidJoin {
    T sum;
    real low, width;
    __device__ __forceinline__ SolidJoin(real width) : sum((real)0), low((real)1e30), width(width) {}
    __device__ __forceinline__ void add(const T& f) {
        if (value_of(f) < low) sum = sum * exp((value_of(f) - low) / width), low = value_of(f);
        sum = sum + d_exp((f - low) / -width);
    }
    __device__ __forceinline__ T whole() const { return d_log(sum) * -width + low; }
};

/* The distance of the parts that are joined, and of what is left of them after the cuts. */
template <class T> static __device__ __forceinline__ void solid_whole(const SolidScene<T>& s, const T p[3], T& joined, T& left) {
    SolidJoin<T> join(s.width), cut(s.width);
    for (int m = 0; m < s.count; ++m) {
        if (s.kinds[m] & SOLID_CUT) continue;
        T f, unused[3];
        solid_part(s, m, p, f, unused);
        join.add(f);
    }
    joined = left = join.whole();
    if (!s.cuts) return;
    cut.add(joined * (real)-1);
    for (int m = 0; m < s.count; ++m) {
        if (!(s.kinds[m] & SOLID_CUT)) continue;
        T f, unused[3];
        solid_part(s, m, p, f, unused);
        cut.add(f);
    }
    left = cut.whole() * (real)-1;
}

/* How much of the colour at a place is a part's, by its distance and those of `solid_whole`. */
template <class T>
static __device__ __forceinline__ T solid_weight(const SolidScene<T>& s, int m, const T& f, const T& joined, const T& left) {
    if (s.kinds[m] & SOLID_CUT) return d_exp((f + left) / -s.width);
    return d_exp((joined - f) / s.width) * d_exp((joined - left) / s.width);
}

/* What light of a band falls on a normal. */
template <class T> static __device__ __forceinline__ T solid_lit(const SolidScene<T>& s, int band, const T waves[SOLID_WAVES]) {
    T sum = (real)0;
#pragma unroll
    for (int k = 0; k < SOLID_WAVES; ++k) sum = sum + s.light[band * SOLID_WAVES + k] * waves[k];
    return sum;
}

/* The samples of a ray near enough to a ball around everything. */
static __device__ __forceinline__ void solid_range(const real* origin, const real* direction, const real* ball, real step, int& first,
                                                   int& last) {
    real b = (real)0, c = -ball[3] * ball[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const real away = origin[a] - ball[a];
        b = madd(away, direction[a], b), c = madd(away, away, c);
    }
    const real under = b * b - c, root = under > (real)0 ? sqrt(under) : (real)0;
    first = last = 0;
    if (!(under > (real)0) || !(root > b)) return;
    if (-b - root > (real)0) first = floor_index((-b - root) / step);
    last = floor_index((root - b) / step) + 1;
}

/* How many samples further on nothing is seen yet. */
static __device__ __forceinline__ int solid_skip(real f, real width, real slack, real step) {
    const real free = f * slack - SOLID_FAR * width / slack;
    return free > step ? (int)(free / step) : 0;
}

template <class T> static __device__ __forceinline__ void solid_place(const T* o, const T* d, real t, T p[3]) {
#pragma unroll
    for (int a = 0; a < 3; ++a) p[a] = o[a] + d[a] * t;
}

