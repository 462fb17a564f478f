// The layout plan as JSON: best layouts, front, what binds, and what more of it would buy.
#include <math.h>
#include <string.h>

#include "plan/layout/layout_search.h"
#include "plan/layout/layout_sim.h"

json_t *iso_layout_machine_json(const iso_layout_machine *m) {
  const struct {
    const char *key;
    double v;
  } num[] = {{"peak_flop_per_s", m->peak_flop_s},
             {"peak_fp8_flop_per_s", m->peak8_flop_s > 0 ? m->peak8_flop_s : NAN},
             {"memory_bytes", m->mem_b},
             {"memory_bytes_per_s", m->mem_b_s},
             {"intra_link_bytes_per_s", m->intra_b_s},
             {"intra_link_latency_s", m->intra_lat_s},
             {"inter_link_bytes_per_s", m->inter_b_s},
             {"inter_link_latency_s", m->inter_lat_s},
             {"usd_per_hour", m->usd_h},
             {"idle_w", m->idle_w},
             {"max_w", m->max_w},
             {"pue", m->pue}};
  json_t *o = json_object();
  json_object_set_new(o, "name", json_string(m->name));
  json_object_set_new(o, "devices_per_node", json_integer((json_int_t)m->per_node));
  for (size_t i = 0; i < ISO_COUNT(num); i++) json_object_set_new(o, num[i].key, iso_json_num(num[i].v));
  return o;
}

// The schedule replayed beside the closed form of its bubble; only when the replay is small.
static json_t *schedule_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l,
                             const iso_layout_step *s) {
  iso_layout_trace t;
  if (l->pipeline < 2 || l->pipeline * l->chunks * s->micro_batches > 1 << 18) return json_null();
  if (iso_layout_simulate_step(j, m, c, l, &t, NULL) != ISO_OK) return json_null();
  double closed = s->compute_s + s->launch_s + s->head_s + s->tensor_s + s->context_s + s->expert_s + s->bubble_s + s->p2p_s;
  double sim = iso_layout_sched_splits(l->schedule) ? t.span_s : t.makespan_s;
  json_t *o = json_pack("{s:o, s:o, s:o, s:o}", "simulated_s", iso_json_num(sim), "closed_form_s", iso_json_num(closed), "ratio",
                        iso_json_num(sim / closed), "in_flight", iso_json_num(t.in_flight));
  json_object_set_new(o, "interval", json_string("none: both are the model's, one checks the other"));
  iso_layout_trace_close(&t);
  return o;
}

iso_status iso_layout_cost_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l, bool must_fit,
                                json_t **out, iso_err *err) {
  iso_layout_step s;
  iso_layout_mem k;
  iso_err why = {0};
  *out = NULL;
  ISO_TRY(iso_layout_step_cost(j, m, c, l, &s, err));
  iso_layout_memory(j, l, &k);
  iso_status fits = iso_layout_fits(m, &k, &why);
  if (fits != ISO_OK && must_fit) {
    if (err) *err = why;
    return fits;
  }
  json_t *o = json_object();
  json_object_set_new(o, "layout", iso_layout_json(l));
  json_t *stages = json_array();
  for (int64_t i = 0; i < l->pipeline * l->chunks; i++)
    json_array_append_new(stages, json_integer((json_int_t)iso_layout_stage_blocks(&j->shape, l, i)));
  json_object_set_new(o, "stage_blocks", stages);
  json_object_set_new(o, "memory", iso_layout_mem_json(&k));
  json_object_set_new(o, "fits", json_boolean(fits == ISO_OK));
  if (fits != ISO_OK) json_object_set_new(o, "why_not", json_string(why.msg));
  json_object_set_new(o, "step", iso_layout_step_json(&s));
  json_t *rates = iso_layout_rates_json(j, m, l, s.step_s);
  iso_layout_ranges(rates, &s);
  json_object_set_new(o, "rates", rates);
  json_object_set_new(o, "schedule_check", schedule_json(j, m, c, l, &s));
  *out = o;
  return ISO_OK;
}

static iso_status front_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout_search *s, json_t *to,
                             iso_err *err) {
  iso_layout_step t;
  for (int64_t i = 0; i < s->n; i++) {
    const iso_layout_point *p = &s->front[i];
    ISO_TRY(iso_layout_step_cost(j, m, c, &p->layout, &t, err));
    json_t *o = iso_layout_json(&p->layout);
    const struct {
      const char *key;
      double v;
    } num[] = {{"step_s", t.step_s}, {"memory_bytes", p->mem_b}, {"usd", t.usd}, {"energy_j", t.joule}, {"mfu", t.mfu},
               {"hfu", t.hfu},       {"tok_per_s", t.tok_s}};
    for (size_t k = 0; k < ISO_COUNT(num); k++) json_object_set_new(o, num[k].key, iso_json_num(num[k].v));
    iso_layout_ranges(o, &t);
    json_object_set_new(o, "bound", json_string(t.bound));
    json_array_append_new(to, o);
  }
  return ISO_OK;
}

// What is reported of a step that takes so long: each paper counts its own FLOPs.
json_t *iso_layout_rates_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout *l, double step_s) {
  double batch = (double)j->batch, s = (double)iso_layout_devices(l) * step_s, peak = s * m->peak_flop_s;
  double causal = iso_layout_model_flop(&j->shape, batch, ISO_LAYOUT_ATTN_CAUSAL);
  double full = iso_layout_model_flop(&j->shape, batch, ISO_LAYOUT_ATTN_FULL), six = iso_layout_model_flop(&j->shape, batch, ISO_LAYOUT_ATTN_6N);
  double done = iso_layout_hardware_flop(&j->shape, batch, l->recompute, ISO_LAYOUT_ATTN_FULL);
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "step_s", iso_json_num(step_s), "tok_per_s",
                   iso_json_num(batch * (double)j->shape.seq / step_s), "mfu", iso_json_num(causal / peak), "mfu_full_attention",
                   iso_json_num(full / peak), "mfu_6n", iso_json_num(six / peak), "hfu_full_attention", iso_json_num(done / peak),
                   "model_tflop_per_s_per_device", iso_json_num(full / s / 1e12), "hardware_tflop_per_s_per_device", iso_json_num(done / s / 1e12),
                   "conventions",
                   "mfu: causal pairs of attention; full_attention: every pair (PaLM, Megatron-LM, MegaScale); 6n: six FLOPs a parameter and token, "
                   "embeddings with them; hfu and hardware: every pair and what is computed again (Megatron-LM's TFLOP/s); of the dense 16-bit peak");
}

json_t *iso_layout_run_json(const iso_layout_job *j, const iso_layout_step *s, double tokens) {
  static const char *const KEYS[] = {"wall_s", "usd", "energy_j", NULL};
  double steps = ceil(tokens / ((double)j->batch * (double)j->shape.seq));
  json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o}", "tokens", iso_json_num(tokens), "steps", iso_json_num(steps), "wall_s",
                        iso_json_num(steps * s->step_s), "usd", iso_json_num(steps * s->usd), "energy_j", iso_json_num(steps * s->joule));
  iso_json_scale(o, KEYS, s->lo_s / s->step_s, s->hi_s / s->step_s, "the calibration tells no residuals");
  return o;
}

// What one more unit buys: memory by the fastest layout with 10% more of it, devices by the fastest with the number of devices before.
// Differences have the interval of the step.
static void shadow_ranges(json_t *to, const iso_layout_step *t) {
  static const char *const KEYS[] = {"step_s_per_gib", "step_s_with_10_percent_more_memory", "step_s_per_device", "step_s_with_half_the_devices",
                                     NULL};
  iso_json_scale(to, KEYS, t->lo_s / t->step_s, t->hi_s / t->step_s, "the calibration tells no residuals");
}

static iso_status shadow(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout_search_opts *o,
                         const iso_layout_search *s, json_t *to, iso_err *err) {
  double best = s->best[ISO_LAYOUT_FASTEST].step_s, gib = 0.1 * m->mem_b / 0x1p30, saved = fmax(0, best - s->roomier_step_s);
  int64_t n = iso_layout_devices(&s->best[ISO_LAYOUT_FASTEST].layout);
  json_object_set_new(to, "step_s_per_gib", iso_json_num(saved / gib));
  json_object_set_new(to, "step_s_with_10_percent_more_memory", iso_json_num(fmin(best, s->roomier_step_s)));
  json_object_set_new(to, "memory_binds", json_boolean(saved > 0.005 * best));
  iso_layout_search_opts half = *o;
  iso_layout_search few;
  iso_err why;
  half.devices_min = 1;
  half.devices_max = n / 2;
  half.adapt = 0;
  half.eps = 0.5;  // only the fastest matters
  json_object_set_new(to, "step_s_per_device", json_null());
  if (half.devices_max < 1) return ISO_OK;
  iso_status st = iso_layout_search_run(j, m, c, &half, &few, &why);
  if (st == ISO_ENOMEM || st == ISO_EINVAL) return ISO_OK;  // half as many do not do
  if (st != ISO_OK) {
    if (err) *err = why;
    return st;
  }
  int64_t k = iso_layout_devices(&few.best[ISO_LAYOUT_FASTEST].layout);
  json_object_set_new(to, "step_s_per_device", iso_json_num((few.best[ISO_LAYOUT_FASTEST].step_s - best) / (double)(n - k)));
  json_object_set_new(to, "step_s_with_half_the_devices", iso_json_num(few.best[ISO_LAYOUT_FASTEST].step_s));
  iso_layout_search_close(&few);
  return ISO_OK;
}

iso_status iso_layout_plan_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout_search_opts *o,
                                double tokens, json_t **out, iso_err *err) {
  static const char *const GOAL[] = {"fastest", "smallest", "cheapest", "coolest"};
  iso_layout_search s;
  iso_layout_step t;
  *out = NULL;
  if (!(tokens >= 0 && tokens < 1e18)) return iso_fail(err, ISO_EINVAL, "layout plan: %g tokens, expected 0 to 1e18", tokens);
  ISO_TRY(iso_layout_search_run(j, m, c, o, &s, err));
  json_t *plan = json_object(), *front = json_array(), *price = json_object(), *one = NULL;
  json_object_set_new(plan, "model", iso_layout_shape_json(&j->shape));
  json_object_set_new(plan, "batch_sequences", json_integer((json_int_t)j->batch));
  json_object_set_new(plan, "batch_tokens", json_integer((json_int_t)(j->batch * j->shape.seq)));
  json_object_set_new(plan, "numbers", iso_layout_numbers_json(j));
  json_object_set_new(plan, "machine", iso_layout_machine_json(m));
  json_object_set_new(plan, "calibration", iso_layout_cal_json(c));
  json_object_set_new(plan, "front", front);
  json_object_set_new(plan, "shadow", price);
  iso_status st = ISO_OK;
  for (int g = 0; g < ISO_LAYOUT_GOALS; g++) {
    ISO_TRYG(iso_layout_cost_json(j, m, c, &s.best[g].layout, true, &one, err));
    json_object_set_new(plan, GOAL[g], one);
  }
  const iso_layout *best = &s.best[ISO_LAYOUT_FASTEST].layout;
  ISO_TRYG(iso_layout_step_cost(j, m, c, best, &t, err));
  json_object_set_new(plan, "binding", json_string(t.bound));
  if (tokens > 0) json_object_set_new(plan, "run", iso_layout_run_json(j, &t, tokens));
  ISO_TRYG(front_json(j, m, c, &s, front, err));
  ISO_TRYG(shadow(j, m, c, o, &s, price, err));
  shadow_ranges(price, &t);
  json_object_set_new(plan, "search",
                      json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:I}", "tried", (json_int_t)s.tried, "too_big", (json_int_t)s.too_big, "feasible",
                                (json_int_t)s.feasible, "front", (json_int_t)s.n, "front_resolution", iso_json_num(o->eps), "building_blocks",
                                (json_int_t)s.adapted, "building_blocks_left", (json_int_t)s.adapt_left));
done:
  iso_layout_search_close(&s);
  if (st != ISO_OK) {
    json_decref(plan);
    return st;
  }
  *out = plan;
  return ISO_OK;
}
