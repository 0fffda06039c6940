/* Copies of an array, one for each part of what adds to it: their sum, in the order of the copies whatever the threads. */
#include "lane.cuh"

/* out (n) = the sum over copies (count, n), which are set to zero where they were not, for more to be added.  One thread: LANES
 * elements. */
extern "C" __global__ void copies_gather(real* __restrict__ copies, real* __restrict__ out, long long n, int count) {
    const long long first = (long long)THREAD_X * LANES, last = first + LANES < n ? first + LANES : n;
    for (long long i = first; i < last; ++i) out[i] = copies[i];
    for (int k = 1; k < count; ++k)
        for (long long i = first; i < last; ++i) out[i] += copies[k * n + i];
    for (int k = 0; k < count; ++k)
        for (long long i = first; i < last; ++i)
            if (copies[k * n + i] != (real)0) copies[k * n + i] = (real)0;
}
