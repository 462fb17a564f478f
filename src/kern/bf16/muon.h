// Muon's products by blocks on the calling thread; of a symmetric result half is computed.
#ifndef ISO_KERN_BF16_MUON_H
#define ISO_KERN_BF16_MUON_H
#include "kern/bf16/gemm.h"
#include "kern/vec/optim.h"

static inline void muon_product_blocks(const iso_gemm *g, bool symmetric, void *room) {
  int64_t steps = up(g->k, STEP), rows = up(g->m, PANEL), cols = up(g->n, PANEL);
  operand a = {g->a, false, g->lda, g->m, g->k, !g->ta, false, steps, room}, b = {g->b, false, g->ldb, g->n, g->k, g->tb, true, steps, NULL};
  b.dst = a.dst + operand_elems(&a);
  pack_part(&a, 0, rows, 0, steps, a.dst);
  pack_part(&b, 0, cols, 0, steps, b.dst);
  block_tasks t = {.g = g, .rows = rows, .cols = cols, .steps = steps};
  _Alignas(64) float sums[PASS_ROWS * PANEL * (PASS_COLS * PANEL + TILE)];
  begin_blocks();
  for (int64_t j = 0; j < cols; j += PASS_COLS)
    for (int64_t i = 0, end = symmetric ? fewer(j + PASS_COLS, rows) : rows; i < end; i += PASS_ROWS) {  // of a symmetric result not what is below
      int64_t ie = fewer(i + PASS_ROWS, end), je = fewer(j + PASS_COLS, cols), ld = stage_ld(PASS_COLS);
      sum_blocks(ie - i, je - j, packed_panels(panel_at(&a, i, 0), steps), packed_panels(panel_at(&b, j, 0), steps), steps, sums, ld, false);
      finish_panels(&t, i, ie, j, je, sums, ld, false);
    }
  end_blocks();
  if (!symmetric) return;
  for (int64_t i = PANEL; i < g->m; i++)  // rows below the blocks on the diagonal
    for (int64_t j = 0; j < i / PANEL * PANEL; j++) g->c[i * g->ldc + j] = g->c[j * g->ldc + i];
}

static inline size_t muon_blocks_room(int64_t s, int64_t l) {
  int64_t ps = up(s, PANEL), pl = up(l, PANEL), gram = 2 * ps * up(l, STEP), apply = (ps + pl) * up(s, STEP);
  return (size_t)(gram > apply ? gram : apply) * STEP_ELEMS * sizeof(bf16);
}

// A step triples small singular values, and the rounding errors that have got into their directions with them: the first two steps are spared.
static const muon_products MUON_BLOCKS = {muon_product_blocks, muon_blocks_room, 2};
// numerics: operands of the products are rounded to bf16 from the third step on
static inline void muon_blocks(const iso_kcall *c) { muon_by(c, &MUON_BLOCKS); }
#endif
