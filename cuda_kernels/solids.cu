/* Solid parts along rays: their surface's colour under a light of nine harmonics, before a background.
 *   image = sum over samples of T (1 - exp(-D)) c + T_end background,   D = max(0, S_{i+1} - S_i),   S = solid_depth
 * with S at t = i step and c in the middle between: c = sum over parts of weight * colour * sum over k of light_k Y_k(normal).
 * What is seen of a ray depends on how near it comes, not on the step, and is half where it touches: silhouettes stay where they
 * are however soft they are.  Rays p(t) = origin + t direction are in the world (x, y, z), t >= 0. */
#include "solid_scene.cuh"

#define SOLID_COLUMNS 8 /* changes that one launch of solids_columns takes */
#if LANES > 1
#define SOLID_TOGETHER 8 /* of them in one pass: a vector of a CPU */
#else
#define SOLID_TOGETHER 1
#endif

/* image (band, ray) and left, the share of the background, of one ray. */
template <class T>
static __device__ __forceinline__ void solids_ray(const SolidScene<T>& s, SolidInput<T> origins, SolidInput<T> directions,
                                                  SolidInput<T> background, const real* ball, real slack, real step, long long r,
                                                  int rays, T image[SOLID_BANDS], T& left) {
    T o[3], d[3], depth = (real)0, before = (real)0;
#pragma unroll
    for (int a = 0; a < 3; ++a) o[a] = origins[3 * r + a], d[a] = directions[3 * r + a];
#pragma unroll
    for (int q = 0; q < SOLID_BANDS; ++q) image[q] = (real)0;
    int first, last;
    solid_range(origins.value + 3 * r, directions.value + 3 * r, ball, step, first, last);
    bool fresh = true;
    for (int i = first; i <= last && value_of(depth) < SOLID_FAR; ++i) {
        T p[3], joined, f;
        solid_place(o, d, (real)i * step, p);
        solid_whole(s, p, joined, f);
        const T deep = solid_depth(f, s.width), gained = deep - before;
        const real distance = value_of(f);
        if (!fresh && value_of(gained) > (real)0) {
            const T shown = d_exp(depth * (real)-1) * (T((real)1) - d_exp(gained * (real)-1));
            solid_place(o, d, ((real)i - (real)0.5) * step, p);
            solid_whole(s, p, joined, f);
            for (int m = 0; m < s.count; ++m) {
                T own, normal[3], waves[SOLID_WAVES];
                solid_part(s, m, p, own, normal);
                const T weight = solid_weight(s, m, own, joined, f) * shown;
                if (!(value_of(weight) > (real)0)) continue;
                solid_waves(normal, waves);
#pragma unroll
                for (int q = 0; q < SOLID_BANDS; ++q)
                    if (q < s.bands) image[q] = image[q] + weight * s.parts[m * SOLID_NUMBERS + 15 + q] * solid_lit(s, q, waves);
            }
            depth = depth + gained;
        }
        const int skip = solid_skip(distance, s.width, slack, step);
        i += skip > 0 ? skip - 1 : 0, fresh = skip > 0, before = deep;
    }
    left = d_exp(depth * (real)-1);
#pragma unroll
    for (int q = 0; q < SOLID_BANDS; ++q)
        if (q < s.bands) image[q] = image[q] + left * background[(long long)q * rays + r];
}

/* One thread: LANES rays.  Overwrites image (bands, rays) and left (rays).  ball: middle and radius of what holds all parts;
 * slack: least over greatest half length of the ellipsoid that is longest. */
extern "C" __global__ void solids_forward(const int* __restrict__ kinds, const real* __restrict__ parts, const real* __restrict__ light,
                                          const real* __restrict__ origins, const real* __restrict__ directions,
                                          const real* __restrict__ ball, const real* __restrict__ background, real* __restrict__ image,
                                          real* __restrict__ left, int count, int bands, int cuts, int rays, real width, real slack,
                                          real step) {
    const SolidScene<real> s = {kinds, {parts, nullptr, 1}, {light, nullptr, 1}, count, bands, cuts, width};
    for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
        real seen[SOLID_BANDS];
        solids_ray<real>(s, {origins, nullptr, 1}, {directions, nullptr, 1}, {background, nullptr, 1}, ball, slack, step, r, rays, seen,
                         left[r]);
#pragma unroll
        for (int q = 0; q < SOLID_BANDS; ++q)
            if (q < bands) image[(long long)q * rays + r] = seen[q];
    }
}

/* What a change of parts, light, rays and background does to the image.  Overwrites out.  One thread: LANES rays. */
extern "C" __global__ void solids_push(const int* __restrict__ kinds, const real* __restrict__ parts, const real* __restrict__ light,
                                       const real* __restrict__ origins, const real* __restrict__ directions,
                                       const real* __restrict__ ball, const real* __restrict__ background,
                                       const real* __restrict__ d_parts, const real* __restrict__ d_light,
                                       const real* __restrict__ d_origins, const real* __restrict__ d_directions,
                                       const real* __restrict__ d_background, real* __restrict__ out, int count, int bands, int cuts,
                                       int rays, real width, real slack, real step) {
    const SolidScene<Dual<1>> s = {kinds, {parts, d_parts, 1}, {light, d_light, 1}, count, bands, cuts, width};
    for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
        Dual<1> seen[SOLID_BANDS], left;
        solids_ray<Dual<1>>(s, {origins, d_origins, 1}, {directions, d_directions, 1}, {background, d_background, 1}, ball, slack, step, r, rays,
                            seen, left);
#pragma unroll
        for (int q = 0; q < SOLID_BANDS; ++q)
            if (q < bands) out[(long long)q * rays + r] = seen[q].d[0];
    }
}

/* What SOLID_COLUMNS changes of parts and light do, of each, to the image: d_parts (numbers of parts, SOLID_COLUMNS), d_light
 * likewise, out (SOLID_COLUMNS, bands, rays).  One thread: LANES rays. */
extern "C" __global__ void solids_columns(const int* __restrict__ kinds, const real* __restrict__ parts, const real* __restrict__ light,
                                          const real* __restrict__ origins, const real* __restrict__ directions,
                                          const real* __restrict__ ball, const real* __restrict__ background,
                                          const real* __restrict__ d_parts, const real* __restrict__ d_light, real* __restrict__ out,
                                          int count, int bands, int cuts, int rays, real width, real slack, real step) {
    typedef Dual<SOLID_TOGETHER> T;
    for (int k = 0; k < SOLID_COLUMNS; k += SOLID_TOGETHER) {
        const SolidScene<T> s = {kinds, {parts, d_parts + k, SOLID_COLUMNS}, {light, d_light + k, SOLID_COLUMNS}, count, bands, cuts, width};
        for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
            T seen[SOLID_BANDS], left;
            solids_ray<T>(s, {origins, nullptr, 1}, {directions, nullptr, 1}, {background, nullptr, 1}, ball, slack, step, r, rays, seen,
                          left);
#pragma unroll
            for (int q = 0; q < SOLID_BANDS; ++q)
#pragma unroll
                for (int j = 0; j < SOLID_TOGETHER; ++j)
                    if (q < bands) out[((long long)(k + j) * bands + q) * rays + r] = seen[q].d[j];
        }
    }
}
