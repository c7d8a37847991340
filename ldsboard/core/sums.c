/* Sums of grid integers over subsets, by tables of sums (the "method of the four Russians").

   For 8 columns and 64 training examples at a time: the examples are cut into groups of 4 to 8 neighbours, and the sums over all
   subsets of each group are tabulated, with one addition for each sum. A sum over any subset of the 64 examples is then the sum of
   one table row for each group, chosen by the bits of the packed masks. All sums are integers below 2**53, so that the order of
   the additions changes no bit.

   Legend: M subsets, n training examples, b columns (targets of one block), W words of 64 bits, ceil(n / 64). */

#include "kernel.h"

#include <stdint.h>
#include <string.h>

enum { COLUMNS = 8, ROW_SHIFT = 6 }; /* a row of 8 columns has 2**6 bytes */

/* Number of tiles of 8 columns that are summed side by side, so that the grid is read in runs of 256 bytes. */
enum { TILES = 4 };

/* How 64 examples are cut into groups: first `groups` of `bits` examples, then `last_groups` of `last_bits`. Groups of 7 are faster
   than groups of 8, since their tables stay nearer to the processor. For few subsets, making tables costs more than reading them:
   groups of 5 have three times fewer sums. */
typedef struct {
  int groups, bits, last_groups, last_bits;
} cut;
#define CUT_MANY ((cut){8, 7, 1, 8})
#define CUT_FEW ((cut){12, 5, 1, 4})
enum { MANY = 256, TABLE_ROWS = 8 * 128 + 256 };

/* One row of a table or of the sums. Compilers turn loops over its 8 columns into the widest registers of the variant. */
typedef struct {
  double column[COLUMNS];
} row;

/* Tabulate the sums over all subsets of `bits` rows of `grid` from `first` on; rows and columns beyond the edge are zeros. */
INLINE void tabulate(const double *grid, int64_t n, int64_t b, int64_t first, int64_t column, int bits, row *table) {
  int64_t width = b - column < COLUMNS ? b - column : COLUMNS;
  memset(&table[0], 0, sizeof(row));
  for (int k = 0; k < bits; k++) {
    row added;
    memset(&added, 0, sizeof added);
    if (first + k < n) {
      const double *from = grid + (first + k) * b + column;
      if (width == COLUMNS)
        memcpy(&added, from, sizeof added);
      else
        memcpy(&added, from, (size_t)width * sizeof(double));
      PREFETCH((const void *)((uintptr_t)from + 64 * (size_t)b * sizeof(double))); /* for the next 64 examples */
    }
    row *with = table + ((size_t)1 << k);
    for (int j = 0; j < 1 << k; j++)
      for (int c = 0; c < COLUMNS; c++) with[j].column[c] = table[j].column[c] + added.column[c];
  }
}

/* Add to the sum of each of M subsets its rows of the tables of 64 examples. */
INLINE void add_chosen(const row *tables, const uint64_t *words, int64_t M, row *sums, const cut groups) {
  const int all = groups.groups + groups.last_groups;
  for (int64_t m = 0; m < M; m++) {
    row sum = sums[m];
    uint64_t word = words[m];
#if defined(__GNUC__)
#pragma GCC unroll 16
#endif
    for (int g = 0; g < all; g++) {
      /* All of this but `word` is known to the compiler. */
      int last = g - groups.groups, bits = last < 0 ? groups.bits : groups.last_bits;
      int shift = last < 0 ? g * groups.bits : groups.groups * groups.bits + last * groups.last_bits;
      int start = last < 0 ? g << groups.bits : (groups.groups << groups.bits) + (last << groups.last_bits);
      /* The bits of the group times the 64 bytes of a row, by one shift and one mask. */
      uint64_t group = (((uint64_t)1 << bits) - 1) << ROW_SHIFT;
      uint64_t offset = (shift < ROW_SHIFT ? word << (ROW_SHIFT - shift) : word >> (shift - ROW_SHIFT)) & group;
      const row *chosen = (const row *)((const char *)(tables + start) + offset);
      for (int c = 0; c < COLUMNS; c++) sum.column[c] += chosen->column[c];
    }
    sums[m] = sum;
  }
}

INLINE void sum_columns(const double *grid, int64_t n, int64_t b, const uint64_t *words, int64_t M, double *sums_bM,
                        row *scratch, const cut groups) {
  row *tables = scratch, *sums = scratch + TABLE_ROWS;
  for (int64_t start = 0; start < b; start += COLUMNS * TILES) {
    const int64_t end = start + COLUMNS * TILES < b ? start + COLUMNS * TILES : b;
    memset(sums, 0, (size_t)(TILES * M) * sizeof(row));
    for (int64_t first = 0; first < n; first += 64)
      for (int64_t column = start; column < end; column += COLUMNS) {
        row *table = tables;
        for (int g = 0, k = 0; g < groups.groups + groups.last_groups; g++) {
          int bits = g < groups.groups ? groups.bits : groups.last_bits;
          tabulate(grid, n, b, first + k, column, bits, table);
          table += (size_t)1 << bits;
          k += bits;
        }
        add_chosen(tables, words + first / 64 * M, M, sums + (column - start) / COLUMNS * M, groups);
      }
    for (int64_t c = 0; c < end - start; c++) {
      const double *from = (const double *)(sums + c / COLUMNS * M) + c % COLUMNS;
      for (int64_t m = 0; m < M; m++) sums_bM[(start + c) * M + m] = from[m * COLUMNS];
    }
  }
}

INLINE void sum_by_size(const double *grid, int64_t n, int64_t b, const uint64_t *words, int64_t M, double *sums_bM,
                        row *scratch) {
  if (M < MANY)
    sum_columns(grid, n, b, words, M, sums_bM, scratch, CUT_FEW);
  else
    sum_columns(grid, n, b, words, M, sums_bM, scratch, CUT_MANY);
}

#if HAS_VARIANTS
__attribute__((target("avx2"))) static void sum_columns_avx2(const double *grid, int64_t n, int64_t b, const uint64_t *words,
                                                             int64_t M, double *sums_bM, row *scratch) {
  sum_by_size(grid, n, b, words, M, sums_bM, scratch);
}

__attribute__((target(TARGET_AVX512))) static void sum_columns_avx512(const double *grid, int64_t n, int64_t b,
                                                                      const uint64_t *words, int64_t M, double *sums_bM,
                                                                      row *scratch) {
  sum_by_size(grid, n, b, words, M, sums_bM, scratch);
}
#endif

/* The 32 bits of SOURCE_HASH. */
EXPORT uint32_t ldsboard_source(void) { return (uint32_t)SOURCE_HASH; }

/* The last variant that this library and this processor have; they have those before it, too. */
EXPORT int32_t ldsboard_last_variant(void) {
#if HAS_VARIANTS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) return __builtin_cpu_supports("avx512f") ? AVX512 : AVX2;
#endif
  return PORTABLE;
}

/* Number of doubles that `ldsboard_sums` needs as scratch. */
EXPORT int64_t ldsboard_scratch(int64_t M) { return (int64_t)(sizeof(row) / sizeof(double)) * (TABLE_ROWS + TILES * M); }

/* Write the sums of each column of `grid` over each subset.

   grid      integers of magnitude below 2**53 / n, (n, b)
   words     packed masks, (W, M): bit k of word w of a subset is example 64 w + k; bits beyond n are 0
   sums_bM   the result, (b, M)
   scratch   ldsboard_scratch(M) doubles, aligned to 64 bytes; their content does not matter
   variant   at most ldsboard_last_variant() */
EXPORT void ldsboard_sums(const double *grid, int64_t n, int64_t b, const uint64_t *words, int64_t M, double *sums_bM,
                          double *scratch, int32_t variant) {
#if HAS_VARIANTS
  if (variant == AVX512) {
    sum_columns_avx512(grid, n, b, words, M, sums_bM, (row *)scratch);
    return;
  }
  if (variant == AVX2) {
    sum_columns_avx2(grid, n, b, words, M, sums_bM, (row *)scratch);
    return;
  }
#endif
  (void)variant;
  sum_by_size(grid, n, b, words, M, sums_bM, (row *)scratch);
}
