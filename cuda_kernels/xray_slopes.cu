/* How line integrals change as their rays move: derivatives of the Joseph model of xray_ray.cu in the lines themselves.
 *
 * Along its major axis a ray is b(k) = bc + gb (k - kc) and c(k) likewise; the integral is length * sum_k V_k(b, c), V_k
 * bilinear in plane k.  Its slopes in gb, gc, bc, cc follow from sums of V, V_b, V_c and of V_b, V_c times k - kc; those in
 * direction and moment (ray.cuh) from these.  Where a ray crosses a grid line V has a kink; there the slope is that of the
 * side to which floor() rounds. */
#include "box.cuh"
#include "ray.cuh"

/* Adds what plane k holds at (b, c) to sums: V, V_b, V_c, (k - kc) V_b, (k - kc) V_c; nothing outside. */
static __device__ __forceinline__ void add_plane(const real* __restrict__ plane, const Box& x, real b, real c, real k,
                                                 real* sums) {
    Cell q;
    if (!cell_at(plane, x, b, c, q)) return;
    const real low = madd(q.h, q.v01 - q.v00, q.v00), high = madd(q.h, q.v11 - q.v10, q.v10);
    const real of_b = high - low, of_c = madd(q.f, (q.v11 - q.v10) - (q.v01 - q.v00), q.v01 - q.v00);
    sums[0] += madd(q.f, of_b, low);
    sums[1] += of_b, sums[2] += of_c;
    sums[3] += k * of_b, sums[4] += k * of_c;
}

/* One thread: LANES rays of one detector column.  tangents (n, view, nu, 12): a change of the line of row 0 (direction,
 * moment), then of its step to the next row.  slopes (n, view, nu, nv): the change of the integrals.  Overwrites. */
extern "C" __global__ void xray_ray_slopes(const real* __restrict__ volume, real* __restrict__ slopes,
                                           const real* __restrict__ lines, const real* __restrict__ views,
                                           const real* __restrict__ tangents, int n, int nx, int ny, int nz, int nu, int nv,
                                           int n_views, int width, int row_step, real sx, real sy, real sz, int cone) {
    const int v0 = THREAD_X * LANES, u = THREAD_Y, w = THREAD_Z;
    if (v0 >= nv || u >= nu || w >= n_views) return;
    const Beam m = read_beam(lines, views, w, u, nu, cone, nx, ny, nz, sx, sy, sz);
    const long long column = (long long)w * nu + u, all = (long long)n_views * nu;
    const int end = v0 + LANES < nv ? v0 + LANES : nv;
    for (int v = v0; v < end; ++v) {
        const int axis = ray_axis(m, v), ib = second_axis(axis), ic = third_axis(axis);
        const Track t = track_along(m, axis);
        const Ray r = ray_of(t, v);
        const Box x = box_along(axis, nx, ny, nz, width, row_step);
        const real middle = middle_of(m, axis);
        real sums[5] = {0, 0, 0, 0, 0};
        for (int k = 0; k < entry(m.n, axis); ++k)
            if (!behind(m, axis, r.sign, k))
                add_plane(volume + PAD + k * x.plane_step, x, madd(r.gb, (real)k - middle, r.bc),
                          madd(r.gc, (real)k - middle, r.cc), (real)k - middle, sums);
        const real inverse = (real)1 / madd((real)v, t.a_step, t.a);
        const real gb = r.length * sums[3] + sums[0] * r.gb * t.q * t.q / r.length, bc = r.length * sums[1];
        const real gc = r.length * sums[4] + sums[0] * r.gc * t.r * t.r / r.length, cc = r.length * sums[2];
        const real d_a = -(gb * r.gb + gc * r.gc + bc * (r.bc - t.middle_b) + cc * (r.cc - t.middle_c)) * inverse;
        /* the moments as in track_along: m_b is the moment's component 0 or 2, m_c its component 0 or 1, signed */
        const real sign = axis == 0 ? (real)-1 : (real)1, m_b = sign * bc * inverse, m_c = -sign * cc * inverse;
        const int at_b = axis == 2 ? 0 : 2, at_c = axis == 1 ? 0 : 1;
        for (int q = 0; q < n; ++q) {
            const real* g = tangents + 12 * (q * all + column);
            const real of_a = madd((real)v, g[6 + axis], g[axis]), of_b = madd((real)v, g[6 + ib], g[ib]);
            const real of_c = madd((real)v, g[6 + ic], g[ic]);
            const real of_mb = madd((real)v, g[9 + at_b], g[3 + at_b]), of_mc = madd((real)v, g[9 + at_c], g[3 + at_c]);
            slopes[(q * all + column) * nv + v] =
                d_a * of_a + inverse * (gb * of_b + gc * of_c) + m_b * of_mb + m_c * of_mc;
        }
    }
}
