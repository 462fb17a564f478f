// The spread of published dense laws at one size and number of tokens.
#include "plan/law_between.h"

#include <math.h>
#include <string.h>

#include "base/stat.h"

// Confirmed, in nats per token, of decoders trained on web text; one set for each group of runs.
static const struct {
  const iso_law *law;
  const char *set;
} FAMILY[] = {
    {&iso_law_chinchilla, "besiroglu2024"},
    {&iso_law_chinchilla, "krajewski2024_dense"},
    {&iso_law_overtraining, "gadre2024_c4"},
    {&iso_law_overtraining, "gadre2024_rpj"},
    {&iso_law_overtraining, "gadre2024_rw"},
    {&iso_law_data_constrained, "muennighoff2023"},
    {&iso_law_distillation_supervised, "busbridge2025"},
    {&iso_law_kaplan, "kaplan2020"},
};

const iso_law_const *iso_law_between_set(int i, const iso_law **law) {
  const iso_law_const *c;
  if (i < 0 || (size_t)i >= ISO_COUNT(FAMILY) || iso_law_find_const(FAMILY[i].law, FAMILY[i].set, &c, NULL) != ISO_OK) return NULL;
  *law = FAMILY[i].law;
  return c;
}

double iso_law_between_sd(double params, double tokens, const char *skip, int *n) {
  double v[ISO_COUNT(FAMILY)];
  int64_t k = 0;
  for (int i = 0; i < (int)ISO_COUNT(FAMILY); i++) {
    const iso_law *law;
    const iso_law_const *c = iso_law_between_set(i, &law);
    if (!c || (skip && c->runs && strcmp(c->runs, skip) == 0)) continue;
    double y = iso_law_nd(law, c->p, params, tokens);
    if (y > 0 && y < INFINITY) v[k++] = log(y);
  }
  if (n) *n = (int)k;
  return iso_stdev(v, k);
}

iso_fit_interval iso_law_between(double y, double params, double tokens, double level, const char *skip) {
  int n;
  double sd = iso_law_between_sd(params, tokens, skip, &n), half = iso_t_quantile(level, n - 1) * sqrt(2) * sd;
  if (!(y > 0) || !isfinite(half)) return (iso_fit_interval){y, NAN, NAN};
  return (iso_fit_interval){y, y * exp(-half), y * exp(half)};
}
