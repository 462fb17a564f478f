// The product of two packed panels: a block of C, on Intel's tile unit (AMX) or with AVX-512's dot products of bf16 pairs.
#ifndef ISO_KERN_BF16_BLOCK_H
#define ISO_KERN_BF16_BLOCK_H
#include "kern/bf16/pack.h"

#if defined(__AMX_BF16__) || defined(__AMXBF16__)  // GCC's name and clang's
typedef struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_config;

static inline void begin_blocks(void) {
  tile_config t = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    t.row_bytes[i] = 64;
    t.rows[i] = TILE;
  }
  _tile_loadconfig(&t);
}

static inline void end_blocks(void) {
  _tile_release();
  _mm_sfence();
}

// Steps of a panel of B that stay in the first-level cache while the panels of A pass by it (32 KiB); steps of a long k that a task packs at a time.
enum { CHUNK_STEPS = 16, RUN_STEPS = 16 };

// C[32,32] = or += 32 rows of A by a packed panel of B over `steps` steps: rows of A `row` elements apart, its steps `step` elements, rows of C `ld`
// floats. A's lines are asked for past the first-level cache, which is B's.
static inline __attribute__((always_inline)) void block_at(const bf16 *a, int64_t row, int64_t step, const bf16 *b, int64_t steps, float *c,
                                                           int64_t ld, bool add) {
  size_t a_row = (size_t)row * sizeof *a, c_row = (size_t)ld * sizeof *c;
  if (add) {
    _tile_loadd(0, c, c_row);
    _tile_loadd(1, c + TILE, c_row);
    _tile_loadd(2, c + TILE * ld, c_row);
    _tile_loadd(3, c + TILE * ld + TILE, c_row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (; steps > 0; steps--, a += step, b += STEP_ELEMS) {
    _tile_stream_loadd(4, a, a_row);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + TILE_ELEMS, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_stream_loadd(5, a + TILE * row, a_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_row);
  _tile_stored(1, c + TILE, c_row);
  _tile_stored(2, c + TILE * ld, c_row);
  _tile_stored(3, c + TILE * ld + TILE, c_row);
}
#else
// Rows of C whose sums stay in registers: 16 sums hide the latency of a dot product, and a broadcast of A serves two.
enum { DOT_ROWS = 8, CHUNK_STEPS = 1 << 20, RUN_STEPS = 32 };

static inline void begin_blocks(void) {}
static inline void end_blocks(void) { _mm_sfence(); }

// DOT_ROWS rows of a block.
static inline __attribute__((always_inline)) void block_rows(const bf16 *a, int64_t row, int64_t step, const bf16 *b, int64_t steps, float *c,
                                                             int64_t ld, bool add) {
  __m512 s[DOT_ROWS][2];
#pragma GCC unroll 8
  for (int i = 0; i < DOT_ROWS; i++) s[i][0] = s[i][1] = _mm512_setzero_ps();
  for (; steps > 0; steps--, a += step, b += STEP_ELEMS)
    for (int q = 0; q < TILE; q++) {
      __m512bh b0 = (__m512bh)_mm512_load_si512((const void *)(b + q * STEP)),
               b1 = (__m512bh)_mm512_load_si512((const void *)(b + TILE_ELEMS + q * STEP));
#pragma GCC unroll 8
      for (int i = 0; i < DOT_ROWS; i++) {
        int32_t pair;
        memcpy(&pair, a + i * row + 2 * q, sizeof pair);
        __m512bh av = (__m512bh)_mm512_set1_epi32(pair);
        s[i][0] = _mm512_dpbf16_ps(s[i][0], av, b0);
        s[i][1] = _mm512_dpbf16_ps(s[i][1], av, b1);
      }
    }
#pragma GCC unroll 8
  for (int i = 0; i < DOT_ROWS; i++) {
    float *at = c + i * ld;
    _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), s[i][0]) : s[i][0]);
    _mm512_storeu_ps(at + TILE, add ? _mm512_add_ps(_mm512_loadu_ps(at + TILE), s[i][1]) : s[i][1]);
  }
}

// As with tiles; here nothing has to stay in the first-level cache, sums do in registers.
static inline __attribute__((always_inline)) void block_at(const bf16 *a, int64_t row, int64_t step, const bf16 *b, int64_t steps, float *c,
                                                           int64_t ld, bool add) {
  for (int64_t i = 0; i < PANEL; i += DOT_ROWS) block_rows(a + i * row, row, step, b, steps, c + i * ld, ld, add);
}
#endif

// The same with A packed too.
static inline void block(const bf16 *a, const bf16 *b, int64_t steps, float *c, int64_t ld, bool add) {
  block_at(a, STEP, STEP_ELEMS, b, steps, c, ld, add);
}
#endif
