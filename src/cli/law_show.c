// Shows a law, what its constants say, and how certain that is.
#include "cli/law_show.h"

#include <math.h>
#include <string.h>

#include "cli/law_args.h"
#include "cli/work.h"
#include "plan/law_between.h"
#include "plan/lifetime.h"

// What is asked of one set, in a row, so that intervals come to all of it at once.
enum {
  A_AT,
  A_OPT_PARAMS,
  A_OPT_TOKENS,
  A_OPT_RATIO,
  A_OPT_TARGET,
  A_BEST_AT,
  A_BEST_TARGET,
  A_SOLVED,
  A_FOR_FLOP,
  A_FOR_PARAMS,
  A_FOR_TOKENS,
  A_FOR_RATIO,
  A_LIFE_PARAMS,
  A_LIFE_TOKENS,
  A_LIFE_RATIO,
  A_LIFE_FLOP,
  A_LIFE_CHANGE,
  A_FACT,
  A_COUNT = A_FACT + ISO_LAW_FACT_MAX
};

typedef struct asked {
  const cli_law_question *q;
  iso_err *err;  // of the first pass, at the constants themselves; NULL in draws
} asked;

typedef struct answer {
  iso_fit_interval v[A_COUNT];
  iso_law_fact fact[ISO_LAW_FACT_MAX];
  int facts;
  bool any;  // a question has an answer
} answer;

static bool has_question(const cli_law_question *q) { return q->at || !isnan(q->flop) || !isnan(q->target) || q->best >= 0; }

// The optimum at the budget, and the input that is best there when one is asked for.
static void ask_optimum(asked *a, const double *p, double *out) {
  const cli_law_question *q = a->q;
  iso_law_point pt;
  iso_status st;
  if (q->best >= 0) {
    double lo, hi, params = q->law->at_params >= 0 ? q->best_x[q->law->at_params] : NAN;
    cli_law_best_range(q->law, q->best, &lo, &hi);
    st = iso_law_optimum_over(q->law, p, q->best_x, q->flop, params, q->best, lo, hi, &out[A_BEST_AT], &pt, a->err);
    if (st == ISO_OK && !(out[A_BEST_AT] > lo * 1.001 && out[A_BEST_AT] < hi / 1.001)) {
      out[A_BEST_AT] = NAN;
      st = iso_fail(a->err, ISO_ENUM, "law %s has no best %s between %g and %g at %g FLOP", q->law->base.name, q->law->input[q->best].name, lo, hi,
                    q->flop);
    }
    if (st == ISO_OK) out[A_BEST_TARGET] = pt.loss;
  } else {
    st = iso_law_optimum_at(q->law, p, q->x, q->flop, &pt, a->err);
  }
  if (st != ISO_OK) return;
  out[A_OPT_PARAMS] = pt.params;
  out[A_OPT_TOKENS] = pt.tokens;
  out[A_OPT_RATIO] = pt.tokens / pt.params;
  out[A_OPT_TARGET] = pt.loss;
}

// The size that reaches the target at the least FLOPs of training and serving, and what that changes against the training optimum.
static void ask_life(asked *a, const double *p, double *out) {
  const cli_law_question *q = a->q;
  iso_lifetime_job j = {.law = q->law, .p = p, .x = q->x, .loss = q->target, .serve_tok = q->serve_tok, .train_price = 1, .serve_price = 1};
  iso_lifetime_way plain = iso_lifetime_way_plain();
  iso_lifetime_point best, alone;
  if (iso_lifetime_optimum(&j, &plain, &best, a->err) != ISO_OK) return;
  out[A_LIFE_PARAMS] = best.params;
  out[A_LIFE_TOKENS] = best.tokens;
  out[A_LIFE_RATIO] = best.tokens / best.params;
  out[A_LIFE_FLOP] = best.cost;
  if (!isnan(out[A_FOR_PARAMS]) && iso_lifetime_at(&j, &plain, out[A_FOR_PARAMS], &alone, a->err) == ISO_OK)
    out[A_LIFE_CHANGE] = best.cost / alone.cost - 1;
}

static void ask(void *self, const double *p, double *out) {
  asked *a = self;
  const cli_law_question *q = a->q;
  const iso_law *l = q->law;
  iso_law_fact f[ISO_LAW_FACT_MAX];
  for (int k = 0; k < A_COUNT; k++) out[k] = NAN;
  if (q->at) out[A_AT] = l->value(p, q->x, NULL);
  if (!isnan(q->flop)) ask_optimum(a, p, out);
  if (q->best >= 0 && isnan(q->flop)) {
    double lo, hi;
    cli_law_best_range(l, q->best, &lo, &hi);
    if (iso_law_best_input(l, p, q->best_x, q->best, lo, hi, &out[A_BEST_AT], &out[A_BEST_TARGET], a->err) != ISO_OK) out[A_BEST_AT] = NAN;
  }
  if (!isnan(q->target) && q->solve >= 0) {
    if (iso_law_input_for(l, p, q->x, q->solve, q->target, &out[A_SOLVED], a->err) != ISO_OK) out[A_SOLVED] = NAN;
  } else if (!isnan(q->target)) {
    iso_law_point pt;
    if (iso_law_flop_for(l, p, q->x, q->target, &pt, a->err) == ISO_OK) {
      out[A_FOR_FLOP] = pt.flop;
      out[A_FOR_PARAMS] = pt.params;
      out[A_FOR_TOKENS] = pt.tokens;
      out[A_FOR_RATIO] = pt.tokens / pt.params;
    }
    if (!isnan(q->serve_tok)) ask_life(a, p, out);
  }
  int n = l->facts ? l->facts(p, q->x, f) : 0;
  for (int k = 0; k < n; k++) out[A_FACT + k] = f[k].value;
}

// The set's answers; the error says why the first question without one has none.
static iso_status answer_set(const cli_law_question *q, const iso_law_const *c, answer *w, iso_err *err) {
  const iso_law *l = q->law;
  asked first = {q, err}, later = {q, NULL};
  double at[A_COUNT];
  *w = (answer){.any = false};
  for (int k = 0; k < A_COUNT; k++) w->v[k] = (iso_fit_interval){NAN, NAN, NAN};
  if (!c->confirmed) return iso_law_predict_const(l, c, (double[ISO_LAW_INPUT_MAX]){1, 1, 1, 1, 1, 1, 1, 1}, at, err);
  if (q->at) ISO_TRY(iso_law_predict_const(l, c, q->x, at, err));
  ask(&first, c->p, at);
  for (int k = 0; k < A_FACT; k++) w->any = w->any || !isnan(at[k]);
  w->facts = l->facts ? l->facts(c->p, q->x, w->fact) : 0;
  return iso_law_spread_ask(l, c, A_COUNT, ask, &later, q->level, w->v, err);
}

// ---- text -----------------------------------------------------------------------------------------------------------

// How far the observed target lies above the law's, as a share of it.
static double over(const cli_law_question *q, double predicted) { return q->observed / predicted - 1; }

static const char *range_text(const cli_law_question *q, const iso_fit_interval *v, char *buf, size_t n) {
  *buf = 0;
  if (isfinite(v->lo)) (void)snprintf(buf, n, " (%.4g to %.4g, %.0f%%)", v->lo, v->hi, 100 * q->level);
  return buf;
}

static void print_slopes(const cli_law_question *q, const iso_law_const *c) {
  const iso_law *l = q->law;
  char text[300] = "";
  for (int i = 0; i < l->n_inputs; i++) {
    double e = iso_law_elasticity(l, c->p, q->x, i);
    size_t n = strlen(text);
    if (isfinite(e)) (void)snprintf(text + n, sizeof text - n, "%s%s %.4g", n ? ", " : "", l->input[i].name, e);
  }
  if (text[0]) printf("    elasticities by %s\n", text);
  double s = iso_law_substitution(l, c->p, q->x);
  if (isfinite(s)) printf("    elasticity of substitution of parameters and tokens %.4g\n", s);
}

// How far from a loss published laws leave a run of this size and tokens; NaN bounds for other targets.
static iso_fit_interval between(const cli_law_question *q, double y) {
  const iso_law *l = q->law;
  if (l->at_params < 0 || l->at_tokens < 0 || strcmp(l->target, "loss") != 0 || strcmp(l->unit, "nats per token") != 0)
    return (iso_fit_interval){y, NAN, NAN};
  return iso_law_between(y, q->x[l->at_params], q->x[l->at_tokens], q->level, NULL);
}

static void print_answers(const cli_law_question *q, const iso_law_const *c) {
  const iso_law *l = q->law;
  char text[300] = "", range[80], more[80];
  iso_err e = {0};
  answer w;
  if (answer_set(q, c, &w, &e) != ISO_OK || e.msg[0]) {
    if (has_question(q)) printf("  %s\n", e.msg);
    if (!w.any && !c->confirmed) return;
  }
  const iso_fit_interval *v = w.v;
  if (q->at && isfinite(v[A_AT].mid)) {
    int worst;
    cli_law_inputs_text(l, q->x, text, sizeof text);
    printf("  at %s: %s = %.6g %s%s\n", text, l->target, v[A_AT].mid, l->unit, range_text(q, &v[A_AT], range, sizeof range));
    iso_fit_interval b = between(q, v[A_AT].mid);
    if (isfinite(b.lo))
      printf("    on other text %.3g to %.3g, by how far published laws of dense models lie apart (%.0f%%)\n", b.lo, b.hi, 100 * q->level);
    if (!isnan(q->observed))
      printf("  observed %.6g: %.2f%% %s the law\n", q->observed, 100 * fabs(over(q, v[A_AT].mid)), over(q, v[A_AT].mid) < 0 ? "below" : "above");
    print_slopes(q, c);
    double r = iso_law_reach(l, c->lo, c->hi, q->x, &worst);
    if (worst >= 0) printf("  an extrapolation: %.3g times outside what its fit saw of %s\n", r, l->input[worst].name);
  }
  if (isfinite(v[A_BEST_AT].mid))
    printf("  best %s = %.6g%s: %s = %.6g %s%s\n", l->input[q->best].name, v[A_BEST_AT].mid, range_text(q, &v[A_BEST_AT], range, sizeof range),
           l->target, v[A_BEST_TARGET].mid, l->unit, range_text(q, &v[A_BEST_TARGET], more, sizeof more));
  if (isfinite(v[A_OPT_PARAMS].mid)) {
    printf("  optimum at C = %.4g FLOP: %s = %.4g%s, ", q->flop, l->input[l->at_params].name, v[A_OPT_PARAMS].mid,
           range_text(q, &v[A_OPT_PARAMS], range, sizeof range));
    printf("%s = %.4g%s, ", l->input[l->at_tokens].name, v[A_OPT_TOKENS].mid, range_text(q, &v[A_OPT_TOKENS], range, sizeof range));
    printf("%s = %.6g%s; %.4g tokens per parameter%s\n", l->target, v[A_OPT_TARGET].mid, range_text(q, &v[A_OPT_TARGET], range, sizeof range),
           v[A_OPT_RATIO].mid, range_text(q, &v[A_OPT_RATIO], more, sizeof more));
  }
  if (isfinite(v[A_SOLVED].mid))
    printf("  %s = %.6g at %s = %.6g%s\n", l->target, q->target, l->input[q->solve].name, v[A_SOLVED].mid,
           range_text(q, &v[A_SOLVED], range, sizeof range));
  if (isfinite(v[A_FOR_FLOP].mid))
    printf("  %s = %.6g at its optimum takes C = %.4g FLOP%s: %s = %.4g, %s = %.4g\n", l->target, q->target, v[A_FOR_FLOP].mid,
           range_text(q, &v[A_FOR_FLOP], range, sizeof range), l->input[l->at_params].name, v[A_FOR_PARAMS].mid, l->input[l->at_tokens].name,
           v[A_FOR_TOKENS].mid);
  if (isfinite(v[A_LIFE_PARAMS].mid))
    printf("  with %.4g tokens served: %s = %.4g%s, %s = %.4g, %.4g FLOP in all, %+.2f%% against the training optimum's\n", q->serve_tok,
           l->input[l->at_params].name, v[A_LIFE_PARAMS].mid, range_text(q, &v[A_LIFE_PARAMS], range, sizeof range), l->input[l->at_tokens].name,
           v[A_LIFE_TOKENS].mid, v[A_LIFE_FLOP].mid, 100 * v[A_LIFE_CHANGE].mid);
  for (int k = 0; k < w.facts; k++)
    if (isfinite(v[A_FACT + k].mid))
      printf("  %s = %.6g%s%s%s: %s\n", w.fact[k].name, v[A_FACT + k].mid, w.fact[k].unit[0] ? " " : "", w.fact[k].unit,
             range_text(q, &v[A_FACT + k], range, sizeof range), w.fact[k].what);
}

static void print_set(const cli_law_question *q, const iso_law_const *c) {
  const iso_law *l = q->law;
  const iso_law_spread *s = iso_law_spread_of(l, c);
  char text[300] = "";
  for (int k = 0; k < l->n_params; k++) {
    size_t n = strlen(text);
    (void)snprintf(text + n, sizeof text - n, "%s%s = %.6g", k ? ", " : "", l->param[k].sign, l->param[k].is_log ? exp(c->p[k]) : c->p[k]);
  }
  printf("\n%s%s\n  %s\n  %s\n", c->name, c->confirmed ? "" : "  NOT CONFIRMED: nothing is predicted with it", text, c->source);
  if (c->runs) printf("  runs %s\n", c->runs);
  for (int i = 0; i < l->n_inputs; i++)
    if (c->hi[i] > 0) printf("  fitted on %s %.4g to %.4g\n", l->input[i].name, c->lo[i], c->hi[i]);
  if (c != &q->given && !iso_law_range_known(l, c))
    printf("  fitted on a range that is not known: nothing tells where a question is an extrapolation\n");
  if (c->confirmed)
    printf("  uncertainty: %s\n", s ? s->source : c == &q->given ? "of given constants not known" : "none published, so there are no intervals");
  print_answers(q, c);
}

static void print_law(const cli_law_question *q, bool passed, const char *why) {
  const iso_law *l = q->law;
  printf("%s: %s\n%s\n\n", l->base.name, l->base.summary, l->base.paper);
  cli_row("formula", "%s", l->formula);
  cli_row("predicts", "%s, in %s", l->target, l->unit);
  cli_row("conventions", "%s", l->counts);
  if (l->flops) cli_row("", "%s", l->flops);
  if (l->objective == ISO_LAW_HUBER || l->objective == ISO_LAW_HUBER_LOG)
    cli_row("fitted by", "%s, delta %g", iso_law_objective_name(l->objective), l->delta);
  else
    cli_row("fitted by", "%s", iso_law_objective_name(l->objective));
  cli_row("optimum", "%s", l->at_params < 0 || l->at_tokens < 0 ? "splits no budget" : l->optimum ? "closed form" : "searched for");
  cli_row("selftest", "%s%s", passed ? "passed" : "FAILED: ", passed ? "" : why);
  for (int i = 0; i < l->n_inputs; i++) {
    const iso_law_input *in = &l->input[i];
    char left[60] = "";
    if (in->absent == INFINITY)
      (void)snprintf(left, sizeof left, "; left out: without it");
    else if (!isnan(in->absent))
      (void)snprintf(left, sizeof left, "; left out: %.6g", in->absent);
    cli_row(i ? "" : "inputs", "%-16s %s%s%s%s", in->name, in->what, in->unit[0] ? ", " : "", in->unit, left);
  }
  if (!l->n_consts) printf("\nno published constants: fit it to runs of your own, isoflop fit DATA.csv --law %s\n", l->base.name);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

// An interval of an answer: null when nothing is published that gives one.
static json_t *range_json(const cli_law_question *q, const iso_fit_interval *v) {
  if (!isfinite(v->lo)) return json_null();
  return json_pack("{s:o, s:o, s:o, s:o}", "value", iso_json_num(v->mid), "lo", iso_json_num(v->lo), "hi", iso_json_num(v->hi), "level",
                   iso_json_num(q->level));
}

static void set_value(json_t *o, const cli_law_question *q, const char *name, const iso_fit_interval *v) {
  json_object_set_new(o, name, iso_json_num(v->mid));
  json_object_set_new(json_object_get(o, "intervals"), name, range_json(q, v));
}

static void slopes_json(json_t *o, const cli_law_question *q, const iso_law_const *c) {
  const iso_law *l = q->law;
  json_t *e = json_object(), *s = json_object(), *by = json_object();
  double g[ISO_LAW_PARAM_MAX];
  l->value(c->p, q->x, g);
  for (int i = 0; i < l->n_inputs; i++) {
    json_object_set_new(e, l->input[i].name, iso_json_num(iso_law_elasticity(l, c->p, q->x, i)));
    json_object_set_new(s, l->input[i].name, iso_json_num(iso_law_slope(l, c->p, q->x, i)));
  }
  for (int k = 0; k < l->n_params; k++) json_object_set_new(by, l->param[k].name, iso_json_num(g[k]));
  json_object_set_new(o, "elasticities", e);
  json_object_set_new(o, "slopes", s);
  json_object_set_new(o, "by_constant", by);
  json_object_set_new(o, "substitution", iso_json_num(iso_law_substitution(l, c->p, q->x)));
}

static void optimum_json(json_t *o, const cli_law_question *q, const answer *w) {
  if (isnan(w->v[A_OPT_PARAMS].mid)) {
    json_object_set_new(o, "optimum", json_null());
    return;
  }
  json_t *j = json_pack("{s:o, s:{}}", "train_flop", iso_json_num(q->flop), "intervals");
  set_value(j, q, "params", &w->v[A_OPT_PARAMS]);
  set_value(j, q, "tokens", &w->v[A_OPT_TOKENS]);
  set_value(j, q, "tokens_per_param", &w->v[A_OPT_RATIO]);
  set_value(j, q, q->law->target, &w->v[A_OPT_TARGET]);
  json_object_set_new(o, "optimum", j);
}

static void target_json(json_t *o, const cli_law_question *q, const answer *w) {
  json_t *j = json_pack("{s:o, s:{}}", q->law->target, iso_json_num(q->target), "intervals");
  if (q->solve >= 0) {
    set_value(j, q, q->law->input[q->solve].name, &w->v[A_SOLVED]);
  } else {
    set_value(j, q, "train_flop", &w->v[A_FOR_FLOP]);
    set_value(j, q, "params", &w->v[A_FOR_PARAMS]);
    set_value(j, q, "tokens", &w->v[A_FOR_TOKENS]);
    set_value(j, q, "tokens_per_param", &w->v[A_FOR_RATIO]);
  }
  json_object_set_new(o, "reached", j);
  if (isnan(q->serve_tok)) return;
  j = json_pack("{s:o, s:o, s:{}}", q->law->target, iso_json_num(q->target), "serve_tokens", iso_json_num(q->serve_tok), "intervals");
  set_value(j, q, "params", &w->v[A_LIFE_PARAMS]);
  set_value(j, q, "tokens", &w->v[A_LIFE_TOKENS]);
  set_value(j, q, "tokens_per_param", &w->v[A_LIFE_RATIO]);
  set_value(j, q, "flop", &w->v[A_LIFE_FLOP]);
  set_value(j, q, "change", &w->v[A_LIFE_CHANGE]);
  json_object_set_new(o, "lifetime", j);
}

// Adds to the set's JSON what it answers; true when it answers anything.
static bool answers_json(json_t *o, const cli_law_question *q, const iso_law_const *c, iso_err *err) {
  const iso_law *l = q->law;
  json_t *facts = json_object();
  answer w;
  (void)answer_set(q, c, &w, err);
  if (q->at) {
    bool known = isfinite(w.v[A_AT].mid);
    json_object_set_new(o, "prediction", iso_json_num(w.v[A_AT].mid));
    json_object_set_new(o, "interval", range_json(q, &w.v[A_AT]));
    json_object_set_new(o, "reach", iso_json_num(iso_law_range_known(l, c) ? iso_law_reach(l, c->lo, c->hi, q->x, NULL) : NAN));
    iso_fit_interval b = between(q, w.v[A_AT].mid);
    if (isfinite(b.lo)) json_object_set_new(o, "between_laws", range_json(q, &b));
    if (!isnan(q->observed)) {
      json_object_set_new(o, "observed", iso_json_num(q->observed));
      json_object_set_new(o, "observed_over", iso_json_num(over(q, w.v[A_AT].mid)));
    }
    if (known) slopes_json(o, q, c);
  }
  if (q->best >= 0) {
    json_t *b = json_null();
    if (isfinite(w.v[A_BEST_AT].mid)) {
      b = json_pack("{s:s, s:{}}", "input", l->input[q->best].name, "intervals");
      set_value(b, q, "at", &w.v[A_BEST_AT]);
      set_value(b, q, l->target, &w.v[A_BEST_TARGET]);
    }
    json_object_set_new(o, "best", b);
  }
  if (!isnan(q->flop)) optimum_json(o, q, &w);
  if (!isnan(q->target)) target_json(o, q, &w);
  for (int k = 0; k < w.facts; k++) {
    const iso_fit_interval *v = &w.v[A_FACT + k];
    if (isfinite(v->mid))
      json_object_set_new(facts, w.fact[k].name,
                          json_pack("{s:o, s:o, s:o, s:s, s:s}", "value", iso_json_num(v->mid), "lo", iso_json_num(v->lo), "hi", iso_json_num(v->hi),
                                    "unit", w.fact[k].unit, "what", w.fact[k].what));
  }
  json_object_set_new(o, "facts", facts);
  if (err->msg[0] && has_question(q)) json_object_set_new(o, "note", json_string(err->msg));
  return w.any;
}

// ---- both -----------------------------------------------------------------------------------------------------------

int cli_law_show(const cli_args *a, const cli_law_question *q) {
  const iso_law *l = q->law;
  iso_err why = {0}, e = {0}, first = {0};
  bool passed = l->base.selftest(a->ctx, &why) == ISO_OK, answered = false;
  json_t *j = iso_law_json(l), *all = json_object_get(j, "sets"), *sets = json_array();
  int n = q->only == &q->given ? 1 : l->n_consts;
  for (int i = 0; i < n; i++) {
    const iso_law_const *c = q->only == &q->given ? &q->given : &l->consts[i];
    if (q->only && c != q->only) continue;
    json_t *o = c == &q->given ? iso_law_const_json(l, c) : json_incref(json_array_get(all, (size_t)i));
    e = (iso_err){0};
    answered = answers_json(o, q, c, &e) || answered;
    if (!first.msg[0]) first = e;
    json_array_append_new(sets, o);
  }
  json_object_set_new(j, "sets", sets);
  if (has_question(q) && !answered) {
    json_decref(j);
    if (n) return cli_fail(a, first.status != ISO_OK ? first.status : ISO_EINVAL, &first);
    return cli_fail(a, iso_fail(&e, ISO_EUNSUP, "law %s has no published constants; fit it first, or give them by --with", l->base.name), &e);
  }
  if (a->json) {
    json_object_set_new(j, "selftest", passed ? json_string("passed") : json_string(why.msg));
    return cli_put_json(j);
  }
  json_decref(j);
  print_law(q, passed, why.msg);
  for (int i = 0; i < n; i++) {
    const iso_law_const *c = q->only == &q->given ? &q->given : &l->consts[i];
    if (!q->only || q->only == c) print_set(q, c);
  }
  return EXIT_DONE;
}
