// Reads measured training steps of layouts from a CSV file.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "plan/layout/layout_fit.h"

enum { COLS_MAX = 64, CELL_MAX = 64 };

typedef enum col {
  COL_GPUS,
  COL_BATCH,
  COL_MICRO,
  COL_WIDTH,
  COL_HEADS,
  COL_LAYERS,
  COL_SEQ,
  COL_TENSOR,
  COL_DATA,
  COL_PIPELINE,
  COL_NEEDED,  // those above must be there
  COL_MS = COL_NEEDED,
  COL_S,
  COL_VOCAB,
  COL_KV,
  COL_MLP,
  COL_CONTEXT,
  COL_EXPERT,
  COL_CHUNKS,
  COL_ZERO,
  COL_SEQ_PARALLEL,
  COL_RECOMPUTE,
  COL_SCHEDULE,
  COL_PARAMS,
  COLS
} col;
static const char *const NAMES[COLS] = {"gpus",   "global_batch", "micro_batch",  "d_model",      "heads",     "layers",   "seq_len", "tensor",
                                        "data",   "pipeline",     "iteration_ms", "iteration_s",  "vocab",     "kv_heads", "mlp",     "context",
                                        "expert", "chunks",       "zero",         "seq_parallel", "recompute", "schedule", "params_b"};

typedef struct table {
  const char *p, *end, *what;
  int64_t line;
  int n, of[COLS_MAX];  // what each field of a row is
  bool has[COLS];
} table;

// The next field of a line, trimmed, into cell; false at the end of the line.
static iso_status cell(table *t, char *out, bool *last, iso_err *err) {
  const char *q = t->p;
  while (q < t->end && *q != ',' && *q != '\n' && *q != '\r') q++;
  const char *a = t->p, *b = q;
  while (a < b && (*a == ' ' || *a == '\t')) a++;
  while (b > a && (b[-1] == ' ' || b[-1] == '\t')) b--;
  if (b - a >= CELL_MAX || memchr(a, 0, (size_t)(b - a)) || memchr(a, '"', (size_t)(b - a)))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: a field that is quoted, longer than %d bytes or not text", t->what, (long long)t->line,
                    CELL_MAX - 1);
  memcpy(out, a, (size_t)(b - a));
  out[b - a] = 0;
  *last = q == t->end || *q != ',';
  if (q < t->end && *q == ',') q++;
  t->p = q;
  return ISO_OK;
}

static void end_line(table *t) {
  if (t->p < t->end && *t->p == '\r') t->p++;
  if (t->p < t->end && *t->p == '\n') t->p++;
  t->line++;
}

// Past blank lines and comments; false at the end.
static bool next_line(table *t) {
  while (t->p < t->end && (*t->p == '\n' || *t->p == '\r' || *t->p == '#')) {
    while (t->p < t->end && *t->p != '\n') t->p++;
    end_line(t);
  }
  return t->p < t->end;
}

static iso_status header(table *t, iso_err *err) {
  char name[CELL_MAX];
  if (!next_line(t)) return iso_fail(err, ISO_EFORMAT, "%s: empty, expected a header row", t->what);
  for (bool last = false; !last;) {
    ISO_TRY(cell(t, name, &last, err));
    if (t->n == COLS_MAX) return iso_fail(err, ISO_EFORMAT, "%s: more than %d columns", t->what, COLS_MAX);
    int k = 0;
    while (k < COLS && strcmp(name, NAMES[k]) != 0) k++;
    if (k == COLS) return iso_fail(err, ISO_EFORMAT, "%s: no meaning is known for column '%s'", t->what, name);
    if (t->has[k]) return iso_fail(err, ISO_EFORMAT, "%s: column '%s' stands twice", t->what, name);
    t->has[k] = true;
    t->of[t->n++] = k;
  }
  end_line(t);
  for (int k = 0; k < COL_NEEDED; k++)
    if (!t->has[k]) return iso_fail(err, ISO_EFORMAT, "%s: no column '%s'", t->what, NAMES[k]);
  if (t->has[COL_MS] == t->has[COL_S]) return iso_fail(err, ISO_EFORMAT, "%s: expected one of iteration_ms and iteration_s", t->what);
  return ISO_OK;
}

static iso_status name_of(const table *t, const char *text, int k, int count, const char *(*name)(int), double *out, iso_err *err) {
  for (int i = 0; i < count; i++) {
    if (strcmp(text, name(i)) == 0) {
      *out = i;
      return ISO_OK;
    }
  }
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s is '%s'", t->what, (long long)t->line, NAMES[k], text);
}

static const char *recompute_name(int i) { return iso_layout_recompute_name((iso_layout_recompute)i); }
static const char *sched_name(int i) { return iso_layout_sched_name((iso_layout_sched)i); }

static iso_status value(const table *t, const char *text, int k, double *out, iso_err *err) {
  if (k == COL_RECOMPUTE) return name_of(t, text, k, ISO_LAYOUT_FULL + 1, recompute_name, out, err);
  if (k == COL_SCHEDULE) return name_of(t, text, k, ISO_LAYOUT_ZB_H2 + 1, sched_name, out, err);
  char *end;
  double v = strtod(text, &end);
  bool real = k == COL_MS || k == COL_S || k == COL_PARAMS, zero = k == COL_ZERO || k == COL_SEQ_PARALLEL;
  if (end == text || *end || text[strspn(text, "0123456789.eE+-")] || !isdigit((unsigned char)*text) || !(v < 1e15) || !(v > 0 || zero) ||
      (!real && v != floor(v)))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s is '%s', expected a %s", t->what, (long long)t->line, NAMES[k], text,
                    real   ? "positive number"
                    : zero ? "whole number"
                           : "positive whole number");
  *out = v;
  return ISO_OK;
}

static iso_status one_row(table *t, iso_layout_row *w, double *gpus, iso_err *err) {
  double v[COLS] = {[COL_VOCAB] = 51200, [COL_CONTEXT] = 1, [COL_EXPERT] = 1, [COL_CHUNKS] = 1, [COL_SCHEDULE] = ISO_LAYOUT_1F1B};
  char text[CELL_MAX];
  int i = 0;
  for (bool last = false; !last; i++) {
    ISO_TRY(cell(t, text, &last, err));
    if (i < t->n) ISO_TRY(value(t, text, t->of[i], &v[t->of[i]], err));
  }
  if (i != t->n) return iso_fail(err, ISO_EFORMAT, "%s, line %lld: expected %d fields", t->what, (long long)t->line, t->n);
  w->job = iso_layout_job_default();
  w->job.shape =
      iso_layout_shape_gpt("", (int64_t)v[COL_LAYERS], (int64_t)v[COL_WIDTH], (int64_t)v[COL_HEADS], (int64_t)v[COL_VOCAB], (int64_t)v[COL_SEQ]);
  if (t->has[COL_KV]) w->job.shape.kv_heads = (int64_t)v[COL_KV];
  if (t->has[COL_MLP]) w->job.shape.mlp = (int64_t)v[COL_MLP];
  w->job.batch = (int64_t)v[COL_BATCH];
  w->layout = iso_layout_default();
  w->layout.tensor = (int64_t)v[COL_TENSOR];
  w->layout.data = (int64_t)v[COL_DATA];
  w->layout.pipeline = (int64_t)v[COL_PIPELINE];
  w->layout.micro_batch = (int64_t)v[COL_MICRO];
  w->layout.context = (int64_t)v[COL_CONTEXT];
  w->layout.expert = (int64_t)v[COL_EXPERT];
  w->layout.chunks = (int64_t)v[COL_CHUNKS];
  w->layout.zero = (int)fmin(v[COL_ZERO], 100);
  w->layout.seq_parallel = v[COL_SEQ_PARALLEL] > 0;
  w->layout.recompute = (iso_layout_recompute)(int)v[COL_RECOMPUTE];
  w->layout.schedule = (iso_layout_sched)(int)v[COL_SCHEDULE];
  w->step_s = t->has[COL_S] ? v[COL_S] : v[COL_MS] * 1e-3;
  *gpus = v[COL_GPUS];
  return ISO_OK;
}

static iso_status check_row(const table *t, const iso_layout_row *w, double gpus, iso_err *err) {
  iso_status st = iso_layout_shape_check(&w->job.shape, err);
  if (st == ISO_OK) st = iso_layout_check(&w->job, &w->layout, err);
  if (st == ISO_OK && (double)iso_layout_devices(&w->layout) != gpus)
    st = iso_fail(err, ISO_EINVAL, "gpus is %.0f, and the degrees multiply to %lld", gpus, (long long)iso_layout_devices(&w->layout));
  return st == ISO_OK ? ISO_OK : iso_err_prefix(err, st, "%s, line %lld", t->what, (long long)t->line);
}

// A file that does not say whether activations were recomputed: no row can have needed more memory than there is.
static void infer_recompute(const iso_layout_machine *m, iso_layout_rows *r) {
  iso_layout_mem k;
  r->recompute_inferred = true;
  for (int64_t i = 0; i < r->n; i++) {
    iso_layout_memory(&r->row[i].job, &r->row[i].layout, &k);
    if (k.total_b > m->mem_b) r->recompute = ISO_LAYOUT_FULL;
  }
  for (int64_t i = 0; i < r->n; i++) r->row[i].layout.recompute = r->recompute;
}

iso_status iso_layout_rows_parse(const char *text, size_t n, const char *what, const iso_layout_machine *m, iso_layout_rows *out, iso_err *err) {
  table t = {.p = text, .end = text + n, .what = what, .line = 1};
  int64_t room = 0;
  iso_status st = ISO_OK;
  memset(out, 0, sizeof *out);
  if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) t.p += 3;
  ISO_TRYG(header(&t, err));
  while (next_line(&t)) {
    if (out->n == room) {
      room = room ? 2 * room : 64;
      iso_layout_row *grown = realloc(out->row, (size_t)room * sizeof *grown);
      if (!grown) {
        st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", what, (long long)room);
        goto done;
      }
      out->row = grown;
    }
    double gpus = 0;
    ISO_TRYG(one_row(&t, &out->row[out->n], &gpus, err));
    ISO_TRYG(check_row(&t, &out->row[out->n], gpus, err));
    out->n++;
    end_line(&t);
  }
  if (!out->n) {
    st = iso_fail(err, ISO_EFORMAT, "%s: a header and no rows", what);
    goto done;
  }
  if (!t.has[COL_RECOMPUTE]) infer_recompute(m, out);
done:
  if (st != ISO_OK) iso_layout_rows_close(out);
  return st;
}

iso_status iso_layout_rows_load(const char *path, const iso_layout_machine *m, iso_layout_rows *out, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, 64u << 20, &text, &n, err));
  iso_status st = iso_layout_rows_parse(text, n, path, m, out, err);
  free(text);
  return st;
}

void iso_layout_rows_close(iso_layout_rows *r) {
  free(r->row);
  *r = (iso_layout_rows){0};
}
