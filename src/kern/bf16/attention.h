// Causal grouped-query attention by blocks: every product rounds its operands to bf16; softmax and all sums stay f32.
#ifndef ISO_KERN_BF16_ATTENTION_H
#define ISO_KERN_BF16_ATTENTION_H
#include <math.h>

#include "kern/bf16/block.h"
#include "kern/kern.h"
#include "kern/vec/vec.h"

enum { BATT_ROWS = 64 };  // queries at a time

typedef struct batt_shape {
  int64_t b, t, h, kv, hd;
  int64_t row, keys, width;  // length of a qkv row; t and hd up to whole panels
  int64_t ld;                // of a row of scores: an odd number of lines, so that no two of a tile share a set of the cache
  float scale;
} batt_shape;

static inline batt_shape batt_shape_of(const int64_t *d, double scale) {
  batt_shape s = {.b = d[0], .t = d[1], .h = d[2], .kv = d[3], .hd = d[4], .scale = (float)scale};
  s.row = (s.h + 2 * s.kv) * s.hd;
  s.keys = up(s.t, PANEL) * PANEL;
  s.width = up(s.hd, PANEL) * PANEL;
  s.ld = s.keys + TILE;
  return s;
}

typedef struct batt_job {
  const iso_kcall *c;
  batt_shape s;
  size_t per_worker;
} batt_job;

// A part of a worker's scratch; all parts are multiples of 64 bytes.
static inline void *batt_take(unsigned char **at, int64_t n, size_t elem) {
  void *p = *at;
  *at += ((size_t)n * elem + 63) / 64 * 64;
  return p;
}

static inline spot operand_at(const iso_kcall *c, int i, int64_t at) {
  return narrow(c, i) ? (spot){(const bf16 *)c->p[i] + at, true} : (spot){(const float *)c->p[i] + at, false};
}

// Operand i from element `at` on: f x[n], x and what follows it readable in whole vectors.
static inline void scaled_row(const iso_kcall *c, int i, int64_t at, const float *x, int64_t n, float f) {
  for (int64_t j = 0; j < n; j += VL) vstore_n(c->p[i], at + j, vload(x + j) * f, n - j, narrow(c, i));
}

// n rows of a matrix as the left or right operand of a product over their columns (along) or over the rows themselves; packed on the calling thread.
static inline operand batt_packed(bf16 *dst, spot src, int64_t ld, int64_t n, int64_t cols, bool along, bool is_b) {
  operand o = {src.p, src.narrow, ld, along ? n : cols, along ? cols : n, along, is_b, up(along ? cols : n, STEP), dst};
  pack_part(&o, 0, up(o.n, PANEL), 0, o.steps, dst);
  return o;
}

// c[panels of a][panels of b] = or += a b over the first `steps` steps; ld in floats.
static inline void multiply_panels(const operand *a, int64_t a_panels, const operand *b, int64_t b_panels, int64_t steps, float *c, int64_t ld,
                                   bool add) {
  for (int64_t j = 0; j < b_panels; j++)
    for (int64_t i = 0; i < a_panels; i++) block(panel_at(a, i, 0), panel_at(b, j, 0), steps, c + i * PANEL * ld + j * PANEL, ld, add);
}

// Where row i of a left operand keeps its step s.
static inline bf16 *batt_row_at(const operand *o, int64_t i, int64_t s) {
  return panel_at(o, i / PANEL, s) + i % PANEL / TILE * TILE_ELEMS + i % TILE * STEP;
}

static inline void store_pair(bf16 *dst, vf lo, vf hi) { _mm512_store_si512((void *)dst, (__m512i)_mm512_cvtne2ps_pbh((__m512)hi, (__m512)lo)); }

// x where the position is below `valid`, else `other`; 16 positions from j on.
static inline vf batt_masked(vf x, int64_t valid, int64_t j, float other) {
  return (vf)_mm512_mask_blend_ps(first(valid - j), (__m512)vset(other), (__m512)x);
}

// ---- forward --------------------------------------------------------------------------------------------------------

// One row of scores becomes unnormalised probabilities in the left operand p, zero from `valid` to `n` (a multiple of 32); returns the
// maximum of the scaled scores, *sum their sum.
static inline float batt_softmax_row(const float *x, int64_t valid, int64_t n, float scale, operand *p, int64_t i, float *sum) {
  vf mv = vset(-INFINITY), total = vset(0), k = vset(scale);
  for (int64_t j = 0; j < valid; j += VL) mv = vmax(mv, batt_masked(vload(x + j), valid, j, -INFINITY));
  float m = vhmax(mv) * scale;
  vf shift = vset(m);
  for (int64_t j = 0; j < n; j += STEP) {
    vf e[2];
    for (int q = 0; q < 2; q++) {
      int64_t at = j + q * VL;
      e[q] = at < valid ? batt_masked(vexp(vload(x + at) * k - shift), valid, at, 0) : vset(0);
      total += e[q];
    }
    store_pair(batt_row_at(p, i, j / STEP), e[0], e[1]);
  }
  *sum = vsum(total);
  return m;
}

static inline size_t batt_forward_bytes(const batt_shape *s) {
  return (size_t)(2 * s->keys * s->width + BATT_ROWS * s->width + BATT_ROWS * s->keys) * sizeof(bf16) +
         (size_t)(BATT_ROWS * s->ld + BATT_ROWS * s->width) * sizeof(float) + (size_t)6 * 64;
}

static inline void batt_forward_task(void *arg, int64_t task, int worker) {
  const batt_job *a = arg;
  const batt_shape *s = &a->s;
  const iso_kcall *c = a->c;
  int64_t b = task / s->kv, kh = task % s->kv, group = s->h / s->kv;
  int64_t base = b * s->t * s->row, k = base + (s->h + kh) * s->hd, v = k + s->kv * s->hd;
  unsigned char *at = c->scratch + (size_t)worker * a->per_worker;
  operand kb = batt_packed(batt_take(&at, s->keys * s->width, sizeof(bf16)), operand_at(c, 0, k), s->row, s->t, s->hd, true, true);
  operand vb = batt_packed(batt_take(&at, s->keys * s->width, sizeof(bf16)), operand_at(c, 0, v), s->row, s->t, s->hd, false, true);
  bf16 *q_room = batt_take(&at, BATT_ROWS * s->width, sizeof(bf16));
  operand p = {NULL, false, 0, BATT_ROWS, s->keys, true, false, s->keys / STEP, batt_take(&at, BATT_ROWS * s->keys, sizeof(bf16))};
  float *scores = batt_take(&at, BATT_ROWS * s->ld, sizeof(float)), *out = batt_take(&at, BATT_ROWS * s->width, sizeof(float));
  memset(p.dst, 0, (size_t)(BATT_ROWS * s->keys) * sizeof(bf16));
  begin_blocks();
  for (int64_t h = kh * group; h < (kh + 1) * group; h++)
    for (int64_t q0 = 0; q0 < s->t; q0 += BATT_ROWS) {
      int64_t rows = s->t - q0 < BATT_ROWS ? s->t - q0 : BATT_ROWS, panels = up(rows, PANEL), key_panels = up(q0 + rows, PANEL);
      operand q = batt_packed(q_room, operand_at(c, 0, base + q0 * s->row + h * s->hd), s->row, rows, s->hd, true, false);
      float mx[BATT_ROWS], sum[BATT_ROWS];
      multiply_panels(&q, panels, &kb, key_panels, q.steps, scores, s->ld, false);
      for (int64_t i = 0; i < rows; i++) mx[i] = batt_softmax_row(scores + i * s->ld, q0 + i + 1, key_panels * PANEL, s->scale, &p, i, &sum[i]);
      multiply_panels(&p, panels, &vb, s->width / PANEL, key_panels, out, s->width, false);
      for (int64_t i = 0; i < rows; i++) {
        scaled_row(c, 1, ((b * s->t + q0 + i) * s->h + h) * s->hd, out + i * s->width, s->hd, 1.0f / sum[i]);
        ((float *)c->p[2])[(b * s->h + h) * s->t + q0 + i] = mx[i] + logf(sum[i]);
      }
    }
  end_blocks();
}

// o = softmax(scale q k' + causal mask) v, whole rows of scores at a time.
// shapes: qkv [B T, (H+2K) Hd]; o [B T, H Hd]; lse [B,H,T]
// numerics: q, k, v and the unnormalised probabilities are rounded to bf16 before they are multiplied; softmax and sums in f32
// cost: 2 B H Hd T (T+1) mat flop (causal half); executes up to 96 T keys more
static inline void attention_blocks(const iso_kcall *c) {
  batt_job a = {c, batt_shape_of(c->d, c->a[0]), 0};
  a.per_worker = batt_forward_bytes(&a.s);
  iso_pool_run(c->pool, a.s.b * a.s.kv, batt_forward_task, &a);
}

// ---- backward -------------------------------------------------------------------------------------------------------

static inline size_t batt_backward_bytes(const batt_shape *s) {
  return (size_t)(3 * s->keys * s->width + 4 * BATT_ROWS * s->width + 3 * BATT_ROWS * s->keys) * sizeof(bf16) +
         (size_t)(2 * BATT_ROWS * s->ld + 2 * s->keys * s->width + BATT_ROWS * s->width) * sizeof(float) + (size_t)15 * 64;
}

// What one worker keeps; see batt_backward_bytes.
typedef struct batt_room {
  bf16 *q, *od, *q_rows, *od_rows, *ds, *p_turned, *ds_turned;
  float *p, *dp, *dk, *dv, *dq;
  operand k, v, k_rows;
} batt_room;

// Scores become probabilities p = exp(scale x - lse), dp becomes ds = p (dp - delta); both are zero from `valid` to `n`. ds is also written
// as row i of a left operand.
static inline void batt_gradient_row(float *x, float *dp, int64_t valid, int64_t n, float scale, float lse, float delta, operand *ds, int64_t i) {
  vf k = vset(scale), l = vset(lse), dl = vset(delta);
  for (int64_t j = 0; j < n; j += STEP) {
    vf d[2];
    for (int q = 0; q < 2; q++) {
      int64_t at = j + q * VL;
      vf e = at < valid ? batt_masked(vexp(vload(x + at) * k - l), valid, at, 0) : vset(0);
      d[q] = at < valid ? batt_masked(e * (vload(dp + at) - dl), valid, at, 0) : vset(0);
      vstore(x + at, e);
      vstore(dp + at, d[q]);
    }
    store_pair(batt_row_at(ds, i, j / STEP), d[0], d[1]);
  }
}

static inline void batt_backward_rows(const batt_job *a, const batt_room *w, int64_t b, int64_t h, int64_t q0) {
  const batt_shape *s = &a->s;
  const iso_kcall *c = a->c;
  int64_t rows = s->t - q0 < BATT_ROWS ? s->t - q0 : BATT_ROWS, panels = up(rows, PANEL), key_panels = up(q0 + rows, PANEL), n = key_panels * PANEL;
  int64_t ow = s->h * s->hd, width_panels = s->width / PANEL;
  int64_t qs = (b * s->t + q0) * s->row + h * s->hd, o = (b * s->t + q0) * ow + h * s->hd;
  spot at_q = operand_at(c, 0, qs), at_od = operand_at(c, 3, o);
  operand q = batt_packed(w->q, at_q, s->row, rows, s->hd, true, false), q_rows = batt_packed(w->q_rows, at_q, s->row, rows, s->hd, false, true);
  operand d = batt_packed(w->od, at_od, ow, rows, s->hd, true, false), d_rows = batt_packed(w->od_rows, at_od, ow, rows, s->hd, false, true);
  operand ds = {NULL, false, 0, BATT_ROWS, s->keys, true, false, s->keys / STEP, w->ds};
  multiply_panels(&q, panels, &w->k, key_panels, q.steps, w->p, s->ld, false);
  multiply_panels(&d, panels, &w->v, key_panels, d.steps, w->dp, s->ld, false);
  for (int64_t i = 0; i < rows; i++) {
    vf delta = vset(0);
    for (int64_t j = 0; j < s->hd; j += VL)
      delta = vfma(vload_n(c->p[1], o + i * ow + j, s->hd - j, narrow(c, 1)), vload_n(c->p[3], o + i * ow + j, s->hd - j, narrow(c, 3)), delta);
    batt_gradient_row(w->p + i * s->ld, w->dp + i * s->ld, q0 + i + 1, n, s->scale, ((const float *)c->p[2])[(b * s->h + h) * s->t + q0 + i],
                      vsum(delta), &ds, i);
  }
  multiply_panels(&ds, panels, &w->k_rows, width_panels, key_panels, w->dq, s->width, false);
  operand ds_turned = batt_packed(w->ds_turned, (spot){w->dp, false}, s->ld, rows, n, false, false),
          p_turned = batt_packed(w->p_turned, (spot){w->p, false}, s->ld, rows, n, false, false);
  multiply_panels(&ds_turned, key_panels, &q_rows, width_panels, q_rows.steps, w->dk, s->width, true);
  multiply_panels(&p_turned, key_panels, &d_rows, width_panels, d_rows.steps, w->dv, s->width, true);
  for (int64_t i = 0; i < rows; i++) scaled_row(c, 4, qs + i * s->row, w->dq + i * s->width, s->hd, s->scale);
}

static inline void batt_backward_task(void *arg, int64_t task, int worker) {
  const batt_job *a = arg;
  const batt_shape *s = &a->s;
  const iso_kcall *c = a->c;
  int64_t b = task / s->kv, kh = task % s->kv, group = s->h / s->kv, wide = s->keys * s->width, tall = BATT_ROWS * s->keys,
          small = BATT_ROWS * s->width;
  int64_t k = b * s->t * s->row + (s->h + kh) * s->hd, v = k + s->kv * s->hd;
  unsigned char *at = c->scratch + (size_t)worker * a->per_worker;
  batt_room w;
  w.k = batt_packed(batt_take(&at, wide, sizeof(bf16)), operand_at(c, 0, k), s->row, s->t, s->hd, true, true);
  w.v = batt_packed(batt_take(&at, wide, sizeof(bf16)), operand_at(c, 0, v), s->row, s->t, s->hd, true, true);
  w.k_rows = batt_packed(batt_take(&at, wide, sizeof(bf16)), operand_at(c, 0, k), s->row, s->t, s->hd, false, true);
  w.q = batt_take(&at, small, sizeof(bf16));
  w.od = batt_take(&at, small, sizeof(bf16));
  w.q_rows = batt_take(&at, small, sizeof(bf16));
  w.od_rows = batt_take(&at, small, sizeof(bf16));
  w.ds = batt_take(&at, tall, sizeof(bf16));
  w.p_turned = batt_take(&at, tall, sizeof(bf16));
  w.ds_turned = batt_take(&at, tall, sizeof(bf16));
  w.p = batt_take(&at, BATT_ROWS * s->ld, sizeof(float));
  w.dp = batt_take(&at, BATT_ROWS * s->ld, sizeof(float));
  w.dk = batt_take(&at, wide, sizeof(float));
  w.dv = batt_take(&at, wide, sizeof(float));
  w.dq = batt_take(&at, small, sizeof(float));
  memset(w.ds, 0, (size_t)tall * sizeof(bf16));
  memset(w.dk, 0, (size_t)wide * sizeof(float));
  memset(w.dv, 0, (size_t)wide * sizeof(float));
  begin_blocks();
  for (int64_t h = kh * group; h < (kh + 1) * group; h++)
    for (int64_t q0 = 0; q0 < s->t; q0 += BATT_ROWS) batt_backward_rows(a, &w, b, h, q0);
  end_blocks();
  for (int64_t i = 0; i < s->t; i++) {
    scaled_row(c, 4, k + i * s->row, w.dk + i * s->width, s->hd, s->scale);
    scaled_row(c, 4, v + i * s->row, w.dv + i * s->width, s->hd, 1);
  }
}

// As attention_bwd of kern/vec (Dao et al. 2022, arXiv 2205.14135, algorithm 4), with do, p and ds rounded to bf16 in products.
static inline void attention_bwd_blocks(const iso_kcall *c) {
  batt_job a = {c, batt_shape_of(c->d, c->a[0]), 0};
  a.per_worker = batt_backward_bytes(&a.s);
  iso_pool_run(c->pool, a.s.b * a.s.kv, batt_backward_task, &a);
}

static inline size_t attention_blocks_scratch(iso_kslot slot, const int64_t *d, int threads) {
  batt_shape s = batt_shape_of(d, 1);
  return (slot == ISO_K_attention ? batt_forward_bytes(&s) : batt_backward_bytes(&s)) * (size_t)threads;
}
#endif
