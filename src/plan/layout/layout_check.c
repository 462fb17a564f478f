// What a calibration is worth: random splits, model sizes left out, the choice among measured layouts, bias by degree.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/layout/layout_fit.h"

// Parts that are left out in turn when the file has one model size.
enum { PARTS = 3 };

typedef struct check {
  const iso_layout_rows *r;
  const iso_layout_machine *m;
  const iso_layout_fit_opts *o;
  int64_t *pick;            // owned: room for every row
  double *pred, *measured;  // owned: seconds
  int *part;                // owned: which rows are left out together
} check;

static iso_status predict(const check *k, const iso_layout_cal *c, int64_t i, double *out, iso_err *err) {
  iso_layout_step s;
  ISO_TRY(iso_layout_step_cost(&k->r->row[i].job, k->m, c, &k->r->row[i].layout, &s, err));
  *out = s.step_s;
  return ISO_OK;
}

static void close_check(check *k) {
  free(k->pick);
  free(k->pred);
  free(k->measured);
  free(k->part);
}

static iso_status open_check(check *k, iso_err *err) {
  size_t n = (size_t)k->r->n + 1;
  k->pick = malloc(n * sizeof *k->pick);
  k->pred = malloc(n * sizeof *k->pred);
  k->measured = malloc(n * sizeof *k->measured);
  k->part = malloc(n * sizeof *k->part);
  if (k->pick && k->pred && k->measured && k->part) return ISO_OK;
  close_check(k);
  return iso_fail(err, ISO_ENOMEM, "layout check: no memory for %lld rows", (long long)k->r->n);
}

// ---- one score ------------------------------------------------------------------------------------------------------

static iso_status find_sizes(const check *k, int *size, iso_layout_score *out, iso_err *err) {
  for (int64_t i = 0; i < k->r->n; i++) {
    const iso_layout_shape *s = &k->r->row[i].job.shape;
    int q = 0;
    while (q < out->n_sizes && (out->size[q].layers != s->layers || out->size[q].width != s->width)) q++;
    if (q == ISO_LAYOUT_SIZES_MAX) return iso_fail(err, ISO_EINVAL, "layout check: more than %d model sizes", ISO_LAYOUT_SIZES_MAX);
    if (q == out->n_sizes) out->size[out->n_sizes++] = (iso_layout_size_score){.layers = s->layers, .width = s->width};
    out->size[q].n++;
    size[i] = q;
  }
  return ISO_OK;
}

static bool same_cell(const iso_layout_row *a, const iso_layout_row *b) {
  return a->job.batch == b->job.batch && iso_layout_devices(&a->layout) == iso_layout_devices(&b->layout) && a->job.shape.seq == b->job.shape.seq;
}

// For each (GPUs, batch) of a size: the measured seconds of the layout predicted fastest over the best.
static void choose(const check *k, const int *size, int which, iso_layout_size_score *o, double *sum, int64_t *cells) {
  const iso_layout_row *w = k->r->row;
  double total = 0;
  for (int64_t i = 0; i < k->r->n; i++) {
    if (size[i] != which) continue;
    o->mape += fabs(k->pred[i] / w[i].step_s - 1) / (double)o->n;
    int64_t seen = 0, members = 0, best = i;
    double least = INFINITY;
    for (int64_t j = 0; j < k->r->n; j++) {
      if (size[j] != which || !same_cell(&w[i], &w[j])) continue;
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

// Scores k->pred. Uses pick and measured.
static iso_status score(const check *k, const int *size, iso_layout_score *out, iso_err *err) {
  const iso_layout_row *w = k->r->row;
  int64_t n = k->r->n;
  double regret = 0;
  for (int64_t i = 0; i < n; i++) k->measured[i] = w[i].step_s;
  ISO_TRY(iso_score_of(k->pred, k->measured, n, &out->errors, err));
  out->regret_worst = NAN;
  for (int s = 0; s < out->n_sizes; s++) {
    choose(k, size, s, &out->size[s], &regret, &out->cells);
    out->regret_worst = fmax(out->regret_worst, out->size[s].regret);
  }
  out->regret = out->cells ? regret / (double)out->cells : NAN;
  for (int64_t i = 0; i < n; i++) k->pick[i] = w[i].layout.tensor;
  out->n_tensor = iso_score_by(k->pred, k->measured, k->pick, n, out->tensor);
  for (int64_t i = 0; i < n; i++) k->pick[i] = w[i].layout.data;
  out->n_data = iso_score_by(k->pred, k->measured, k->pick, n, out->data);
  for (int64_t i = 0; i < n; i++) k->pick[i] = w[i].layout.pipeline;
  out->n_pipeline = iso_score_by(k->pred, k->measured, k->pick, n, out->pipeline);
  out->n_worst = iso_score_worst(k->pred, k->measured, n, out->worst);
  for (int i = 0; i < out->n_worst; i++) {
    const iso_layout_row *x = &w[out->worst[i]];
    out->worst_s[i] = k->pred[out->worst[i]];
    out->worst_mfu[i] = iso_layout_model_flop(&x->job.shape, (double)x->job.batch, ISO_LAYOUT_ATTN_FULL) /
                        (x->step_s * k->m->peak_flop_s * (double)iso_layout_devices(&x->layout));
  }
  return ISO_OK;
}

iso_status iso_layout_score_rows(const iso_layout_rows *r, const iso_layout_machine *m, const iso_layout_cal *c, iso_layout_score *out,
                                 iso_err *err) {
  check k = {.r = r, .m = m};
  memset(out, 0, sizeof *out);
  ISO_TRY(open_check(&k, err));
  iso_status st = find_sizes(&k, k.part, out, err);
  for (int64_t i = 0; st == ISO_OK && i < r->n; i++) st = predict(&k, c, i, &k.pred[i], err);
  if (st == ISO_OK) st = score(&k, k.part, out, err);
  close_check(&k);
  return st;
}

// ---- fits that have not seen the rows -------------------------------------------------------------------------------

// One split: the first two thirds of a shuffle calibrate, the rest is predicted.
static iso_status split(const check *k, uint64_t seed, int number, iso_score *out, iso_err *err) {
  int64_t n = k->r->n, cut = 2 * n / 3;
  iso_layout_fit f;
  iso_score_shuffle(seed, number, k->pick, n);
  ISO_TRY(iso_layout_fit_run(k->r, k->pick, cut, k->m, k->o, &f, err));
  for (int64_t i = cut; i < n; i++) {
    ISO_TRY(predict(k, &f.cal, k->pick[i], &k->pred[i], err));
    k->measured[i] = k->r->row[k->pick[i]].step_s;
  }
  return iso_score_of(k->pred + cut, k->measured + cut, n - cut, out, err);
}

static iso_status leave_out(const check *k, int part, iso_err *err) {
  iso_layout_fit f;
  int64_t n = 0;
  for (int64_t i = 0; i < k->r->n; i++)
    if (k->part[i] != part) k->pick[n++] = i;
  iso_status st = iso_layout_fit_run(k->r, k->pick, n, k->m, k->o, &f, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "without %lld of %lld rows", (long long)(k->r->n - n), (long long)k->r->n);
  for (int64_t i = 0; i < k->r->n; i++)
    if (k->part[i] == part) ISO_TRY(predict(k, &f.cal, i, &k->pred[i], err));
  return ISO_OK;
}

static iso_status run_check(const check *k, int *size, int splits, uint64_t seed, iso_layout_check_result *out, iso_err *err) {
  iso_score each[ISO_SCORE_SPLITS_MAX];
  int parts;
  ISO_TRY(find_sizes(k, size, &out->out, err));
  ISO_TRY(iso_layout_fit_run(k->r, NULL, 0, k->m, k->o, &out->all, err));
  for (int s = 0; s < splits; s++) ISO_TRY(split(k, seed, s, &each[s], err));
  out->held = iso_score_splits_of(each, splits);
  if (out->out.n_sizes > 1) {
    parts = out->out.n_sizes;
    memcpy(k->part, size, (size_t)k->r->n * sizeof *size);
  } else {
    parts = PARTS;
    iso_score_shuffle(seed, splits, k->pick, k->r->n);
    for (int64_t i = 0; i < k->r->n; i++) k->part[k->pick[i]] = (int)(i % PARTS);
  }
  for (int p = 0; p < parts; p++) ISO_TRY(leave_out(k, p, err));
  ISO_TRY(score(k, size, &out->out, err));
  out->all.cal.resid_sd = out->out.errors.sd_log;
  return ISO_OK;
}

static bool same_run(const iso_layout_row *a, const iso_layout_row *b) {
  const iso_layout_shape *s = &a->job.shape, *z = &b->job.shape;
  const iso_layout *l = &a->layout, *m = &b->layout;
  return a->job.batch == b->job.batch && s->layers == z->layers && s->width == z->width && s->heads == z->heads && s->seq == z->seq &&
         s->mlp == z->mlp && s->vocab == z->vocab && l->tensor == m->tensor && l->pipeline == m->pipeline && l->data == m->data &&
         l->context == m->context && l->expert == m->expert && l->micro_batch == m->micro_batch && l->chunks == m->chunks &&
         l->schedule == m->schedule && l->recompute == m->recompute && l->zero == m->zero && l->seq_parallel == m->seq_parallel;
}

// Different runs among the rows, as far as `enough` of them.
static int different(const iso_layout_rows *r, int enough) {
  int n = 0;
  for (int64_t i = 0; i < r->n && n < enough; i++) {
    bool seen = false;
    for (int64_t k = 0; k < i && !seen; k++) seen = same_run(&r->row[k], &r->row[i]);
    n += !seen;
  }
  return n;
}

// Two numbers: each row is predicted with what the others say of it. The spread stays the base's, with what the rows leave open, unless they
// show a larger one.
static iso_status check_stack(const check *k, int *size, iso_layout_check_result *out, iso_err *err) {
  int64_t n = k->r->n;
  ISO_TRY(find_sizes(k, size, &out->out, err));
  ISO_TRY(iso_layout_fit_stack(k->r, -1, k->m, &k->o->base, &out->stack, err));
  for (int64_t i = 0; i < n; i++) {
    iso_layout_stack others = out->stack;
    if (n > 1) ISO_TRY(iso_layout_fit_stack(k->r, i, k->m, &k->o->base, &others, err));
    iso_layout_cal c = iso_layout_cal_shift(&k->o->base, others.z);
    ISO_TRY(predict(k, &c, i, &k->pred[i], err));
  }
  out->held = iso_score_splits_of(NULL, 0);
  ISO_TRY(score(k, size, &out->out, err));
  out->all.n = n;
  out->all.cal = iso_layout_cal_shift(&k->o->base, out->stack.z);
  out->all.cal.resid_sd = fmax(hypot(k->o->base.resid_sd, out->stack.rows_sd), out->out.errors.sd_log);
  iso_layout_score *own = calloc(1, sizeof *own);
  if (!own) return iso_fail(err, ISO_ENOMEM, "layout check: no memory");
  iso_status st = iso_layout_score_rows(k->r, k->m, &out->all.cal, own, err);
  out->all.mape = own->errors.mape;
  out->all.resid_sd = own->errors.sd_log;
  free(own);
  return st;
}

iso_status iso_layout_check_fit(const iso_layout_rows *r, const iso_layout_machine *m, const iso_layout_fit_opts *o, int splits, uint64_t seed,
                                iso_layout_check_result *out, iso_err *err) {
  check k = {.r = r, .m = m, .o = o};
  memset(out, 0, sizeof *out);
  if (splits < 0 || splits > ISO_SCORE_SPLITS_MAX)
    return iso_fail(err, ISO_EINVAL, "layout check: %d splits, expected 0 to %d", splits, ISO_SCORE_SPLITS_MAX);
  // Every fit, also one without a third of the rows, needs as many rows as free numbers.
  if (r->n < 1 || 2 * r->n / 3 < o->n_free)
    return iso_fail(err, ISO_EINVAL, "layout check: %lld rows, expected at least %d to fit %d numbers to two thirds of them", (long long)r->n,
                    (3 * o->n_free + 1) / 2, o->n_free);
  int runs = different(r, o->n_free);
  if (runs < o->n_free)
    return iso_fail(err, ISO_EINVAL, "layout check: %lld rows of %d different runs, expected at least as many as the %d numbers fitted",
                    (long long)r->n, runs, o->n_free);
  int *size = malloc((size_t)r->n * sizeof *size);
  if (!size) return iso_fail(err, ISO_ENOMEM, "layout check: no memory for %lld rows", (long long)r->n);
  iso_status st = open_check(&k, err);
  if (st == ISO_OK) {
    st = o->n_free ? run_check(&k, size, splits, seed, out, err) : check_stack(&k, size, out, err);
    close_check(&k);
  }
  free(size);
  return st;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *worst_json(const iso_layout_score *s, const iso_layout_rows *r) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_worst; i++) {
    const iso_layout_row *w = &r->row[s->worst[i]];
    json_t *o = iso_layout_json(&w->layout);
    if (!o) continue;
    (void)json_object_update_new(
        o, json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "line", (json_int_t)w->line, "layers", (json_int_t)w->job.shape.layers, "width",
                     (json_int_t)w->job.shape.width, "batch", (json_int_t)w->job.batch, "measured_s", w->step_s, "predicted_s", s->worst_s[i],
                     "error", s->worst_s[i] / w->step_s - 1, "measured_mfu_full_attention", s->worst_mfu[i], "predicted_mfu_full_attention",
                     s->worst_mfu[i] * w->step_s / s->worst_s[i]));
    (void)json_array_append_new(a, o);
  }
  return a;
}

json_t *iso_layout_score_json(const iso_layout_score *s, const iso_layout_rows *r) {
  json_t *o = json_object(), *sizes = json_array();
  iso_score_put(o, &s->errors);
  for (int i = 0; i < s->n_sizes; i++) {
    const iso_layout_size_score *z = &s->size[i];
    (void)json_array_append_new(
        sizes, json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "layers", (json_int_t)z->layers, "width", (json_int_t)z->width, "rows", (json_int_t)z->n,
                         "choices", (json_int_t)z->cells, "mape", iso_json_num(z->mape), "regret", iso_json_num(z->regret)));
  }
  (void)json_object_set_new(o, "regret", iso_json_num(s->regret));
  (void)json_object_set_new(o, "regret_worst_size", iso_json_num(s->regret_worst));
  (void)json_object_set_new(o, "choices", json_integer((json_int_t)s->cells));
  (void)json_object_set_new(o, "bias_by_tensor", iso_score_by_json(s->tensor, s->n_tensor));
  (void)json_object_set_new(o, "bias_by_pipeline", iso_score_by_json(s->pipeline, s->n_pipeline));
  (void)json_object_set_new(o, "bias_by_data", iso_score_by_json(s->data, s->n_data));
  (void)json_object_set_new(o, "sizes", sizes);
  (void)json_object_set_new(o, "worst", worst_json(s, r));
  return o;
}

json_t *iso_layout_check_json(const iso_layout_check_result *c, const iso_layout_rows *r, const iso_layout_fit_opts *o) {
  json_t *names = json_array();
  for (int i = 0; i < o->n_free; i++) (void)json_array_append_new(names, json_string(iso_layout_cal_name(o->free[i])));
  if (!o->n_free) {
    (void)json_array_append_new(names, json_string("arithmetic"));
    (void)json_array_append_new(names, json_string("communication"));
  }
  json_t *j = json_pack("{s:I, s:o, s:s, s:o, s:o, s:o, s:s, s:o}", "rows", (json_int_t)c->all.n, "fitted", names, "recompute",
                        r->recompute_inferred ? iso_layout_recompute_name(r->recompute) : "by row", "calibration", iso_layout_cal_json(&c->all.cal),
                        "mape_all_rows", iso_json_num(c->all.mape), "held_out_third", iso_score_splits_json(&c->held), "left_out_by",
                        !o->n_free           ? (c->all.n > 1 ? "row" : "nothing: one row")
                        : c->out.n_sizes > 1 ? "model size"
                                             : "thirds of the rows",
                        "left_out", iso_layout_score_json(&c->out, r));
  if (!o->n_free) (void)json_object_set_new(j, "shifts", iso_layout_stack_json(&c->stack));
  return j;
}
