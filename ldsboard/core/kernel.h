/* What the files of the compiled kernel share: grid.c rounds scores, sums.c adds grid integers, ranks.c scores sorted sums.

   They are plain C without Python.h: kernel.py loads the library with ctypes, which releases the GIL during each call. Nothing in
   them allocates memory or keeps state, so that any number of threads can call the functions at once. */

#ifndef LDSBOARD_KERNEL_H
#define LDSBOARD_KERNEL_H

#include <float.h>

/* Where double arithmetic has more digits, as on the x87, results would be rounded twice. Python then computes them. */
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "double arithmetic is not done in double"
#endif

/* Options such as -ffast-math, which CFLAGS can add, remove roundings that the results depend on. */
#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#error "arithmetic is not exact to the last bit"
#endif

/* Older versions of MSVC fuse a product and a sum on ARM64; setup.py forbids it to other compilers. */
#if defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define INLINE static __forceinline
#else
#define INLINE static inline
#endif

/* Ask for a cache line that will be needed soon. Any address is allowed, also one beyond an array. */
#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) (void)(address)
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define HAS_VARIANTS 1
#else
#define HAS_VARIANTS 0
#endif

/* Variants of a function: for every processor of the platform, with AVX2, and with AVX-512. */
enum { PORTABLE, AVX2, AVX512 };

/* GCC would use 256 bits. */
#if defined(__clang__)
#define TARGET_AVX512 "avx512f"
#else
#define TARGET_AVX512 "avx512f,prefer-vector-width=512"
#endif

/* setup.py defines this number, from the text of all files; kernel.py refuses a library that was built from other files. */
#ifndef SOURCE_HASH
#define SOURCE_HASH 0
#endif

#endif
