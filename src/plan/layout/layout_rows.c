// Reads measured training steps of layouts from a CSV file.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/str.h"
#include "plan/layout/layout_fit.h"

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
  COL_NEEDED,           // those above must be there
  COL_MS = COL_NEEDED,  // one of these four
  COL_S,
  COL_TFLOPS,
  COL_MFU,
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
  COL_GATED,
  COL_TIED,
  COL_HEAD_DIM,
  COL_EXPERTS,
  COL_USED,
  COL_FLASH,
  COL_DROPOUT,
  COL_OFFLOAD,
  COLS
} col;
static const char *const NAMES[COLS] = {
    "gpus",        "global_batch", "micro_batch", "d_model", "heads",    "layers",   "seq_len", "tensor",       "data",   "pipeline", "iteration_ms",
    "iteration_s", "tflops",       "mfu",         "vocab",   "kv_heads", "mlp",      "context", "expert",       "chunks", "zero",     "seq_parallel",
    "recompute",   "schedule",     "params_b",    "gated",   "tied",     "head_dim", "experts", "experts_used", "flash",  "dropout",  "offload"};

typedef struct table {
  const iso_csv *csv;
  int at[COLS];  // -1: no such column
} table;

static iso_status header(table *t, iso_err *err) {
  const iso_csv *c = t->csv;
  for (int i = 0; i < c->cols; i++) {
    const char *name = iso_csv_name(c, i);
    int near = 0;
    for (int k = 1; k < COLS; k++)
      if (iso_str_distance(NAMES[k], name) < iso_str_distance(NAMES[near], name)) near = k;
    if (strcmp(NAMES[near], name) == 0) continue;
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: no meaning is known for column %d, '%.60s'", c->what, (long long)c->header, i + 1, name);
    return iso_str_near(NAMES[near], name) ? iso_hint(err, ISO_EFORMAT, "did you mean '%s'?", NAMES[near]) : ISO_EFORMAT;
  }
  for (int k = 0; k < COLS; k++) ISO_TRY(k < COL_NEEDED ? iso_csv_need(c, NAMES[k], &t->at[k], err) : iso_csv_find_like(c, NAMES[k], &t->at[k], err));
  int measured = 0;
  for (int k = COL_MS; k <= COL_MFU; k++) measured += t->at[k] >= 0;
  if (measured != 1)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: expected one of iteration_ms, iteration_s, tflops and mfu", c->what, (long long)c->header);
  return ISO_OK;
}

static iso_status name_of(const table *t, int64_t row, int k, int count, const char *(*name)(int), double *out, iso_err *err) {
  const char *text = iso_csv_cell(t->csv, row, t->at[k]);
  for (int i = 0; i < count; i++) {
    if (strcmp(text, name(i)) == 0) {
      *out = i;
      return ISO_OK;
    }
  }
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): '%.40s', expected %s or another of its kind", t->csv->what,
                  (long long)t->csv->line[row], t->at[k] + 1, NAMES[k], text, name(0));
}

static const char *recompute_name(int i) { return iso_layout_recompute_name((iso_layout_recompute)i); }
static const char *sched_name(int i) { return iso_layout_sched_name((iso_layout_sched)i); }

static iso_status value(const table *t, int64_t row, int k, double *out, iso_err *err) {
  int64_t v;
  int at = t->at[k];
  if (k == COL_RECOMPUTE) return name_of(t, row, k, ISO_LAYOUT_FULL + 1, recompute_name, out, err);
  if (k == COL_SCHEDULE) return name_of(t, row, k, ISO_LAYOUT_SCHEDS, sched_name, out, err);
  if (k == COL_MFU) return iso_csv_within(t->csv, row, at, NAMES[k], 1e-9, 1, out, err);
  if ((k >= COL_MS && k < COL_MFU) || k == COL_PARAMS) return iso_csv_within(t->csv, row, at, NAMES[k], 1e-12, 1e15, out, err);
  bool off = k == COL_ZERO || k == COL_SEQ_PARALLEL || k == COL_EXPERTS || k == COL_USED;
  bool flag = k == COL_GATED || k == COL_TIED || k == COL_FLASH || k == COL_DROPOUT || k == COL_OFFLOAD;
  ISO_TRY(iso_csv_whole(t->csv, row, at, NAMES[k], off || flag ? 0 : 1, flag ? 1 : (int64_t)1e15, &v, err));
  *out = (double)v;
  return ISO_OK;
}

// GPT's shape unless the row says otherwise; gated: LLaMA's, without biases and positions, its head not tied.
static void shape_of(const table *t, const double *v, iso_layout_shape *s) {
  *s = iso_layout_shape_gpt("", (int64_t)v[COL_LAYERS], (int64_t)v[COL_WIDTH], (int64_t)v[COL_HEADS], (int64_t)v[COL_VOCAB], (int64_t)v[COL_SEQ]);
  s->gated = v[COL_GATED] > 0;
  if (s->gated) s->tied = s->bias = s->learned_pos = false;
  if (t->at[COL_TIED] >= 0) s->tied = v[COL_TIED] > 0;
  if (t->at[COL_KV] >= 0) s->kv_heads = (int64_t)v[COL_KV];
  if (t->at[COL_MLP] >= 0) s->mlp = (int64_t)v[COL_MLP];
  if (t->at[COL_HEAD_DIM] >= 0) s->head_dim = (int64_t)v[COL_HEAD_DIM];
  s->experts = (int64_t)v[COL_EXPERTS];
  s->experts_used = (int64_t)v[COL_USED];
}

static iso_status one_row(const table *t, int64_t row, iso_layout_row *w, double *v, iso_err *err) {
  const double usual[COLS] = {[COL_VOCAB] = 51200, [COL_CONTEXT] = 1, [COL_EXPERT] = 1, [COL_CHUNKS] = 1};
  memcpy(v, usual, sizeof usual);
  for (int k = 0; k < COLS; k++)
    if (t->at[k] >= 0) ISO_TRY(value(t, row, k, &v[k], err));
  w->job = iso_layout_job_default();
  shape_of(t, v, &w->job.shape);
  w->job.batch = (int64_t)v[COL_BATCH];
  w->job.flash = v[COL_FLASH] > 0;
  w->job.dropout = t->at[COL_DROPOUT] >= 0 ? v[COL_DROPOUT] > 0 : !w->job.flash && !w->job.shape.gated;
  w->layout = iso_layout_default();
  w->layout.tensor = (int64_t)v[COL_TENSOR];
  w->layout.data = (int64_t)v[COL_DATA];
  w->layout.pipeline = (int64_t)v[COL_PIPELINE];
  w->layout.micro_batch = (int64_t)v[COL_MICRO];
  w->layout.context = (int64_t)v[COL_CONTEXT];
  w->layout.expert = (int64_t)v[COL_EXPERT];
  w->layout.chunks = (int64_t)v[COL_CHUNKS];
  // A stack's settings stand in every row of its file, also where there is nothing to split.
  w->layout.zero = w->layout.data * w->layout.context > 1 ? (int)fmin(v[COL_ZERO], 100) : 0;
  w->layout.seq_parallel = v[COL_SEQ_PARALLEL] > 0 && w->layout.tensor > 1;
  w->layout.offload = v[COL_OFFLOAD] > 0;
  w->layout.recompute = (iso_layout_recompute)(int)v[COL_RECOMPUTE];
  w->layout.schedule = t->at[COL_SCHEDULE] >= 0 ? (iso_layout_sched)(int)v[COL_SCHEDULE]
                       : w->layout.chunks > 1   ? ISO_LAYOUT_INTERLEAVED
                                                : ISO_LAYOUT_1F1B;
  return ISO_OK;
}

// Seconds of a step, from what the file has measured; after recomputation is known.
static double seconds(const table *t, const iso_layout_row *w, const iso_layout_machine *m, const double *v) {
  double batch = (double)w->job.batch, n = v[COL_GPUS];
  if (t->at[COL_MS] >= 0) return v[COL_MS] * 1e-3;
  if (t->at[COL_S] >= 0) return v[COL_S];
  if (t->at[COL_TFLOPS] >= 0)
    return iso_layout_hardware_flop(&w->job.shape, batch, w->layout.recompute, ISO_LAYOUT_ATTN_FULL) / (n * v[COL_TFLOPS] * 1e12);
  return iso_layout_model_flop(&w->job.shape, batch, ISO_LAYOUT_ATTN_FULL) / (n * v[COL_MFU] * m->peak_flop_s);
}

static iso_status check_row(const table *t, int64_t row, const iso_layout_row *w, double gpus, iso_err *err) {
  iso_status st = iso_layout_shape_check(&w->job.shape, err);
  if (st == ISO_OK) st = iso_layout_check(&w->job, &w->layout, err);
  if (st == ISO_OK && (double)iso_layout_devices(&w->layout) != gpus)
    st = iso_fail(err, ISO_EINVAL, "gpus is %.0f, and the degrees multiply to %lld", gpus, (long long)iso_layout_devices(&w->layout));
  return st == ISO_OK ? ISO_OK : iso_err_prefix(err, st, "%s, line %lld", t->csv->what, (long long)t->csv->line[row]);
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

static iso_status read_rows(const iso_csv *c, const iso_layout_machine *m, iso_layout_rows *out, iso_err *err) {
  table t = {.csv = c};
  double v[COLS];
  ISO_TRY(header(&t, err));
  if (!c->rows) return iso_fail(err, ISO_EFORMAT, "%s: no row below the header", c->what);
  out->row = calloc((size_t)c->rows, sizeof *out->row);
  if (!out->row) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", c->what, (long long)c->rows);
  for (; out->n < c->rows; out->n++) {
    iso_layout_row *w = &out->row[out->n];
    w->line = c->line[out->n];
    ISO_TRY(one_row(&t, out->n, w, v, err));
    ISO_TRY(check_row(&t, out->n, w, v[COL_GPUS], err));
  }
  if (t.at[COL_RECOMPUTE] < 0) infer_recompute(m, out);
  for (int64_t i = 0; i < out->n; i++) {
    iso_layout_row seen;
    ISO_TRY(one_row(&t, i, &seen, v, err));
    out->row[i].step_s = seconds(&t, &out->row[i], m, v);
  }
  return ISO_OK;
}

iso_status iso_layout_rows_parse(const char *text, size_t n, const char *what, const iso_layout_machine *m, iso_layout_rows *out, iso_err *err) {
  iso_csv c;
  memset(out, 0, sizeof *out);
  iso_status st = iso_csv_parse(text, n, what, &c, err);
  if (st == ISO_OK) st = read_rows(&c, m, out, err);
  iso_csv_close(&c);
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
