/* Central slices by trilinear interpolation: see slice.cuh for the model, slice_walk.cuh for what a thread does. */
#include "slice_walk.cuh"

/* images of the model; overwrites them. */
extern "C" __global__ void slice_linear_forward(const real* __restrict__ spectrum, real* __restrict__ stored, const real* __restrict__ records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.stored = stored;
    slice_walk<2, SLICE_STORE>(job);
}

/* the model's derivative along d_records; overwrites the images. */
extern "C" __global__ void slice_linear_push(const real* __restrict__ spectrum, real* __restrict__ stored, const real* __restrict__ records,
    const real* __restrict__ d_records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.stored = stored;
    job.d_records = d_records;
    slice_walk<2, SLICE_TANGENT>(job);
}

/* the transpose of push; adds to g_records (row group, particle). */
extern "C" __global__ void slice_linear_pull(const real* __restrict__ spectrum, const real* __restrict__ g_images, const real* __restrict__ records,
    real* __restrict__ g_records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.images = g_images;
    job.g_records = g_records;
    slice_walk<2, SLICE_PARAM>(job);
}

/* the transpose of forward in the spectrum; a thread owns planes; adds. */
extern "C" __global__ void slice_linear_adjoint_planes(real* __restrict__ g_spectrum, const real* __restrict__ g_images, const real* __restrict__ records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.grown = g_spectrum;
    job.images = g_images;
    slice_walk<2, SLICE_SCATTER>(job);
}

/* the same by atomic additions. */
extern "C" __global__ void slice_linear_adjoint_atomic(real* __restrict__ g_spectrum, const real* __restrict__ g_images, const real* __restrict__ records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.grown = g_spectrum;
    job.images = g_images;
    slice_walk<2, SLICE_SCATTER | SLICE_ATOMIC>(job);
}

/* images into sums (re, im, weight, 0): weights conj(f) image and weights |f|^2; a thread owns planes; adds. */
extern "C" __global__ void slice_linear_insert_planes(real* __restrict__ sums, const real* __restrict__ images, const real* __restrict__ records,
    const int* __restrict__ groups, const real* __restrict__ weights,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.grown = sums;
    job.images = images;
    job.groups = groups;
    job.weights = weights;
    slice_walk<2, SLICE_INSERT>(job);
}

/* the same by atomic additions. */
extern "C" __global__ void slice_linear_insert_atomic(real* __restrict__ sums, const real* __restrict__ images, const real* __restrict__ records,
    const int* __restrict__ groups, const real* __restrict__ weights,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.grown = sums;
    job.images = images;
    job.groups = groups;
    job.weights = weights;
    slice_walk<2, SLICE_INSERT | SLICE_ATOMIC>(job);
}

/* weights |model - image|^2 / 2 of each particle, and its gradient in the records unless g_records is null;
 * overwrites values, adds to g_records, both (row group, particle). */
extern "C" __global__ void slice_linear_residual(const real* __restrict__ spectrum, const real* __restrict__ images, const real* __restrict__ records,
    const int* __restrict__ image_of, const int* __restrict__ groups, const real* __restrict__ weights, real* __restrict__ values,
    real* __restrict__ g_records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.images = images;
    job.image_of = image_of;
    job.groups = groups;
    job.weights = weights;
    job.values = values;
    job.g_records = g_records;
    slice_walk<2, SLICE_RESIDUAL | SLICE_PARAM>(job);
}

/* the same, and the gradient in the spectrum; a thread owns planes, so values and g_records are (slab, row group,
 * particle). */
extern "C" __global__ void slice_linear_residual_planes(const real* __restrict__ spectrum, real* __restrict__ g_spectrum, const real* __restrict__ images,
    const real* __restrict__ records, const int* __restrict__ image_of, const int* __restrict__ groups,
    const real* __restrict__ weights, real* __restrict__ values, real* __restrict__ g_records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.grown = g_spectrum;
    job.images = images;
    job.image_of = image_of;
    job.groups = groups;
    job.weights = weights;
    job.values = values;
    job.g_records = g_records;
    slice_walk<2, SLICE_RESIDUAL | SLICE_PARAM | SLICE_SCATTER>(job);
}

/* the same by atomic additions. */
extern "C" __global__ void slice_linear_residual_atomic(const real* __restrict__ spectrum, real* __restrict__ g_spectrum, const real* __restrict__ images,
    const real* __restrict__ records, const int* __restrict__ image_of, const int* __restrict__ groups,
    const real* __restrict__ weights, real* __restrict__ values, real* __restrict__ g_records,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.grown = g_spectrum;
    job.images = images;
    job.image_of = image_of;
    job.groups = groups;
    job.weights = weights;
    job.values = values;
    job.g_records = g_records;
    slice_walk<2, SLICE_RESIDUAL | SLICE_PARAM | SLICE_SCATTER | SLICE_ATOMIC>(job);
}

/* value, gradient (5) and lower triangle of J'J (15) for turns and u, v of the shift; adds to values (row group, particle,
 * 21). */
extern "C" __global__ void slice_linear_normal(const real* __restrict__ spectrum, const real* __restrict__ images, const real* __restrict__ records,
    const int* __restrict__ image_of, const int* __restrict__ groups, const real* __restrict__ weights, real* __restrict__ values,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.images = images;
    job.image_of = image_of;
    job.groups = groups;
    job.weights = weights;
    job.values = values;
    slice_walk<2, SLICE_RESIDUAL | SLICE_NORMAL | SLICE_TURNS>(job);
}

/* the same over u2, uv, v2 of the CTF's phase and the scale: 1 + 4 + 10 numbers. */
extern "C" __global__ void slice_linear_normal_ctf(const real* __restrict__ spectrum, const real* __restrict__ images, const real* __restrict__ records,
    const int* __restrict__ image_of, const int* __restrict__ groups, const real* __restrict__ weights, real* __restrict__ values,
    const real* __restrict__ taper, int particles, int box, int shells, int ctf, int ewald, int unique, int each, int rows_each, int across, int planes_each,
    int nx, int nz, int offset, int skirt, int degree, real r_max) {
    SliceJob job = SLICE_JOB;
    job.spectrum = spectrum;
    job.images = images;
    job.image_of = image_of;
    job.groups = groups;
    job.weights = weights;
    job.values = values;
    slice_walk<2, SLICE_RESIDUAL | SLICE_NORMAL | SLICE_CTF>(job);
}
