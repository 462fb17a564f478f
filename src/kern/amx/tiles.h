// Packing of f32 matrices for the tile registers, and the product of two panels; after Intel's Optimization Reference Manual, "Intel AMX".
#ifndef ISO_KERN_AMX_TILES_H
#define ISO_KERN_AMX_TILES_H
#include <immintrin.h>
#include <string.h>

#include "base/status.h"
#include "kern/vec/transpose.h"

// A tile register holds 16 rows of 64 bytes: of A 16 rows of 32 values of k, of B 16 pairs of k by 16 columns, of C 16 x 16 floats.
// A panel is 32 rows of A (or columns of B) with all of k, a step 32 values of k: two tiles that stand next to each other.
enum { TILE = 16, PANEL = 32, STEP = 32, TILE_ELEMS = TILE * STEP, STEP_ELEMS = 2 * TILE_ELEMS };
typedef uint16_t bf16;

static inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to; }

// ---- packing --------------------------------------------------------------------------------------------------------

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

// The panel t of an operand whose rows run along k.
static inline void pack_panel(void *arg, int64_t t, int worker) {
  (void)worker;
  const operand *o = arg;
  bf16 *dst = o->dst + t * o->steps * STEP_ELEMS;
  for (int64_t s = 0; s < o->steps; s++)
    for (int h = 0; h < 2; h++, dst += TILE_ELEMS) {
      __m512i r[TILE];
      int64_t i0 = t * PANEL + h * TILE;
      for (int i = 0; i < TILE; i++) r[i] = i0 + i < o->n ? along_k(o->src + (i0 + i) * o->ld + s * STEP, o->k - s * STEP) : _mm512_setzero_si512();
      if (o->is_b) transpose(r);
      put_tile(dst, r);
    }
}

// The step s of all panels of an operand whose rows run along n.
static inline void pack_step(void *arg, int64_t s, int worker) {
  (void)worker;
  const operand *o = arg;
  int64_t panels = up(o->n, PANEL), left = o->k - s * STEP;
  for (int64_t p = 0; p < panels; p++)
    for (int h = 0; h < 2; h++) {
      __m512i r[TILE];
      int64_t j = p * PANEL + h * TILE;
      __mmask16 cols = first(o->n - j);
      const float *src = o->src + s * STEP * o->ld + j;
      for (int i = 0; i < TILE; i++) r[i] = pairs(src + 2 * i * o->ld, o->ld, left - 2 * i, cols);
      if (!o->is_b) transpose(r);
      put_tile(o->dst + (p * o->steps + s) * STEP_ELEMS + h * TILE_ELEMS, r);
    }
}

static inline bf16 *panel_at(const operand *o, int64_t panel, int64_t step) { return o->dst + (panel * o->steps + step) * STEP_ELEMS; }
static inline int64_t operand_elems(const operand *o) { return up(o->n, PANEL) * o->steps * STEP_ELEMS; }

// ---- products -------------------------------------------------------------------------------------------------------

typedef struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_config;

static inline void configure_tiles(void) {
  tile_config t = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    t.row_bytes[i] = 64;
    t.rows[i] = TILE;
  }
  _tile_loadconfig(&t);
}

// What happens to a block of C: replaced, added to, or replaced past the caches (in which case ld is a multiple of 16 floats and c aligned
// to 64 bytes).
typedef enum block_mode { BLOCK_SET, BLOCK_ADD, BLOCK_STREAM } block_mode;

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
#endif
