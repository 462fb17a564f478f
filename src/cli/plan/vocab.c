// isoflop plan vocab: the vocabulary that suits a model, by the three approaches of one paper, with their spread.
#include <math.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/why.h"
#include "plan/law.h"

static const char *const EXAMPLES[] = {"isoflop plan vocab --params 7e9 --width 4096", "isoflop plan vocab --model llama3-8b --flop 7.2e23 --json",
                                       "isoflop plan vocab --params 3B --width 2560 --flop 1e21 --vocab 32000", NULL};
static const cli_opt OPTS[] = {
    {"params", CLI_TEXT, "N", NULL, "parameters without those of the vocabulary, as in 7e9 or 7B"},
    {"width", CLI_INT, "N", NULL, "width of the embedding"},
    {"model", CLI_TEXT, "MODEL", NULL, "or both, and --vocab, from a model: a name as llama3-8b, a shape, or a config.json"},
    {"flop", CLI_TEXT, "C", NULL, "training compute (default: what suits the parameters)"},
    {"vocab", CLI_INT, "N", NULL, "a vocabulary to compare with"},
    CLI_PLAN_OPTS,
};

// Vocabularies are looked for here; the laws saw 4,096 to 96,256 entries.
#define V_LO 256.0
#define V_HI 1e7
// Two of the approaches were fitted to runs whose size suits their compute: further than this ratio from it they do not apply.
#define SUITS 2.0
// Entries in whole blocks, which matrix kernels like.
#define BLOCK 128.0

enum { ISOFLOP, DERIVATIVE, LOSS, APPROACHES };
typedef struct approach {
  const char *name;
  const iso_law *law;
  const iso_law_const *set;
  double value, reach;
  bool used;
} approach;

typedef struct answer {
  double params, width, given, flop, suits;  // suits: the compute that suits the parameters
  bool flop_given;
  approach by[APPROACHES];
  iso_est vocab;
  int used;
  iso_law_point best;  // by the loss law
} answer;

// x of the loss law at V entries: tokens are what the compute pays for.
static double loss_at(const answer *a, double vocab, double *tokens) {
  double x[4] = {a->params, vocab, a->width, NAN};
  *tokens = x[3] = a->flop / iso_law_vocab.flop_per_tok(x);
  return iso_law_vocab.value(a->by[LOSS].set->p, x, NULL);
}

static iso_status solve(answer *a, iso_err *err) {
  const double size[2] = {a->params, a->width};
  approach *b = a->by;
  b[DERIVATIVE] = (approach){.name = "derivative", .law = &iso_law_vocab_size};
  b[LOSS] = (approach){.name = "loss", .law = &iso_law_vocab, .set = &iso_law_vocab.consts[0]};
  ISO_TRY(iso_law_find_const(&iso_law_vocab_size, "tao2024_derivative", &b[DERIVATIVE].set, err));
  ISO_TRY(iso_law_predict_const(b[DERIVATIVE].law, b[DERIVATIVE].set, size, &b[DERIVATIVE].value, err));
  // The first approach knows sizes and compute that suit each other: one gives the other through the vocabulary's parameters.
  const iso_law_const *by_size, *by_flop = &iso_law_vocab_params.consts[0];
  double v;
  ISO_TRY(iso_law_find_const(&iso_law_vocab_size, "tao2024_isoflop", &by_size, err));
  ISO_TRY(iso_law_predict_const(&iso_law_vocab_size, by_size, size, &v, err));
  a->suits = iso_law_vocab_params.inverse(by_flop->p, NULL, 0, v * a->width);
  if (!a->flop_given) a->flop = a->suits;
  b[ISOFLOP] = (approach){"isoflop", &iso_law_vocab_size, by_size, v, NAN, true};
  if (a->flop_given) {
    ISO_TRY(iso_law_predict_const(&iso_law_vocab_params, by_flop, &a->flop, &v, err));
    b[ISOFLOP] = (approach){"isoflop", &iso_law_vocab_params, by_flop, v / a->width, NAN, true};
  }
  const double x[4] = {a->params, NAN, a->width, NAN};
  ISO_TRY(iso_law_optimum_over(&iso_law_vocab, b[LOSS].set->p, x, a->flop, a->params, 1, V_LO, V_HI, &b[LOSS].value, &a->best, err));
  const double at[4] = {a->params, b[LOSS].value, a->width, a->best.tokens};
  b[LOSS].reach = iso_law_reach(b[LOSS].law, b[LOSS].set->lo, b[LOSS].set->hi, at, NULL);
  b[DERIVATIVE].reach = iso_law_reach(b[DERIVATIVE].law, b[DERIVATIVE].set->lo, b[DERIVATIVE].set->hi, size, NULL);
  b[ISOFLOP].reach = iso_law_reach(b[ISOFLOP].law, b[ISOFLOP].set->lo, b[ISOFLOP].set->hi, a->flop_given ? &a->flop : size, NULL);
  double off = fmax(a->flop / a->suits, a->suits / a->flop), sum = 0;
  a->vocab = iso_est_range(INFINITY, NAN, 0);
  a->used = 0;
  for (int i = 0; i < APPROACHES; i++) {
    b[i].used = i == LOSS || off <= SUITS;
    if (!b[i].used) continue;
    a->used++;
    sum += log(b[i].value);
    a->vocab.lo = fmin(a->vocab.lo, b[i].value);
    a->vocab.hi = fmax(a->vocab.hi, b[i].value);
  }
  a->vocab.mean = exp(sum / a->used);
  return ISO_OK;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

#define NO_INTERVAL "none: Tao et al. publish no uncertainty of their constants"

static double fertility(double vocab) { return iso_law_vocab_fertility.value(iso_law_vocab_fertility.consts[0].p, &vocab, NULL); }

static json_t *at_json(const answer *a, double vocab) {
  double tokens, y = loss_at(a, vocab, &tokens);
  return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f}", "interval", NO_INTERVAL, "vocab", vocab, "loss_above_best", fmax(0, y - a->best.loss), "tokens",
                   tokens, "tokens_per_char", fertility(vocab), "share_of_params", vocab * a->width / (vocab * a->width + a->params));
}

static json_t *approaches_json(const answer *a) {
  json_t *all = json_array();
  for (int i = 0; i < APPROACHES; i++) {
    const approach *b = &a->by[i];
    json_array_append_new(
        all, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:b, s:s, s:s, s:s}", "interval", NO_INTERVAL, "approach", b->name, "law", b->law->base.name,
                       "set", b->set->name, "value", b->value, "reach", b->reach, "used", b->used, "why_not",
                       b->used ? "" : "fitted to runs whose size suits their compute", "source", b->set->source, "paper", b->law->base.paper));
  }
  return all;
}

// What twice the parameters or the compute would ask for.
static json_t *sensitivity(const answer *a) {
  json_t *o = json_pack("{s:s}", "interval", NO_INTERVAL);
  for (int k = 0; k < 2; k++) {
    answer b = *a;
    iso_err none = {0};
    *(k ? &b.flop : &b.params) *= 2;
    b.flop_given = b.flop_given || k;
    bool ok = solve(&b, &none) == ISO_OK;
    json_object_set_new(o, k ? "twice_the_flop" : "twice_the_params", ok ? json_real(b.by[LOSS].value) : json_null());
  }
  return o;
}

// 1% more compute, by the loss law.
static json_t *shadow_json(const answer *a) {
  answer b = *a;
  b.flop *= 1.01;
  b.flop_given = true;
  bool ok = solve(&b, NULL) == ISO_OK;
  return json_pack("{s:s, s:o}", "interval", NO_INTERVAL, "loss_per_percent", iso_json_num(ok ? b.best.loss - a->best.loss : NAN));
}

static json_t *answer_json(const answer *a) {
  json_t *others = json_array(), *vocab = iso_json_range(a->vocab.mean, a->used > 1 ? a->vocab.lo : NAN, a->used > 1 ? a->vocab.hi : NAN,
                                                         "one approach applies, and no uncertainty of its constants is published");
  json_object_set_new(vocab, "approaches", json_integer(a->used));
  for (double v = 16384; v <= 524288; v *= 2) json_array_append_new(others, at_json(a, v));
  return json_pack("{s:s, s:f, s:f, s:f, s:b, s:f, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:s}", "kind", "vocab", "params", a->params, "width",
                   a->width, "train_flop", a->flop, "flop_given", a->flop_given, "flop_that_suits", a->suits, "vocab", vocab, "rounded",
                   BLOCK * fmax(1, round(a->vocab.mean / BLOCK)), "best", at_json(a, a->by[LOSS].value), "given",
                   a->given > 0 ? at_json(a, a->given) : json_null(), "others", others, "sensitivity", sensitivity(a), "approach", approaches_json(a),
                   "binding", "train_flop", "shadow", shadow_json(a), "intervals",
                   a->used > 1 ? "the spread of the approaches; no uncertainty of their constants is published" : NO_INTERVAL);
}

// ---- the table ------------------------------------------------------------------------------------------------------

static void print_at(const char *name, const json_t *o) {
  char b[40];
  printf("%-10s %10.0f  %+14.5f  %12s  %18.4f  %9.2f%%\n", name, cli_at(o, "vocab"), cli_at(o, "loss_above_best"),
         iso_unit_print(cli_at(o, "tokens"), ISO_UNIT_TOK, b, sizeof b), cli_at(o, "tokens_per_char"), 100 * cli_at(o, "share_of_params"));
}

static void print_plan(const json_t *r) {
  const json_t *by = json_object_get(r, "approach"), *others = json_object_get(r, "others");
  cli_row("model", "%.4g parameters beside the vocabulary, width %.0f", cli_at(r, "params"), cli_at(r, "width"));
  cli_row("compute", "%.4g FLOP%s", cli_at(r, "train_flop"), json_is_true(json_object_get(r, "flop_given")) ? "" : ", what suits that size");
  if (json_is_true(json_object_get(r, "flop_given"))) cli_row("", "%.4g FLOP would suit that size", cli_at(r, "flop_that_suits"));
  if (isnan(cli_at(r, "vocab.lo")))
    cli_row("vocabulary", "%.0f entries, one approach applies", cli_at(r, "vocab"));
  else
    cli_row("vocabulary", "%.0f entries (%.0f to %.0f, the spread of the approaches)", cli_at(r, "vocab"), cli_at(r, "vocab.lo"),
            cli_at(r, "vocab.hi"));
  cli_row("  in blocks of 128", "%.0f", cli_at(r, "rounded"));
  cli_row("binding", "%s", cli_text_at(r, "binding"));
  cli_row("shadow price", "1%% more of it: loss %+.3g", cli_at(r, "shadow.loss_per_percent"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  printf("\n%-12s %-14s %-20s %10s\n", "approach", "law", "set", "vocabulary");
  for (size_t i = 0; i < json_array_size(by); i++) {
    const json_t *b = json_array_get(by, i);
    char note[120];
    (void)snprintf(note, sizeof note, "%.100s", cli_text_at(b, "why_not"));
    if (!note[0] && cli_at(b, "reach") > 1) (void)snprintf(note, sizeof note, "%.3g times outside what its fit saw", cli_at(b, "reach"));
    printf("%-12s %-14s %-20s %10.0f  %s\n", cli_text_at(b, "approach"), cli_text_at(b, "law"), cli_text_at(b, "set"), cli_at(b, "value"), note);
  }
  printf("\nat the same compute, by the loss law (its losses leave out the tokens' frequency: compare them only)\n");
  printf("%-10s %10s  %14s  %12s  %18s  %10s\n", "", "vocabulary", "loss over best", "tokens", "tokens a character", "of params");
  print_at("best", json_object_get(r, "best"));
  if (json_is_object(json_object_get(r, "given"))) print_at("given", json_object_get(r, "given"));
  for (size_t i = 0; i < json_array_size(others); i++) print_at("", json_array_get(others, i));
}

void cli_why_vocab(const json_t *p, cli_why *w) {
  const json_t *by = json_object_get(p, "approach"), *others = json_object_get(p, "others");
  const char *last = "";
  cli_why_say(w->bound, "the compute: a larger vocabulary costs parameters, which leave fewer tokens (%.4g FLOP%s)", cli_at(p, "train_flop"),
              json_is_true(json_object_get(p, "flop_given")) ? "" : ", what suits the size");
  for (size_t i = 0; i < json_array_size(by); i++) {
    const json_t *b = json_array_get(by, i);
    if (json_is_true(json_object_get(b, "used")))
      cli_why_lost(w, cli_at(b, "value") / cli_at(p, "vocab.value"), "entries by approach %s", cli_text_at(b, "approach"));
    else
      cli_why_say(w->bound, "approach %s (%.0f entries) is left out: %s", cli_text_at(b, "approach"), cli_at(b, "value"), cli_text_at(b, "why_not"));
    cli_why_say(w->sources, "approach %s: %s", cli_text_at(b, "approach"), cli_text_at(b, "source"));
    last = cli_text_at(b, "paper");
  }
  cli_why_say(w->sources, "%s", last);
  for (size_t i = 0; i < json_array_size(others); i++) {
    const json_t *o = json_array_get(others, i);
    cli_why_say(w->change, "%.0f entries: %.5f nats a token above the best", cli_at(o, "vocab"), cli_at(o, "loss_above_best"));
  }
  cli_why_say(w->change, "by the loss law %.0f entries with twice the parameters%s, %.0f with twice the compute, instead of %.0f",
              cli_at(p, "sensitivity.twice_the_params"),
              json_is_true(json_object_get(p, "flop_given")) ? " at the same compute" : " and the compute that suits them",
              cli_at(p, "sensitivity.twice_the_flop"), cli_at(p, "best.vocab"));
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status read(const cli_args *a, answer *o, iso_err *err) {
  const char *model = cli_text(a, "model");
  *o = (answer){.flop_given = cli_given(a, "flop")};
  ISO_TRY(cli_quantity(a, "params", ISO_UNIT_COUNT, &o->params, err));
  ISO_TRY(cli_quantity(a, "flop", ISO_UNIT_FLOP, &o->flop, err));
  o->width = (double)cli_int(a, "width");
  if (cli_given(a, "vocab")) o->given = (double)cli_int(a, "vocab");
  if (model) {
    iso_layout_shape s;
    iso_layout_counts n;
    if (cli_given(a, "params") || cli_given(a, "width")) return iso_fail(err, ISO_EINVAL, "--model excludes --params and --width");
    ISO_TRY(cli_model_layout(model, 2048, &s, err));
    iso_layout_count(&s, &n);
    o->params = (double)(n.params - s.vocab * s.width * (s.tied ? 1 : 2));
    o->width = (double)s.width;
    if (!cli_given(a, "vocab")) o->given = (double)s.vocab;
  } else if (isnan(o->params) || !cli_given(a, "width"))
    return iso_fail(err, ISO_EINVAL, "--%s is missing", isnan(o->params) ? "params (or --model)" : "width");
  if (!(o->params >= 1e6 && o->params <= 1e15)) return iso_fail(err, ISO_EINVAL, "%g parameters, expected 1e6 to 1e15", o->params);
  if (!(o->width >= 1 && o->width <= 1e6)) return iso_fail(err, ISO_EINVAL, "--width %g, expected 1 to 1e6", o->width);
  if (cli_given(a, "vocab") && !(o->given >= V_LO && o->given <= V_HI))
    return iso_fail(err, ISO_EINVAL, "--vocab %g, expected %g to %g", o->given, V_LO, V_HI);
  if (o->flop_given && !(o->flop >= 1e12 && o->flop <= 1e35)) return iso_fail(err, ISO_EINVAL, "--flop %g, expected 1e12 to 1e35", o->flop);
  return ISO_OK;
}

static int run(cli_args *a) {
  iso_err err = {0};
  cli_plan p;
  answer o;
  iso_status st = cli_plan_open(a, &p, &err);
  if (st == ISO_OK) st = read(a, &o, &err);
  if (st == ISO_OK) st = solve(&o, &err);
  return cli_plan_close(a, &p, st, &err, st == ISO_OK ? answer_json(&o) : NULL, print_plan);
}

const cli_verb cli_verb_plan_vocab = {
    .name = "plan vocab",
    .summary = "How large a vocabulary suits a model, by three approaches and with their spread.",
    .examples = EXAMPLES,
    .usage = "--params N --width N | --model MODEL [--flop C] [--vocab N] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Tao et al. 2024 (arXiv:2407.13623). The value is the geometric mean over the approaches that apply, the interval their spread.\n"
        "Two of them know runs whose size suits their compute; at a --flop twice as far off, the loss law alone answers.",
    .stops_at_once = true,
    .run = run};
