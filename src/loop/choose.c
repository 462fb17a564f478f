// The planner of a single training run.
#include "loop/choose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static iso_est shipped_bpb(const void *self, double params, double tokens) {
  (void)self;
  double l = iso_law_nd(&iso_law_chinchilla, iso_recipe_law(), params, tokens);
  return iso_est_rel(l, 1.645 * ISO_RECIPE_LAW_SD);
}
iso_loss_law iso_loss_law_shipped(void) { return (iso_loss_law){shipped_bpb, NULL, iso_recipe_law_source}; }

// Memory that a job holds besides the trainer: what is resident now, and a little for what comes.
static double fixed_ram(void) {
  double now = iso_meter_rss_b();
  return (isfinite(now) ? now : 16e6) + 1e6;
}

enum { EVAL_WINDOWS = 8 };

static double eval_seconds(iso_env *e, const iso_model_config *c, double val_tokens) {
  iso_step_work w;
  iso_err none = {0};
  double rows = (double)(EVAL_WINDOWS * c->ctx);
  if (iso_step_work_eval(c, EVAL_WINDOWS, c->ctx, e->ctx->kern, &w, &none) != ISO_OK) return NAN;
  return iso_step_model_predict(&e->steps, &w).mean * ceil(val_tokens / rows);
}

bool iso_choose_price(iso_env *e, const iso_choose_opts *o, const iso_model_config *c, const iso_loss_law *law, iso_choice *out) {
  iso_err none = {0};
  int threads = iso_pool_threads(e->ctx->pool);
  *out = (iso_choice){.config = *c, .binding = ISO_RES_wall};
  out->eval_s = eval_seconds(e, c, o->val_tokens);
  double tokens = 1e6, train_s = o->seconds - o->other_s - 1.15 * out->eval_s;
  // Batch depends on tokens and tokens on the seconds a step: two rounds settle it.
  for (int round = 0; round < 3; round++) {
    out->opts = iso_recipe_opts(c, tokens, o->seed);
    if (o->fixed_opts) {
      out->opts = *o->fixed_opts;
      if (o->fixed_opts->batch <= 0 || o->fixed_opts->lr <= 0) return false;
    }
    if (iso_train_price_of(c, &out->opts, e->ctx->kern, threads, &out->price, &none) != ISO_OK) {
      (void)snprintf(out->why, sizeof out->why, "%.290s", none.msg);
      return false;
    }
    iso_step_work w = iso_step_work_train(&out->price);
    out->step_s = iso_step_model_predict(&e->steps, &w).mean;
    double per_step = (double)(out->opts.batch * out->opts.seq), steps = 1e9;
    struct {
      double steps;
      iso_res res;
    } limits[] = {
        {train_s / out->step_s, ISO_RES_wall}, {o->train_flop / out->price.model_flop_step, ISO_RES_train_flop}, {o->tokens / per_step, ISO_RES_tok}};
    for (size_t i = 0; i < ISO_COUNT(limits); i++)
      if (limits[i].steps < steps) {
        steps = limits[i].steps;
        out->binding = limits[i].res;
      }
    if (o->fixed_opts && (double)o->fixed_opts->steps < steps) steps = (double)o->fixed_opts->steps;
    if (!(steps >= 1)) {
      (void)snprintf(out->why, sizeof out->why, "not one step of %lld tokens fits", (long long)per_step);
      return false;
    }
    tokens = floor(steps) * per_step;
  }
  double ram = fixed_ram() + (double)out->price.mem_b;
  if (ram > o->peak_ram) {
    (void)snprintf(out->why, sizeof out->why, "needs %.0f MiB of memory", ram / 1048576);
    return false;
  }
  out->tokens = tokens;
  out->opts.steps = (int64_t)(tokens / (double)(out->opts.batch * out->opts.seq));
  if (out->opts.warmup > out->opts.steps / 3) out->opts.warmup = out->opts.steps / 3;
  double params = (double)out->price.params;
  out->bpb = law->bpb(law->self, params, iso_recipe_effective_tokens(tokens, o->unique_tokens));
  double more = law->bpb(law->self, params, iso_recipe_effective_tokens(1.01 * tokens, o->unique_tokens)).mean;
  out->shadow = (more - out->bpb.mean) / log(1.01);
  double steps = (double)out->opts.steps, s = steps * out->step_s;
  iso_est seconds = isfinite(o->seconds) && out->binding == ISO_RES_wall ? iso_est_range(0.93 * s, s, fmin(train_s, 1.05 * s)) : iso_est_rel(s, 0.2);
  out->cost = iso_env_seconds(e, seconds);
  out->cost.train_flop = iso_est_exact(steps * out->price.model_flop_step);
  out->cost.moved = iso_est_exact(steps * out->price.bytes_step);
  out->cost.tok = iso_est_exact(tokens);
  out->cost.peak_ram = iso_est_range(ram * 0.95, ram, ram * 1.05 + 16777216);
  return true;
}

iso_status iso_choose(iso_env *e, const iso_choose_opts *o, const iso_loss_law *law, iso_choice *out, iso_err *err) {
  iso_choice best = {0}, smallest = {0};
  bool found = false;
  iso_model_config c;
  int tried = 0;
  for (int i = 0; o->fixed ? i == 0 : iso_recipe_shape(i, o->vocab, o->ctx, &c); i++) {
    if (o->fixed) c = *o->fixed;
    iso_choice x;
    bool fits = iso_choose_price(e, o, &c, law, &x);
    if (i == 0) smallest = x;
    if (!fits) continue;
    tried++;
    if (!o->fixed && (double)x.price.params > o->params_max) break;
    // Within a thousandth the smaller model wins: it is cheaper to run.
    if (!found || x.bpb.mean < best.bpb.mean * 0.999) {
      best = x;
      found = true;
    }
  }
  if (!found) {
    double need = smallest.step_s > 0 ? o->other_s + 1.15 * smallest.eval_s + 2 * smallest.step_s : NAN, used = iso_now_s(e->ctx) - e->ctx->start_s;
    iso_fail(err, ISO_EBUDGET, "the budget does not pay for training: %s", smallest.why[0] ? smallest.why : "nothing fits");
    if (isfinite(o->seconds) && isfinite(need) && need > o->seconds)
      return iso_hint(err, ISO_EBUDGET, "the least that would do is wall=%.0fs", ceil(used + need + 1));
    if (isfinite(o->train_flop)) return iso_hint(err, ISO_EBUDGET, "the least that would do is train_flop=%.3g", smallest.price.model_flop_step);
    return iso_hint(err, ISO_EBUDGET, "the smallest model needs %.0f MiB of memory and %.3g FLOP a step",
                    (fixed_ram() + (double)smallest.price.mem_b) / 1048576, smallest.price.model_flop_step);
  }
  char text[160];
  (void)snprintf(best.why, sizeof best.why, "%s: best of %d shapes by the law (%s), limited by %s", iso_config_print(&best.config, text, sizeof text),
                 tried, law->source, iso_res_get(best.binding)->name);
  *out = best;
  return ISO_OK;
}

json_t *iso_choice_json(const iso_choice *c) {
  return json_pack("{s:o, s:o, s:f, s:f, s:I, s:f, s:f, s:[f,f,f], s:o, s:s, s:f, s:s}", "config", iso_config_json(&c->config), "options",
                   iso_train_opts_json(&c->opts), "params", (double)c->price.params, "tokens", c->tokens, "batch_tok",
                   (json_int_t)(c->opts.batch * c->opts.seq), "lr", c->opts.lr, "step_s", c->step_s, "bits_per_byte", c->bpb.lo, c->bpb.mean,
                   c->bpb.hi, "cost", iso_cost_json(&c->cost), "binding", iso_res_get(c->binding)->name, "shadow_bpb_per_log_budget", c->shadow,
                   "why", c->why);
}

iso_choose_opts iso_choose_limits(iso_env *e, double other_s, int64_t ctx, uint64_t seed) {
  iso_budget left = iso_run_left(e->run);
  return (iso_choose_opts){.seconds = iso_env_affordable_s(e),
                           .other_s = other_s,
                           .train_flop = left.train_flop,
                           .tokens = left.tok,
                           .peak_ram = left.peak_ram,
                           .vocab = e->data->vocab,
                           .ctx = ctx,
                           .unique_tokens = (double)e->data->train_tokens,
                           .val_tokens = (double)e->data->val_tokens,
                           .seed = seed,
                           .params_max = INFINITY};
}

iso_cost iso_choice_whole(iso_env *e, const iso_choice *c, iso_est last) {
  iso_cost before = iso_env_measured(e), eval = iso_env_seconds(e, iso_est_range(0.85 * c->eval_s, c->eval_s, 1.15 * c->eval_s));
  eval.infer_flop = iso_est_exact(iso_eval_flop(&c->config, e->data->val_tokens, c->opts.seq));
  before.instr = iso_est_unknown();
  // The high-water mark of the plan counts everything that is alive at once.
  iso_cost whole = iso_cost_serial(iso_cost_serial(before, c->cost), iso_cost_serial(eval, iso_env_seconds(e, last)));
  iso_env_clamp(e, &whole);
  return whole;
}

iso_status iso_choice_save(iso_env *e, const char *out_dir, const iso_choice *c, iso_err *err) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/job.json", out_dir);
  json_t *j = json_pack("{s:o, s:o, s:o, s:s}", "model", iso_config_json(&c->config), "options", iso_train_opts_json(&c->opts), "predicted",
                        iso_choice_json(c), "why", c->why);
  iso_status st = j ? iso_json_save(e->ctx, path, j, err) : iso_fail(err, ISO_ENOMEM, "no memory for job.json");
  json_decref(j);
  return st;
}

iso_status iso_choice_from_json(iso_env *e, const json_t *j, const char *what, double other_s, const iso_loss_law *law, iso_choice *out,
                                iso_err *err) {
  static const char *const KEYS[] = {"model", "options", "predicted", "why", NULL};
  iso_model_config c;
  iso_train_opts opts = iso_train_defaults();
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  if (!json_object_get(j, "model") || !json_object_get(j, "options")) return iso_fail(err, ISO_EFORMAT, "%s: needs \"model\" and \"options\"", what);
  ISO_TRY(iso_config_from_json(json_object_get(j, "model"), &c, err));
  ISO_TRY(iso_train_opts_from_json(json_object_get(j, "options"), &opts, err));
  if (c.vocab != e->data->vocab)
    return iso_fail(err, ISO_EINVAL, "%s: a vocabulary of %lld, the data has %d", what, (long long)c.vocab, e->data->vocab);
  iso_choose_opts o = iso_choose_limits(e, other_s, opts.seq, opts.seed);
  o.fixed = &c;
  o.fixed_opts = &opts;
  if (!iso_choose_price(e, &o, &c, law, out)) {
    iso_fail(err, ISO_EBUDGET, "the budget does not pay for the run of %s: %.250s", what, out->why);
    return ISO_EBUDGET;
  }
  out->opts = opts;  // steps as they were planned: a resumed run keeps its schedule
  (void)snprintf(out->why, sizeof out->why, "as written in %.200s", what);
  return ISO_OK;
}
