// Solves a request and shows the answers as text and JSON.
#include "cli/fit_answers.h"

#include <math.h>
#include <string.h>

#include "base/unit.h"
#include "cli/work.h"

static double largest_flop(const iso_fit_data *d) {
  double c = 0;
  for (int64_t i = 0; i < d->n; i++) c = fmax(c, d->flop[i]);
  return c;
}

static void missing(cli_fit_answers *w, const iso_err *e) { (void)snprintf(w->note, sizeof w->note, "%s", e->msg); }

// A method's failure: fatal when it is the only one, else a note.
static iso_status missed(const cli_fit_request *q, cli_fit_answers *w, iso_status st, const iso_err *e, iso_err *err) {
  if (st == ISO_OK) return ISO_OK;
  missing(w, e);
  if (q->law + q->parabolas + q->curves + q->envelope > 1) return ISO_OK;
  *err = *e;
  return st;
}

iso_status cli_fit_solve(iso_ctx *c, const cli_fit_request *q, cli_fit_answers *w, iso_err *err) {
  double start = iso_now_s(c);
  iso_err e = {0};
  if (q->law) {
    ISO_TRY(iso_fit_run(c, &w->data, &q->fit, &w->fit, err));
    w->has_fit = true;
    if (isfinite(q->n)) {
      ISO_TRY(iso_fit_predict(&w->fit, q->n, q->d, q->level, &w->loss, err));
      w->has_loss = true;
    }
    if (isfinite(q->flop)) {
      ISO_TRY(iso_fit_optimum(&w->fit, q->flop, q->level, &w->best, err));
      w->has_best = true;
    }
  }
  if (q->curves) {
    iso_status st = iso_curves_fit(&w->data, &q->curve, &w->cur, &e);
    w->has_curves = st == ISO_OK;
    ISO_TRY(missed(q, w, st, &e, err));
  }
  if (q->parabolas) {
    iso_status st = iso_parabolas_fit(&w->data, &q->parabola, &w->par, &e);
    w->has_parabolas = st == ISO_OK;
    ISO_TRY(missed(q, w, st, &e, err));
  }
  if (q->envelope) {
    iso_status st = iso_envelope_fit(&w->data, &q->env, &w->env, &e);
    w->has_envelope = st == ISO_OK;
    if (st != ISO_OK && !(q->law || q->curves || q->parabolas)) {
      *err = e;
      return st;
    }
  }
  if (w->has_fit && w->has_parabolas) {
    w->has_compare = iso_parabolas_against(&w->par, &w->fit, isfinite(q->flop) ? q->flop : largest_flop(&w->data), &w->cmp, &e) == ISO_OK;
    if (!w->has_compare) missing(w, &e);
  }
  w->seconds = iso_now_s(c) - start;
  return ISO_OK;
}

void cli_fit_answers_close(cli_fit_answers *w) {
  if (w->has_fit) iso_fit_close(&w->fit);
  iso_fit_data_close(&w->data);
}

// How far beyond the points a question lies, as a sentence; empty inside.
static void reach_text(iso_fit_reach r, const char *what, char *buf, size_t n) {
  *buf = 0;
  if (r.params > 1 || r.tokens > 1 || r.flop > 1)
    (void)snprintf(buf, n, "%s is an extrapolation: %.3gx in parameters, %.3gx in tokens, %.3gx in FLOPs beyond the points", what, r.params, r.tokens,
                   r.flop);
}

static void interval_row(const char *name, double v, double lo, double hi, double se) {
  printf("%-12s %14.6g", name, v);
  if (isfinite(lo)) printf("   %12.6g to %-12.6g", lo, hi);
  if (isfinite(se)) printf(" %12.3g", se);
  printf("\n");
}

static double number(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return json_is_number(v) ? json_number_value(v) : NAN;
}

static void print_fit(const cli_fit_answers *w) {
  const iso_fit *f = &w->fit;
  char b[6][40];
  printf("\nL(N, D) = E + A / N^alpha + B / D^beta\n%-12s %14s   %3.0f%% interval", "parameter", "estimate", 100 * f->level);
  printf("%16s %12s\n", "", "s.e.");
  json_t *j = iso_fit_json(f);
  const char *const names[] = {"E", "A", "B", "alpha", "beta"};
  for (size_t i = 0; i < ISO_COUNT(names); i++) {
    const json_t *p = json_object_get(json_object_get(j, "params"), names[i]);
    interval_row(names[i], number(p, "value"), number(p, "lo"), number(p, "hi"), number(p, "se"));
  }
  json_decref(j);
  double ab = f->p[ISO_FIT_ALPHA] + f->p[ISO_FIT_BETA];
  printf("\n");
  cli_row("objective", "%.9g (Huber %g on log loss, summed); %d of %d best starts agree", f->objective, f->delta, f->finalists_agree, f->finalists);
  cli_row("exponents", "N* ~ C^%.4f, D* ~ C^%.4f", f->p[ISO_FIT_BETA] / ab, f->p[ISO_FIT_ALPHA] / ab);
  cli_row("noise", "%.3g%% of the loss", 100 * f->noise_sd);
  cli_row("time", "%.3g s for the fit", f->fit_s);
  if (f->resamples > 0)
    cli_row("intervals", "%lld %s refits%s", (long long)f->resamples, f->boot == ISO_FIT_BOOT_PAIRS ? "bootstrap" : "parametric bootstrap",
            f->failed ? ", some failed" : "");
  cli_row("points span", "N %s to %s, D %s to %s, C %s to %s", iso_unit_print(f->n_min, ISO_UNIT_COUNT, b[0], 40),
          iso_unit_print(f->n_max, ISO_UNIT_COUNT, b[1], 40), iso_unit_print(f->d_min, ISO_UNIT_TOK, b[2], 40),
          iso_unit_print(f->d_max, ISO_UNIT_TOK, b[3], 40), iso_unit_print(f->c_min, ISO_UNIT_FLOP, b[4], 40),
          iso_unit_print(f->c_max, ISO_UNIT_FLOP, b[5], 40));
  for (int i = 0; i < f->n_warn; i++) cli_row(i ? "" : "warnings", "%s", f->warn[i]);
}

static void print_curves(const cli_fit_request *q, const iso_curves *m) {
  printf("\nIsoFLOP curves, interpolated\n%12s %7s %12s   %-26s %12s %10s  %s\n", "C (FLOP)", "sizes", "N*", "interval", "D* (tok)", "loss",
         "remark");
  for (int i = 0; i < m->n; i++) {
    const iso_curve *c = &m->at[i];
    char range[60] = "";
    if (isfinite(c->params.lo)) (void)snprintf(range, sizeof range, "%.3e to %.3e", c->params.lo, c->params.hi);
    printf("%12.3e %7lld %12.3e   %-26s %12.3e %10.4f  %s\n", c->flop, (long long)c->n, c->params.mid, range, c->tokens, c->loss,
           c->flags & ISO_CURVE_EDGE       ? "at the edge of the sizes tried: not used"
           : c->flags & ISO_CURVE_UNSTABLE ? "with noise mostly at the edge: not used"
                                           : "");
  }
  if (isfinite(m->n_exponent.mid)) {
    printf("N* = %.4g C^%.4f", m->n_coef, m->n_exponent.mid);
    if (isfinite(m->n_exponent.lo)) printf(" (%.0f%% interval of the exponent: %.4f to %.4f)", 100 * m->level, m->n_exponent.lo, m->n_exponent.hi);
    printf(", R2 %.5f, from %d of %d budgets; D* ~ C^%.4f\n", m->r2, m->used, m->n, m->d_exponent.mid);
    if (isfinite(q->flop)) printf("at C = %.4g FLOP: N* = %.4g\n", q->flop, m->n_coef * pow(q->flop, m->n_exponent.mid));
  } else
    printf("no power law: %d of %d budgets have a minimum inside the sizes tried\n", m->used, m->n);
  if (m->unassigned) printf("%lld points share no budget with two others\n", (long long)m->unassigned);
}

static void print_parabolas(const iso_parabolas *m) {
  printf("\nIsoFLOP parabolas\n%12s %7s %12s   %-26s %12s %10s  %s\n", "C (FLOP)", "points", "N*", "interval", "D* (tok)", "loss", "remark");
  for (int i = 0; i < m->n; i++) {
    const iso_parabola *p = &m->at[i];
    char range[60] = "";
    if (p->flags & ISO_PARABOLA_CONCAVE) {
      printf("%12.3e %7lld %12s   %-26s %12s %10s  opens downwards: no minimum\n", p->flop, (long long)p->n, "-", "", "-", "-");
      continue;
    }
    if (isfinite(p->params.lo) && isfinite(p->params.hi)) (void)snprintf(range, sizeof range, "%.3e to %.3e", p->params.lo, p->params.hi);
    printf("%12.3e %7lld %12.3e   %-26s %12.3e %10.4f  %s\n", p->flop, (long long)p->n, p->params.mid, range, p->tokens, p->loss,
           p->flags & ISO_PARABOLA_OUTSIDE ? "outside the sizes tried: not used" : "");
  }
  if (isfinite(m->a.mid)) {
    printf("N* = %.4g C^%.4f", exp(m->log_k), m->a.mid);
    if (isfinite(m->a.lo)) printf(" (%.0f%% interval of the exponent: %.4f to %.4f)", 100 * m->level, m->a.lo, m->a.hi);
    printf(" from %d of %d budgets\n", m->used, m->n);
  } else
    printf("no power law: %d of %d budgets have a minimum inside the sizes tried\n", m->used, m->n);
  if (m->unassigned) printf("%lld points share no budget with two others\n", (long long)m->unassigned);
}

static void print_envelope(const cli_fit_request *q, const iso_envelope *m) {
  printf("\nenvelope of %lld training curves", (long long)m->sizes);
  if (m->short_sizes) printf("; %lld sizes with fewer than three token counts left out", (long long)m->short_sizes);
  printf("\n");
  if (isfinite(m->n_exponent.mid)) {
    printf("N* = %.4g C^%.4f", m->n_coef, m->n_exponent.mid);
    if (isfinite(m->n_exponent.lo))
      printf(" (%.0f%% of %lld subsets of the sizes: %.4f to %.4f)", 100 * m->level, (long long)m->resamples, m->n_exponent.lo, m->n_exponent.hi);
    printf(", R2 %.5f, from %lld sizes that are best between %.3e and %.3e FLOP; D* ~ C^%.4f\n", m->r2, (long long)m->steps, m->flop_lo, m->flop_hi,
           m->d_exponent.mid);
    if (isfinite(q->flop)) printf("at C = %.4g FLOP: N* = %.4g\n", q->flop, m->n_coef * pow(q->flop, m->n_exponent.mid));
  } else
    printf("no power law: %lld sizes are best between a smaller and a larger one that were trained as long\n", (long long)m->steps);
}

void cli_fit_print(const cli_fit_request *q, const cli_fit_answers *w) {
  char text[300];
  printf("%lld points from %s, loss = %s", (long long)w->data.n, w->source, w->metric);
  if (w->data.dropped) printf("; %lld highest dropped", (long long)w->data.dropped);
  if (w->data.skipped) printf("; %lld rows without a loss skipped", (long long)w->data.skipped);
  printf("\n");
  if (w->has_fit) print_fit(w);
  if (w->has_curves) print_curves(q, &w->cur);
  if (w->has_parabolas) print_parabolas(&w->par);
  if (w->has_envelope) print_envelope(q, &w->env);
  if (w->note[0]) printf("\nnot compared: %s\n", w->note);
  if (w->has_compare) printf("\n%s\n", w->cmp.text);
  if (w->has_best) {
    const iso_fit_best *b = &w->best;
    printf("\noptimum at C = %.4g FLOP\n", b->flop);
    interval_row("N*", b->params.mid, b->params.lo, b->params.hi, NAN);
    interval_row("D* (tok)", b->tokens.mid, b->tokens.lo, b->tokens.hi, NAN);
    interval_row("D*/N*", b->tokens.mid / b->params.mid, NAN, NAN, NAN);
    interval_row("loss", b->loss.mid, b->loss.lo, b->loss.hi, NAN);
    reach_text(iso_fit_extrapolation(&w->fit, b->params.mid, b->tokens.mid, b->flop), "this optimum", text, sizeof text);
    if (*text) printf("%s\n", text);
  }
  if (w->has_loss) {
    printf("\nloss at N = %.4g, D = %.4g tok\n", q->n, q->d);
    interval_row("loss", w->loss.mid, w->loss.lo, w->loss.hi, NAN);
    reach_text(iso_fit_extrapolation(&w->fit, q->n, q->d, ISO_LAW_FLOP_PER_PARAM_TOK * q->n * q->d), "this prediction", text, sizeof text);
    if (*text) printf("%s\n", text);
  }
}

static json_t *reach_json(iso_fit_reach r) { return json_pack("{s:f, s:f, s:f}", "params", r.params, "tokens", r.tokens, "train_flop", r.flop); }

json_t *cli_fit_answers_json(const cli_fit_request *q, const cli_fit_answers *w) {
  json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:f}", "source", w->source, "metric", w->metric, "points", (json_int_t)w->data.n, "dropped",
                        (json_int_t)w->data.dropped, "skipped", (json_int_t)w->data.skipped, "seconds", w->seconds);
  if (!j) return NULL;
  json_object_set_new(j, "fit", w->has_fit ? iso_fit_json(&w->fit) : json_null());
  if (w->has_fit) {
    json_object_set_new(json_object_get(j, "fit"), "fit_s", iso_json_num(w->fit.fit_s));
    json_object_set_new(json_object_get(j, "fit"), "refit_s", iso_json_num(w->fit.refit_s));
  }
  json_object_set_new(j, "isoflop", w->has_curves ? iso_curves_json(&w->cur) : json_null());
  json_object_set_new(j, "parabola", w->has_parabolas ? iso_parabolas_json(&w->par) : json_null());
  json_object_set_new(j, "envelope", w->has_envelope ? iso_envelope_json(&w->env) : json_null());
  if (w->has_curves) {
    json_object_set_new(j, "n_exponent", iso_curves_exponent_json(&w->cur.n_exponent));
    if (isfinite(q->flop)) {
      double params = w->cur.n_coef * pow(q->flop, w->cur.n_exponent.mid);
      json_object_set_new(json_object_get(j, "isoflop"), "optimum", json_pack("{s:f, s:o}", "train_flop", q->flop, "params", iso_json_num(params)));
    }
  }
  if (w->has_compare)
    json_object_set_new(
        j, "compare",
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:b, s:s}", "train_flop", w->cmp.flop, "params_isoflop", w->cmp.params_parabola, "params_law",
                  w->cmp.params_law, "ratio", w->cmp.ratio, "exponent_isoflop", w->cmp.a_parabola, "exponent_law", w->cmp.a_law, "loss_penalty",
                  iso_json_num(w->cmp.loss_penalty), "agree", w->cmp.agree, "text", w->cmp.text));
  else
    json_object_set_new(j, "compare", json_null());
  if (w->has_best)
    json_object_set_new(j, "optimum",
                        json_pack("{s:f, s:o, s:o, s:o, s:o, s:o}", "train_flop", w->best.flop, "params", iso_fit_interval_json(&w->best.params),
                                  "tokens", iso_fit_interval_json(&w->best.tokens), "loss", iso_fit_interval_json(&w->best.loss), "exponent",
                                  iso_fit_interval_json(&w->best.exponent), "extrapolation",
                                  reach_json(iso_fit_extrapolation(&w->fit, w->best.params.mid, w->best.tokens.mid, w->best.flop))));
  if (w->has_loss)
    json_object_set_new(j, "prediction",
                        json_pack("{s:f, s:f, s:o, s:o}", "params", q->n, "tokens", q->d, "loss", iso_fit_interval_json(&w->loss), "extrapolation",
                                  reach_json(iso_fit_extrapolation(&w->fit, q->n, q->d, ISO_LAW_FLOP_PER_PARAM_TOK * q->n * q->d))));
  if (w->note[0]) json_object_set_new(j, "note", json_string(w->note));
  return j;
}

static void row_of(const char *name, const char *method, double a, double lo, double hi, int used, int n) {
  printf("%-44s %-10s %8.4f", name, method, a);
  if (isfinite(lo)) printf("   %8.4f to %-8.4f", lo, hi);
  if (n > 0) printf("%s %d of %d budgets", isfinite(lo) ? "" : "                       ", used, n);
  printf("\n");
}

void cli_fit_print_row(const char *name, const cli_fit_request *q, const cli_fit_answers *w) {
  (void)q;
  if (w->has_curves) row_of(name, "isoflop", w->cur.n_exponent.mid, w->cur.n_exponent.lo, w->cur.n_exponent.hi, w->cur.used, w->cur.n);
  if (w->has_parabolas) row_of(name, "parabola", w->par.a.mid, w->par.a.lo, w->par.a.hi, w->par.used, w->par.n);
  if (w->has_envelope) row_of(name, "envelope", w->env.n_exponent.mid, w->env.n_exponent.lo, w->env.n_exponent.hi, 0, 0);
  if (w->has_fit) {
    const iso_fit *f = &w->fit;
    row_of(name, "parametric", f->p[ISO_FIT_BETA] / (f->p[ISO_FIT_ALPHA] + f->p[ISO_FIT_BETA]), NAN, NAN, 0, 0);
  }
  if (w->note[0]) printf("%-44s %s\n", "", w->note);
}
