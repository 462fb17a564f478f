// isoflop hw fit and hw test on whole runs: calibrating training layouts and serving on measured times, and grading what was calibrated.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/hw.h"
#include "plan/layout/layout_fit.h"
#include "plan/serve/calib.h"

enum { SPLITS = 20 };

// ---- text -----------------------------------------------------------------------------------------------------------

static void print_errors(const char *name, const iso_score *s) {
  cli_row(name, "mean error %.1f%%, median %.1f%%, 90%% within %.1f%%, bias %+.1f%% over %lld rows", 100 * s->mape, 100 * s->median_error,
          100 * s->p90_error, 100 * s->bias, (long long)s->n);
}

static void print_splits(const char *name, const iso_score_splits *s) {
  cli_row(name, "mean error %.1f%%, median %.1f%%, 90%% within %.1f%%: fitted to two thirds of the rows, %d random splits", 100 * s->mape,
          100 * s->median_error, 100 * s->p90_error, s->splits);
}

static void print_bias(const char *name, const iso_score_bias *b, int n) {
  iso_str s = {0};
  for (int i = 0; i < n; i++) iso_str_fmt(&s, "%s%lld: %+.1f%%", i ? ", " : "", (long long)b[i].degree, 100 * b[i].mean);
  cli_row(name, "%s", s.p ? s.p : "");
  iso_str_free(&s);
}

static void print_regret(double mean, double worst, int64_t choices, const char *among) {
  if (choices)
    cli_row("regret of choice", "%.1f%% over %lld choices among %s (worst %.1f%%)", 100 * mean, (long long)choices, among, 100 * worst);
  else
    cli_row("regret of choice", "no two rows differ in nothing but %s", among);
}

static void print_worst_head(const char *tail) {
  printf("\nworst rows\n%8s %12s %12s %8s  %s\n", "line", "measured s", "predicted s", "error", tail);
}

static void print_layout_score(const iso_layout_score *s, const iso_layout_rows *r, const char *name) {
  print_errors(name, &s->errors);
  print_regret(s->regret, s->regret_worst, s->cells, "layouts");
  print_bias("bias by tensor", s->tensor, s->n_tensor);
  print_bias("by pipeline", s->pipeline, s->n_pipeline);
  print_bias("by data", s->data, s->n_data);
  print_worst_head("MFU, layers x width, batch, tensor x pipeline x data, micro-batch");
  for (int i = 0; i < s->n_worst; i++) {
    const iso_layout_row *w = &r->row[s->worst[i]];
    printf("%8lld %12.4g %12.4g %+7.1f%%  %.1f%%, %lld x %lld, %lld, %lld x %lld x %lld, %lld\n", (long long)w->line, w->step_s, s->worst_s[i],
           100 * (s->worst_s[i] / w->step_s - 1), 100 * s->worst_mfu[i], (long long)w->job.shape.layers, (long long)w->job.shape.width,
           (long long)w->job.batch, (long long)w->layout.tensor, (long long)w->layout.pipeline, (long long)w->layout.data,
           (long long)w->layout.micro_batch);
  }
}

static void print_serving_score(const iso_calib_score *s, const iso_serve_points *p, const char *name) {
  print_errors(name, &s->tpot);
  print_errors("first token", &s->ttft);
  if (s->tau.groups) cli_row("Kendall's tau", "%.2f, least %.2f, over %lld groups", s->tau.mean, s->tau.min, (long long)s->tau.groups);
  print_regret(s->regret, s->regret_worst, s->choices, "layouts and engines");
  print_bias("bias by tensor", s->tensor, s->n_tensor);
  print_bias("by attention ranks", s->ranks, s->n_ranks);
  print_bias("by devices", s->devices, s->n_devices);
  for (int i = 0; i < s->models; i++)
    cli_row(i ? "" : "by model", "%s: median error %.1f%% over %lld rows", s->model[i].name, 100 * s->model[i].error, (long long)s->model[i].points);
  print_worst_head("model, precision, engine, prompt + output, in flight, tensor x attention ranks");
  for (int i = 0; i < s->n_worst; i++) {
    const iso_serve_point *q = &p->at[s->worst[i]];
    printf("%8lld %12.4g %12.4g %+7.0f%%  %s, %s, %s, %.0f + %.0f, %.0f, %lld x %lld\n", (long long)q->line, q->tpot_s, s->worst_s[i],
           100 * (s->worst_s[i] / q->tpot_s - 1), q->model, q->precision, q->backend, q->prompt, q->output, q->in_flight, (long long)q->layout.tp,
           (long long)q->layout.dp);
  }
}

static void put(json_t *o, const char *key, json_t *v) { (void)json_object_set_new(o, key, v); }

// ---- training layouts -----------------------------------------------------------------------------------------------

static iso_status open_layouts(const cli_args *a, const iso_device *d, iso_layout_machine *m, iso_layout_rows *r, iso_err *err) {
  ISO_TRY(iso_layout_machine_from_device(d, m, err));
  return cli_input(iso_layout_rows_load(cli_text(a, "layouts"), m, r, err), err);
}

static iso_status check_layouts(const cli_args *a, const iso_layout_machine *m, const iso_layout_rows *r, iso_layout_fit_opts *o,
                                iso_layout_check_result *c, iso_err *err) {
  *o = iso_layout_fit_opts_for(r, m);
  iso_status st = iso_layout_check_fit(r, m, o, SPLITS, (uint64_t)cli_int(a, "seed"), c, err);
  if (st != ISO_OK) iso_err_prefix(err, st, "%s", cli_text(a, "layouts"));
  return cli_input(st, err);
}

static const char *fitted(const iso_layout_fit_opts *o, char buf[40]) {
  (void)snprintf(buf, 40, o->n_free ? "%d numbers fitted" : "two numbers fitted", o->n_free);
  return buf;
}

static void print_stack(const iso_layout_check_result *c, const iso_layout_fit_opts *o) {
  const iso_layout_stack *s = &c->stack;
  const double *is = c->all.cal.v, *was = o->base.v;
  iso_layout_stack_prior p = iso_layout_stack_priors();
  cli_row("", "too few rows for more: they move all that the software is good or bad at");
  cli_row("arithmetic", "%+.2f +- %.2f: products at %.0f%% of the peak, %.0f%% without these rows", s->z[ISO_LAYOUT_ARITHMETIC],
          s->sd[ISO_LAYOUT_ARITHMETIC], 100 * is[ISO_LAYOUT_CAL_gemm_eff], 100 * was[ISO_LAYOUT_CAL_gemm_eff]);
  cli_row("communication", "%+.2f +- %.2f: links between nodes at %.0f%% of their rate, %.0f%% without", s->z[ISO_LAYOUT_COMMUNICATION],
          s->sd[ISO_LAYOUT_COMMUNICATION], 100 * is[ISO_LAYOUT_CAL_inter_eff], 100 * was[ISO_LAYOUT_CAL_inter_eff]);
  cli_row("difference", "%.0f%% from the rows, the rest from published stacks: %.2f apart, on common shifts of %.2f", 100 * iso_layout_stack_known(s),
          p.apart_sd, p.common_sd);
}

static void print_layout_check(const cli_args *a, const iso_device *d, const iso_layout_check_result *c, const iso_layout_rows *r,
                               const iso_layout_fit_opts *o) {
  char what[40];
  cli_row("device", "%s", d->spec.name);
  cli_row("layouts", "%lld rows of %s, %s", (long long)r->n, hw_base_name(cli_text(a, "layouts")), fitted(o, what));
  if (!o->n_free) print_stack(c, o);
  if (r->recompute_inferred)
    cli_row("", "recomputation: %s, since memory %s", iso_layout_recompute_name(r->recompute),
            r->recompute == ISO_LAYOUT_KEEP ? "holds every row without" : "does not hold every row without");
  if (c->held.splits) print_splits("held-out third", &c->held);
  const char *left = c->out.n_sizes > 1 ? "sizes left out" : "thirds left out";
  print_layout_score(&c->out, r, o->n_free ? left : r->n > 1 ? "each left out" : "its own fit");
}

iso_status hw_fit_layouts(const cli_args *a, iso_device *d, json_t *out, iso_err *err) {
  iso_layout_machine m;
  iso_layout_rows r = {0};
  iso_layout_fit_opts o;
  iso_layout_check_result *c = calloc(1, sizeof *c);
  iso_status st = ISO_OK;
  char what[40];
  if (!c) return iso_fail(err, ISO_ENOMEM, "hw fit: no memory");
  ISO_TRYG(open_layouts(a, d, &m, &r, err));
  ISO_TRYG(check_layouts(a, &m, &r, &o, c, err));
  (void)snprintf(c->all.cal.source, sizeof c->all.cal.source, "%s to %lld steps of %.40s", fitted(&o, what), (long long)r.n,
                 hw_base_name(cli_text(a, "layouts")));
  iso_device_set_cal(d, ISO_DEVICE_CAL_layout, iso_layout_cal_json(&c->all.cal));
  if (out) {
    json_t *j = iso_layout_check_json(c, &r, &o);
    put(j, "source", json_string(hw_base_name(cli_text(a, "layouts"))));
    put(out, "layouts", j);
  } else
    print_layout_check(a, d, c, &r, &o);
done:
  iso_layout_rows_close(&r);
  free(c);
  return st;
}

static iso_status saved_layouts(const cli_args *a, const iso_device *d, const iso_layout_machine *m, const iso_layout_rows *r, json_t *out,
                                iso_err *err) {
  iso_layout_cal cal;
  ISO_TRY(iso_layout_cal_of_device(d, &cal, err));
  iso_layout_score *s = calloc(1, sizeof *s);
  if (!s) return iso_fail(err, ISO_ENOMEM, "hw test: no memory");
  iso_status st = cli_input(iso_layout_score_rows(r, m, &cal, s, err), err);
  if (st == ISO_OK && out) {
    put(out, "calibrated_on", json_string(cal.source));
    put(out, "calibration", iso_layout_cal_json(&cal));
    put(out, "predicted", iso_layout_score_json(s, r));
  } else if (st == ISO_OK) {
    cli_row("device", "%s", d->spec.name);
    cli_row("layouts", "%s", hw_base_name(cli_text(a, "layouts")));
    cli_row("calibrated on", "%s (saved)", cal.source);
    print_layout_score(s, r, "predicted");
  }
  free(s);
  return st;
}

static iso_status test_layouts(const cli_args *a, const iso_device *d, bool saved, json_t *out, iso_err *err) {
  iso_layout_machine m;
  iso_layout_rows r = {0};
  iso_layout_fit_opts o;
  iso_layout_check_result *c = calloc(1, sizeof *c);
  iso_status st = ISO_OK;
  if (!c) return iso_fail(err, ISO_ENOMEM, "hw test: no memory");
  ISO_TRYG(open_layouts(a, d, &m, &r, err));
  if (saved) {
    st = saved_layouts(a, d, &m, &r, out, err);
    goto done;
  }
  ISO_TRYG(check_layouts(a, &m, &r, &o, c, err));
  if (out) {
    put(out, "calibrated_on", json_string(o.n_free ? "random two thirds of the rows" : "the other rows"));
    put(out, "check", iso_layout_check_json(c, &r, &o));
  } else
    print_layout_check(a, d, c, &r, &o);
done:
  iso_layout_rows_close(&r);
  free(c);
  return st;
}

// ---- serving --------------------------------------------------------------------------------------------------------

static iso_status check_serving(const cli_args *a, const iso_device *d, const iso_serve_points *p, iso_calib_system *c, iso_err *err) {
  iso_status st = iso_calib_check_system(p, d->spec.name, SPLITS, (uint64_t)cli_int(a, "seed"), c, err);
  if (st != ISO_OK) iso_err_prefix(err, st, "%s", cli_text(a, "serving"));
  return cli_input(st, err);
}

static void print_serving_check(const cli_args *a, const iso_device *d, const iso_calib_system *c, const iso_serve_points *p) {
  cli_row("device", "%s", d->spec.name);
  cli_row("serving", "%lld usable rows of %lld of %s, %lld of them on %s", (long long)p->used, (long long)p->n, hw_base_name(cli_text(a, "serving")),
          (long long)c->out.tpot.n, d->spec.name);
  for (int s = 1; s < ISO_POINT_SKIPS; s++)
    if (p->skipped[s]) cli_row("", "%lld rows not used: %s", (long long)p->skipped[s], iso_point_skip_name((iso_point_skip)s));
  print_splits("held-out third", &c->tpot);
  print_splits("first token", &c->ttft);
  print_serving_score(&c->out, p, c->by_model ? "models left out" : "thirds left out");
}

iso_status hw_fit_serving(const cli_args *a, iso_device *d, json_t *out, iso_err *err) {
  iso_serve_points p = {0};
  iso_calib_system *c = calloc(1, sizeof *c);
  iso_status st = ISO_OK;
  if (!c) return iso_fail(err, ISO_ENOMEM, "hw fit: no memory");
  ISO_TRYG(cli_input(iso_serve_points_load(cli_text(a, "serving"), &d->spec, &p, err), err));
  ISO_TRYG(check_serving(a, d, &p, c, err));
  (void)snprintf(c->all.source, sizeof c->all.source, "fitted to %lld points of %.40s", (long long)c->all.points,
                 hw_base_name(cli_text(a, "serving")));
  iso_device_set_cal(d, ISO_DEVICE_CAL_serving, iso_calib_json(&c->all));
  if (out) {
    json_t *j = iso_calib_system_json(c, &p);
    put(j, "source", json_string(hw_base_name(cli_text(a, "serving"))));
    put(out, "serving", j);
  } else
    print_serving_check(a, d, c, &p);
done:
  iso_serve_points_close(&p);
  free(c);
  return st;
}

static iso_status saved_serving(const cli_args *a, const iso_device *d, const iso_serve_points *p, json_t *out, iso_err *err) {
  iso_calib *c = calloc(1, sizeof *c);
  iso_calib_score *s = calloc(1, sizeof *s);
  iso_status st = c && s ? iso_calib_of_device(d, c, err) : iso_fail(err, ISO_ENOMEM, "hw test: no memory");
  if (st == ISO_OK) st = cli_input(iso_calib_score_points(p, d->spec.name, c, s, err), err);
  if (st == ISO_OK && out) {
    put(out, "calibrated_on", json_string(c->source));
    put(out, "predicted", iso_calib_score_json(s, p));
  } else if (st == ISO_OK) {
    cli_row("device", "%s", d->spec.name);
    cli_row("serving", "%s", hw_base_name(cli_text(a, "serving")));
    cli_row("calibrated on", "%s (saved)", c->source);
    print_serving_score(s, p, "time per token");
  }
  free(c);
  free(s);
  return st;
}

static iso_status test_serving(const cli_args *a, const iso_device *d, bool saved, json_t *out, iso_err *err) {
  iso_serve_points p = {0};
  iso_calib_system *c = calloc(1, sizeof *c);
  iso_status st = ISO_OK;
  if (!c) return iso_fail(err, ISO_ENOMEM, "hw test: no memory");
  ISO_TRYG(cli_input(iso_serve_points_load(cli_text(a, "serving"), &d->spec, &p, err), err));
  if (saved) {
    st = saved_serving(a, d, &p, out, err);
    goto done;
  }
  ISO_TRYG(check_serving(a, d, &p, c, err));
  if (out) {
    put(out, "calibrated_on", json_string("random two thirds of the rows"));
    put(out, "check", iso_calib_system_json(c, &p));
  } else
    print_serving_check(a, d, c, &p);
done:
  iso_serve_points_close(&p);
  free(c);
  return st;
}

// The figures that every hw test has, by the names that tables give them: of all rows, or of the thirds held out.
static void put_summary(json_t *out) {
  static const char *const KEY[] = {"rows", "mape", "median_error", "p90_error"};
  const json_t *saved = json_object_get(out, "predicted"), *check = json_object_get(out, "check");
  const json_t *from = saved ? saved : json_object_get(check, "held_out_third");
  for (size_t i = 0; i < ISO_COUNT(KEY); i++) {
    json_t *v = json_object_get(from, KEY[i]);
    if (v) (void)json_object_set(out, KEY[i], v);
  }
  if (check)
    (void)json_object_set(out, "rows",
                          json_object_get(check, "rows_of_device") ? json_object_get(check, "rows_of_device") : json_object_get(check, "rows"));
  (void)json_object_set(out, "worst", json_object_get(saved ? saved : json_object_get(check, "left_out"), "worst"));
}

// ---- hw test --------------------------------------------------------------------------------------------------------

iso_status hw_test_runs(const cli_args *a, iso_err *err) {
  bool layouts = cli_given(a, "layouts");
  iso_device_cal which = layouts ? ISO_DEVICE_CAL_layout : ISO_DEVICE_CAL_serving;
  const char *path = cli_text(a, layouts ? "layouts" : "serving");
  iso_device *d = NULL;
  ISO_TRY(iso_device_open(a->pos[1], &d, err));
  // A saved calibration is graded on rows that it may not have seen; --seed asks for splits instead.
  bool saved = d->cal[which] && !cli_given(a, "seed");
  iso_status st = ISO_OK;
  json_t *out =
      a->json ? json_pack("{s:s, s:s, s:s}", "name", d->spec.name, "kind", layouts ? "layouts" : "serving", "source", hw_base_name(path)) : NULL;
  if (cli_flag(a, "saved") && !saved) {
    st = iso_fail(err, ISO_EINVAL, "%s has no saved calibration of %s", d->spec.name, layouts ? "layouts" : "serving");
    if (cli_given(a, "seed"))
      st = iso_fail(err, ISO_EINVAL, "--saved takes the saved calibration, --seed draws splits: one of them");
    else
      iso_hint(err, st, "isoflop hw fit %s --%s FILE makes one", d->spec.name, layouts ? "layouts" : "serving");
  }
  if (st == ISO_OK) st = layouts ? test_layouts(a, d, saved, out, err) : test_serving(a, d, saved, out, err);
  if (st == ISO_OK && out) {
    put_summary(out);
    (void)cli_put_json(out);
  } else
    json_decref(out);
  iso_device_close(d);
  return st;
}

// ---- hw show --------------------------------------------------------------------------------------------------------

iso_status hw_show_cals(const iso_device *d, iso_err *err) {
  if (d->cal[ISO_DEVICE_CAL_layout]) {
    iso_layout_cal c;
    ISO_TRY(iso_layout_cal_of_device(d, &c, err));
    cli_row("training layouts", "%s; spread %.1f%% on rows left out", c.source, 100 * expm1(c.resid_sd));
    for (int i = 0; i < ISO_LAYOUT_CALS; i++) cli_row("", "%-12s %.4g", iso_layout_cal_name(i), c.v[i]);
  }
  if (d->cal[ISO_DEVICE_CAL_serving]) {
    iso_calib *c = calloc(1, sizeof *c);
    iso_status st = c ? iso_calib_of_device(d, c, err) : iso_fail(err, ISO_ENOMEM, "hw show: no memory");
    if (st == ISO_OK) {
      cli_row("serving", "%s; 90%% of measured times are %.2f to %.2f of those predicted for rows left out", c->source, c->lo, c->hi);
      for (int i = 0; i < c->groups; i++)
        if (strcmp(c->group[i].system, d->spec.name) == 0)
          cli_row("", "%s, %s: factor %.2f from %lld points", c->group[i].backend, c->group[i].precision, c->group[i].scale,
                  (long long)c->group[i].points);
    }
    free(c);
    return st;
  }
  return ISO_OK;
}
