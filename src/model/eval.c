// Held-out loss over a stream of ids.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

struct iso_eval {
  iso_model *m;
  iso_exec *exec;
  int64_t b, t;
  int32_t *buf;  // owned; one window and the id after it
  double end_s;
};

iso_status iso_eval_open(iso_model *m, int64_t b, int64_t t, iso_eval **out, iso_err *err) {
  *out = NULL;
  if (b < 1 || t < 1) return iso_fail(err, ISO_EINVAL, "evaluation: %lld windows of %lld tokens", (long long)b, (long long)t);
  iso_eval *e = calloc(1, sizeof *e);
  if (!e) return iso_fail(err, ISO_ENOMEM, "no memory for an evaluation");
  e->m = m;
  e->b = b;
  e->t = t;
  e->end_s = INFINITY;
  e->buf = malloc((size_t)(t + 1) * sizeof *e->buf);
  iso_exec_opts o = {.max = iso_bind_batch(b, t), .weights = m->weights};
  iso_status st = e->buf ? iso_exec_open(m->ctx, m->g, &o, &e->exec, err) : iso_fail(err, ISO_ENOMEM, "no memory for an evaluation");
  if (st != ISO_OK) {
    iso_eval_close(e);
    return st;
  }
  *out = e;
  return ISO_OK;
}

void iso_eval_deadline(iso_eval *e, double end_s) { e->end_s = end_s; }

void iso_eval_close(iso_eval *e) {
  if (!e) return;
  iso_exec_close(e->exec);
  free(e->buf);
  free(e);
}

iso_status iso_eval_run(iso_eval *e, iso_ids_fn ids, void *arg, int64_t n_ids, int64_t limit_tok, iso_loss *out, iso_err *err) {
  const iso_graph_io *io = &e->m->io;
  int32_t *x = iso_exec_at(e->exec, io->ids, 0), *y = iso_exec_at(e->exec, io->targets, 0);
  double *loss = iso_exec_at(e->exec, io->loss, 0);
  iso_hyp *hyp = iso_exec_at(e->exec, io->hyp, 0);
  *out = (iso_loss){0};
  if (n_ids < 2) return iso_fail(err, ISO_EINVAL, "evaluation: %lld tokens, at least 2 are needed", (long long)n_ids);
  int64_t windows = (n_ids - 1 + e->t - 1) / e->t, take = windows;
  if (limit_tok > 0 && limit_tok / e->t < windows) take = limit_tok / e->t > 0 ? limit_tok / e->t : 1;
  *hyp = (iso_hyp){.loss_scale = 1};
  loss[0] = loss[1] = 0;
  for (int64_t i = 0; i < take; i += e->b) {
    if (atomic_load(&e->m->ctx->cancel) > 1) return iso_fail(err, ISO_ECANCEL, "evaluation stopped");
    if (i > 0 && iso_now_s(e->m->ctx) > e->end_s) break;
    int64_t n = take - i < e->b ? take - i : e->b;
    for (int64_t k = 0; k < n; k++) {
      int64_t w = take == windows ? i + k : (i + k) * windows / take, start = w * e->t, len = n_ids - start < e->t + 1 ? n_ids - start : e->t + 1;
      ids(arg, start, len, e->buf);
      for (int64_t j = 0; j < e->t; j++) {
        x[k * e->t + j] = j < len ? e->buf[j] : 0;
        y[k * e->t + j] = j + 1 < len ? e->buf[j + 1] : -1;
      }
    }
    iso_bind bind = iso_bind_batch(n, e->t);
    ISO_TRY(iso_exec_bind(e->exec, &bind, err));
    iso_exec_run(e->exec, ISO_SECTION_FORWARD);
  }
  out->nats = loss[0];
  out->tokens = (int64_t)loss[1];
  out->nats_per_tok = loss[1] > 0 ? loss[0] / loss[1] : NAN;
  if (!isfinite(out->nats)) return iso_fail(err, ISO_ENUM, "evaluation: the loss is not a number");
  return ISO_OK;
}

double iso_eval_flop(const iso_model_config *c, int64_t n_tok, int64_t t) {
  iso_graph *g;
  iso_graph_io io;
  const iso_arch *arch;
  double flop = NAN;
  if (iso_arch_find(c->arch, &arch, NULL) != ISO_OK || iso_graph_open(&g, NULL) != ISO_OK) return NAN;
  iso_bind b = iso_bind_batch(1, t);
  if (arch->build(c, &(iso_build){.mode = ISO_MODE_LOSS}, g, &io, NULL) == ISO_OK)
    flop = iso_pass_cost(g, ISO_SECTION_FORWARD, &b, 4).mat_flop / (double)t * (double)n_tok;
  iso_graph_close(g);
  return flop;
}
