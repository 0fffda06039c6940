/* Copies between the public order of an array and the order that the projectors read: planes, whose rows are far apart,
 * become columns with the rows contiguous, row r at place r + offset of `width`, zeros in the rest.  Entry (i, r, c) of
 * the planes stands at i*plane_stride + r*row_stride + c, place p of column c at i*column_stride + c*width + p. */
#include "lane.cuh"

#define TILE_ROWS (LANES < 64 ? 1 : 64)
#define TILE_COLUMNS (LANES < 16 ? 1 : 16)
#define STRIP 8 /* rows read side by side: with a power-of-two stride more would push each other out of the cache */

/* One thread: a tile of the columns. */
extern "C" __global__ void rows_to_columns(const real* __restrict__ planes, real* __restrict__ columns, int n, int rows,
                                           int n_columns, int width, int offset, long long plane_stride, long long row_stride,
                                           long long column_stride) {
    const int p0 = THREAD_Y * TILE_ROWS, c0 = THREAD_X * TILE_COLUMNS, i = THREAD_Z;
    if (p0 >= width || c0 >= n_columns || i >= n) return;
    const int p1 = p0 + TILE_ROWS < width ? p0 + TILE_ROWS : width;
    const int c1 = c0 + TILE_COLUMNS < n_columns ? c0 + TILE_COLUMNS : n_columns;
    const real* in = planes + i * plane_stride;
    real* out = columns + i * column_stride;
    for (int q = p0; q < p1; q += STRIP) {
        const int end = q + STRIP < p1 ? q + STRIP : p1;
        for (int c = c0; c < c1; ++c)
            for (int p = q; p < end; ++p) {
                const int r = p - offset;
                out[(long long)c * width + p] = r >= 0 && r < rows ? in[r * row_stride + c] : (real)0;
            }
    }
}

/* The way back: rows whose place lies outside [0, width) become zero.  One thread: a tile of the planes. */
extern "C" __global__ void columns_to_rows(const real* __restrict__ columns, real* __restrict__ planes, int n, int rows,
                                           int n_columns, int width, int offset, long long plane_stride, long long row_stride,
                                           long long column_stride) {
    const int r0 = THREAD_Y * TILE_ROWS, c0 = THREAD_X * TILE_COLUMNS, i = THREAD_Z;
    if (r0 >= rows || c0 >= n_columns || i >= n) return;
    const int r1 = r0 + TILE_ROWS < rows ? r0 + TILE_ROWS : rows;
    const int c1 = c0 + TILE_COLUMNS < n_columns ? c0 + TILE_COLUMNS : n_columns;
    const real* in = columns + i * column_stride;
    real* out = planes + i * plane_stride;
    for (int r = r0; r < r1; ++r) {
        const int p = r + offset;
        for (int c = c0; c < c1; ++c)
            out[r * row_stride + c] = p >= 0 && p < width ? in[(long long)c * width + p] : (real)0;
    }
}
