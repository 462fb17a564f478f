// f32 matrices rounded to bf16 and packed for products of 32 by 32 blocks of C, by AVX-512's conversions.
#ifndef ISO_KERN_BF16_PACK_H
#define ISO_KERN_BF16_PACK_H
#include <immintrin.h>
#include <string.h>

#include "base/status.h"
#include "kern/vec/transpose.h"

// A tile is 16 rows of 64 bytes: of A 16 rows of 32 values of k, of B 16 pairs of k by 16 columns (Intel's Optimization Reference Manual,
// "Intel AMX"; vdpbf16ps takes the same pairs).
// A panel is 32 rows of A (or columns of B) with all of k, a step 32 values of k: two tiles that stand next to each other.
enum { TILE = 16, PANEL = 32, STEP = 32, TILE_ELEMS = TILE * STEP, STEP_ELEMS = 2 * TILE_ELEMS };
typedef uint16_t bf16;

static inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to; }

typedef struct operand {
  const void *src;   // f32
  bool narrow;       // or bf16
  int64_t ld, n, k;  // n rows of A or columns of B
  bool along_k;      // k runs along the rows of src
  bool is_b;
  int64_t steps;
  bf16 *dst;  // [panels][steps][2 tiles][16][32]
} operand;

static inline __mmask16 first(int64_t n) { return (__mmask16)(n >= 16 ? 0xFFFF : n > 0 ? (1u << n) - 1 : 0); }

// A place in a matrix of floats or, when narrow, of bf16.
typedef struct spot {
  const void *p;
  bool narrow;
} spot;
static inline spot spot_at(const operand *o, int64_t i) {
  return (spot){(const char *)o->src + i * (o->narrow ? (int64_t)sizeof(bf16) : (int64_t)sizeof(float)), o->narrow};
}

// 32 values of k of one row or column.
static inline __m512i along_k(const float *p, int64_t left) {
  __m512 lo = _mm512_maskz_loadu_ps(first(left), p), hi = _mm512_maskz_loadu_ps(first(left - 16), p + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
}
static inline __m512i along_k_at(spot x, int64_t left) {
  if (!x.narrow) return along_k(x.p, left);
  return _mm512_maskz_loadu_epi16(left >= STEP ? 0xFFFFFFFF : (1u << left) - 1, x.p);
}

// Pairs of k, one from each of two rows of 16 neighbours in turn.
static inline __m512i woven(__m512i rows) {
  const __m512i weave =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(weave, rows);
}
// The same from two rows of src, `ld` apart; there are `rows`.
static inline __m512i pairs(const float *p, int64_t ld, int64_t rows, __mmask16 cols) {
  __m512 lo = _mm512_maskz_loadu_ps(rows > 0 ? cols : 0, p), hi = _mm512_maskz_loadu_ps(rows > 1 ? cols : 0, p + ld);
  return woven((__m512i)_mm512_cvtne2ps_pbh(hi, lo));
}
static inline __m512i pairs_at(spot x, int64_t ld, int64_t rows, __mmask16 cols) {
  if (!x.narrow) return pairs(x.p, ld, rows, cols);
  __m256i lo = _mm256_maskz_loadu_epi16(rows > 0 ? cols : 0, x.p), hi = _mm256_maskz_loadu_epi16(rows > 1 ? cols : 0, (const bf16 *)x.p + ld);
  return woven(_mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1));
}

static inline void put_tile(bf16 *dst, const __m512i *r) {
  for (int i = 0; i < TILE; i++) _mm512_store_si512((void *)(dst + i * STEP), r[i]);
}

// Step s of panel p: two tiles, of an operand that has to be turned.
static inline __attribute__((always_inline)) void turn_tiles(const operand *o, int64_t p, int64_t s, bf16 *dst) {
  int64_t left = o->k - s * STEP;
  for (int h = 0; h < 2; h++) {
    __m512i r[TILE];
    int64_t i0 = p * PANEL + h * TILE;
    if (o->along_k)
      for (int i = 0; i < TILE; i++) {
        int64_t at = (i0 + i) * o->ld + s * STEP;
        __builtin_prefetch(spot_at(o, at + PANEL * o->ld).p);  // a row may be a page of its own, which no hardware prefetcher crosses
        r[i] = i0 + i < o->n ? along_k_at(spot_at(o, at), left) : _mm512_setzero_si512();
      }
    else
      for (int i = 0; i < TILE; i++) {
        int64_t at = (s * STEP + 2 * i) * o->ld + i0;
        __builtin_prefetch(spot_at(o, at + STEP * o->ld).p);
        __builtin_prefetch(spot_at(o, at + (STEP + 1) * o->ld).p);
        r[i] = pairs_at(spot_at(o, at), o->ld, left - 2 * i, first(o->n - i0));
      }
    transpose(r);
    put_tile(dst + h * TILE_ELEMS, r);
  }
}

// Elements, and rows of any length, that are fetched ahead of their use: the packing of a matrix that lies far away is bound by how long one core
// waits for it otherwise.
enum { AHEAD = 1024, ROWS_AHEAD = 16 };

// Row i of A, whose values lie along k: its line of every step.
static inline void pack_row(const operand *o, int64_t i, int64_t s0, int64_t s1, bf16 *dst) {
  int64_t ahead = (AHEAD / (o->k + 1) + 1) * o->ld;
  for (int64_t s = s0; s < s1; s++, dst += STEP_ELEMS) {
    int64_t at = i * o->ld + s * STEP;
    __builtin_prefetch(spot_at(o, at + ahead).p);
    if (!o->narrow) __builtin_prefetch(spot_at(o, at + ahead + TILE).p);
    _mm512_store_si512((void *)dst, i < o->n ? along_k_at(spot_at(o, at), o->k - s * STEP) : _mm512_setzero_si512());
  }
}

// Rows k and k + 1 of B, whose columns lie along them: their line of every panel's step.
static inline void pack_pair(const operand *o, int64_t k, int64_t p0, int64_t p1, int64_t stride, bf16 *dst) {
  for (int64_t p = p0; p < p1; p++, dst += stride)
    for (int h = 0; h < 2; h++) {
      int64_t i0 = p * PANEL + h * TILE, at = k * o->ld + i0;
      __builtin_prefetch(spot_at(o, at + ROWS_AHEAD * o->ld).p);
      __builtin_prefetch(spot_at(o, at + (ROWS_AHEAD + 1) * o->ld).p);
      _mm512_store_si512((void *)(dst + h * TILE_ELEMS), pairs_at(spot_at(o, at), o->ld, o->k - k, first(o->n - i0)));
    }
}

// Panels [p0, p1) and steps [s0, s1) to dst[panels][stride elements], in the order of memory.
static inline void pack_into(const operand *o, int64_t p0, int64_t p1, int64_t s0, int64_t s1, int64_t stride, bf16 *dst) {
  if (o->along_k && !o->is_b)
    for (int64_t i = 0; i < (p1 - p0) * PANEL; i++)
      pack_row(o, p0 * PANEL + i, s0, s1, dst + i / PANEL * stride + i % PANEL / TILE * TILE_ELEMS + i % TILE * STEP);
  else if (o->along_k)
    for (int64_t p = p0; p < p1; p++)
      for (int64_t s = s0; s < s1; s++) turn_tiles(o, p, s, dst + (p - p0) * stride + (s - s0) * STEP_ELEMS);
  else if (o->is_b)
    for (int64_t q = s0 * TILE; q < s1 * TILE; q++) pack_pair(o, 2 * q, p0, p1, stride, dst + (q / TILE - s0) * STEP_ELEMS + q % TILE * STEP);
  else
    for (int64_t s = s0; s < s1; s++)
      for (int64_t p = p0; p < p1; p++) turn_tiles(o, p, s, dst + (p - p0) * stride + (s - s0) * STEP_ELEMS);
}
static inline void pack_part(const operand *o, int64_t p0, int64_t p1, int64_t s0, int64_t s1, bf16 *dst) {
  pack_into(o, p0, p1, s0, s1, (s1 - s0) * STEP_ELEMS, dst);
}

static inline bf16 *panel_at(const operand *o, int64_t panel, int64_t step) { return o->dst + (panel * o->steps + step) * STEP_ELEMS; }
static inline int64_t operand_elems(const operand *o) { return up(o->n, PANEL) * o->steps * STEP_ELEMS; }

// Tasks that pack all of an operand: a panel of one whose rows run along k, a step of all panels of another.
static inline void pack_panel(void *arg, int64_t p, int worker) {
  (void)worker;
  const operand *o = arg;
  pack_part(o, p, p + 1, 0, o->steps, panel_at(o, p, 0));
}
static inline void pack_step(void *arg, int64_t s, int worker) {
  (void)worker;
  const operand *o = arg;
  pack_into(o, 0, up(o->n, PANEL), s, s + 1, o->steps * STEP_ELEMS, panel_at(o, 0, s));
}
#endif
