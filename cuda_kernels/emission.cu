/* Light that a volume gives out and takes in along rays: dI/ds = j - kappa I, both constant over each step, trilinear between
 * voxels and zero beyond them (Max 1995, IEEE TVCG 1, 99; the replayed adjoint is that of Vicini et al. 2021).
 * Rays p(t) = origin + t direction are in voxels (z, y, x), t in units of length; samples lie at t = (i + 1/2) step for whole
 * i >= 0, wherever the ray meets the volume, so that nothing jumps when a ray moves.  Without absorption (a null pointer) the
 * image is the sum of the emission, and linear. */
#include "march.cuh"

static __device__ __forceinline__ real march_value(const real* __restrict__ volume, const MarchCell& c) {
    real sum = (real)0;
#pragma unroll
    for (int q = 0; q < 8; ++q)
        if (c.at[q] >= 0) sum = madd(c.w[q], volume[c.at[q]], sum);
    return sum;
}

/* The gradient of the volume at a place, along z, y and x, per voxel, times a factor, added to g. */
static __device__ __forceinline__ void march_slope(const real* __restrict__ volume, const MarchCell& c, real factor, real g[3]) {
#pragma unroll
    for (int q = 0; q < 8; ++q) {
        const real wz = q >> 2 ? c.fz : (real)1 - c.fz, wy = q >> 1 & 1 ? c.fy : (real)1 - c.fy, wx = q & 1 ? c.fx : (real)1 - c.fx;
        const real v = c.at[q] >= 0 ? factor * volume[c.at[q]] : (real)0;
        g[0] += (q >> 2 ? v : -v) * wy * wx, g[1] += (q >> 1 & 1 ? v : -v) * wz * wx, g[2] += (q & 1 ? v : -v) * wz * wy;
    }
}

template <bool Atomic>
static __device__ __forceinline__ void march_scatter(real* volume, const MarchCell& c, real value) {
#pragma unroll
    for (int q = 0; q < 8; ++q)
        if (c.at[q] >= 0) add<Atomic>(volume + c.at[q], c.w[q] * value);
}

/* (1 - exp(-x)) / x and its slope, by their series near 0. */
static __device__ __forceinline__ void escape(real x, real& phi, real& slope) {
    if (x < (real)0.03 && x > (real)-0.03) {
        phi = (real)1 + x * ((real)-0.5 + x * ((real)(1.0 / 6) + x * ((real)(-1.0 / 24) + x * ((real)(1.0 / 120) - x * (real)(1.0 / 720)))));
        slope = (real)-0.5 + x * ((real)(1.0 / 3) + x * ((real)-0.125 + x * ((real)(1.0 / 30) - x * (real)(1.0 / 144))));
    } else {
        const real e = exp(-x);
        phi = ((real)1 - e) / x;
        slope = (e * ((real)1 + x) - (real)1) / (x * x);
    }
}

/* One thread: LANES rays.  Overwrites image and left, the share of the background that comes through. */
extern "C" __global__ void emission_forward(const real* __restrict__ emission, const real* __restrict__ absorption,
                                            const real* __restrict__ origins, const real* __restrict__ directions,
                                            const real* __restrict__ background, real* __restrict__ image, real* __restrict__ left,
                                            int rays, int nz, int ny, int nx, real step) {
    for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
        const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
        real sum = (real)0, through = (real)1;
        for (int i = ray.first; i < ray.last; ++i) {
            MarchCell c;
            if (!march_cell(ray, ((real)i + (real)0.5) * step, nz, ny, nx, c)) continue;
            const real j = march_value(emission, c);
            if (absorption == nullptr) {
                sum += j;
                continue;
            }
            const real tau = march_value(absorption, c) * step;
            real phi, slope;
            escape(tau, phi, slope);
            sum = madd(through * phi, j, sum);
            through *= exp(-tau);
        }
        image[r] = sum * step + through * background[r];
        left[r] = through;
    }
}

/* What a change of emission, absorption, rays and background does to the image.  Overwrites out.  One thread: LANES rays. */
extern "C" __global__ void emission_push(const real* __restrict__ emission, const real* __restrict__ absorption,
                                         const real* __restrict__ origins, const real* __restrict__ directions,
                                         const real* __restrict__ background, const real* __restrict__ d_emission,
                                         const real* __restrict__ d_absorption, const real* __restrict__ d_origins,
                                         const real* __restrict__ d_directions, const real* __restrict__ d_background,
                                         real* __restrict__ out, int rays, int nz, int ny, int nx, real step) {
    for (long long r = (long long)THREAD_X * LANES; r < rays && r < (THREAD_X + 1LL) * LANES; ++r) {
        const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
        real sum = (real)0, through = (real)1, depth = (real)0; /* depth: the change of the optical depth so far */
        for (int i = ray.first; i < ray.last; ++i) {
            MarchCell c;
            const real t = ((real)i + (real)0.5) * step;
            if (!march_cell(ray, t, nz, ny, nx, c)) continue;
            const real j = march_value(emission, c);
            const real moved[3] = {madd(t, d_directions[3 * r], d_origins[3 * r]), madd(t, d_directions[3 * r + 1], d_origins[3 * r + 1]),
                                   madd(t, d_directions[3 * r + 2], d_origins[3 * r + 2])};
            real g[3] = {};
            march_slope(emission, c, (real)1, g);
            const real dj = march_value(d_emission, c) + g[0] * moved[0] + g[1] * moved[1] + g[2] * moved[2];
            if (absorption == nullptr) {
                sum += dj;
                continue;
            }
            const real tau = march_value(absorption, c) * step;
            real phi, slope, h[3] = {};
            march_slope(absorption, c, (real)1, h);
            const real dtau = (march_value(d_absorption, c) + h[0] * moved[0] + h[1] * moved[1] + h[2] * moved[2]) * step;
            escape(tau, phi, slope);
            sum += through * (phi * (dj - depth * j) + slope * dtau * j);
            through *= exp(-tau);
            depth += dtau;
        }
        out[r] = sum * step + through * (d_background[r] - depth * background[r]);
    }
}

/* The transpose for one ray: adds to the volumes, unless g_emission is null, overwrites what is the ray's own.  image is what
 * emission_forward gave. */
template <bool Atomic>
static __device__ __forceinline__ void emission_back(const real* __restrict__ emission, const real* __restrict__ absorption,
                                                     const real* __restrict__ origins, const real* __restrict__ directions,
                                                     const real* __restrict__ image, const real* __restrict__ g, real* g_emission,
                                                     real* g_absorption, real* g_origins, real* g_directions, real* g_background,
                                                     long long r, int nz, int ny, int nx, real step) {
    const MarchRay ray = march_ray(origins, directions, r, nz, ny, nx, step);
    real through = (real)1, behind = g[r] * image[r], go[3] = {}, gd[3] = {}; /* behind: what comes from further on */
    for (int i = ray.first; i < ray.last; ++i) {
        MarchCell c;
        const real t = ((real)i + (real)0.5) * step;
        if (!march_cell(ray, t, nz, ny, nx, c)) continue;
        real gj = g[r] * step, gk = (real)0;
        if (absorption != nullptr) {
            const real j = march_value(emission, c), tau = march_value(absorption, c) * step;
            real phi, slope;
            escape(tau, phi, slope);
            const real given = g[r] * through * j * step;
            behind -= given * phi;
            gj *= through * phi;
            gk = step * (given * slope - behind);
            through *= exp(-tau);
            if (g_emission != nullptr) march_scatter<Atomic>(g_absorption, c, gk);
        }
        if (g_emission != nullptr) march_scatter<Atomic>(g_emission, c, gj);
        if (g_origins != nullptr) {
            real slopes[3] = {};
            march_slope(emission, c, gj, slopes);
            if (absorption != nullptr) march_slope(absorption, c, gk, slopes);
#pragma unroll
            for (int a = 0; a < 3; ++a) go[a] += slopes[a], gd[a] = madd(t, slopes[a], gd[a]);
        }
    }
    g_background[r] = g[r] * through;
    if (g_origins != nullptr) {
#pragma unroll
        for (int a = 0; a < 3; ++a) g_origins[3 * r + a] = go[a], g_directions[3 * r + a] = gd[a];
    }
}

/* The transpose of emission_push.  One thread: a ray. */
extern "C" __global__ void emission_pull_atomic(const real* __restrict__ emission, const real* __restrict__ absorption,
                                                const real* __restrict__ origins, const real* __restrict__ directions,
                                                const real* __restrict__ image, const real* __restrict__ g, real* g_emission,
                                                real* g_absorption, real* g_origins, real* g_directions, real* g_background, int rays,
                                                int nz, int ny, int nx, real step) {
    const long long r = THREAD_X;
    if (r < rays)
        emission_back<true>(emission, absorption, origins, directions, image, g, g_emission, g_absorption, g_origins, g_directions,
                            g_background, r, nz, ny, nx, step);
}

/* The same into copies of the volumes, (copies, nz, ny, nx).  One thread: every `copies`-th ray, and a copy of its own. */
extern "C" __global__ void emission_pull_copies(const real* __restrict__ emission, const real* __restrict__ absorption,
                                                const real* __restrict__ origins, const real* __restrict__ directions,
                                                const real* __restrict__ image, const real* __restrict__ g, real* g_emission,
                                                real* g_absorption, real* g_origins, real* g_directions, real* g_background, int rays,
                                                int nz, int ny, int nx, real step, int copies) {
    const long long own = (long long)THREAD_X * nz * ny * nx;
    for (long long r = THREAD_X; r < rays; r += copies)
        emission_back<false>(emission, absorption, origins, directions, image, g, g_emission == nullptr ? g_emission : g_emission + own,
                             g_absorption == nullptr ? g_absorption : g_absorption + own, g_origins, g_directions, g_background, r, nz, ny,
                             nx, step);
}
