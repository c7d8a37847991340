/* Scores in float32, rounded to grid integers in two passes. The formulas are those of grid.py, with the same roundings.

   Legend: n training examples, b columns. */

#include "kernel.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Write the bits of the largest magnitude of each column. As integers they are ordered like the magnitudes, with NaN at the top. */
INLINE void find_largest(const float *scores, int64_t stride, int64_t n, int64_t b, int32_t *restrict largest) {
  memset(largest, 0, (size_t)b * sizeof *largest);
  for (int64_t i = 0; i < n; i++) {
    const float *from = scores + i * stride;
    for (int64_t j = 0; j < b; j++) {
      int32_t bits;
      memcpy(&bits, from + j, sizeof bits);
      bits &= INT32_MAX;
      largest[j] = bits > largest[j] ? bits : largest[j];
    }
  }
}

INLINE void round_scores(const float *scores, int64_t stride, int64_t n, int64_t b, const float *restrict factors, float limit,
                         double *restrict whole, int32_t *restrict rounded, int32_t *restrict coarse) {
  memset(rounded, 0, (size_t)b * sizeof *rounded);
  memset(coarse, 0, (size_t)b * sizeof *coarse);
  for (int64_t i = 0; i < n; i++) {
    const float *from = scores + i * stride;
    for (int64_t j = 0; j < b; j++) {
      float scaled = from[j] * factors[j], integer = rintf(scaled);
      int32_t changed = integer != scaled;
      whole[i * b + j] = integer;
      rounded[j] |= changed;
      coarse[j] += changed & (fabsf(scaled) < limit);
    }
  }
}

#if HAS_VARIANTS
__attribute__((target("avx2"))) static void find_largest_avx2(const float *scores, int64_t stride, int64_t n, int64_t b,
                                                              int32_t *largest) {
  find_largest(scores, stride, n, b, largest);
}

__attribute__((target("avx2"))) static void round_scores_avx2(const float *scores, int64_t stride, int64_t n, int64_t b,
                                                              const float *factors, float limit, double *whole, int32_t *rounded,
                                                              int32_t *coarse) {
  round_scores(scores, stride, n, b, factors, limit, whole, rounded, coarse);
}
#endif

/* Write the bits of the largest magnitude of each column to `largest`, (b); those of a NaN are above those of infinity.

   scores    element j of row i is scores[i * stride + j]
   variant   as in ldsboard_sums; AVX-512 is not faster here than AVX2 */
EXPORT void ldsboard_largest(const float *scores, int64_t stride, int64_t n, int64_t b, int32_t *largest, int32_t variant) {
#if HAS_VARIANTS
  if (variant >= AVX2) {
    find_largest_avx2(scores, stride, n, b, largest);
    return;
  }
#endif
  (void)variant;
  find_largest(scores, stride, n, b, largest);
}

/* Scale each column, and round it to integers.

   scores    as in ldsboard_largest
   factors   powers of two, (b), whose product with any score of the column is a float32
   whole     the result, (n, b)
   rounded   result (b): whether rounding changed a score
   coarse    result (b): how many of these scores are below `limit` after scaling
   variant   as in ldsboard_sums; AVX-512 is not faster here than AVX2 */
EXPORT void ldsboard_round(const float *scores, int64_t stride, int64_t n, int64_t b, const float *factors, float limit,
                           double *whole, int32_t *rounded, int32_t *coarse, int32_t variant) {
#if HAS_VARIANTS
  if (variant >= AVX2) {
    round_scores_avx2(scores, stride, n, b, factors, limit, whole, rounded, coarse);
    return;
  }
#endif
  (void)variant;
  round_scores(scores, stride, n, b, factors, limit, whole, rounded, coarse);
}
