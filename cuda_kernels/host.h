/* Lets g++ compile the CUDA kernels of this folder unchanged and run them on CPU threads.
 * Included before every kernel file by the generated host source; never named in a kernel.
 * A launch walks the blocks of the grid with OpenMP and the threads of a block in a plain loop. */
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

#define __global__ inline /* compiled once, where its entry point takes it in */
#define __device__
#if defined(__SANITIZE_ADDRESS__) /* a kernel in one piece takes minutes to compile with all checks */
#define __forceinline__ inline
#define HOST_WHOLE
#else
#define __forceinline__ inline __attribute__((always_inline))
#define HOST_WHOLE flatten,
#endif
#define __restrict__ __restrict
#define LANES 256 /* neighbouring outputs owned by one thread; 1 on a GPU */

using std::abs; /* the C abs(float) would be the integer one */
using std::atan2;
using std::ceil;
using std::exp;
using std::fabs;
using std::floor;
using std::log;
using std::fma; /* the C one would compute in double */
using std::max;
using std::min;
using std::pow;
using std::sqrt;

struct dim3 {
    unsigned x, y, z;
};
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

/* The width of the machine's vector registers, for the few device functions that say `#if LANES > 1`. */
#if defined(__AVX512F__)
#define WIDE_BYTES 64
#elif defined(__AVX__)
#define WIDE_BYTES 32
#else
#define WIDE_BYTES 16
#endif

template <class T>
static inline T atomicAdd(T* p, T v) {
    T old, sum;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do {
        sum = old + v;
    } while (!__atomic_compare_exchange(p, &old, &sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

template <auto Kernel, class... A, size_t... I>
static inline __attribute__((always_inline)) void host_call(void (*)(A...), void* const* args, std::index_sequence<I...>) {
    Kernel(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}
template <class... A>
constexpr auto host_arity(void (*)(A...)) {
    return std::make_index_sequence<sizeof...(A)>{};
}

/* size = grid x, y, z then block x, y, z; args as for cuLaunchKernel; threads = 0 takes OpenMP's default.
 * Blocks are handed out in chunks, so the schedule balances and neighbouring blocks share a cache. */
#define HOST_EXPORT(name)                                                                              \
    __attribute__((HOST_WHOLE noinline)) static void name##_block(const unsigned* size, void* const* args) { \
        dim3 t;                                                                                        \
        for (t.z = 0; t.z < size[5]; ++t.z)                                                            \
            for (t.y = 0; t.y < size[4]; ++t.y)                                                        \
                for (t.x = 0; t.x < size[3]; ++t.x) {                                                  \
                    threadIdx = t;                                                                     \
                    host_call<name>(name, args, host_arity(name));                                     \
                }                                                                                      \
    }                                                                                                  \
    extern "C" __attribute__((visibility("default"))) void name##_launch(const unsigned* size,         \
                                                                         void* const* args, int threads) { \
        const long blocks = (long)size[0] * size[1] * size[2];                                         \
        const long most = threads > 0 ? threads : omp_get_max_threads();                               \
        const int team = (int)std::max(1L, std::min(most, blocks));\
        const long chunk = std::max(1L, blocks / (32L * team));                                       \
        _Pragma("omp parallel num_threads(team)") {                                                    \
            gridDim = {size[0], size[1], size[2]};                                                     \
            blockDim = {size[3], size[4], size[5]};                                                    \
            _Pragma("omp for schedule(dynamic, chunk)") for (long b = 0; b < blocks; ++b) {            \
                blockIdx = {unsigned(b % size[0]), unsigned(b / size[0] % size[1]),                    \
                            unsigned(b / size[0] / size[1])};                                          \
                name##_block(size, args);                                                              \
            }                                                                                          \
        }                                                                                              \
    }

extern "C" int omp_get_max_threads(void);
