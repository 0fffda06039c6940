/* The two transposed middle steps of a non-uniform FFT: samples between the nodes of a fine periodic grid, by a separable
 * kernel of few taps (Barnett, Magland and af Klinteberg 2019, SIAM J. Sci. Comput. 41, C479).
 * The grid is (na, nb, nc, channels), the last the fastest: real and imaginary parts of all coils, which share their
 * weights.  A point has its first node along each axis, start (points, 3), in [0, n), and its weights along each,
 * weights (points, 3, taps); along axes of a single node the one weight is 1.  Points stand in order of their first node
 * along a; place says which sample each is. */
#include "lane.cuh"

struct NufftTap {
    int a, b, c;     /* the first node */
    const real* wa;  /* the weights along a, b and c */
    const real* wb;
    const real* wc;
};

static __device__ __forceinline__ NufftTap nufft_tap(const int* __restrict__ start, const real* __restrict__ weights, long long m,
                                                     int taps) {
    const real* w = weights + m * 3 * taps;
    return {start[3 * m], start[3 * m + 1], start[3 * m + 2], w, w + taps, w + 2 * taps};
}

/* Nodes past the end are those at the beginning. */
static __device__ __forceinline__ int wrapped(int node, int n) { return node < n ? node : node - n; }

/* The values of `Width` channels at a point. */
template <int Width>
static __device__ __forceinline__ void nufft_gather(const real* __restrict__ grid, const NufftTap& t, real* out, int na, int nb,
                                                    int nc, int ta, int tb, int tc, int channels) {
    real sum[Width] = {};
    for (int i = 0; i < ta; ++i)
        for (int j = 0; j < tb; ++j) {
            const long long row = ((long long)wrapped(t.a + i, na) * nb + wrapped(t.b + j, nb)) * nc;
            const real w = t.wa[i] * t.wb[j];
            for (int k = 0; k < tc; ++k) {
                const real* node = grid + (row + wrapped(t.c + k, nc)) * channels;
                const real v = w * t.wc[k];
#pragma unroll
                for (int q = 0; q < Width; ++q) sum[q] = madd(v, node[q], sum[q]);
            }
        }
#pragma unroll
    for (int q = 0; q < Width; ++q) out[q] = sum[q];
}

/* One thread: LANES points with all their channels; on a GPU one channel of a point.  Overwrites out (samples, channels). */
extern "C" __global__ void nufft_forward(const real* __restrict__ grid, const int* __restrict__ start,
                                         const real* __restrict__ weights, const int* __restrict__ place, real* out, int points,
                                         int na, int nb, int nc, int ta, int tb, int tc, int taps, int channels) {
#if LANES > 1
    for (long long m = (long long)THREAD_X * LANES; m < points && m < (THREAD_X + 1LL) * LANES; ++m) {
        const NufftTap t = nufft_tap(start, weights, m, taps);
        real* sample = out + (long long)place[m] * channels;
        int q = 0;
        for (; q + 16 <= channels; q += 16) nufft_gather<16>(grid + q, t, sample + q, na, nb, nc, ta, tb, tc, channels);
        for (; q + 8 <= channels; q += 8) nufft_gather<8>(grid + q, t, sample + q, na, nb, nc, ta, tb, tc, channels);
        for (; q < channels; q += 2) nufft_gather<2>(grid + q, t, sample + q, na, nb, nc, ta, tb, tc, channels);
    }
#else
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x, m = e / channels;
    const int q = (int)(e % channels);
    if (m >= points) return;
    const NufftTap t = nufft_tap(start, weights, m, taps);
    nufft_gather<1>(grid + q, t, out + (long long)place[m] * channels + q, na, nb, nc, ta, tb, tc, channels);
#endif
}

/* Adds `Width` channels of a sample to the planes [first, last) of the grid. */
template <bool Atomic, int Width>
static __device__ __forceinline__ void nufft_scatter(real* grid, const NufftTap& t, int at, const real* __restrict__ sample,
                                                     int first, int last, int na, int nb, int nc, int ta, int tb, int tc,
                                                     int channels) {
    real value[Width];
#pragma unroll
    for (int q = 0; q < Width; ++q) value[q] = sample[q];
    for (int i = 0; i < ta; ++i) {
        const int a = Atomic ? wrapped(at + i, na) : at + i;
        if (a < first || a >= last) continue;
        for (int j = 0; j < tb; ++j) {
            const long long row = ((long long)a * nb + wrapped(t.b + j, nb)) * nc;
            const real w = t.wa[i] * t.wb[j];
            for (int k = 0; k < tc; ++k) {
                real* node = grid + (row + wrapped(t.c + k, nc)) * channels;
                const real v = w * t.wc[k];
#pragma unroll
                for (int q = 0; q < Width; ++q) add<Atomic>(node + q, v * value[q]);
            }
        }
    }
}

/* The transpose of nufft_forward, added to grid.  One thread: one channel of a point. */
extern "C" __global__ void nufft_adjoint_atomic(real* grid, const int* __restrict__ start, const real* __restrict__ weights,
                                                const int* __restrict__ place, const real* __restrict__ samples, int points,
                                                int na, int nb, int nc, int ta, int tb, int tc, int taps, int channels) {
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x, m = e / channels;
    const int q = (int)(e % channels);
    if (m >= points) return;
    const NufftTap t = nufft_tap(start, weights, m, taps);
    nufft_scatter<true, 1>(grid + q, t, t.a, samples + (long long)place[m] * channels + q, 0, na, na, nb, nc, ta, tb, tc, channels);
}

/* The same.  One thread: `planes` planes of the grid, with all points that reach them; before[a] points (na + 1) have
 * their first node before plane a.  A point that starts at the end of the grid, and reaches its beginning, comes twice. */
extern "C" __global__ void nufft_adjoint_planes(real* grid, const int* __restrict__ start, const real* __restrict__ weights,
                                                const int* __restrict__ place, const int* __restrict__ before,
                                                const real* __restrict__ samples, int na, int nb, int nc, int ta, int tb, int tc,
                                                int taps, int channels, int planes) {
    const int first = THREAD_X * planes, last = first + planes < na ? first + planes : na;
    for (int plane = first - ta + 1; plane < last; ++plane) {
        const int a = plane < 0 ? plane + na : plane;
        for (int m = before[a]; m < before[a + 1]; ++m) {
            const NufftTap t = nufft_tap(start, weights, m, taps);
            const real* sample = samples + (long long)place[m] * channels;
            int q = 0;
            for (; q + 8 <= channels; q += 8)
                nufft_scatter<false, 8>(grid + q, t, plane, sample + q, first, last, na, nb, nc, ta, tb, tc, channels);
            for (; q < channels; q += 2)
                nufft_scatter<false, 2>(grid + q, t, plane, sample + q, first, last, na, nb, nc, ta, tb, tc, channels);
        }
    }
}
