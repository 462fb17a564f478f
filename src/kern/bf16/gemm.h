// bf16 matrix products by 32 x 32 blocks of C, tasks of such blocks on the pool; f32 operands are rounded while they are packed.
#ifndef ISO_KERN_BF16_GEMM_H
#define ISO_KERN_BF16_GEMM_H
#include "kern/bf16/block.h"
#include "kern/gemm.h"

// Panels of a task whose operands are packed already, and the fewest tasks of a thread. C beyond so many bytes leaves the caches anyway.
enum { TASK_ROWS = 8, TASK_COLS = 16, THREAD_TASKS = 3, STREAM_BYTES = 4 << 20 };
// A task packs its part of the larger operand: up to PACK_STEPS of k at once for PACK_PANELS; of a longer k RUN_STEPS at a time for LONG_PANELS.
enum { PACK_STEPS = 64, PACK_PANELS = 4, LONG_PANELS = 8, PACK_ELEMS = ISO_GEMM_BF16_WORK / 2 };
_Static_assert(PACK_STEPS *PACK_PANELS *STEP_ELEMS <= PACK_ELEMS && RUN_STEPS * LONG_PANELS * STEP_ELEMS <= PACK_ELEMS, "a task's room");
// Sums of blocks stand side by side until their rows are long enough to be written at once (tiles stored to cold lines of C one by one hold up the
// loads behind them: three times as slow), and until all of k is summed. PASS_*: panels of C at a time where k is summed at once; STAGE_BLOCKS: at
// most, where it is not. Rows are an odd number of lines apart, so that no two of a tile share a set of the cache.
enum { PASS_ROWS = 4, PASS_COLS = 8, STAGE_BLOCKS = 144, STAGE_FLOATS = STAGE_BLOCKS * (PANEL + TILE) * PANEL };
static inline int64_t stage_ld(int64_t cols) { return cols * PANEL + TILE; }

static inline void pack_operand(iso_pool *pool, operand *o) {
  if (o->along_k)
    iso_pool_run(pool, up(o->n, PANEL), pack_panel, o);
  else
    iso_pool_run(pool, o->steps, pack_step, o);
}

typedef struct block_tasks {
  const iso_gemm *g;
  const operand *a, *b;  // packed whole, or without dst by the tasks; A may be read where it lies
  bool a_lies;
  bf16 *work;  // [workers][work_elems]
  int64_t work_elems;
  bool turned;                                       // C is the transpose of the product
  int64_t steps, run;                                // of k; at a time
  int64_t rows, cols, task_rows, task_cols, across;  // panels, panels of a task, tasks along a row
} block_tasks;

// Panels of an operand from some step on: elements from one to the next, between rows of A, between steps.
typedef struct panel_run {
  const bf16 *at;
  int64_t panel, row, step;
} panel_run;

static inline panel_run panels_from(panel_run p, int64_t i) {
  p.at += i * p.panel;
  return p;
}
static inline panel_run packed_panels(const bf16 *at, int64_t steps) { return (panel_run){at, steps * STEP_ELEMS, STEP, STEP_ELEMS}; }

static inline int64_t fewer(int64_t a, int64_t b) { return a < b ? a : b; }

// n <= 16 sums from column `at` of row i on become elements of C: with what C starts from, or added to what is there.
static inline void finish_part(const iso_gemm *g, int64_t i, int64_t at, __m512 x, int64_t n, bool stream) {
  __mmask16 m = first(n);
  int64_t c = i * g->ldc + at;
  if (!g->acc && g->bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, g->bias + at));
  if (!g->acc && g->residual) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, g->residual + c));
  if (g->c_narrow) {
    bf16 *to = (bf16 *)(void *)g->c + c;
    if (g->acc) x = _mm512_add_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, to)), 16)));
    _mm256_mask_storeu_epi16(to, m, (__m256i)_mm512_cvtneps_pbh(x));
  } else {
    if (g->acc) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, g->c + c));
    if (stream && n >= TILE)
      _mm512_stream_ps(g->c + c, x);
    else
      _mm512_mask_storeu_ps(g->c + c, m, x);
  }
}

// Rows [i0, i1) and columns [j0, j1) of C from their sums.
static inline void finish_rows(const iso_gemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, const float *sums, int64_t ld, bool stream) {
  bool plain = g->c_narrow && !g->acc && !g->bias && !g->residual;
  for (int64_t i = i0; i < i1; i++, sums += ld) {
    int64_t j = j0;
    for (; plain && j + STEP <= j1; j += STEP) {  // a line of C at a time
      __m512i x = (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(sums + j - j0 + TILE), _mm512_load_ps(sums + j - j0));
      bf16 *to = (bf16 *)(void *)g->c + i * g->ldc + j;
      if (stream)
        _mm512_stream_si512((void *)to, x);
      else
        _mm512_storeu_si512((void *)to, x);
    }
    for (; j < j1; j += TILE) finish_part(g, i, j, _mm512_load_ps(sums + j - j0), j1 - j, stream);
  }
}

// The same where the sums are those of the transpose: its rows [i0, i1) are columns of C.
static inline void finish_turned(const iso_gemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, const float *sums, int64_t ld) {
  for (int64_t j = j0; j < j1; j += TILE)
    for (int64_t i = i0; i < i1; i += TILE) {
      __m512i r[TILE];
      for (int q = 0; q < TILE; q++) r[q] = _mm512_load_si512((const void *)(sums + (i - i0 + q) * ld + j - j0));
      transpose(r);
      for (int q = 0; q < fewer(j1 - j, TILE); q++) finish_part(g, j + q, i, _mm512_castsi512_ps(r[q]), i1 - i, false);
    }
}

static inline void finish_panels(const block_tasks *s, int64_t i0, int64_t i1, int64_t j0, int64_t j1, const float *sums, int64_t ld, bool stream) {
  const iso_gemm *g = s->g;
  int64_t m = s->turned ? g->n : g->m, n = s->turned ? g->m : g->n;
  if (s->turned)
    finish_turned(g, i0 * PANEL, fewer(i1 * PANEL, m), j0 * PANEL, fewer(j1 * PANEL, n), sums, ld);
  else
    finish_rows(g, i0 * PANEL, fewer(i1 * PANEL, m), j0 * PANEL, fewer(j1 * PANEL, n), sums, ld, stream);
}

// Sums of rows x cols blocks from those panels of A and B, in or on top of what is there.
static inline void sum_blocks(int64_t rows, int64_t cols, panel_run a, panel_run b, int64_t steps, float *sums, int64_t ld, bool add) {
  for (int64_t i = 0; i < rows; i += PASS_ROWS)
    for (int64_t j = 0; j < cols; j++)
      for (int64_t s = 0; s < steps; s += CHUNK_STEPS)
        for (int64_t r = i; r < fewer(i + PASS_ROWS, rows); r++)
          block_at(a.at + r * a.panel + s * a.step, a.row, a.step, b.at + j * b.panel + s * b.step, fewer(steps - s, CHUNK_STEPS),
                   sums + r * PANEL * ld + j * PANEL, ld, add || s > 0);
}

// Panels [p0, p1) from step q on: where they are, or packed now into `room`.
static inline panel_run task_panels(const block_tasks *s, const operand *o, int64_t p0, int64_t p1, int64_t q, int64_t steps, bf16 *room) {
  if (o == s->a && s->a_lies) return (panel_run){(const bf16 *)o->src + p0 * PANEL * o->ld + q * STEP, PANEL * o->ld, o->ld, STEP};
  if (o->dst) return packed_panels(panel_at(o, p0, q), s->steps);
  pack_part(o, p0, p1, q, q + steps, room);
  return packed_panels(room, steps);
}

static inline void run_blocks(void *arg, int64_t t, int worker) {
  const block_tasks *s = arg;
  const iso_gemm *g = s->g;
  int64_t i0 = t / s->across * s->task_rows, j0 = t % s->across * s->task_cols;
  int64_t i1 = fewer(i0 + s->task_rows, s->rows), j1 = fewer(j0 + s->task_cols, s->cols);
  int64_t elem = g->c_narrow ? sizeof(bf16) : sizeof(float);
  bool stream = !g->acc && g->m * g->n * elem > STREAM_BYTES && g->ldc * elem % 64 == 0 && ((uintptr_t)g->c & 63) == 0;
  bf16 *room = s->work + worker * s->work_elems;
  _Alignas(64) float sums[STAGE_FLOATS];
  begin_blocks();
  if (s->run == s->steps) {
    panel_run a = task_panels(s, s->a, i0, i1, 0, s->steps, room), b = task_panels(s, s->b, j0, j1, 0, s->steps, room);
    for (int64_t i = i0; i < i1; i += PASS_ROWS)
      for (int64_t j = j0; j < j1; j += PASS_COLS) {
        int64_t ie = fewer(i + PASS_ROWS, i1), je = fewer(j + PASS_COLS, j1), ld = stage_ld(PASS_COLS);
        sum_blocks(ie - i, je - j, panels_from(a, i - i0), panels_from(b, j - j0), s->steps, sums, ld, false);
        finish_panels(s, i, ie, j, je, sums, ld, stream);
      }
  } else {
    int64_t ld = stage_ld(j1 - j0);
    for (int64_t q = 0; q < s->steps; q += s->run) {
      int64_t steps = fewer(s->steps - q, s->run);
      panel_run a = task_panels(s, s->a, i0, i1, q, steps, room), b = task_panels(s, s->b, j0, j1, q, steps, room);
      sum_blocks(i1 - i0, j1 - j0, a, b, steps, sums, ld, q > 0);
    }
    finish_panels(s, i0, i1, j0, j1, sums, ld, stream);
  }
  end_blocks();
}

static inline int64_t tasks_of(const block_tasks *s) { return up(s->rows, s->task_rows) * up(s->cols, s->task_cols); }

static inline void run_tasks(iso_pool *pool, block_tasks *s) {
  s->across = up(s->cols, s->task_cols);
  iso_pool_run(pool, tasks_of(s), run_blocks, s);
}

// The largest part of n, at most `most`, that gives every thread the same number of tasks and no fewer than THREAD_TASKS if there are as many.
static inline int64_t even_part(int64_t n, int64_t most, int64_t threads) {
  int64_t tasks = up(up(n, most), threads) * threads;
  if (tasks < THREAD_TASKS * threads) tasks = THREAD_TASKS * threads;
  return up(n, tasks);
}

// C from operands that are packed already; g->a, g->b and their strides are not read.
static inline void gemm_packed(iso_pool *pool, const iso_gemm *g, const operand *a, const operand *b) {
  int64_t steps = up(g->k, STEP);
  block_tasks s = {.g = g, .a = a, .b = b, .steps = steps, .run = up(steps, up(steps, RUN_STEPS))};
  s.rows = up(g->m, PANEL), s.cols = up(g->n, PANEL);
  s.task_rows = TASK_ROWS, s.task_cols = TASK_COLS;
  while (tasks_of(&s) < THREAD_TASKS * iso_pool_threads(pool) && s.task_rows * s.task_cols > 1) {
    int64_t *longer = s.task_cols >= s.task_rows ? &s.task_cols : &s.task_rows;
    *longer = up(*longer, 2);
  }
  run_tasks(pool, &s);
}

// As iso_gemm_bf16. The smaller operand is packed whole, once for all tasks; a task packs its part of the other, which stays in its
// second-level cache, or reads it where it lies if that is how A is read anyway. Where both have to be turned (gradients of weights) the smaller one
// takes A's place, whose packing costs more, and C is turned instead.
// numerics: operands rounded to nearest even (subnormal ones to zero), products and sums in f32; the order of sums depends on k alone
static inline void gemm_blocks(iso_pool *pool, const iso_gemm *g, unsigned char *scratch) {
  if (g->m <= 0 || g->n <= 0 || g->k <= 0) return;
  int64_t steps = up(g->k, STEP);
  bf16 *room = (bf16 *)(void *)(scratch + (-(uintptr_t)scratch & 63));
  bool turned = g->ta && !g->tb && g->m > g->n && !g->residual && !g->bias;
  operand a = {g->a, g->a_narrow, g->lda, g->m, g->k, !g->ta, turned, steps, NULL},
          b = {g->b, g->b_narrow, g->ldb, g->n, g->k, g->tb, !turned, steps, NULL};
  const operand *left = turned ? &b : &a, *right = turned ? &a : &b;
  int64_t rows = up(left->n, PANEL), cols = up(right->n, PANEL);
  bool by_rows = rows >= cols;
  operand *whole = by_rows == turned ? &a : &b;
  whole->dst = room;
  pack_operand(pool, whole);
  block_tasks s = {.g = g, .a = left, .b = right, .work = room + operand_elems(whole), .work_elems = PACK_ELEMS, .turned = turned, .steps = steps};
  s.a_lies = by_rows && left->narrow && left->along_k && g->m % PANEL == 0 && g->k % STEP == 0;
  bool shallow = steps <= PACK_STEPS;
  s.run = shallow ? steps : up(steps, up(steps, RUN_STEPS));
  int64_t panels = by_rows ? rows : cols, others = by_rows ? cols : rows;
  int64_t part = even_part(panels, shallow ? PACK_PANELS : LONG_PANELS, iso_pool_threads(pool));
  // The sums of a task stay at hand while a long k passes by.
  int64_t other = shallow ? others : up(others, up(others, STAGE_BLOCKS / part));
  s.rows = rows, s.task_rows = by_rows ? part : other;
  s.cols = cols, s.task_cols = by_rows ? other : part;
  run_tasks(pool, &s);
}
#endif
