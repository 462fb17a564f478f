// isoflop hw fit and hw test: learning from measured tables, and grading what was learned.
#include <math.h>
#include <string.h>

#include "cli/hw.h"
#include "cli/work.h"

typedef struct source {
  const char *flag;
  iso_table_kind kind;  // of files whose phase is not in their name
} source;
static const source SOURCES[] = {
    {"gemm", ISO_TABLE_gemm}, {"attention", ISO_TABLE_prefill}, {"collectives", ISO_TABLE_collective}, {"allreduce", ISO_TABLE_collective}};

// The rows of each kind, and the files they come from.
typedef struct tables {
  iso_rows rows[ISO_TABLE_COUNT];  // owned
  char what[ISO_TABLE_COUNT][160];
} tables;

static void close_tables(tables *t) {
  for (int k = 0; k < ISO_TABLE_COUNT; k++) iso_rows_close(&t->rows[k]);
}

const char *hw_base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// Prefill and decode tables have the same columns: the phase is written before the file or in its name.
static iso_status phase_of(const char **path, iso_table_kind *kind, iso_err *err) {
  static const char *const PHASES[] = {"prefill", "decode"};
  static const iso_table_kind KIND[] = {ISO_TABLE_prefill, ISO_TABLE_decode};
  int found = -1;
  for (int i = 0; i < 2; i++) {
    size_t n = strlen(PHASES[i]);
    if (strncmp(*path, PHASES[i], n) == 0 && (*path)[n] == ':') {
      *path += n + 1;
      *kind = KIND[i];
      return ISO_OK;
    }
    if (strstr(hw_base_name(*path), PHASES[i])) found = found < 0 ? i : 2;
  }
  if (found == 0 || found == 1) {
    *kind = KIND[found];
    return ISO_OK;
  }
  iso_fail(err, ISO_EINVAL, "--attention %s: the name does not say whether this is prefill or decode", *path);
  return iso_hint(err, ISO_EINVAL, "write prefill:%s or decode:%s", *path, *path);
}

static iso_status load(const cli_args *a, iso_num num, tables *t, iso_err *err) {
  memset(t, 0, sizeof *t);
  for (size_t i = 0; i < ISO_COUNT(SOURCES); i++) {
    int n;
    const char *const *list = cli_list(a, SOURCES[i].flag, &n);
    for (int f = 0; f < n; f++) {
      const char *path = list[f];
      iso_table_kind k = SOURCES[i].kind;
      iso_rows one;
      if (k == ISO_TABLE_prefill) ISO_TRY(phase_of(&path, &k, err));
      ISO_TRY(iso_rows_load(path, k, iso_num_bytes(num), &one, err));
      iso_status st = iso_rows_join(&t->rows[k], &one, err);
      iso_rows_close(&one);
      ISO_TRY(st);
      size_t at = strlen(t->what[k]);
      (void)snprintf(t->what[k] + at, sizeof t->what[k] - at, "%s%s", at ? ", " : "", hw_base_name(path));
    }
  }
  return ISO_OK;
}

// ---- fit ------------------------------------------------------------------------------------------------------------

static json_t *fitted_json(const iso_device_table *t) {
  return json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:I}", "kind", iso_table_name(t->rows.kind), "num", iso_num_name(t->num), "source", t->source,
                   "rows", (json_int_t)t->rows.n, "mape", t->mape, "median_error", t->median_err, "p90_error", t->p90_err, "n",
                   (json_int_t)t->checked);
}

static iso_status fit_all(const cli_args *a, const tables *t, iso_num num, iso_device *d, json_t *out, iso_err *err) {
  for (int k = 0; k < ISO_TABLE_COUNT; k++) {
    if (!t->rows[k].n) continue;
    ISO_TRY(iso_device_fit(a->ctx->pool, d, &t->rows[k], num, t->what[k], err));
    const iso_device_table *tab = d->table[k];
    if (out)
      (void)json_array_append_new(out, fitted_json(tab));
    else
      cli_row(iso_table_name((iso_table_kind)k), "%6lld rows of %s; a row from the others: mean error %.1f%%, median %.1f%%, 90%% within %.1f%%",
              (long long)tab->rows.n, tab->source, 100 * tab->mape, 100 * tab->median_err, 100 * tab->p90_err);
  }
  return ISO_OK;
}

iso_status hw_fit(const cli_args *a, iso_err *err) {
  iso_status st = ISO_OK;
  iso_num num;
  tables t = {0};
  iso_device *d = NULL;
  json_t *fitted = a->json ? json_array() : NULL;
  json_t *out = a->json ? json_object() : NULL;
  char path[4200];
  ISO_TRYG(iso_num_find(cli_text(a, "num"), &num, err));
  ISO_TRYG(iso_device_open(a->pos[1], &d, err));
  ISO_TRYG(load(a, num, &t, err));
  ISO_TRYG(iso_device_path(d->spec.name, path, sizeof path, err));
  ISO_TRYG(cli_input(fit_all(a, &t, num, d, fitted, err), err));
  if (cli_given(a, "layouts")) ISO_TRYG(hw_fit_layouts(a, d, out, err));
  if (cli_given(a, "serving")) ISO_TRYG(hw_fit_serving(a, d, out, err));
  ISO_TRYG(iso_device_save(a->ctx, d, err));
  if (out) {
    (void)json_object_update_new(out, json_pack("{s:s, s:s, s:O}", "name", d->spec.name, "path", path, "tables", fitted));
    (void)cli_put_json(out);
    out = NULL;
  } else
    cli_row("saved", "%s", path);
done:
  json_decref(fitted);
  json_decref(out);
  close_tables(&t);
  iso_device_close(d);
  return st;
}

// ---- test -----------------------------------------------------------------------------------------------------------

static void shape_text(const iso_device_score *sc, const iso_device_error *e, char *buf, size_t n) {
  size_t at = 0;
  *buf = 0;
  for (int i = 0; i < iso_table_cols(sc->kind) && at < n; i++) {
    int k = sc->kind == ISO_TABLE_collective && i == 0
                ? snprintf(buf + at, n - at, "%s", iso_coll_name((iso_coll)e->shape[0]))
                : snprintf(buf + at, n - at, "%s%s %.0f", at ? ", " : "", iso_table_col(sc->kind, i), e->shape[i]);
    at += k > 0 ? (size_t)k : 0;
  }
}

static void print_score(const iso_device *d, const iso_device_score *sc, const char *what, const char *how) {
  cli_row("device", "%s", d->spec.name);
  cli_row("table", "%s: %s", iso_table_name(sc->kind), what);
  cli_row("calibrated on", "%lld rows: %s", (long long)sc->fitted, how);
  cli_row("predicted", "%lld rows, %lld of them inside the table", (long long)sc->errors.n, (long long)sc->measured);
  cli_row("mean error", "%.2f%%", 100 * sc->errors.mape);
  cli_row("median error", "%.2f%%", 100 * sc->errors.median_error);
  cli_row("90% within", "%.2f%%", 100 * sc->errors.p90_error);
  cli_row("bias", "%+.2f%%", 100 * sc->errors.bias);
  cli_row("in 90% intervals", "%.1f%%", 100 * sc->coverage);
  printf("\nworst rows\n%8s %12s %12s %8s  %s\n", "line", "measured us", "predicted us", "error", "shape");
  for (int i = 0; i < sc->n_worst; i++) {
    const iso_device_error *e = &sc->worst[i];
    char shape[120];
    shape_text(sc, e, shape, sizeof shape);
    printf("%8lld %12.4g %12.4g %+7.0f%%  %s\n", (long long)e->line, e->measured_s * 1e6, e->predicted_s * 1e6,
           100 * (e->predicted_s / e->measured_s - 1), shape);
  }
}

static iso_status grade(const cli_args *a, const iso_device *d, const iso_rows *r, iso_num num, char *how, size_t n, iso_device_score *sc,
                        iso_err *err) {
  double above = NAN;
  const iso_device_table *tab = d->table[r->kind];
  bool split = cli_given(a, "seed") || cli_given(a, "above");
  if (cli_flag(a, "saved") && split)
    return iso_fail(err, ISO_EINVAL, "--saved takes the saved table, --seed and --above calibrate on part of the rows: one of them");
  if (cli_given(a, "above") && !cli_given(a, "allreduce")) return iso_fail(err, ISO_EINVAL, "--above is for --allreduce");
  // What hw fit saved is graded on rows that it may not have seen, as with --layouts and --serving.
  if (cli_flag(a, "saved") || (tab && tab->num == num && !split)) {
    if (!tab) {
      iso_fail(err, ISO_EINVAL, "%s has no saved table of %s", d->spec.name, iso_table_name(r->kind));
      return iso_hint(err, ISO_EINVAL, "isoflop hw fit %s makes one", d->spec.name);
    }
    (void)snprintf(how, n, "the saved table, from %s", tab->source);
    return cli_input(iso_device_score_rows(tab, &d->spec, r, num, sc, err), err);
  }
  if (cli_given(a, "allreduce")) {
    ISO_TRY(iso_unit_parse(cli_text(a, "above"), ISO_UNIT_BYTE, &above, err));
    (void)snprintf(how, n, "sizes below %s", cli_text(a, "above"));
    return cli_input(iso_device_score_above(a->ctx->pool, &d->spec, r, above, sc, err), err);
  }
  (void)snprintf(how, n, "a random half, seed %lld", (long long)cli_int(a, "seed"));
  return cli_input(iso_device_score_split(a->ctx->pool, &d->spec, r, num, (uint64_t)cli_int(a, "seed"), sc, err), err);
}

iso_status hw_test(const cli_args *a, iso_err *err) {
  iso_status st = ISO_OK;
  iso_num num;
  tables t = {0};
  iso_device *d = NULL;
  iso_device_score sc;
  char how[220];
  int kinds = 0, kind = 0;
  ISO_TRYG(iso_num_find(cli_text(a, "num"), &num, err));
  ISO_TRYG(iso_device_open(a->pos[1], &d, err));
  ISO_TRYG(load(a, num, &t, err));
  for (int k = 0; k < ISO_TABLE_COUNT; k++)
    if (t.rows[k].n) {
      kinds++;
      kind = k;
    }
  if (kinds != 1 || (cli_given(a, "collectives") && cli_given(a, "allreduce"))) {
    st = iso_fail(err, ISO_EINVAL, "hw test takes tables of one kind at a time");
    goto done;
  }
  ISO_TRYG(grade(a, d, &t.rows[kind], num, how, sizeof how, &sc, err));
  if (a->json) {
    json_t *j = iso_device_score_json(&sc);
    if (j) {
      json_object_set_new(j, "rows", json_integer((json_int_t)sc.errors.n));
      json_object_set_new(j, "name", json_string(d->spec.name));
      json_object_set_new(j, "source", json_string(t.what[kind]));
      json_object_set_new(j, "calibrated_on", json_string(how));
    }
    (void)cli_put_json(j);
  } else
    print_score(d, &sc, t.what[kind], how);
done:
  close_tables(&t);
  iso_device_close(d);
  return st;
}
