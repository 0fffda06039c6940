/* The padded volume as a ray of one major axis meets it: strides and sizes of its planes. */
#pragma once

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

/* Add to a voxel that this thread owns, or that others may add to at the same time. */
template <bool Atomic>
static __device__ __forceinline__ void add(real* p, real value) {
    if constexpr (Atomic) atomicAdd(p, value);
    else *p += value;
}
