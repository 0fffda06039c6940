/* The padded volume as a ray of one major axis meets it: strides and sizes of its planes. */
#pragma once
#include "resample.cuh"

struct Box {
    long long plane_step, b_step, c_step;
    int nb, nc;
};

static __device__ __forceinline__ Box box_along(int axis, int nx, int ny, int nz, int width, int row_step) {
    Box x;
    x.plane_step = axis == 0 ? width : axis == 1 ? row_step : 1;
    x.b_step = axis == 1 ? width : row_step;
    x.c_step = axis == 2 ? width : 1;
    x.nb = axis == 1 ? nx : ny, x.nc = axis == 2 ? nx : nz;
    return x;
}

/* The four voxels around the point (b, c) of a plane, zero outside, and where the point lies between them. */
struct Cell {
    real f, h, v00, v01, v10, v11;
};

/* False where the point is a voxel or more beside the plane. */
static __device__ __forceinline__ bool cell_at(const real* __restrict__ plane, const Box& x, real b, real c, Cell& q) {
    if (!(b > (real)-1 && b < (real)x.nb && c > (real)-1 && c < (real)x.nc)) return false;
    const int j = floor_index(b), i = floor_index(c);
    q.f = b - (real)j, q.h = c - (real)i;
    const real* p = plane + j * x.b_step + i * x.c_step;
    const bool j0 = j >= 0, j1 = j + 1 < x.nb, i0 = i >= 0, i1 = i + 1 < x.nc;
    q.v00 = j0 && i0 ? p[0] : (real)0, q.v01 = j0 && i1 ? p[x.c_step] : (real)0;
    q.v10 = j1 && i0 ? p[x.b_step] : (real)0, q.v11 = j1 && i1 ? p[x.b_step + x.c_step] : (real)0;
    return true;
}

