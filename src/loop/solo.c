// From text and a budget to one trained model.
#include "loop/solo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

// Wall seconds kept for export, store and exit.
#define LAST_S 0.8

static double budget_flop(iso_env *e) {
  iso_budget b = iso_run_left(e->run);
  double s = iso_env_affordable_s(e), rate = isfinite(e->hw.gemm_f32_flop_s) ? 0.6 * e->hw.gemm_f32_flop_s : 5e10;
  return fmin(b.train_flop, isfinite(s) ? s * rate : INFINITY);
}

// Text that can be read and encoded in a tenth of the time: more would never be trained on.
static size_t text_limit(iso_env *e, const iso_solo_opts *o) {
  double s = iso_env_affordable_s(e), can = 0.1 * s * 12e6;
  if (o->max_bytes > 0) return (size_t)o->max_bytes;
  return isfinite(can) && can < 1e15 ? (size_t)fmax(can, 64e6) : 0;
}

static iso_status prepare_data(iso_env *e, const iso_solo_opts *o, iso_err *err) {
  if (o->data_dir) return iso_env_open_shards(e, o->data_dir, err);
  char dir[4200], tok[4200];
  (void)snprintf(dir, sizeof dir, "%s/data", o->out_dir);
  ISO_TRY(iso_mkdirs(dir, err));
  iso_data_opts d = {.paths = o->texts, .n_paths = o->n_texts, .out_dir = dir};
  d.source.max_bytes = text_limit(e, o);
  double bytes = 40e6;
  if (o->n_texts > 0) {
    bytes = 0;
    for (int i = 0; i < o->n_texts; i++) {
      iso_map m;
      iso_err none = {0};
      if (iso_map_open(o->texts[i], &m, &none) == ISO_OK) bytes += (double)m.size;
      iso_map_close(&m);
    }
  }
  if (o->init_dir) {
    (void)snprintf(tok, sizeof tok, "%s/tokenizer.json", o->init_dir);
    d.tokenizer = tok;
  }
  d.vocab = o->vocab > 0 ? (int)o->vocab : iso_recipe_vocab(budget_flop(e), bytes);
  if (d.source.max_bytes > 0 && bytes > (double)d.source.max_bytes)
    iso_env_note(e, ISO_EVENT_WARN, "data", "reading the first %.0f MB of %.0f MB: the budget cannot use more (--max-bytes decides otherwise)",
                 (double)d.source.max_bytes / 1e6, bytes / 1e6);
  // Learning merges needs no more than a sample of a large text.
  d.tok_max_bytes = 16000000;
  iso_data_report rep;
  return iso_env_data(e, &d, &rep, err);
}

// What the user fixed, on top of the recipe.
static void apply_user(const iso_solo_opts *o, iso_train_opts *t) {
  if (o->optim) t->optim = o->optim;
  if (o->schedule) t->schedule = o->schedule;
  if (isfinite(o->lr)) t->lr = o->lr;
  if (isfinite(o->muon_lr)) t->muon_lr = o->muon_lr;
  if (isfinite(o->weight_decay)) t->weight_decay = o->weight_decay;
  if (o->batch > 0) t->batch = o->batch;
  if (o->seq > 0) t->seq = o->seq;
  if (o->steps > 0) t->steps = o->steps;
  if (o->micro > 0) t->micro = o->micro;
  if (o->recompute > 0) t->recompute = (int)o->recompute;
  if (t->warmup > t->steps / 3) t->warmup = t->steps / 3;
}

static iso_status choose(iso_env *e, const iso_solo_opts *o, iso_choice *out, iso_err *err) {
  iso_budget left = iso_run_left(e->run);
  iso_choose_opts c = {.seconds = iso_env_affordable_s(e),
                       .other_s = LAST_S,
                       .train_flop = left.train_flop,
                       .tokens = left.tok,
                       .peak_ram = left.peak_ram,
                       .vocab = e->data->vocab,
                       .ctx = o->seq > 0 ? o->seq : 256,
                       .unique_tokens = (double)e->data->train_tokens,
                       .val_tokens = (double)e->data->val_tokens,
                       .seed = o->seed,
                       .params_max = INFINITY};
  while (c.ctx > 8 && e->data->train_tokens < 4 * (c.ctx + 1)) c.ctx /= 2;  // a text shorter than a few windows
  iso_model_config fixed;
  iso_train_opts opts;
  iso_loss_law law = iso_loss_law_shipped();
  if (o->shape) {
    ISO_TRY(iso_config_parse(o->shape, &fixed, err));
    if (fixed.vocab != e->data->vocab) {
      iso_fail(err, ISO_EINVAL, "--model %s has a vocabulary of %lld, the data of %d", o->shape, (long long)fixed.vocab, e->data->vocab);
      return iso_hint(err, ISO_EINVAL, "write %d in its place, or give --vocab %lld", e->data->vocab, (long long)fixed.vocab);
    }
    if (o->seq <= 0) c.ctx = fixed.ctx;
    c.fixed = &fixed;
  }
  iso_model *init = NULL;
  if (o->init_dir) {
    ISO_TRY(iso_model_load_hf(e->ctx, o->init_dir, &init, err));
    fixed = init->config;
    iso_model_close(init);
    if (o->seq <= 0 && fixed.ctx < c.ctx) c.ctx = fixed.ctx;
    c.fixed = &fixed;
  }
  // Steps given by the user set the length that batch and rates are chosen for: that of the smallest batch.
  double asked = o->steps > 0 ? (double)o->steps * (o->batch > 0 ? (double)(o->batch * c.ctx) : fmax(1024.0, (double)c.ctx)) : INFINITY,
         limit = c.tokens;
  c.tokens = fmin(limit, fmax(asked, 16384.0));  // never less than one step of the recipe
  ISO_TRY(iso_choose(e, &c, &law, out, err));
  c.tokens = limit;
  opts = out->opts;
  apply_user(o, &opts);
  ISO_TRY(iso_train_opts_check(&opts, err));
  if (o->init_dir) {  // a trained model is tuned gently
    if (!isfinite(o->lr)) opts.lr *= 0.2;
    if (!isfinite(o->muon_lr)) opts.muon_lr *= 0.2;
  }
  fixed = out->config;
  c.fixed = &fixed;
  c.fixed_opts = &opts;
  if (o->steps <= 0) opts.steps = INT64_C(1000000000);
  char why[sizeof out->why];
  memcpy(why, out->why, sizeof why);
  iso_choice again;
  if (!iso_choose_price(e, &c, &fixed, &law, &again)) {
    iso_fail(err, ISO_EBUDGET, "the budget does not pay for training: %s", again.why);
    return ISO_EBUDGET;
  }
  memcpy(again.why, why, sizeof why);
  *out = again;
  return ISO_OK;
}

// {"model": ..., "options": ...}: what job.json keeps and --config takes.
static iso_status choice_from_file(iso_env *e, const iso_solo_opts *o, const json_t *j, const char *what, iso_choice *out, iso_err *err) {
  static const char *const KEYS[] = {"model", "options", "predicted", "why", NULL};
  iso_model_config c;
  iso_train_opts opts = iso_train_defaults();
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  if (!json_object_get(j, "model") || !json_object_get(j, "options")) return iso_fail(err, ISO_EFORMAT, "%s: needs \"model\" and \"options\"", what);
  ISO_TRY(iso_config_from_json(json_object_get(j, "model"), &c, err));
  ISO_TRY(iso_train_opts_from_json(json_object_get(j, "options"), &opts, err));
  if (c.vocab != e->data->vocab)
    return iso_fail(err, ISO_EINVAL, "%s: a vocabulary of %lld, the data has %d", what, (long long)c.vocab, e->data->vocab);
  iso_budget left = iso_run_left(e->run);
  iso_choose_opts co = {.seconds = iso_env_affordable_s(e),
                        .other_s = LAST_S,
                        .train_flop = left.train_flop,
                        .tokens = left.tok,
                        .peak_ram = left.peak_ram,
                        .vocab = c.vocab,
                        .ctx = opts.seq,
                        .unique_tokens = (double)e->data->train_tokens,
                        .val_tokens = (double)e->data->val_tokens,
                        .seed = opts.seed,
                        .params_max = INFINITY,
                        .fixed = &c,
                        .fixed_opts = &opts};
  iso_loss_law law = iso_loss_law_shipped();
  if (!iso_choose_price(e, &co, &c, &law, out)) {
    iso_fail(err, ISO_EBUDGET, "the budget does not pay for training: %s", out->why);
    return ISO_EBUDGET;
  }
  (void)o;
  out->opts = opts;  // steps as they were planned: a resumed run keeps its schedule
  (void)snprintf(out->why, sizeof out->why, "as written in %.200s", what);
  return ISO_OK;
}

static iso_status write_job(iso_env *e, const iso_solo_opts *o, const iso_choice *c, iso_err *err) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/job.json", o->out_dir);
  json_t *j = json_pack("{s:o, s:o, s:o, s:s}", "model", iso_config_json(&c->config), "options", iso_train_opts_json(&c->opts), "predicted",
                        iso_choice_json(c), "why", c->why);
  iso_status st = j ? iso_json_save(e->ctx, path, j, err) : iso_fail(err, ISO_ENOMEM, "no memory for job.json");
  json_decref(j);
  return st;
}

iso_status iso_solo_used(const iso_solo_opts *o, double *used_s, iso_err *err) {
  bool pending;
  json_t *config;
  ISO_TRY(iso_job_pending(o->out_dir, &pending, used_s, &config, err));
  json_decref(config);
  return ISO_OK;
}

// The whole job's prediction: what was used before the plan, then the plan.
static iso_cost whole_prediction(iso_env *e, const iso_choice *c) {
  iso_cost before = iso_env_measured(e), eval = iso_env_seconds(e, iso_est_range(0.85 * c->eval_s, c->eval_s, 1.15 * c->eval_s));
  iso_cost last = iso_env_seconds(e, iso_est_range(0.05, 0.3, LAST_S));
  eval.infer_flop = iso_est_exact(iso_eval_flop(&c->config, e->data->val_tokens, c->opts.seq));
  before.instr = iso_est_unknown();
  // The high-water mark of the plan counts everything that is alive at once.
  iso_cost whole = iso_cost_serial(iso_cost_serial(before, c->cost), iso_cost_serial(eval, last));
  iso_env_clamp(e, &whole);
  return whole;
}

json_t *iso_solo_result(iso_env *e, const iso_choice *c, const iso_job_result *r, const iso_cost *predicted) {
  iso_cost m = iso_env_measured(e);
  json_t *pred = iso_cost_json(predicted), *meas = iso_cost_json(&m);
  json_object_set_new(pred, "bits_per_byte", json_pack("[f,f,f]", c->bpb.lo, c->bpb.mean, c->bpb.hi));
  if (r) {
    json_object_set_new(meas, "bits_per_byte", iso_json_num(r->bits_per_byte));
    json_object_set_new(meas, "val_loss_nats", iso_json_num(r->val.nats_per_tok));
  }
  json_t *summary = json_pack("{s:O, s:o}", "notes", e->notes, "hw", iso_hw_json(&e->hw));
  json_object_set_new(summary, "plan",
                      json_pack("{s:f, s:f, s:I, s:f, s:o, s:s, s:{s:[f,f,f]}}", "params", (double)c->price.params, "tokens", c->tokens, "batch_tok",
                                (json_int_t)(c->opts.batch * c->opts.seq), "lr", c->opts.lr, "config", iso_config_json(&c->config), "why", c->why,
                                "predicted", "bpb", c->bpb.lo, c->bpb.mean, c->bpb.hi));
  return json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "run", e->run_id, "params", (json_int_t)c->price.params, "tokens",
                   (json_int_t)(r ? r->tokens : (int64_t)c->tokens), "elapsed_s", json_real(iso_now_s(e->ctx) - e->ctx->start_s), "bits_per_byte",
                   r ? iso_json_num(r->bits_per_byte) : json_null(), "val_loss_nats", r ? iso_json_num(r->val.nats_per_tok) : json_null(),
                   "predicted", pred, "measured", meas, "plan", iso_choice_json(c), "summary", summary);
}

static iso_status load_replay(const char *dir, double **factor, int64_t *n, json_t **doc, iso_err *err) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/schedule.json", dir);
  ISO_TRY(iso_json_load(path, doc, err));
  const json_t *f = json_object_get(*doc, "factor");
  *n = (int64_t)json_array_size(f);
  if (*n < 1) return iso_fail(err, ISO_EFORMAT, "%s: no \"factor\" of any step", path);
  *factor = malloc((size_t)*n * sizeof **factor);
  if (!*factor) return iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
  for (int64_t i = 0; i < *n; i++) {
    (*factor)[i] = json_number_value(json_array_get(f, (size_t)i));
    if (!((*factor)[i] >= 0 && (*factor)[i] <= 1)) return iso_fail(err, ISO_EFORMAT, "%s: factor %lld is not between 0 and 1", path, (long long)i);
  }
  return ISO_OK;
}

static iso_status pick(iso_env *e, const iso_solo_opts *o, json_t *replay, iso_choice *c, iso_err *err) {
  bool pending = false;
  double used;
  json_t *saved = NULL, *file = NULL;
  iso_status st = ISO_OK;
  if (replay) {
    json_t *j = json_pack("{s:O, s:O}", "model", json_object_get(replay, "config"), "options", json_object_get(replay, "options"));
    st = j ? choice_from_file(e, o, j, "schedule.json", c, err) : iso_fail(err, ISO_EFORMAT, "schedule.json: no config and options");
    json_decref(j);
    return st;
  }
  ISO_TRY(iso_job_pending(o->out_dir, &pending, &used, &saved, err));
  if (pending)
    st = choice_from_file(e, o, saved, "job.json", c, err);
  else if (o->config_path) {
    st = iso_json_load(o->config_path, &file, err);
    if (st == ISO_OK) st = choice_from_file(e, o, file, o->config_path, c, err);
  } else
    st = choose(e, o, c, err);
  json_decref(saved);
  json_decref(file);
  if (st == ISO_OK && !o->plan_only && !pending) st = write_job(e, o, c, err);
  return st;
}

iso_status iso_solo_run(iso_env *e, const iso_solo_opts *o, json_t **result, iso_err *err) {
  *result = NULL;
  double *factor = NULL;
  int64_t n_factor = 0;
  json_t *replay = NULL;
  iso_choice c;
  iso_job_result r;
  iso_status st;
  ISO_TRYG(iso_mkdirs(o->out_dir, err));
  if (o->replay) ISO_TRYG(load_replay(o->replay, &factor, &n_factor, &replay, err));
  ISO_TRYG(iso_env_machine(e, false, o->precision, err));
  ISO_TRYG(prepare_data(e, o, err));
  ISO_TRYG(pick(e, o, replay, &c, err));
  iso_cost predicted = whole_prediction(e, &c);
  char b1[40], b2[40], b3[40];
  iso_note(e->ctx, ISO_EVENT_PHASE, "plan", "%s", c.why);
  iso_note(e->ctx, ISO_EVENT_PHASE, "plan", "predicted: %.3f bits per byte (%.3f to %.3f), %s, %s, %s", c.bpb.mean, c.bpb.lo, c.bpb.hi,
           iso_unit_print(predicted.wall.mean, ISO_UNIT_S, b1, sizeof b1), iso_unit_print(predicted.train_flop.mean, ISO_UNIT_FLOP, b2, sizeof b2),
           iso_unit_print(predicted.peak_ram.mean, ISO_UNIT_BYTE, b3, sizeof b3));
  if (o->plan_only) {
    *result = iso_solo_result(e, &c, NULL, &predicted);
    goto done;
  }
  bool timed = isfinite(iso_env_affordable_s(e)) && !replay;
  iso_job_opts jo = {.choice = &c,
                     .out_dir = o->out_dir,
                     .init_dir = o->init_dir,
                     .follow_clock = timed,
                     .reserve_s = LAST_S,
                     .repeat = replay != NULL,
                     .factors = factor,
                     .n_factors = n_factor,
                     .point_label = "train"};
  ISO_TRYG(iso_job_run(e, &jo, &r, err));
  iso_store_run row = iso_store_run_blank();
  row.params = r.params;
  row.tokens = r.tokens;
  row.out_dir = o->out_dir;
  ISO_TRYG(iso_store_update(e->store, e->run_id, &row, err));
  *result = iso_solo_result(e, &c, &r, &predicted);
done:
  free(factor);
  json_decref(replay);
  return st;
}
