/* Line integrals of rays as wide as their pixel (distance-driven: De Man & Basu 2004, in its separable form).
 *
 * On plane k of its major axis (ray.cuh) a pixel covers the rectangle b(k) +- hb, c(k) +- hc, half the sum of how far
 * its edges lie apart along u and along v; voxel (k, j, i) has the share of the rectangle that it holds as its weight,
 * times the length between planes.  steps (view, nu, 6): the change of a line from one column to the next. */
#include "box.cuh"
#include "ray.cuh"

struct Footprint { /* a ray, and the differences between its pixel's opposite edges, linear in k */
    Ray ray;
    real ub, ugb, uc, ugc, vb, vgb, vc, vgc;
};

static __device__ __forceinline__ Footprint spread(const Beam& m, const real* step, int axis, int v) {
    Footprint f;
    f.ray = trace(m, axis, v);
    Beam left = m, right = m, low = m, high = m;
    for (int i = 0; i < 3; ++i) {
        left.d[i] -= (real)0.5 * step[i], right.d[i] += (real)0.5 * step[i];
        left.m[i] -= (real)0.5 * step[3 + i], right.m[i] += (real)0.5 * step[3 + i];
        low.d[i] -= (real)0.5 * m.d_step[i], high.d[i] += (real)0.5 * m.d_step[i];
        low.m[i] -= (real)0.5 * m.m_step[i], high.m[i] += (real)0.5 * m.m_step[i];
    }
    const Ray a = trace(left, axis, v), b = trace(right, axis, v), c = trace(low, axis, v), d = trace(high, axis, v);
    f.ub = b.bc - a.bc, f.ugb = b.gb - a.gb, f.uc = b.cc - a.cc, f.ugc = b.gc - a.gc;
    f.vb = d.bc - c.bc, f.vgb = d.gb - c.gb, f.vc = d.cc - c.cc, f.vgc = d.gc - c.gc;
    return f;
}

struct Rectangle {
    real b0, b1, c0, c1, density;
    int j0, j1, i0, i1;
};

static __device__ __forceinline__ bool rectangle(const Footprint& f, const Box& x, real k, Rectangle& r) {
    const real b = madd(f.ray.gb, k, f.ray.bc), c = madd(f.ray.gc, k, f.ray.cc);
    const real thin = (real)1e-3; /* a pixel far finer than a voxel sees the nearest one */
    const real hb = (real)0.5 * (fabs(madd(f.ugb, k, f.ub)) + fabs(madd(f.vgb, k, f.vb))) + thin;
    const real hc = (real)0.5 * (fabs(madd(f.ugc, k, f.uc)) + fabs(madd(f.vgc, k, f.vc))) + thin;
    r.b0 = b - hb, r.b1 = b + hb, r.c0 = c - hc, r.c1 = c + hc;
    const real half = (real)0.5;
    if (!(r.b1 > -half && r.b0 < (real)x.nb - half && r.c1 > -half && r.c0 < (real)x.nc - half)) return false;
    r.density = f.ray.length / ((real)4 * hb * hc);
    r.j0 = r.b0 > half ? (int)(r.b0 + half) : 0, r.i0 = r.c0 > half ? (int)(r.c0 + half) : 0;
    r.j1 = r.b1 < (real)(x.nb - 1) ? floor_index(r.b1 + half) : x.nb - 1;
    r.i1 = r.c1 < (real)(x.nc - 1) ? floor_index(r.c1 + half) : x.nc - 1;
    return true;
}

/* The length of [low, high] inside voxel j of a line. */
static __device__ __forceinline__ real held(real low, real high, int j) {
    const real from = low > (real)j - (real)0.5 ? low : (real)j - (real)0.5;
    const real to = high < (real)j + (real)0.5 ? high : (real)j + (real)0.5;
    return to > from ? to - from : (real)0;
}

/* Give a value to the voxels of a plane that a rectangle covers. */
template <bool Atomic>
static __device__ __forceinline__ void give(real* plane, const Box& x, const Rectangle& r, real value) {
    for (int j = r.j0; j <= r.j1; ++j) {
        const real share = r.density * held(r.b0, r.b1, j) * value;
        for (int i = r.i0; i <= r.i1; ++i) add<Atomic>(plane + j * x.b_step + i * x.c_step, share * held(r.c0, r.c1, i));
    }
}

/* One thread: LANES rays of one detector column. */
extern "C" __global__ void xray_footprint_forward(const real* __restrict__ volume, real* __restrict__ projections,
                                                  const real* __restrict__ lines, const real* __restrict__ steps,
                                                  const real* __restrict__ views, int nx, int ny, int nz, int nu, int nv,
                                                  int n_views, int width, int row_step, real sx, real sy, real sz, int cone) {
    const int v0 = THREAD_X * LANES, u = THREAD_Y, w = THREAD_Z;
    if (v0 >= nv || u >= nu || w >= n_views) return;
    const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
    const real* step = steps + 6 * ((long long)w * nu + u);
    real* out = projections + ((long long)w * nu + u) * nv;
    const int end = v0 + LANES < nv ? v0 + LANES : nv;
    for (int v = v0; v < end; ++v) {
        const int axis = ray_axis(m, v);
        const Footprint f = spread(m, step, axis, v);
        const Box x = box_along(axis, nx, ny, nz, width, row_step);
        const int planes = entry(m.n, axis);
        real sum = 0;
        for (int k = 0; k < planes; ++k) {
            Rectangle r;
            if (behind(m, axis, f.ray.sign, k) || !rectangle(f, x, (real)k - middle_of(m, axis), r)) continue;
            const real* plane = volume + PAD + k * x.plane_step;
            for (int j = r.j0; j <= r.j1; ++j) {
                real line = 0;
                for (int i = r.i0; i <= r.i1; ++i) line += held(r.c0, r.c1, i) * plane[j * x.b_step + i * x.c_step];
                sum += r.density * held(r.b0, r.b1, j) * line;
            }
        }
        out[v] = sum;
    }
}

/* The transpose, one thread owning `owned` grid planes of the major axis `axis`.  Adds to volume; launched for each axis. */
extern "C" __global__ void xray_footprint_adjoint_planes(real* __restrict__ volume, const real* __restrict__ projections,
                                                         const real* __restrict__ lines, const real* __restrict__ steps,
                                                         const real* __restrict__ views, int nx, int ny, int nz, int nu,
                                                         int nv, int n_views, int width, int row_step, real sx, real sy,
                                                         real sz, int cone, int axis, int owned) {
    const int k0 = THREAD_X * owned, planes = axis == 0 ? nx : axis == 1 ? ny : nz;
    if (k0 >= planes) return;
    const int k1 = k0 + owned - 1 < planes ? k0 + owned - 1 : planes - 1;
    const Box x = box_along(axis, nx, ny, nz, width, row_step);
    for (int w = 0; w < n_views; ++w)
        for (int u = 0; u < nu; ++u) {
            const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
            const real* step = steps + 6 * ((long long)w * nu + u);
            for (int v = 0; v < nv; ++v) {
                if (ray_axis(m, v) != axis) continue;
                const Footprint f = spread(m, step, axis, v);
                const real value = projections[((long long)w * nu + u) * nv + v];
                for (int k = k0; k <= k1; ++k) {
                    Rectangle r;
                    if (behind(m, axis, f.ray.sign, k) || !rectangle(f, x, (real)k - middle_of(m, axis), r)) continue;
                    give<false>(volume + PAD + k * x.plane_step, x, r, value);
                }
            }
        }
}

/* The same, one thread owning one ray, for devices where adding atomically is cheap; the order of the sums varies. */
extern "C" __global__ void xray_footprint_adjoint_atomic(real* __restrict__ volume, const real* __restrict__ projections,
                                                         const real* __restrict__ lines, const real* __restrict__ steps,
                                                         const real* __restrict__ views, int nx, int ny, int nz, int nu,
                                                         int nv, int n_views, int width, int row_step, real sx, real sy,
                                                         real sz, int cone) {
    const int v0 = THREAD_X * LANES, u = THREAD_Y, w = THREAD_Z;
    if (v0 >= nv || u >= nu || w >= n_views) return;
    const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
    const real* step = steps + 6 * ((long long)w * nu + u);
    const int end = v0 + LANES < nv ? v0 + LANES : nv;
    for (int v = v0; v < end; ++v) {
        const int axis = ray_axis(m, v);
        const Footprint f = spread(m, step, axis, v);
        const Box x = box_along(axis, nx, ny, nz, width, row_step);
        const real value = projections[((long long)w * nu + u) * nv + v];
        for (int k = 0; k < entry(m.n, axis); ++k) {
            Rectangle r;
            if (behind(m, axis, f.ray.sign, k) || !rectangle(f, x, (real)k - middle_of(m, axis), r)) continue;
            give<true>(volume + PAD + k * x.plane_step, x, r, value);
        }
    }
}
