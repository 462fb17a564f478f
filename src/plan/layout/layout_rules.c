// Which layouts are possible, machines and calibrations that make sense, and their names.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/layout/layout_impl.h"
#include "plan/layout/layout_block.h"

enum { PER_NODE_MAX = 1 << 20 };

iso_layout_job iso_layout_job_default(void) {
  return (iso_layout_job){.batch = 1, .weight_b = 2, .grad_b = 4, .grad_comm_b = 2, .optim_b = 12, .dropout = true};
}

void iso_layout_job_fp8(iso_layout_job *j) {
  j->fp8 = true;
  j->weight_b = 1;
}

void iso_layout_job_use(iso_layout_job *j, const iso_device *d) { j->tables = d && d->cal[ISO_DEVICE_CAL_layout] ? NULL : d; }

iso_layout iso_layout_default(void) {
  return (iso_layout){.tensor = 1, .pipeline = 1, .data = 1, .context = 1, .expert = 1, .micro_batch = 1, .chunks = 1, .schedule = ISO_LAYOUT_1F1B};
}

iso_status iso_layout_machine_from(const iso_device_spec *spec, iso_layout_machine *out, iso_err *err) {
  iso_device_spec s = iso_device_spec_complete(spec, NULL);
  double peak = iso_device_spec_peak16(&s, NULL);
  if (!(peak > 0)) return iso_fail(err, ISO_EUNSUP, "%s has no peak for bf16, f16 or a wider class", s.name);
  *out = (iso_layout_machine){.peak_flop_s = peak,
                              .peak8_flop_s = s.peak_flop_s[ISO_NUM_fp8],
                              .mem_b = s.mem_b,
                              .mem_b_s = s.mem_b_s,
                              .intra_b_s = s.intra.b_s,
                              .intra_lat_s = s.intra.latency_s,
                              .inter_b_s = s.inter.b_s,
                              .inter_lat_s = s.inter.latency_s,
                              .host_b_s = s.host.b_s,
                              .host_mem_b = s.host_mem_b,
                              .host_mem_b_s = s.host_mem_b_s,
                              .per_node = s.intra.devices > 0 ? s.intra.devices : PER_NODE_MAX,
                              .idle_w = s.idle_w + s.host_w,
                              .max_w = s.prefill_w + s.host_w,
                              .pue = 1.1,  // hyperscale sites state 1.08 to 1.12
                              .usd_h = s.usd_h};
  snprintf(out->name, sizeof out->name, "%s", s.name);
  return iso_layout_machine_check(out, err);
}

iso_status iso_layout_machine_from_device(const iso_device *d, iso_layout_machine *out, iso_err *err) {
  return iso_layout_machine_from(&d->spec, out, err);
}

int64_t iso_layout_devices(const iso_layout *l) { return l->tensor * l->pipeline * l->data * l->context; }
int64_t iso_layout_micro_batches(const iso_layout_job *j, const iso_layout *l) { return j->batch / (l->data * l->micro_batch); }

const char *iso_layout_sched_name(iso_layout_sched s) {
  static const char *const NAME[] = {"gpipe", "1f1b", "interleaved", "zb_h1", "zb_h2", "zb_v", "v_half", "v_min", "dualpipe", "v_adaptive"};
  return (unsigned)s < ISO_COUNT(NAME) ? NAME[s] : "?";
}

bool iso_layout_sched_v(iso_layout_sched s) { return (s >= ISO_LAYOUT_ZB_V && s <= ISO_LAYOUT_V_MIN) || s == ISO_LAYOUT_V_ADAPTIVE; }
bool iso_layout_sched_splits(iso_layout_sched s) { return s >= ISO_LAYOUT_ZB_H1 && s <= ISO_LAYOUT_V_ADAPTIVE; }

int64_t iso_layout_sched_least(iso_layout_sched s, int64_t p) {
  if (s == ISO_LAYOUT_V_ADAPTIVE) return 1;
  return s == ISO_LAYOUT_ZB_H1 ? p : s == ISO_LAYOUT_ZB_H2 ? 2 * p - 1 : iso_layout_sched_v(s) || s == ISO_LAYOUT_DUALPIPE ? 2 * p : 1;
}

const char *iso_layout_recompute_name(iso_layout_recompute r) {
  static const char *const NAME[] = {"none", "selective", "full"};
  return (unsigned)r < ISO_COUNT(NAME) ? NAME[r] : "?";
}

int64_t iso_layout_stage_layers(const iso_layout_shape *s, const iso_layout *l, int *spare) {
  int64_t cut = l->pipeline * l->chunks, layers = s->layers + s->mtp, per = (layers + cut - 1) / cut, less = per * cut - layers;
  bool fits = !less || (per * l->chunks >= 2 && (less <= 2 || l->schedule <= ISO_LAYOUT_1F1B));
  if (spare) *spare = fits ? (int)less : 0;
  return fits ? per * l->chunks : 0;
}

int64_t iso_layout_stage_blocks(const iso_layout_shape *s, const iso_layout *l, int64_t stage) {
  int spare;
  int64_t per = iso_layout_stage_layers(s, l, &spare) / l->chunks;
  return per - ((stage == l->pipeline * l->chunks - 1 && spare) || stage < spare - 1);
}

static iso_status split(const char *what, int64_t n, const char *by, int64_t k, iso_err *err) {
  return n % k ? iso_fail(err, ISO_EINVAL, "layout: %lld %s do not divide by %s = %lld", (long long)n, what, by, (long long)k) : ISO_OK;
}

static iso_status check_pipeline(const iso_layout *l, int64_t m, iso_err *err) {
  int64_t p = l->pipeline, need = iso_layout_sched_least(l->schedule, p);
  bool fold = iso_layout_sched_v(l->schedule);
  if ((unsigned)l->schedule >= ISO_LAYOUT_SCHEDS) return iso_fail(err, ISO_EINVAL, "layout: no schedule of number %d", (int)l->schedule);
  if (l->schedule == ISO_LAYOUT_INTERLEAVED) {
    if (p < 2 || l->chunks < 2)
      return iso_fail(err, ISO_EINVAL, "layout: interleaving needs two stages and two chunks, got %lld and %lld", (long long)p, (long long)l->chunks);
    return split("micro-batches", m, "interleaved pipeline", p, err);
  }
  if (fold && p < 2)
    return iso_fail(err, ISO_EINVAL, "layout: schedule %s needs two stages, got %lld", iso_layout_sched_name(l->schedule), (long long)p);
  if (l->chunks != (fold ? 2 : 1))
    return iso_fail(err, ISO_EINVAL, "layout: %lld chunks with schedule %s, expected %d", (long long)l->chunks, iso_layout_sched_name(l->schedule),
                    fold ? 2 : 1);
  if ((l->schedule == ISO_LAYOUT_V_HALF || l->schedule == ISO_LAYOUT_V_MIN) && p < 4)
    return iso_fail(err, ISO_EINVAL, "layout: schedule %s needs 4 stages, got %lld; zb_v has nearly its memory there",
                    iso_layout_sched_name(l->schedule), (long long)p);
  if (l->schedule == ISO_LAYOUT_DUALPIPE && (p % 2 || m % 2))
    return iso_fail(err, ISO_EINVAL, "layout: schedule dualpipe runs both ways and needs even numbers, got %lld stages and %lld micro-batches",
                    (long long)p, (long long)m);
  if (l->schedule == ISO_LAYOUT_V_ADAPTIVE) {
    if (l->weave.held < 2)
      return iso_fail(err, ISO_EINVAL, "layout: schedule %s without a building block; iso_layout_adapt_step chooses one",
                      iso_layout_sched_name(l->schedule));
    iso_layout_block b;
    ISO_TRY(iso_layout_block_from(p, &l->weave, &b, err));
    iso_layout_block_close(&b);
  }
  if (m < need)
    return iso_fail(err, ISO_EINVAL, "layout: schedule %s on %lld stages needs %lld micro-batches, got %lld", iso_layout_sched_name(l->schedule),
                    (long long)p, (long long)need, (long long)m);
  return ISO_OK;
}

const char *iso_layout_split_name(iso_layout_split s) {
  static const char *const NAME[] = {"all", "local", "hpz"};
  return (unsigned)s < ISO_COUNT(NAME) ? NAME[s] : "?";
}

// What ZeRO splits, and over which ranks: states at least as finely as gradients, gradients as weights, so that each finds its parts at home.
static iso_status check_zero(const iso_layout *l, iso_err *err) {
  int64_t group = l->data * l->context;
  const struct {
    const char *name;
    iso_layout_split over;
    int from;
  } part[] = {{"weights", l->weights_over, 3}, {"gradients", l->grads_over, 2}, {"optimizer states", l->states_over, 1}};
  if (l->zero < 0 || l->zero > 3) return iso_fail(err, ISO_EINVAL, "layout: zero is %d, expected 0 to 3", l->zero);
  if (l->zero && group < 2) return iso_fail(err, ISO_EINVAL, "layout: zero = %d with nothing to split over (data x context is 1)", l->zero);
  if (l->local < 0 || l->local > group)
    return iso_fail(err, ISO_EINVAL, "layout: local is %lld, expected 0 to data x context = %lld", (long long)l->local, (long long)group);
  if (l->local) {
    ISO_TRY(split("data x context devices", group, "local", l->local, err));
    if (l->local % l->expert && l->expert % l->local)
      return iso_fail(err, ISO_EINVAL, "layout: local = %lld neither divides by expert = %lld nor divides it", (long long)l->local,
                      (long long)l->expert);
  }
  for (int i = 0; i < 3; i++) {
    if ((unsigned)part[i].over > (i ? ISO_LAYOUT_SPLIT_LOCAL : ISO_LAYOUT_SPLIT_HPZ))
      return iso_fail(err, ISO_EINVAL, "layout: %s split over number %d", part[i].name, (int)part[i].over);
    if (part[i].over == ISO_LAYOUT_SPLIT_ALL) continue;
    if (!l->local || l->zero < part[i].from)
      return iso_fail(err, ISO_EINVAL, "layout: %s over %s need zero = %d or more and local neighbours, got zero = %d, local = %lld", part[i].name,
                      iso_layout_split_name(part[i].over), part[i].from, l->zero, (long long)l->local);
  }
  if (l->states_over == ISO_LAYOUT_SPLIT_LOCAL && l->zero > 1 && l->grads_over != ISO_LAYOUT_SPLIT_LOCAL)
    return iso_fail(err, ISO_EINVAL, "layout: optimizer states over local and gradients over all; states must be split as finely as gradients");
  if (l->grads_over == ISO_LAYOUT_SPLIT_LOCAL && l->zero > 2 && l->weights_over != ISO_LAYOUT_SPLIT_LOCAL)
    return iso_fail(err, ISO_EINVAL, "layout: gradients over local and weights over all; gradients must be split as finely as weights");
  if (l->quantised && (l->zero < 3 || !l->local || l->states_over != ISO_LAYOUT_SPLIT_ALL))
    return iso_fail(err, ISO_EINVAL, "layout: quantised collectives go between local groups of zero = 3, got zero = %d, local = %lld, states over %s",
                    l->zero, (long long)l->local, iso_layout_split_name(l->states_over));
  return ISO_OK;
}

iso_status iso_layout_check(const iso_layout_job *j, const iso_layout *l, iso_err *err) {
  const iso_layout_shape *s = &j->shape;
  const struct {
    const char *name;
    int64_t v;
  } deg[] = {{"tensor", l->tensor}, {"pipeline", l->pipeline},       {"data", l->data},     {"context", l->context},
             {"expert", l->expert}, {"micro_batch", l->micro_batch}, {"chunks", l->chunks}, {"batch", j->batch}};
  for (size_t i = 0; i < ISO_COUNT(deg); i++)
    if (deg[i].v < 1 || deg[i].v > (1 << 24))
      return iso_fail(err, ISO_EINVAL, "layout: %s is %lld, expected 1 to %d", deg[i].name, (long long)deg[i].v, 1 << 24);
  if ((double)l->tensor * (double)l->pipeline * (double)l->data * (double)l->context > 1 << 24)
    return iso_fail(err, ISO_EINVAL, "layout: more than %d devices", 1 << 24);
  const double bytes[] = {j->weight_b, j->grad_b, j->grad_comm_b, j->optim_b};
  for (size_t i = 0; i < ISO_COUNT(bytes); i++)
    if (!(bytes[i] >= 0 && bytes[i] <= 64)) return iso_fail(err, ISO_EINVAL, "job: %g bytes per parameter, expected 0 to 64", bytes[i]);
  if (j->fp8 && !(j->flash)) return iso_fail(err, ISO_EINVAL, "job: fp8 products go with flash attention");
  ISO_TRY(split("heads", s->heads, "tensor", l->tensor, err));
  if (s->kv_heads % l->tensor && l->tensor % s->kv_heads)
    return iso_fail(err, ISO_EINVAL, "layout: %lld kv_heads neither divide by tensor = %lld nor divide it", (long long)s->kv_heads,
                    (long long)l->tensor);
  ISO_TRY(split("MLP channels", s->mlp, "tensor", l->tensor, err));
  ISO_TRY(split("MLP channels of the first layers", s->dense_mlp, "tensor", l->tensor, err));
  if (!iso_layout_stage_layers(s, l, NULL)) {
    long long layers = (long long)(s->layers + s->mtp), cut = (long long)(l->pipeline * l->chunks);
    if (layers < cut) return iso_fail(err, ISO_EINVAL, "layout: %lld layers are too few for pipeline x chunks = %lld stages", layers, cut);
    return iso_fail(
        err, ISO_EINVAL,
        "layout: %lld layers, nor one or two more, do not divide by pipeline x chunks = %lld as schedule %s needs; gpipe and 1f1b take any "
        "number of stages",
        layers, cut, iso_layout_sched_name(l->schedule));
  }
  ISO_TRY(split("sequences of a batch", j->batch, "data x micro_batch", l->data * l->micro_batch, err));
  // Causal attention is even only when every rank holds an early and a late piece.
  if (l->context > 1) ISO_TRY(split("positions", s->seq, "2 x context", 2 * l->context, err));
  if (l->seq_parallel) {
    if (l->tensor < 2) return iso_fail(err, ISO_EINVAL, "layout: sequence parallelism splits over the tensor group, and tensor is 1");
    ISO_TRY(split("positions", s->seq, "context x tensor", l->context * l->tensor, err));
  }
  if (l->expert > 1) {
    if (!s->experts) return iso_fail(err, ISO_EINVAL, "layout: expert = %lld for a dense model", (long long)l->expert);
    ISO_TRY(split("experts", s->experts, "expert", l->expert, err));
    ISO_TRY(split("data x context devices", l->data * l->context, "expert", l->expert, err));
  }
  ISO_TRY(check_zero(l, err));
  if ((unsigned)l->recompute > ISO_LAYOUT_FULL) return iso_fail(err, ISO_EINVAL, "layout: no recomputation of number %d", (int)l->recompute);
  return check_pipeline(l, iso_layout_micro_batches(j, l), err);
}

iso_status iso_lay_fp8(const iso_layout_job *j, const iso_layout_machine *m, iso_err *err) {
  if (!j->fp8 || m->peak8_flop_s > 0) return ISO_OK;
  return iso_fail(err, ISO_EUNSUP, "machine %s has no peak for fp8 products, which the job asks for", m->name);
}

iso_status iso_layout_machine_check(const iso_layout_machine *m, iso_err *err) {
  const struct {
    const char *name;
    double v;
  } pos[] = {{"peak_flop_s", m->peak_flop_s}, {"mem_b", m->mem_b},       {"mem_b_s", m->mem_b_s},          {"intra_b_s", m->intra_b_s},
             {"inter_b_s", m->inter_b_s},     {"host_b_s", m->host_b_s}, {"host_mem_b_s", m->host_mem_b_s}};
  for (size_t i = 0; i < ISO_COUNT(pos); i++)
    if (!(pos[i].v > 0 && pos[i].v < INFINITY))
      return iso_fail(err, ISO_EINVAL, "machine %s: %s is %g, expected a positive number", m->name, pos[i].name, pos[i].v);
  if (!(m->intra_lat_s >= 0 && m->intra_lat_s < 1 && m->inter_lat_s >= 0 && m->inter_lat_s < 1))
    return iso_fail(err, ISO_EINVAL, "machine %s: link latencies of %g and %g s, expected 0 to 1", m->name, m->intra_lat_s, m->inter_lat_s);
  if (m->per_node < 1 || m->per_node > PER_NODE_MAX)
    return iso_fail(err, ISO_EINVAL, "machine %s: %lld devices a node, expected 1 to %d", m->name, (long long)m->per_node, PER_NODE_MAX);
  if (m->idle_w < 0 || m->max_w < m->idle_w || m->usd_h < 0 || m->pue < 1 || m->host_mem_b < 0)
    return iso_fail(err, ISO_EINVAL, "machine %s: idle_w %g, max_w %g, pue %g, usd_h %g, host_mem_b %g: a negative cost, or pue below 1", m->name,
                    m->idle_w, m->max_w, m->pue, m->usd_h, m->host_mem_b);
  return ISO_OK;
}

enum { KIND_F, KIND_P };
static const struct {
  const char *name;
  int kind;
  double start;
} CALS[ISO_LAYOUT_CALS] = {
#define F KIND_F
#define P KIND_P
#define X(name, kind, start, spread, unit, help) {#name, kind, start},
#include "plan/layout/layout_cal.def"
#undef X
#undef F
#undef P
};

const char *iso_layout_cal_name(int id) { return id >= 0 && id < ISO_LAYOUT_CALS ? CALS[id].name : "?"; }

iso_layout_cal iso_layout_cal_start(void) {
  iso_layout_cal c = {.resid_sd = NAN, .source = "start values, nothing fitted"};
  for (int i = 0; i < ISO_LAYOUT_CALS; i++) c.v[i] = CALS[i].start;
  return c;
}

// What of a calibration belongs to which shift.
static const struct {
  iso_layout_cal_id id;
  iso_layout_shift_id of;
} SHIFTED[] = {{ISO_LAYOUT_CAL_gemm_eff, ISO_LAYOUT_ARITHMETIC},     {ISO_LAYOUT_CAL_mem_eff, ISO_LAYOUT_ARITHMETIC},
               {ISO_LAYOUT_CAL_optim_eff, ISO_LAYOUT_ARITHMETIC},    {ISO_LAYOUT_CAL_kernel_s, ISO_LAYOUT_ARITHMETIC},
               {ISO_LAYOUT_CAL_launch_s, ISO_LAYOUT_ARITHMETIC},     {ISO_LAYOUT_CAL_launch_tp_s, ISO_LAYOUT_ARITHMETIC},
               {ISO_LAYOUT_CAL_unfused_s, ISO_LAYOUT_ARITHMETIC},    {ISO_LAYOUT_CAL_intra_eff, ISO_LAYOUT_COMMUNICATION},
               {ISO_LAYOUT_CAL_inter_eff, ISO_LAYOUT_COMMUNICATION}, {ISO_LAYOUT_CAL_lat_mult, ISO_LAYOUT_COMMUNICATION}};

iso_layout_cal iso_layout_cal_shift(const iso_layout_cal *c, const double z[ISO_LAYOUT_SHIFTS]) {
  iso_layout_cal o = *c;
  for (size_t i = 0; i < ISO_COUNT(SHIFTED); i++) {
    double *v = &o.v[SHIFTED[i].id], f = exp(-z[SHIFTED[i].of]);
    *v = CALS[SHIFTED[i].id].kind == KIND_F ? 1 / (1 + f * (1 / *v - 1)) : f * *v;
  }
  return o;
}

iso_status iso_layout_cal_check(const iso_layout_cal *c, iso_err *err) {
  for (int i = 0; i < ISO_LAYOUT_CALS; i++) {
    bool share = CALS[i].kind == KIND_F;
    if (!(c->v[i] >= 0 && c->v[i] < INFINITY) || (share && !(c->v[i] > 0 && c->v[i] < 1)) ||
        (i == ISO_LAYOUT_CAL_sharp && !(c->v[i] >= 1 && c->v[i] <= 100)) || (i == ISO_LAYOUT_CAL_overlap && !(c->v[i] <= 1)))
      return iso_fail(err, ISO_EINVAL, "calibration: %s is %g, expected %s", CALS[i].name, c->v[i],
                      share                       ? "a share between 0 and 1"
                      : i == ISO_LAYOUT_CAL_sharp ? "1 to 100"
                                                  : "a finite number, not negative");
  }
  return ISO_OK;
}

json_t *iso_layout_cal_json(const iso_layout_cal *c) {
  json_t *o = json_object();
  for (int i = 0; i < ISO_LAYOUT_CALS; i++) json_object_set_new(o, CALS[i].name, iso_json_num(c->v[i]));
  json_object_set_new(o, "resid_sd_log_s", iso_json_num(c->resid_sd));
  json_object_set_new(o, "source", json_string(c->source));
  return o;
}

iso_status iso_layout_cal_from_json(const json_t *j, const char *what, iso_layout_cal *out, iso_err *err) {
  const char *keys[ISO_LAYOUT_CALS + 3] = {"resid_sd_log_s", "source"}, *source;
  iso_layout_cal c = {.resid_sd = NAN};
  for (int i = 0; i < ISO_LAYOUT_CALS; i++) keys[i + 2] = CALS[i].name;
  ISO_TRY(iso_json_only_keys(j, what, keys, err));
  for (int i = 0; i < ISO_LAYOUT_CALS; i++) ISO_TRY(iso_json_get_f64(j, CALS[i].name, what, &c.v[i], err));
  ISO_TRY(iso_json_opt_f64(j, "resid_sd_log_s", what, &c.resid_sd, err));
  ISO_TRY(iso_json_get_str(j, "source", what, &source, err));
  if (c.resid_sd < 0) return iso_fail(err, ISO_EFORMAT, "%s: \"resid_sd_log_s\" is %g, expected a number that is not negative", what, c.resid_sd);
  snprintf(c.source, sizeof c.source, "%s", source);
  iso_status st = iso_layout_cal_check(&c, err);
  if (st != ISO_OK) {
    if (err) err->status = ISO_EFORMAT;
    return iso_err_prefix(err, ISO_EFORMAT, "%s", what);
  }
  *out = c;
  return ISO_OK;
}

// Of log step time between stacks that nothing was fitted to: root mean square of the mean errors of eight published ones, seven on A100s and one on
// H100s (tests/unit/test_layout_published.c, test_prior).
#define PRIOR_SD 0.342

iso_status iso_layout_cal_of_device(const iso_device *d, iso_layout_cal *out, iso_err *err) {
  char what[80];
  *out = iso_layout_cal_default();
  if (!d->cal[ISO_DEVICE_CAL_layout]) {
    // Shares of datasheet rates are carried over from the device that was measured.
    if (strncmp(d->spec.name, "a100", 4) == 0) return ISO_OK;
    out->resid_sd = hypot(out->resid_sd, PRIOR_SD);
    snprintf(out->source, sizeof out->source, "prior: A100's fit (vTrain's steps, arXiv:2312.12391); no measurement of this device");
    return ISO_OK;
  }
  snprintf(what, sizeof what, "%s: layout_calibration", d->spec.name);
  return iso_layout_cal_from_json(d->cal[ISO_DEVICE_CAL_layout], what, out, err);
}

// Device numbers from 720 measured single-node steps, links, stragglers, head and the product rate from 54 steps on 64 to 512 A100s
// (vTrain's measurements, Bang et al. 2024, arXiv:2312.12391); tests/unit/test_layout_fit.c repeats the fit.
iso_layout_cal iso_layout_cal_default(void) {
  return (iso_layout_cal){.v = {[ISO_LAYOUT_CAL_gemm_eff] = 0.7986,
                                [ISO_LAYOUT_CAL_mem_eff] = 0.8892,
                                [ISO_LAYOUT_CAL_kernel_s] = 4.994e-4,
                                [ISO_LAYOUT_CAL_launch_s] = 1.034e-3,
                                [ISO_LAYOUT_CAL_launch_tp_s] = 8.746e-5,
                                [ISO_LAYOUT_CAL_sharp] = 20.74,
                                [ISO_LAYOUT_CAL_unfused_s] = 5.237e-4,
                                [ISO_LAYOUT_CAL_head_extra] = 0.218,
                                [ISO_LAYOUT_CAL_intra_eff] = 0.7856,
                                [ISO_LAYOUT_CAL_inter_eff] = 0.6031,
                                [ISO_LAYOUT_CAL_lat_mult] = 14.35,
                                [ISO_LAYOUT_CAL_overlap] = 0.2251,
                                [ISO_LAYOUT_CAL_optim_eff] = 0.5932,
                                [ISO_LAYOUT_CAL_fixed_s] = 5.293e-3,
                                [ISO_LAYOUT_CAL_jitter] = 2.075e-3},
                          .resid_sd = 0.14,
                          .source = "measured A100 steps, one node and 64 to 512 GPUs (vTrain, arXiv:2312.12391)"};
}
