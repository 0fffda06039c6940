/* Adam (Kingma and Ba 2015, alg. 1) at a few of many voxels, in place: those that are listed and that this step's gradient meets.
 * The others rest, and their averages with them. */
#include "lane.cuh"

/* x, mean and square are (voxel, channel), gradient (copies, voxel, channel): its sum is used, and it is set to zero where it
 * was not, for the next step to be added to.  rates (channel).  settled_1 and settled_2 are 1 - beta^step.  One thread: LANES of
 * the listed voxels. */
extern "C" __global__ void adam_step(real* __restrict__ x, real* __restrict__ gradient, real* __restrict__ mean,
                                     real* __restrict__ square, const int* __restrict__ listed, const real* __restrict__ rates,
                                     int count, long long voxels, int channels, int copies, real beta_1, real beta_2,
                                     real settled_1, real settled_2, real least) {
    for (long long n = (long long)THREAD_X * LANES; n < count && n < (THREAD_X + 1LL) * LANES; ++n) {
        const long long at = (long long)listed[n] * channels, apart = voxels * channels;
        bool met = false;
        for (int k = 0; k < copies; ++k) {
            real* own = gradient + k * apart + at;
            bool here = false;
            for (int c = 0; c < channels; ++c) here = here || own[c] != (real)0;
            if (here && k) /* into the first */
                for (int c = 0; c < channels; ++c) gradient[at + c] += own[c], own[c] = (real)0;
            met = met || here;
        }
        if (!met) continue;
        for (int c = 0; c < channels; ++c) {
            const real g = gradient[at + c];
            const real m = mean[at + c] = madd(beta_1, mean[at + c], ((real)1 - beta_1) * g);
            const real s = square[at + c] = madd(beta_2, square[at + c], ((real)1 - beta_2) * g * g);
            x[at + c] -= rates[c] * (m / settled_1) / (sqrt(s / settled_2) + least);
            gradient[at + c] = (real)0;
        }
    }
}
