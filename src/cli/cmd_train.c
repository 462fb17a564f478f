// isoflop train: one model from text under a budget.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/solo_args.h"
#include "gen_version.h"

static const char *const EXAMPLES[] = {"isoflop train --text book.txt --budget 300s --out model",
                                       "isoflop train --text a.txt b.txt.gz --budget 2e14flop,600MiB --json",
                                       "isoflop train --data shards --model 4,128,4/4,352,2048,256 --steps 500 --out small",
                                       "isoflop train --text book.txt --steps 400 --batch 32 --micro 4 --measure-gns --out noise", NULL};

static const cli_opt OPTS[] = {
    CLI_SOLO_OPTS,
    {"init", CLI_TEXT, "DIR", NULL, "start from this model folder instead of random weights"},
    {"replay", CLI_TEXT, "RUN", NULL, "repeat this run, named by its id or folder, bit for bit, on the same text"},
    {"measure-gns", CLI_FLAG, NULL, NULL, "estimate the gradient noise scale while training; the batch is cut in two unless --micro does"},
};

// What the gradients say of the batch (McCandlish et al. 2018, arXiv:1812.06162).
static void print_noise(const json_t *g) {
  double v = json_number_value(json_object_get(g, "noise_scale_tok")), se = json_number_value(json_object_get(g, "se_tok"));
  long long n = json_integer_value(json_object_get(g, "steps")), from = json_integer_value(json_object_get(g, "from_step"));
  char a[40], b[40];
  if (!g) return;
  if (!json_is_number(json_object_get(g, "noise_scale_tok"))) {
    printf("gradient noise scale: not told by %lld steps: %s\n", n, json_string_value(json_object_get(g, "why_not")));
    return;
  }
  printf("gradient noise scale %s, standard error %s, over %lld steps from %lld on\n", iso_unit_print(v, ISO_UNIT_TOK, a, sizeof a),
         iso_unit_print(se, ISO_UNIT_TOK, b, sizeof b), n, from + 1);
  printf("critical batch       %s; this run's %s take %.3g times the fewest steps and %.3g times the fewest tokens\n", a,
         iso_unit_print(json_number_value(json_object_get(g, "batch_tok")), ISO_UNIT_TOK, b, sizeof b),
         json_number_value(json_object_get(g, "steps_over_fewest")), json_number_value(json_object_get(g, "tokens_over_fewest")));
}

static void print_summary(const json_t *r, const char *out_dir) {
  const json_t *p = json_object_get(r, "predicted"), *m = json_object_get(r, "measured");
  char a[40], b[40];
  printf("%-14s %14s %14s %8s\n", "", "predicted", "measured", "ratio");
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    const iso_res_info *info = iso_res_get((iso_res)i);
    const json_t *x = json_object_get(p, info->name), *y = json_object_get(m, info->name);
    double pv = json_is_array(x) ? json_number_value(json_array_get(x, 1)) : json_is_number(x) ? json_number_value(x) : NAN;
    double mv = json_is_number(y) ? json_number_value(y) : NAN;
    if (!isfinite(pv) || !isfinite(mv) || (pv == 0 && mv == 0)) continue;
    printf("%-14s %14s %14s %8.2f\n", info->name, iso_unit_print(pv, info->unit, a, sizeof a), iso_unit_print(mv, info->unit, b, sizeof b), mv / pv);
  }
  const json_t *q = json_object_get(p, "bits_per_byte");
  printf("%-14s %6.3f-%6.3f %14.4f\n", "bits_per_byte", json_number_value(json_array_get(q, 0)), json_number_value(json_array_get(q, 2)),
         json_number_value(json_object_get(r, "bits_per_byte")));
  print_noise(json_object_get(r, "gradient_noise"));
  printf("model in %s: try isoflop sample %s --prompt 'The'\n", out_dir, out_dir);
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_solo_opts o;
  iso_env *e = NULL;
  iso_env_opts eo = {.kind = "train", .command = a->command, .rev = ISO_REV, .store = cli_text(a, "store"), .prices = cli_text(a, "prices")};
  json_t *result = NULL;
  int code = cli_solo_opts(a, &o);
  if (code) return code;
  o.init_dir = cli_text(a, "init");
  o.replay = cli_text(a, "replay");
  o.measure_gns = cli_flag(a, "measure-gns");
  o.plan_only = cli_flag(a, "dry-run");
  if (o.measure_gns && o.batch == 1) return cli_usage(a, "--measure-gns compares two micro-batches: --batch 1 is one sequence, give two or more");
  if (o.measure_gns && o.batch > 0 && o.micro >= o.batch)
    return cli_usage(a, "--measure-gns compares two micro-batches: --micro %lld is all of --batch %lld", (long long)o.micro, (long long)o.batch);
  static const char *const FIXED[] = {"model",       "config",           "steps",           "batch", "micro",    "seq", "vocab",
                                      "recompute",   "recompute-layers", "recompute-cheap", "optim", "schedule", "lr",  "muon-lr",
                                      "weight-decay"};
  for (size_t i = 0; o.replay && i < ISO_COUNT(FIXED); i++)
    if (cli_given(a, FIXED[i])) return cli_usage(a, "--replay and --%s exclude each other: a run is repeated as it was", FIXED[i]);
  if (o.init_dir && (o.shape || o.config_path || cli_given(a, "vocab")))
    return cli_usage(a, "--init excludes --model, --config and --vocab: shape and tokenizer are the model's");
  iso_status st = cli_budget(a, &eo.budget, &err);
  if (st == ISO_OK && !iso_env_bounds(&eo.budget) && o.steps <= 0 && !o.replay && !o.config_path)
    return cli_usage(a, "nothing bounds this run: give --budget (as in --budget 5m) or --steps");
  eo.seed = (int64_t)o.seed;
  iso_job_pending p = {0};
  if (st == ISO_OK && !o.plan_only && !o.replay) st = iso_job_pending_open(o.out_dir, &p, &err);
  if (p.there) eo.used = &p.used;
  if (st == ISO_OK) st = iso_env_open(a->ctx, &eo, &e, &err);
  if (st == ISO_OK) st = iso_solo_run(e, &o, &result, &err);
  if (st == ISO_OK) {
    if (a->json)
      code = cli_put_json(json_incref(result));
    else if (!o.plan_only)
      print_summary(result, o.out_dir);
    else
      code = cli_print_plan(result);
  } else {
    iso_err none = {0};
    iso_job_pending left;
    if (st == ISO_ECANCEL && iso_job_pending_open(o.out_dir, &left, &none) == ISO_OK) {
      iso_hint(&err, st, left.there ? "saved in %s; the same command goes on" : "there was nothing yet to save in %s; the same command begins anew",
               o.out_dir);
      iso_job_pending_close(&left);
    }
    code = cli_fail(a, st, &err);
  }
  iso_job_pending_close(&p);
  iso_env_close(e, st == ISO_OK ? "done" : st == ISO_ECANCEL ? "stopped" : "failed", result);
  json_decref(result);
  return code;
}

const cli_verb cli_verb_train = {
    .name = "train",
    .summary = "Train a model on text inside a budget; the planner chooses what you leave open.",
    .examples = EXAMPLES,
    .usage = "[--text FILE... | --data DIR] [--budget BUDGET | --steps N] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "The last 2% of a single file (2% of the documents of several) are held out and scored at the end.\n"
        "Ctrl-C saves and stops; the same command goes on, and time that has passed meanwhile is not counted.\n"
        "With --measure-gns another norm is taken after the first micro-batch of a step (arXiv:1812.06162): the noise scale of the newest half to\n"
        "three quarters of the steps, in tokens, predicts the critical batch. What is trained does not change.\n"
        "Without --text and --data the text is GCIDE, the dictionary of Debian's package dict-gcide.",
    .run = run};
