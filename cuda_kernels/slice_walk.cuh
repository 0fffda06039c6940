/* The walk over the points of particles' images that all slice kernels share. */
#pragma once
#include "slice_point.cuh"

/* One thread: `each` particles, `rows_each` rows of their images, every across-th group of LANES columns; with SCATTER or
 * INSERT the entries in its own `planes_each` planes alone (all planes where it adds atomically).
 * values and g_records are one set of sums per (slab, row group, particle), written here alone. */
template <int W, int WHAT, int TERMS> static __device__ __forceinline__ void slice_walk_terms(const SliceJob& job) {
    constexpr bool GROWS = (WHAT & (SLICE_SCATTER | SLICE_INSERT)) != 0, ATOMIC = (WHAT & SLICE_ATOMIC) != 0;
    constexpr bool SLABS = GROWS && !ATOMIC, CLIPS = SLABS && TERMS == 1;
    constexpr bool WRITES = (WHAT & (SLICE_STORE | SLICE_TANGENT)) != 0;
    constexpr bool SPARE = LANES == 1 && sizeof(real) == 8; /* sums in memory, as doubles fill a GPU's registers */
    constexpr int Q = (WHAT & SLICE_CTF) ? 4 : (WHAT & SLICE_NORMAL) ? 5 : 1;
    constexpr int SUMS = 1 + Q + Q * (Q + 1) / 2;
    const int share = THREAD_X / job.across, chunk = THREAD_X % job.across, group = THREAD_Y, slab = THREAD_Z;
    const int first_particle = share * job.each, half = job.box / 2 + 1;
    if (first_particle >= job.particles || group * job.rows_each >= job.box) return;
    const int end = first_particle + job.each < job.particles ? first_particle + job.each : job.particles;
    const int from = SLABS ? slab * job.planes_each : 0;
    const int to = !SLABS || from + job.planes_each > job.n.nz ? job.n.nz : from + job.planes_each;
    if (from >= to) return;
    const int row0 = group * job.rows_each, row1 = row0 + job.rows_each < job.box ? row0 + job.rows_each : job.box;
    const int groups = (job.box + job.rows_each - 1) / job.rows_each;
    const real step = (real)2 / (real)job.box, limit = job.r_max * job.r_max;
    real er[LANES], ei[LANES], sn[LANES], cs[LANES];
    for (int p = first_particle; p < end; ++p) {
        const real* r = job.records + (long long)p * RECORD;
        const int image = job.image_of ? job.image_of[p] : p;
        const real* table = job.weights ? job.weights + (long long)(job.groups ? job.groups[p] : 0) * job.shells : 0;
        const long long out = ((long long)slab * groups + group) * job.particles + p;
        SliceNormal<Q> normal = SliceNormal<Q>{};
        for (int i = row0; i < row1; ++i) {
            const int ky = 2 * i <= job.box ? i : i - job.box;
            const real y = (real)ky, square = limit - y * y;
            int last_column = square < (real)0 ? -1 : (int)sqrt(square);
            last_column = last_column < half - 1 ? last_column : half - 1;
            const int first_column = job.unique && ky < 0 ? 1 : 0;
            const long long line = ((long long)p * job.box + i) * half;
            if (WRITES)
                for (int c0 = chunk * LANES; c0 < half; c0 += job.across * LANES)
                    for (int l = 0; l < LANES && c0 + l < half; ++l)
                        job.stored[2 * (line + c0 + l)] = job.stored[2 * (line + c0 + l) + 1] = 0;
            bool fresh = true;
            SliceRow row, d_row;
            SliceSums sums = SliceSums{};
            /* With planes of its own a thread passes twice: over the points that are read as they are, and as conjugates. */
            for (int pass = 0; pass < (CLIPS ? 2 : 1); ++pass)
                for (int c0 = chunk * LANES; c0 <= last_column; c0 += job.across * LANES) {
                    int first = c0 > first_column ? c0 : first_column;
                    int last = c0 + LANES - 1 < last_column ? c0 + LANES - 1 : last_column;
                    if (CLIPS) {
                        const real low = (real)(from - job.n.offset - W / 2), high = (real)(to - job.n.offset + W / 2);
                        slice_between(r[0], y * r[3], pass ? (real)-1e9 : (real)0, pass ? (real)0 : (real)1e9, first, last);
                        slice_between(r[2], y * r[5], pass ? -high : low, pass ? -low : high, first, last);
                    }
                    if (last < first) continue;
                    if (fresh) {
                        fresh = false;
                        row = slice_row(r, ky, step);
                        if ((WHAT & SLICE_TANGENT) && !SPARE)
                            d_row = slice_row(job.d_records + (long long)p * RECORD, ky, step);
                    }
                    for (int l = first - c0; l <= last - c0; ++l) {
                        real s, c;
                        turns(slice_odd(row, step * (real)(c0 + l)), s, c);
                        er[l] = c;
                        ei[l] = s;
                    }
                    if (job.ctf)
                        for (int l = first - c0; l <= last - c0; ++l) turns(slice_even(row, step * (real)(c0 + l)), sn[l], cs[l]);
                    for (int l = first - c0; l <= last - c0; ++l) {
                        const real kx = (real)(c0 + l), u = step * kx, height = madd(kx, kx, y * y);
                        const real size = slice_envelope(row, kx, u);
                        if (TERMS == 1 && (WHAT & SLICE_READS) && l + SLICE_AHEAD <= last - c0)
                            slice_prefetch<W, 2>(job.spectrum, job.n, r, (real)(c0 + l + SLICE_AHEAD), y);
                        if (CLIPS && l + SLICE_AHEAD <= last - c0)
                            slice_prefetch<W, (WHAT & SLICE_INSERT) ? 4 : 2>(job.grown, job.n, r, (real)(c0 + l + SLICE_AHEAD), y);
                        SliceTangent tangent;
                        if (WHAT & SLICE_TANGENT) {
                            if (SPARE) d_row = slice_row(job.d_records + (long long)p * RECORD, ky, step);
                            tangent = slice_tangent(d_row, row, kx, u);
                        }
                        SlicePoint<W, WHAT, TERMS, Q> at;
                        at.locate(job, r, kx, y, height, size * er[l], size * ei[l], job.ctf ? sn[l] : (real)0,
                                  job.ctf ? cs[l] : (real)0);
                        const SlicePlace<W> place = at.place(0, job);
                        if (CLIPS && ((place.flip < (real)0) != (pass == 1) || place.z >= to || place.z + W <= from)) continue;
                        const bool owned = !SLABS || (place.z >= from && place.z < to);
                        const int shell = (int)(sqrt(height) + (real)0.5);
                        const real weight = !table ? (real)1 : shell < job.shells ? table[shell] : (real)0;
                        const long long pixel = 2 * (((long long)image * job.box + i) * half + c0 + l);
                        real dr = 0, di = 0;
                        if (job.images) {
                            dr = job.images[pixel];
                            di = job.images[pixel + 1];
                        }
                        const real* d = (WHAT & SLICE_TANGENT) ? job.d_records + (long long)p * RECORD : 0;
                        if (WHAT & SLICE_READS) at.read(job, d, kx, y, height);
                        real* stored = WRITES ? job.stored + 2 * (line + c0 + l) : 0;
                        if (WHAT & SLICE_STORE) {
                            stored[0] = row.scale * at.ar;
                            stored[1] = row.scale * at.ai;
                        }
                        if (WHAT & SLICE_TANGENT) at.tangent(tangent, row, stored);
                        if (WHAT & SLICE_RESIDUAL) {
                            const real rr = row.scale * at.ar - dr, ri = row.scale * at.ai - di;
                            if (WHAT & SLICE_NORMAL)
                                at.normal(normal, SPARE ? job.values + out * SUMS : 0, row, u, rr, ri, weight);
                            else if (owned)
                                normal.value = madd((real)0.5 * weight, madd(rr, rr, ri * ri), normal.value);
                            at.gr = weight * rr;
                            at.gi = weight * ri;
                        } else {
                            at.gr = dr;
                            at.gi = di;
                        }
                        if ((WHAT & SLICE_PARAM) && owned && job.g_records) {
                            if (SPARE) sums = SliceSums{};
                            at.param(sums, row, kx, u, height);
                            if (SPARE) slice_flush(sums, row, job.g_records + out * RECORD);
                        }
                        if (GROWS) {
#pragma unroll
                            for (int t = 0; t < TERMS; ++t) {
                                const SlicePlace<W> there = at.place(t, job);
                                if (!there.inside) continue;
                                const real fr = row.scale * at.f[t].re, fi = row.scale * at.f[t].im;
                                if (WHAT & SLICE_SCATTER)
                                    slice_grow<W, 2, ATOMIC>(job.grown, there, job.n, job.taper, from, to, fr * at.gr + fi * at.gi,
                                                             fr * at.gi - fi * at.gr, (real)0);
                                else
                                    slice_grow<W, 4, ATOMIC>(job.grown, there, job.n, job.taper, from, to,
                                                             weight * (fr * dr + fi * di), weight * (fr * di - fi * dr),
                                                             weight * (fr * fr + fi * fi));
                            }
                        }
                    }
                }
            if ((WHAT & SLICE_PARAM) && !SPARE && !fresh && job.g_records) slice_flush(sums, row, job.g_records + out * RECORD);
        }
        if (WHAT & SLICE_NORMAL) {
            if (!SPARE) slice_keep<Q>(normal, job.values + out * SUMS);
        } else if (WHAT & SLICE_RESIDUAL) {
            job.values[out] = normal.value;
        }
    }
}

template <int W, int WHAT> static __device__ __forceinline__ void slice_walk(const SliceJob& job) {
    if (job.ewald)
        slice_walk_terms<W, WHAT, 2>(job);
    else
        slice_walk_terms<W, WHAT, 1>(job);
}
