/* What every kernel file shares: the thread's place in the grid, and multiply-add that rounds once wherever
 * the machine can, so that forward and adjoint compute the same coordinate from the same numbers. */
#pragma once

#define THREAD_X ((int)(blockIdx.x * blockDim.x + threadIdx.x))
#define THREAD_Y ((int)(blockIdx.y * blockDim.y + threadIdx.y))
#define THREAD_Z ((int)(blockIdx.z * blockDim.z + threadIdx.z))

static __device__ __forceinline__ real madd(real a, real b, real c) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__) || defined(__FMA__)
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* The integer part and the rest, for coordinates that may be below zero. */
static __device__ __forceinline__ int floor_index(real x) {
    int i = (int)x;
    return i - (x < (real)i);
}

/* Add to what this thread owns, or that others may add to at the same time. */
template <bool Atomic>
static __device__ __forceinline__ void add(real* p, real value) {
    if constexpr (Atomic) atomicAdd(p, value);
    else *p += value;
}

/* Before a loop of constant length over neighbouring numbers: a GPU unrolls it, a CPU keeps it to make vectors of it. */
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define TOGETHER _Pragma("unroll")
#else
#define TOGETHER _Pragma("GCC unroll 1") _Pragma("GCC ivdep")
#endif
