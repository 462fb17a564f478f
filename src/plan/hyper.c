// Asking every law of a hyperparameter, and the spread between them.
#include "plan/hyper.h"

#include <math.h>
#include <string.h>

#include "plan/law_ask.h"

static bool is_target(const iso_law *l, const char *target) {
  if (strcmp(l->target, target) == 0) return true;
  for (int i = 0; i < ISO_LAW_ALIAS_MAX && l->target_alias[i]; i++)
    if (strcmp(l->target_alias[i], target) == 0) return true;
  return false;
}

static bool is_critical(const iso_law *l) {
  for (int i = 0; i < ISO_LAW_ALIAS_MAX && l->target_alias[i]; i++)
    if (strcmp(l->target_alias[i], "critical_batch") == 0) return true;
  return false;
}

static double known(const iso_hyper_run *r, const char *name) {
  const struct {
    const char *name;
    double v;
  } have[] = {{"params", r->params},          {"tokens", r->tokens}, {"train_flop", r->train_flop},
              {"batch_tokens", r->batch_tok}, {"lr", r->lr},         {"loss", r->loss}};
  for (size_t i = 0; i < ISO_COUNT(have); i++)
    if (strcmp(have[i].name, name) == 0) return have[i].v;
  return NAN;
}

int iso_hyper_list(const char *target, const iso_hyper_run *run, iso_hyper_row *out) {
  int n = 0;
  for (int64_t i = 0; i < iso_law_count(); i++) {
    const iso_law *l = iso_law_at(i);
    double x[ISO_LAW_INPUT_MAX];
    const char *missing = NULL;
    if (!is_target(l, target)) continue;
    iso_law_absent(l, x);
    for (int k = 0; k < l->n_inputs; k++) {
      double v = known(run, l->input[k].name);
      if (!isnan(v)) x[k] = v;
      if (isnan(x[k]) && !missing) missing = l->input[k].name;
    }
    for (int k = 0; k < (l->n_consts ? l->n_consts : 1) && n < ISO_HYPER_ROWS_MAX; k++) {
      const iso_law_const *c = l->n_consts ? &l->consts[k] : NULL;
      iso_hyper_row *r = &out[n++];
      *r = (iso_hyper_row){.law = l, .set = c, .critical = is_critical(l), .missing = missing, .value = NAN, .lo = NAN, .hi = NAN, .reach = NAN};
      r->applies = c && !missing;
      r->confirmed = c && c->confirmed;
      r->experts = c && strstr(c->name, "moe");
      iso_fit_interval v;
      if (!r->applies || !r->confirmed || iso_law_predict_interval(l, c, x, 0.9, &v, NULL) != ISO_OK) continue;
      r->value = v.mid;
      r->lo = v.lo;
      r->hi = v.hi;
      r->reach = iso_law_reach(l, c->lo, c->hi, x, NULL);
    }
  }
  return n;
}

iso_est iso_hyper_pick(const iso_hyper_row *rows, int n, bool critical, bool experts, int *laws) {
  double sum = 0, lo = INFINITY, hi = 0;
  const iso_law *last = NULL;
  *laws = 0;
  for (int i = 0; i < n; i++) {
    const iso_hyper_row *r = &rows[i];
    if (!(r->value > 0) || r->critical != critical || r->experts != experts) continue;
    lo = fmin(lo, fmin(r->value, r->lo));
    hi = fmax(hi, fmax(r->value, r->hi));
    if (r->law == last) continue;
    last = r->law;
    sum += log(r->value);
    (*laws)++;
  }
  if (!*laws) return iso_est_unknown();
  double mean = exp(sum / *laws);
  return iso_est_range(fmin(lo, mean), mean, fmax(hi, mean));
}

#define LLAMA "Touvron et al. 2023, arXiv:2302.13971, table 2 and section 2.3"
static const iso_hyper_recipe RECIPES[] = {
    {"LLaMA 7B", 6.7e9, 1e12, 3e-4, 4e6, 0.1, 0.9, 0.95, LLAMA},
    {"LLaMA 13B", 13e9, 1e12, 3e-4, 4e6, 0.1, 0.9, 0.95, LLAMA},
    {"LLaMA 33B", 32.5e9, 1.4e12, 1.5e-4, 4e6, 0.1, 0.9, 0.95, LLAMA},
    {"LLaMA 65B", 65.2e9, 1.4e12, 1.5e-4, 4e6, 0.1, 0.9, 0.95, LLAMA},
};

const iso_hyper_recipe *iso_hyper_recipe_at(int i) { return i >= 0 && i < (int)ISO_COUNT(RECIPES) ? &RECIPES[i] : NULL; }

const iso_hyper_recipe *iso_hyper_recipe_near(double params) {
  const iso_hyper_recipe *best = &RECIPES[0];
  for (size_t i = 1; i < ISO_COUNT(RECIPES); i++)
    if (fabs(log(params / RECIPES[i].params)) < fabs(log(params / best->params))) best = &RECIPES[i];
  return best;
}

double iso_hyper_beta2(double batch_tok) { return isnan(batch_tok) ? NAN : fmin(0.9999, fmax(0.9, pow(0.95, batch_tok / 4e6))); }
