// Reads measured serving points and works out what their columns mean.
#include "plan/serve/points.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "plan/serve/csv.h"

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

static iso_status find_columns(const iso_serve_csv *c, columns *k, iso_err *err) {
  static const char *const prefix[] = {"", "decode_", "prefill_"};
  for (int i = 0; i < C_NEED; i++) ISO_TRY(iso_serve_csv_need(c, NEED[i], &k->need[i], err));
  for (int w = 0; w < 3; w++) {
    for (int i = 0; i < W_COLUMNS; i++) {
      char name[64];
      snprintf(name, sizeof name, "%s%s", prefix[w], WORKER[i]);
      k->worker[w][i] = iso_serve_csv_column(c, name);
    }
  }
  for (int i = W_TP; i < W_COLUMNS; i++) ISO_TRY(iso_serve_csv_need(c, WORKER[i], &k->worker[0][i], err));
  return iso_serve_csv_need(c, WORKER[W_BATCH], &k->worker[0][W_BATCH], err);
}

static iso_status text_cell(const iso_serve_csv *c, int column, char *out, size_t n, bool empty_ok, iso_err *err) {
  const char *s = c->at[column];
  size_t len = strlen(s);
  if (len >= n || (!len && !empty_ok))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s is \"%.80s\", expected 1 to %zu bytes", c->what, (long long)c->row_line, c->name[column], s,
                    n - 1);
  memcpy(out, s, len + 1);
  return ISO_OK;
}

// A whole number, or 0 for an absent column or an empty cell.
static iso_status degree(const iso_serve_csv *c, int column, int64_t max, int64_t *out, iso_err *err) {
  *out = 0;
  if (column < 0 || !c->at[column][0]) return ISO_OK;
  return iso_serve_csv_i64(c, column, 1, max, out, err);
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

static iso_status read_worker(const iso_serve_csv *c, const int *w, iso_serve_layout *l, int64_t *batch, int64_t *workers, int64_t *stages,
                              iso_err *err) {
  ISO_TRY(degree(c, w[W_BATCH], 1 << 24, batch, err));
  ISO_TRY(degree(c, w[W_WORKERS], DEGREE_MAX, workers, err));
  ISO_TRY(degree(c, w[W_TP], DEGREE_MAX, &l->tp, err));
  ISO_TRY(degree(c, w[W_PP], DEGREE_MAX, stages, err));
  ISO_TRY(degree(c, w[W_DP], DEGREE_MAX, &l->dp, err));
  ISO_TRY(degree(c, w[W_MOE_TP], DEGREE_MAX, &l->moe_tp, err));
  return degree(c, w[W_MOE_EP], DEGREE_MAX, &l->moe_ep, err);
}

static iso_status read_layouts(const iso_serve_csv *c, const columns *k, iso_serve_point *p, iso_err *err) {
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

static iso_status read_point(const iso_serve_csv *c, const columns *k, iso_serve_point *p, iso_err *err) {
  const char *mode = c->at[k->need[C_MODE]];
  double ttft_ms = 0, tpot_ms = 0;
  p->line = c->row_line;
  ISO_TRY(text_cell(c, k->need[C_BACKEND], p->backend, sizeof p->backend, false, err));
  ISO_TRY(text_cell(c, k->need[C_MODEL], p->model, sizeof p->model, false, err));
  ISO_TRY(text_cell(c, k->need[C_SYSTEM], p->system, sizeof p->system, false, err));
  ISO_TRY(text_cell(c, k->need[C_PRECISION], p->precision, sizeof p->precision, true, err));
  if (strcmp(mode, "agg") && strcmp(mode, "disagg"))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: mode is \"%.40s\", expected agg or disagg", c->what, (long long)c->row_line, mode);
  p->split = mode[0] == 'd';
  ISO_TRY(iso_serve_csv_f64(c, k->need[C_PROMPT], 1, 1e9, &p->prompt, err));
  ISO_TRY(iso_serve_csv_f64(c, k->need[C_OUTPUT], 1, 1e9, &p->output, err));
  ISO_TRY(iso_serve_csv_f64(c, k->need[C_TTFT], 1e-6, 1e12, &ttft_ms, err));
  ISO_TRY(iso_serve_csv_f64(c, k->need[C_TPOT], 1e-6, 1e12, &tpot_ms, err));
  p->ttft_s = ttft_ms / 1e3;
  p->tpot_s = tpot_ms / 1e3;
  if (!p->precision[0]) memcpy(p->precision, "bf16", sizeof "bf16");
  p->shape = iso_serve_shape_find(p->model);
  iso_serve_format f;
  if (p->shape && iso_serve_format_get(p->precision, p->shape, &f, NULL) != ISO_OK)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: precision is \"%s\", expected bf16, fp8, fp4, int4 or nothing", c->what, (long long)c->row_line,
                    p->precision);
  if (iso_serve_device_get(p->system, &p->device, NULL) != ISO_OK) p->device.name[0] = 0;
  return read_layouts(c, k, p, err);
}

iso_status iso_serve_points_parse(char *text, size_t n, const char *what, iso_serve_points *out, iso_err *err) {
  iso_serve_csv c;
  columns k;
  int64_t cap = 0;
  iso_status st;
  memset(out, 0, sizeof *out);
  ISO_TRYG(iso_serve_csv_start(&c, text, n, what, err));
  ISO_TRYG(find_columns(&c, &k, err));
  for (;;) {
    bool more;
    ISO_TRYG(iso_serve_csv_next(&c, &more, err));
    if (!more) break;
    if (out->n == cap) {
      cap = cap ? 2 * cap : 256;
      iso_serve_point *at = realloc(out->at, (size_t)cap * sizeof *at);
      if (!at) {
        st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld points", what, (long long)cap);
        goto done;
      }
      out->at = at;
    }
    iso_serve_point *p = &out->at[out->n];
    memset(p, 0, sizeof *p);
    ISO_TRYG(read_point(&c, &k, p, err));
    out->n++;
    out->skipped[p->skip]++;
    out->used += p->skip == ISO_POINT_USED;
  }
  if (!out->n) st = iso_fail(err, ISO_EFORMAT, "%s: no row below the header", what);
done:
  if (st != ISO_OK) iso_serve_points_close(out);
  return st;
}

iso_status iso_serve_points_load(const char *path, iso_serve_points *out, iso_err *err) {
  char *text;
  size_t n;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, POINTS_BYTES_MAX, &text, &n, err));
  iso_status st = iso_serve_points_parse(text, n, path, out, err);
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
