/* The geometry of a detector column whose rays share one path in the plane of a slice.
 *
 * For detector columns parallel to the volume's z axis (or, in a parallel beam, in the plane of z and the ray) all
 * rays of column (view, u) cross the grid planes k of the major axis (0: x, 1: y) at one place b(k) of the other
 * axis, and at heights that are linear in the row v:
 *     b(k) = bc + gb*(k - kc),   z(k, v) = [zc + gz*(k - kc)] + v*[sc + gs*(k - kc)],   kc = (planes - 1)/2.
 * spans (view, u, 3): major axis, first plane, last plane.  columns (view, u, 6): bc, gb, zc, gz, sc, gs. */
#pragma once
#include "resample.cuh"

struct Column {
    int axis, first, last, planes, across;
    real bc, gb, zc, gz, sc, gs, middle;
    long long plane_step, step;
};

/* The record of one column, for a volume (ny, row_step) whose row y is (nx, width). */
static __device__ __forceinline__ Column read_column(const int* spans, const real* columns, long long i, int nx, int ny,
                                                     int width, int row_step) {
    Column c;
    c.axis = spans[3 * i], c.first = spans[3 * i + 1], c.last = spans[3 * i + 2];
    const real* r = columns + 6 * i;
    c.bc = r[0], c.gb = r[1], c.zc = r[2], c.gz = r[3], c.sc = r[4], c.gs = r[5];
    c.planes = c.axis ? ny : nx, c.across = c.axis ? nx : ny;
    c.middle = (real)0.5 * (real)(c.planes - 1);
    c.step = c.axis ? width : row_step;
    c.plane_step = c.axis ? row_step : width;
    return c;
}

static __device__ __forceinline__ real column_position(const Column& c, int k) { return madd(c.gb, (real)k - c.middle, c.bc); }
static __device__ __forceinline__ real column_height(const Column& c, int k) { return madd(c.gz, (real)k - c.middle, c.zc); }
static __device__ __forceinline__ real column_pitch(const Column& c, int k) { return madd(c.gs, (real)k - c.middle, c.sc); }

/* The two voxels beside b of a line of `across`: the first, the step to the second (0 at an edge), their weights. */
struct Pair {
    int j, next;
    real w0, w1;
};
static __device__ __forceinline__ bool beside(real b, int across, Pair& p) {
    if (!(b > (real)-1 && b < (real)across)) return false;
    const int j = floor_index(b);
    const real f = b - (real)j;
    p.next = j >= 0 && j + 1 < across;
    p.j = j >= 0 ? j : 0;
    p.w0 = j >= 0 ? (real)1 - f : f;
    p.w1 = p.next ? f : (real)0;
    return true;
}

/* Length in mm of the part of ray (view, u, v) between two planes. */
static __device__ __forceinline__ real step_length(const Column& c, int v, real sx, real sy, real sz) {
    const real along = c.axis ? sy : sx, aside = (c.axis ? sx : sy) * c.gb, up = sz * madd((real)v, c.gs, c.gz);
    return sqrt(along * along + aside * aside + up * up);
}
