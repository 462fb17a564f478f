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
  const float *src;
  int64_t ld, n, k;  // n rows of A or columns of B
  bool along_k;      // k runs along the rows of src
  bool is_b;
  int64_t steps;
  bf16 *dst;  // [panels][steps][2 tiles][16][32]
} operand;

static inline __mmask16 first(int64_t n) { return (__mmask16)(n >= 16 ? 0xFFFF : n > 0 ? (1u << n) - 1 : 0); }

// 32 values of k of one row or column.
static inline __m512i along_k(const float *p, int64_t left) {
  __m512 lo = _mm512_maskz_loadu_ps(first(left), p), hi = _mm512_maskz_loadu_ps(first(left - 16), p + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
}

// Pairs of k, one from each of two rows of src, for 16 neighbours.
static inline __m512i pairs(const float *p, int64_t ld, int64_t rows, __mmask16 cols) {
  const __m512i weave =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512 lo = _mm512_maskz_loadu_ps(rows > 0 ? cols : 0, p), hi = _mm512_maskz_loadu_ps(rows > 1 ? cols : 0, p + ld);
  return _mm512_permutexvar_epi16(weave, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
}

static inline void put_tile(bf16 *dst, const __m512i *r) {
  for (int i = 0; i < TILE; i++) _mm512_store_si512((void *)(dst + i * STEP), r[i]);
}

// Step s of panel p: two tiles.
static inline __attribute__((always_inline)) void pack_tiles(const operand *o, int64_t p, int64_t s, bf16 *dst) {
  int64_t left = o->k - s * STEP;
  for (int h = 0; h < 2; h++) {
    __m512i r[TILE];
    int64_t i0 = p * PANEL + h * TILE;
    if (o->along_k) {
      const float *src = o->src + i0 * o->ld + s * STEP;
      for (int i = 0; i < TILE; i++) r[i] = i0 + i < o->n ? along_k(src + i * o->ld, left) : _mm512_setzero_si512();
    } else {
      const float *src = o->src + s * STEP * o->ld + i0;
      for (int i = 0; i < TILE; i++) {
        __builtin_prefetch(src + (STEP + 2 * i) * o->ld);  // a row may be a page of its own, which no hardware prefetcher crosses
        __builtin_prefetch(src + (STEP + 2 * i + 1) * o->ld);
        r[i] = pairs(src + 2 * i * o->ld, o->ld, left - 2 * i, first(o->n - i0));
      }
    }
    if (o->along_k == o->is_b) transpose(r);
    put_tile(dst + h * TILE_ELEMS, r);
  }
}

// Panels [p0, p1) and steps [s0, s1) to dst[panels][steps][2 tiles], in the order of memory.
static inline void pack_part(const operand *o, int64_t p0, int64_t p1, int64_t s0, int64_t s1, bf16 *dst) {
  int64_t steps = s1 - s0;
  if (o->along_k)
    for (int64_t p = p0; p < p1; p++)
      for (int64_t s = s0; s < s1; s++) pack_tiles(o, p, s, dst + ((p - p0) * steps + s - s0) * STEP_ELEMS);
  else
    for (int64_t s = s0; s < s1; s++)
      for (int64_t p = p0; p < p1; p++) pack_tiles(o, p, s, dst + ((p - p0) * steps + s - s0) * STEP_ELEMS);
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
  for (int64_t p = 0; p < up(o->n, PANEL); p++) pack_tiles(o, p, s, panel_at(o, p, s));
}
#endif
