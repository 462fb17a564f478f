// From text and a budget to one trained model.
#include "loop/solo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

// Wall seconds kept for export, store and exit.
#define LAST_S 0.8

static iso_status prepare_data(iso_env *e, const iso_solo_opts *o, const json_t *replay, const json_t *as, iso_err *err) {
  char tok[4200];
  if (o->data_dir) return iso_env_open_shards(e, o->data_dir, err);
  iso_text_opts t = {.texts = o->texts, .n = o->n_texts, .out_dir = o->out_dir, .vocab = o->vocab, .max_bytes = o->max_bytes, .as = as};
  if (replay && t.vocab <= 0) t.vocab = json_integer_value(json_object_get(json_object_get(replay, "config"), "vocab"));
  if (o->config_path && t.vocab <= 0) {  // the tokenizer follows the model, as it does with --model
    json_t *file;
    ISO_TRY(iso_json_load(o->config_path, &file, err));
    int64_t vocab = json_integer_value(json_object_get(json_object_get(file, "model"), "vocab"));
    json_decref(file);
    if (vocab >= 256 + ISO_TOK_SPECIALS && vocab <= ISO_TOK_VOCAB_MAX) t.vocab = vocab;
  }
  if (o->init_dir) {
    (void)snprintf(tok, sizeof tok, "%s/tokenizer.json", o->init_dir);
    t.tokenizer = tok;
  }
  return iso_env_text(e, &t, err);
}

// The smallest divisor above 1.
static int64_t least_divisor(int64_t n) {
  for (int64_t d = 2; d * d <= n; d++)
    if (n % d == 0) return d;
  return n > 1 ? n : 1;
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
  if (o->recompute_layers > 0) t->recompute_layers = (int)o->recompute_layers;
  if (o->recompute_cheap) t->recompute_cheap = 1;
  t->measure_gns = o->measure_gns;
  if (o->measure_gns && o->micro <= 0) t->micro = t->batch / least_divisor(t->batch);
  if (t->warmup > t->steps / 3) t->warmup = t->steps / 3;
}

static iso_status choose(iso_env *e, const iso_solo_opts *o, iso_choice *out, iso_err *err) {
  iso_choose_opts c = iso_choose_limits(e, LAST_S, iso_env_context(e, o->seq), o->seed);
  iso_model_config fixed;
  iso_train_opts opts;
  iso_loss_law law = iso_loss_law_shipped();
  if (o->shape) {
    ISO_TRY(iso_config_parse(o->shape, &fixed, err));
    if (fixed.vocab != e->data->vocab) {
      iso_fail(err, ISO_EINVAL, "--model %s has a vocabulary of %lld, the data of %d", o->shape, (long long)fixed.vocab, e->data->vocab);
      if (o->vocab >= fixed.vocab && e->data->vocab < fixed.vocab)
        return iso_hint(err, ISO_EINVAL, "this text gives no more tokens: write %d in its place", e->data->vocab);
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
  if (!(opts.lr > 0)) return iso_fail(err, ISO_EINVAL, "--lr must be more than zero");
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
  if (!iso_choose_price(e, &c, &fixed, &law, &again)) return iso_choose_refuse(e, &c, &law, &fixed, again.why, err);
  memcpy(again.why, why, sizeof why);
  *out = again;
  return ISO_OK;
}

// Whether a loss that was missed was the law's fault or the clock's.
static void tell_pace(iso_env *e, const iso_choice *c, const iso_job_result *r) {
  double ratio = (double)r->tokens / c->tokens;
  char trained[40], planned[40];
  if (!(c->timed && ratio > 0) || fabs(log(ratio)) < 0.05) return;
  iso_env_note(e, ISO_EVENT_NOTE, "train", "%s in the time, planned were %s: the law gives %.3f bits per byte for as many",
               iso_unit_print((double)r->tokens, ISO_UNIT_TOK, trained, sizeof trained),
               iso_unit_print(c->tokens, ISO_UNIT_TOK, planned, sizeof planned), c->bpb.mean + c->shadow * log(ratio));
}

json_t *iso_solo_result(iso_env *e, const iso_choice *c, const iso_job_result *r, const iso_cost *predicted) {
  if (r) tell_pace(e, c, r);
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
  json_t *out =
      json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "run", e->run_id, "params", (json_int_t)c->price.params, "tokens",
                (json_int_t)(r ? r->tokens : (int64_t)c->tokens), "elapsed_s", json_real(iso_now_s(e->ctx) - e->ctx->start_s), "bits_per_byte",
                r ? iso_json_num(r->bits_per_byte) : json_null(), "val_loss_nats", r ? iso_json_num(r->val.nats_per_tok) : json_null(), "predicted",
                pred, "measured", meas, "plan", iso_choice_json(c), "summary", summary);
  json_t *noise = r ? iso_job_noise_json(&r->noise) : NULL;
  if (noise) json_object_set_new(out, "gradient_noise", noise);
  return out;
}

// schedule.json of a run, named by its folder or by its id in the store.
static iso_status replay_path(iso_env *e, const char *which, char *path, size_t n, iso_err *err) {
  iso_store_run run;
  (void)snprintf(path, n, "%s/schedule.json", which);
  if (iso_file_exists(path)) return ISO_OK;
  iso_err none = {0};
  if (iso_store_find(e->store, which, NULL, e->arena, &run, &none) != ISO_OK)
    return iso_fail(err, ISO_EINVAL, "--replay %s: neither a folder with a schedule.json nor a run in %s", which, iso_store_path(e->store));
  if (!run.out_dir) return iso_fail(err, ISO_EINVAL, "--replay %s: that run has left no folder", which);
  (void)snprintf(path, n, "%s/schedule.json", run.out_dir);
  return ISO_OK;
}

static iso_status load_replay(iso_env *e, const char *which, double **factor, int64_t *n, json_t **doc, iso_err *err) {
  char path[4200];
  ISO_TRY(replay_path(e, which, path, sizeof path, err));
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

// What the user fixed: an unfinished run goes on with the same only.
static json_t *asked(const iso_env *e, const iso_solo_opts *o) {
  json_t *j = json_object();
  const struct {
    const char *key, *text;
  } texts[] = {{"model", o->shape},         {"config", o->config_path}, {"init", o->init_dir},
               {"precision", o->precision}, {"optim", o->optim},        {"schedule", o->schedule}};
  const struct {
    const char *key;
    double v;
  } reals[] = {{"lr", o->lr}, {"muon-lr", o->muon_lr}, {"weight-decay", o->weight_decay}};
  const struct {
    const char *key;
    int64_t v;
  } counts[] = {{"batch", o->batch},
                {"seq", o->seq},
                {"steps", o->steps},
                {"micro", o->micro},
                {"recompute", o->recompute},
                {"recompute-layers", o->recompute_layers},
                {"recompute-cheap", o->recompute_cheap},
                {"measure-gns", o->measure_gns}};
  for (size_t i = 0; i < ISO_COUNT(texts); i++)
    if (texts[i].text) json_object_set_new(j, texts[i].key, json_string(texts[i].text));
  for (size_t i = 0; i < ISO_COUNT(reals); i++)
    if (isfinite(reals[i].v)) json_object_set_new(j, reals[i].key, json_real(reals[i].v));
  for (size_t i = 0; i < ISO_COUNT(counts); i++)
    if (counts[i].v > 0) json_object_set_new(j, counts[i].key, json_integer(counts[i].v));
  json_object_set_new(j, "seed", json_integer((json_int_t)o->seed));
  json_object_set_new(j, "text", iso_job_data_json(e));
  return j;
}

static iso_status from_config(iso_env *e, const iso_solo_opts *o, iso_choice *c, iso_err *err) {
  json_t *file;
  iso_loss_law law = iso_loss_law_shipped();
  ISO_TRY(iso_json_load(o->config_path, &file, err));
  const json_t *given = asked(e, o);  // what is on the command line goes before what is in the file
  const char *key;
  json_t *v, *to = json_object_get(file, "options");
  json_object_foreach((json_t *)(uintptr_t)given, key, v) {
    static const char *const FLAGS[][2] = {{"optim", "optim"},
                                           {"schedule", "schedule"},
                                           {"lr", "lr"},
                                           {"muon-lr", "muon_lr"},
                                           {"weight-decay", "weight_decay"},
                                           {"batch", "batch"},
                                           {"seq", "seq"},
                                           {"steps", "steps"},
                                           {"micro", "micro"},
                                           {"recompute", "recompute"},
                                           {"recompute-layers", "recompute_layers"},
                                           {"recompute-cheap", "recompute_cheap"}};
    for (size_t i = 0; i < ISO_COUNT(FLAGS); i++)
      if (strcmp(key, FLAGS[i][0]) == 0) json_object_set(to, FLAGS[i][1], v);
  }
  json_decref((json_t *)(uintptr_t)given);
  if (o->seed > 0) json_object_set_new(to, "seed", json_integer((json_int_t)o->seed));
  if (o->measure_gns) json_object_set_new(to, "measure_gns", json_true());
  iso_status st = iso_choice_from_json(e, file, o->config_path, LAST_S, &law, 0, 0, c, err);
  json_decref(file);
  return st;
}

static iso_status pick(iso_env *e, const iso_solo_opts *o, json_t *replay, const iso_job_pending *p, iso_choice *c, int64_t *steps, iso_err *err) {
  iso_status st = ISO_OK;
  iso_loss_law law = iso_loss_law_shipped();
  *steps = 0;
  if (replay) {
    json_t *text = iso_job_data_json(e);
    bool same = !json_object_get(replay, "text") || json_equal(json_object_get(replay, "text"), text);
    json_decref(text);
    if (!same) {
      iso_fail(err, ISO_EINVAL, "--replay %s: that run was trained on another text", o->replay);
      return iso_hint(err, ISO_EINVAL, "give the same --text, --max-bytes or --data as then");
    }
    json_t *j = json_pack("{s:O, s:O}", "model", json_object_get(replay, "config"), "options", json_object_get(replay, "options"));
    if (j && o->measure_gns) json_object_set_new(json_object_get(j, "options"), "measure_gns", json_true());
    st = j ? iso_choice_from_json(e, j, "schedule.json", LAST_S, &law, 0, 0, c, err)
           : iso_fail(err, ISO_EFORMAT, "schedule.json: no config and options");
    json_decref(j);
    return st;
  }
  json_t *now = asked(e, o);
  if (p->there) {
    st = iso_job_same(json_object_get(p->job, "asked"), now, o->out_dir, "checkpoint.safetensors", err);
    if (st == ISO_OK) st = iso_choice_from_json(e, p->job, "job.json", LAST_S, &law, p->step, p->steps, c, err);
    *steps = p->steps;
  } else {
    st = o->config_path ? from_config(e, o, c, err) : choose(e, o, c, err);
    if (st == ISO_OK && !o->plan_only) st = iso_choice_save(e, o->out_dir, c, now, err);
  }
  json_decref(now);
  return st;
}

iso_status iso_solo_run(iso_env *e, const iso_solo_opts *o, json_t **result, iso_err *err) {
  *result = NULL;
  double *factor = NULL;
  int64_t n_factor = 0;
  json_t *replay = NULL;
  int64_t steps = 0;
  iso_job_pending p = {0};
  iso_choice c;
  iso_job_result r;
  iso_status st;
  ISO_TRYG(iso_env_own(e, o->out_dir, err));
  if (o->replay) ISO_TRYG(load_replay(e, o->replay, &factor, &n_factor, &replay, err));
  if (!replay && !o->plan_only) ISO_TRYG(iso_job_pending_open(o->out_dir, &p, err));
  iso_text_opts text = {.texts = o->texts, .n = o->n_texts};
  if (!o->data_dir && !p.there) ISO_TRYG(iso_env_text_there(&text, err));
  ISO_TRYG(iso_env_machine(e, false, o->precision, err));
  ISO_TRYG(prepare_data(e, o, replay, json_object_get(p.job, "data"), err));
  ISO_TRYG(pick(e, o, replay, &p, &c, &steps, err));
  iso_cost predicted = iso_choice_whole(e, &c, iso_est_range(0.05, 0.3, LAST_S));
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
                     .kept_back = json_integer_value(json_object_get(replay, "kept_back_tok")),
                     .steps = steps,
                     .point_label = "train"};
  ISO_TRYG(iso_job_run(e, &jo, &r, err));
  iso_store_run row = iso_store_run_blank();
  row.params = r.params;
  row.tokens = r.tokens;
  char folder[4200];
  row.out_dir = iso_path_abs(o->out_dir, folder, sizeof folder);
  ISO_TRYG(iso_store_update(e->store, e->run_id, &row, err));
  *result = iso_solo_result(e, &c, &r, &predicted);
done:
  free(factor);
  json_decref(replay);
  iso_job_pending_close(&p);
  return st;
}
