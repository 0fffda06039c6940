/* The CPU's walk for the rays of one detector column that share a major axis, x or y: neighbouring rows land on
 * neighbouring z, so a window of a voxel column in two registers serves WIDE rows at once.  Same weights as the
 * one-ray loops of xray_ray.cu, which take what does not fit. */
#pragma once

struct Fan { /* the rows v0 ... v0 + rows - 1 of a column; entries past the end repeat the last row */
    int axis;
    real sign;
    real gb[LANES + 16], gc[LANES + 16], bc[LANES + 16], cc[LANES + 16], length[LANES + 16];
};

/* Do all rows travel along one major axis, in one sense? */
static __device__ __forceinline__ bool same_axis(const Beam& m, int v0, int rows, int axis) {
    int others = 0;
    for (int l = 0; l < rows; ++l) others += ray_axis(m, v0 + l) != axis;
    return others == 0 && ray_direction(m, axis, v0) * ray_direction(m, axis, v0 + rows - 1) > (real)0;
}

static __device__ __forceinline__ void fan_out(const Track& t, int v0, int rows, int axis, Fan& f) {
    f.axis = axis;
    const int count = rows + WIDE < LANES + 16 ? rows + WIDE : LANES + 16;
    for (int l = 0; l < count; ++l) {
        const Ray r = ray_of(t, v0 + (l < rows ? l : rows - 1));
        f.gb[l] = r.gb, f.gc[l] = r.gc, f.bc[l] = r.bc, f.cc[l] = r.cc, f.length[l] = r.length;
    }
    f.sign = ray_of(t, v0).sign;
}

static __device__ __forceinline__ real lowest_of(real a, real b) { return a < b ? a : b; }
static __device__ __forceinline__ real highest_of(real a, real b) { return a < b ? b : a; }
static __device__ __forceinline__ Reals tent(Reals distance) {
    const Reals weight = (real)1 - absolute(distance);
    return keep(weight > (real)0, weight);
}

/* All rays of the column at once; false when their major axes differ or are z. */
static __device__ bool walk_fan(const Beam& m, const real* __restrict__ volume, real* __restrict__ out, int v0, int rows, int nx,
                                int ny, int nz, int width, int row_step) {
    const int axis = ray_axis(m, v0);
    if (axis == 2 || !same_axis(m, v0, rows, axis)) return false;
    Fan f;
    fan_out(track_along(m, axis), v0, rows, axis, f);
    const Box x = box_along(axis, nx, ny, nz, width, row_step);
    const real middle = middle_of(m, axis);
    real sum[LANES + 16];
    for (int l = 0; l < LANES + 16; ++l) sum[l] = 0;
    for (int k = 0; k < m.n[axis]; ++k) {
        if (behind(m, axis, f.sign, k)) continue;
        const real* plane = volume + PAD + k * x.plane_step;
        for (int g = 0; g < rows; g += WIDE) {
            const Reals b = load(f.gb + g) * ((real)k - middle) + load(f.bc + g);
            const Reals z = load(f.gc + g) * ((real)k - middle) + load(f.cc + g);
            const real z0 = lowest_of(z[0], z[WIDE - 1]), z1 = highest_of(z[0], z[WIDE - 1]);
            const real b0 = lowest_of(b[0], b[WIDE - 1]), b1 = highest_of(b[0], b[WIDE - 1]);
            if (!(z1 > (real)-1 && z0 < (real)nz && b1 > (real)-1 && b0 < (real)x.nb)) continue;
            Reals value = {};
            if (z1 - z0 > (real)(2 * WIDE - 3)) {
                for (int l = 0; l < WIDE; ++l) value[l] = plane_value(plane, x, b[l], z[l]);
            } else {
                const int base = z0 > (real)-PAD ? slice_below(z0) : -PAD;
                const int j0 = b0 > (real)0 ? (int)b0 : 0, j1 = b1 < (real)(x.nb - 1) ? floor_index(b1) + 1 : x.nb - 1;
                const Ints i = floor_lanes(z);
                const Reals h = z - to_reals(i);
                for (int j = j0; j <= j1; ++j) {
                    const real* column = plane + j * x.b_step + base;
                    const Reals first = load(column), second = load(column + WIDE);
                    const Reals low = pick(first, second, i - base), high = pick(first, second, i - base + 1);
                    value += tent(b - (real)j) * (low + h * (high - low));
                }
                value = keep((z > (real)-1) & (z < (real)nz), value);
            }
            store(sum + g, load(sum + g) + value);
        }
    }
    for (int l = 0; l < rows; ++l) out[l] = sum[l] * f.length[l];
    return true;
}

/* The rows' values and places on one plane, with margins of zeros, ready to be picked from. */
struct Strip {
    real value[LANES + 2 * MARGIN], z[LANES + 2 * MARGIN], b[LANES + 2 * MARGIN];
};

/* plane += transpose of the rows.  estimate: row number of height z is (n0 + n1*z)/(d0 + d1*z); then n1*d0 - n0*d1. */
static __device__ void add_fan(real* plane, const Box& x, Strip& s, int rows, const real* estimate) {
    const real *z = s.z + MARGIN, *b = s.b + MARGIN, *value = s.value + MARGIN;
    const real z0 = lowest_of(z[0], z[rows - 1]), z1 = highest_of(z[0], z[rows - 1]);
    const real b0 = lowest_of(b[0], b[rows - 1]), b1 = highest_of(b[0], b[rows - 1]);
    if (!(z1 > (real)-1 && z0 < (real)x.nc && b1 > (real)-1 && b0 < (real)x.nb)) return;
    /* Rows per voxel change most at one of the ends of [z0 - 1, z1 + 1], where voxels touched by the rows lie. */
    const real s0 = estimate[2] + estimate[3] * (z0 - (real)1), s1 = estimate[2] + estimate[3] * (z1 + (real)1);
    const real slack = (real)0.02, reach = fabs(estimate[4]) / lowest_of(s0 * s0, s1 * s1) + slack;
    const bool windowed = reach < (real)MARGIN && reach * (real)(WIDE - 1) + (real)2 * reach + (real)3 <= (real)(2 * WIDE - 1);
    if (rows == 1 || !(s0 * s1 > (real)0) || !windowed) {
        for (int l = 0; l < rows; ++l) add_to_plane<false>(plane, x, b[l], z[l], value[l]);
        return;
    }
    const int taps = (int)((real)2 * reach) + 1;
    const int below = z0 > (real)0 ? (int)z0 : 0, above = z1 < (real)(x.nc - 1) ? floor_index(z1) + 1 : x.nc - 1;
    for (int p = -PAD + (below + PAD) / WIDE * WIDE; p <= above; p += WIDE) {
        const Reals height = to_reals(ramp() + p);
        const Reals scale = estimate[2] + estimate[3] * height;
        const Reals row = (estimate[0] + estimate[1] * height) / scale - reach;
        const real row0 = lowest_of(row[0], row[WIDE - 1]), row1 = highest_of(row[0], row[WIDE - 1]);
        const bool steady = scale[0] * scale[WIDE - 1] > (real)0 && row1 - row0 < reach * (real)WIDE;
        if (steady && (row0 >= (real)rows || row1 + (real)taps < (real)0)) continue;
        if (!(steady && row0 > (real)(1 - MARGIN))) { /* take the rows of this block one by one */
            for (int l = 0; l < rows; ++l)
                if (z[l] > (real)(p - 1) && z[l] < (real)(p + WIDE)) {
                    for (int i = 0; i < WIDE; ++i) {
                        const real weight = (real)1 - fabs(z[l] - (real)(p + i));
                        if (!(weight > (real)0)) continue;
                        for (int j = floor_index(b[l]); j <= floor_index(b[l]) + 1; ++j)
                            if (j >= 0 && j < x.nb)
                                plane[j * x.b_step + p + i] += weight * ((real)1 - fabs(b[l] - (real)j)) * value[l];
                    }
                }
            continue;
        }
        const int base = floor_index(row0), end = floor_index(row1) + 1 + taps;
        const Ints start = __builtin_convertvector(row + (real)MARGIN, Ints) - MARGIN - base + 1; /* the row above */
        const int r0 = base > 0 ? base : 0, r1 = end < rows - 1 ? end : rows - 1;
        const real b_low = lowest_of(b[r0], b[r1]), b_high = highest_of(b[r0], b[r1]);
        const int j0 = b_low > (real)0 ? (int)b_low : 0;
        const int j1 = b_high < (real)(x.nb - 1) ? floor_index(b_high) + 1 : x.nb - 1;
        const Reals za = load(z + base), zb = load(z + base + WIDE), ba = load(b + base), bb = load(b + base + WIDE);
        const Reals va = load(value + base), vb = load(value + base + WIDE);
        for (int j = j0; j <= j1; j += 2) {
            Reals t0 = {}, t1 = {};
            for (int q = 0; q < taps; ++q) {
                const Reals weight = tent(pick(za, zb, start + q) - height) * pick(va, vb, start + q);
                const Reals aside = pick(ba, bb, start + q) - (real)j;
                t0 += tent(aside) * weight, t1 += tent(aside - (real)1) * weight;
            }
            real* column = plane + j * x.b_step + p;
            store(column, load(column) + t0);
            if (j < j1) store(column + x.b_step, load(column + x.b_step) + t1);
        }
    }
}

/* Rows v0 ... of a column, spread over the planes k0 ... k1; false when their major axes differ or are z. */
static __device__ bool spread_fan(const Beam& m, real* volume, const real* __restrict__ projections, int v0, int rows, int axis,
                                  int k0, int k1, const Box& x) {
    const int own = ray_axis(m, v0);
    if (axis == 2 || !same_axis(m, v0, rows, own)) return false;
    if (own != axis) return true;
    Fan f;
    const Track t = track_along(m, axis);
    fan_out(t, v0, rows, axis, f);
    Strip s;
    for (int l = 0; l < LANES + 2 * MARGIN; ++l) s.value[l] = 0, s.z[l] = 0, s.b[l] = 0;
    for (int l = 0; l < rows; ++l) s.value[MARGIN + l] = projections[l] * f.length[l];
    /* z(v) = middle + (mc + depth*c)/a, where all of them are linear in v: to be solved for v */
    const real middle = middle_of(m, axis), a = madd((real)v0, t.a_step, t.a);
    const real c = madd((real)v0, t.c_step, t.c), mc = madd((real)v0, t.mc_step, t.mc);
    for (int k = k0; k <= k1; ++k) {
        if (behind(m, axis, f.sign, k)) continue;
        const real depth = (real)k - middle;
        for (int l = 0; l < rows; ++l) {
            s.b[MARGIN + l] = f.gb[l] * depth + f.bc[l];
            s.z[MARGIN + l] = f.gc[l] * depth + f.cc[l];
        }
        const real n0 = mc + depth * c, n1 = t.mc_step + depth * t.c_step;
        const real estimate[5] = {n0 + t.middle_c * a, -a, -n1 - t.middle_c * t.a_step, t.a_step, a * n1 - n0 * t.a_step};
        add_fan(volume + PAD + k * x.plane_step, x, s, rows, estimate);
    }
    return true;
}
