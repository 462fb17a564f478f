// isoflop law: what scaling laws there are, what they say, and what their published constants predict.
#include <math.h>
#include <string.h>

#include "cli/law_args.h"
#include "cli/law_gmse.h"
#include "cli/work.h"

static const char *const EXAMPLES[] = {"isoflop law list", "isoflop law show chinchilla",
                                       "isoflop law show chinchilla --at params=70B,tokens=1.4T --flop 5.76e23", "isoflop law show kaplan --json",
                                       NULL};
static const char *const ACTIONS[] = {"list", "show", "gmse"};
static const cli_opt OPTS[] = {
    {"at", CLI_TEXT, "NAME=VALUE,...", NULL, "show: predict at these inputs, as in params=70B,tokens=1.4T"},
    {"flop", CLI_TEXT, "C", NULL, "show: the optimum at this training compute, other inputs as in --at"},
    {"best", CLI_TEXT, "INPUT[,NAME=VALUE...]", NULL, "show: the INPUT at which the target is best, the other inputs as given"},
    {"set", CLI_TEXT, "NAME", NULL, "show: this published set only (default: all)"},
};

typedef struct question {
  const iso_law *law;
  const iso_law_const *only;  // NULL: all sets
  bool at, has_flop;
  double x[ISO_LAW_INPUT_MAX], flop;
  int best;  // input looked for; -1: none
  double best_x[ISO_LAW_INPUT_MAX];
} question;

// The range in which an input is looked for when nothing bounds it.
#define BEST_LO 1e-6
#define BEST_HI 1e30

static iso_status best_input(const iso_law_const *c, const question *q, double *at, double *y, iso_err *err) {
  if (!c->confirmed) return iso_law_predict_const(q->law, c, q->best_x, y, err);
  return iso_law_best_input(q->law, c->p, q->best_x, q->best, BEST_LO, BEST_HI, at, y, err);
}

static iso_status optimum(const iso_law *law, const iso_law_const *c, const question *q, iso_law_point *out, iso_err *err) {
  double x[ISO_LAW_INPUT_MAX];
  memcpy(x, q->x, sizeof x);
  if (law->at_params < 0 || law->at_tokens < 0) return iso_fail(err, ISO_EINVAL, "law %s does not split a compute budget", law->base.name);
  // What a budget decides needs no value.
  for (int i = 0; i < 2; i++) {
    int k = i ? law->at_tokens : law->at_params;
    if (isnan(x[k])) x[k] = 1;
  }
  ISO_TRY(iso_law_check_inputs(law, x, err));
  if (!c->confirmed) return iso_law_predict_const(law, c, x, &x[0], err);
  bool plain = true, edge = false;
  for (int i = 0; i < law->n_inputs; i++) plain = plain && (i == law->at_params || i == law->at_tokens || x[i] == law->input[i].absent);
  if (law->optimum && plain) return law->optimum(c->p, q->flop, out, err);
  ISO_TRY(iso_law_optimum_numeric(law, c->p, x, q->flop, 1e3, 1e15, NULL, NULL, out, &edge, err));
  return edge ? iso_fail(err, ISO_ENUM, "law %s has no optimum between 1e3 and 1e15 parameters at %g FLOP", law->base.name, q->flop) : ISO_OK;
}

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

static void print_set(const question *q, const iso_law_const *c) {
  const iso_law *l = q->law;
  char text[300] = "";
  iso_err e = {0};
  for (int k = 0; k < l->n_params; k++) {
    size_t n = strlen(text);
    (void)snprintf(text + n, sizeof text - n, "%s%s = %.6g", k ? ", " : "", l->param[k].sign, l->param[k].is_log ? exp(c->p[k]) : c->p[k]);
  }
  printf("\n%s%s\n  %s\n  %s\n", c->name, c->confirmed ? "" : "  NOT CONFIRMED: nothing is predicted with it", text, c->source);
  if (c->runs) printf("  runs %s\n", c->runs);
  for (int i = 0; i < l->n_inputs; i++)
    if (c->hi[i] > 0) printf("  fitted on %s %.4g to %.4g\n", l->input[i].name, c->lo[i], c->hi[i]);
  if (q->at) {
    double y;
    int worst;
    cli_law_inputs_text(l, q->x, text, sizeof text);
    if (iso_law_predict_const(l, c, q->x, &y, &e) != ISO_OK)
      printf("  %s\n", e.msg);
    else
      printf("  at %s: %s = %.6g %s\n", text, l->target, y, l->unit);
    double r = iso_law_reach(l, c->lo, c->hi, q->x, &worst);
    if (worst >= 0 && c->confirmed) printf("  an extrapolation: %.3g times outside what its fit saw of %s\n", r, l->input[worst].name);
  }
  if (q->best >= 0) {
    double at, y;
    if (best_input(c, q, &at, &y, &e) != ISO_OK)
      printf("  %s\n", e.msg);
    else
      printf("  best %s = %.6g: %s = %.6g %s\n", l->input[q->best].name, at, l->target, y, l->unit);
  }
  if (q->has_flop) {
    iso_law_point pt;
    if (optimum(l, c, q, &pt, &e) != ISO_OK)
      printf("  %s\n", e.msg);
    else
      printf("  optimum at C = %.4g FLOP: %s = %.4g, %s = %.4g, %s = %.6g\n", q->flop, l->input[l->at_params].name, pt.params,
             l->input[l->at_tokens].name, pt.tokens, l->target, pt.loss);
  }
}

static void print_law(const question *q, bool passed, const char *why) {
  const iso_law *l = q->law;
  printf("%s: %s\n%s\n\n", l->base.name, l->base.summary, l->base.paper);
  cli_row("formula", "%s", l->formula);
  cli_row("predicts", "%s, in %s", l->target, l->unit);
  cli_row("conventions", "%s", l->counts);
  if (l->flops) cli_row("", "%s", l->flops);
  if (l->objective == ISO_LAW_HUBER || l->objective == ISO_LAW_HUBER_LOG)
    cli_row("fitted by", "%s, delta %g", iso_law_objective_name(l->objective), l->delta);
  else
    cli_row("fitted by", "%s", iso_law_objective_name(l->objective));
  cli_row("optimum", "%s", l->at_params < 0 || l->at_tokens < 0 ? "splits no budget" : l->optimum ? "closed form" : "searched for");
  cli_row("selftest", "%s%s", passed ? "passed" : "FAILED: ", passed ? "" : why);
  for (int i = 0; i < l->n_inputs; i++) {
    const iso_law_input *in = &l->input[i];
    char left[60] = "";
    if (in->absent == INFINITY)
      (void)snprintf(left, sizeof left, "; left out: without it");
    else if (!isnan(in->absent))
      (void)snprintf(left, sizeof left, "; left out: %.6g", in->absent);
    cli_row(i ? "" : "inputs", "%-16s %s%s%s%s", in->name, in->what, in->unit[0] ? ", " : "", in->unit, left);
  }
  if (!l->n_consts) printf("\nno published constants: fit it to runs of your own, isoflop fit DATA.csv --law %s\n", l->base.name);
}

// Adds predictions and optima to the JSON of the sets; counts those that could be answered.
static int answer_sets(const question *q, json_t *sets) {
  const iso_law *l = q->law;
  int answered = 0, at = 0;
  for (int i = 0; i < l->n_consts; i++) {
    const iso_law_const *c = &l->consts[i];
    if (q->only && c != q->only) {
      json_array_remove(sets, (size_t)at);
      continue;
    }
    json_t *o = json_array_get(sets, (size_t)at++);
    iso_err e = {0};
    double y;
    iso_law_point pt;
    if (q->at) {
      bool ok = iso_law_predict_const(l, c, q->x, &y, &e) == ISO_OK;
      answered += ok;
      json_object_set_new(o, "prediction", ok ? iso_json_num(y) : json_null());
      json_object_set_new(o, "reach", iso_json_num(iso_law_reach(l, c->lo, c->hi, q->x, NULL)));
    }
    if (q->best >= 0) {
      double where;
      bool ok = best_input(c, q, &where, &y, &e) == ISO_OK;
      answered += ok;
      json_object_set_new(
          o, "best",
          ok ? json_pack("{s:s, s:o, s:o}", "input", l->input[q->best].name, "at", iso_json_num(where), l->target, iso_json_num(y)) : json_null());
    }
    if (q->has_flop) {
      bool ok = optimum(l, c, q, &pt, &e) == ISO_OK;
      answered += ok;
      json_object_set_new(o, "optimum",
                          ok ? json_pack("{s:o, s:o, s:o, s:o}", "train_flop", iso_json_num(pt.flop), "params", iso_json_num(pt.params), "tokens",
                                         iso_json_num(pt.tokens), l->target, iso_json_num(pt.loss))
                             : json_null());
    }
    if (e.msg[0]) json_object_set_new(o, "note", json_string(e.msg));
  }
  return answered;
}

static int show_law(const cli_args *a, const question *q) {
  iso_err why = {0}, e = {0};
  bool passed = q->law->base.selftest(a->ctx, &why) == ISO_OK;
  json_t *j = iso_law_json(q->law);
  int answered = answer_sets(q, json_object_get(j, "sets"));
  if ((q->at || q->has_flop || q->best >= 0) && !answered) {
    // Say why by asking the first set again; a law without sets has nothing to say.
    json_decref(j);
    iso_status st = ISO_OK;
    double y, where;
    iso_law_point pt;
    const iso_law_const *c = q->only ? q->only : q->law->consts;
    if (!q->law->n_consts)
      st = iso_fail(&e, ISO_EUNSUP, "law %s has no published constants; fit it first", q->law->base.name);
    else
      st = q->at ? iso_law_predict_const(q->law, c, q->x, &y, &e) : q->has_flop ? optimum(q->law, c, q, &pt, &e) : best_input(c, q, &where, &y, &e);
    return cli_fail(a, st, &e);
  }
  if (a->json) {
    json_object_set_new(j, "selftest", passed ? json_string("passed") : json_string(why.msg));
    return cli_put_json(j);
  }
  json_decref(j);
  print_law(q, passed, why.msg);
  for (int i = 0; i < q->law->n_consts; i++)
    if (!q->only || q->only == &q->law->consts[i]) print_set(q, &q->law->consts[i]);
  return EXIT_DONE;
}

static int run(cli_args *a) {
  iso_err err = {0};
  question q = {.flop = NAN, .best = -1};
  int k = cli_action(a, ACTIONS, 3);
  if (k < 0) return EXIT_USAGE;
  const char *at = cli_text(a, "at"), *flop = cli_text(a, "flop"), *set = cli_text(a, "set"), *best = cli_text(a, "best");
  if (k == 0) {
    if (a->n_pos > 1 || at || flop || set || best) return cli_usage(a, "list takes neither a name nor a question");
    return list_laws(a);
  }
  if (k == 2) {
    if (a->n_pos < 2 || at || flop || set || best)
      return cli_usage(a, "gmse: expected formats, as in isoflop law gmse int4 e2m1 2:4, and no question");
    return cli_law_gmse(a);
  }
  if (a->n_pos != 2) return cli_usage(a, "show: expected the name of one law; isoflop law list has them");
  if (iso_law_find(a->pos[1], &q.law, &err) != ISO_OK) return cli_fail(a, ISO_EINVAL, &err);
  if (set && iso_law_find_const(q.law, set, &q.only, &err) != ISO_OK) return cli_fail(a, ISO_EINVAL, &err);
  if (flop && (iso_unit_parse(flop, ISO_UNIT_FLOP, &q.flop, &err) != ISO_OK || !(q.flop > 0)))
    return cli_usage(a, "--flop: %s", err.msg[0] ? err.msg : "must be above 0");
  q.has_flop = flop != NULL;
  iso_law_absent(q.law, q.x);
  if (at) {
    iso_status st = cli_law_inputs(q.law, at, "--at", q.x, &err);
    // With a budget the sizes may be left out.
    bool rest = st == ISO_EINVAL && flop && strstr(err.msg, " needs ");
    if (st != ISO_OK && !rest) return cli_fail(a, st, &err);
    q.at = st == ISO_OK;
  }
  if (best) {
    iso_status st = cli_law_best(q.law, best, &q.best, q.best_x, &err);
    if (st != ISO_OK) return cli_fail(a, st, &err);
  }
  return show_law(a, &q);
}

const cli_verb cli_verb_law = {
    .name = "law",
    .summary = "Scaling laws: list them, show what one says, predict with its published constants.",
    .examples = EXAMPLES,
    .usage = "list | show NAME [--at NAME=VALUE,...] [--flop C] [--best INPUT] | gmse FORMAT...",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 1,
    .max_args = 64,
    .notes =
        "gmse prints the mean squared error of number formats (uniform4, int4, lloyd4, e2m1) and sparsity (sparse0.5, 2:4) on N(0,1), which the\n"
        "law compressed takes. Constants that no primary source confirms are shown and predict nothing: such a law is fitted to runs first, by "
        "isoflop fit --law.",
    .stops_at_once = true,
    .run = run};
