/* What follows from sorted predictions: ranks, correlations with the margins, and the influence of each subset on these.

   One pass over each list in place of numpy's dozen. The formulas are those of ranking.py, in the same integers and with the same
   roundings: setup.py forbids the compiler to fuse a product and a sum.

   Legend: M subsets, t lists (targets of one tile); f the predictions and g the margins of one target. */

#include "kernel.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* What a list of predictions and a list of margins have in common. Ranks are centred and doubled: 2 rank - (M + 1). */
typedef struct {
  const int32_t *order; /* positions in increasing order of value, (M) */
  const int32_t *ranks; /* (M) */
  double squares;       /* the sum of the squared ranks */
} ranking;

/* Add to `into`, for each element, twice the sum of the values with a higher rank, plus those with its rank. Since the values sum
   to 0, this is minus the same sum with the values of lower ranks. */
INLINE void add_upper_sums(ranking list, const int32_t *values, int64_t M, int64_t *into) {
  int64_t before = 0, first = 0;
  while (first < M) {
    int64_t element = list.order[first], value = values[element];
    if (list.ranks[element] == 2 * first - (M - 1)) { /* no tie; the next element need not wait for this rank */
      into[element] -= 2 * before + value;
      before += value;
      first++;
      continue;
    }
    int64_t end = list.ranks[element] + M - first, sum = 0;
    for (int64_t p = first; p < end; p++) sum += values[list.order[p]];
    for (; first < end; first++) into[list.order[first]] -= 2 * before + sum;
    before += sum;
  }
}

/* Add to `into` the influence of each element on the variance of the ranks, relative to this variance; 0 for a constant list. The
   first j ranks sum to j (j - M), and what add_upper_sums adds for the ranks themselves is minus two such sums. */
INLINE void add_variance_influence(ranking list, int64_t M, double *into) {
  if (list.squares == 0) return;
  for (int64_t first = 0; first < M;) {
    int64_t rank = 2 * first - (M - 1), end = first + 1;
    if (list.ranks[list.order[first]] != rank) {
      rank = list.ranks[list.order[first]];
      end = rank + M - first;
    }
    int64_t upper = -(first * (first - M) + end * (end - M));
    double influence = ((double)(M * (rank * rank + 2 * upper)) - 3 * list.squares) / list.squares;
    for (; first < end; first++) into[list.order[first]] += influence;
  }
}

/* Read order and ranks from the sorted keys of a list; return the sum of the squared ranks. */
INLINE double read_keys(const int64_t *keys, int bits, int64_t M, int32_t *order, int32_t *ranks) {
  int64_t squares = 0, position = ((int64_t)1 << bits) - 1;
  for (int64_t first = 0; first < M;) {
    int64_t last = first;
    while (last + 1 < M && keys[last + 1] >> bits == keys[first] >> bits) last++;
    int64_t rank = first + last - (M - 1);
    for (; first <= last; first++) {
      int32_t element = (int32_t)(keys[first] & position);
      order[first] = element;
      ranks[element] = (int32_t)rank;
      squares += rank * rank;
    }
  }
  return (double)squares;
}

/* The same as read_keys, for a list without ties, with its part of the sums that score_list needs. Return 0 if there are ties. */
INLINE int read_different_keys(const int64_t *keys, int bits, int64_t M, int32_t *ranks, const int32_t *values, int64_t *sums,
                               int64_t *products) {
  int64_t before = 0, position = ((int64_t)1 << bits) - 1, different = 1, total = 0;
  for (int64_t p = 0; p < M; p++) {
    int64_t element = keys[p] & position, rank = 2 * p - (M - 1), value = values[element];
    different &= p == 0 || (keys[p] ^ keys[p - 1]) >> bits != 0;
    ranks[element] = (int32_t)rank;
    sums[element] = rank * value - 2 * before - value;
    before += value;
    total += rank * value;
  }
  *products = total;
  return (int)different;
}

/* Round to the nearest integer, ties to even, for magnitudes below 2**51. */
INLINE double rounded(double x) {
  const double shift = 6755399441055744.0; /* 1.5 * 2**52 */
  return x + shift - shift;
}

/* Score one list; see ldsboard_ranks. Return the sum of the squared ranks of the predictions. */
INLINE double score_list(const int64_t *keys, int bits, ranking g, int64_t M, double units, double *rho, float *restrict unit,
                         double *restrict influence, double *restrict influences, int64_t *scratch) {
  int64_t *sums = scratch, products = 0;
  double *variances = (double *)(scratch + M), without_ties = (double)(M * (M * M - 1) / 3);
  int32_t *order = (int32_t *)(scratch + 2 * M), *ranks = order + M;
  int tied_f = !read_different_keys(keys, bits, M, ranks, g.ranks, sums, &products), tied_g = g.squares != without_ties;
  ranking f = {order, ranks, without_ties};
  if (tied_f) {
    f.squares = read_keys(keys, bits, M, order, ranks);
    products = 0;
    for (int64_t i = 0; i < M; i++) {
      sums[i] = (int64_t)ranks[i] * g.ranks[i];
      products += sums[i];
    }
    add_upper_sums(f, g.ranks, M, sums);
  }
  if (tied_g) {
    add_upper_sums(g, ranks, M, sums);
  } else {
    int64_t before = 0;
    for (int64_t p = 0; p < M; p++) {
      int64_t element = g.order[p], value = ranks[element];
      sums[element] -= 2 * before + value;
      before += value;
    }
  }
  double scale = sqrt(f.squares * g.squares), length = f.squares == 0 ? 1 : sqrt(f.squares);
  *rho = scale == 0 ? 0 : (double)products / scale;
  for (int64_t i = 0; i < M; i++) unit[i] = (float)(ranks[i] / length);
  if (scale == 0) {
    memset(influence, 0, (size_t)M * sizeof *influence);
    return f.squares;
  }
  for (int64_t i = 0; i < M; i++) influence[i] = (double)(M * sums[i] - 3 * products);
  for (int64_t i = 0; i < M; i++) influence[i] /= scale;
  if (tied_f || tied_g) {
    memset(variances, 0, (size_t)M * sizeof *variances);
    if (tied_f) add_variance_influence(f, M, variances);
    if (tied_g) add_variance_influence(g, M, variances);
    double half = *rho / 2;
    for (int64_t i = 0; i < M; i++) influence[i] -= half * variances[i];
  }
  for (int64_t i = 0; i < M; i++) {
    double whole = rounded(influence[i] * units);
    influence[i] = whole;
    influences[i] += whole;
  }
  return f.squares;
}

INLINE void score_lists(const int64_t *keys, int bits, ranking g, const double *margin_squares, int64_t t, int64_t M, double units,
                        double *rho, double *squares, float *unit, double *influence, double *influences, int64_t *scratch) {
  for (int64_t j = 0; j < t; j++) {
    ranking list = {g.order + j * M, g.ranks + j * M, margin_squares[j]};
    squares[j] =
        score_list(keys + j * M, bits, list, M, units, rho + j, unit + j * M, influence + j * M, influences, scratch);
  }
}

#if HAS_VARIANTS
__attribute__((target("avx2"))) static void score_lists_avx2(const int64_t *keys, int bits, ranking g,
                                                             const double *margin_squares, int64_t t, int64_t M, double units,
                                                             double *rho, double *squares, float *unit, double *influence,
                                                             double *influences, int64_t *scratch) {
  score_lists(keys, bits, g, margin_squares, t, M, units, rho, squares, unit, influence, influences, scratch);
}
#endif

/* Write a sorting key for each prediction: its difference from the least of its list, then its position in `bits` bits. Return 0,
   and write nothing useful, if 63 bits are too few.

   predictions   integers of magnitude below 2**53; element m of list j is predictions[j * stride + m * step]
   keys          (t, M) */
EXPORT int32_t ldsboard_keys(const double *predictions, int64_t stride, int64_t step, int64_t t, int64_t M, int32_t bits,
                             int64_t *keys) {
  for (int64_t j = 0; j < t; j++) {
    const double *list = predictions + j * stride;
    double least = list[0], largest = list[0];
    for (int64_t m = 0; m < M; m++) {
      double value = list[m * step];
      least = value < least ? value : least;
      largest = value > largest ? value : largest;
    }
    int64_t low = (int64_t)least;
    if (((int64_t)largest - low) >> (63 - bits)) return 0;
    for (int64_t m = 0; m < M; m++) keys[j * M + m] = ((int64_t)list[m * step] - low) << bits | m;
  }
  return 1;
}

/* Number of 8-byte units that `ldsboard_ranks` needs as scratch. */
EXPORT int64_t ldsboard_ranks_scratch(int64_t M) { return 3 * M; }

/* Score t lists of predictions against the margins of the same targets.

   keys              the sorted keys of each list, (t, M), with positions in `bits` bits
   margin_order, margin_ranks, margin_squares   as in `ranking`, (t, M), (t, M) and (t)
   units             influences are rounded to multiples of 1 / units
   rho, squares      results (t): Spearman's rho, and the sum of the squared ranks of the predictions
   unit              result (t, M): the ranks of the predictions, each list scaled to unit length
   influence         result (t, M): the influence of each subset on rho, in units, integers
   influences        (M): the influences of all t lists are added to it; sums below 2**53 are exact
   scratch           ldsboard_ranks_scratch(M) units of 8 bytes
   variant           as in ldsboard_sums; AVX-512 is not faster here than AVX2 */
EXPORT void ldsboard_ranks(const int64_t *keys, int32_t bits, const int32_t *margin_order, const int32_t *margin_ranks,
                           const double *margin_squares, int64_t t, int64_t M, double units, double *rho, double *squares,
                           float *unit, double *influence, double *influences, int64_t *scratch, int32_t variant) {
  ranking g = {margin_order, margin_ranks, 0};
#if HAS_VARIANTS
  if (variant >= AVX2) {
    score_lists_avx2(keys, bits, g, margin_squares, t, M, units, rho, squares, unit, influence, influences, scratch);
    return;
  }
#endif
  (void)variant;
  score_lists(keys, bits, g, margin_squares, t, M, units, rho, squares, unit, influence, influences, scratch);
}
