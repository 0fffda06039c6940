/* Linear interpolation along a column of voxels, and its transpose, for many neighbouring rows at once.
 *
 * Row l lies at height + l*pitch above voxel 0.  The forward adds to sum[l] the interpolated value of the column; the
 * transpose adds to voxel z the values of its rows, with the same weights 1 - |height + l*pitch - z|.
 * g++ loads a gather lane by lane, so on the CPU two vector registers hold the window of the source that WIDE lanes
 * need, and a register permutation picks from it (docs/decisions/002-register-windows.md).  The plain loops are the
 * definition, what a GPU runs, and what pitches outside of that window use. */
#pragma once
#include "lane.cuh"

#define PAD 2 /* voxels of zeros below a column, so that a tap just outside needs no test */

/* floor(z) for z >= -PAD. */
static __device__ __forceinline__ int slice_below(real z) { return (int)(z + (real)PAD) - PAD; }

static __device__ __forceinline__ void interpolate_plain(real* __restrict__ sum, const real* __restrict__ column, real height,
                                                         real pitch, int first, int last) {
    for (int l = first; l <= last; ++l) {
        const real z = madd((real)l, pitch, height);
        const int i = slice_below(z);
        const real share = (real)l * pitch + (height - (real)i); /* z - i, rounded as in the transpose */
        sum[l] += madd(share, column[i + 1] - column[i], column[i]);
    }
}

/* The sum over rows [0, rows) within one voxel of z. */
static __device__ __forceinline__ real transposed_at(const real* __restrict__ values, real height, real pitch, real inverse,
                                                     int rows, int z) {
    const real centre = ((real)z - height) * inverse, reach = fabs(inverse);
    const real from = centre - reach, to = centre + reach;
    const int l0 = from > (real)0 ? (int)from : 0;
    const int l1 = to < (real)(rows - 1) ? (to > (real)-1 ? (int)(to + (real)1) : -1) : rows - 1;
    real total = 0;
    for (int l = l0; l <= l1 && l < rows; ++l) { /* to + 1 may round up to rows */
        const real weight = (real)1 - fabs(madd((real)l, pitch, height - (real)z));
        total += (weight > (real)0 ? weight : (real)0) * values[l];
    }
    return total;
}

#if LANES > 1
#define WIDE ((int)(WIDE_BYTES / sizeof(real)))
typedef real Reals __attribute__((vector_size(WIDE_BYTES)));
typedef std::conditional_t<sizeof(real) == 4, int, long long> Lane;
typedef Lane Ints __attribute__((vector_size(WIDE_BYTES)));

static inline Reals load(const real* p) {
    Reals r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
}
static inline void store(real* p, Reals r) { __builtin_memcpy(p, &r, sizeof r); }
static inline Ints ramp() {
    Ints r;
    for (int l = 0; l < WIDE; ++l) r[l] = l;
    return r;
}
static inline Reals to_reals(Ints i) { return __builtin_convertvector(i, Reals); }
static inline Ints floor_lanes(Reals z) { return __builtin_convertvector(z + (real)PAD, Ints) - PAD; }
static inline Reals keep(Ints mask, Reals r) { return (Reals)((Ints)r & mask); }
static inline Reals absolute(Reals r) { return r < (real)0 ? -r : r; }
static inline Reals pick(Reals a, Reals b, Ints i) { return __builtin_shuffle(a, b, i); }

/* `column` must be readable 2*WIDE elements past its last tap. */
static inline void interpolate_lanes(real* __restrict__ sum, const real* __restrict__ column, real height, real pitch, int first,
                                     int last) {
    if (fabs(pitch) * (real)(WIDE - 1) > (real)(2 * WIDE - 3)) return interpolate_plain(sum, column, height, pitch, first, last);
    const Ints lane = ramp();
    for (int l = first; l <= last; l += WIDE) {
        const Reals z = to_reals(lane + l) * pitch + height;
        const Ints i = floor_lanes(z);
        const int base = (int)(pitch < (real)0 ? i[WIDE - 1] : i[0]);
        const int lowest = base > -PAD ? base : -PAD;
        const Reals a = load(column + lowest), b = load(column + lowest + WIDE);
        const Reals low = pick(a, b, i - lowest), high = pick(a, b, i - lowest + 1);
        const Reals share = to_reals(lane + l) * pitch + (height - to_reals(i)); /* z - i, rounded as in the transpose */
        const Reals value = low + share * (high - low);
        store(sum + l, load(sum + l) + keep(lane + l <= last, value));
    }
}

#define MARGIN 64 /* zeros that `values` must have before row 0 and after its last row */

/* (the two may be one column) column0[z] += w0*t(z), column1[z] += w1*t(z) for z in whole vectors from -PAD that cover [below, above]. */
static inline void transpose_lanes(real* column0, real* column1, real w0, real w1,
                                   const real* __restrict__ values, real height, real pitch, int rows, int below, int above) {
    const real inverse = (real)1 / pitch, reach = fabs(inverse);
    const int start = -PAD + (below + PAD) / WIDE * WIDE;
    const int taps = (int)((real)2 * reach) + 1;
    const bool windowed = reach * (real)(WIDE - 1) + (real)taps + (real)1 <= (real)(2 * WIDE - 1);
    const Ints lane = ramp();
    for (int z0 = start; z0 <= above; z0 += WIDE) {
        const Reals z = to_reals(lane + z0);
        Reals total = {};
        if (windowed) {
            const Reals from = (z - height) * inverse - reach; /* rows closer than one voxel begin just above this */
            const Ints l0 = __builtin_convertvector(from + (real)MARGIN, Ints) - (MARGIN - 1);
            const int base = (int)(inverse < (real)0 ? l0[WIDE - 1] : l0[0]);
            const int lowest = base > -MARGIN ? (base < rows ? base : rows) : -MARGIN;
            const Reals a = load(values + lowest), b = load(values + lowest + WIDE);
            for (int q = 0; q < taps; ++q) {
                const Reals weight = (real)1 - absolute(to_reals(l0 + q) * pitch + (height - z));
                total += keep(weight > (real)0, weight) * pick(a, b, l0 - lowest + q);
            }
        } else {
            for (int l = 0; l < WIDE; ++l) total[l] = transposed_at(values, height, pitch, inverse, rows, z0 + l);
        }
        store(column0 + z0, load(column0 + z0) + w0 * total);
        store(column1 + z0, load(column1 + z0) + w1 * total);
    }
}
#endif

/* The rows of [first, last] whose height + v*pitch lies between low and high (to a thousandth of a pitch, so PAD
 * holds for pitches below a thousand voxels).  Returns false when there is none. */
static __device__ __forceinline__ bool rows_between(real height, real pitch, real low, real high, int& first, int& last) {
    if (fabs(pitch) < (real)1e-12) return height > low && height < high;
    const real inverse = (real)1 / pitch, a = (low - height) * inverse, b = (high - height) * inverse;
    const real from = a < b ? a : b, to = a < b ? b : a;
    if (!(from <= (real)last && to >= (real)first)) return false;
    if (from > (real)first) first = -floor_index(-from);
    if (to < (real)last) last = floor_index(to);
    return first <= last;
}

#define BLEND 1024 /* entries of the blended column that a CPU thread keeps */

/* sum[l] += the interpolation of w0*c0 + w1*c1 at height + l*pitch, for l in [first, last].  The columns are blended first. */
static __device__ __forceinline__ void add_blended(real* sum, const real* __restrict__ c0, const real* __restrict__ c1, real w0,
                                                 real w1, real height, real pitch, int first, int last) {
#if LANES > 1
    const real z_first = madd((real)first, pitch, height), z_last = madd((real)last, pitch, height);
    const int below = slice_below(z_first < z_last ? z_first : z_last);
    const int above = slice_below(z_first < z_last ? z_last : z_first) + 1;
    if (above - below < BLEND) {
        real blend[BLEND + 2 * WIDE + PAD];
        for (int i = 0; i <= above - below; ++i) blend[i + PAD] = w0 * c0[below + i] + w1 * c1[below + i];
        blend[PAD - 1] = blend[PAD], blend[PAD + 1 + above - below] = blend[PAD + above - below]; /* a row may round past an end */
        return interpolate_lanes(sum, blend + PAD, height - (real)below, pitch, first, last);
    }
#endif
    for (int l = first; l <= last; ++l) {
        const real z = madd((real)l, pitch, height);
        const int i = slice_below(z);
        const real low = w0 * c0[i] + w1 * c1[i], high = w0 * c0[i + 1] + w1 * c1[i + 1];
        const real share = (real)l * pitch + (height - (real)i);
        sum[l] += madd(share, high - low, low);
    }
}

/* column0[z] += w0*t(z), column1[z] += w1*t(z), t the transposed interpolation, for z that cover [below, above]. */
static __device__ __forceinline__ void add_transposed(real* c0, real* c1, real w0, real w1,
                                                      const real* __restrict__ values, real height, real pitch, int rows,
                                                      int below, int above) {
#if LANES > 1
    transpose_lanes(c0, c1, w0, w1, values, height, pitch, rows, below, above);
#else
    const real inverse = (real)1 / pitch;
    for (int z = below; z <= above; ++z) {
        const real t = transposed_at(values, height, pitch, inverse, rows, z);
        c0[z] += w0 * t;
        c1[z] += w1 * t;
    }
#endif
}
