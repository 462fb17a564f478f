// Fits for plans, from runs or saved, and intervals from their refits.
#include "cli/plan/fit.h"

#include <math.h>
#include <string.h>

#include "base/stat.h"
#include "cli/fit_law.h"

iso_status cli_plan_fit_check(const cli_args *a, iso_err *err) {
  int64_t starts = cli_int(a, "starts"), boot = cli_int(a, "bootstrap");
  double level = cli_real(a, "level");
  if (starts < 1 || starts > 1000000) return iso_fail(err, ISO_EINVAL, "--starts must lie between 1 and 1000000");
  if ((boot != 0 && boot < CLI_RESAMPLES_MIN) || boot > 1000000)
    return iso_fail(err, ISO_EINVAL, "--bootstrap %lld: expected 0, or %d to 1000000", (long long)boot, CLI_RESAMPLES_MIN);
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "--level must lie between 0 and 1");
  return ISO_OK;
}

iso_status cli_plan_fit_data(const cli_args *a, const iso_law_data *rows, const char *name, cli_plan_fit *out, iso_err *err) {
  iso_lawfit_opts o = iso_lawfit_opts_default(rows->law);
  *out = (cli_plan_fit){.law = rows->law};
  o.starts = (int)cli_int(a, "starts");
  o.resamples = cli_int(a, "bootstrap");
  o.level = cli_real(a, "level");
  o.seed = (uint64_t)cli_int(a, "seed");
  iso_status st = iso_lawfit_run(a->ctx, rows, &o, &out->fit, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "%.200s", name);
  memcpy(out->p, out->fit.p, sizeof out->p);
  memcpy(out->x_lo, out->fit.x_lo, sizeof out->x_lo);
  memcpy(out->x_hi, out->fit.x_hi, sizeof out->x_hi);
  (void)snprintf(out->source, sizeof out->source, "fitted to %lld rows of %.200s", (long long)out->fit.n, name);
  return ISO_OK;
}

iso_status cli_plan_fit_rows(const cli_args *a, const iso_csv *t, const char *name, const iso_law *law, const bool *use, const char *const *columns,
                             int n_columns, cli_plan_fit *out, iso_err *err) {
  iso_law_data rows = {0}, held = {0};
  iso_law_data_opts d = {.use = use, .columns = columns, .n_columns = n_columns, .objective = law->objective};
  *out = (cli_plan_fit){.law = law};
  iso_status st = iso_law_data_read(t, law, &d, &rows, &held, err);
  if (st == ISO_OK)
    st = cli_plan_fit_data(a, &rows, name, out, err);
  else if (strcmp(name, t->what) != 0)  // the error names the table
    st = iso_err_prefix(err, st, "%.200s", name);
  iso_law_data_close(&rows);
  iso_law_data_close(&held);
  return st;
}

iso_status cli_plan_fit_saved(const char *path, const iso_law *law, cli_plan_fit *out, iso_err *err) {
  json_t *doc = NULL;
  *out = (cli_plan_fit){.law = law};
  ISO_TRY(iso_json_load(path, &doc, err));
  const json_t *fit = json_object_get(doc, "fit"), *p = json_object_get(fit, "params"), *range = json_object_get(fit, "range");
  const char *name = json_string_value(json_object_get(fit, "law"));
  iso_status st = ISO_OK;
  if (!name || strcmp(name, law->base.name) != 0) {
    iso_fail(err, ISO_EFORMAT, "%.200s: %s%.40s, expected a fit of law %s", path, name ? "a fit of law " : "no fit", name ? name : "",
             law->base.name);
    st = iso_hint(err, ISO_EFORMAT, "isoflop fit DATA.csv --law %s --json > FILE.json makes one", law->base.name);
  }
  for (int k = 0; k < law->n_params && st == ISO_OK; k++) {
    const json_t *v = json_object_get(json_object_get(p, law->param[k].name), "value");
    if (!json_is_number(v)) st = iso_fail(err, ISO_EFORMAT, "%.200s: fit.params.%s.value is not a number", path, law->param[k].name);
    out->p[k] = json_number_value(v);
  }
  for (int i = 0; i < law->n_inputs && st == ISO_OK; i++) {
    const json_t *r = json_object_get(range, law->input[i].name);
    out->x_lo[i] = json_number_value(json_array_get(r, 0));
    out->x_hi[i] = json_number_value(json_array_get(r, 1));
  }
  (void)snprintf(out->source, sizeof out->source, "the saved fit %.200s", path);
  json_decref(doc);
  return st;
}

iso_status cli_plan_fit_open(const cli_args *a, const iso_law *law, const iso_law_const *c, const char *columns, cli_plan_fit *out, iso_err *err) {
  const char *path = cli_text(a, "fit");
  size_t n = path ? strlen(path) : 0;
  ISO_TRY(cli_plan_fit_check(a, err));
  if (n > 5 && strcmp(path + n - 5, ".json") == 0) return cli_plan_fit_saved(path, law, out, err);
  if (path) {
    iso_csv t = {0};
    iso_status st = iso_csv_load(path, &t, err);
    if (st == ISO_OK) st = cli_plan_fit_rows(a, &t, path, law, NULL, NULL, 0, out, err);
    iso_csv_close(&t);
    if (st == ISO_EINVAL || st == ISO_EFORMAT) iso_hint(err, st, "columns: %s", columns);
    return cli_input(st, err);
  }
  *out = (cli_plan_fit){.law = law};
  memcpy(out->p, c->p, sizeof c->p);
  memcpy(out->x_lo, c->lo, sizeof c->lo);
  memcpy(out->x_hi, c->hi, sizeof c->hi);
  (void)snprintf(out->source, sizeof out->source, "published constants %s: %.250s", c->name, c->source);
  return ISO_OK;
}

void cli_plan_fit_close(cli_plan_fit *f) { iso_lawfit_close(&f->fit); }

const double *cli_plan_fit_sample(const cli_plan_fit *f, int64_t i) {
  return i < f->fit.resamples && f->fit.sample ? f->fit.sample + i * f->law->n_params : f->p;
}

json_t *cli_plan_fit_json(const cli_plan_fit *f) {
  json_t *p = json_object(), *warn = json_array();
  for (int k = 0; k < f->law->n_params; k++) json_object_set_new(p, f->law->param[k].name, iso_json_num(f->p[k]));
  for (int i = 0; i < f->fit.n_warn; i++) json_array_append_new(warn, json_string(f->fit.warn[i]));
  return json_pack("{s:s, s:s, s:o, s:I, s:o, s:I, s:o, s:s}", "law", f->law->base.name, "source", f->source, "params", p, "points",
                   (json_int_t)f->fit.n, "rmse", f->fit.n ? iso_json_num(f->fit.rmse) : json_null(), "refits", (json_int_t)f->fit.resamples,
                   "warnings", warn, "paper", f->law->base.paper);
}

json_t *cli_plan_fit_range(double value, double *refits, int64_t n, double level) {
  int64_t m = 0;
  for (int64_t i = 0; i < n; i++)
    if (isfinite(refits[i])) refits[m++] = refits[i];
  double lo = NAN, hi = NAN;
  if (m >= 20) {
    lo = fmin(value, iso_quantile(refits, m, 0.5 * (1 - level)));
    hi = fmax(value, iso_quantile(refits, m, 0.5 * (1 + level)));
  }
  return iso_json_range(value, lo, hi, n ? "fewer than 20 refits give this number" : "no refits were made");
}
