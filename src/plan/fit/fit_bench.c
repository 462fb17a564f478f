// `isoflop bench fit`: the bootstrap refits alone, timed on one core with given resamples.
#include "plan/fit/fit_bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/rng.h"
#include "plan/fit/fit_csv.h"
#include "plan/fit/fit_impl.h"

enum { P = ISO_FIT_P };

typedef struct bench {
  iso_fit_data d;
  iso_lse s;
  iso_lse_work w;
  int32_t *idx;  // owned: count x n
  int64_t count;
  double *objective;  // owned: count
  double p[P];        // centred optimum of all points
} bench;

// Parses one line of indices at *p into row[n]; leaves *p after the line.
static iso_status parse_line(const char **p, int64_t line, int64_t n, int32_t *row, const char *path, iso_err *err) {
  int64_t k = 0;
  const char *s = *p;
  while (*s && *s != '\n') {
    if (*s == ' ' || *s == '\t' || *s == ',' || *s == '\r') {
      s++;
      continue;
    }
    char *end;
    errno = 0;
    long v = strtol(s, &end, 10);
    if (end == s || errno || v < 0 || v >= n)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld, entry %lld: expected a row index from 0 to %lld", path, (long long)line, (long long)k + 1,
                      (long long)n - 1);
    if (k < n) row[k] = (int32_t)v;
    k++;
    s = end;
  }
  *p = *s ? s + 1 : s;
  if (k != n)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %lld indices, expected %lld (the points left after the drop)", path, (long long)line,
                    (long long)k, (long long)n);
  return ISO_OK;
}

static iso_status load_resamples(bench *b, const char *path, iso_err *err) {
  char *text = NULL;
  size_t size = 0;
  iso_status st = ISO_OK;
  int64_t lines = 1, line = 0, n = b->s.n;
  ISO_TRY(iso_file_get(path, (size_t)1 << 31, &text, &size, err));
  for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
  b->idx = malloc(sizeof *b->idx * (size_t)(lines * n));
  if (!b->idx) {
    st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld resamples", path, (long long)lines);
    goto done;
  }
  for (const char *p = text; *p;) {
    line++;
    if (*p == '#' || *p == '\n' || *p == '\r') {
      p += strcspn(p, "\n");
      p += *p == '\n';
      continue;
    }
    ISO_TRYG(parse_line(&p, line, n, b->idx + b->count * n, path, err));
    b->count++;
  }
  if (!b->count) st = iso_fail(err, ISO_EFORMAT, "%s has no resample", path);
done:
  free(text);
  return st;
}

static iso_status draw_resamples(bench *b, int64_t count, uint64_t seed, iso_err *err) {
  if (count < 1 || count > 1000000) return iso_fail(err, ISO_EINVAL, "bench fit: %lld resamples, expected 1 to 1000000", (long long)count);
  int64_t n = b->s.n;
  b->idx = malloc(sizeof *b->idx * (size_t)(count * n));
  if (!b->idx) return iso_fail(err, ISO_ENOMEM, "bench fit: no memory for %lld resamples", (long long)count);
  b->count = count;
  for (int64_t r = 0; r < count; r++)
    for (int64_t i = 0; i < n; i++) b->idx[r * n + i] = (int32_t)iso_rng_below(seed, ISO_RNG_BOOTSTRAP, (uint64_t)r, (uint64_t)i, n);
  return ISO_OK;
}

static double cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct tally {
  int64_t iters, evals, unconverged;
} tally;

static void refit_all(bench *b, tally *t) {
  int64_t n = b->s.n;
  *t = (tally){0};
  for (int64_t r = 0; r < b->count; r++) {
    double q[P];
    iso_lse_stat st;
    memset(b->w.omega, 0, sizeof *b->w.omega * (size_t)n);
    for (int64_t i = 0; i < n; i++) b->w.omega[b->idx[r * n + i]] += 1;
    memcpy(q, b->p, sizeof q);
    iso_lse_solve(&b->s, &b->w, &ISO_FIT_SOLVE, q, &st);
    b->objective[r] = st.objective;
    t->iters += st.iters;
    t->evals += st.evals;
    t->unconverged += !st.converged;
  }
}

static iso_status run(iso_ctx *c, const iso_fit_bench_opts *o, bench *b, const iso_fit *full, double grid_s, json_t **out, iso_err *err) {
  json_t *secs = json_array(), *params = json_object();
  double best = INFINITY, cpu = cpu_s();
  tally t = {0};
  for (int k = 0; k < o->repeats; k++) {
    double t0 = iso_now_s(c);
    refit_all(b, &t);
    double s = iso_now_s(c) - t0;
    best = fmin(best, s);
    json_array_append_new(secs, iso_json_num(s));
  }
  cpu = cpu_s() - cpu;
  for (int k = 0; k < P; k++) json_object_set_new(params, full->law->param[k].name, iso_json_num(full->p[k]));
  double n = (double)b->count;
  *out = json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:I, s:o, s:i, s:o, s:o}", "bench", "fit", "fits", (json_int_t)b->count,
                   "points", (json_int_t)b->s.n, "fits_per_s", iso_json_num(n / best), "ms_per_fit", iso_json_num(1e3 * best / n), "seconds", secs,
                   "cpu_s", iso_json_num(cpu), "threads", 1, "iters_per_fit", iso_json_num((double)t.iters / n), "evals_per_fit",
                   iso_json_num((double)t.evals / n), "unconverged", (json_int_t)t.unconverged, "grid_s", iso_json_num(grid_s), "starts",
                   full->starts, "objective", iso_json_num(full->objective), "params", params);
  if (!*out) return iso_fail(err, ISO_ENOMEM, "bench fit: no memory for the result");
  if (o->objectives) {
    json_t *a = json_array();
    for (int64_t r = 0; r < b->count; r++) json_array_append_new(a, iso_json_num(b->objective[r]));
    json_object_set_new(*out, "objectives", a);
  }
  return ISO_OK;
}

iso_status iso_fit_bench(iso_ctx *c, const iso_fit_bench_opts *o, json_t **out, iso_err *err) {
  bench b = {0};
  iso_fit full = {0};
  iso_status st = ISO_OK;
  iso_fit_opts fo = iso_fit_opts_default();
  iso_fit_csv_opts co = {.drop_highest = o->drop_highest};
  *out = NULL;
  if (o->repeats < 1) return iso_fail(err, ISO_EINVAL, "bench fit: %d repeats, expected 1 or more", o->repeats);
  ISO_TRYG(iso_fit_csv_load(o->csv, &co, &b.d, err));
  ISO_TRYG(iso_fit_data_sort(&b.d, err));
  fo.resamples = 0;
  double t0 = iso_now_s(c);
  ISO_TRYG(iso_fit_run(c, &b.d, &fo, &full, err));
  double grid_s = iso_now_s(c) - t0;
  ISO_TRYG(iso_fit_open_problem(&b.d, &fo, &b.s, err));
  ISO_TRYG(iso_lse_work_open(&b.s, &b.w, err));
  iso_lse_centre(&b.s, full.p, b.p);
  if (o->resamples)
    ISO_TRYG(load_resamples(&b, o->resamples, err));
  else
    ISO_TRYG(draw_resamples(&b, o->count, o->seed, err));
  b.objective = malloc(sizeof *b.objective * (size_t)b.count);
  if (!b.objective) {
    st = iso_fail(err, ISO_ENOMEM, "bench fit: no memory for %lld objectives", (long long)b.count);
    goto done;
  }
  st = run(c, o, &b, &full, grid_s, out, err);
done:
  free(b.objective);
  free(b.idx);
  iso_lse_work_close(&b.w);
  iso_lse_close(&b.s);
  iso_fit_close(&full);
  iso_fit_data_close(&b.d);
  return st;
}
