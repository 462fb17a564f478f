// Reading and checking measured rows.
#include "plan/device/rows.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"

static const struct {
  const char *name;
  int cols;
  const char *col[ISO_ROW_COLS_MAX];
} KINDS[ISO_TABLE_COUNT] = {{"gemm", 3, {"m", "n", "k"}},
                            {"prefill", 5, {"batch", "tokens", "heads", "kv_heads", "head_dim"}},
                            {"decode", 5, {"batch", "tokens", "heads", "kv_heads", "head_dim"}},
                            {"collective", 3, {"op", "gpus", "bytes"}}};
static const char *const COLLS[ISO_COLL_COUNT] = {"all_gather", "all_reduce", "alltoall", "reduce_scatter"};

const char *iso_table_name(iso_table_kind k) { return KINDS[k].name; }
int iso_table_cols(iso_table_kind k) { return KINDS[k].cols; }
const char *iso_table_col(iso_table_kind k, int col) { return KINDS[k].col[col]; }
const char *iso_coll_name(iso_coll c) { return COLLS[c]; }

// Without case, hyphens and spaces as underscores.
static bool same_name(const char *a, const char *b) {
  for (; *a && *b; a++, b++) {
    int c = tolower((unsigned char)*a);
    if ((c == '-' || c == ' ' ? '_' : c) != *b) return false;
  }
  return !*a && !*b;
}

iso_status iso_coll_find(const char *name, iso_coll *out, iso_err *err) {
  for (int i = 0; i < ISO_COLL_COUNT; i++)
    if (same_name(name, COLLS[i])) {
      *out = (iso_coll)i;
      return ISO_OK;
    }
  return iso_fail(err, ISO_EFORMAT, "\"%.40s\": expected all_gather, all_reduce, alltoall or reduce_scatter", name);
}

iso_status iso_rows_open(iso_table_kind kind, int64_t n, iso_rows *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  size_t cols = (size_t)KINDS[kind].cols;
  if (n < 1 || n > (int64_t)1 << 24) return iso_fail(err, ISO_EINVAL, "%s rows: %lld, expected 1 to 16777216", KINDS[kind].name, (long long)n);
  out->shape = calloc((size_t)n, (cols + 1) * sizeof(double) + sizeof(int64_t));
  if (!out->shape) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", KINDS[kind].name, (long long)n);
  out->kind = kind;
  out->n = n;
  out->time_s = out->shape + (size_t)n * cols;
  out->line = (int64_t *)(void *)(out->time_s + n);
  return ISO_OK;
}

void iso_rows_close(iso_rows *r) {
  free(r->shape);
  memset(r, 0, sizeof *r);
}

static void copy_rows(const iso_rows *from, iso_rows *to, int64_t at) {
  int cols = KINDS[from->kind].cols;
  memcpy(to->shape + at * cols, from->shape, sizeof(double) * (size_t)(from->n * cols));
  memcpy(to->time_s + at, from->time_s, sizeof(double) * (size_t)from->n);
  memcpy(to->line + at, from->line, sizeof(int64_t) * (size_t)from->n);
}

iso_status iso_rows_join(iso_rows *a, const iso_rows *b, iso_err *err) {
  iso_rows r;
  ISO_TRY(iso_rows_open(b->kind, a->n + b->n, &r, err));
  if (a->n) copy_rows(a, &r, 0);
  copy_rows(b, &r, a->n);
  iso_rows_close(a);
  *a = r;
  return ISO_OK;
}

// ---- CSV ------------------------------------------------------------------------------------------------------------

static const struct {
  const char *name;
  double s;
} TIMES[] = {{"time_s", 1}, {"time_ms", 1e-3}, {"time_us", 1e-6}, {"time_ns", 1e-9}};
static const int64_t DIM_MAX = (int64_t)1 << 40;

// The row that is being read.
typedef struct place {
  const iso_csv *t;
  int64_t row;
} place;
static long long line_of(const place *r) { return (long long)r->t->line[r->row]; }

typedef struct header {
  iso_table_kind kind;
  int col[ISO_ROW_COLS_MAX];  // -1: absent
  int time, elements, busbw;
  double unit_s, element_b;
} header;

static iso_status missing(const iso_csv *t, const header *h, const char *what, iso_err *err) {
  iso_str s = {0};
  for (int i = 0; i < KINDS[h->kind].cols; i++) iso_str_fmt(&s, "%s, ", KINDS[h->kind].col[i]);
  iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column for %s among %d", t->what, (long long)t->header, what, t->cols);
  iso_hint(err, ISO_EFORMAT, "a %s table has the columns %stime_s, time_ms, time_us or time_ns", KINDS[h->kind].name, s.p ? s.p : "");
  iso_str_free(&s);
  return ISO_EFORMAT;
}

static iso_status read_header(const iso_csv *t, header *h, iso_err *err) {
  h->time = -1;
  for (int i = 0; i < KINDS[h->kind].cols; i++) ISO_TRY(iso_csv_find_like(t, KINDS[h->kind].col[i], &h->col[i], err));
  for (size_t i = 0; i < ISO_COUNT(TIMES); i++) {
    int at;
    ISO_TRY(iso_csv_find_like(t, TIMES[i].name, &at, err));
    if (at >= 0 && h->time >= 0)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: two columns of times, %d and %d", t->what, (long long)t->header, h->time + 1, at + 1);
    if (at < 0) continue;
    h->time = at;
    h->unit_s = TIMES[i].s;
  }
  ISO_TRY(iso_csv_find_like(t, "elements", &h->elements, err));
  ISO_TRY(iso_csv_find_like(t, "busbw_gbs", &h->busbw, err));
  if (h->time < 0) return missing(t, h, "the time", err);
  if (h->kind == ISO_TABLE_collective) {
    if (h->col[2] < 0 && h->elements < 0) return missing(t, h, "bytes or elements", err);
    if (h->col[1] < 0 && h->busbw < 0) return missing(t, h, "gpus or busbw_gbs", err);
    return ISO_OK;
  }
  for (int i = 0; i < KINDS[h->kind].cols; i++)
    if (h->col[i] < 0) return missing(t, h, KINDS[h->kind].col[i], err);
  return ISO_OK;
}

static iso_status filled(const place *r, int col, const char *name, double *out, iso_err *err) {
  ISO_TRY(iso_csv_positive(r->t, r->row, col, name, out, err));
  if (isnan(*out))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): empty, expected a positive number", r->t->what, line_of(r), col + 1, name);
  return ISO_OK;
}

static iso_status whole(const place *r, int col, const char *name, double *out, iso_err *err) {
  int64_t v;
  ISO_TRY(iso_csv_whole(r->t, r->row, col, name, 1, DIM_MAX, &v, err));
  *out = (double)v;
  return ISO_OK;
}

// Devices of an all-reduce from its bus bandwidth: f = bus / (bytes / time) = 2 (g - 1) / g, so g = 2 / (2 - f).
static iso_status gpus_of(const place *r, int col, double bytes, double time_s, double *out, iso_err *err) {
  double bus;
  ISO_TRY(filled(r, col, "busbw_gbs", &bus, err));
  double g = 2 / (2 - bus * 1e9 * time_s / bytes);
  *out = round(g);
  // Printed rates have three or four digits; near f = 2 that no longer tells large numbers apart.
  if (!(g > 1.9 && g < 64 && fabs(g / *out - 1) < 0.05))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (busbw_gbs): %g GB/s is no bus bandwidth of an all-reduce of %g bytes in %g s",
                    r->t->what, line_of(r), col + 1, bus, bytes, time_s);
  return ISO_OK;
}

static iso_status read_collective(const place *r, const header *h, double *v, double time_s, iso_err *err) {
  iso_coll op = ISO_COLL_all_reduce;
  if (h->col[0] >= 0) {
    iso_status st = iso_coll_find(iso_csv_cell(r->t, r->row, h->col[0]), &op, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "%s, line %lld, column %d (op)", r->t->what, line_of(r), h->col[0] + 1);
  }
  v[0] = op;
  if (h->col[2] >= 0)
    ISO_TRY(whole(r, h->col[2], "bytes", &v[2], err));
  else {
    ISO_TRY(whole(r, h->elements, "elements", &v[2], err));
    v[2] *= h->element_b;
  }
  if (h->col[1] >= 0)
    ISO_TRY(whole(r, h->col[1], "gpus", &v[1], err));
  else
    ISO_TRY(gpus_of(r, h->busbw, v[2], time_s, &v[1], err));
  if (v[1] < 2) return iso_fail(err, ISO_EFORMAT, "%s, line %lld (gpus): %g, expected at least 2", r->t->what, line_of(r), v[1]);
  return ISO_OK;
}

static iso_status read_values(const place *r, const header *h, double *v, double *time_s, iso_err *err) {
  ISO_TRY(filled(r, h->time, "time", time_s, err));
  *time_s *= h->unit_s;
  if (!(*time_s > 0)) return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d: a time too small to hold", r->t->what, line_of(r), h->time + 1);
  if (h->kind == ISO_TABLE_collective) return read_collective(r, h, v, *time_s, err);
  for (int i = 0; i < KINDS[h->kind].cols; i++) ISO_TRY(whole(r, h->col[i], KINDS[h->kind].col[i], &v[i], err));
  if (h->kind != ISO_TABLE_gemm && fmod(v[2], v[3]) != 0)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %g heads are no multiple of %g kv_heads", r->t->what, line_of(r), v[2], v[3]);
  return ISO_OK;
}

iso_status iso_rows_parse(const char *text, size_t n, const char *what, iso_table_kind kind, double element_b, iso_rows *out, iso_err *err) {
  iso_csv t;
  header h = {.kind = kind, .element_b = element_b};
  iso_status st = ISO_OK;
  int cols = KINDS[kind].cols;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_csv_parse(text, n, what, &t, err));
  ISO_TRYG(read_header(&t, &h, err));
  if (!t.rows) {
    st = iso_fail(err, ISO_EFORMAT, "%s: no row below the header", what);
    goto done;
  }
  ISO_TRYG(iso_rows_open(kind, t.rows, out, err));
  for (place r = {&t, 0}; r.row < t.rows; r.row++) {
    ISO_TRYG(read_values(&r, &h, out->shape + r.row * cols, &out->time_s[r.row], err));
    out->line[r.row] = t.line[r.row];
  }
done:
  iso_csv_close(&t);
  if (st != ISO_OK) iso_rows_close(out);
  return st;
}

iso_status iso_rows_load(const char *path, iso_table_kind kind, double element_b, iso_rows *out, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, (size_t)1 << 30, &text, &n, err));
  iso_status st = iso_rows_parse(text, n, path, kind, element_b, out, err);
  free(text);
  return st;
}
