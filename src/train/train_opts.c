// Options of a training run: defaults, checks, JSON.
#include <math.h>
#include <string.h>

#include "train/trainer.h"

iso_train_opts iso_train_defaults(void) {
  return (iso_train_opts){.optim = "muon",
                          .schedule = "wsd",
                          .lr = 4e-3,
                          .weight_decay = 0.1,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .eps = 1e-8,
                          .momentum = 0.9,
                          .clip = 1.0,
                          .ns_steps = 5,
                          .lr_floor = 0.0,
                          .batch = 8,
                          .seq = 256,
                          .steps = 1000,
                          .warmup = 20,
                          .decay = 0.4,
                          .seed = 0};
}

static iso_status within(const char *what, double v, double lo, double hi, iso_err *err) {
  if (v >= lo && v <= hi) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "training: %s is %g, must be between %g and %g", what, v, lo, hi);
}

iso_status iso_train_opts_check(const iso_train_opts *o, iso_err *err) {
  const iso_optim *optim;
  const iso_schedule *sched;
  ISO_TRY(iso_optim_find(o->optim, &optim, err));
  ISO_TRY(iso_schedule_find(o->schedule, &sched, err));
  ISO_TRY(within("lr", o->lr, 0, 10, err));
  ISO_TRY(within("muon_lr", o->muon_lr, 0, 10, err));
  ISO_TRY(within("weight_decay", o->weight_decay, 0, 100, err));
  ISO_TRY(within("beta1", o->beta1, 0, 0.999999, err));
  ISO_TRY(within("beta2", o->beta2, 0, 0.999999, err));
  ISO_TRY(within("eps", o->eps, 1e-30, 1, err));
  ISO_TRY(within("momentum", o->momentum, 0, 0.999999, err));
  ISO_TRY(within("clip", o->clip, 0, 1e9, err));
  ISO_TRY(within("ns_steps", o->ns_steps, 1, 20, err));
  ISO_TRY(within("lr_floor", o->lr_floor, 0, 1, err));
  ISO_TRY(within("batch", (double)o->batch, 1, 1 << 20, err));
  ISO_TRY(within("seq", (double)o->seq, 1, 1 << 20, err));
  ISO_TRY(within("steps", (double)o->steps, 1, 1e9, err));
  ISO_TRY(within("warmup", (double)o->warmup, 0, 1e9, err));
  ISO_TRY(within("decay", o->decay, 0, 1, err));
  ISO_TRY(within("recompute", o->recompute, 0, 1 << 14, err));
  ISO_TRY(within("recompute_layers", o->recompute_layers, 0, 1 << 14, err));
  ISO_TRY(within("recompute_cheap", o->recompute_cheap, 0, 1, err));
  if (o->recompute > 0 && (o->recompute_layers > 0 || o->recompute_cheap))
    return iso_fail(err, ISO_EINVAL, "training: recompute (groups of layers) excludes recompute_layers and recompute_cheap");
  if (o->micro > 0 && o->batch % o->micro)
    return iso_fail(err, ISO_EINVAL, "training: a batch of %lld cannot be cut into micro-batches of %lld", (long long)o->batch, (long long)o->micro);
  if (o->measure_gns && (o->micro <= 0 || o->micro >= o->batch)) {
    iso_fail(err, ISO_EINVAL, "training: the gradient noise scale is measured over two micro-batches at least, a batch of %lld is one",
             (long long)o->batch);
    return iso_hint(err, ISO_EINVAL, "give --micro: half of the batch or less, and a --batch of two sequences or more");
  }
  return ISO_OK;
}

// One row per option; integers and reals are told apart so that 1.5 sequences are refused.
#define OPTS_REAL(X) X(lr) X(muon_lr) X(weight_decay) X(beta1) X(beta2) X(eps) X(momentum) X(clip) X(lr_floor) X(decay)
#define OPTS_INT(X) X(batch) X(seq) X(micro) X(steps) X(warmup)

json_t *iso_train_opts_json(const iso_train_opts *o) {
  json_t *j = json_pack("{s:s, s:s, s:I, s:i, s:i, s:i, s:i}", "optim", o->optim, "schedule", o->schedule, "seed", (json_int_t)o->seed, "ns_steps",
                        o->ns_steps, "recompute", o->recompute, "recompute_layers", o->recompute_layers, "recompute_cheap", o->recompute_cheap);
#define X(name) json_object_set_new(j, #name, json_real(o->name));
  OPTS_REAL(X)
#undef X
#define X(name) json_object_set_new(j, #name, json_integer(o->name));
  OPTS_INT(X)
#undef X
  // Written when it is on only: runs from before it go on, and without it they are the same.
  if (o->measure_gns) json_object_set_new(j, "measure_gns", json_true());
  return j;
}

iso_status iso_train_opts_from_json(const json_t *j, iso_train_opts *out, iso_err *err) {
  static const char *const KEYS[] = {"optim",
                                     "schedule",
                                     "seed",
                                     "ns_steps",
                                     "recompute",
                                     "recompute_layers",
                                     "recompute_cheap",
                                     "measure_gns",
#define X(name) #name,
                                     OPTS_REAL(X) OPTS_INT(X)
#undef X
                                         NULL};
  const char *what = "training options", *name;
  const int64_t big = INT64_C(1) << 53;
  int64_t seed = (int64_t)out->seed, ns = out->ns_steps, recompute = out->recompute, layers = out->recompute_layers, cheap = out->recompute_cheap;
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  if (json_object_get(j, "optim")) {
    const iso_optim *p;
    ISO_TRY(iso_json_get_str(j, "optim", what, &name, err));
    ISO_TRY(iso_optim_find(name, &p, err));
    out->optim = p->plugin.name;
  }
  if (json_object_get(j, "schedule")) {
    const iso_schedule *p;
    ISO_TRY(iso_json_get_str(j, "schedule", what, &name, err));
    ISO_TRY(iso_schedule_find(name, &p, err));
    out->schedule = p->plugin.name;
  }
#define X(name) ISO_TRY(iso_json_opt_f64(j, #name, what, &out->name, err));
  OPTS_REAL(X)
#undef X
#define X(name) ISO_TRY(iso_json_opt_i64(j, #name, what, 0, big, &out->name, err));
  OPTS_INT(X)
#undef X
  ISO_TRY(iso_json_opt_i64(j, "seed", what, 0, big, &seed, err));
  ISO_TRY(iso_json_opt_i64(j, "ns_steps", what, 1, 20, &ns, err));
  ISO_TRY(iso_json_opt_i64(j, "recompute", what, 0, 1 << 14, &recompute, err));
  ISO_TRY(iso_json_opt_i64(j, "recompute_layers", what, 0, 1 << 14, &layers, err));
  ISO_TRY(iso_json_opt_i64(j, "recompute_cheap", what, 0, 1, &cheap, err));
  ISO_TRY(iso_json_opt_bool(j, "measure_gns", what, &out->measure_gns, err));
  out->seed = (uint64_t)seed;
  out->ns_steps = (int)ns;
  out->recompute = (int)recompute;
  out->recompute_layers = (int)layers;
  out->recompute_cheap = (int)cheap;
  return iso_train_opts_check(out, err);
}
