// What a calibration is worth: random splits, model sizes left out, the choice among measured layouts, bias by degree.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"
#include "plan/layout/layout_fit.h"

typedef struct check {
  const iso_layout_rows *r;
  const iso_layout_machine *m;
  const iso_layout_fit_opts *o;
  int64_t *pick;  // owned: room for every row
  double *pred;   // owned: seconds, of fits without the row's size
  int *size;      // owned: index into result.size
} check;

static iso_status predict(const check *k, const iso_layout_cal *c, int64_t i, double *out, iso_err *err) {
  iso_layout_step s;
  ISO_TRY(iso_layout_step_cost(&k->r->row[i].job, k->m, c, &k->r->row[i].layout, &s, err));
  *out = s.step_s;
  return ISO_OK;
}

// One split: the first two thirds of a shuffle calibrate, the rest is predicted.
static iso_status split(const check *k, uint64_t seed, int number, double *mape, iso_err *err) {
  int64_t n = k->r->n, cut = 2 * n / 3;
  iso_layout_fit f;
  for (int64_t i = 0; i < n; i++) k->pick[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = iso_rng_below(seed, ISO_RNG_BOOTSTRAP, (uint64_t)number, (uint64_t)i, i + 1), swap = k->pick[i];
    k->pick[i] = k->pick[j];
    k->pick[j] = swap;
  }
  ISO_TRY(iso_layout_fit_run(k->r, k->pick, cut, k->m, k->o, &f, err));
  double sum = 0, s;
  for (int64_t i = cut; i < n; i++) {
    ISO_TRY(predict(k, &f.cal, k->pick[i], &s, err));
    sum += fabs(s / k->r->row[k->pick[i]].step_s - 1);
  }
  *mape = sum / (double)(n - cut);
  return ISO_OK;
}

static iso_status find_sizes(check *k, iso_layout_check_result *out, iso_err *err) {
  for (int64_t i = 0; i < k->r->n; i++) {
    const iso_layout_shape *s = &k->r->row[i].job.shape;
    int q = 0;
    while (q < out->n_sizes && (out->size[q].layers != s->layers || out->size[q].width != s->width)) q++;
    if (q == ISO_LAYOUT_SIZES_MAX) return iso_fail(err, ISO_EINVAL, "layout check: more than %d model sizes", ISO_LAYOUT_SIZES_MAX);
    if (q == out->n_sizes) out->size[out->n_sizes++] = (iso_layout_size_check){.layers = s->layers, .width = s->width};
    out->size[q].n++;
    k->size[i] = q;
  }
  if (out->n_sizes < 2) return iso_fail(err, ISO_EINVAL, "layout check: one model size, nothing to leave out");
  return ISO_OK;
}

static bool same_cell(const iso_layout_row *a, const iso_layout_row *b) {
  return a->job.batch == b->job.batch && iso_layout_devices(&a->layout) == iso_layout_devices(&b->layout);
}

// For each (GPUs, batch) of a size: the measured seconds of the layout predicted fastest over the best.
static void choose(const check *k, int size, iso_layout_size_check *o, double *sum, int64_t *cells) {
  const iso_layout_row *w = k->r->row;
  double total = 0;
  for (int64_t i = 0; i < k->r->n; i++) {
    if (k->size[i] != size) continue;
    int64_t seen = 0, members = 0, best = i;
    double least = INFINITY;
    for (int64_t j = 0; j < k->r->n; j++) {
      if (k->size[j] != size || !same_cell(&w[i], &w[j])) continue;
      seen += j < i;
      members++;
      if (k->pred[j] < k->pred[best]) best = j;
      least = fmin(least, w[j].step_s);
    }
    if (seen || members < 2) continue;
    total += w[best].step_s / least - 1;
    o->cells++;
  }
  o->regret = o->cells ? total / (double)o->cells : NAN;
  *sum += total;
  *cells += o->cells;
}

static iso_status leave_out(check *k, int size, iso_layout_check_result *out, double *regret, iso_err *err) {
  iso_layout_fit f;
  int64_t n = 0;
  double sum = 0;
  for (int64_t i = 0; i < k->r->n; i++)
    if (k->size[i] != size) k->pick[n++] = i;
  ISO_TRY(iso_layout_fit_run(k->r, k->pick, n, k->m, k->o, &f, err));
  for (int64_t i = 0; i < k->r->n; i++) {
    if (k->size[i] != size) continue;
    ISO_TRY(predict(k, &f.cal, i, &k->pred[i], err));
    sum += fabs(k->pred[i] / k->r->row[i].step_s - 1);
  }
  out->size[size].mape = sum / (double)out->size[size].n;
  choose(k, size, &out->size[size], regret, &out->cells);
  return ISO_OK;
}

static int64_t degree(const iso_layout *l, int which) { return which == 0 ? l->tensor : which == 1 ? l->data : l->pipeline; }

static int by_degree(const void *a, const void *b) {
  const iso_layout_bias *x = a, *y = b;
  return (x->degree > y->degree) - (x->degree < y->degree);
}

static int bias(const check *k, int which, iso_layout_bias *o) {
  int n = 0;
  for (int64_t i = 0; i < k->r->n; i++) {
    int64_t d = degree(&k->r->row[i].layout, which);
    int q = 0;
    while (q < n && o[q].degree != d) q++;
    if (q == ISO_LAYOUT_DEGREES_MAX) continue;
    if (q == n) o[n++] = (iso_layout_bias){.degree = d};
    double e = k->pred[i] / k->r->row[i].step_s - 1;
    o[q].n++;
    o[q].mean += e;
    o[q].mape += fabs(e);
  }
  for (int q = 0; q < n; q++) {
    o[q].mean /= (double)o[q].n;
    o[q].mape /= (double)o[q].n;
  }
  qsort(o, (size_t)n, sizeof *o, by_degree);
  return n;
}

static iso_status run_check(check *k, int splits, uint64_t seed, iso_layout_check_result *out, iso_err *err) {
  double *e = k->pred, sum = 0, sq = 0, regret = 0;  // pred is free until sizes are left out
  ISO_TRY(find_sizes(k, out, err));
  ISO_TRY(iso_layout_fit_run(k->r, NULL, 0, k->m, k->o, &out->all, err));
  for (int s = 0; s < splits; s++) ISO_TRY(split(k, seed, s, &e[s], err));
  out->splits = splits;
  out->split_mape = splits ? iso_mean(e, splits) : NAN;
  out->split_sd = splits > 1 ? iso_stdev(e, splits) : NAN;
  for (int s = 0; s < out->n_sizes; s++) ISO_TRY(leave_out(k, s, out, &regret, err));
  for (int64_t i = 0; i < k->r->n; i++) {
    double ratio = k->pred[i] / k->r->row[i].step_s;
    sum += fabs(ratio - 1);
    sq += log(ratio) * log(ratio);
  }
  out->out_mape = sum / (double)k->r->n;
  out->out_sd = out->all.cal.resid_sd = sqrt(sq / (double)k->r->n);
  out->regret = out->cells ? regret / (double)out->cells : NAN;
  out->regret_worst = NAN;
  for (int s = 0; s < out->n_sizes; s++) out->regret_worst = fmax(out->regret_worst, out->size[s].regret);
  out->n_tensor = bias(k, 0, out->tensor);
  out->n_data = bias(k, 1, out->data);
  out->n_pipeline = bias(k, 2, out->pipeline);
  return ISO_OK;
}

iso_status iso_layout_check_fit(const iso_layout_rows *r, const iso_layout_machine *m, const iso_layout_fit_opts *o, int splits, uint64_t seed,
                                iso_layout_check_result *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (splits < 0 || splits > r->n) return iso_fail(err, ISO_EINVAL, "layout check: %d splits of %lld rows", splits, (long long)r->n);
  check k = {.r = r, .m = m, .o = o};
  k.pick = malloc((size_t)r->n * sizeof *k.pick);
  k.pred = malloc((size_t)r->n * sizeof *k.pred);
  k.size = malloc((size_t)r->n * sizeof *k.size);
  iso_status st = k.pick && k.pred && k.size ? run_check(&k, splits, seed, out, err)
                                             : iso_fail(err, ISO_ENOMEM, "layout check: no memory for %lld rows", (long long)r->n);
  free(k.pick);
  free(k.pred);
  free(k.size);
  return st;
}

static json_t *bias_json(const iso_layout_bias *b, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++)
    json_array_append_new(a, json_pack("{s:I, s:I, s:o, s:o}", "degree", (json_int_t)b[i].degree, "rows", (json_int_t)b[i].n, "bias",
                                       iso_json_num(b[i].mean), "mape", iso_json_num(b[i].mape)));
  return a;
}

json_t *iso_layout_check_json(const iso_layout_check_result *c, const iso_layout_fit_opts *o) {
  json_t *sizes = json_array(), *names = json_array();
  for (int i = 0; i < c->n_sizes; i++) {
    const iso_layout_size_check *s = &c->size[i];
    json_array_append_new(
        sizes, json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "layers", (json_int_t)s->layers, "width", (json_int_t)s->width, "rows", (json_int_t)s->n,
                         "choices", (json_int_t)s->cells, "mape", iso_json_num(s->mape), "regret", iso_json_num(s->regret)));
  }
  for (int i = 0; i < o->n_free; i++) json_array_append_new(names, json_string(iso_layout_cal_name(o->free[i])));
  json_t *j = json_pack("{s:I, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "rows", (json_int_t)c->all.n, "fitted", names, "calibration",
                        iso_layout_cal_json(&c->all.cal), "mape_all_rows", iso_json_num(c->all.mape), "splits", c->splits, "mape_held_out_third",
                        iso_json_num(c->split_mape), "mape_held_out_third_sd", iso_json_num(c->split_sd), "mape_size_left_out",
                        iso_json_num(c->out_mape), "sd_log_s_size_left_out", iso_json_num(c->out_sd), "regret", iso_json_num(c->regret),
                        "regret_worst_size", iso_json_num(c->regret_worst), "choices", (json_int_t)c->cells);
  json_object_set_new(j, "sizes", sizes);
  json_object_set_new(j, "bias_by_tensor", bias_json(c->tensor, c->n_tensor));
  json_object_set_new(j, "bias_by_data", bias_json(c->data, c->n_data));
  json_object_set_new(j, "bias_by_pipeline", bias_json(c->pipeline, c->n_pipeline));
  return j;
}
