// bf16 products by 32 x 32 blocks of C, tasks of such blocks on the pool.
#include "kern/amx/gemm_amx.h"

#include "kern/amx/tiles.h"

// Steps of k that are summed in registers before C is touched again. Panels of a task: its part of both operands (64 KiB a panel at most)
// and of C fits the second-level cache. C beyond so many floats leaves the caches anyway.
enum { RUN_STEPS = 32, TASK_ROWS = 8, TASK_COLS = 16, TASKS_LEAST = 16, STREAM_FLOATS = 1 << 20 };

static void pack(iso_pool *pool, operand *o) {
  if (o->along_k)
    iso_pool_run(pool, up(o->n, PANEL), pack_panel, o);
  else
    iso_pool_run(pool, o->steps, pack_step, o);
}

typedef struct product_tasks {
  const iso_gemm *g;
  const bf16 *a, *b;
  int64_t steps, rows, cols, task_rows, task_cols, across;  // panels, panels of a task, tasks along a row
} product_tasks;

// The same where C ends inside the block.
static void edge_block(const bf16 *a, const bf16 *b, int64_t steps, float *c, int64_t ld, block_mode mode, int64_t rows, int64_t cols) {
  _Alignas(64) float whole[PANEL * PANEL] = {0};
  if (mode == BLOCK_ADD)
    for (int64_t i = 0; i < rows; i++) memcpy(whole + i * PANEL, c + i * ld, (size_t)cols * sizeof *c);
  block(a, b, steps, whole, PANEL, mode == BLOCK_ADD ? BLOCK_ADD : BLOCK_SET);
  for (int64_t i = 0; i < rows; i++) memcpy(c + i * ld, whole + i * PANEL, (size_t)cols * sizeof *c);
}

static void run_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const product_tasks *s = arg;
  const iso_gemm *g = s->g;
  int64_t i0 = t / s->across * s->task_rows, j0 = t % s->across * s->task_cols;
  int64_t i1 = i0 + s->task_rows < s->rows ? i0 + s->task_rows : s->rows, j1 = j0 + s->task_cols < s->cols ? j0 + s->task_cols : s->cols;
  int64_t m = g->m - i0 * PANEL, n = g->n - j0 * PANEL, mt = (i1 - i0) * PANEL, nt = (j1 - j0) * PANEL;
  block_mode mode = iso_gemm_start(g, i0 * PANEL, j0 * PANEL, m < mt ? m : mt, n < nt ? n : nt) ? BLOCK_ADD : BLOCK_SET;
  int64_t run = up(s->steps, up(s->steps, RUN_STEPS));
  if (mode == BLOCK_SET && run == s->steps && g->m * g->n > STREAM_FLOATS && g->ldc % TILE == 0 && ((uintptr_t)g->c & 63) == 0) mode = BLOCK_STREAM;
  configure_tiles();
  for (int64_t q = 0; q < s->steps; q += run, mode = BLOCK_ADD) {
    int64_t steps = s->steps - q < run ? s->steps - q : run;
    for (int64_t j = j0; j < j1; j++)
      for (int64_t i = i0; i < i1; i++) {
        const bf16 *a = s->a + (i * s->steps + q) * STEP_ELEMS, *b = s->b + (j * s->steps + q) * STEP_ELEMS;
        float *c = g->c + i * PANEL * g->ldc + j * PANEL;
        int64_t rows = g->m - i * PANEL, cols = g->n - j * PANEL;
        if (rows >= PANEL && cols >= PANEL)
          block(a, b, steps, c, g->ldc, mode);
        else
          edge_block(a, b, steps, c, g->ldc, mode, rows < PANEL ? rows : PANEL, cols < PANEL ? cols : PANEL);
      }
  }
  _tile_release();
  _mm_sfence();
}

void iso_gemm_amx_packed(iso_pool *pool, const iso_gemm *g, const bf16 *a, const bf16 *b) {
  int64_t rows = up(g->m, PANEL), cols = up(g->n, PANEL);
  product_tasks s = {g, a, b, up(g->k, STEP), rows, cols, TASK_ROWS, TASK_COLS, 0};
  while (up(rows, s.task_rows) * up(cols, s.task_cols) < TASKS_LEAST && s.task_rows * s.task_cols > 1) {
    if (s.task_cols >= s.task_rows)
      s.task_cols = up(s.task_cols, 2);
    else
      s.task_rows = up(s.task_rows, 2);
  }
  s.across = up(cols, s.task_cols);
  iso_pool_run(pool, up(rows, s.task_rows) * s.across, run_task, &s);
}

static bool is_empty(const iso_gemm *g) { return g->m <= 0 || g->n <= 0 || g->k <= 0; }

static operand rows_of(const iso_gemm *g) { return (operand){g->a, g->lda, g->m, g->k, !g->ta, false, up(g->k, STEP), NULL}; }
static operand cols_of(const iso_gemm *g) { return (operand){g->b, g->ldb, g->n, g->k, g->tb, true, up(g->k, STEP), NULL}; }
static bf16 *place(operand *o, bf16 *at) {
  o->dst = at;
  return at + operand_elems(o);
}
static bf16 *aligned(unsigned char *scratch) { return (bf16 *)(void *)(scratch + (-(uintptr_t)scratch & 63)); }

void iso_gemm_amx(iso_pool *pool, const iso_gemm *g, unsigned char *scratch) {
  if (is_empty(g)) return;
  operand a = rows_of(g), b = cols_of(g);
  (void)place(&b, place(&a, aligned(scratch)));
  pack(pool, &a);
  pack(pool, &b);
  iso_gemm_amx_packed(pool, g, a.dst, b.dst);
}

// Both layouts of rows 32 t to 32 t + 31, read from memory once.
static void pack_both(void *arg, int64_t t, int worker) {
  operand *o = arg;
  pack_panel(&o[0], t, worker);
  pack_step(&o[1], t, worker);
}

void iso_gemm_amx_bwd(iso_pool *pool, const iso_gemm *dw, const iso_gemm *dx, unsigned char *scratch) {
  if (is_empty(dw)) return;
  operand dy[2] = {rows_of(dx), rows_of(dw)}, x = cols_of(dw), w = cols_of(dx);
  bf16 *rest = place(&dy[1], place(&dy[0], aligned(scratch)));
  (void)place(&x, rest);
  (void)place(&w, rest);
  iso_pool_run(pool, dy[1].steps, pack_both, dy);
  pack(pool, &x);
  iso_gemm_amx_packed(pool, dw, dy[1].dst, x.dst);
  pack(pool, &w);
  iso_gemm_amx_packed(pool, dx, dy[0].dst, w.dst);
}
