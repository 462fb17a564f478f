// The planner of a single training run.
#include "loop/choose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static iso_est shipped_bpb(const void *self, double params, double tokens) {
  (void)self;
  iso_est l = iso_recipe_law(params, tokens);
  const double half = 1.645 * ISO_RECIPE_LAW_SD;
  return iso_est_range(l.lo * (1 - half), l.mean, l.hi * (1 + half));
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
  return e->pace * iso_step_model_predict(&e->steps, &w).mean * ceil(val_tokens / rows);
}

// A clock buys more tokens or fewer when steps turn out faster or slower than `step`, which is independent of the law's own error. The step
// model's interval is for shapes of any kind; after a sweep ten of thirteen demos kept to so much of the tokens planned.
static const double PACE = 1.12;
static iso_est with_pace(iso_est bpb, double shadow, iso_est step) {
  if (!(step.lo > 0 && step.hi >= step.mean)) return bpb;
  double more = fabs(shadow) * log(fmin(step.mean / step.lo, PACE)), less = fabs(shadow) * log(fmin(step.hi / step.mean, PACE));
  return iso_est_range(bpb.mean - hypot(bpb.mean - bpb.lo, more), bpb.mean, bpb.mean + hypot(bpb.hi - bpb.mean, less));
}

bool iso_choose_price(iso_env *e, const iso_choose_opts *o, const iso_model_config *c, const iso_loss_law *law, iso_choice *out) {
  iso_err none = {0};
  int threads = iso_pool_threads(e->ctx->pool);
  *out = (iso_choice){.config = *c, .binding = o->clock, .timed = true};
  out->eval_s = eval_seconds(e, c, o->val_tokens);
  iso_est step = iso_est_unknown();
  double tokens = 1e6, train_s = o->seconds - o->other_s - 1.15 * out->eval_s;
  // Batch depends on tokens and tokens on the seconds a step: two rounds settle it.
  for (int round = 0; round < 3; round++) {
    out->opts = iso_recipe_opts(c, tokens, o->seed);
    if (o->fixed_opts) out->opts = *o->fixed_opts;
    if (iso_train_price_of(c, &out->opts, e->ctx->kern, threads, &out->price, &none) != ISO_OK) {
      (void)snprintf(out->why, sizeof out->why, "%.290s", none.msg);
      return false;
    }
    iso_step_work w = iso_step_work_train(&out->price);
    step = iso_step_model_predict(&e->steps, &w);
    out->step_s = e->pace * step.mean;
    double per_step = (double)(out->opts.batch * out->opts.seq), steps = 1e9;
    struct {
      double steps;
      iso_res res;
    } limits[] = {{train_s / out->step_s, o->clock},
                  {o->train_flop / out->price.model_flop_step, ISO_RES_train_flop},
                  {o->tokens / per_step, ISO_RES_tok},
                  {o->moved / out->price.bytes_step, ISO_RES_moved}};
    for (size_t i = 0; i < ISO_COUNT(limits); i++)
      if (limits[i].steps < steps) {
        steps = limits[i].steps;
        out->binding = limits[i].res;
        out->timed = i == 0;
      }
    if (o->fixed_opts && (double)(o->fixed_opts->steps - o->done) < steps) {
      steps = (double)(o->fixed_opts->steps - o->done);
      out->binding = ISO_RES_tok;
      out->timed = false;
    }
    if (!(steps >= 1) && o->done == 0) {
      (void)snprintf(out->why, sizeof out->why, "not one step of %lld tokens fits", (long long)per_step);
      return false;
    }
    out->more_steps = steps >= 1 ? (int64_t)steps : 0;
    tokens = (double)(o->done + out->more_steps) * per_step;
  }
  double ram = fixed_ram() + (double)out->price.mem_b, ram_hi = ram * 1.05 + 16777216;
  if (ram_hi > o->peak_ram) {
    (void)snprintf(out->why, sizeof out->why, "it takes up to %.0f MiB of memory", ceil(ram_hi / 1048576));
    return false;
  }
  double infer = iso_eval_flop(c, (int64_t)o->val_tokens, out->opts.seq), disk = (double)(out->price.params * 4);
  if (infer > o->infer_flop) {
    (void)snprintf(out->why, sizeof out->why, "scoring the held-out text needs infer_flop=%.3g", infer);
    return false;
  }
  if (disk > o->disk) {
    (void)snprintf(out->why, sizeof out->why, "the model needs %.0f KiB of disk", ceil(disk / 1024));
    return false;
  }
  out->tokens = tokens;
  out->opts.steps = (int64_t)(tokens / (double)(out->opts.batch * out->opts.seq));
  if (out->opts.warmup > out->opts.steps / 3) out->opts.warmup = out->opts.steps / 3;
  double params = (double)out->price.params;
  out->bpb = law->bpb(law->self, params, iso_recipe_effective_tokens(tokens, o->unique_tokens));
  double more = law->bpb(law->self, params, iso_recipe_effective_tokens(1.01 * tokens, o->unique_tokens)).mean;
  out->shadow = (more - out->bpb.mean) / log(1.01);
  if (out->timed) out->bpb = with_pace(out->bpb, out->shadow, step);
  double steps = (double)out->more_steps, s = steps * out->step_s;
  iso_est seconds = isfinite(o->seconds) && out->timed ? iso_est_range(0.93 * s, s, fmin(train_s, 1.05 * s)) : iso_est_rel(s, 0.2);
  out->cost = iso_env_seconds(e, seconds);
  out->cost.train_flop = iso_est_exact(steps * out->price.model_flop_step);
  out->cost.moved = iso_est_exact(steps * out->price.bytes_step);
  out->cost.tok = iso_est_exact(steps * (double)(out->opts.batch * out->opts.seq));
  out->cost.peak_ram = iso_est_range(ram * 0.95, ram, ram_hi);
  out->cost.disk = iso_est_exact(disk);
  return true;
}

iso_status iso_choose_refuse(iso_env *e, const iso_choose_opts *o, const iso_loss_law *law, const iso_model_config *c, const char *why,
                             iso_err *err) {
  iso_choose_opts free = *o, roomy = *o;
  iso_choice x, held;
  bool priced = false;
  roomy.peak_ram = roomy.disk = roomy.infer_flop = INFINITY;
  free.seconds = free.train_flop = free.peak_ram = free.moved = free.infer_flop = free.disk = INFINITY;
  for (free.tokens = 1024; !priced && free.tokens < 1e12; free.tokens *= 2) priced = iso_choose_price(e, &free, c, law, &x);
  iso_fail(err, ISO_EBUDGET, "the budget does not pay for training: %.250s", why[0] ? why : "nothing fits");
  if (!priced) return ISO_EBUDGET;
  // One step, the evaluation and what follows; a second more, since the next call starts anew.
  iso_cost need = x.cost, rest = iso_env_seconds(e, iso_est_exact(o->other_s + 1.15 * x.eval_s + 2 * x.step_s + 1));
  rest.infer_flop = iso_est_exact(iso_eval_flop(&x.config, (int64_t)o->val_tokens, x.opts.seq));
  need.train_flop = iso_est_exact(x.price.model_flop_step);
  need.moved = iso_est_exact(x.price.bytes_step);
  need.tok = iso_est_exact((double)(x.opts.batch * x.opts.seq));
  const iso_res seconds[] = {ISO_RES_wall, ISO_RES_cpu, ISO_RES_energy, ISO_RES_co2, ISO_RES_usd};
  for (size_t i = 0; i < ISO_COUNT(seconds); i++) *iso_cost_at(&need, seconds[i]) = iso_est_exact(0);
  // What the limits on time and tokens leave room for takes larger batches than one step.
  if (iso_choose_price(e, &roomy, c, law, &held)) need.peak_ram = iso_est_max(need.peak_ram, held.cost.peak_ram);
  iso_cost asked = iso_cost_serial(need, rest), all = iso_cost_serial(iso_env_measured(e), asked);
  iso_budget b = iso_run_budget(e->run);
  if (iso_budget_fits(&b, &all, NULL)) return ISO_EBUDGET;
  iso_err least = {0};
  (void)iso_budget_refuse(&b, &all, &asked, "training", &least);
  return least.hint[0] ? iso_hint(err, ISO_EBUDGET, "%s", least.hint) : ISO_EBUDGET;
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
  if (!found) return iso_choose_refuse(e, o, law, &smallest.config, smallest.why, err);
  char text[160];
  iso_est l = iso_recipe_law((double)best.price.params, iso_recipe_effective_tokens(best.tokens, o->unique_tokens));
  (void)snprintf(best.why, sizeof best.why, "%s: best of %d shapes by the law (%s), limited by %s%s",
                 iso_config_print(&best.config, text, sizeof text), tried, law->source, iso_res_get(best.binding)->name,
                 l.lo < l.hi ? "; beyond the law's runs 0.4 bits per byte (0.2 to 0.6) are taken as irreducible" : "");
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
  iso_res clock;
  double end = iso_env_end_s(e, &clock);
  return (iso_choose_opts){.seconds = end - iso_now_s(e->ctx),
                           .clock = clock,
                           .other_s = other_s,
                           .train_flop = left.train_flop,
                           .tokens = left.tok,
                           .peak_ram = left.peak_ram,
                           .moved = left.moved,
                           .infer_flop = left.infer_flop,
                           .disk = left.disk,
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

iso_status iso_choice_save(iso_env *e, const char *out_dir, const iso_choice *c, const json_t *asked, iso_err *err) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/job.json", out_dir);
  json_t *j = json_pack("{s:o, s:o, s:o, s:s}", "model", iso_config_json(&c->config), "options", iso_train_opts_json(&c->opts), "predicted",
                        iso_choice_json(c), "why", c->why);
  if (j && asked) json_object_set(j, "asked", (json_t *)(uintptr_t)asked);
  if (j && e->text_vocab > 0) json_object_set_new(j, "data", iso_env_text_json(e));
  iso_status st = j ? iso_json_save(e->ctx, path, j, err) : iso_fail(err, ISO_ENOMEM, "no memory for job.json");
  json_decref(j);
  return st;
}

iso_status iso_choice_from_json(iso_env *e, const json_t *j, const char *what, double other_s, const iso_loss_law *law, int64_t done, int64_t steps,
                                iso_choice *out, iso_err *err) {
  static const char *const KEYS[] = {"model", "options", "predicted", "why", "asked", "data", NULL};
  iso_model_config c;
  iso_train_opts opts = iso_train_defaults();
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  if (!json_object_get(j, "model") || !json_object_get(j, "options")) return iso_fail(err, ISO_EFORMAT, "%s: needs \"model\" and \"options\"", what);
  ISO_TRY(iso_config_from_json(json_object_get(j, "model"), &c, err));
  ISO_TRY(iso_train_opts_from_json(json_object_get(j, "options"), &opts, err));
  if (c.vocab != e->data->vocab)
    return iso_fail(err, ISO_EINVAL, "%s: a vocabulary of %lld, the data has %d", what, (long long)c.vocab, e->data->vocab);
  iso_choose_opts o = iso_choose_limits(e, other_s, opts.seq, opts.seed);
  iso_train_opts priced = opts;
  if (steps > opts.steps) priced.steps = steps;  // where the clock decides, more than were planned may be taken
  o.fixed = &c;
  o.fixed_opts = &priced;
  o.done = done;
  if (!(opts.lr > 0)) return iso_fail(err, ISO_EINVAL, "%s: lr must be more than zero", what);
  if (!iso_choose_price(e, &o, &c, law, out)) return iso_choose_refuse(e, &o, law, &c, out->why, err);
  if (!out->timed && done + out->more_steps < opts.steps) {
    iso_fail(err, ISO_EBUDGET, "%s: the budget's %s pays for %lld of %lld steps", what, iso_res_get(out->binding)->name,
             (long long)(done + out->more_steps), (long long)opts.steps);
    return iso_hint(err, ISO_EBUDGET, done > 0 ? "give a larger budget, or another --out to start afresh" : "give a larger budget, or fewer steps");
  }
  out->opts = opts;  // steps as they were planned: a resumed run keeps its schedule
  (void)snprintf(out->why, sizeof out->why, "as written in %.200s", what);
  return ISO_OK;
}
