// isoflop plan: what a budget would buy, before anything is spent on it.
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/solo_args.h"
#include "gen_version.h"

static const char *const EXAMPLES[] = {"isoflop plan --budget 5m", "isoflop plan --text book.txt --budget 1h,2GiB --json",
                                       "isoflop plan --model 10m --vocab 4096 --steps 1000",
                                       "isoflop plan layout --model llama3-70b --cluster 512xa100-80 --batch 4Mtok", NULL};
static const cli_opt OPTS[] = {CLI_SOLO_OPTS};

static int run(cli_args *a) {
  iso_err err = {0};
  iso_solo_opts o;
  iso_env *e = NULL;
  iso_env_opts eo = {.kind = "plan", .command = a->command, .rev = ISO_REV, .store = cli_text(a, "store"), .prices = cli_text(a, "prices")};
  json_t *result = NULL;
  int code = cli_solo_opts(a, &o);
  if (code) return code;
  o.plan_only = true;
  iso_status st = cli_budget(a, &eo.budget, &err);
  if (st == ISO_OK && !iso_env_bounds(&eo.budget) && o.steps <= 0 && !o.config_path)
    return cli_usage(a, "nothing bounds this plan: give --budget (as in --budget 5m) or --steps");
  if (st == ISO_OK) st = iso_env_open(a->ctx, &eo, &e, &err);
  if (st == ISO_OK) st = iso_solo_run(e, &o, &result, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else
    code = a->json ? cli_put_json(json_incref(result)) : cli_print_plan(result);
  iso_env_close(e, st == ISO_OK ? "done" : st == ISO_ECANCEL ? "stopped" : "failed", result);
  json_decref(result);
  return code;
}

const cli_verb cli_verb_plan = {.name = "plan",
                                .summary = "Price a grid of models and say what the budget buys; trains nothing.",
                                .examples = EXAMPLES,
                                .usage = "[--text FILE... | --data DIR] [--budget BUDGET | --steps N] [options]",
                                .opts = OPTS,
                                .n_opts = ISO_COUNT(OPTS),
                                .notes = "Reads and tokenizes the text (into --out/data, used again by train) and calibrates the machine once.",
                                .run = run};
