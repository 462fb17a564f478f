// isoflop law: what scaling laws there are, what they say, and what their published constants predict.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/law_args.h"
#include "cli/law_gmse.h"
#include "cli/law_show.h"
#include "cli/work.h"

static const char *const EXAMPLES[] = {"isoflop law list",
                                       "isoflop law show chinchilla",
                                       "isoflop law show chinchilla --at params=70B,tokens=1.4T --flop 5.76e23",
                                       "isoflop law show chinchilla --target 1.95 --json",
                                       "isoflop law show moe_fine_grained --flop 1e20 --best granularity",
                                       "isoflop law show reward_bon --with alpha=0.9,beta=0.2 --best samples",
                                       NULL};
static const char *const ACTIONS[] = {"list", "show", "gmse"};
static const cli_opt OPTS[] = {
    {"at", CLI_TEXT, "NAME=VALUE,...", NULL, "show: predict at these inputs, as in params=70B,tokens=1.4T"},
    {"observed", CLI_TEXT, "VALUE", NULL, "show: with --at, how far this measured target lies above or below the law, in percent"},
    {"flop", CLI_TEXT, "C", NULL, "show: the optimum at this training compute, other inputs as in --at"},
    {"best", CLI_TEXT, "INPUT[,NAME=VALUE...]", NULL,
     "show: the INPUT at which the target is best, the other inputs as given; with --flop at that compute, the sizes chosen too unless given"},
    {"target", CLI_TEXT, "VALUE", NULL, "show: the training compute whose optimum has this target (a loss), other inputs as in --at"},
    {"solve", CLI_TEXT, "INPUT", NULL, "show: with --target, the INPUT at which the target has that value, the others as in --at"},
    {"serve", CLI_TEXT, "TOKENS", NULL, "show: with --target, also the size of the least FLOPs 6 N D + 2 N TOKENS over its life (arXiv:2401.00448)"},
    {"with", CLI_TEXT, "NAME=VALUE,...", NULL, "show: constants of your own, as in alpha=0.34,A=406.4; the others from --set"},
    {"level", CLI_REAL, "P", "0.9", "show: probability of the intervals"},
    {"set", CLI_TEXT, "NAME", NULL, "show: this published set only (default: all)"},
};

// ---- list -----------------------------------------------------------------------------------------------------------

static int list_laws(const cli_args *a) {
  json_t *all = json_array();
  if (!a->json) printf("%-24s %-16s %-42s %s\n", "law", "predicts", "from", "constants");
  for (int64_t i = 0; i < iso_law_count(); i++) {
    const iso_law *l = iso_law_at(i);
    char inputs[200] = "";
    int sets = 0;
    json_t *names = json_array();
    for (int k = 0; k < l->n_inputs; k++) {
      size_t n = strlen(inputs);
      (void)snprintf(inputs + n, sizeof inputs - n, "%s%s", k ? ", " : "", l->input[k].name);
      json_array_append_new(names, json_string(l->input[k].name));
    }
    for (int k = 0; k < l->n_consts; k++) sets += l->consts[k].confirmed;
    if (a->json)
      json_array_append_new(
          all, json_pack("{s:s, s:s, s:s, s:s, s:O, s:i, s:b, s:s}", "law", l->base.name, "summary", l->base.summary, "formula", l->formula, "target",
                         l->target, "inputs", names, "sets", l->n_consts, "confirmed", sets > 0, "paper", l->base.paper));
    else
      printf("%-24s %-16s %-42s %s\n", l->base.name, l->target, inputs,
             sets          ? "published"
             : l->n_consts ? "not confirmed: fit it first"
                           : "none: fit it first");
    json_decref(names);
  }
  if (a->json) return cli_put_json(json_pack("{s:o}", "laws", all));
  json_decref(all);
  printf("\nisoflop law show NAME tells more; isoflop fit DATA.csv --law NAME fits one.\n");
  return EXIT_DONE;
}

// ---- show -----------------------------------------------------------------------------------------------------------

static iso_status read_target(const char *text, double *out, iso_err *err) {
  char *end;
  *out = strtod(text, &end);  // losses that are relative to another may be negative
  if (end != text && !*end && isfinite(*out)) return ISO_OK;
  return iso_unit_parse(text, ISO_UNIT_COUNT, out, err);
}

static bool complete(const iso_law *l, const double *x) {
  for (int i = 0; i < l->n_inputs; i++)
    if (isnan(x[i])) return false;
  return true;
}

// Reads what is asked; returns 0 or the exit code.
static int read_question(const cli_args *a, cli_law_question *q) {
  iso_err err = {0};
  const char *at = cli_text(a, "at"), *flop = cli_text(a, "flop"), *set = cli_text(a, "set"), *best = cli_text(a, "best");
  const char *target = cli_text(a, "target"), *solve = cli_text(a, "solve"), *with = cli_text(a, "with");
  const iso_law *l = q->law;
  if (set && iso_law_find_const(l, set, &q->only, &err) != ISO_OK) return cli_fail(a, ISO_EINVAL, &err);
  if (with) {
    const iso_law_const *base = q->only;
    for (int i = 0; !base && i < l->n_consts; i++)
      if (l->consts[i].confirmed) base = &l->consts[i];
    if (cli_law_constants(l, with, base, &q->given, &err) != ISO_OK) return cli_fail(a, ISO_EINVAL, &err);
    q->only = &q->given;
  }
  if (flop && (iso_unit_parse(flop, ISO_UNIT_FLOP, &q->flop, &err) != ISO_OK || !(q->flop > 0)))
    return cli_usage(a, "--flop: %s", err.msg[0] ? err.msg : "must be above 0");
  if (target && read_target(target, &q->target, &err) != ISO_OK) return cli_usage(a, "--target: %s", err.msg);
  if (solve && !target) return cli_usage(a, "--solve: the INPUT at which the target is what? --target VALUE says it");
  if (solve && (q->solve = iso_law_input_find(l, solve)) < 0) return cli_usage(a, "--solve: law %s has no input called %.60s", l->base.name, solve);
  if (target && !solve && (l->at_params < 0 || l->at_tokens < 0)) {
    if (l->n_inputs > 1) return cli_usage(a, "--target: law %s does not split a compute budget; --solve INPUT asks for an input", l->base.name);
    q->solve = 0;
  }
  const char *serve = cli_text(a, "serve");
  if (serve && (!target || q->solve >= 0)) return cli_usage(a, "--serve needs --target, the loss to reach, and excludes --solve");
  if (serve && (iso_unit_parse(serve, ISO_UNIT_TOK, &q->serve_tok, &err) != ISO_OK || !(q->serve_tok >= 0)))
    return cli_usage(a, "--serve: %s", err.msg[0] ? err.msg : "must be 0 or more");
  q->level = cli_real(a, "level");
  if (!(q->level > 0 && q->level < 1)) return cli_usage(a, "--level must lie between 0 and 1");
  iso_law_absent(l, q->x);
  if (at) {
    // A budget decides the sizes, and an input that is looked for needs no value.
    bool some = flop || target;
    iso_status st = some ? cli_law_some_inputs(l, at, "--at", q->x, &err) : cli_law_inputs(l, at, "--at", q->x, &err);
    if (st == ISO_OK && some && complete(l, q->x)) st = iso_law_check_inputs(l, q->x, &err);
    if (st != ISO_OK) return cli_fail(a, st, &err);
    q->at = complete(l, q->x);
  }
  const char *observed = cli_text(a, "observed");
  if (observed && !q->at) return cli_usage(a, "--observed needs --at with every input of the law: where was it measured?");
  if (observed && read_target(observed, &q->observed, &err) != ISO_OK) return cli_usage(a, "--observed: %s", err.msg);
  if (best) {
    iso_status st = flop ? cli_law_some_best(l, best, &q->best, q->best_x, &err) : cli_law_best(l, best, &q->best, q->best_x, &err);
    if (st != ISO_OK) return cli_fail(a, st, &err);
  }
  return 0;
}

static int run(cli_args *a) {
  static const char *const ASK[] = {"at", "observed", "flop", "set", "best", "target", "solve", "serve", "with", "level"};
  iso_err err = {0};
  cli_law_question q = {.observed = NAN, .flop = NAN, .target = NAN, .serve_tok = NAN, .solve = -1, .best = -1};
  bool asked = false;
  int k = cli_action(a, ACTIONS, 3), code;
  if (k < 0) return EXIT_USAGE;
  for (size_t i = 0; i < ISO_COUNT(ASK); i++) asked = asked || cli_given(a, ASK[i]);
  if (k == 0) {
    if (a->n_pos > 1 || asked) return cli_usage(a, "list takes neither a name nor a question");
    return list_laws(a);
  }
  if (k == 2) {
    if (a->n_pos < 2 || asked) return cli_usage(a, "gmse: expected formats, as in isoflop law gmse int4 e2m1 2:4, and no question");
    return cli_law_gmse(a);
  }
  if (a->n_pos != 2) return cli_usage(a, "show: expected the name of one law; isoflop law list has them");
  if (iso_law_find(a->pos[1], &q.law, &err) != ISO_OK) return cli_fail(a, ISO_EINVAL, &err);
  code = read_question(a, &q);
  return code ? code : cli_law_show(a, &q);
}

const cli_verb cli_verb_law = {
    .name = "law",
    .summary = "Scaling laws: list them, show what one says, predict with its published constants.",
    .examples = EXAMPLES,
    .usage = "list | show NAME [--at NAME=VALUE,...] [--flop C] [--best INPUT] [--target VALUE [--solve INPUT]] [options] | gmse FORMAT...",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 1,
    .max_args = 64,
    .notes =
        "gmse prints the mean squared error of number formats (uniform4, int4, lloyd4, e2m1) and sparsity (sparse0.5, 2:4) on N(0,1), which the\n"
        "law compressed takes. Intervals come from the published uncertainty of the constants, where there is any: they say where the law lies, not\n"
        "where a run falls. Constants that no primary source confirms are shown and predict nothing: such a law is fitted to runs first, by "
        "isoflop fit --law.",
    .stops_at_once = true,
    .run = run};
