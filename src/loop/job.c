// One training run from start or checkpoint to an exported, evaluated model.
#include "loop/job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "model/fmt_safetensors.h"

enum { EVAL_WINDOWS = 8, CURVE_CHUNK = 64 };

iso_status iso_job_batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  const iso_job_feed *f = arg;
  return iso_batch_at(f->data, f->seed, first, n, t, x, y, err);
}

static void val_ids(void *arg, int64_t start, int64_t n, int32_t *out) {
  const iso_shard *s = arg;
  iso_err none = {0};
  if (iso_shard_read(s, (uint64_t)start, n, out, &none) != ISO_OK) memset(out, 0, (size_t)n * sizeof *out);
}

iso_status iso_job_eval(iso_env *e, iso_model *m, int64_t ctx, int64_t limit_tok, double end_s, iso_loss *out, iso_err *err) {
  iso_eval *ev;
  ISO_TRY(iso_eval_open(m, EVAL_WINDOWS, ctx, &ev, err));
  iso_eval_deadline(ev, end_s);
  iso_status st = iso_eval_run(ev, val_ids, (void *)(uintptr_t)&e->data->val, e->data->val_tokens, limit_tok, out, err);
  iso_eval_close(ev);
  return st;
}

// ---- state of a run -------------------------------------------------------------------------------------------------

typedef struct job {
  iso_env *e;
  const iso_job_opts *o;
  iso_model *m;
  iso_trainer *t;
  iso_job_feed feed;
  iso_phase phase;
  char checkpoint[4200];
  iso_store_sample curve[CURVE_CHUNK];
  int n_curve;
  double loss_ema, last_save_s, started_s, save_s;
  int64_t stride;   // steps between curve samples
  iso_shard watch;  // the last training shard, whose end is kept back to watch over-fitting
  int64_t watch_from, watch_tok;
  double watch_best;
  int watch_worse;
  int64_t next_watch;
  bool early;
  iso_noise_window noise;
} job;

static iso_status flush_curve(job *j, iso_err *err) {
  int n = j->n_curve;
  j->n_curve = 0;
  return n > 0 ? iso_store_curve_add(j->e->store, j->e->run_id, j->curve, n, err) : ISO_OK;
}

// ---- the gradient's noise -------------------------------------------------------------------------------------------

enum { NOISE_SUMS = 7 };  // of a window's two halves: what iso_noise_scale has beside its batches

static json_t *noise_state(const iso_noise_window *w) {
  json_t *a = json_array();
  const iso_noise_scale *half[2] = {&w->old, &w->young};
  const int64_t count[3] = {w->n, w->old_from, w->young_from};
  for (int i = 0; i < 3; i++) json_array_append_new(a, json_integer((json_int_t)count[i]));
  for (int i = 0; i < 2; i++) {
    const iso_noise_scale *s = half[i];
    const double v[NOISE_SUMS] = {(double)s->n, s->mean_g, s->mean_s, s->var_g, s->var_s, s->cov, s->big};
    for (int k = 0; k < NOISE_SUMS; k++) json_array_append_new(a, json_real(v[k]));
  }
  return a;
}

// Goes on where a checkpoint ended.
static void noise_resume(iso_noise_window *w, const json_t *a) {
  if (json_array_size(a) != 3 + 2 * NOISE_SUMS) return;
  w->n = json_integer_value(json_array_get(a, 0));
  w->old_from = json_integer_value(json_array_get(a, 1));
  w->young_from = json_integer_value(json_array_get(a, 2));
  for (int i = 0; i < 2; i++) {
    double v[NOISE_SUMS];
    iso_noise_scale *s = i ? &w->young : &w->old;
    for (int k = 0; k < NOISE_SUMS; k++) v[k] = json_number_value(json_array_get(a, (size_t)(3 + i * NOISE_SUMS + k)));
    *s = (iso_noise_scale){s->small, v[6], (int64_t)v[0], v[1], v[2], v[3], v[4], v[5]};
  }
}

// The scale now; NaN while the steps do not tell.
static double add_noise(job *j, const iso_step_info *i) {
  iso_err none = {0};
  iso_noise_answer a;
  if (isfinite(i->micro_sq)) (void)iso_noise_window_add(&j->noise, i->micro_tok, i->batch_tok, i->micro_sq, i->grad_norm * i->grad_norm, &none);
  return iso_noise_scale_get(&j->noise.old, &a, &none) == ISO_OK ? a.batch : NAN;
}

json_t *iso_job_noise_json(const iso_noise_window *w) {
  iso_err why = {0};
  iso_noise_answer a;
  double steps = NAN, tokens = NAN;
  if (w->n == 0) return NULL;
  bool told = iso_noise_scale_get(&w->old, &a, &why) == ISO_OK;
  if (told) iso_noise_tradeoff(a.batch, w->old.big, &steps, &tokens);
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s?}", "noise_scale_tok", iso_json_num(a.batch), "se_tok", iso_json_num(a.se),
                   "critical_batch_tok", iso_json_num(a.batch), "batch_tok", iso_json_num(w->old.big), "steps_over_fewest", iso_json_num(steps),
                   "tokens_over_fewest", iso_json_num(tokens), "grad_sq", iso_json_num(a.grad_sq), "trace", iso_json_num(a.trace), "steps",
                   (json_int_t)w->old.n, "from_step", (json_int_t)w->old_from, "why_not", told ? NULL : why.msg);
}

static iso_status save(job *j, iso_err *err) {
  double start = iso_now_s(j->e->ctx);
  iso_cost used = iso_env_measured(j->e);
  const iso_res counted[] = {ISO_RES_train_flop, ISO_RES_moved, ISO_RES_tok};  // of the phase that is not closed yet
  for (size_t i = 0; i < ISO_COUNT(counted); i++)
    *iso_cost_at(&used, counted[i]) = iso_est_add(iso_cost_get(&used, counted[i]), iso_cost_get(&j->phase.meter.counted, counted[i]));
  json_t *extra = json_pack("{s:o, s:s}", "used", iso_cost_json(&used), "run", j->e->run_id);
  if (extra && j->noise.n > 0) json_object_set_new(extra, "noise", noise_state(&j->noise));
  iso_status st = iso_trainer_save(j->t, j->checkpoint, extra, err);
  json_decref(extra);
  j->last_save_s = iso_now_s(j->e->ctx);
  j->save_s = j->last_save_s - start;
  return st;
}

static void watch_ids(void *arg, int64_t start, int64_t n, int32_t *out) {
  const job *j = arg;
  iso_err none = {0};
  if (iso_shard_read(&j->watch, (uint64_t)(j->watch_from + start), n, out, &none) != ISO_OK) memset(out, 0, (size_t)n * sizeof *out);
}

// On texts that are seen many times, a part kept back from training tells when more epochs start to hurt: then the decay begins.
static iso_status look_for_overfitting(job *j, iso_err *err) {
  iso_eval *ev;
  iso_loss l;
  int64_t step = iso_trainer_step(j->t), seq = j->o->choice->opts.seq;
  if (!j->o->watch || j->watch_tok <= 0 || step < j->next_watch || iso_trainer_state(j->t)->decay_p >= 0) return ISO_OK;
  j->next_watch = step + (j->o->choice->opts.steps / 25 > 10 ? j->o->choice->opts.steps / 25 : 10);
  ISO_TRY(iso_eval_open(j->m, EVAL_WINDOWS, seq, &ev, err));
  iso_status st = iso_eval_run(ev, watch_ids, j, j->watch_tok, 0, &l, err);
  iso_eval_close(ev);
  if (st != ISO_OK) return st;
  if (l.nats_per_tok < j->watch_best - 1e-3) {
    j->watch_best = l.nats_per_tok;
    j->watch_worse = 0;
  } else if (++j->watch_worse >= 2) {
    int64_t n = step / 3 > 5 ? step / 3 : 5;
    iso_env_note(j->e, ISO_EVENT_NOTE, "train", "loss on text kept back from training stopped falling at step %lld: decaying over %lld steps",
                 (long long)step, (long long)n);
    iso_trainer_end_in(j->t, n);
    j->early = true;
  }
  return ISO_OK;
}

static void keep_back(job *j) {
  const iso_shards *d = j->e->data;
  double epochs = (double)(j->o->choice->opts.steps * j->o->choice->opts.batch * j->o->choice->opts.seq) / (double)d->train_tokens;
  int64_t seq = j->o->choice->opts.seq, n = d->train_tokens / 50;
  j->watch_best = INFINITY;
  if (n > 24 * seq) n = 24 * seq;
  if (j->o->repeat)
    n = j->o->kept_back;
  else if (epochs < 3 || !j->o->watch || n < 2 * seq)
    return;
  if (n <= 0) return;
  iso_shard *last = &d->train[d->n_train - 1];
  if ((int64_t)last->n_tokens < 2 * n) return;
  j->watch = *last;
  j->watch_from = (int64_t)last->n_tokens - n;
  j->watch_tok = n;
  last->n_tokens -= (uint64_t)n;
  j->e->data->train_start[d->n_train] -= (uint64_t)n;
  j->e->data->train_tokens -= n;
}

static void give_back(job *j) {
  if (j->watch_tok <= 0) return;
  iso_shards *d = j->e->data;
  d->train[d->n_train - 1].n_tokens += (uint64_t)j->watch_tok;
  d->train_start[d->n_train] += (uint64_t)j->watch_tok;
  d->train_tokens += j->watch_tok;
}

// Training ends early enough for the evaluation and what comes after it, at the pace that the machine shows now.
static void keep_time(job *j) {
  const iso_choice *ch = j->o->choice;
  if (!j->o->follow_clock) return;
  double pace = iso_trainer_step_s(j->t) / ch->step_s;
  iso_trainer_deadline(j->t, iso_env_end_s(j->e, NULL) - j->o->reserve_s - 1.1 * ch->eval_s * (pace > 1 ? pace : 1));
}

static iso_status on_step(void *arg, const iso_step_info *i, iso_err *err) {
  job *j = arg;
  iso_env *e = j->e;
  const iso_choice *ch = j->o->choice;
  double now = iso_now_s(e->ctx);
  j->loss_ema = isfinite(j->loss_ema) ? 0.98 * j->loss_ema + 0.02 * i->loss : i->loss;
  iso_meter_count(&j->phase.meter, ISO_RES_train_flop, ch->price.model_flop_step);
  iso_meter_count(&j->phase.meter, ISO_RES_moved, ch->price.bytes_step);
  iso_meter_count(&j->phase.meter, ISO_RES_tok, (double)(ch->opts.batch * ch->opts.seq));
  if (i->step % 16 == 1) iso_meter_sample(&j->phase.meter);
  if (i->step % j->stride == 0 || i->step == 1) {
    iso_store_sample s = iso_store_sample_blank();
    s.step = i->step;
    s.tokens = (double)i->tokens;
    s.t_s = now - e->ctx->start_s;
    s.train_loss = i->loss;
    s.lr = i->lr;
    s.grad_norm = i->grad_norm;
    s.event = i->decaying ? "decay" : NULL;
    j->curve[j->n_curve++] = s;
    if (j->n_curve == CURVE_CHUNK) ISO_TRY(flush_curve(j, err));
  }
  iso_event ev = iso_event_blank(ISO_EVENT_PROGRESS, "train");
  double step_s = iso_trainer_step_s(j->t), per = (double)(ch->opts.batch * ch->opts.seq);
  ev.step = i->step;
  ev.steps = iso_trainer_state(j->t)->end;
  ev.loss = j->loss_ema;
  ev.tok_per_s = per / step_s;
  ev.mfu = ch->price.model_flop_step / step_s / iso_env_peak_flop_s(e);
  double end = iso_env_end_s(e, NULL);
  ev.used_frac = isfinite(end) ? (now - e->ctx->start_s) / (end - e->ctx->start_s) : NAN;
  ev.eta_s = isfinite(end) ? fmax(0, end - now) : (double)(ev.steps - i->step) * step_s;
  if (ch->opts.measure_gns) ev.noise_tok = add_noise(j, i);
  ev.text = i->decaying ? "decay" : "";
  iso_emit(e->ctx, &ev);
  keep_time(j);
  // A checkpoint a minute, more seldom when writing one takes long.
  if (now - j->last_save_s > fmax(60, 50 * j->save_s)) ISO_TRY(save(j, err));
  return look_for_overfitting(j, err);
}

static iso_status open_model(job *j, iso_err *err) {
  const iso_choice *ch = j->o->choice;
  if (!j->o->init_dir) {
    ISO_TRY(iso_model_open(j->e->ctx, &ch->config, &j->m, err));
    iso_model_init(j->m, ch->opts.seed);
    return ISO_OK;
  }
  ISO_TRY(iso_model_load_hf(j->e->ctx, j->o->init_dir, &j->m, err));
  if (j->m->config.vocab != j->e->data->vocab)
    return iso_fail(err, ISO_EINVAL, "%s: the model has a vocabulary of %lld, the data of %d", j->o->init_dir, (long long)j->m->config.vocab,
                    j->e->data->vocab);
  return ISO_OK;
}

static iso_status resume(job *j, iso_err *err) {
  if (!iso_file_exists(j->checkpoint)) return ISO_OK;
  json_t *extra = NULL;
  ISO_TRY(iso_trainer_load(j->t, j->checkpoint, &extra, err));
  if (j->o->choice->opts.measure_gns) noise_resume(&j->noise, json_object_get(extra, "noise"));
  json_decref(extra);
  iso_env_note(j->e, ISO_EVENT_NOTE, "train", "going on after step %lld", (long long)iso_trainer_step(j->t));
  return ISO_OK;
}

static iso_status record_schedule(job *j, iso_err *err) {
  char path[4200];
  int64_t n;
  const double *f = iso_trainer_factors(j->t, &n);
  json_t *a = json_array();
  for (int64_t i = 0; a && i < n; i++) json_array_append_new(a, json_real(f[i]));
  json_t *doc =
      json_pack("{s:s, s:o, s:I, s:o, s:o, s:o}", "run", j->e->run_id, "text", iso_job_data_json(j->e), "kept_back_tok", (json_int_t)j->watch_tok,
                "config", iso_config_json(&j->m->config), "options", iso_train_opts_json(iso_trainer_opts(j->t)), "factor", a);
  (void)snprintf(path, sizeof path, "%s/schedule.json", j->o->out_dir);
  iso_status st = doc ? iso_json_save(j->e->ctx, path, doc, err) : iso_fail(err, ISO_ENOMEM, "no memory for the schedule");
  json_decref(doc);
  return st;
}

// The model is written in any case: when the clock has run out, what it costs is booked without having been reserved.
static iso_status export(job *j, iso_err *err) {
  iso_cost cost = iso_env_seconds(j->e, iso_est_range(0.02, 0.1, 0.4));
  cost.disk = iso_est_rel((double)j->m->weight_bytes, 0.2);
  iso_phase p;
  iso_err none = {0};
  iso_meter late;
  bool held = iso_phase_start(j->e, "export", &cost, &p, &none) == ISO_OK;
  if (!held) iso_meter_start(j->e->ctx, &j->e->hw, &late);
  iso_hf_opts ho = {.dtype = ISO_DTYPE_f32, .bos_id = iso_tok_eot(j->e->tok), .eos_id = iso_tok_eot(j->e->tok)};
  iso_status st = iso_tok_save_hf(j->e->ctx, j->e->tok, j->o->out_dir, err);
  if (st == ISO_OK) st = iso_model_save_hf(j->e->ctx, j->m, j->o->out_dir, &ho, err);
  if (held) {
    iso_meter_count(&p.meter, ISO_RES_disk, (double)j->m->weight_bytes);
    iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
    return st == ISO_OK ? end : st;
  }
  iso_meter_stop(&late, &cost);
  iso_status end = iso_run_charge(j->e->run, "export", &cost, st == ISO_OK ? err : NULL);
  return st == ISO_OK ? end : st;
}

static iso_status evaluate(job *j, iso_job_result *out, iso_err *err) {
  const iso_choice *ch = j->o->choice;
  double n = (double)j->e->data->val_tokens, flop = iso_eval_flop(&ch->config, (int64_t)n, ch->opts.seq);
  iso_cost cost = iso_env_seconds(j->e, iso_est_range(0.5 * ch->eval_s, ch->eval_s, 1.15 * ch->eval_s));
  cost.infer_flop = iso_est_exact(flop);
  iso_phase p;
  ISO_TRY(iso_phase_start(j->e, "evaluate", &cost, &p, err));
  iso_note(j->e->ctx, ISO_EVENT_PHASE, "evaluate", "%.3f M held-out tokens", n / 1e6);
  // A machine that has slowed down meanwhile does not make the job late: what has been scored by then counts.
  double end = j->o->follow_clock ? iso_env_end_s(j->e, NULL) - j->o->reserve_s : INFINITY;
  iso_status st = iso_job_eval(j->e, j->m, ch->opts.seq, 0, end, &out->val, err);
  if (st == ISO_OK && out->val.tokens < (int64_t)n - 1)
    iso_env_note(j->e, ISO_EVENT_WARN, "evaluate", "the machine is slower than it was: scored on the first %.0f%% of the held-out tokens",
                 100 * (double)out->val.tokens / n);
  iso_meter_count(&p.meter, ISO_RES_infer_flop, out->val.tokens < (int64_t)n - 1 ? iso_eval_flop(&ch->config, out->val.tokens, ch->opts.seq) : flop);
  iso_status closed = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  out->eval = p.measured;
  out->bits_per_byte = out->val.nats_per_tok / log(2) / j->e->val_bytes_per_tok;
  return st == ISO_OK ? closed : st;
}

static iso_status train(job *j, iso_job_result *out, iso_err *err) {
  const iso_choice *ch = j->o->choice;
  iso_env *e = j->e;
  ISO_TRY(iso_phase_start(e, "train", &ch->cost, &j->phase, err));
  j->started_s = j->last_save_s = iso_now_s(e->ctx);
  char text[160];
  iso_note(e->ctx, ISO_EVENT_PHASE, "train", "%s: %.2f M parameters, %.2f M tokens, batch %lld x %lld, lr %.2g",
           iso_config_print(&j->m->config, text, sizeof text), (double)ch->price.params / 1e6, ch->tokens / 1e6, (long long)ch->opts.batch,
           (long long)ch->opts.seq, ch->opts.lr);
  if (j->o->follow_clock) iso_trainer_deadline(j->t, iso_env_end_s(e, NULL) - j->o->reserve_s - 1.1 * ch->eval_s);  // until keep_time knows more
  if (j->o->repeat) iso_trainer_replay(j->t, j->o->factors, j->o->n_factors);
  iso_status st = iso_trainer_run(j->t, on_step, j, err);
  iso_err late = {0};
  if (st == ISO_ECANCEL && save(j, &late) != ISO_OK) {
    *err = late;
    st = late.status;
  }
  (void)flush_curve(j, &late);
  iso_status end = iso_phase_end(&j->phase, st == ISO_OK ? err : NULL);
  out->train = j->phase.measured;
  out->steps = iso_trainer_step(j->t);
  out->tokens = iso_trainer_tokens(j->t);
  out->train_loss = j->loss_ema;
  out->stopped = st == ISO_ECANCEL;
  out->early = j->early;
  out->noise = j->noise;
  return st == ISO_OK ? end : st;
}

static iso_status record_point(job *j, const iso_job_result *r, iso_err *err) {
  const iso_choice *ch = j->o->choice;
  iso_store_point p[2] = {iso_store_point_blank(), iso_store_point_blank()};
  for (int k = 0; k < 2; k++) {
    p[k].run = j->e->run_id;
    p[k].predicted = k == 1;
    p[k].label = j->o->point_label;
    p[k].metric = "bits_per_byte";
    p[k].n_params = (double)r->params;
  }
  p[0].quality = r->bits_per_byte;
  p[0].stderr_ = r->val_stderr / log(2) / j->e->val_bytes_per_tok;
  p[0].d_tokens = (double)r->tokens;
  p[0].flops = r->train.train_flop.mean;
  p[0].cost = r->train;
  p[1].quality = ch->bpb.mean;
  p[1].q_lo = ch->bpb.lo;
  p[1].q_hi = ch->bpb.hi;
  p[1].d_tokens = ch->tokens;
  p[1].flops = ch->cost.train_flop.mean;
  p[1].cost = ch->cost;
  return iso_store_points_add(j->e->store, p, 2, err);
}

iso_status iso_job_run(iso_env *e, const iso_job_opts *o, iso_job_result *out, iso_err *err) {
  job *j = calloc(1, sizeof *j);
  if (!j) return iso_fail(err, ISO_ENOMEM, "no memory for a job");
  *out = (iso_job_result){.params = o->choice->price.params, .val_stderr = NAN, .peak_planned_b = o->choice->price.mem_b};
  j->e = e;
  j->o = o;
  j->loss_ema = NAN;
  iso_status st;
  ISO_TRYG(iso_mkdirs(o->out_dir, err));
  (void)snprintf(j->checkpoint, sizeof j->checkpoint, "%s/checkpoint.safetensors", o->out_dir);
  ISO_TRYG(open_model(j, err));
  keep_back(j);
  j->feed = (iso_job_feed){e->data, o->choice->opts.seed};
  // With the clock in charge a faster machine than predicted takes more steps, also one that was calibrated while it was busy.
  iso_train_opts opts = o->choice->opts;
  if (o->steps > 0) {
    opts.steps = o->steps;
  } else if (o->follow_clock && o->choice->timed) {
    iso_budget left = iso_run_left(e->run);
    double most = fmin(left.train_flop / o->choice->price.model_flop_step, left.tok / (double)(opts.batch * opts.seq));
    most = fmin(most, left.moved / o->choice->price.bytes_step);
    opts.steps = (int64_t)fmin((double)opts.steps * 16 + 1000, fmax(most, (double)opts.steps));
  }
  ISO_TRYG(iso_trainer_open(e->ctx, j->m, &opts, iso_job_batch, &j->feed, &j->t, err));
  if (opts.measure_gns) ISO_TRYG(iso_noise_window_open((double)(opts.micro * opts.seq), (double)(opts.batch * opts.seq), &j->noise, err));
  j->stride = o->choice->opts.steps / 1000 > 1 ? o->choice->opts.steps / 1000 : 1;
  ISO_TRYG(resume(j, err));
  ISO_TRYG(train(j, out, err));
  ISO_TRYG(record_schedule(j, err));
  iso_trainer_close(j->t);  // its memory is not needed beside the evaluation's
  j->t = NULL;
  iso_err unpaid = {0};
  st = evaluate(j, out, &unpaid);
  if (st == ISO_EBUDGET) {  // what has been trained is kept: scoring can be done later
    ISO_TRYG(export(j, err));
    (void)unlink(j->checkpoint);
    *err = unpaid;
    st = iso_hint(err, ISO_EBUDGET, "the machine was slower than planned: the model is in %.250s, not scored (isoflop eval does that)", o->out_dir);
    goto done;
  }
  if (st != ISO_OK) {
    *err = unpaid;
    goto done;
  }
  ISO_TRYG(export(j, err));
  ISO_TRYG(record_point(j, out, err));
  (void)unlink(j->checkpoint);
done:
  give_back(j);
  iso_trainer_close(j->t);
  iso_model_close(j->m);
  free(j);
  return st;
}

iso_status iso_job_used(const json_t *j, const char *what, iso_cost *out, iso_err *err) {
  *out = iso_cost_zero();
  const json_t *used = json_object_get(j, "used");
  if (!used) return iso_fail(err, ISO_EFORMAT, "%s: lacks what the run has used", what);
  ISO_TRY(iso_cost_from_json(used, what, out, err));
  if (!(out->wall.mean >= 0) || !(out->cpu.mean >= 0)) return iso_fail(err, ISO_EFORMAT, "%s: the seconds used are not known", what);
  return ISO_OK;
}

iso_status iso_job_pending_open(const char *out_dir, iso_job_pending *out, iso_err *err) {
  char path[4200], file[4200];
  *out = (iso_job_pending){.used = iso_cost_zero()};
  (void)snprintf(file, sizeof file, "%s/job.json", out_dir);
  (void)snprintf(path, sizeof path, "%s/checkpoint.safetensors", out_dir);
  if (!iso_file_exists(file) || !iso_file_exists(path)) return ISO_OK;
  iso_st *f = NULL;
  json_t *extra = NULL, *meta = NULL;
  iso_status st;
  ISO_TRYG(iso_st_open(path, &f, err));
  const char *more = iso_st_metadata(f, "isoflop.extra"), *text = iso_st_metadata(f, "isoflop.checkpoint");
  if (!more || !text) {
    st = iso_fail(err, ISO_EFORMAT, "%s: a safetensors file, but not a checkpoint of isoflop", path);
    goto done;
  }
  ISO_TRYG(iso_json_parse(more, strlen(more), path, &extra, err));
  ISO_TRYG(iso_json_parse(text, strlen(text), path, &meta, err));
  ISO_TRYG(iso_job_used(extra, path, &out->used, err));
  ISO_TRYG(iso_json_get_i64(json_object_get(meta, "options"), "steps", path, 1, INT64_C(1) << 53, &out->steps, err));
  ISO_TRYG(iso_json_get_i64(meta, "step", path, 0, out->steps, &out->step, err));
  ISO_TRYG(iso_json_load(file, &out->job, err));
  out->there = true;
done:
  if (st != ISO_OK) iso_hint(err, st, "delete %.300s to start this run afresh", path);
  json_decref(extra);
  json_decref(meta);
  iso_st_close(f);
  return st;
}

void iso_job_pending_close(iso_job_pending *p) { json_decref(p->job); }

json_t *iso_job_data_json(const iso_env *e) {
  char text[80];
  const iso_shards *d = e->data;
  uint64_t h = d->tok_hash ^ d->val.payload_hash;
  for (int i = 0; i < d->n_train; i++) h = h * 0x9E3779B97F4A7C15u + d->train[i].payload_hash;
  (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)h);
  return json_string(text);
}

iso_status iso_job_same(const json_t *saved, const json_t *now, const char *out_dir, const char *file, iso_err *err) {
  const json_t *side[2] = {saved, now};
  if (!saved || !now) return ISO_OK;
  for (int i = 0; i < 2; i++) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)side[i], key, v) {
      if (json_equal(v, json_object_get(side[1 - i], key))) continue;
      iso_fail(err, ISO_EINVAL, "%s holds an unfinished run that was started with another %s%s", out_dir, strcmp(key, "text") == 0 ? "" : "--", key);
      return iso_hint(err, ISO_EINVAL, "the same options go on with it; another --out starts afresh, and so does deleting %.200s/%s", out_dir, file);
    }
  }
  return ISO_OK;
}
