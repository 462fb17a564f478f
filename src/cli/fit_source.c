// Opens the table of runs that `isoflop fit` works on.
#include "cli/fit_source.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "cli/work.h"

static bool usable(const iso_store_point *p, const char *metric) {
  return p->metric && strcmp(p->metric, metric) == 0 && p->n_params > 0 && p->d_tokens > 0 && p->quality > 0 && isfinite(p->quality);
}

static void quoted(iso_str *s, const char *text) {
  iso_str_add(s, "\"");
  for (const char *p = text ? text : ""; *p; p++) iso_str_put(s, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
  iso_str_add(s, "\"");
}

// The points of one metric as CSV text; returns how many.
static int64_t write_points(const iso_store_point *p, int64_t n, const char *metric, iso_str *s) {
  int64_t m = 0;
  s->n = 0;
  iso_str_add(s, "run,label,params,tokens,train_flops,loss\n");
  for (int64_t i = 0; i < n; i++) {
    if (!usable(&p[i], metric)) continue;
    quoted(s, p[i].run);
    iso_str_add(s, ",");
    quoted(s, p[i].label);
    iso_str_fmt(s, ",%.17g,%.17g,", p[i].n_params, p[i].d_tokens);
    if (p[i].flops > 0) iso_str_fmt(s, "%.17g", p[i].flops);
    iso_str_fmt(s, ",%.17g\n", p[i].quality);
    m++;
  }
  return m;
}

static iso_status from_store(const cli_args *a, cli_fit_source *w, iso_err *err) {
  static const char *const METRICS[] = {"bits_per_byte", "val_loss_nats"};
  iso_store *s = NULL;
  iso_arena *arena = NULL;
  iso_store_run run;
  iso_store_point *p;
  iso_str text = {0};
  int64_t n, m = 0;
  const char *id = cli_text(a, "run");
  iso_status st;
  ISO_TRYG(cli_store_open(a, &s, err));
  ISO_TRYG(iso_arena_open(&arena, err));
  st = iso_store_find(s, id, id ? NULL : "demo", arena, &run, err);
  if (st == ISO_EINVAL && !id) iso_hint(err, st, "isoflop demo --budget 5m makes one; --run ID takes another run; a CSV file needs no store");
  if (st != ISO_OK) goto done;
  ISO_TRYG(iso_store_points(s, run.id, true, 0, arena, &p, &n, err));
  (void)snprintf(w->run, sizeof w->run, "%s", run.id);
  w->name = w->run;
  for (size_t k = 0; k < ISO_COUNT(METRICS) && m == 0; k++) {
    w->metric = METRICS[k];
    m = write_points(p, n, METRICS[k], &text);
  }
  if (m == 0) {
    st = iso_fail(err, ISO_EINVAL, "run %s has no measured point with parameters, tokens and a loss", run.id);
    iso_hint(err, st, "isoflop runs lists the others; sweeps of isoflop demo have points");
    goto done;
  }
  if (text.failed) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for %lld points", (long long)m);
    goto done;
  }
  st = iso_csv_parse(text.p, text.n, w->run, &w->table, err);
done:
  iso_str_free(&text);
  iso_arena_close(arena);
  iso_store_close(s);
  return st;
}

int cli_fit_source_misused(const cli_args *a) {
  if (a->n_pos && (cli_given(a, "run") || cli_given(a, "store"))) return cli_usage(a, "a CSV file and --run or --store exclude each other");
  return 0;
}

iso_status cli_fit_source_open(const cli_args *a, cli_fit_source *out, iso_err *err) {
  *out = (cli_fit_source){.metric = "loss"};
  if (!a->n_pos) return from_store(a, out, err);
  out->name = a->pos[0];
  return iso_csv_load(a->pos[0], &out->table, err);
}

void cli_fit_source_close(cli_fit_source *s) { iso_csv_close(&s->table); }
