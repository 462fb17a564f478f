// Reads measured serving points and works out what their columns mean.
#include "plan/serve/points.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"

enum {
  POINTS_BYTES_MAX = 1 << 28,
  DEGREE_MAX = 1 << 16,
  C_BACKEND = 0,
  C_MODEL,
  C_SYSTEM,
  C_PRECISION,
  C_MODE,
  C_PROMPT,
  C_OUTPUT,
  C_TTFT,
  C_TPOT,
  C_NEED
};
// Columns of one kind of worker: prefix "", "decode_" or "prefill_".
enum { W_BATCH = 0, W_WORKERS, W_TP, W_PP, W_DP, W_MOE_TP, W_MOE_EP, W_COLUMNS };

static const char *const NEED[C_NEED] = {"backend", "model", "system", "precision", "mode", "prompt_tok", "output_tok", "ttft_ms", "tpot_ms"};
static const char *const WORKER[W_COLUMNS] = {"batch_size", "num_workers", "tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size"};

typedef struct columns {
  int need[C_NEED], worker[3][W_COLUMNS];  // -1: absent
} columns;

const char *iso_point_skip_name(iso_point_skip s) {
  static const char *const name[] = {"used", "no batch size", "unknown model", "unknown device", "pipeline stages"};
  return s < ISO_POINT_SKIPS ? name[s] : "?";
}

// A row that is being read.
typedef struct place {
  const iso_csv *t;
  int64_t row;
} place;
static const char *cell(const place *r, int col) { return iso_csv_cell(r->t, r->row, col); }

static iso_status refuse(const place *r, int col, const char *expected, iso_err *err) {
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): '%.60s', expected %s", r->t->what, (long long)r->t->line[r->row], col + 1,
                  iso_csv_name(r->t, col), cell(r, col), expected);
}

static iso_status find_columns(const iso_csv *t, columns *k, iso_err *err) {
  static const char *const prefix[] = {"", "decode_", "prefill_"};
  for (int i = 0; i < C_NEED; i++) ISO_TRY(iso_csv_need(t, NEED[i], &k->need[i], err));
  for (int w = 0; w < 3; w++) {
    for (int i = 0; i < W_COLUMNS; i++) {
      char name[64];
      snprintf(name, sizeof name, "%s%s", prefix[w], WORKER[i]);
      ISO_TRY(iso_csv_find_like(t, name, &k->worker[w][i], err));
    }
  }
  for (int i = W_TP; i < W_COLUMNS; i++) ISO_TRY(iso_csv_need(t, WORKER[i], &k->worker[0][i], err));
  return iso_csv_need(t, WORKER[W_BATCH], &k->worker[0][W_BATCH], err);
}

static iso_status text_cell(const place *r, int col, char *out, size_t n, bool empty_ok, iso_err *err) {
  const char *s = cell(r, col);
  size_t len = strlen(s);
  char expected[40];
  snprintf(expected, sizeof expected, "1 to %zu bytes", n - 1);
  if (len >= n || (!len && !empty_ok)) return refuse(r, col, expected, err);
  memcpy(out, s, len + 1);
  return ISO_OK;
}

// A whole number, or 0 for an absent column or an empty cell.
static iso_status degree(const place *r, int col, int64_t max, int64_t *out, iso_err *err) {
  *out = 0;
  if (col < 0 || !cell(r, col)[0]) return ISO_OK;
  return iso_csv_whole(r->t, r->row, col, iso_csv_name(r->t, col), 1, max, out, err);
}

static iso_status number(const place *r, int col, double min, double max, double *out, iso_err *err) {
  return iso_csv_within(r->t, r->row, col, iso_csv_name(r->t, col), min, max, out, err);
}

static int64_t or_one(int64_t v) { return v > 0 ? v : 1; }

// From the file's degrees to a layout that could run, by the rules of points.h.
static iso_serve_layout understand(const iso_serve_layout *f, const iso_serve_shape *s, bool split) {
  iso_serve_layout l = {or_one(f->tp), or_one(f->dp), or_one(f->moe_tp), or_one(f->moe_ep)};
  if (s->dense_layers == s->layers) return (iso_serve_layout){l.tp * l.dp, 1, 1, 1};
  int64_t experts = l.moe_tp * l.moe_ep;
  if (!f->dp && experts > l.tp && experts % l.tp == 0) l.dp = experts / l.tp;
  int64_t n = l.tp * l.dp, k = l.moe_tp;
  if (!split && f->dp && k > 1 && l.moe_ep == k && n == k * k) return l.dp > 1 ? (iso_serve_layout){1, k, 1, k} : (iso_serve_layout){k, 1, 1, k};
  if (!split && l.tp == l.dp && l.tp > 1 && l.moe_tp == 1 && l.moe_ep == n) return (iso_serve_layout){l.tp, 1, 1, l.tp};
  if (s->heads % l.tp || l.tp > 16) return (iso_serve_layout){1, n, 1, n};
  if (experts != n) l = (iso_serve_layout){l.tp, l.dp, 1, n};
  return l;
}

static iso_status read_worker(const place *c, const int *w, iso_serve_layout *l, int64_t *batch, int64_t *workers, int64_t *stages, iso_err *err) {
  ISO_TRY(degree(c, w[W_BATCH], 1 << 24, batch, err));
  ISO_TRY(degree(c, w[W_WORKERS], DEGREE_MAX, workers, err));
  ISO_TRY(degree(c, w[W_TP], DEGREE_MAX, &l->tp, err));
  ISO_TRY(degree(c, w[W_PP], DEGREE_MAX, stages, err));
  ISO_TRY(degree(c, w[W_DP], DEGREE_MAX, &l->dp, err));
  ISO_TRY(degree(c, w[W_MOE_TP], DEGREE_MAX, &l->moe_tp, err));
  return degree(c, w[W_MOE_EP], DEGREE_MAX, &l->moe_ep, err);
}

static iso_status read_layouts(const place *c, const columns *k, iso_serve_point *p, iso_err *err) {
  int64_t batch = 0, workers = 0, stages = 0, ignored = 0, prefill_workers = 0, prefill_stages = 0;
  iso_serve_layout pre = {0};
  ISO_TRY(read_worker(c, k->worker[p->split ? 1 : 0], &p->file, &batch, &workers, &stages, err));
  if (p->split) ISO_TRY(read_worker(c, k->worker[2], &pre, &ignored, &prefill_workers, &prefill_stages, err));
  p->batch = (double)batch;
  p->workers = (double)or_one(workers);
  p->prefill_workers = (double)or_one(prefill_workers);
  if (!p->shape) {
    p->skip = ISO_POINT_MODEL;
  } else if (!p->device.name[0]) {
    p->skip = ISO_POINT_DEVICE;
  } else if (stages > 1 || prefill_stages > 1) {
    p->skip = ISO_POINT_PIPELINE;
  } else {
    p->layout = understand(&p->file, p->shape, p->split);
    if (p->split) p->prefill = understand(&pre, p->shape, true);
    p->in_flight = p->batch * (double)(p->shape->dense_layers < p->shape->layers && !p->file.dp ? p->layout.dp : or_one(p->file.dp));
    if (!batch) p->skip = ISO_POINT_NO_BATCH;
  }
  return ISO_OK;
}

static iso_status read_point(const place *c, const columns *k, iso_serve_point *p, iso_err *err) {
  const char *mode = cell(c, k->need[C_MODE]);
  double ttft_ms = 0, tpot_ms = 0;
  p->line = c->t->line[c->row];
  ISO_TRY(text_cell(c, k->need[C_BACKEND], p->backend, sizeof p->backend, false, err));
  ISO_TRY(text_cell(c, k->need[C_MODEL], p->model, sizeof p->model, false, err));
  ISO_TRY(text_cell(c, k->need[C_PRECISION], p->precision, sizeof p->precision, true, err));
  if (strcmp(mode, "agg") && strcmp(mode, "disagg") && strcmp(mode, "static")) return refuse(c, k->need[C_MODE], "agg, disagg or static", err);
  p->split = mode[0] == 'd';
  p->together = mode[0] == 's';
  ISO_TRY(number(c, k->need[C_PROMPT], 1, 1e9, &p->prompt, err));
  ISO_TRY(number(c, k->need[C_OUTPUT], 1, 1e9, &p->output, err));
  ISO_TRY(number(c, k->need[C_TTFT], 1e-6, 1e12, &ttft_ms, err));
  ISO_TRY(number(c, k->need[C_TPOT], 1e-6, 1e12, &tpot_ms, err));
  p->ttft_s = ttft_ms / 1e3;
  p->tpot_s = tpot_ms / 1e3;
  if (!p->precision[0]) memcpy(p->precision, "bf16", sizeof "bf16");
  p->shape = iso_serve_shape_find(p->model);
  iso_serve_format f;
  if (p->shape && iso_serve_format_get(p->precision, p->shape, &f, NULL) != ISO_OK)
    return refuse(c, k->need[C_PRECISION], "bf16, fp8, fp4, int4 or nothing", err);
  return read_layouts(c, k, p, err);
}

// The device that a row is of: the caller's own when it has that name, else a compiled-in one.
static void find_device(const iso_device_spec *own, iso_serve_point *p) {
  iso_device_spec s;
  bool found = own && iso_device_spec_is(own, p->system);
  if (found)
    s = *own;
  else
    found = iso_device_spec_find(p->system, &s, NULL) == ISO_OK;
  if (!found || iso_serve_device_from(&s, &p->device, NULL) != ISO_OK) p->device.name[0] = 0;
}

static iso_status read_rows(const iso_csv *t, const iso_device_spec *own, iso_serve_points *out, iso_err *err) {
  columns k;
  ISO_TRY(find_columns(t, &k, err));
  if (!t->rows) return iso_fail(err, ISO_EFORMAT, "%s: no row below the header", t->what);
  out->at = calloc((size_t)t->rows, sizeof *out->at);
  if (!out->at) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld points", t->what, (long long)t->rows);
  for (place r = {t, 0}; r.row < t->rows; r.row++) {
    iso_serve_point *p = &out->at[r.row];
    ISO_TRY(text_cell(&r, k.need[C_SYSTEM], p->system, sizeof p->system, false, err));
    find_device(own, p);
    ISO_TRY(read_point(&r, &k, p, err));
    out->n++;
    out->skipped[p->skip]++;
    out->used += p->skip == ISO_POINT_USED;
  }
  return ISO_OK;
}

iso_status iso_serve_points_parse(const char *text, size_t n, const char *what, const iso_device_spec *own, iso_serve_points *out, iso_err *err) {
  iso_csv t;
  memset(out, 0, sizeof *out);
  iso_status st = iso_csv_parse(text, n, what, &t, err);
  if (st == ISO_OK) st = read_rows(&t, own, out, err);
  iso_csv_close(&t);
  if (st != ISO_OK) iso_serve_points_close(out);
  return st;
}

iso_status iso_serve_points_load(const char *path, const iso_device_spec *own, iso_serve_points *out, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, POINTS_BYTES_MAX, &text, &n, err));
  iso_status st = iso_serve_points_parse(text, n, path, own, out, err);
  free(text);
  return st;
}

void iso_serve_points_close(iso_serve_points *p) {
  free(p->at);
  memset(p, 0, sizeof *p);
}

iso_status iso_serve_point_setup(const iso_serve_point *p, iso_serve_setup *out, iso_err *err) {
  if (p->skip != ISO_POINT_USED) return iso_fail(err, ISO_EINVAL, "line %lld: %s", (long long)p->line, iso_point_skip_name(p->skip));
  iso_serve_format f;
  ISO_TRY(iso_serve_format_get(p->precision, p->shape, &f, err));
  return iso_serve_setup_init(out, p->shape, &p->device, &f, p->layout, err);
}
