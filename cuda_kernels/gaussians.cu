/* Images of a sum of Gaussians (atoms, blobs) seen along the beam: pixel (i, j) of an image holds, for each Gaussian,
 * amplitude / (2 pi s^2) g((j - u) / s) g((i - v) / s), its line integral times a pixel's area.
 * A Gaussian is 5 numbers: x, y, z (angstrom), amplitude, s (pixels).  An image is 8: three components of its x axis
 * over the pixel size, the column of the origin, the same of y and the row; (u, v) = axes . (x, y, z) + origin.
 * g(t) = exp(-t^2 / 2) less its value and slope (as a function of t^2) at `reach`, and 0 beyond: continuous with its
 * first derivative.  The order is that of an orthographic splat (Westover 1990, Computer Graphics 24, 367). */
#include "lane.cuh"

#define GAUSSIAN_NUMBERS 5
#define GAUSSIAN_IMAGE 8
#define GAUSSIAN_OVER_TWO_PI ((real)0.15915494309189535)

/* g and dg/dt at one distance. */
struct Bell {
    real value, slope;
};

/* edge = exp(-reach^2 / 2). */
static __device__ __forceinline__ Bell gaussian_bell(real t, real reach, real edge) {
    const real left = reach * reach - t * t;
    if (left <= (real)0) return {(real)0, (real)0};
    const real e = exp((real)-0.5 * t * t) - edge;
    return {e - (real)0.5 * edge * left, -t * e};
}

/* A Gaussian in an image: where it is, one over its width, its height. */
struct Spot {
    real u, v, inverse, height;
};

static __device__ __forceinline__ Spot gaussian_spot(const real* __restrict__ atom, const real* __restrict__ image) {
    Spot s;
    s.u = madd(image[0], atom[0], madd(image[1], atom[1], madd(image[2], atom[2], image[3])));
    s.v = madd(image[4], atom[0], madd(image[5], atom[1], madd(image[6], atom[2], image[7])));
    s.inverse = (real)1 / atom[4];
    s.height = GAUSSIAN_OVER_TWO_PI * atom[3] * s.inverse * s.inverse;
    return s;
}

/* The pixels first <= i < last, among start <= i < end, that are nearer than `radius` to `middle`. */
struct Span {
    int first, last;
};

static __device__ __forceinline__ Span gaussian_span(real middle, real radius, int start, int end) {
    real low = ceil(middle - radius), high = floor(middle + radius) + (real)1;
    low = low > (real)start ? (low < (real)end ? low : (real)end) : (real)start;
    high = high < (real)end ? (high > (real)start ? high : (real)start) : (real)end;
    return {(int)low, (int)high};
}

/* How a spot changes with tangents of its Gaussian (d) and of the image: du/s, dv/s, ds/s and the height's. */
struct Drift {
    real u, v, s, height;
};

static __device__ __forceinline__ Drift gaussian_drift(const Spot& spot, const real* __restrict__ atom, const real* __restrict__ image,
                                                       const real* __restrict__ d_atom, const real* __restrict__ d_image) {
    real u = d_image[3], v = d_image[7];
    for (int c = 0; c < 3; ++c) {
        u += d_image[c] * atom[c] + image[c] * d_atom[c];
        v += d_image[4 + c] * atom[c] + image[4 + c] * d_atom[c];
    }
    Drift d;
    d.u = u * spot.inverse;
    d.v = v * spot.inverse;
    d.s = d_atom[4] * spot.inverse;
    d.height = GAUSSIAN_OVER_TWO_PI * d_atom[3] * spot.inverse * spot.inverse - (real)2 * spot.height * d.s;
    return d;
}

/* The change of g(t) along one axis: t = (i - u) / s falls by du/s + t ds/s. */
static __device__ __forceinline__ real gaussian_change(const Bell& b, real t, real shift, real spread) {
    return -b.slope * (shift + t * spread);
}

/* images (count, box, box) of n Gaussians, overwritten.  One thread: rows_each rows of LANES columns. */
extern "C" __global__ void gaussians_forward(const real* __restrict__ atoms, const real* __restrict__ views,
                                             real* __restrict__ images, int n, int count, int box, int rows_each, real reach,
                                             real edge) {
    const int x0 = THREAD_X * LANES, y0 = THREAD_Y * rows_each, p = THREAD_Z;
    if (x0 >= box || y0 >= box || p >= count) return;
    const int x1 = x0 + LANES < box ? x0 + LANES : box, y1 = y0 + rows_each < box ? y0 + rows_each : box;
    const real* view = views + (long long)GAUSSIAN_IMAGE * p;
    real* __restrict__ out = images + (long long)p * box * box;
#if LANES > 1
    real across[LANES];
    for (int y = y0; y < y1; ++y)
        for (int x = x0; x < x1; ++x) out[y * box + x] = (real)0;
    for (int k = 0; k < n; ++k) {
        const real* atom = atoms + (long long)GAUSSIAN_NUMBERS * k;
        const Spot s = gaussian_spot(atom, view);
        const Span rows = gaussian_span(s.v, reach * atom[4], y0, y1), columns = gaussian_span(s.u, reach * atom[4], x0, x1);
        if (rows.first >= rows.last) continue;
        const int width = columns.last - columns.first;
        for (int l = 0; l < width; ++l)
            across[l] = gaussian_bell(((real)(columns.first + l) - s.u) * s.inverse, reach, edge).value;
        for (int y = rows.first; y < rows.last; ++y) {
            const real down = s.height * gaussian_bell(((real)y - s.v) * s.inverse, reach, edge).value;
            real* __restrict__ row = out + y * box + columns.first;
            for (int l = 0; l < width; ++l) row[l] += down * across[l];
        }
    }
#else
    for (int y = y0; y < y1; ++y) {
        real total = (real)0;
        for (int k = 0; k < n; ++k) {
            const Spot s = gaussian_spot(atoms + (long long)GAUSSIAN_NUMBERS * k, view);
            const Bell down = gaussian_bell(((real)y - s.v) * s.inverse, reach, edge);
            if (down.value == (real)0) continue;
            total += s.height * down.value * gaussian_bell(((real)x0 - s.u) * s.inverse, reach, edge).value;
        }
        out[y * box + x0] = total;
    }
#endif
}

/* The change of the images along d_atoms (n, 5) and d_views (count, 8), overwritten.  Threads as above. */
extern "C" __global__ void gaussians_push(const real* __restrict__ atoms, const real* __restrict__ views,
                                          const real* __restrict__ d_atoms, const real* __restrict__ d_views,
                                          real* __restrict__ images, int n, int count, int box, int rows_each, real reach,
                                          real edge) {
    const int x0 = THREAD_X * LANES, y0 = THREAD_Y * rows_each, p = THREAD_Z;
    if (x0 >= box || y0 >= box || p >= count) return;
    const int x1 = x0 + LANES < box ? x0 + LANES : box, y1 = y0 + rows_each < box ? y0 + rows_each : box;
    const real *view = views + (long long)GAUSSIAN_IMAGE * p, *d_view = d_views + (long long)GAUSSIAN_IMAGE * p;
    real* __restrict__ out = images + (long long)p * box * box;
#if LANES > 1
    real across[LANES], change[LANES];
    for (int y = y0; y < y1; ++y)
        for (int x = x0; x < x1; ++x) out[y * box + x] = (real)0;
    for (int k = 0; k < n; ++k) {
        const long long at = (long long)GAUSSIAN_NUMBERS * k;
        const Spot s = gaussian_spot(atoms + at, view);
        const real radius = reach * atoms[at + 4];
        const Span rows = gaussian_span(s.v, radius, y0, y1), columns = gaussian_span(s.u, radius, x0, x1);
        if (rows.first >= rows.last) continue;
        const Drift d = gaussian_drift(s, atoms + at, view, d_atoms + at, d_view);
        const int width = columns.last - columns.first;
        for (int l = 0; l < width; ++l) {
            const real t = ((real)(columns.first + l) - s.u) * s.inverse;
            const Bell b = gaussian_bell(t, reach, edge);
            across[l] = b.value;
            change[l] = s.height * gaussian_change(b, t, d.u, d.s);
        }
        for (int y = rows.first; y < rows.last; ++y) {
            const real t = ((real)y - s.v) * s.inverse;
            const Bell b = gaussian_bell(t, reach, edge);
            const real own = d.height * b.value + s.height * gaussian_change(b, t, d.v, d.s);
            real* __restrict__ row = out + y * box + columns.first;
            for (int l = 0; l < width; ++l) row[l] += own * across[l] + b.value * change[l];
        }
    }
#else
    for (int y = y0; y < y1; ++y) {
        real total = (real)0;
        for (int k = 0; k < n; ++k) {
            const long long at = (long long)GAUSSIAN_NUMBERS * k;
            const Spot s = gaussian_spot(atoms + at, view);
            const real ty = ((real)y - s.v) * s.inverse, tx = ((real)x0 - s.u) * s.inverse;
            const Bell down = gaussian_bell(ty, reach, edge), along = gaussian_bell(tx, reach, edge);
            if (down.value == (real)0 || along.value == (real)0) continue;
            const Drift d = gaussian_drift(s, atoms + at, view, d_atoms + at, d_view);
            total += (d.height * down.value + s.height * gaussian_change(down, ty, d.v, d.s)) * along.value;
            total += s.height * down.value * gaussian_change(along, tx, d.u, d.s);
        }
        out[y * box + x0] = total;
    }
#endif
}

/* Sums over the pixels of one image near one Gaussian: of g_image times g g; g' g; g g'; and t times g', both axes. */
struct SpotSums {
    real value, u, v, s;
};

/* Columns x0 <= x < x1, of which there are at most LANES on a CPU. */
static __device__ __forceinline__ void gaussian_sums(SpotSums& sum, const Spot& s, const real* __restrict__ image, int box, Span rows,
                                                     Span columns, real reach, real edge) {
    const int width = columns.last - columns.first;
#if LANES > 1
    real value[LANES], slope[LANES], spread[LANES];
    for (int l = 0; l < width; ++l) {
        const real t = ((real)(columns.first + l) - s.u) * s.inverse;
        const Bell b = gaussian_bell(t, reach, edge);
        value[l] = b.value;
        slope[l] = b.slope;
        spread[l] = t * b.slope;
    }
#endif
    for (int y = rows.first; y < rows.last; ++y) {
        const real* __restrict__ row = image + y * box + columns.first;
        real a = (real)0, b = (real)0, c = (real)0;
        for (int l = 0; l < width; ++l) {
#if LANES > 1
            a += row[l] * value[l];
            b += row[l] * slope[l];
            c += row[l] * spread[l];
#else
            const real t = ((real)(columns.first + l) - s.u) * s.inverse;
            const Bell across = gaussian_bell(t, reach, edge);
            a += row[l] * across.value;
            b += row[l] * across.slope;
            c += row[l] * t * across.slope;
#endif
        }
        const real t = ((real)y - s.v) * s.inverse;
        const Bell down = gaussian_bell(t, reach, edge);
        sum.value += down.value * a;
        sum.u += down.value * b;
        sum.v += down.slope * a;
        sum.s += down.value * c + t * down.slope * a;
    }
}

/* Gradients g_spots (4, count, n), overwritten: in the amplitude, in u, v and s of each Gaussian in each image, from
 * g_images.  One thread: one Gaussian in one image. */
extern "C" __global__ void gaussians_pull(const real* __restrict__ atoms, const real* __restrict__ views,
                                          const real* __restrict__ g_images, real* __restrict__ g_spots, int n, int count, int box,
                                          real reach, real edge) {
    const int k = THREAD_X, p = THREAD_Y;
    if (k >= n || p >= count) return;
    const real* atom = atoms + (long long)GAUSSIAN_NUMBERS * k;
    const Spot s = gaussian_spot(atom, views + (long long)GAUSSIAN_IMAGE * p);
    const real* __restrict__ image = g_images + (long long)p * box * box;
    const real radius = reach * atom[4];
    const Span rows = gaussian_span(s.v, radius, 0, box), columns = gaussian_span(s.u, radius, 0, box);
    SpotSums sum = {(real)0, (real)0, (real)0, (real)0};
#if LANES > 1
    for (int x = columns.first; x < columns.last; x += LANES) {
        const Span part = {x, x + LANES < columns.last ? x + LANES : columns.last};
        gaussian_sums(sum, s, image, box, rows, part, reach, edge);
    }
#else
    gaussian_sums(sum, s, image, box, rows, columns, reach, edge);
#endif
    const long long size = (long long)count * n, at = (long long)p * n + k;
    g_spots[at] = GAUSSIAN_OVER_TWO_PI * s.inverse * s.inverse * sum.value;
    g_spots[at + size] = -s.height * s.inverse * sum.u;
    g_spots[at + 2 * size] = -s.height * s.inverse * sum.v;
    g_spots[at + 3 * size] = -s.height * s.inverse * ((real)2 * sum.value + sum.s);
}
