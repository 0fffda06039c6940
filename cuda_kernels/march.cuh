/* Rays through a volume of nodes: where samples lie, and the eight voxels around each.
 * Rays p(t) = origin + t direction are in voxels (z, y, x); samples lie at t = (i + 1/2) step for whole i >= 0, wherever the
 * ray meets the volume, so that nothing jumps when a ray moves. */
#pragma once
#include "lane.cuh"

struct MarchCell {
    long long at[8]; /* the voxels around a place; -1 where there is none */
    real w[8];       /* their weights */
    real fz, fy, fx;
    bool whole; /* whether there are all eight: they are then at at[0] + (0 or 1) + (0 or row) + (0 or plane) */
    int row, plane;
};

struct MarchRay {
    real o[3], d[3];
    int first, last; /* samples; last is the one past the end */
    real reach;      /* samples to a voxel, along the axis that passes fastest */
};

/* The samples of a ray between the planes -1 and n of each axis. */
static __device__ __forceinline__ MarchRay march_ray(const real* __restrict__ origins, const real* __restrict__ directions, long long r,
                                                     int nz, int ny, int nx, real step) {
    MarchRay ray;
    real from = (real)0, to = (real)1e30;
    const int n[3] = {nz, ny, nx};
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        ray.o[a] = origins[3 * r + a], ray.d[a] = directions[3 * r + a];
        const real low = (real)-1 - ray.o[a], high = (real)n[a] - ray.o[a];
        if (ray.d[a] == (real)0) {
            if (!(low < (real)0 && high > (real)0)) to = (real)-1;
        } else {
            const real u = low / ray.d[a], v = high / ray.d[a], near = u < v ? u : v, far = u < v ? v : u;
            from = near > from ? near : from, to = far < to ? far : to;
        }
    }
    const real dz = fabs(ray.d[0]), dy = fabs(ray.d[1]), dx = fabs(ray.d[2]), fastest = dz > dy ? dz : dy;
    ray.reach = (real)1 / (step * (fastest > dx ? fastest : dx)); /* a ray without direction has no samples */
    ray.first = 0, ray.last = 0;
    if (to > from && to < (real)1e29) {
        ray.first = floor_index(from / step - (real)0.5), ray.last = floor_index(to / step - (real)0.5) + 2;
        if (ray.first < 0) ray.first = 0;
    }
    return ray;
}

/* Where sample i of a ray lies; false where no voxel is near. */
static __device__ __forceinline__ bool march_cell(const MarchRay& ray, real t, int nz, int ny, int nx, MarchCell& c) {
    const real z = madd(t, ray.d[0], ray.o[0]), y = madd(t, ray.d[1], ray.o[1]), x = madd(t, ray.d[2], ray.o[2]);
    if (!(z > (real)-1 && z < (real)nz && y > (real)-1 && y < (real)ny && x > (real)-1 && x < (real)nx)) return false;
    const int k = floor_index(z), j = floor_index(y), i = floor_index(x);
    c.fz = z - (real)k, c.fy = y - (real)j, c.fx = x - (real)i;
    c.row = nx, c.plane = ny * nx;
    c.whole = k >= 0 && k < nz - 1 && j >= 0 && j < ny - 1 && i >= 0 && i < nx - 1;
#pragma unroll
    for (int q = 0; q < 8; ++q) {
        const int zz = k + (q >> 2), yy = j + (q >> 1 & 1), xx = i + (q & 1);
        const bool inside = zz >= 0 && zz < nz && yy >= 0 && yy < ny && xx >= 0 && xx < nx;
        c.at[q] = inside ? ((long long)zz * ny + yy) * nx + xx : -1;
        c.w[q] = (q >> 2 ? c.fz : (real)1 - c.fz) * (q >> 1 & 1 ? c.fy : (real)1 - c.fy) * (q & 1 ? c.fx : (real)1 - c.fx);
    }
    return true;
}

/* How many samples from the one at t on lie in empty cells.  clear (nz + 1, ny + 1, nx + 1): for each cell, the first of which
 * lies before the first voxel, how many cells away is the nearest that is not empty. */
static __device__ __forceinline__ int march_clear(const int* __restrict__ clear, const MarchRay& ray, real t, int nz, int ny, int nx) {
    if (clear == nullptr) return 0;
    const int k = floor_index(madd(t, ray.d[0], ray.o[0])) + 1, j = floor_index(madd(t, ray.d[1], ray.o[1])) + 1;
    const int i = floor_index(madd(t, ray.d[2], ray.o[2])) + 1;
    if (k < 0 || k > nz || j < 0 || j > ny || i < 0 || i > nx) return 0;
    const int cells = clear[((long long)k * (ny + 1) + j) * (nx + 1) + i];
    return cells < 1 ? 0 : 1 + (int)((real)(cells - 1) * ray.reach);
}

/* The cell of sample i, which lies at t; false where it is empty or beyond the volume, with i moved to the last sample that
 * is empty as well. */
static __device__ __forceinline__ bool march_met(const int* __restrict__ clear, const MarchRay& ray, real t, int nz, int ny, int nx,
                                                 int& i, MarchCell& c) {
    const int empty = march_clear(clear, ray, t, nz, ny, nx);
    if (empty) i += empty - 1;
    return !empty && march_cell(ray, t, nz, ny, nx, c);
}
