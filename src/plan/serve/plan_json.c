// Assembles serving plans and writes them as JSON.
#include "plan/serve/plan_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLICA_TIMES_MAX = 8 };  // of the fewest devices that hold the model

iso_infer_req iso_infer_req_default(void) {
  return (iso_infer_req){.mem_share = 0.9,
                         .slo_itl_s = INFINITY,
                         .eps = 0.1,
                         .flop_eff = NAN,
                         .mem_eff = NAN,
                         .samples = 1,
                         .store = {.used = NAN, .fresh = NAN, .kept = NAN}};
}

iso_serve_req iso_serve_req_default(void) { return (iso_serve_req){.fleet = iso_fleet_opts_default()}; }

#define NO_RATES "rates at peak, or the user's own, say nothing of their error"

json_t *iso_serve_interval_json(double mid, double lo, double hi, double floor_s, const char *bound) {
  json_t *o = iso_json_range(mid, fmax(mid * lo, floor_s), mid * hi, NO_RATES);
  if (floor_s > 0) json_object_set_new(o, "floor", json_real(floor_s));
  if (bound) json_object_set_new(o, "bound", json_string(bound));
  return o;
}

// An engine that no run of the calibration used would change nothing.
static iso_status check_backend(const iso_calib *c, const char *backend, const char *device, iso_err *err) {
  char known[160] = "";
  if (!backend) return ISO_OK;
  for (int i = 0; i < c->groups; i++) {
    size_t n = strlen(known);
    if (strcmp(c->group[i].backend, backend) == 0) return ISO_OK;
    if (strstr(known, c->group[i].backend) || n + 20 > sizeof known) continue;
    (void)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", c->group[i].backend);
  }
  iso_fail(err, ISO_EINVAL, "backend \"%s\": the calibration of %s (%s) knows %s", backend, device, c->source,
           known[0] ? known : "no engine by name");
  return iso_hint(err, ISO_EINVAL, "isoflop hw fit %s --serving FILE learns engines from measured points", device);
}

iso_status iso_serve_rates_of(const iso_calib *calib, const iso_device *measured, const char *backend, const iso_serve_device *d, const char *format,
                              bool ideal, iso_serve_rates *r, iso_err *err) {
  *r = (iso_serve_rates){.coef = iso_serve_coef_ideal(), .lo = 1, .hi = NAN, .ttft_lo = 1, .ttft_hi = NAN};
  snprintf(r->source, sizeof r->source, "model: peak rates");
  if (ideal) return ISO_OK;
  iso_calib built_in = iso_calib_default(), own = built_in;
  if (!calib && measured) ISO_TRY(iso_calib_of_device(measured, &own, err));
  const iso_calib *c = calib ? calib : &own;
  ISO_TRY(check_backend(c, backend, d->name, err));
  r->coef = iso_calib_coef(c, d->name, backend ? backend : "", format);
  r->lo = isnan(c->lo) ? built_in.lo : c->lo;
  r->hi = isnan(c->hi) ? built_in.hi : c->hi;
  // A prompt alone has no queue: its time is a step's, and so is its interval.
  r->ttft_lo = r->lo;
  r->ttft_hi = r->hi;
  snprintf(r->source, sizeof r->source, "%s", c->source);
  return ISO_OK;
}

// Puts the tables of a device behind a setup. The factor of an engine belongs to the roofline that they replace.
// A calibration of whole runs on the device itself says more than tables of its operators.
static void use_tables(const iso_device *measured, iso_serve_ops *ops, iso_serve_setup *u, iso_serve_coef *c) {
  if (!measured || measured->cal[ISO_DEVICE_CAL_serving]) return;
  iso_serve_ops_of(u, measured, ops);
  if (!ops->products) return;
  u->ops = ops;
  c->scale = 1;
}

// The setup asked for, or the smallest that holds one sequence.
static iso_status choose_setup(const iso_infer_req *q, const iso_serve_format *f, iso_serve_setup *u, iso_err *err) {
  int64_t from = q->devices > 0 ? q->devices : 1, to = q->devices > 0 ? q->devices : q->device->node;
  iso_status st = ISO_ENOMEM;
  for (int64_t n = from; n <= to && st == ISO_ENOMEM; n *= 2) {
    iso_serve_room room;
    if (q->devices == 0 && n > 1 && q->shape->heads % n) break;
    ISO_TRY(iso_serve_setup_init(u, q->shape, q->device, f, iso_serve_layout_tp(q->shape, n), err));
    st = iso_serve_capacity(u, q->prompt + q->output, q->mem_share, &room, err);
    if (st == ISO_OK && room.seqs < fmax(1, q->batch))
      st = iso_fail(err, ISO_ENOMEM, "%s in %s on %lld x %s: %g sequences of %g tokens take %.1f GB of a device, %.1f GB are free", q->shape->name,
                    f->name, (long long)n, q->device->name, fmax(1, q->batch), q->prompt + q->output, fmax(1, q->batch) * room.kv_dev_b_per_seq / 1e9,
                    room.free_b / 1e9);
  }
  return st;
}

// A setup whose weights need not fit, the ways to read them as JSON, and a batch where none was asked for.
static iso_status setup_on_demand(iso_infer_req *q, const iso_serve_format *f, iso_serve_setup *u, json_t **ways, iso_err *err) {
  iso_serve_reads at[ISO_SERVE_READS_MAX];
  int n, best;
  ISO_TRY(iso_serve_setup_init(u, q->shape, q->device, f, iso_serve_layout_tp(q->shape, q->devices > 0 ? q->devices : 1), err));
  ISO_TRY(iso_serve_on_demand(u, &q->store, q->prompt + q->output, fmax(1, q->batch), q->mem_share, at, &n, &best, err));
  if (at[best].read_b > 0) q->batch = fmax(1, q->batch);
  *ways = iso_serve_reads_json(at, n, best);
  return ISO_OK;
}

// The rates with every time at one end of its interval.
static iso_serve_coef at_end(const iso_serve_rates *r, bool high) {
  iso_serve_coef c = r->coef;
  c.scale *= high ? r->hi : r->lo;
  return c;
}

static json_t *energy_at(const iso_infer_req *q, const iso_serve_format *f, const iso_serve_coef *c) {
  iso_energy_point at[ISO_ENERGY_POINTS_MAX];
  int n = 0, best = -1;
  if (iso_serve_energy(q->shape, q->device, f, c, q->prompt, q->output, q->slo_itl_s, q->mem_share, at, &n, &best, NULL) != ISO_OK)
    return json_null();
  json_t *front = json_array(), *choice = json_null();
  for (int i = 0; i < n; i++) {
    if (!at[i].front && i != best) continue;
    json_t *o = json_pack("{s:I, s:o, s:o, s:o, s:o}", "devices", (json_int_t)at[i].devices, "batch", iso_json_num(at[i].batch), "itl_s",
                          iso_json_num(at[i].itl_s), "j_per_tok", iso_json_num(at[i].j_per_tok), "tok_per_s", iso_json_num(at[i].tok_per_s));
    if (i == best) choice = json_copy(o);
    if (at[i].front)
      json_array_append_new(front, o);
    else
      json_decref(o);
  }
  return json_pack("{s:o, s:o, s:s}", "best_under_limit", choice, "front", front, "source", "model: watts by phase x predicted time");
}

static json_t *energy_json(const iso_infer_req *q, const iso_serve_format *f, const iso_serve_rates *r) {
  static const char *const TIMES[] = {"itl_s", "j_per_tok", NULL}, *const RATES[] = {"tok_per_s", NULL}, *const BEST[] = {"batch", NULL};
  json_t *o = energy_at(q, f, &r->coef), *low = NULL, *high = NULL;
  if (isfinite(r->hi)) {
    const iso_serve_coef fast = at_end(r, false), slow = at_end(r, true);
    low = energy_at(q, f, &fast);
    high = energy_at(q, f, &slow);
  }
  iso_json_scale(o, TIMES, r->lo, r->hi, NO_RATES);
  iso_json_scale(o, RATES, 1 / r->hi, 1 / r->lo, NO_RATES);
  iso_json_join(json_object_get(o, "best_under_limit"), json_object_get(low, "best_under_limit"), json_object_get(high, "best_under_limit"), BEST,
                isfinite(r->hi) ? "no batch is within the limit at an end of the times' interval" : NO_RATES);
  json_decref(low);
  json_decref(high);
  return o;
}

// Efficiencies of the user's own in place of a calibration: no interval is known.
static iso_status own_rates(const iso_infer_req *q, iso_serve_rates *r, iso_err *err) {
  if (!(q->flop_eff > 0 && q->flop_eff <= 1 && q->mem_eff > 0 && q->mem_eff <= 1))
    return iso_fail(err, ISO_EINVAL, "plan infer: efficiencies %g and %g, expected more than 0 and at most 1", q->flop_eff, q->mem_eff);
  if (!(q->collective_s >= 0 && q->collective_s < 1))
    return iso_fail(err, ISO_EINVAL, "plan infer: %g s an exchange, expected 0 to 1", q->collective_s);
  *r = (iso_serve_rates){.coef = iso_serve_coef_efficiency(q->flop_eff, q->mem_eff), .lo = 1, .hi = NAN, .ttft_lo = 1, .ttft_hi = NAN};
  r->coef.collective_s = q->collective_s;
  snprintf(r->source, sizeof r->source, "model: %g of peak FLOPs, %g of peak bytes, %g us an exchange", q->flop_eff, q->mem_eff,
           1e6 * q->collective_s);
  return ISO_OK;
}

// Kinetics' count: the cache's reads as the FLOPs that fit beside them at the device's peaks, every parameter as one that a token uses.
static json_t *eflop_json(const iso_infer_req *q, const iso_serve_setup *u) {
  const iso_serve_shape *s = &u->shape;
  if (s->kv_rank > 0 || s->window_layers > 0 || s->linear_layers > 0 || s->top_k > 0) return json_null();
  double per_element = u->device.bf16_flop_s / u->device.mem_b_s * u->format.kv_b, params = u->n.active + (s->tied || s->params > 0 ? 0 : u->n.head);
  iso_eflops e = iso_serve_eflops(params, (double)s->layers, (double)s->heads, (double)s->kv_heads, (double)s->head_dim, q->prompt, q->output,
                                  q->samples, per_element);
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "samples", iso_json_num(q->samples), "params", iso_json_num(params), "flop_per_cached_element",
                   iso_json_num(per_element), "compute", iso_json_num(e.compute), "memory", iso_json_num(e.memory), "memory_share",
                   iso_json_num(e.memory / (e.compute + e.memory)));
}

static json_t *advice_at(const iso_infer_req *q, const iso_serve_setup *u, const iso_serve_coef *c) {
  iso_batch_advice a;
  iso_err e = {0};
  if (iso_serve_advise(u, c, q->prompt, q->output, q->slo_itl_s, q->eps, q->mem_share, &a, &e) != ISO_OK) return json_pack("{s:s}", "none", e.msg);
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "batch", iso_json_num(a.batch), "itl_s", iso_json_num(a.itl_s), "tok_per_s",
                   iso_json_num(a.tok_per_s), "of_peak_throughput", iso_json_num(a.of_peak), "kv_share", iso_json_num(a.kv_share),
                   "replicas_in_memory", iso_json_num(a.replicas), "peak_batch", iso_json_num(a.peak_batch));
}

static json_t *advice_json(const iso_infer_req *q, const iso_serve_setup *u, const iso_serve_rates *r) {
  static const char *const KEYS[] = {"batch", "itl_s", "tok_per_s", "of_peak_throughput", "kv_share", "replicas_in_memory", "peak_batch", NULL};
  json_t *o = advice_at(q, u, &r->coef), *low = NULL, *high = NULL;
  if (isfinite(r->hi)) {
    const iso_serve_coef fast = at_end(r, false), slow = at_end(r, true);
    low = advice_at(q, u, &fast);
    high = advice_at(q, u, &slow);
  }
  iso_json_join(o, low, high, KEYS, isfinite(r->hi) ? "no batch is within the limit at an end of the times' interval" : NO_RATES);
  json_decref(low);
  json_decref(high);
  return o;
}

static iso_status offload_at(const iso_infer_req *q, const iso_serve_setup *u, const iso_serve_coef *c, json_t **out, iso_err *err) {
  iso_offload_rate r;
  ISO_TRY(iso_serve_offload(u, c, q->prompt, q->output, q->host_kv_b, &r, err));
  *out = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "tok_per_s", iso_json_num(r.tok_per_s), "host_tok_per_s", iso_json_num(r.host_tok_per_s),
                   "device_tok_per_s", iso_json_num(r.device_tok_per_s), "stream_s", iso_json_num(r.stream_s), "prefix_memory_efficiency",
                   iso_json_num(r.pme), "cache_overlap", iso_json_num(r.overlap), "bound", r.bound);
  return ISO_OK;
}

static json_t *warnings_json(bool any, const char *text) {
  json_t *o = json_array();
  if (any) json_array_append_new(o, json_string(text));
  return o;
}

static iso_status offload_json(const iso_infer_req *q, const iso_serve_setup *u, const iso_serve_rates *r, json_t **out, iso_err *err) {
  static const char *const KEYS[] = {"tok_per_s", "host_tok_per_s", "device_tok_per_s", "stream_s", NULL};
  json_t *low = NULL, *high = NULL;
  *out = json_null();
  if (!(q->host_kv_b > 0)) return ISO_OK;
  ISO_TRY(offload_at(q, u, &r->coef, out, err));
  if (isfinite(r->hi)) {
    const iso_serve_coef fast = at_end(r, false), slow = at_end(r, true);
    (void)offload_at(q, u, &fast, &low, NULL);
    (void)offload_at(q, u, &slow, &high, NULL);
  }
  iso_json_join(*out, low, high, KEYS, NO_RATES);
  json_decref(low);
  json_decref(high);
  return ISO_OK;
}

static json_t *layout_json(const iso_serve_layout *l) {
  return json_pack("{s:I, s:I, s:I, s:I}", "tp", (json_int_t)l->tp, "attention_dp", (json_int_t)l->dp, "moe_tp", (json_int_t)l->moe_tp, "moe_ep",
                   (json_int_t)l->moe_ep);
}

// The rates of times of which so much is reads of weights, whose rate is given and not predicted.
static iso_serve_rates with_reads(iso_serve_rates r, double of_step, double of_prompt) {
  r.lo += (1 - r.lo) * of_step;
  r.hi += (1 - r.hi) * of_step;
  r.ttft_lo += (1 - r.ttft_lo) * of_prompt;
  r.ttft_hi += (1 - r.ttft_hi) * of_prompt;
  return r;
}

static iso_status infer(iso_infer_req *q, iso_serve_ops *ops, json_t **on_demand, json_t **out, iso_err *err) {
  iso_serve_format f;
  iso_serve_setup u;
  iso_serve_rates r;
  iso_serve_phases p;
  json_t *offload;
  *out = NULL;
  if (!q->shape || !q->device) return iso_fail(err, ISO_EINVAL, "plan infer: a model and a device are needed");
  if (!(q->prompt >= 1 && q->output >= 1 && q->batch >= 0 && q->batch < 1e9))
    return iso_fail(err, ISO_EINVAL, "plan infer: %g prompt and %g output tokens at batch %g, expected at least 1 token each", q->prompt, q->output,
                    q->batch);
  const char *format = q->format ? q->format : "bf16";
  ISO_TRY(iso_serve_shape_check(q->shape, err));
  ISO_TRY(iso_serve_device_check(q->device, err));
  bool own = !isnan(q->flop_eff) || !isnan(q->mem_eff);
  if (!(q->samples >= 1 && q->samples < 1e9)) return iso_fail(err, ISO_EINVAL, "plan infer: %g samples, expected at least 1", q->samples);
  ISO_TRY(iso_serve_format_get(format, q->shape, &f, err));
  if (q->weight_b > 0) f.weight_b = f.expert_b = f.head_b = q->weight_b;
  if (q->kv_b > 0) f.kv_b = q->kv_b;
  if (q->store.rate_b_s > 0)
    ISO_TRY(setup_on_demand(q, &f, &u, on_demand, err));
  else
    ISO_TRY(choose_setup(q, &f, &u, err));
  if (own)
    ISO_TRY(own_rates(q, &r, err));
  else
    ISO_TRY(iso_serve_rates_of(q->calib, q->measured, q->backend, q->device, format, q->ideal, &r, err));
  if (!q->ideal && !own) use_tables(q->measured, ops, &u, &r.coef);
  ISO_TRY(iso_serve_phases_of(&u, &r.coef, q->prompt, q->output, q->batch, q->mem_share, &p, err));
  ISO_TRY(offload_json(q, &u, &r, &offload, err));
  double batch = q->batch > 0 ? q->batch : p.room.seqs, usd_s = q->device->usd_h * (double)u.devices / 3600;
  iso_serve_step more = {.seqs = batch + 1, .ctx = q->prompt + q->output / 2};
  iso_serve_step all = {.prefill_tok = batch * q->prompt, .prefill_ctx = q->prompt / 2};
  iso_serve_work together = iso_serve_work_of(&u, &all);
  double prefill = iso_serve_time_s(&together, &r.coef);
  iso_serve_step step = {.seqs = batch, .ctx = q->prompt + q->output / 2};
  const iso_serve_rates t = with_reads(r, iso_serve_work_of(&u, &step).store_s / p.itl_s, u.fetch.prompt_s / p.ttft_s);
  const iso_serve_rates b = with_reads(r, 0, together.store_s / prefill);
  double marginal = iso_serve_step_s(&u, &r.coef, &more) - p.itl_s;
  json_t *o =
      json_pack("{s:o, s:o, s:I, s:o, s:s, s:o, s:o, s:o, s:s}", "model", iso_serve_shape_json(q->shape), "device", iso_serve_device_json(q->device),
                "devices", (json_int_t)u.devices, "layout", layout_json(&u.layout), "format", format, "prompt_tok", iso_json_num(q->prompt),
                "output_tok", iso_json_num(q->output), "batch", iso_json_num(batch), "calibration", r.source);
  json_object_set_new(o, "memory",
                      json_pack("{s:o, s:o, s:o, s:o, s:o}", "weight_b_per_device", iso_json_num(p.room.weight_b), "free_b_per_device",
                                iso_json_num(p.room.free_b), "kv_b_per_seq", iso_json_num(p.room.kv_b_per_seq), "users", iso_json_num(p.room.seqs),
                                "users_per_gb", iso_json_num(1e9 / p.room.kv_dev_b_per_seq * (double)u.layout.dp)));
  json_object_set_new(o, "ttft_s", iso_serve_interval_json(p.ttft_s, t.ttft_lo, t.ttft_hi, p.ttft_floor_s, p.ttft_bound));
  json_object_set_new(o, "batch_prefill_s",
                      iso_serve_interval_json(prefill, b.ttft_lo, b.ttft_hi, iso_serve_floor_s(&together), iso_serve_bound(&together, &r.coef)));
  json_object_set_new(o, "itl_s", iso_serve_interval_json(p.itl_s, t.lo, t.hi, p.itl_floor_s, p.itl_bound));
  json_t *swap = iso_json_range(p.switch_s, p.switch_s, NAN, "the host link at its peak rate, which no calibration measures");
  json_object_set_new(swap, "source", json_string("model: cache out and in over the host link"));
  json_object_set_new(o, "switch_s", swap);
  json_object_set_new(o, "request_s", iso_serve_interval_json(p.output_s, t.lo, t.hi, p.ttft_floor_s + q->output * p.itl_floor_s, NULL));
  json_object_set_new(o, "tok_per_s", iso_serve_interval_json(p.tok_per_s, 1 / t.hi, 1 / t.lo, 0, NULL));
  json_object_set_new(o, "source", iso_serve_ops_json(u.ops));
  json_object_set_new(o, "itl_s_per_extra_sequence", iso_serve_interval_json(marginal, r.lo, r.hi, 0, NULL));
  json_object_set_new(o, "intervals", json_string(isfinite(r.hi) ? ISO_SERVE_INTERVALS : "none: " NO_RATES));
  json_object_set_new(
      o, "energy",
      json_pack("{s:o, s:o, s:o}", "prefill_j", iso_serve_interval_json(p.prefill_j, t.ttft_lo, t.ttft_hi, 0, NULL), "decode_j_per_tok",
                iso_serve_interval_json(p.decode_j_per_tok, t.lo, t.hi, 0, NULL), "choices", energy_json(q, &f, &r)));
  // Joules and dollars are a time's: so are their intervals.
  json_object_set_new(o, "usd_per_mtok_prompt", iso_serve_interval_json(usd_s * p.ttft_s / q->prompt * 1e6, t.ttft_lo, t.ttft_hi, 0, NULL));
  json_object_set_new(o, "usd_per_mtok_output", iso_serve_interval_json(usd_s * p.itl_s / batch * 1e6, t.lo, t.hi, 0, NULL));
  json_object_set_new(o, "batching", advice_json(q, &u, &r));
  json_object_set_new(o, "experts_in_host_memory", offload);
  json_object_set(o, "weights_on_demand", *on_demand);
  json_object_set_new(
      o, "conventions",
      json_string(
          "FLOPs: 2 per active parameter and token, attention on the causal half, the head for the last token of a prompt; bytes: weights and "
          "cache once a step, GB = 1e9; users: whole sequences of prompt + output in mem_share of memory; ttft_s: one prompt alone, link "
          "traffic with it; itl_s: at the middle of the output; request_s = ttft_s + output x itl_s; weights read on demand are waited for"));
  json_object_set_new(o, "eflop", eflop_json(q, &u));
  char text[320];
  json_object_set_new(o, "warnings", warnings_json(iso_serve_context_exceeded(q->shape, q->prompt, q->output, text, sizeof text), text));
  *out = o;
  return ISO_OK;
}

iso_status iso_infer_plan_json(const iso_infer_req *q, json_t **out, iso_err *err) {
  iso_serve_ops *ops = calloc(1, sizeof *ops);
  *out = NULL;
  if (!ops) return iso_fail(err, ISO_ENOMEM, "plan infer: no memory");
  iso_infer_req own = *q;
  json_t *on_demand = json_null();
  iso_status st = infer(&own, ops, &on_demand, out, err);
  json_decref(on_demand);
  free(ops);
  return st;
}

// ---- fleets ----

// The kinds of replicas to choose from, at most ISO_FLEET_TYPES_MAX.
typedef struct choices {
  iso_fleet_type type[ISO_FLEET_TYPES_MAX];
  iso_serve_rates rate[ISO_FLEET_TYPES_MAX];
  iso_serve_ops ops[ISO_FLEET_TYPES_MAX];
  int n;
} choices;

// Kind k with replicas of so many devices (0: the fewest that hold `longest` tokens). ISO_ENOMEM, and nothing is added, when they do not.
static iso_status add_type(const iso_serve_req *q, int k, int64_t devices, double longest, choices *c, iso_err *err) {
  const iso_serve_device *d = q->device[k];
  const iso_device *measured = q->measured ? q->measured[k] : NULL;
  const char *format = q->format ? q->format : "bf16";
  iso_fleet_type *t = &c->type[c->n];
  iso_serve_rates *r = &c->rate[c->n];
  ISO_TRY(iso_serve_rates_of(q->calib_of ? q->calib_of[k] : q->calib, measured, q->backend, d, format, false, r, err));
  ISO_TRY(iso_fleet_type_of(q->shape, d, format, &r->coef, devices, longest, q->fleet.mem_share, t, err));
  use_tables(measured, &c->ops[c->n], &t->server.setup, &t->server.coef);
  t->most = q->most ? q->most[k] : -1;
  c->n++;
  return ISO_OK;
}

// Types that hold the model; the others go to left_out with their reason. A kind whose replicas have no stated size comes in several: weights are
// read once for all its users, so that twice the devices may carry more than twice the requests, and meet limits that fewer cannot. Where replicas
// are counted (`most`), only the smallest is meant.
static iso_status types_of(const iso_serve_req *q, choices *c, json_t *left_out, iso_err *err) {
  double longest = 1;
  int64_t fewest[ISO_FLEET_TYPES_MAX] = {0};
  iso_err last = {0};
  for (int64_t i = 0; i < q->trace->n; i++) longest = fmax(longest, (double)q->trace->at[i].prompt + q->trace->at[i].output);
  c->n = 0;
  for (int k = 0; k < q->n_devices; k++) {
    int64_t asked = q->replica_devices ? q->replica_devices[k] : 0;
    iso_status st = add_type(q, k, asked, longest, c, &last);
    if (st == ISO_ENOMEM) {
      json_object_set_new(left_out, q->device[k]->name, json_string(last.msg));
      continue;
    }
    if (st != ISO_OK) {
      if (err) *err = last;
      return st;
    }
    if (asked == 0 && c->type[c->n - 1].most < 0) fewest[k] = c->type[c->n - 1].server.setup.devices;
  }
  if (!c->n) {
    if (err) *err = last;
    return ISO_ENOMEM;
  }
  for (int64_t times = 2; times <= REPLICA_TIMES_MAX; times *= 2)
    for (int k = 0; k < q->n_devices && c->n < ISO_FLEET_TYPES_MAX; k++) {
      int64_t devices = fewest[k] * times;
      if (!devices || devices > q->device[k]->node || q->shape->heads % devices) continue;
      iso_status st = add_type(q, k, devices, longest, c, err);
      if (st != ISO_OK && st != ISO_ENOMEM) return st;
    }
  return ISO_OK;
}

// The plan with every time at one end of its interval; NULL when no fleet exists there.
static json_t *plan_at(const iso_serve_req *q, const iso_fleet_type *type, const iso_serve_rates *rate, int n, bool high, const iso_fleet_plan *mid) {
  iso_fleet_type *t = malloc((size_t)n * sizeof *t);
  iso_fleet_plan *p = malloc(sizeof *p);
  json_t *out = NULL;
  iso_fleet_opts o = q->fleet;
  o.simulate = false;
  o.rate = mid->req_per_s * mid->headroom;
  if (t && p) {
    memcpy(t, type, (size_t)n * sizeof *t);
    for (int j = 0; j < n; j++) t[j].server.coef.scale *= high ? rate[j].hi : rate[j].lo;
    if (iso_fleet_plan_run(q->trace, t, n, &o, p, NULL) == ISO_OK) out = iso_fleet_plan_json(p, t, n);
  }
  free(t);
  free(p);
  return out;
}

// Prices and rates get the ends that they have when all times lie at theirs; the fleet is the one chosen, and so is what was simulated.
static void fleet_intervals(json_t *o, const json_t *low, const json_t *high, const iso_fleet_type *type, int n) {
  static const char *const PRICES[] = {"usd_h", "usd_h_relaxed", "usd_h_per_req_per_s", NULL};
  static const char *const BUCKETS[] = {"req_per_s", "in_flight", "ttft_s", "tpot_s", "usd_per_mtok", "usd_h_shadow", NULL};
  static const char *const BY_TYPE[] = {"usd_h_one_type", "load_in_replicas"};
  static const char *const WHY = "no fleet carries the trace within the limits at that end of the times' interval";
  const char *name[ISO_FLEET_TYPES_MAX + 1] = {0};
  for (int j = 0; j < n; j++) name[j] = type[j].name;
  iso_json_join(json_object_get(o, "buckets"), json_object_get(low, "buckets"), json_object_get(high, "buckets"), BUCKETS, WHY);
  for (size_t k = 0; k < ISO_COUNT(BY_TYPE); k++)
    iso_json_join(json_object_get(o, BY_TYPE[k]), json_object_get(low, BY_TYPE[k]), json_object_get(high, BY_TYPE[k]), name, WHY);
  iso_json_join(o, low, high, PRICES, WHY);
  if (json_is_object(json_object_get(o, "simulation")))
    json_object_set_new(json_object_get(o, "simulation"), "interval", json_string("none: simulated once, at the middle of the times' interval"));
  json_object_set_new(o, "intervals", json_string(ISO_SERVE_INTERVALS));
}

// One size of replica a kind of device: the one that is cheapest alone, else the first.
static int one_size_each(const choices *c, const iso_fleet_plan *p, iso_fleet_type *out) {
  int n = 0;
  double cost[ISO_FLEET_TYPES_MAX];
  for (int j = 0; j < c->n; j++) {
    int k = 0;
    while (k < n && strcmp(out[k].server.setup.device.name, c->type[j].server.setup.device.name) != 0) k++;
    if (k < n && !(p->answer.single[j] < cost[k])) continue;
    out[k] = c->type[j];
    cost[k] = p->answer.single[j];
    if (k == n) n++;
  }
  return n;
}

static iso_status split_json(const iso_serve_req *q, const iso_fleet_type *type, int n, json_t **out, iso_err *err) {
  iso_split_type pool[ISO_SPLIT_TYPES_MAX];
  iso_split_opts o = {.slo_ttft_s = q->fleet.slo_ttft_s, .slo_itl_s = q->fleet.slo_itl_s, .attain = q->fleet.attain, .by_watts = q->split_by_watts};
  iso_serve_trace drawn = {0};
  const iso_serve_trace *use = q->trace;
  iso_split_choice best, mixed;
  iso_err e = {0};
  *out = json_null();
  if (!q->split) return ISO_OK;
  if (!isnan(q->fleet.rate)) {
    ISO_TRY(iso_serve_trace_draw(q->trace, q->trace->n, q->fleet.rate, q->fleet.seed, &drawn, err));
    use = &drawn;
  }
  for (int j = 0; j < n; j++) {
    const iso_serve_setup *u = &type[j].server.setup;
    iso_serve_room room;
    memset(&pool[j], 0, sizeof pool[j]);
    memcpy(pool[j].name, type[j].name, sizeof pool[j].name);
    iso_status st = iso_sim_node_of(&type[j].server, q->fleet.mem_share, &pool[j].node, err);
    if (st == ISO_OK) st = iso_serve_capacity(u, 1000, q->fleet.mem_share, &room, err);
    if (st != ISO_OK) {
      iso_serve_trace_close(&drawn);
      return st;
    }
    pool[j].usd_h = type[j].usd_h;
    pool[j].watts = u->device.prefill_w * (double)u->devices;
    // The cache of a prompt goes layer by layer while the prompt is processed; one layer's share remains, over the slowest network offered.
    double per_tok = room.kv_b_per_seq / 1000 / (u->device.net_b_s * (double)u->devices) / (double)u->shape.layers;
    o.transfer_s_per_tok = fmax(o.transfer_s_per_tok, per_tok);
  }
  iso_status st = iso_split_search(use, pool, n, &o, &best, &e);
  iso_status sm = st == ISO_OK || st == ISO_EBUDGET ? iso_split_mixed(use, pool, n, &o, &mixed, st == ISO_OK ? &e : NULL) : st;
  iso_serve_trace_close(&drawn);
  if ((st != ISO_OK && st != ISO_EBUDGET) || (sm != ISO_OK && sm != ISO_EBUDGET)) {
    if (err) *err = e;
    return st != ISO_OK && st != ISO_EBUDGET ? st : sm;
  }
  *out = json_pack("{s:o, s:o, s:o}", "split", st == ISO_OK ? iso_split_choice_json(&best, pool) : json_pack("{s:s}", "none", e.msg), "mixed",
                   sm == ISO_OK ? iso_split_choice_json(&mixed, pool) : json_null(), "usd_h_split_over_mixed",
                   st == ISO_OK && sm == ISO_OK ? iso_json_num(best.usd_h / mixed.usd_h) : json_null());
  return ISO_OK;
}

static json_t *slo_json(const iso_fleet_opts *o) {
  return json_pack("{s:o, s:o, s:o}", "ttft_s", iso_json_num(o->slo_ttft_s), "itl_s", iso_json_num(o->slo_itl_s), "share", iso_json_num(o->attain));
}

static iso_status plan(const iso_serve_req *q, choices *c, iso_fleet_plan *p, json_t *o, iso_err *err) {
  json_t *left_out = json_object(), *pools = NULL;
  json_object_set_new(o, "left_out", left_out);
  ISO_TRY(types_of(q, c, left_out, err));
  const iso_fleet_type *type = c->type;
  const iso_serve_rates *rate = c->rate;
  int n = c->n;
  ISO_TRY(iso_fleet_plan_run(q->trace, type, n, &q->fleet, p, err));
  iso_fleet_type each[ISO_FLEET_TYPES_MAX];
  ISO_TRY(split_json(q, each, one_size_each(c, p, each), &pools, err));
  json_t *fleet = iso_fleet_plan_json(p, type, n), *low = plan_at(q, type, rate, n, false, p), *high = plan_at(q, type, rate, n, true, p);
  fleet_intervals(fleet, low, high, type, n);
  json_object_update(o, fleet);
  json_decref(fleet);
  json_decref(low);
  json_decref(high);
  if (json_is_object(pools)) json_object_set_new(pools, "interval", json_string("none: simulated once, at the middle of the times' interval"));
  json_object_set_new(o, "calibration", json_string(rate[0].source));
  json_object_set_new(o, "phase_split", pools);
  char text[320];
  int64_t longer = 0;
  for (int64_t i = 0; i < q->trace->n; i++) longer += (int64_t)q->trace->at[i].prompt + q->trace->at[i].output > q->shape->context;
  json_object_set_new(o, "warnings", warnings_json(iso_serve_context_exceeded_by(q->shape, longer, q->trace->n, text, sizeof text), text));
  json_t *source = json_object();
  for (int j = 0; j < n; j++) json_object_set_new(source, type[j].name, iso_serve_ops_json(type[j].server.setup.ops));
  json_object_set_new(o, "source", source);
  return ISO_OK;
}

iso_status iso_serve_plan_json(const iso_serve_req *q, json_t **out, iso_err *err) {
  *out = NULL;
  if (!q->shape || !q->trace || q->trace->n < 1) return iso_fail(err, ISO_EINVAL, "plan serve: a model and a trace are needed");
  if (q->n_devices < 1 || q->n_devices > ISO_FLEET_TYPES_MAX)
    return iso_fail(err, ISO_EINVAL, "plan serve: %d kinds of devices, expected 1 to %d", q->n_devices, ISO_FLEET_TYPES_MAX);
  choices *c = calloc(1, sizeof *c);
  iso_fleet_plan *p = calloc(1, sizeof *p);
  json_t *o = json_object();
  iso_status st = c && p && o ? ISO_OK : iso_fail(err, ISO_ENOMEM, "plan serve: no memory");
  if (st == ISO_OK) {
    json_object_set_new(o, "model", iso_serve_shape_json(q->shape));
    json_object_set_new(o, "format", json_string(q->format ? q->format : "bf16"));
    json_object_set_new(o, "slo", slo_json(&q->fleet));
    st = plan(q, c, p, o, err);
  }
  free(c);
  free(p);
  if (st == ISO_OK)
    *out = o;
  else
    json_decref(o);
  return st;
}
