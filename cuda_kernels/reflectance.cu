/* Reflectance models on arrays of photometric geometries (reflectance.cuh): values, and derivatives in the geometry and in
 * the models' parameters.  One thread: LANES neighbouring elements. */
#include "reflectance.cuh"

/* value[i] = the reflectance; overwrites. */
extern "C" __global__ void reflectance_value(const real* __restrict__ mu0, const real* __restrict__ mu, const real* __restrict__ cg,
                                             const real* __restrict__ side, const real* __restrict__ p, real* __restrict__ value,
                                             int model, long long n) {
    const long long first = (long long)THREAD_X * LANES;
    for (int l = 0; l < LANES && first + l < n; ++l) {
        const long long i = first + l;
        const Geometry<real> at = {mu0[i], mu[i], cg[i], side[i]};
        value[i] = reflectance(model, at, p);
    }
}

/* slopes[k n + i] = derivative in mu0, mu, cg and side (k = 0 .. 3), and the reflectance itself (k = 4); overwrites.  A
 * thread of a GPU, whose registers are few, does one of the four. */
extern "C" __global__ void reflectance_slopes(const real* __restrict__ mu0, const real* __restrict__ mu, const real* __restrict__ cg,
                                              const real* __restrict__ side, const real* __restrict__ p, real* __restrict__ slopes,
                                              int model, long long n) {
    constexpr int AT_ONCE = LANES > 1 ? 4 : 1;
    typedef Dual<AT_ONCE> T;
    const long long first = (long long)THREAD_X * LANES;
    const int k = THREAD_Y * AT_ONCE;
    if (k >= 4) return;
    for (int l = 0; l < LANES && first + l < n; ++l) {
        const long long i = first + l;
        Geometry<T> at = {T(mu0[i]), T(mu[i]), T(cg[i]), T(side[i])};
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            at.mu0.d[j] = k + j == 0 ? (real)1 : (real)0;
            at.mu.d[j] = k + j == 1 ? (real)1 : (real)0;
            at.cg.d[j] = k + j == 2 ? (real)1 : (real)0;
            at.side.d[j] = k + j == 3 ? (real)1 : (real)0;
        }
        const T made = reflectance(model, at, p);
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) slopes[(k + j) * n + i] = made.d[j];
        if (k == 0) slopes[4 * n + i] = made.v;
    }
}

/* slope[i] = derivative in parameter `which`; overwrites. */
extern "C" __global__ void reflectance_parameter(const real* __restrict__ mu0, const real* __restrict__ mu, const real* __restrict__ cg,
                                                 const real* __restrict__ side, const real* __restrict__ p, real* __restrict__ slope,
                                                 int which, int count, int model, long long n) {
    const long long first = (long long)THREAD_X * LANES;
    Dual<1> q[16];
#pragma unroll
    for (int k = 0; k < 16; ++k) {
        q[k] = Dual<1>(k < count ? p[k] : (real)0);
        q[k].d[0] = k == which ? (real)1 : (real)0;
    }
    for (int l = 0; l < LANES && first + l < n; ++l) {
        const long long i = first + l;
        const Geometry<Dual<1>> at = {Dual<1>(mu0[i]), Dual<1>(mu[i]), Dual<1>(cg[i]), Dual<1>(side[i])};
        slope[i] = reflectance(model, at, q).d[0];
    }
}
