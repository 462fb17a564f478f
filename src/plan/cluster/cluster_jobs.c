// Reads the jobs of a shared cluster from a CSV file.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "plan/cluster/cluster.h"

typedef enum col {
  COL_NAME,
  COL_MODEL,
  COL_BATCH,
  COL_SEQ,
  COL_NEEDED,  // those above must be there
  COL_TOKENS = COL_NEEDED,
  COL_STEPS,
  COL_ARRIVAL_S,
  COL_ARRIVAL_H,
  COL_DEADLINE_S,
  COL_DEADLINE_H,
  COL_DEVICES,
  COL_MIN,
  COL_MAX,
  COL_PRIORITY,
  COLS
} col;
static const char *const NAMES[COLS] = {"name",      "model",      "batch",      "seq",     "tokens",      "steps",       "arrival_s",
                                        "arrival_h", "deadline_s", "deadline_h", "devices", "min_devices", "max_devices", "priority"};
enum { JOBS_BYTES_MAX = 1 << 24 };
static const double CLOCK_MAX_S = 1e12, STEPS_MAX = 1e12;

typedef struct table {
  const iso_csv *csv;
  int at[COLS];  // -1: no such column
} table;

static iso_status just_one(const table *t, col a, col b, bool needed, iso_err *err) {
  bool has_a = t->at[a] >= 0, has_b = t->at[b] >= 0;
  if ((has_a != has_b) || (!needed && !has_a)) return ISO_OK;
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld: expected one of the columns %s and %s, there %s", t->csv->what, (long long)t->csv->header,
                  NAMES[a], NAMES[b], has_a ? "are both" : "is none");
}

static iso_status header(table *t, iso_err *err) {
  const iso_csv *c = t->csv;
  for (int i = 0; i < c->cols; i++) {
    bool known = false;
    for (int k = 0; k < COLS && !known; k++) known = strcmp(iso_csv_name(c, i), NAMES[k]) == 0;
    if (!known)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: no meaning is known for column '%.60s'", c->what, (long long)c->header, iso_csv_name(c, i));
  }
  for (int k = 0; k < COLS; k++) ISO_TRY(k < COL_NEEDED ? iso_csv_need(c, NAMES[k], &t->at[k], err) : iso_csv_find_like(c, NAMES[k], &t->at[k], err));
  ISO_TRY(just_one(t, COL_TOKENS, COL_STEPS, true, err));
  ISO_TRY(just_one(t, COL_ARRIVAL_S, COL_ARRIVAL_H, true, err));
  return just_one(t, COL_DEADLINE_S, COL_DEADLINE_H, false, err);
}

static iso_status text(const table *t, int64_t row, col k, char *out, size_t n, iso_err *err) {
  const char *s = iso_csv_cell(t->csv, row, t->at[k]);
  size_t len = strlen(s);
  if (!len || len >= n)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %s: a text of %zu characters, expected 1 to %zu", t->csv->what,
                    (long long)t->csv->line[row], NAMES[k], len, n - 1);
  memcpy(out, s, len + 1);
  return ISO_OK;
}

// A time in seconds from a column in seconds or hours; `missing` when there is no column or the cell is empty.
static iso_status clock_s(const table *t, int64_t row, col s, col h, double missing, double *out, iso_err *err) {
  col k = t->at[s] >= 0 ? s : h;
  double unit = k == s ? 1 : 3600;
  *out = missing;
  if (t->at[k] < 0) return ISO_OK;
  if (!isnan(missing) && !*iso_csv_cell(t->csv, row, t->at[k])) return ISO_OK;
  ISO_TRY(iso_csv_within(t->csv, row, t->at[k], NAMES[k], 0, CLOCK_MAX_S / unit, out, err));
  *out *= unit;
  return ISO_OK;
}

static iso_status count(const table *t, int64_t row, col k, int64_t *out, iso_err *err) {
  *out = 0;
  if (t->at[k] < 0 || !*iso_csv_cell(t->csv, row, t->at[k])) return ISO_OK;
  return iso_csv_whole(t->csv, row, t->at[k], NAMES[k], 1, 1 << 20, out, err);
}

static iso_status steps(const table *t, int64_t row, iso_cluster_job *j, iso_err *err) {
  col k = t->at[COL_STEPS] >= 0 ? COL_STEPS : COL_TOKENS;
  double v, per_step = k == COL_STEPS ? 1 : (double)j->batch * (double)j->seq;
  ISO_TRY(iso_csv_positive(t->csv, row, t->at[k], NAMES[k], &v, err));
  if (!(v > 0)) return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %s: it is empty", t->csv->what, (long long)t->csv->line[row], NAMES[k]);
  j->steps = ceil(v / per_step * (1 - 1e-12));
  if (!(j->steps >= 1 && j->steps <= STEPS_MAX))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %s: %g steps, expected at most %g", t->csv->what, (long long)t->csv->line[row], NAMES[k],
                    j->steps, STEPS_MAX);
  return ISO_OK;
}

static iso_status read_row(const table *t, int64_t row, iso_cluster_job *j, iso_err *err) {
  const iso_csv *c = t->csv;
  long long line = (long long)c->line[row];
  j->line = c->line[row];
  ISO_TRY(text(t, row, COL_NAME, j->name, sizeof j->name, err));
  ISO_TRY(text(t, row, COL_MODEL, j->model, sizeof j->model, err));
  ISO_TRY(iso_csv_whole(c, row, t->at[COL_BATCH], NAMES[COL_BATCH], 1, 1 << 24, &j->batch, err));
  ISO_TRY(iso_csv_whole(c, row, t->at[COL_SEQ], NAMES[COL_SEQ], 1, 1 << 24, &j->seq, err));
  ISO_TRY(steps(t, row, j, err));
  ISO_TRY(clock_s(t, row, COL_ARRIVAL_S, COL_ARRIVAL_H, NAN, &j->arrival_s, err));
  ISO_TRY(clock_s(t, row, COL_DEADLINE_S, COL_DEADLINE_H, INFINITY, &j->deadline_s, err));
  ISO_TRY(count(t, row, COL_DEVICES, &j->devices, err));
  ISO_TRY(count(t, row, COL_MIN, &j->min_devices, err));
  ISO_TRY(count(t, row, COL_MAX, &j->max_devices, err));
  if (t->at[COL_PRIORITY] >= 0 && *iso_csv_cell(c, row, t->at[COL_PRIORITY]))
    ISO_TRY(iso_csv_within(c, row, t->at[COL_PRIORITY], NAMES[COL_PRIORITY], -1e6, 1e6, &j->priority, err));
  if (j->deadline_s <= j->arrival_s) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s has its deadline at %g s, but arrives at %g s", c->what, line, j->name, j->deadline_s,
             j->arrival_s);
    return iso_hint(err, ISO_EFORMAT, "deadlines are on the clock of arrivals, not after them");
  }
  if (j->max_devices && j->max_devices < j->min_devices)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: max_devices %lld is below min_devices %lld", c->what, line, (long long)j->max_devices,
                    (long long)j->min_devices);
  return ISO_OK;
}

static iso_status read_rows(const table *t, iso_cluster_jobs *out, iso_err *err) {
  const iso_csv *c = t->csv;
  if (c->rows < 1 || c->rows > ISO_CLUSTER_JOBS_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s: %lld jobs, expected 1 to %d", c->what, (long long)c->rows, ISO_CLUSTER_JOBS_MAX);
  out->at = calloc((size_t)c->rows, sizeof *out->at);
  if (!out->at) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld jobs", c->what, (long long)c->rows);
  for (; out->n < c->rows; out->n++) {
    ISO_TRY(read_row(t, out->n, &out->at[out->n], err));
    for (int i = 0; i < out->n; i++)
      if (strcmp(out->at[i].name, out->at[out->n].name) == 0)
        return iso_fail(err, ISO_EFORMAT, "%s, line %lld: there is a job %s in line %lld already", c->what, (long long)c->line[out->n],
                        out->at[i].name, (long long)out->at[i].line);
  }
  return ISO_OK;
}

iso_status iso_cluster_jobs_parse(const char *text, size_t n, const char *what, iso_cluster_jobs *out, iso_err *err) {
  iso_csv c;
  table t = {.csv = &c};
  memset(out, 0, sizeof *out);
  iso_status st = iso_csv_parse(text, n, what, &c, err);
  if (st == ISO_OK) st = header(&t, err);
  if (st == ISO_OK) st = read_rows(&t, out, err);
  iso_csv_close(&c);
  if (st != ISO_OK) iso_cluster_jobs_close(out);
  return st;
}

iso_status iso_cluster_jobs_load(const char *path, iso_cluster_jobs *out, iso_err *err) {
  char *bytes;
  size_t n;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, JOBS_BYTES_MAX, &bytes, &n, err));
  iso_status st = iso_cluster_jobs_parse(bytes, n, path, out, err);
  free(bytes);
  return st;
}

void iso_cluster_jobs_close(iso_cluster_jobs *j) {
  free(j->at);
  memset(j, 0, sizeof *j);
}
