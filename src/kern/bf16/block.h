// The product of two packed panels: a block of C, on Intel's tile unit (AMX) or with AVX-512's dot products of bf16 pairs.
#ifndef ISO_KERN_BF16_BLOCK_H
#define ISO_KERN_BF16_BLOCK_H
#include "kern/bf16/pack.h"

// What happens to a block of C: replaced, added to, or replaced past the caches (in which case ld is a multiple of 16 floats and c aligned
// to 64 bytes).
typedef enum block_mode { BLOCK_SET, BLOCK_ADD, BLOCK_STREAM } block_mode;

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

static inline void load_block(const float *c, int64_t ld) {
  size_t row = (size_t)ld * sizeof *c;
  _tile_loadd(0, c, row);
  _tile_loadd(1, c + TILE, row);
  _tile_loadd(2, c + TILE * ld, row);
  _tile_loadd(3, c + TILE * ld + TILE, row);
}

static inline void store_block(float *c, int64_t ld) {
  size_t row = (size_t)ld * sizeof *c;
  _tile_stored(0, c, row);
  _tile_stored(1, c + TILE, row);
  _tile_stored(2, c + TILE * ld, row);
  _tile_stored(3, c + TILE * ld + TILE, row);
}

// C[32,32] (+)= A panel B panel over `steps` steps; ld in floats.
static inline void block(const bf16 *a, const bf16 *b, int64_t steps, float *c, int64_t ld, block_mode mode) {
  if (mode != BLOCK_STREAM)  // the lines of C arrive while the product runs
    for (int i = 0; i < PANEL; i++) {
      __builtin_prefetch(c + i * ld, 1);
      __builtin_prefetch(c + i * ld + TILE, 1);
    }
  if (mode == BLOCK_ADD) {
    load_block(c, ld);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (; steps > 0; steps--, a += STEP_ELEMS, b += STEP_ELEMS) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + TILE_ELEMS, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + TILE_ELEMS, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  if (mode != BLOCK_STREAM) {
    store_block(c, ld);
    return;
  }
  _Alignas(64) float whole[PANEL * PANEL];
  store_block(whole, PANEL);
  for (int i = 0; i < PANEL; i++) {
    _mm512_stream_ps(c + i * ld, _mm512_load_ps(whole + i * PANEL));
    _mm512_stream_ps(c + i * ld + TILE, _mm512_load_ps(whole + i * PANEL + TILE));
  }
}
#else
// Rows of C whose sums stay in registers: 16 sums hide the latency of a dot product, and a broadcast of A serves two.
enum { DOT_ROWS = 8 };

static inline void begin_blocks(void) {}
static inline void end_blocks(void) { _mm_sfence(); }

// DOT_ROWS rows of a block.
static inline __attribute__((always_inline)) void block_rows(const bf16 *a, const bf16 *b, int64_t steps, float *c, int64_t ld, block_mode mode) {
  __m512 s[DOT_ROWS][2];
#pragma GCC unroll 8
  for (int i = 0; i < DOT_ROWS; i++) {
    if (mode != BLOCK_STREAM) {  // the lines of C arrive while the product runs
      __builtin_prefetch(c + i * ld, 1);
      __builtin_prefetch(c + i * ld + TILE, 1);
    }
    s[i][0] = s[i][1] = _mm512_setzero_ps();
  }
  for (; steps > 0; steps--, a += STEP_ELEMS, b += STEP_ELEMS)
    for (int q = 0; q < TILE; q++) {
      __m512bh b0 = (__m512bh)_mm512_load_si512((const void *)(b + q * STEP)),
               b1 = (__m512bh)_mm512_load_si512((const void *)(b + TILE_ELEMS + q * STEP));
#pragma GCC unroll 8
      for (int i = 0; i < DOT_ROWS; i++) {
        int32_t pair;
        memcpy(&pair, a + i * STEP + 2 * q, sizeof pair);
        __m512bh av = (__m512bh)_mm512_set1_epi32(pair);
        s[i][0] = _mm512_dpbf16_ps(s[i][0], av, b0);
        s[i][1] = _mm512_dpbf16_ps(s[i][1], av, b1);
      }
    }
#pragma GCC unroll 8
  for (int i = 0; i < DOT_ROWS; i++) {
    float *at = c + i * ld;
    if (mode == BLOCK_STREAM) {
      _mm512_stream_ps(at, s[i][0]);
      _mm512_stream_ps(at + TILE, s[i][1]);
      continue;
    }
    _mm512_storeu_ps(at, mode == BLOCK_ADD ? _mm512_add_ps(_mm512_loadu_ps(at), s[i][0]) : s[i][0]);
    _mm512_storeu_ps(at + TILE, mode == BLOCK_ADD ? _mm512_add_ps(_mm512_loadu_ps(at + TILE), s[i][1]) : s[i][1]);
  }
}

// C[32,32] (+)= A panel B panel over `steps` steps; ld in floats.
static inline void block(const bf16 *a, const bf16 *b, int64_t steps, float *c, int64_t ld, block_mode mode) {
  for (int64_t i = 0; i < PANEL; i += DOT_ROWS) block_rows(a + i * STEP, b, steps, c + i * ld, ld, mode);
}
#endif
#endif
