// One model from text under a budget: what `isoflop train` and `isoflop plan` do.
#ifndef ISO_LOOP_SOLO_H
#define ISO_LOOP_SOLO_H
#include "loop/job.h"

typedef struct iso_solo_opts {
  const char *const *texts;  // files; none and !data_dir: GCIDE
  int n_texts;
  const char *data_dir;  // finished shards
  const char *out_dir;
  const char *init_dir;              // start from this model
  const char *shape;                 // iso_config_parse text without the vocabulary's say, or NULL: the planner chooses
  const char *config_path;           // JSON {"model": {...}, "options": {...}} as job.json has, or NULL
  const char *replay;                // folder or id of the run whose schedule.json is repeated, or NULL
  const char *precision;             // "auto", "f32", "bf16"
  const char *optim, *schedule;      // NULL: the recipe's
  double lr, muon_lr, weight_decay;  // NaN: the recipe's
  int64_t batch, seq, steps, vocab, micro, recompute, recompute_layers;  // <= 0: the recipe's
  bool recompute_cheap;
  int64_t max_bytes;  // of text; <= 0: all
  uint64_t seed;
  bool plan_only;
  bool measure_gns;  // the gradient noise scale while training; cuts the batch in two unless `micro` does
} iso_solo_opts;

// Machine, data, choice; with plan_only nothing is trained. *result (owned by the caller) is the object that --json ends with:
// params, tokens, elapsed_s, bits_per_byte, predicted, measured, plan. ISO_ECANCEL: stopped, the checkpoint is in out_dir.
iso_status iso_solo_run(iso_env *e, const iso_solo_opts *o, json_t **result, iso_err *err);
// The result object from the parts.
json_t *iso_solo_result(iso_env *e, const iso_choice *c, const iso_job_result *r, const iso_cost *predicted);
#endif
