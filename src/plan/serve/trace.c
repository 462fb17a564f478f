// Reading, drawing and summing up request traces.
#include "plan/serve/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/stat.h"

enum { TRACE_BYTES_MAX = 1 << 30, CELLS = 11 };

// Days since 1970-01-01 of a civil date (Gregorian; the era arithmetic of Hinnant's chrono notes).
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d) {
  y -= m <= 2;
  int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
  int64_t doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool digits(const char **s, int n, int64_t *v) {
  *v = 0;
  for (int i = 0; i < n; i++) {
    char ch = *(*s)++;
    if (ch < '0' || ch > '9') return false;
    *v = 10 * *v + (ch - '0');
  }
  return true;
}

// "2023-11-16 18:17:03.9799600", also with T between; the fraction may be missing, a Z or a +00:00 may follow.
static bool parse_time(const char *s, double *out) {
  int64_t y, mo, d, h, mi, sec;
  if (!digits(&s, 4, &y) || *s++ != '-' || !digits(&s, 2, &mo) || *s++ != '-' || !digits(&s, 2, &d) || (*s != ' ' && *s != 'T')) return false;
  s++;
  if (!digits(&s, 2, &h) || *s++ != ':' || !digits(&s, 2, &mi) || *s++ != ':' || !digits(&s, 2, &sec)) return false;
  if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 60) return false;
  double part = 0, unit = 0.1;
  if (*s == '.')
    for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10) part += unit * (*s - '0');
  if (*s && strcmp(s, "Z") && strcmp(s, "+00:00")) return false;
  // Seconds since 2000 keep a tenth of a microsecond in a double.
  *out = (double)((days_from_civil(y, mo, d) - 10957) * 86400 + h * 3600 + mi * 60 + sec) + part;
  return true;
}

static iso_status read_time(const iso_csv *c, int64_t row, int col, double *out, iso_err *err) {
  const char *s = iso_csv_cell(c, row, col), *name = iso_csv_name(c, col);
  if (parse_time(s, out) || iso_csv_within(c, row, col, name, -1e12, 1e12, out, NULL) == ISO_OK) return ISO_OK;
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): '%.40s', expected seconds or YYYY-MM-DD hh:mm:ss.f", c->what,
                  (long long)c->line[row], col + 1, name, s);
}

// Equal times keep their order.
static void merge(const iso_serve_request *a, int64_t na, const iso_serve_request *b, int64_t nb, iso_serve_request *out) {
  while (na > 0 || nb > 0) {
    if (nb == 0 || (na > 0 && a->arrival_s <= b->arrival_s)) {
      *out++ = *a++;
      na--;
    } else {
      *out++ = *b++;
      nb--;
    }
  }
}

static void merge_sort(iso_serve_request *at, iso_serve_request *tmp, int64_t n) {
  if (n < 2) return;
  int64_t half = n / 2;
  merge_sort(at, tmp, half);
  merge_sort(at + half, tmp, n - half);
  merge(at, half, at + half, n - half, tmp);
  memcpy(at, tmp, (size_t)n * sizeof *at);
}

static iso_status order(iso_serve_trace *t, const char *what, iso_err *err) {
  bool sorted = true;
  for (int64_t i = 1; i < t->n && sorted; i++) sorted = t->at[i - 1].arrival_s <= t->at[i].arrival_s;
  if (!sorted) {
    iso_serve_request *tmp = malloc((size_t)t->n * sizeof *tmp);
    if (!tmp) return iso_fail(err, ISO_ENOMEM, "%s: no memory to sort %lld requests", what, (long long)t->n);
    merge_sort(t->at, tmp, t->n);
    free(tmp);
  }
  double first = t->at[0].arrival_s;
  for (int64_t i = 0; i < t->n; i++) t->at[i].arrival_s -= first;
  return ISO_OK;
}

static iso_status read_rows(const iso_csv *c, const int *col, iso_serve_trace *t, iso_err *err) {
  if (!c->rows) return iso_fail(err, ISO_EFORMAT, "%s: no request below the header", c->what);
  t->at = malloc((size_t)c->rows * sizeof *t->at);
  if (!t->at) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld requests", c->what, (long long)c->rows);
  for (; t->n < c->rows; t->n++) {
    iso_serve_request *r = &t->at[t->n];
    int64_t prompt, output;
    ISO_TRY(read_time(c, t->n, col[0], &r->arrival_s, err));
    ISO_TRY(iso_csv_whole(c, t->n, col[1], iso_csv_name(c, col[1]), 1, ISO_TRACE_TOKENS_MAX, &prompt, err));
    ISO_TRY(iso_csv_whole(c, t->n, col[2], iso_csv_name(c, col[2]), 1, ISO_TRACE_TOKENS_MAX, &output, err));
    r->prompt = (int32_t)prompt;
    r->output = (int32_t)output;
  }
  return ISO_OK;
}

static iso_status find_columns(const iso_csv *c, int *col, iso_err *err) {
  // Azure's names, ours, and those of other public traces and simulators.
  enum { NAMES = 6 };
  static const char *const NAME[3][NAMES] = {
      {"TIMESTAMP", "arrival_s", "arrived_at", "arrival_time", "arrival", "time_s"},
      {"ContextTokens", "prompt_tok", "prompt_tokens", "input_tokens", "num_prefill_tokens", "request_tokens"},
      {"GeneratedTokens", "output_tok", "output_tokens", "completion_tokens", "num_decode_tokens", "response_tokens"}};
  for (int i = 0; i < 3; i++) {
    col[i] = -1;
    for (int k = 0; k < NAMES && col[i] < 0; k++) ISO_TRY(iso_csv_find_like(c, NAME[i][k], &col[i], err));
    if (col[i] < 0)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column '%s' (or '%s', '%s', '%s', '%s', '%s')", c->what, (long long)c->header, NAME[i][0],
                      NAME[i][1], NAME[i][2], NAME[i][3], NAME[i][4], NAME[i][5]);
  }
  return ISO_OK;
}

iso_status iso_serve_trace_parse(const char *text, size_t n, const char *what, iso_serve_trace *out, iso_err *err) {
  iso_csv c;
  int col[3];
  memset(out, 0, sizeof *out);
  iso_status st = iso_csv_parse(text, n, what, &c, err);
  if (st == ISO_OK) st = find_columns(&c, col, err);
  if (st == ISO_OK) st = read_rows(&c, col, out, err);
  if (st == ISO_OK) st = order(out, what, err);
  iso_csv_close(&c);
  if (st != ISO_OK) iso_serve_trace_close(out);
  return st;
}

iso_status iso_serve_trace_load(const char *path, iso_serve_trace *out, iso_err *err) {
  char *text;
  size_t n;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, TRACE_BYTES_MAX, &text, &n, err));
  iso_status st = iso_serve_trace_parse(text, n, path, out, err);
  free(text);
  return st;
}

iso_status iso_serve_trace_draw(const iso_serve_trace *from, int64_t n, double rate, uint64_t seed, iso_serve_trace *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (from->n < 1) return iso_fail(err, ISO_EINVAL, "trace: nothing to draw from");
  if (n < 1 || n > INT32_MAX - 1) return iso_fail(err, ISO_EINVAL, "trace: %lld requests, expected 1 to %d", (long long)n, INT32_MAX - 1);
  if (!(rate > 0 && rate < INFINITY)) return iso_fail(err, ISO_EINVAL, "trace: rate %g, expected a positive number", rate);
  out->at = malloc((size_t)n * sizeof *out->at);
  if (!out->at) return iso_fail(err, ISO_ENOMEM, "trace: no memory for %lld requests", (long long)n);
  double now = 0;
  for (int64_t i = 0; i < n; i++) {
    const iso_serve_request *r = &from->at[iso_rng_below(seed, ISO_RNG_BOOTSTRAP, 0, (uint64_t)i, from->n)];
    if (i > 0) now -= log1p(-iso_rng_unit(seed, ISO_RNG_NOISE, 0, (uint64_t)i)) / rate;
    out->at[i] = (iso_serve_request){now, r->prompt, r->output};
  }
  out->n = n;
  return ISO_OK;
}

void iso_serve_trace_close(iso_serve_trace *t) {
  free(t->at);
  memset(t, 0, sizeof *t);
}

iso_status iso_serve_trace_stats(const iso_serve_trace *t, iso_trace_stats *o, iso_err *err) {
  memset(o, 0, sizeof *o);
  if (t->n < 1) return iso_fail(err, ISO_EINVAL, "trace: no requests");
  double *v = malloc((size_t)t->n * sizeof *v);
  if (!v) return iso_fail(err, ISO_ENOMEM, "trace: no memory for %lld requests", (long long)t->n);
  o->n = t->n;
  o->span_s = t->at[t->n - 1].arrival_s;
  o->rate = o->span_s > 0 ? (double)t->n / o->span_s : INFINITY;
  for (int64_t i = 0; i < t->n; i++) v[i] = t->at[i].prompt;
  o->prompt_mean = iso_mean(v, t->n);
  o->prompt_median = iso_median(v, t->n);
  o->prompt_p99 = iso_quantile(v, t->n, 0.99);
  for (int64_t i = 0; i < t->n; i++) v[i] = t->at[i].output;
  o->output_mean = iso_mean(v, t->n);
  o->output_median = iso_median(v, t->n);
  o->output_p99 = iso_quantile(v, t->n, 0.99);
  for (int64_t i = 1; i < t->n; i++) v[i - 1] = t->at[i].arrival_s - t->at[i - 1].arrival_s;
  o->gap_cv = t->n > 2 ? iso_stdev(v, t->n - 1) / iso_mean(v, t->n - 1) : NAN;
  free(v);
  return ISO_OK;
}

json_t *iso_trace_stats_json(const iso_trace_stats *s) {
  return json_pack("{s:I, s:o, s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o}, s:o}", "requests", (json_int_t)s->n, "span_s", iso_json_num(s->span_s),
                   "rate_per_s", iso_json_num(s->rate), "prompt_tok", "median", iso_json_num(s->prompt_median), "mean", iso_json_num(s->prompt_mean),
                   "p99", iso_json_num(s->prompt_p99), "output_tok", "median", iso_json_num(s->output_median), "mean", iso_json_num(s->output_mean),
                   "p99", iso_json_num(s->output_p99), "gap_cv", iso_json_num(s->gap_cv));
}

// Cell of one size: below 25, 100, 250, 500, 1000, 2000, ..., 32000; CELLS - 1 and above share the last.
static int cell(double tok) {
  static const double edge[CELLS - 1] = {25, 100, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000};
  int i = 0;
  while (i < CELLS - 1 && tok > edge[i]) i++;
  return i;
}

int iso_bucket_cell(double prompt, double output) { return cell(prompt) * CELLS + cell(output); }

iso_status iso_serve_buckets(const iso_serve_trace *t, iso_bucket *out, int *n, iso_err *err) {
  _Static_assert(CELLS * CELLS <= ISO_BUCKETS_MAX, "a bucket for every pair of cells");
  double prompt[CELLS * CELLS] = {0}, output[CELLS * CELLS] = {0}, count[CELLS * CELLS] = {0};
  *n = 0;
  if (t->n < 1) return iso_fail(err, ISO_EINVAL, "buckets: no requests");
  for (int64_t i = 0; i < t->n; i++) {
    int k = iso_bucket_cell(t->at[i].prompt, t->at[i].output);
    prompt[k] += t->at[i].prompt;
    output[k] += t->at[i].output;
    count[k]++;
  }
  for (int k = 0; k < CELLS * CELLS; k++)
    if (count[k] > 0) out[(*n)++] = (iso_bucket){k, prompt[k] / count[k], output[k] / count[k], count[k] / (double)t->n};
  return ISO_OK;
}
