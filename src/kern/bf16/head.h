// The language-model head by blocks: logits turn into unnormalised probabilities where they were summed.
#ifndef ISO_KERN_BF16_HEAD_H
#define ISO_KERN_BF16_HEAD_H
#include <math.h>

#include "kern/bf16/gemm.h"
#include "kern/vec/linear.h"

// Panels of a task of the forward product: its part of x and W fits the second-level cache. Rows whose probabilities are held at once: twice D,
// so that dW is read and written for little of the whole, and no more than keeps the two copies of them within 128 MiB.
enum { BHEAD_ROWS = 8, BHEAD_COLS = 16, BHEAD_LEAST_ROWS = 64, BHEAD_USUAL_ROWS = 512, BHEAD_HELD_ELEMS = 32 << 20, BHEAD_ROW_TASK = 16 };

typedef struct bhead {
  const float *x, *w;
  const int32_t *targets;
  float *dx, *dw, *row_loss;
  int64_t n, d, v;           // rows at hand
  float scale;               // of the loss
  operand x_rows, w_fwd;     // logits = x W'
  operand e, w_dx;           // dx = f (e W), e [rows,V] the unnormalised probabilities
  operand e_t, x_scaled;     // dW += e' (f x)
  float *shift, *fx, *part;  // [rows]: the target's logit, then f; [rows,D]: f x; [blocks of columns][rows]: sums of e
  double *nats;              // [rows]; negative when the row is ignored
} bhead;

static inline int64_t bhead_rows_held(int64_t m, int64_t d, int64_t v) {
  int64_t rows = fewer(2 * d > BHEAD_USUAL_ROWS ? 2 * d : BHEAD_USUAL_ROWS, BHEAD_HELD_ELEMS / (up(v, PANEL) * PANEL));
  return up(fewer(rows > BHEAD_LEAST_ROWS ? rows : BHEAD_LEAST_ROWS, m), PANEL) * PANEL;
}

// A part of the scratch, of which *used bytes are taken; NULL when there is none yet.
static inline void *bhead_take(unsigned char *scratch, size_t *used, int64_t n, size_t elem) {
  void *p = scratch ? scratch + *used : NULL;
  *used += ((size_t)n * elem + 63) / 64 * 64;
  return p;
}

// Lays out the scratch for chunks of `rows` rows; returns the bytes.
static inline size_t bhead_lay_out(bhead *h, int64_t rows, unsigned char *scratch) {
  size_t used = 0;
  h->x_rows = (operand){h->x, false, h->d, rows, h->d, true, false, up(h->d, STEP), NULL};
  h->w_fwd = (operand){h->w, false, h->d, h->v, h->d, true, true, up(h->d, STEP), NULL};
  h->w_dx = (operand){h->w, false, h->d, h->d, h->v, false, true, up(h->v, STEP), NULL};
  h->e = (operand){NULL, false, 0, rows, h->v, true, false, up(h->v, STEP), NULL};
  h->e_t = (operand){NULL, false, 0, h->v, rows, true, false, up(rows, STEP), NULL};
  h->fx = bhead_take(scratch, &used, rows * h->d, sizeof *h->fx);
  h->x_scaled = (operand){h->fx, false, h->d, h->d, rows, false, true, up(rows, STEP), NULL};
  operand *all[] = {&h->x_rows, &h->w_fwd, &h->w_dx, &h->e, &h->e_t, &h->x_scaled};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) all[i]->dst = bhead_take(scratch, &used, operand_elems(all[i]), sizeof(bf16));
  h->shift = bhead_take(scratch, &used, rows, sizeof *h->shift);
  h->part = bhead_take(scratch, &used, up(up(h->v, PANEL), BHEAD_COLS) * rows, sizeof *h->part);
  h->nats = bhead_take(scratch, &used, rows, sizeof *h->nats);
  return used;
}

static inline size_t head_loss_blocks_scratch(const int64_t *d) {
  bhead h = {.d = d[1], .v = d[2]};
  return bhead_lay_out(&h, bhead_rows_held(d[0], d[1], d[2]), NULL);
}

// Where row i of a left operand keeps its k.
static inline bf16 *bhead_elem_at(const operand *o, int64_t i, int64_t k) {
  return panel_at(o, i / PANEL, k / STEP) + i % PANEL / TILE * TILE_ELEMS + i % TILE * STEP + k % STEP;
}

static inline bool bhead_counted(const bhead *h, int64_t i) { return i < h->n && h->targets[i] >= 0 && h->targets[i] < h->v; }

static inline void bhead_pack_w(void *arg, int64_t t, int worker) {
  bhead *h = arg;
  pack_panel(&h->w_fwd, t, worker);
  if (h->dx) pack_step(&h->w_dx, t, worker);
}

// Panel t of x, and of each of its rows the target's logit; an ignored row is shifted out of sight.
static inline void bhead_prepare_rows(void *arg, int64_t t, int worker) {
  bhead *h = arg;
  pack_panel(&h->x_rows, t, worker);
  for (int64_t i = t * PANEL; i < (t + 1) * PANEL; i++) {
    __m512 s = _mm512_setzero_ps();
    const float *x = h->x + i * h->d, *w = bhead_counted(h, i) ? h->w + h->targets[i] * h->d : NULL;
    for (int64_t q = 0; w && q < h->d; q += STEP) {
      __m512i a = along_k(x + q, h->d - q), b = along_k(w + q, h->d - q);
      s = _mm512_dpbf16_ps(s, (__m512bh)a, (__m512bh)b);
    }
    h->shift[i] = w ? _mm512_reduce_add_ps(s) : INFINITY;
  }
}

// e^(x - shift) as 2^n times a polynomial of degree 5 on [-1/2, 1/2] (least greatest relative error, 2e-7 in f32); 0 far below, NaN stays NaN.
static inline __m512 bhead_exp(__m512 x, __m512 shift) {
  __m512 t = _mm512_max_ps(_mm512_set1_ps(-200), _mm512_mul_ps(_mm512_sub_ps(x, shift), _mm512_set1_ps(1.44269504f)));
  __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm512_sub_ps(t, n),
         p = _mm512_set1_ps(0.001327647129073739f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009675540961325169f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05550713092088699f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24022120237350464f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931469440460205f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0000001192092896f));
  return _mm512_scalef_ps(p, n);
}

// A block of logits in place to e, row sums added; `cols` of its columns are there.
static inline void bhead_exp_block(float *block, const float *shift, int64_t cols, __m512 *sums) {
  __mmask16 lo = first(cols), hi = first(cols - TILE);
  for (int i = 0; i < PANEL; i++, block += PANEL) {
    __m512 s = _mm512_set1_ps(shift[i]);
    __m512 a = _mm512_maskz_mov_ps(lo, bhead_exp(_mm512_load_ps(block), s)), b = _mm512_maskz_mov_ps(hi, bhead_exp(_mm512_load_ps(block + TILE), s));
    _mm512_store_ps(block, a);
    _mm512_store_ps(block + TILE, b);
    sums[i] = _mm512_add_ps(sums[i], _mm512_add_ps(a, b));
  }
}

// The block as panel i, step j of e and as panel j, step i of its transpose.
static inline void bhead_keep_block(const bhead *h, const float *block, int64_t i, int64_t j) {
  bf16 *rows = panel_at(&h->e, i, j), *cols = panel_at(&h->e_t, j, i);
  if (h->dx)
    for (int r = 0; r < PANEL; r++) _mm512_store_si512((void *)(rows + r * STEP), along_k(block + r * PANEL, PANEL));
  if (h->dw)
    for (int half = 0; half < 2; half++, cols += TILE_ELEMS) {
      __m512i r[TILE];
      for (int q = 0; q < TILE; q++) r[q] = pairs(block + 2 * q * PANEL + half * TILE, PANEL, 2, 0xFFFF);
      transpose(r);
      put_tile(cols, r);
    }
}

// Logits of BHEAD_ROWS by BHEAD_COLS panels, as e.
static inline void bhead_forward_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const bhead *h = arg;
  int64_t panels = up(h->n, PANEL), across = up(up(h->v, PANEL), BHEAD_COLS), c = t % across;
  int64_t i0 = t / across * BHEAD_ROWS, i1 = fewer(i0 + BHEAD_ROWS, panels), j1 = fewer((c + 1) * BHEAD_COLS, up(h->v, PANEL));
  __m512 sums[BHEAD_ROWS * PANEL];
  _Alignas(64) float logits[BHEAD_ROWS][PANEL * PANEL];
  for (int i = 0; i < BHEAD_ROWS * PANEL; i++) sums[i] = _mm512_setzero_ps();
  begin_blocks();
  panel_run x = packed_panels(panel_at(&h->x_rows, i0, 0), h->x_rows.steps);
  for (int64_t j = c * BHEAD_COLS; j < j1; j++) {
    sum_blocks(i1 - i0, 1, x, packed_panels(panel_at(&h->w_fwd, j, 0), h->w_fwd.steps), h->x_rows.steps, logits[0], PANEL, false);
    for (int64_t i = i0; i < i1; i++) {
      bhead_exp_block(logits[i - i0], h->shift + i * PANEL, h->v - j * PANEL, sums + (i - i0) * PANEL);
      if (h->dx || h->dw) bhead_keep_block(h, logits[i - i0], i, j);
    }
  }
  end_blocks();
  for (int64_t i = i0 * PANEL; i < i1 * PANEL; i++) h->part[c * panels * PANEL + i] = _mm512_reduce_add_ps(sums[i - i0 * PANEL]);
}

static inline void bhead_scaled_row(float *y, const float *x, int64_t n, float f) {
  for (int64_t q = 0; q < n; q += TILE) {
    __mmask16 m = first(n - q);
    _mm512_mask_storeu_ps(y + q, m, _mm512_mul_ps(_mm512_set1_ps(f), _mm512_maskz_loadu_ps(m, x + q)));
  }
}

// The denominators of some rows, their losses, the target's share of the gradient, and f x.
static inline void bhead_finish_rows(void *arg, int64_t t, int worker) {
  (void)worker;
  bhead *h = arg;
  int64_t end = fewer((t + 1) * BHEAD_ROW_TASK, up(h->n, PANEL) * PANEL), blocks = up(up(h->v, PANEL), BHEAD_COLS), stride = up(h->n, PANEL) * PANEL;
  for (int64_t i = t * BHEAD_ROW_TASK; i < end; i++) {
    double sum = 0;
    float f = 0;
    h->nats[i] = -1;
    if (bhead_counted(h, i)) {
      for (int64_t b = 0; b < blocks; b++) sum += (double)h->part[b * stride + i];
      double nats = log(sum);
      h->nats[i] = nats < 0 ? 0 : nats;  // rounding may give -1e-8; NaN stays NaN
      f = (float)((double)h->scale / sum);
      bf16 e = (bf16)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set1_ps((float)(1 - sum))), 0);
      if (h->dx) *bhead_elem_at(&h->e, i, h->targets[i]) = e;
      if (h->dw) *bhead_elem_at(&h->e_t, h->targets[i], i) = e;
    }
    if (h->row_loss && i < h->n) h->row_loss[i] = bhead_counted(h, i) ? (float)h->nats[i] : 0;
    if (h->dw && f != 0)
      bhead_scaled_row(h->fx + i * h->d, h->x + i * h->d, h->d, f);
    else if (h->dw)
      memset(h->fx + i * h->d, 0, (size_t)h->d * sizeof *h->fx);
    h->shift[i] = f;
  }
}

static inline void bhead_scale_rows(void *arg, int64_t t, int worker) {
  (void)worker;
  const bhead *h = arg;
  int64_t end = fewer((t + 1) * BHEAD_ROW_TASK, h->n);
  for (int64_t i = t * BHEAD_ROW_TASK; i < end; i++) {
    float *dx = h->dx + i * h->d;
    bhead_scaled_row(dx, dx, h->d, h->shift[i]);
  }
}

// The rows at hand; false when a denominator is beyond f32, and the rows have to be done again.
static inline bool bhead_run_rows(bhead *h, iso_pool *pool, double *loss) {
  int64_t panels = up(h->n, PANEL), tasks = up(panels * PANEL, BHEAD_ROW_TASK);
  iso_pool_run(pool, panels, bhead_prepare_rows, h);
  iso_pool_run(pool, up(panels, BHEAD_ROWS) * up(up(h->v, PANEL), BHEAD_COLS), bhead_forward_task, h);
  iso_pool_run(pool, tasks, bhead_finish_rows, h);
  for (int64_t i = 0; i < h->n; i++)
    if (isinf(h->nats[i])) return false;
  for (int64_t i = 0; i < h->n; i++)
    if (!(h->nats[i] < 0)) {
      loss[0] += h->nats[i];
      loss[1] += 1;
    }
  if (h->dx) {
    gemm_packed(pool, &(iso_gemm){.m = h->n, .n = h->d, .k = h->v, .c = h->dx, .ldc = h->d}, &h->e, &h->w_dx);
    iso_pool_run(pool, tasks, bhead_scale_rows, h);
  }
  if (h->dw) {
    iso_pool_run(pool, h->x_scaled.steps, pack_step, &h->x_scaled);
    gemm_packed(pool, &(iso_gemm){.acc = true, .m = h->v, .n = h->d, .k = h->n, .c = h->dw, .ldc = h->d}, &h->e_t, &h->x_scaled);
  }
  return true;
}

// loss, dx = dlogits W and dW += dlogits' x without a matrix of f32 logits: exp(logit - target's logit) leaves the block in which it was
// summed as bf16, packed for both products; the softmax's denominator is divided out of dx and of x.
// shapes: x [M,D]; W [V,D]; targets [M]; dx [M,D]; dW [V,D]
// numerics: x, W, the unnormalised probabilities and x over the denominator are rounded to bf16 before they are multiplied; sums in f32,
// a row's denominator and loss in f64. Where a token of a row is e^88 times as likely as its target, head_loss_kind does the rows at hand.
// cost: 2 M V D flop for the loss, 6 M V D with gradients; writes and reads 8 M V bytes of scratch
static inline void head_loss_blocks(const iso_kcall *c) {
  int64_t m = c->d[0], d = c->d[1], v = c->d[2], rows = bhead_rows_held(m, d, v);
  const iso_hyp *hyp = c->p[7];
  bool packed = false;
  for (int64_t i = 0; i < m; i += rows) {
    int64_t n = fewer(rows, m - i);
    bhead h = {.x = (const float *)c->p[0] + i * d,
               .w = c->p[1],
               .targets = (const int32_t *)c->p[2] + i,
               .dx = c->p[4] ? (float *)c->p[4] + i * d : NULL,
               .dw = c->p[5],
               .row_loss = c->p[6] ? (float *)c->p[6] + i : NULL,
               .n = n,
               .d = d,
               .v = v,
               .scale = hyp ? (float)hyp->loss_scale : 1.0f};
    (void)bhead_lay_out(&h, rows, c->scratch);
    h.x_rows.n = h.x_scaled.k = n;
    h.e_t.steps = h.x_scaled.steps = up(n, STEP);
    if (!packed) iso_pool_run(c->pool, up(v, PANEL), bhead_pack_w, &h);
    packed = bhead_run_rows(&h, c->pool, c->p[3]);
    if (packed) continue;
    iso_kcall part = *c;
    part.d[0] = n;
    part.p[0] = (void *)(uintptr_t)h.x;
    part.p[2] = (void *)(uintptr_t)h.targets;
    part.p[4] = h.dx;
    part.p[6] = h.row_loss;
    head_loss_kind(&part, PRODUCT_BF16_BLOCKS);
  }
}
#endif
