// `isoflop fit --compare` and `--variants`: tables of fits.
#include <math.h>

#include "cli/fit_law.h"
#include "cli/law_args.h"
#include "plan/fit/lawfit_compare.h"
#include "plan/fit/lawfit_variants.h"

// ---- laws beside each other -----------------------------------------------------------------------------------------

static void print_entry(const iso_lawfit_compare *w, const iso_lawfit_entry *v) {
  double unit = w->relative ? 100 : 1;
  const char *sign = w->relative ? "%" : "";
  char split[40] = "-", refit[24] = "-";
  if (v->note[0]) {
    printf("   - %-20s not fitted: %s\n", v->law->base.name, v->note);
    return;
  }
  if (isfinite(v->split_rho)) (void)snprintf(split, sizeof split, "%+.3f (p %.2g)", v->split_rho, v->split_p);
  if (isfinite(v->fit.refit_s)) (void)snprintf(refit, sizeof refit, "%.3g", 1e3 * v->fit.refit_s);
  printf("%4d %-20s %6d %10.4g%-1s %9.3g%-1s %9.3g%-1s %7.0f%% %12.6g %5d %9.3g %9s  %s\n", v->rank, v->law->base.name, v->law->n_params,
         unit * v->mean_abs, sign, unit * v->bias, sign, unit * v->max_abs, sign, 100 * v->inside, v->fit.value, v->objective_rank, v->fit.fit_s,
         refit, split);
}

static void print_comparison(const iso_lawfit_compare *w) {
  const iso_lawfit *f = NULL;
  for (int i = 0; i < w->n && !f; i++)
    if (!w->at[i].note[0]) f = &w->at[i].fit;
  printf("%lld rows fitted, %lld held out", (long long)f->n, (long long)w->held);
  if (w->common < w->held) printf(", %lld of them within every law's reach and ranked by", (long long)w->common);
  printf("; objective %s", iso_law_objective_name(f->objective));
  if (f->objective == ISO_LAW_HUBER || f->objective == ISO_LAW_HUBER_LOG) printf(", delta %g", f->delta);
  printf("\n\n%4s %-20s %6s %11s %10s %10s %8s %12s %5s %9s %9s  %s\n", "rank", "law", "params", "mean error", "bias", "largest", "inside",
         "objective", "rank", "fit s", "refit ms", "residuals with D/N");
  for (int i = 0; i < w->n; i++) print_entry(w, &w->at[i]);
}

iso_status cli_law_compare(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const bool *use, json_t **out, iso_err *err) {
  iso_lawfit_compare w;
  iso_law_data_opts d = q->data;
  d.use = use;
  ISO_TRY(iso_lawfit_compare_run(a->ctx, &s->table, q->law, q->n_laws, &d, &q->fit, q->most, &w, err));
  if (a->json)
    *out = iso_lawfit_compare_json(&w);
  else
    print_comparison(&w);
  iso_lawfit_compare_close(&w);
  return ISO_OK;
}

// ---- one law, fitted in many ways -----------------------------------------------------------------------------------

static void print_variant(const iso_lawfit_variants *v, const iso_lawfit_variant *w) {
  if (w->note[0]) {
    printf("%-16s %-40s not fitted: %s\n", iso_lawfit_choice_name(w->choice), w->name, w->note);
    return;
  }
  printf("%-16s %-40s %6lld %11.5g %12.6g", iso_lawfit_choice_name(w->choice), w->name, (long long)w->n, w->rmse, w->answer);
  if (v->ratio)
    printf(" %9.3gx %11.4g %11.4g", w->answer / v->at[0].answer, w->params, w->tokens);
  else
    printf(" %+10.3g", w->answer - v->at[0].answer);
  printf(" %8.3g\n", w->fit_s);
}

static void print_variants(const iso_lawfit_variants *v, double level) {
  char text[300];
  const char *what = v->ratio ? "tokens/param" : v->law->target;
  cli_law_inputs_text(v->law, v->x, text, sizeof text);
  if (v->ratio)
    printf("%s: compute-optimal tokens per parameter at C = %.4g FLOP, one choice of the fit changed at a time\n\n", v->law->base.name, v->flop);
  else
    printf("%s: %s at %s, one choice of the fit changed at a time\n\n", v->law->base.name, v->law->target, text);
  printf("%-16s %-40s %6s %11s %12s %10s", "choice", "variant", "rows", "rmse", what, v->ratio ? "of asked" : "change");
  if (v->ratio) printf(" %11s %11s", "N*", "D* (tok)");
  printf(" %8s\n", "fit s");
  for (int i = 0; i < v->n; i++) print_variant(v, &v->at[i]);
  printf("\n");
  cli_row("spread", "%.4g (%s) to %.4g (%s)%s", v->lo, v->at[v->lo_at].name, v->hi, v->at[v->hi_at].name,
          v->fitted < v->n ? ", of those fitted" : "");
  if (isfinite(v->asked.lo))
    cli_row("as asked", "%.4g, %.0f%% interval over resampled rows %.4g to %.4g", v->asked.mid, 100 * level, v->asked.lo, v->asked.hi);
  if (v->most == ISO_LAWFIT_AS_ASKED)
    cli_row("moves it most", "nothing tried moves it");
  else if (v->ratio)
    cli_row("moves it most", "%s, by a factor of %.3g", iso_lawfit_choice_name(v->most), exp(v->moved[v->most]));
  else
    cli_row("moves it most", "%s, by %.3g", iso_lawfit_choice_name(v->most), v->moved[v->most]);
  for (int c = 1; c < ISO_LAWFIT_CHOICES; c++)
    if (!isfinite(v->moved[c])) cli_row("", "%s: the table leaves no choice", iso_lawfit_choice_name((iso_lawfit_choice)c));
}

iso_status cli_law_variants(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const bool *use, json_t **out, iso_err *err) {
  iso_lawfit_variants v;
  iso_law_data_opts d = q->data;
  double x[ISO_LAW_INPUT_MAX];
  d.use = use;
  if (q->predict) ISO_TRY(cli_law_inputs(q->law[0], q->predict, "--predict", x, err));
  iso_lawfit_variants_opts o = {.flop = q->flop, .x = q->predict ? x : NULL};
  ISO_TRY(iso_lawfit_variants_run(a->ctx, &s->table, q->law[0], &d, &q->fit, &o, &v, err));
  if (a->json)
    *out = iso_lawfit_variants_json(&v);
  else
    print_variants(&v, q->fit.level);
  return ISO_OK;
}
