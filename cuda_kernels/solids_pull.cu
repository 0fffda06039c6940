/* The transpose of what a change of parts, light, rays and background does to the image of solids.cu, by replaying the march. */
#include "solid_scene.cuh"

/* The transpose of `solid_part`: from gradients in its distance and its normal, added to the part's own numbers and the place's. */
static __device__ __forceinline__ void solid_part_back(const SolidScene<real>& s, int m, const real p[3], real gf, const real gn[3],
                                                       real* g_parts, real gp[3]) {
    const long long at = (long long)m * SOLID_NUMBERS;
    const real* frame = s.parts.value + at + 3;
    const real side = s.kinds[m] & SOLID_CUT ? (real)-1 : (real)1;
    real pulled[3] = {}, normal[3];
#pragma unroll
    for (int input = 1; input >= 0; --input) { /* half lengths, then the place: both at once are more than registers hold */
        Dual<3> q[3], h[3], f, own[3];
#pragma unroll
        for (int a = 0; a < 3; ++a) {
            pulled[a] = (real)0;
            q[a] = frame[4 * a] * p[0] + frame[4 * a + 1] * p[1] + frame[4 * a + 2] * p[2] + frame[4 * a + 3];
            h[a] = s.parts[at + a];
            (input ? h[a] : q[a]).d[a] = (real)1;
        }
        solid_distance(s.kinds[m] & (SOLID_CUT - 1), q, h, f, own);
#pragma unroll
        for (int a = 0; a < 3; ++a) {
            const real turned = (frame[4 * a] * gn[0] + frame[4 * a + 1] * gn[1] + frame[4 * a + 2] * gn[2]) * side;
            normal[a] = own[a].v;
#pragma unroll
            for (int i = 0; i < 3; ++i) pulled[i] = madd(turned, own[a].d[i], pulled[i]);
        }
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            pulled[i] = madd(gf, f.d[i], pulled[i]);
            if (input) g_parts[at + i] += pulled[i];
        }
    }
#pragma unroll
    for (int a = 0; a < 3; ++a) {
#pragma unroll
        for (int b = 0; b < 3; ++b) {
            g_parts[at + 3 + 4 * a + b] += pulled[a] * p[b] + normal[a] * gn[b] * side;
            gp[b] = madd(frame[4 * a + b], pulled[a], gp[b]);
        }
        g_parts[at + 3 + 4 * a + 3] += pulled[a];
    }
}

/* The transpose of the depth at a place. */
static __device__ __forceinline__ void solid_depth_back(const SolidScene<real>& s, const real* o, const real* d, real t, real g, real* g_parts,
                                                        real* go, real* gd) {
    real p[3], joined, left, gp[3] = {};
    const real none[3] = {};
    solid_place(o, d, t, p);
    solid_whole(s, p, joined, left);
    const real x = left / s.width, e = exp(x > (real)0 ? -x : x);
    g *= -(x > (real)0 ? e : (real)1) / (((real)1 + e) * s.width);
    if (g == (real)0) return;
    for (int m = 0; m < s.count; ++m) {
        real f, unused[3];
        solid_part(s, m, p, f, unused);
        const real own = solid_weight(s, m, f, joined, left) * g;
        if (own != (real)0) solid_part_back(s, m, p, s.kinds[m] & SOLID_CUT ? -own : own, none, g_parts, gp);
    }
#pragma unroll
    for (int a = 0; a < 3; ++a) go[a] += gp[a], gd[a] = madd(t, gp[a], gd[a]);
}

/* The colours at a place times gradients g: all of them, and those of the parts that are joined before anything is cut out. */
struct SolidColours {
    real all, joined;
};

static __device__ __forceinline__ SolidColours solid_colours(const SolidScene<real>& s, const real p[3], real joined, real left,
                                                             const real g[SOLID_BANDS]) {
    SolidColours c = {};
    const real share = exp((joined - left) / s.width);
    for (int m = 0; m < s.count; ++m) {
        real f, normal[3], waves[SOLID_WAVES], own = (real)0;
        solid_part(s, m, p, f, normal);
        solid_waves(normal, waves);
#pragma unroll
        for (int q = 0; q < SOLID_BANDS; ++q) {
            if (q >= s.bands) break;
            own += g[q] * s.parts[m * SOLID_NUMBERS + 15 + q] * solid_lit(s, q, waves);
        }
        own *= solid_weight(s, m, f, joined, left);
        c.all += own;
        if (!(s.kinds[m] & SOLID_CUT) && share > (real)0) c.joined += own / share;
    }
    return c;
}

/* The transpose of the colours at a place. */
static __device__ __forceinline__ void solid_colours_back(const SolidScene<real>& s, const real* o, const real* d, real t,
                                                          real joined, real left, const SolidColours& c, const real g[SOLID_BANDS], real shown,
                                                          real* g_parts, real* g_light, real* go, real* gd) {
    real p[3], gp[3] = {};
    solid_place(o, d, t, p);
    for (int m = 0; m < s.count; ++m) {
        real f, normal[3], waves[SOLID_WAVES], all = (real)0, gn[3], gw[SOLID_WAVES] = {};
        solid_part(s, m, p, f, normal);
        const real weight = solid_weight(s, m, f, joined, left) * shown;
        if (!(weight > (real)0)) continue;
        solid_waves(normal, waves);
#pragma unroll
        for (int q = 0; q < SOLID_BANDS; ++q) {
            if (q >= s.bands) break;
            const long long at = (long long)m * SOLID_NUMBERS + 15 + q;
            real lit = (real)0;
#pragma unroll
            for (int k = 0; k < SOLID_WAVES; ++k) {
                const real light = s.light[q * SOLID_WAVES + k];
                lit = madd(light, waves[k], lit);
                gw[k] += g[q] * weight * s.parts[at] * light;
                g_light[q * SOLID_WAVES + k] += g[q] * weight * s.parts[at] * waves[k];
            }
            g_parts[at] += g[q] * weight * lit;
            all = madd(g[q], s.parts[at] * lit, all);
        }
        solid_waves_back(normal, gw, gn);
        const real gf = weight / s.width * (s.kinds[m] & SOLID_CUT ? c.all - all : (real)2 * c.joined - c.all - all);
        solid_part_back(s, m, p, gf, gn, g_parts, gp);
    }
#pragma unroll
    for (int a = 0; a < 3; ++a) go[a] += gp[a], gd[a] = madd(t, gp[a], gd[a]);
}

/* The transpose for one ray: adds to the parts and the light, overwrites what is the ray's own. */
static __device__ __forceinline__ void solids_back(const SolidScene<real>& s, const real* origins, const real* directions,
                                                   const real* ball, const real* image, const real* g, real* g_parts, real* g_light,
                                                   real* g_origins, real* g_directions, real* g_background, real slack, real step,
                                                   long long r, int rays) {
    const real *o = origins + 3 * r, *d = directions + 3 * r;
    real *go = g_origins + 3 * r, *gd = g_directions + 3 * r; /* in memory: registers are few */
    real gq[SOLID_BANDS] = {}, depth = (real)0, before = (real)0, behind = (real)0, pending = (real)0;
#pragma unroll
    for (int a = 0; a < 3; ++a) go[a] = (real)0, gd[a] = (real)0;
#pragma unroll
    for (int q = 0; q < SOLID_BANDS; ++q)
        if (q < s.bands) gq[q] = g[(long long)q * rays + r], behind = madd(gq[q], image[(long long)q * rays + r], behind);
    int first, last, at = 0; /* at: where the depth was seen last, whose gradient is pending */
    solid_range(o, d, ball, step, first, last);
    bool fresh = true;
    for (int i = first; i <= last && depth < SOLID_FAR; ++i) {
        real p[3], joined, f;
        solid_place(o, d, (real)i * step, p);
        solid_whole(s, p, joined, f);
        const real deep = solid_depth(f, s.width), gained = deep - before, distance = f;
        real gg = (real)0;
        if (!fresh && gained > (real)0) {
            const real through = exp(-depth), shown = through * ((real)1 - exp(-gained)), t = ((real)i - (real)0.5) * step;
            solid_place(o, d, t, p);
            solid_whole(s, p, joined, f);
            const SolidColours c = solid_colours(s, p, joined, f, gq);
            behind -= shown * c.all;
            gg = through * exp(-gained) * c.all - behind;
            solid_colours_back(s, o, d, t, joined, f, c, gq, shown, g_parts, g_light, go, gd);
            depth += gained;
        }
        if (pending - gg != (real)0) solid_depth_back(s, o, d, (real)at * step, pending - gg, g_parts, go, gd);
        pending = gg, at = i;
        const int skip = solid_skip(distance, s.width, slack, step);
        i += skip > 0 ? skip - 1 : 0, fresh = skip > 0, before = deep;
    }
    if (pending != (real)0) solid_depth_back(s, o, d, (real)at * step, pending, g_parts, go, gd);
    const real left = exp(-depth);
#pragma unroll
    for (int q = 0; q < SOLID_BANDS; ++q)
        if (q < s.bands) g_background[(long long)q * rays + r] = gq[q] * left;
}

/* The transpose of solids_push, into copies of the parts' and the light's gradients (copies, ...).  One thread: every
 * `copies`-th ray, and a copy of its own. */
extern "C" __global__ void solids_pull(const int* __restrict__ kinds, const real* __restrict__ parts,
                                       const real* __restrict__ light, const real* __restrict__ origins,
                                       const real* __restrict__ directions, const real* __restrict__ ball,
                                       const real* __restrict__ image, const real* __restrict__ g, real* g_parts, real* g_light,
                                       real* g_origins, real* g_directions, real* g_background, int count, int bands, int cuts,
                                       int rays, real width, real slack, real step, int copies) {
    const SolidScene<real> s = {kinds, {parts, nullptr, 1}, {light, nullptr, 1}, count, bands, cuts, width};
    if (THREAD_X >= copies) return;
    for (long long r = THREAD_X; r < rays; r += copies)
        solids_back(s, origins, directions, ball, image, g, g_parts + (long long)THREAD_X * count * SOLID_NUMBERS,
                    g_light + (long long)THREAD_X * SOLID_BANDS * SOLID_WAVES, g_origins, g_directions, g_background, slack, step,
                    r, rays);
}
