// isoflop plan hparams: learning rate, batch, weight decay and beta2 of a run, by every law that says something, with their spread.
#include <math.h>
#include <string.h>

#include "cli/plan/args.h"
#include "plan/hyper.h"
#include "plan/law_ask.h"

static const char *const EXAMPLES[] = {"isoflop plan hparams --params 1.3e9 --tokens 3e10",
                                       "isoflop plan hparams --model llama3-8b --tokens 1Ttok --batch 4Mtok --json", NULL};
static const cli_opt OPTS[] = {
    {"params", CLI_TEXT, "N", NULL, "parameters of the model, as in 1.3e9 or 1.3B"},
    {"model", CLI_TEXT, "MODEL", NULL, "or a model: a name as llama3-8b, a shape, or a config.json"},
    {"tokens", CLI_TEXT, "TOKENS", NULL, "training tokens, as in 3e10 or 30B"},
    {"batch", CLI_TEXT, "SIZE", NULL, "sequences of a step, or tokens as in 4Mtok (default: by the laws)"},
    {"seq", CLI_INT, "N", "2048", "tokens a sequence"},
    {"experts", CLI_FLAG, NULL, NULL, "a mixture of experts: use what was fitted to those"},
    CLI_PLAN_OPTS,
};

// What is chosen in turn: each may need those before it.
typedef struct goal {
  const char *target, *key;
  bool critical;
} goal;
enum { BATCH, CRITICAL, LR, DECAY, TAU, GOALS };
static const goal GOAL[GOALS] = {{"batch_tokens", "batch_tokens", false},
                                 {"batch_tokens", "critical_batch_tokens", true},
                                 {"lr", "lr", false},
                                 {"weight_decay", "weight_decay", false},
                                 {"ema_timescale", "ema_timescale", false}};

typedef struct answer {
  iso_hyper_run run;
  bool experts, batch_given;
  int64_t seq, batch;  // sequences
  iso_est value[GOALS];
  int laws[GOALS], rows[GOALS];
  iso_hyper_row row[GOALS][ISO_HYPER_ROWS_MAX];
} answer;

static void ask(answer *a, int g) {
  a->rows[g] = iso_hyper_list(GOAL[g].target, &a->run, a->row[g]);
  a->value[g] = iso_hyper_pick(a->row[g], a->rows[g], GOAL[g].critical, a->experts, &a->laws[g]);
}

static void solve(answer *a) {
  ask(a, BATCH);
  ask(a, CRITICAL);
  if (!a->batch_given && a->laws[BATCH]) a->batch = (int64_t)exp2(round(log2(fmax(1, a->value[BATCH].mean / (double)a->seq))));
  if (a->batch) a->run.batch_tok = (double)(a->batch * a->seq);
  ask(a, LR);
  a->run.lr = a->value[LR].mean;
  ask(a, DECAY);
  ask(a, TAU);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *est(iso_est e, int laws) {
  json_t *o = iso_json_range(e.mean, e.lo, e.hi, "one law says something and publishes no uncertainty");
  json_object_set_new(o, "laws", json_integer(laws));
  return o;
}

static json_t *rows_json(const answer *a) {
  json_t *all = json_array();
  for (int g = 0; g < GOALS; g++) {
    for (int i = 0; i < a->rows[g]; i++) {
      const iso_hyper_row *r = &a->row[g][i];
      if (r->critical != GOAL[g].critical) continue;
      const char *why = !r->set ? "no published constants: fit it" : !r->confirmed ? "constants not confirmed" : r->missing ? "needs " : "";
      char text[100];
      (void)snprintf(text, sizeof text, "%s%s", why, r->confirmed && r->missing ? r->missing : "");
      bool used = r->value > 0 && r->experts == a->experts;
      json_t *row = json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:b, s:s, s:s, s:s, s:s?}", "for", GOAL[g].key, "law", r->law->base.name, "set",
                              r->set ? r->set->name : NULL, "value", iso_json_num(r->value), "lo", iso_json_num(r->lo), "hi", iso_json_num(r->hi),
                              "reach", iso_json_num(r->reach), "used", used, "why_not",
                              used         ? ""
                              : text[0]    ? text
                              : r->experts ? "fitted to mixtures of experts"
                                           : "fitted to dense models",
                              "counts", r->law->counts, "paper", r->law->base.paper, "source", r->set ? r->set->source : NULL);
      if (isnan(r->lo)) json_object_set_new(row, "interval", json_string("none: no uncertainty of these constants is published"));
      json_array_append_new(all, row);
    }
  }
  return all;
}

// The learning rate and batch at twice the parameters or tokens: what these inputs would change.
static json_t *sensitivity(const answer *a) {
  json_t *o = json_object();
  for (int k = 0; k < 2; k++) {
    answer b = *a;
    *(k ? &b.run.tokens : &b.run.params) *= 2;
    b.run.train_flop *= 2;
    b.run.lr = NAN;
    if (!b.batch_given) b.run.batch_tok = NAN;
    solve(&b);
    json_object_set_new(o, k ? "twice_the_tokens" : "twice_the_params",
                        json_pack("{s:o, s:o, s:o}", "lr", est(b.value[LR], b.laws[LR]), "batch_tokens", est(b.value[BATCH], b.laws[BATCH]),
                                  "weight_decay", est(b.value[DECAY], b.laws[DECAY])));
  }
  return o;
}

// Chinchilla's, with the published uncertainty of its constants.
static json_t *loss_json(const answer *a) {
  const iso_law *law;
  iso_fit_interval v = {a->run.loss, NAN, NAN};
  if (iso_law_find("chinchilla", &law, NULL) == ISO_OK) {
    double x[ISO_LAW_INPUT_MAX];
    iso_law_absent(law, x);
    x[law->at_params] = a->run.params;
    x[law->at_tokens] = a->run.tokens;
    (void)iso_law_predict_interval(law, &law->consts[0], x, 0.9, &v, NULL);
  }
  return iso_json_range(a->run.loss, v.lo, v.hi, "no uncertainty of these constants is published");
}

static json_t *answer_json(const answer *a) {
  json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", "hparams", "params", iso_json_num(a->run.params), "tokens", iso_json_num(a->run.tokens),
                        "train_flop", iso_json_num(a->run.train_flop), "loss", loss_json(a));
  json_object_set_new(o, "intervals", json_string("the spread of the laws, with what is published of their constants' own uncertainty (90%)"));
  for (int g = 0; g < GOALS; g++) json_object_set_new(o, GOAL[g].key, est(a->value[g], a->laws[g]));
  double b = a->run.batch_tok, decay = a->value[DECAY].mean;
  json_object_set_new(o, "batch",
                      json_pack("{s:o, s:o, s:I, s:b}", "sequences", a->batch ? json_integer((json_int_t)a->batch) : json_null(), "tokens",
                                iso_json_num(b), "seq", (json_int_t)a->seq, "given", a->batch_given));
  json_object_set_new(o, "steps", iso_json_num(ceil(a->run.tokens / b)));
  json_t *beta2 = iso_json_range(iso_hyper_beta2(b), fmin(0.95, iso_hyper_beta2(b)), fmax(0.95, iso_hyper_beta2(b)), "no batch is known");
  json_object_set_new(beta2, "source", json_string("half-life constant in tokens (arXiv:2507.07101), 0.95 at 4M tokens (arXiv:2302.13971)"));
  json_object_set_new(o, "beta2", beta2);
  json_object_set_new(o, "above_critical", isnan(b) || isnan(a->value[CRITICAL].hi) ? json_null() : json_boolean(b > a->value[CRITICAL].hi));
  // The decay that the chosen rate and batch imply over the run, whichever law it is from.
  json_object_set_new(o, "timescale_of_decay", iso_json_num(b / (a->run.lr * decay * a->run.tokens)));
  const iso_hyper_recipe *r = iso_hyper_recipe_near(a->run.params);
  json_object_set_new(o, "recipe",
                      json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "name", r->name, "params", iso_json_num(r->params), "tokens",
                                iso_json_num(r->tokens), "lr", iso_json_num(r->lr), "batch_tokens", iso_json_num(r->batch_tok), "weight_decay",
                                iso_json_num(r->weight_decay), "beta2", iso_json_num(r->beta2), "source", r->source));
  json_object_set_new(o, "sensitivity", sensitivity(a));
  json_object_set_new(o, "laws", rows_json(a));
  return o;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static void print_value(const char *name, const json_t *r, const char *key) {
  double v = cli_at(cli_json_at(r, key), "value"), laws = cli_at(cli_json_at(r, key), "laws");
  if (isnan(v))
    cli_row(name, "no confirmed law says");
  else
    cli_row(name, "%.4g (%.4g to %.4g)%s", v, cli_at(cli_json_at(r, key), "lo"), cli_at(cli_json_at(r, key), "hi"),
            isnan(laws) ? ""
            : laws == 1 ? ", one law"
                        : ", the spread of several laws");
}

static void print_plan(const json_t *r) {
  char b[40];
  cli_row("run", "%.4g parameters on %s, %.4g FLOP", cli_at(r, "params"), iso_unit_print(cli_at(r, "tokens"), ISO_UNIT_TOK, b, sizeof b),
          cli_at(r, "train_flop"));
  if (!isnan(cli_at(r, "batch.tokens")))
    cli_row("batch", "%.0f sequences of %.0f: %s, %.0f steps%s", cli_at(r, "batch.sequences"), cli_at(r, "batch.seq"),
            iso_unit_print(cli_at(r, "batch.tokens"), ISO_UNIT_TOK, b, sizeof b), cli_at(r, "steps"),
            json_is_true(cli_json_at(r, "above_critical")) ? "; ABOVE the critical batch" : "");
  print_value("  best, in tokens", r, "batch_tokens");
  print_value("  critical, in tokens", r, "critical_batch_tokens");
  print_value("learning rate", r, "lr");
  print_value("weight decay", r, "weight_decay");
  print_value("beta2", r, "beta2");
  if (!isnan(cli_at(r, "ema_timescale.value"))) print_value("timescale of decay", r, "ema_timescale");
  cli_row("published nearby", "%s: lr %.3g, batch %s, weight decay %.2g, beta2 %.3g", cli_text_at(r, "recipe.name"), cli_at(r, "recipe.lr"),
          iso_unit_print(cli_at(r, "recipe.batch_tokens"), ISO_UNIT_TOK, b, sizeof b), cli_at(r, "recipe.weight_decay"), cli_at(r, "recipe.beta2"));
  cli_row("twice the parameters", "lr %.4g, batch %s", cli_at(r, "sensitivity.twice_the_params.lr"),
          iso_unit_print(cli_at(r, "sensitivity.twice_the_params.batch_tokens"), ISO_UNIT_TOK, b, sizeof b));
  cli_row("twice the tokens", "lr %.4g, batch %s", cli_at(r, "sensitivity.twice_the_tokens.lr"),
          iso_unit_print(cli_at(r, "sensitivity.twice_the_tokens.batch_tokens"), ISO_UNIT_TOK, b, sizeof b));
  const json_t *laws = json_object_get(r, "laws");
  printf("\n%-22s %-22s %-22s %12s  %s\n", "for", "law", "set", "value", "");
  for (size_t i = 0; i < json_array_size(laws); i++) {
    const json_t *l = json_array_get(laws, i);
    double v = cli_at(l, "value"), reach = cli_at(l, "reach"), lo = cli_at(l, "lo");
    char value[40] = "-", note[200];
    if (!isnan(v)) (void)snprintf(value, sizeof value, "%.4g", v);
    (void)snprintf(note, sizeof note, "%.100s", cli_text_at(l, "why_not"));
    if (!note[0] && !isnan(lo)) (void)snprintf(note, sizeof note, "90%% by its constants: %.4g to %.4g", lo, cli_at(l, "hi"));
    size_t n = strlen(note);
    if ((!n || !isnan(lo)) && reach > 1) (void)snprintf(note + n, sizeof note - n, "%s%.3g times outside what its fit saw", n ? "; " : "", reach);
    printf("%-22s %-22s %-22s %12s  %s\n", cli_text_at(l, "for"), cli_text_at(l, "law"), cli_text_at(l, "set"), value, note);
  }
  printf("\nintervals: %s\n", cli_text_at(r, "intervals"));
  printf("isoflop law show NAME has each law's conventions and source.\n");
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status read(const cli_args *a, answer *o, iso_err *err) {
  const char *model = cli_text(a, "model");
  double loss;
  *o = (answer){.run = {NAN, NAN, NAN, NAN, NAN, NAN}, .seq = cli_seq(a), .experts = cli_flag(a, "experts")};
  if (o->seq < 1) return iso_fail(err, ISO_EINVAL, "--seq must be at least 1");
  ISO_TRY(cli_quantity(a, "params", ISO_UNIT_COUNT, &o->run.params, err));
  if (model) {
    iso_layout_shape s;
    iso_layout_counts n;
    if (!isnan(o->run.params)) return iso_fail(err, ISO_EINVAL, "--model and --params exclude each other");
    ISO_TRY(cli_model_layout(model, o->seq, &s, err));
    iso_layout_count(&s, &n);
    o->run.params = (double)n.active_params;
    o->experts = o->experts || s.experts > 0;
  }
  ISO_TRY(cli_quantity(a, "tokens", ISO_UNIT_TOK, &o->run.tokens, err));
  if (isnan(o->run.params) || isnan(o->run.tokens))
    return iso_fail(err, ISO_EINVAL, "--%s is missing", isnan(o->run.params) ? "params (or --model)" : "tokens");
  if (o->run.params < 1 || o->run.params > 1e16 || o->run.tokens > 1e20)
    return iso_fail(err, ISO_EINVAL, "%g parameters on %g tokens: expected 1 to 1e16 and at most 1e20", o->run.params, o->run.tokens);
  if (o->run.tokens < (double)o->seq)
    return iso_fail(err, ISO_EINVAL, "--tokens: %g are less than one sequence of %lld (--seq)", o->run.tokens, (long long)o->seq);
  ISO_TRY(cli_batch(a, o->seq, &o->batch, err));
  o->batch_given = o->batch > 0;
  o->run.train_flop = ISO_LAW_FLOP_PER_PARAM_TOK * o->run.params * o->run.tokens;
  const iso_law *law;
  ISO_TRY(iso_law_find("chinchilla", &law, err));
  loss = iso_law_nd(law, law->consts[0].p, o->run.params, o->run.tokens);
  o->run.loss = loss;
  return ISO_OK;
}

static int run(cli_args *a) {
  iso_err err = {0};
  cli_plan p;
  answer o;
  iso_status st = cli_plan_open(a, &p, &err);
  if (st == ISO_OK) st = read(a, &o, &err);
  if (st == ISO_OK) solve(&o);
  return cli_plan_close(a, &p, st, &err, st == ISO_OK ? answer_json(&o) : NULL, print_plan);
}

const cli_verb cli_verb_plan_hparams = {
    .name = "plan hparams",
    .summary = "Learning rate, batch, weight decay and beta2 of a run, by every law that says something.",
    .examples = EXAMPLES,
    .usage = "--params N | --model MODEL, --tokens TOKENS [--batch SIZE] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "The value is the geometric mean over laws with confirmed constants, the interval their spread with what is published of their constants'\n"
        "own; batch first, then the rate at it, then\n"
        "the decay at both. Laws that need a loss get Chinchilla's.",
    .stops_at_once = true,
    .run = run};
