// The loop, closed.
#include "loop/demo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "infer/generate.h"
#include "loop/sweep.h"

// Wall seconds kept for export, sample, report and exit.
#define LAST_S 1.6
enum { RESAMPLES = 1000, SAMPLE_TOKENS = 96 };

typedef struct demo {
  iso_env *e;
  const iso_demo_opts *o;
  char state[4200];
  iso_sweep_result sweep;
  iso_sweep_key key;  // of its plan
  iso_sweep_fit fit;
  bool fitted;
  json_t *saved;  // owned: demo.json of an interrupted call, or NULL
  json_t *summary;
} demo;

// ---- state of an interrupted demo -----------------------------------------------------------------------------------

static void state_path(const char *out_dir, char *buf, size_t n) { (void)snprintf(buf, n, "%s/demo.json", out_dir); }

iso_status iso_demo_used(const char *out_dir, iso_cost *used, bool *any, iso_err *err) {
  char path[4200];
  json_t *j;
  iso_job_pending p;
  *used = iso_cost_zero();
  *any = false;
  state_path(out_dir, path, sizeof path);
  if (!iso_file_exists(path)) return ISO_OK;
  ISO_TRY(iso_json_load(path, &j, err));
  iso_status st = iso_job_used(j, path, used, err);
  json_decref(j);
  if (st != ISO_OK) return iso_hint(err, st, "delete %.300s to start this demo afresh", path);
  ISO_TRY(iso_job_pending_open(out_dir, &p, err));
  if (p.there && p.used.wall.mean > used->wall.mean) *used = p.used;
  iso_job_pending_close(&p);
  *any = true;
  return ISO_OK;
}

// What the user fixed: an unfinished demo goes on with the same only.
static json_t *asked(const demo *d) {
  const iso_demo_opts *o = d->o;
  return json_pack("{s:I, s:I, s:f, s:s, s:o}", "seed", (json_int_t)o->seed, "seq", (json_int_t)(o->seq > 0 ? o->seq : 0), "sweep-share",
                   o->sweep_share, "precision", o->precision, "text", iso_job_data_json(d->e));
}

static void save_state(void *arg, const iso_sweep_result *r) {
  demo *d = arg;
  iso_err none = {0};
  iso_cost used = iso_env_measured(d->e);
  json_t *j = json_pack("{s:o, s:o, s:o, s:o, s:o}", "used", iso_cost_json(&used), "asked", asked(d), "data", iso_env_text_json(d->e), "plan",
                        iso_sweep_key_json(&d->key), "sweep", iso_sweep_json(r));
  if (j) (void)iso_json_save(d->e->ctx, d->state, j, &none);
  json_decref(j);
}

static iso_status load_state(demo *d, iso_err *err) {
  if (!d->saved) return ISO_OK;
  json_t *now = asked(d);
  iso_status st = iso_job_same(json_object_get(d->saved, "asked"), now, d->o->out_dir, "demo.json", err);
  if (st == ISO_OK) st = iso_sweep_from_json(json_object_get(d->saved, "sweep"), &d->sweep, err);
  if (st == ISO_OK) st = iso_sweep_key_from_json(json_object_get(d->saved, "plan"), &d->key, err);
  if (st == ISO_OK && d->sweep.n > 0) iso_env_note(d->e, ISO_EVENT_NOTE, "sweep", "going on with %d points of an interrupted demo", d->sweep.n);
  json_decref(now);
  return st;
}

// ---- phases ---------------------------------------------------------------------------------------------------------

static int64_t context(const demo *d) { return iso_env_context(d->e, d->o->seq); }

static iso_status sweep(demo *d, iso_err *err) {
  iso_env *e = d->e;
  iso_loss_law law = iso_loss_law_shipped();
  iso_budget left = iso_run_left(e->run), whole = iso_run_budget(e->run);
  double total = isfinite(whole.wall) ? whole.wall : iso_env_affordable_s(e), s = iso_env_affordable_s(e);
  iso_sweep_opts o = {.seconds = d->o->sweep_share * (isfinite(total) ? fmin(total, s) : 1e9),
                      .train_flop = d->o->sweep_share * left.train_flop,
                      .peak_ram = left.peak_ram,
                      .tokens = d->o->sweep_share * left.tok,
                      .moved = d->o->sweep_share * left.moved,
                      .share = d->o->sweep_share,
                      .key = d->key,
                      .vocab = e->data->vocab,
                      .ctx = context(d),
                      .seed = d->o->seed,
                      .unique_tokens = (double)e->data->train_tokens,
                      .val_tokens = (double)e->data->val_tokens};
  iso_sweep_plan p;
  ISO_TRY(iso_sweep_plan_make(e, &o, &law, &p, err));
  bool again = d->key.flop > 0;
  d->key = p.key;
  char b[40];
  iso_note(e->ctx, ISO_EVENT_PHASE, "plan",
           "sweep of %d sizes (%.2f M to %.2f M parameters) at %.2g, %.2g, %.2g FLOP each: about %s, %.0f%% of the budget", p.n,
           (double)p.model[0].price.params / 1e6, (double)p.model[p.n - 1].price.params / 1e6, p.flop[0], p.flop[1], p.flop[2],
           iso_unit_print(p.cost.wall.mean, ISO_UNIT_S, b, sizeof b), 100 * p.cost.wall.mean / total);
  // An interrupted sweep may take up to half of what is left to come to its end.
  double deadline = isfinite(total) ? iso_now_s(e->ctx) + (again ? fmin(1.35 * p.cost.wall.mean, 0.5 * s) : 1.35 * o.seconds) : INFINITY;
  iso_status st = iso_sweep_run(e, &p, &o, deadline, save_state, d, &d->sweep, err);
  if (st == ISO_ECANCEL) save_state(d, &d->sweep);
  return st;
}

// The fit as JSON, with the law's optimum along C for the report.
static json_t *fit_json(const iso_sweep_fit *f, double c_max) {
  json_t *j = iso_fit_json(&f->fit), *curve = json_array();
  for (double c = f->fit.c_min; j && curve && c <= 1.001 * c_max; c *= pow(c_max / f->fit.c_min, 1.0 / 12)) {
    iso_fit_best b;
    iso_err none = {0};
    if (iso_fit_optimum(&f->fit, c, 0.9, &b, &none) != ISO_OK) continue;
    json_array_append_new(curve, json_pack("{s:f, s:f, s:f, s:[f,f,f]}", "train_flop", c, "params", b.params.mid, "tokens", b.tokens.mid, "loss",
                                           b.loss.lo, b.loss.mid, b.loss.hi));
  }
  if (j) json_object_set_new(j, "curve", curve);
  return j;
}

static iso_status fit(demo *d, iso_err *err) {
  iso_env *e = d->e;
  iso_cost cost = iso_env_seconds(e, iso_est_range(0.01, 0.2, 1.5));
  cost.peak_ram = iso_est_rel(2e6, 0.5);
  iso_phase p;
  ISO_TRY(iso_phase_start(e, "fit", &cost, &p, err));
  iso_status st = iso_sweep_fit_run(e, &d->sweep, RESAMPLES, d->o->seed, &d->fit, err);
  d->fitted = st == ISO_OK;
  iso_err late = {0};
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : &late);
  if (st == ISO_EINVAL || st == ISO_EFORMAT || st == ISO_ENUM) {  // too few points in time, or losses that no law describes: no reason to stop
    iso_env_note(e, ISO_EVENT_WARN, "fit", "%s: the shipped law decides alone", err->msg);
    return end;
  }
  if (st != ISO_OK || end != ISO_OK) return st != ISO_OK ? st : end;
  const iso_fit *f = &d->fit.fit;
  iso_note(e->ctx, ISO_EVENT_PHASE, "fit", "bits per byte = %.3f + (%.3g/N)^%.3f + (%.3g/D)^%.3f on %lld points, noise %.2f%%",
           exp(f->p[ISO_FIT_LOG_E]), exp(f->p[ISO_FIT_LOG_A] / f->p[ISO_FIT_ALPHA]), f->p[ISO_FIT_ALPHA],
           exp(f->p[ISO_FIT_LOG_B] / f->p[ISO_FIT_BETA]), f->p[ISO_FIT_BETA], (long long)f->n, 100 * f->noise_sd);
  for (int i = 0; i < f->n_warn; i++) iso_env_note(e, ISO_EVENT_NOTE, "fit", "%s", f->warn[i]);
  const iso_transfer *t = &d->fit.transfer;
  iso_note(e->ctx, ISO_EVENT_PHASE, "fit", "the shipped law carried over: %.3f of it, exponents %+.3f in N and %+.3f in D, noise %.2f%%",
           exp(t->c[0]), t->c[1], t->c[2], 100 * t->noise_sd);
  return ISO_OK;
}

// What the sweep's own Chinchilla fit says of the chosen run; told where it disagrees with the law that the planner asks.
static void compare_laws(demo *d, const iso_choice *c) {
  iso_fit_interval v;
  iso_err none = {0};
  const iso_transfer *t = &d->fit.transfer;
  double params = (double)c->price.params, tokens = iso_recipe_effective_tokens(c->tokens, (double)d->e->data->train_tokens);
  json_object_set_new(d->summary, "transfer",
                      json_pack("{s:[f,f,f], s:f, s:f, s:f, s:f, s:s}", "c", t->c[0], t->c[1], t->c[2], "params0", exp(t->log_n0), "tokens0",
                                exp(t->log_d0), "noise_sd", t->noise_sd, "df", t->df, "of", iso_recipe_law_source));
  if (iso_fit_predict(&d->fit.fit, params, tokens, 0.9, &v, &none) != ISO_OK) return;
  bool apart = v.hi < c->bpb.mean || v.lo > c->bpb.mean;
  iso_env_note(d->e, ISO_EVENT_NOTE, "fit", "the sweep's own Chinchilla fit predicts %.3f bits per byte there (%.3f to %.3f)%s", v.mid, v.lo, v.hi,
               apart ? ": it disagrees, runs of a few hundred steps alone extrapolate poorly" : "");
}

static iso_loss_law law_of(const demo *d) { return d->fitted ? iso_sweep_law(&d->fit) : iso_loss_law_shipped(); }

static iso_status choose(demo *d, iso_choice *c, iso_err *err) {
  iso_env *e = d->e;
  double largest = 0;
  for (int i = 0; i < d->sweep.n; i++) largest = fmax(largest, d->sweep.p[i].params);
  iso_loss_law law = law_of(d);
  iso_choose_opts o = iso_choose_limits(e, LAST_S, context(d), d->o->seed);
  if (largest > 0) o.params_max = 4 * largest;
  ISO_TRY(iso_choose(e, &o, &law, c, err));
  if (!d->fitted) return ISO_OK;
  double flop = 6 * (double)c->price.params * c->tokens;
  iso_fit_reach r = iso_fit_extrapolation(&d->fit.fit, (double)c->price.params, c->tokens, flop);
  if (r.flop > 1.5 || r.params > 1.5)  // the report says so by itself
    iso_note(e->ctx, ISO_EVENT_NOTE, "choose",
             "the law is extrapolated: %.1f times the FLOPs, %.1f times the tokens, %.1f times the parameters of the sweep", r.flop, r.tokens,
             r.params);
  compare_laws(d, c);
  json_t *iso = d->fit.has_parabolas ? iso_parabolas_json(&d->fit.parabolas) : json_object();
  iso_parabolas_compare cmp;
  iso_err why = {0};
  const char *text = d->fit.parabolas_text;
  if (d->fit.has_parabolas && iso_parabolas_against(&d->fit.parabolas, &d->fit.fit, flop, &cmp, &why) == ISO_OK)
    text = cmp.text;
  else if (d->fit.has_parabolas)
    text = why.msg;
  if (strncmp(text, "isoflop: ", 9) == 0) text += 9;
  iso_env_note(e, ISO_EVENT_NOTE, "fit", "IsoFLOP method: %s", text);
  json_object_set_new(iso, "text", json_string(text));
  json_object_set_new(d->summary, "isoflop", iso);
  json_object_set_new(d->summary, "fit", fit_json(&d->fit, fmax(flop, d->fit.fit.c_max)));
  iso_store_fit row = {.run = e->run_id, .law = "chinchilla", .source = "sweep", .objective = d->fit.fit.objective, .n_points = d->fit.fit.n};
  json_t *params = json_object(), *intervals = json_object();
  for (int i = 0; i < ISO_FIT_P; i++) {
    const char *name = d->fit.fit.law->param[i].name;
    json_object_set_new(params, name, iso_json_num(d->fit.fit.p[i]));
    json_object_set_new(intervals, name, json_pack("[o,o]", iso_json_num(d->fit.fit.lo[i]), iso_json_num(d->fit.fit.hi[i])));
  }
  char *pt = json_dumps(params, JSON_COMPACT), *it = json_dumps(intervals, JSON_COMPACT);
  row.params_json = pt;
  row.interval_json = it;
  iso_status st = pt && it ? iso_store_fit_add(e->store, &row, err) : iso_fail(err, ISO_ENOMEM, "no memory for the fit");
  free(pt);
  free(it);
  json_decref(params);
  json_decref(intervals);
  return st;
}

// ---- the sample -----------------------------------------------------------------------------------------------------

typedef struct sample_sink {
  const iso_tok *tok;
  iso_str text;
} sample_sink;

static bool take_token(void *arg, int32_t id) {
  sample_sink *s = arg;
  iso_err none = {0};
  return iso_tok_decode(s->tok, &id, 1, &s->text, &none) == ISO_OK;
}

// JSON holds UTF-8 only: other bytes become U+FFFD.
static json_t *json_text(const char *s, size_t n) {
  json_t *j = json_stringn(s, n);
  if (j) return j;
  iso_str clean = {0};
  for (size_t i = 0; i < n; i++) {
    if ((unsigned char)s[i] < 0x80)
      iso_str_put(&clean, s + i, 1);
    else
      iso_str_add(&clean, "\xEF\xBF\xBD");
  }
  j = json_stringn(clean.p ? clean.p : "", clean.n);
  iso_str_free(&clean);
  return j;
}

static iso_status sample(demo *d, iso_err *err) {
  iso_env *e = d->e;
  iso_model *m = NULL;
  sample_sink sink = {.tok = e->tok};
  iso_generate_opts go = {.max_new = SAMPLE_TOKENS, .sample = {.temperature = 0.8, .top_p = 0.95}, .seed = d->o->seed, .eos = -1};
  int32_t prompt[16];
  int64_t n = e->data->val_tokens < 16 ? e->data->val_tokens / 2 + 1 : 16;
  iso_str before = {0};
  iso_generate_stats stats;
  iso_status st;
  iso_cost cost = iso_env_seconds(e, iso_est_range(0.01, 0.1, 0.5));
  iso_phase p = {0};
  ISO_TRY(iso_phase_start(e, "sample", &cost, &p, err));
  ISO_TRYG(iso_model_load_hf(e->ctx, d->o->out_dir, &m, err));
  if (n + go.max_new > m->config.ctx) go.max_new = m->config.ctx - n;
  ISO_TRYG(iso_shard_read(&e->data->val, 0, n, prompt, err));
  ISO_TRYG(iso_tok_decode(e->tok, prompt, n, &before, err));
  if (go.max_new > 0) ISO_TRYG(iso_generate(m, prompt, n, &go, take_token, &sink, &stats, err));
  json_object_set_new(d->summary, "sample_prompt", json_text(before.p ? before.p : "", before.n));
  json_object_set_new(d->summary, "sample", json_text(sink.text.p ? sink.text.p : "", sink.text.n));
done:
  if (p.hold) {
    iso_err none = {0};
    (void)iso_phase_end(&p, &none);
  }
  iso_str_free(&before);
  iso_str_free(&sink.text);
  iso_model_close(m);
  return st;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

static iso_status pending_choice(demo *d, iso_choice *c, int64_t *steps, iso_err *err) {
  iso_job_pending p;
  iso_loss_law law = law_of(d);
  json_t *now = asked(d);
  *steps = 0;
  iso_status st = iso_job_pending_open(d->o->out_dir, &p, err);
  if (st == ISO_OK && p.there) {
    st = iso_job_same(json_object_get(p.job, "asked"), now, d->o->out_dir, "checkpoint.safetensors", err);
    if (st == ISO_OK) st = iso_choice_from_json(d->e, p.job, "job.json", LAST_S, &law, p.step, p.steps, c, err);
    *steps = p.steps;
  } else if (st == ISO_OK) {
    st = iso_choice_save(d->e, d->o->out_dir, c, now, err);
  }
  json_decref(now);
  iso_job_pending_close(&p);
  return st;
}

static iso_status is_training(const demo *d, bool *out, iso_err *err) {
  iso_job_pending p;
  iso_status st = iso_job_pending_open(d->o->out_dir, &p, err);
  *out = st == ISO_OK && p.there && d->sweep.n > 0;
  iso_job_pending_close(&p);
  return st;
}

static void tell_plan(demo *d, const iso_choice *c, const iso_cost *w) {
  char b1[40], b2[40], b3[40], b4[40];
  iso_note(d->e->ctx, ISO_EVENT_PHASE, "choose", "%s", c->why);
  iso_note(d->e->ctx, ISO_EVENT_PHASE, "choose", "predicted: %.3f bits per byte (90%%: %.3f to %.3f), %s in all, %s of training, %s, peak %s",
           c->bpb.mean, c->bpb.lo, c->bpb.hi, iso_unit_print(w->wall.mean, ISO_UNIT_S, b1, sizeof b1),
           iso_unit_print(c->cost.train_flop.mean, ISO_UNIT_FLOP, b2, sizeof b2), iso_unit_print(w->energy.mean, ISO_UNIT_JOULE, b3, sizeof b3),
           iso_unit_print(w->peak_ram.mean, ISO_UNIT_BYTE, b4, sizeof b4));
}

static void merge_summary(json_t *result, json_t *summary) {
  json_t *s = json_object_get(result, "summary");
  if (s) json_object_update(s, summary);
}

iso_status iso_demo_run(iso_env *e, const iso_demo_opts *o, json_t **result, iso_err *err) {
  *result = NULL;
  demo *d = calloc(1, sizeof *d);
  if (!d) return iso_fail(err, ISO_ENOMEM, "no memory for the demo");
  d->e = e;
  d->o = o;
  d->summary = json_object();
  state_path(o->out_dir, d->state, sizeof d->state);
  iso_choice c;
  iso_job_result r;
  int64_t steps = 0;
  iso_status st;
  iso_text_opts text = {.texts = o->texts, .n = o->n_texts, .out_dir = o->out_dir, .vocab = o->vocab, .max_bytes = o->max_bytes};
  ISO_TRYG(iso_env_text_there(&text, err));
  ISO_TRYG(iso_env_own(e, o->out_dir, err));
  if (iso_file_exists(d->state)) ISO_TRYG(iso_json_load(d->state, &d->saved, err));
  text.as = json_object_get(d->saved, "data");
  ISO_TRYG(iso_env_machine(e, d->saved == NULL, o->precision, err));
  ISO_TRYG(iso_env_text(e, &text, err));
  ISO_TRYG(load_state(d, err));
  bool training;  // then the sweep is over, whether or not time cut it short
  ISO_TRYG(is_training(d, &training, err));
  if (!training) ISO_TRYG(sweep(d, err));
  ISO_TRYG(fit(d, err));
  ISO_TRYG(choose(d, &c, err));
  ISO_TRYG(pending_choice(d, &c, &steps, err));
  iso_cost predicted = iso_choice_whole(e, &c, iso_est_range(0.1, 0.6, LAST_S));
  tell_plan(d, &c, &predicted);
  iso_job_opts jo = {.choice = &c,
                     .out_dir = o->out_dir,
                     .follow_clock = isfinite(iso_env_affordable_s(e)),
                     .watch = true,
                     .reserve_s = LAST_S,
                     .steps = steps,
                     .point_label = "chosen"};
  st = iso_job_run(e, &jo, &r, err);
  if (st == ISO_ECANCEL) save_state(d, &d->sweep);
  if (st != ISO_OK) goto done;
  ISO_TRYG(sample(d, err));
  iso_store_run row = iso_store_run_blank();
  row.params = r.params;
  row.tokens = r.tokens;
  char folder[4200];
  row.out_dir = iso_path_abs(o->out_dir, folder, sizeof folder);
  ISO_TRYG(iso_store_update(e->store, e->run_id, &row, err));
  *result = iso_solo_result(e, &c, &r, &predicted);
  merge_summary(*result, d->summary);
  json_object_set_new(json_object_get(*result, "summary"), "title", json_string("The loop, closed"));
  (void)unlink(d->state);
done:
  if (d->fitted) iso_sweep_fit_close(&d->fit);
  json_decref(d->summary);
  json_decref(d->saved);
  free(d);
  return st;
}
