// Reads the law and the budget of a training run.
#include "cli/plan/law.h"

#include <math.h>

#include "cli/law_args.h"

iso_status cli_train_budget(const cli_args *a, iso_budget *b, iso_err *err) {
  ISO_TRY(cli_budget(a, b, err));
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    bool ours = false;
    for (int i = 0; i < ISO_TRAIN_LIMITS; i++) ours = ours || iso_train_limit(i) == (iso_res)r;
    if (ours || iso_budget_get(b, (iso_res)r) == INFINITY) continue;
    iso_fail(err, ISO_EINVAL, "--budget: %s does not bound a training run on a cluster", iso_res_get((iso_res)r)->name);
    return iso_hint(err, ISO_EINVAL, "train_flop, wall, usd, energy, co2 and tok do; --memory-limit bounds a device's memory");
  }
  return ISO_OK;
}

iso_status cli_train_law(const cli_args *a, const iso_law **law, const iso_law_const **set, double *x, iso_err *err) {
  const char *name = cli_text(a, "set"), *at = cli_text(a, "at");
  ISO_TRY(iso_law_find(cli_text(a, "law"), law, err));
  const iso_law *l = *law;
  if (l->at_params < 0 || l->at_tokens < 0)
    return iso_fail(err, ISO_EINVAL, "--law: %s does not split a budget between parameters and tokens", l->base.name);
  if (!l->n_consts) {
    iso_fail(err, ISO_EUNSUP, "--law: %s has no published constants", l->base.name);
    return iso_hint(err, ISO_EUNSUP, "isoflop fit --law %s fits it to runs of your own", l->base.name);
  }
  if (name) {
    ISO_TRY(iso_law_find_const(l, name, set, err));
  } else {
    *set = &l->consts[0];
    for (int i = l->n_consts - 1; i >= 0; i--)
      if (l->consts[i].confirmed) *set = &l->consts[i];
  }
  iso_law_absent(l, x);
  if (!at) return ISO_OK;
  char text[400];
  (void)snprintf(text, sizeof text, "%s=1,%s=1,%.300s", l->input[l->at_params].name, l->input[l->at_tokens].name, at);
  return cli_law_inputs(l, text, "--at", x, err);
}
