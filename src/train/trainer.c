// The loop: batch, forward, backward, norm, update; the schedule follows steps or the clock.
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct iso_trainer {
  iso_ctx *ctx;
  iso_model *m;
  iso_train_opts o;
  const iso_schedule *sched;
  iso_graph *g;
  iso_graph_io io;
  iso_exec *exec;
  iso_batch_fn batch;
  void *batch_arg;
  int32_t *ids, *targets;  // owned; one whole batch
  iso_train_state s;
  double deadline_s, step_s;
  double *factor;  // owned; schedule factor of each step
  int64_t factor_cap;
  const double *replay;  // borrowed
  int64_t replay_n;
};

iso_status iso_trainer_open(iso_ctx *c, iso_model *m, const iso_train_opts *o, iso_batch_fn batch, void *batch_arg, iso_trainer **out, iso_err *err) {
  *out = NULL;
  const iso_arch *arch;
  const iso_optim *optim;
  ISO_TRY(iso_train_opts_check(o, err));
  ISO_TRY(iso_arch_find(m->config.arch, &arch, err));
  ISO_TRY(iso_optim_find(o->optim, &optim, err));
  if (o->seq > m->config.ctx)
    return iso_fail(err, ISO_EINVAL, "training: sequences of %lld tokens, the model takes %lld", (long long)o->seq, (long long)m->config.ctx);
  iso_trainer *t = calloc(1, sizeof *t);
  if (!t) return iso_fail(err, ISO_ENOMEM, "no memory for a trainer");
  t->ctx = c;
  t->m = m;
  t->o = *o;
  if (t->o.micro <= 0) t->o.micro = t->o.batch;
  t->batch = batch;
  t->batch_arg = batch_arg;
  t->deadline_s = INFINITY;
  t->step_s = NAN;
  t->s = (iso_train_state){.decay_p = -1, .loss_ema = NAN, .loss_best = INFINITY, .end = o->steps};
  t->factor_cap = o->steps;
  iso_status st = iso_schedule_find(o->schedule, &t->sched, err);
  if (st != ISO_OK) goto done;
  size_t rows = (size_t)(o->batch * o->seq);
  t->ids = malloc(rows * sizeof *t->ids);
  t->targets = malloc(rows * sizeof *t->targets);
  t->factor = malloc((size_t)t->factor_cap * sizeof *t->factor);
  if (!t->ids || !t->targets || !t->factor) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for a batch of %zu tokens", rows);
    goto done;
  }
  ISO_TRYG(iso_graph_open(&t->g, err));
  ISO_TRYG(arch->build(&m->config, &(iso_build){.mode = ISO_MODE_LOSS}, t->g, &t->io, err));
  ISO_TRYG(iso_pass_gradient(t->g, err));
  ISO_TRYG(iso_optim_build(optim, t->g, &t->io, err));
  if (c->kern->narrow) iso_pass_narrow(t->g);
  iso_exec_opts eo = {.max = iso_bind_batch(t->o.micro, o->seq), .train = true, .re = iso_train_recompute(o), .weights = m->weights};
  ISO_TRYG(iso_exec_open(c, t->g, &eo, &t->exec, err));
  *out = t;
  return ISO_OK;
done:
  iso_trainer_close(t);
  return st;
}

void iso_trainer_close(iso_trainer *t) {
  if (!t) return;
  iso_exec_close(t->exec);
  iso_graph_close(t->g);
  free(t->ids);
  free(t->targets);
  free(t->factor);
  free(t);
}

void iso_trainer_deadline(iso_trainer *t, double deadline_s) { t->deadline_s = deadline_s; }
void iso_trainer_end_in(iso_trainer *t, int64_t steps) {
  if (t->s.step + steps < t->s.end) t->s.end = t->s.step + steps;
  if (t->s.decay_p < 0) t->s.decay_p = 0;
}
void iso_trainer_replay(iso_trainer *t, const double *factor, int64_t n) {
  t->replay = factor;
  t->replay_n = n;
}
const double *iso_trainer_factors(const iso_trainer *t, int64_t *n) {
  *n = t->s.step;
  return t->factor;
}
int64_t iso_trainer_step(const iso_trainer *t) { return t->s.step; }
int64_t iso_trainer_tokens(const iso_trainer *t) { return t->s.tokens; }
double iso_trainer_step_s(const iso_trainer *t) { return t->step_s; }
iso_exec *iso_trainer_exec(iso_trainer *t) { return t->exec; }
const iso_train_opts *iso_trainer_opts(const iso_trainer *t) { return &t->o; }
iso_train_state *iso_trainer_state(iso_trainer *t) { return &t->s; }
iso_graph *iso_trainer_graph(iso_trainer *t) { return t->g; }
iso_model *iso_trainer_model(iso_trainer *t) { return t->m; }

iso_status iso_trainer_set_factors(iso_trainer *t, const double *f, int64_t n, iso_err *err) {
  if (n > t->factor_cap)
    return iso_fail(err, ISO_EINVAL, "checkpoint: %lld steps are done, the run has %lld", (long long)n, (long long)t->factor_cap);
  if (n > 0) memcpy(t->factor, f, (size_t)n * sizeof *f);
  return ISO_OK;
}

// Steps that can still be taken: what the plan allows and what the clock allows. Two percent of a step are kept back for the
// clock's own noise.
static int64_t steps_left(const iso_trainer *t, int64_t end) {
  int64_t left = end - t->s.step;
  if (isfinite(t->deadline_s) && isfinite(t->step_s)) {
    double can = floor((t->deadline_s - iso_now_s(t->ctx)) / (1.02 * t->step_s));
    if (can < (double)left) left = can > 0 ? (int64_t)can : 0;
  }
  return left;
}

// The factor of the coming step; moves the decay on. `left` counts the coming step.
static double schedule_factor(iso_trainer *t, int64_t left, bool may_decay) {
  int64_t step = t->s.step;
  if (t->replay) return t->replay[step];
  double warm = t->o.warmup > 0 && step < t->o.warmup ? (double)(step + 1) / (double)t->o.warmup : 1.0;
  if (may_decay && t->s.decay_p < 0) {
    bool due = t->sched->stable ? (double)left <= t->o.decay * (double)(step + left) : step >= t->o.warmup;
    if (due) t->s.decay_p = 0;
  }
  if (t->s.decay_p < 0) return warm;
  t->s.decay_p += (1 - t->s.decay_p) / (double)(left + 1);
  return warm * t->sched->decay(t->s.decay_p, t->o.lr_floor);
}

// Squared length of the mean gradient of the first micro-batch, whose sum over all `counted` tokens is all that is there yet. The buffers
// are read only, so that what is trained is the same bits.
static void measure_first(iso_trainer *t, iso_hyp *hyp, int64_t counted, iso_step_info *info) {
  int64_t first = 0, part = t->o.micro * t->o.seq;
  for (int64_t i = 0; i < part; i++) first += t->targets[i] >= 0;
  iso_exec_run(t->exec, ISO_SECTION_NORM);
  double up = (double)counted / (double)first;
  if (first > 0 && first < counted) {
    info->micro_sq = hyp->grad_sumsq * up * up;
    info->micro_tok = (double)first;
    info->batch_tok = (double)counted;
  }
  hyp->grad_sumsq = 0;
}

// Gradients of one batch; loss in nats per counted token.
static iso_status accumulate(iso_trainer *t, iso_hyp *hyp, iso_step_info *info, int64_t *counted, iso_err *err) {
  const iso_train_opts *o = &t->o;
  double *sum = iso_exec_at(t->exec, t->io.loss, 0);
  int32_t *x = iso_exec_at(t->exec, t->io.ids, 0), *y = iso_exec_at(t->exec, t->io.targets, 0);
  int64_t rows = o->batch * o->seq, part = o->micro * o->seq;
  ISO_TRY(t->batch(t->batch_arg, t->s.window, o->batch, o->seq, t->ids, t->targets, err));
  *counted = 0;
  for (int64_t i = 0; i < rows; i++) *counted += t->targets[i] >= 0;
  sum[0] = sum[1] = 0;
  hyp->loss_scale = *counted > 0 ? 1.0 / (double)*counted : 0;
  hyp->grad_sumsq = 0;
  for (int64_t at = 0; at < rows; at += part) {
    memcpy(x, t->ids + at, (size_t)part * sizeof *x);
    memcpy(y, t->targets + at, (size_t)part * sizeof *y);
    iso_exec_run(t->exec, ISO_SECTION_FORWARD);
    iso_exec_run(t->exec, ISO_SECTION_BACKWARD);
    if (o->measure_gns && at == 0) measure_first(t, hyp, *counted, info);
  }
  info->loss = *counted > 0 ? sum[0] / (double)*counted : 0;
  iso_exec_run(t->exec, ISO_SECTION_NORM);
  return ISO_OK;
}

// A loss that is no number, or far above the best that was reached, ends the run; the weights are those before the step.
static iso_status watch(iso_trainer *t, double loss, double grad_sumsq, iso_err *err) {
  iso_train_state *s = &t->s;
  if (!isfinite(loss) || !isfinite(grad_sumsq)) {
    iso_fail(err, ISO_ENUM, "training: %s is not a number at step %lld", isfinite(loss) ? "the gradient" : "the loss", (long long)s->step + 1);
    return iso_hint(err, ISO_ENUM, "the last checkpoint is untouched; try a lower --lr");
  }
  s->loss_ema = isfinite(s->loss_ema) ? 0.95 * s->loss_ema + 0.05 * loss : loss;
  if (s->step > 50 && s->loss_ema > s->loss_best + 1.5) {
    iso_fail(err, ISO_ENUM, "training: the loss rose from %.3f to %.3f (smoothed) by step %lld: it diverges", s->loss_best, s->loss_ema,
             (long long)s->step + 1);
    return iso_hint(err, ISO_ENUM, "the last checkpoint is untouched; try a lower --lr or a longer warm-up");
  }
  if (s->loss_ema < s->loss_best) s->loss_best = s->loss_ema;
  return ISO_OK;
}

static iso_status one_step(iso_trainer *t, double factor, iso_step_fn on_step, void *arg, iso_err *err) {
  const iso_train_opts *o = &t->o;
  iso_hyp *hyp = iso_exec_at(t->exec, t->io.hyp, 0);
  double start = iso_now_s(t->ctx), n = (double)t->s.step + 1, muon_lr = o->muon_lr > 0 ? o->muon_lr : o->lr;
  int64_t counted;
  iso_step_info info = {.micro_sq = NAN, .micro_tok = NAN, .batch_tok = NAN};
  *hyp = (iso_hyp){.lr = o->lr * factor,
                   .beta1 = o->beta1,
                   .beta2 = o->beta2,
                   .eps = o->eps,
                   .weight_decay = o->weight_decay,
                   .bias1 = 1 - pow(o->beta1, n),
                   .bias2 = 1 - pow(o->beta2, n),
                   .momentum = o->momentum,
                   .muon_lr = muon_lr * factor,
                   .muon_decay = o->weight_decay,
                   .ns_steps = o->ns_steps,
                   .clip = o->clip};
  ISO_TRY(accumulate(t, hyp, &info, &counted, err));
  ISO_TRY(watch(t, info.loss, hyp->grad_sumsq, err));
  iso_exec_run(t->exec, ISO_SECTION_UPDATE);
  t->factor[t->s.step] = factor;
  t->s.step++;
  t->s.window += o->batch;
  t->s.tokens += counted;
  double took = iso_now_s(t->ctx) - start;
  // The first step touches all memory for the first time; it tells nothing about the others.
  if (t->s.step > 1) t->step_s = isfinite(t->step_s) ? 0.8 * t->step_s + 0.2 * took : took;
  info.step = t->s.step;
  info.tokens = t->s.tokens;
  info.grad_norm = sqrt(hyp->grad_sumsq);
  info.lr = hyp->lr;
  info.step_s = took;
  info.decaying = t->s.decay_p >= 0;
  return on_step ? on_step(arg, &info, err) : ISO_OK;
}

static iso_status loop(iso_trainer *t, bool may_decay, iso_step_fn on_step, void *arg, iso_err *err) {
  iso_train_state *s = &t->s;
  if (s->end > t->factor_cap)
    return iso_fail(err, ISO_EINVAL, "training: step %lld asked, the run was opened for %lld", (long long)s->end, (long long)t->factor_cap);
  if (t->replay && t->replay_n < s->end) s->end = t->replay_n;
  for (;;) {
    if (iso_cancelled(t->ctx)) return iso_fail(err, ISO_ECANCEL, "training stopped after step %lld", (long long)t->s.step);
    int64_t left = t->replay ? s->end - s->step : steps_left(t, s->end);
    if (left <= 0) return ISO_OK;
    ISO_TRY(one_step(t, schedule_factor(t, left, may_decay), on_step, arg, err));
  }
}

iso_status iso_trainer_run(iso_trainer *t, iso_step_fn on_step, void *arg, iso_err *err) { return loop(t, true, on_step, arg, err); }

iso_status iso_trainer_trunk(iso_trainer *t, int64_t steps, iso_step_fn on_step, void *arg, iso_err *err) {
  t->s.decay_p = -1;
  t->s.end = t->s.step + steps;
  return loop(t, false, on_step, arg, err);
}

iso_status iso_trainer_branch(iso_trainer *t, int64_t steps, iso_step_fn on_step, void *arg, iso_err *err) {
  t->s.decay_p = 0;
  t->s.end = t->s.step + steps;
  return loop(t, false, on_step, arg, err);
}

// ---- snapshots ------------------------------------------------------------------------------------------------------

struct iso_snapshot {
  iso_ctx *ctx;
  iso_train_state s;
  size_t weights, optim;
  unsigned char *data;  // owned; weights, then optimizer state
};

iso_status iso_snapshot_take(iso_trainer *t, iso_snapshot **out, iso_err *err) {
  int64_t optim;
  const void *state = iso_exec_buffer(t->exec, ISO_ROLE_OPTIM, &optim);
  iso_snapshot *s = *out;
  if (!s) {
    s = calloc(1, sizeof *s);
    if (!s) return iso_fail(err, ISO_ENOMEM, "no memory for a snapshot");
    s->ctx = t->ctx;
    s->weights = (size_t)t->m->weight_bytes;
    s->optim = (size_t)optim;
    void *p;
    iso_status st = iso_mem_get(t->ctx, s->weights + s->optim, "a snapshot of the trunk", &p, err);
    if (st != ISO_OK) {
      free(s);
      return st;
    }
    s->data = p;
    *out = s;
  }
  s->s = t->s;
  memcpy(s->data, t->m->weights, s->weights);
  memcpy(s->data + s->weights, state, s->optim);
  return ISO_OK;
}

void iso_snapshot_restore(iso_trainer *t, const iso_snapshot *s) {
  t->s = s->s;
  memcpy(t->m->weights, s->data, s->weights);
  memcpy(iso_exec_buffer(t->exec, ISO_ROLE_OPTIM, NULL), s->data + s->weights, s->optim);
}

void iso_snapshot_close(iso_snapshot *s) {
  if (!s) return;
  iso_mem_put(s->ctx, s->data, s->weights + s->optim);
  free(s);
}
