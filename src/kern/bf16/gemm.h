// bf16 matrix products by 32 x 32 blocks of C, tasks of such blocks on the pool; f32 operands are rounded while they are packed.
#ifndef ISO_KERN_BF16_GEMM_H
#define ISO_KERN_BF16_GEMM_H
#include "kern/bf16/block.h"
#include "kern/gemm.h"

// Steps of k that are summed in registers before C is touched again, when they are packed already. Panels of a task then: its part of both
// operands (64 KiB a panel at most) and of C fits the second-level cache. C beyond so many floats leaves the caches anyway.
enum { RUN_STEPS = 32, TASK_ROWS = 8, TASK_COLS = 16, TASKS_LEAST = 14, STREAM_FLOATS = 1 << 20 };
// A task that packs its part of the larger operand: the most steps of k at a time, and its panels when k is that short and when it is longer.
enum { PACK_STEPS = 64, PACK_PANELS = 4, PACK_PANELS_LONG = 8, PACK_STEPS_LONG = 32, PACK_ELEMS = ISO_GEMM_BF16_WORK / 2 };
_Static_assert(PACK_STEPS *PACK_PANELS *STEP_ELEMS <= PACK_ELEMS && PACK_STEPS_LONG * PACK_PANELS_LONG * STEP_ELEMS <= PACK_ELEMS, "a task's room");

static inline void pack_operand(iso_pool *pool, operand *o) {
  if (o->along_k)
    iso_pool_run(pool, up(o->n, PANEL), pack_panel, o);
  else
    iso_pool_run(pool, o->steps, pack_step, o);
}

typedef struct block_tasks {
  const iso_gemm *g;
  const bf16 *a, *b;                                 // packed; one may be NULL:
  const operand *own;                                // its f32 form, packed by the tasks
  bf16 *work;                                        // [workers][PACK_ELEMS]
  int64_t steps, run;                                // of k; at a time
  int64_t rows, cols, task_rows, task_cols, across;  // panels, panels of a task, tasks along a row
} block_tasks;

// The same where C ends inside the block.
static inline void edge_block(const bf16 *a, const bf16 *b, int64_t steps, float *c, int64_t ld, block_mode mode, int64_t rows, int64_t cols) {
  _Alignas(64) float whole[PANEL * PANEL] = {0};
  if (mode == BLOCK_ADD)
    for (int64_t i = 0; i < rows; i++) memcpy(whole + i * PANEL, c + i * ld, (size_t)cols * sizeof *c);
  block(a, b, steps, whole, PANEL, mode == BLOCK_ADD ? BLOCK_ADD : BLOCK_SET);
  for (int64_t i = 0; i < rows; i++) memcpy(c + i * ld, whole + i * PANEL, (size_t)cols * sizeof *c);
}

static inline int64_t fewer(int64_t a, int64_t b) { return a < b ? a : b; }

// Block (i, j) of g->c from its panel of A and of B.
static inline __attribute__((always_inline)) void block_of(const iso_gemm *g, int64_t i, int64_t j, const bf16 *a, const bf16 *b, int64_t steps,
                                                           block_mode mode) {
  float *c = g->c + i * PANEL * g->ldc + j * PANEL;
  int64_t rows = g->m - i * PANEL, cols = g->n - j * PANEL;
  if (rows >= PANEL && cols >= PANEL)
    block(a, b, steps, c, g->ldc, mode);
  else
    edge_block(a, b, steps, c, g->ldc, mode, fewer(rows, PANEL), fewer(cols, PANEL));
}

static inline void run_blocks(void *arg, int64_t t, int worker) {
  const block_tasks *s = arg;
  const iso_gemm *g = s->g;
  int64_t i0 = t / s->across * s->task_rows, j0 = t % s->across * s->task_cols;
  int64_t i1 = fewer(i0 + s->task_rows, s->rows), j1 = fewer(j0 + s->task_cols, s->cols);
  int64_t m = fewer(g->m - i0 * PANEL, (i1 - i0) * PANEL), n = fewer(g->n - j0 * PANEL, (j1 - j0) * PANEL);
  block_mode mode = iso_gemm_start(g, i0 * PANEL, j0 * PANEL, m, n) ? BLOCK_ADD : BLOCK_SET;
  if (mode == BLOCK_SET && s->run == s->steps && g->m * g->n > STREAM_FLOATS && g->ldc % TILE == 0 && ((uintptr_t)g->c & 63) == 0)
    mode = BLOCK_STREAM;
  begin_blocks();
  for (int64_t q = 0; q < s->steps; q += s->run, mode = BLOCK_ADD) {
    int64_t steps = fewer(s->steps - q, s->run), a_panel = (s->a ? s->steps : steps) * STEP_ELEMS, b_panel = (s->b ? s->steps : steps) * STEP_ELEMS;
    bf16 *own = s->work + worker * PACK_ELEMS;
    const bf16 *a = s->a ? s->a + i0 * a_panel + q * STEP_ELEMS : own, *b = s->b ? s->b + j0 * b_panel + q * STEP_ELEMS : own;
    if (s->own) pack_part(s->own, s->a ? j0 : i0, s->a ? j1 : i1, q, q + steps, own);
    for (int64_t j = j0; j < j1; j++)
      for (int64_t i = i0; i < i1; i++) block_of(g, i, j, a + (i - i0) * a_panel, b + (j - j0) * b_panel, steps, mode);
  }
  end_blocks();
}

static inline int64_t tasks_of(const block_tasks *s) { return up(s->rows, s->task_rows) * up(s->cols, s->task_cols); }

static inline void run_tasks(iso_pool *pool, block_tasks *s) {
  s->across = up(s->cols, s->task_cols);
  iso_pool_run(pool, tasks_of(s), run_blocks, s);
}

// C from operands that are packed already, as left and right, to ceil(k / 32) steps; g->a, g->b and their strides are not read.
static inline void gemm_packed(iso_pool *pool, const iso_gemm *g, const bf16 *a, const bf16 *b) {
  int64_t steps = up(g->k, STEP);
  block_tasks s = {.g = g, .a = a, .b = b, .steps = steps, .run = up(steps, up(steps, RUN_STEPS))};
  s.rows = up(g->m, PANEL), s.cols = up(g->n, PANEL);
  s.task_rows = TASK_ROWS, s.task_cols = TASK_COLS;
  while (tasks_of(&s) < TASKS_LEAST && s.task_rows * s.task_cols > 1) {
    int64_t *longer = s.task_cols >= s.task_rows ? &s.task_cols : &s.task_rows;
    *longer = up(*longer, 2);
  }
  run_tasks(pool, &s);
}

// As iso_gemm_bf16. The smaller operand is packed whole, once for all tasks; a task packs its part of the other, which stays in its
// second-level cache.
// numerics: operands rounded to nearest even (subnormal ones to zero), products and sums in f32; the order of sums depends on k alone
static inline void gemm_blocks(iso_pool *pool, const iso_gemm *g, unsigned char *scratch) {
  if (g->m <= 0 || g->n <= 0 || g->k <= 0) return;
  int64_t steps = up(g->k, STEP), rows = up(g->m, PANEL), cols = up(g->n, PANEL);
  bf16 *room = (bf16 *)(void *)(scratch + (-(uintptr_t)scratch & 63));
  operand a = {g->a, g->lda, g->m, g->k, !g->ta, false, steps, NULL}, b = {g->b, g->ldb, g->n, g->k, g->tb, true, steps, NULL};
  bool by_rows = rows >= cols;
  operand *whole = by_rows ? &b : &a;
  whole->dst = room;
  pack_operand(pool, whole);
  block_tasks s = {
      .g = g, .a = a.dst, .b = b.dst, .own = by_rows ? &a : &b, .work = room + operand_elems(whole), .steps = steps, .rows = rows, .cols = cols};
  bool shallow = steps <= PACK_STEPS;
  s.run = up(steps, up(steps, shallow ? PACK_STEPS : PACK_STEPS_LONG));
  s.task_rows = rows, s.task_cols = cols;
  int64_t *part = by_rows ? &s.task_rows : &s.task_cols, *all = by_rows ? &s.task_cols : &s.task_rows;
  *part = shallow ? PACK_PANELS : PACK_PANELS_LONG;
  while (tasks_of(&s) < TASKS_LEAST && s.task_rows * s.task_cols > 1) {
    int64_t *cut = *part > 1 ? part : all;
    *cut = up(*cut, 2);
  }
  run_tasks(pool, &s);
}
#endif
