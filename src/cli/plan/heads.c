// isoflop plan heads: which query and key/value heads, and how large a model, reach a loss at least inference cost.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/fit.h"
#include "cli/why.h"
#include "plan/fit/fit_csv.h"
#include "plan/gqa.h"

static const char *const EXAMPLES[] = {"isoflop plan heads --data runs.csv --seq 131072 --loss 2.5",
                                       "isoflop plan heads --data runs.csv --seq 8192 --loss 2.6 --head-dim 128 --memory-weight 0.5 --json", NULL};
static const cli_opt OPTS[] = {
    {"data", CLI_TEXT, "FILE", NULL, "CSV of runs: params, heads, kv_heads, loss, and layers if known"},
    {"seq", CLI_TEXT, "TOKENS", NULL, "context that the model will serve"},
    {"loss", CLI_REAL, "LOSS", NULL, "loss to reach, in the runs' unit"},
    {"head-dim", CLI_INT, "N", "64", "dimension of a head"},
    {"memory-weight", CLI_REAL, "W", "0.9", "weight of memory^P in the cost, 1 - W that of compute"},
    {"memory-power", CLI_REAL, "P", "0.5", "power of memory, in elements of weights and cache"},
    {"flop-power", CLI_REAL, "P", "0.3333333333333333", "power of compute, in FLOPs a token"},
    CLI_PLAN_FIT_OPTS,
    CLI_PLAN_OPTS,
};
// Contexts at which the choice may change are looked for this far round the one asked for.
#define AROUND 64.0

enum { PAIRS_MAX = 64, SIZES_MAX = 64, CHANGES_MAX = 16 };
typedef struct answer {
  int pairs, n_sizes, best;
  iso_gqa_pair pair[PAIRS_MAX];
  cli_plan_fit fit[PAIRS_MAX];  // owned
  iso_gqa_cost cost[PAIRS_MAX];
  double size[SIZES_MAX], layers[SIZES_MAX], level;
  iso_gqa_opts opts;
  bool family;  // layers are those of a published family
} answer;

// ---- reading --------------------------------------------------------------------------------------------------------

// Mean layers of each size in the runs.
static iso_status read_layers(answer *o, const iso_csv *t, int params, int layers, const char *path, iso_err *err) {
  int count[SIZES_MAX] = {0};
  for (int64_t r = 0; r < t->rows; r++) {
    double n, l;
    ISO_TRY(iso_csv_positive(t, r, params, "params", &n, err));
    ISO_TRY(iso_csv_positive(t, r, layers, "layers", &l, err));
    if (isnan(n) || isnan(l)) continue;
    int i = 0;
    while (i < o->n_sizes && o->size[i] < n) i++;
    if (i == o->n_sizes || o->size[i] != n) {
      if (o->n_sizes == SIZES_MAX) return iso_fail(err, ISO_EFORMAT, "%.200s: more than %d sizes", path, SIZES_MAX);
      for (int k = o->n_sizes++; k > i; k--) {
        o->size[k] = o->size[k - 1];
        o->layers[k] = o->layers[k - 1];
        count[k] = count[k - 1];
      }
      o->size[i] = n;
      o->layers[i] = 0;
      count[i] = 0;
    }
    o->layers[i] += (l - o->layers[i]) / ++count[i];
  }
  return o->n_sizes >= 2 ? ISO_OK : iso_fail(err, ISO_EFORMAT, "%.200s: layers of %d sizes, expected two or more", path, o->n_sizes);
}

// Layers as a published family has them, from the smallest to the largest model that it tells.
static iso_status family_layers(answer *o, iso_err *err) {
  for (double n = 2e7; n < 2e12 && o->n_sizes < SIZES_MAX; n *= 1.6) {
    iso_layout_shape s;
    iso_layout_counts c;
    ISO_TRY(iso_layout_shape_family(n, 32000, 2048, &s, err));
    iso_layout_count(&s, &c);
    if (o->n_sizes && (double)c.params <= o->size[o->n_sizes - 1]) continue;
    o->size[o->n_sizes] = (double)c.params;
    o->layers[o->n_sizes++] = (double)s.layers;
  }
  o->family = true;
  return ISO_OK;
}

static iso_status fit_pairs(const cli_args *a, answer *o, const iso_csv *t, const char *path, iso_err *err) {
  iso_fit_groups g = {0};
  int col[2];
  bool *use = malloc((size_t)t->rows + 1);
  iso_status st = use ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for %lld rows", (long long)t->rows);
  if (st == ISO_OK) st = iso_csv_need(t, "heads", &col[0], err);
  if (st == ISO_OK) st = iso_csv_need(t, "kv_heads", &col[1], err);
  if (st == ISO_OK) st = iso_fit_csv_groups(t, NULL, col, 2, &g, err);
  if (st == ISO_OK && g.n > PAIRS_MAX) st = iso_fail(err, ISO_EFORMAT, "%.200s: %lld pairs of heads, at most %d", path, (long long)g.n, PAIRS_MAX);
  for (int64_t i = 0; i < g.n && st == ISO_OK; i++) {
    int64_t heads, kv;
    char name[300];
    st = iso_csv_whole(t, g.first[i], col[0], "heads", 1, 4096, &heads, err);
    if (st == ISO_OK) st = iso_csv_whole(t, g.first[i], col[1], "kv_heads", 1, 4096, &kv, err);
    if (st != ISO_OK) break;
    for (int64_t r = 0; r < t->rows; r++) use[r] = g.of[r] == i;
    (void)snprintf(name, sizeof name, "%.200s, %lld heads with %lld kv heads", path, (long long)heads, (long long)kv);
    st = cli_plan_fit_rows(a, t, name, &iso_law_gqa, use, NULL, 0, &o->fit[i], err);
    o->pairs = (int)i + 1;
    o->pair[i] = (iso_gqa_pair){.heads = (int)heads, .kv_heads = (int)kv};
    memcpy(o->pair[i].p, o->fit[i].p, sizeof o->pair[i].p);
  }
  iso_fit_groups_close(&g);
  free(use);
  return st;
}

static iso_status load(const cli_args *a, answer *o, iso_err *err) {
  const char *path = cli_text(a, "data");
  iso_csv t = {0};
  int params, layers;
  iso_status st = iso_csv_load(path, &t, err);
  if (st == ISO_OK) st = iso_csv_need(&t, "params", &params, err);
  if (st == ISO_OK) st = iso_csv_find_like(&t, "layers", &layers, err);
  if (st == ISO_OK) st = layers >= 0 ? read_layers(o, &t, params, layers, path, err) : family_layers(o, err);
  if (st == ISO_OK) st = fit_pairs(a, o, &t, path, err);
  iso_csv_close(&t);
  return cli_input(st, err);
}

static iso_status solve(const cli_args *a, void *self, iso_err *err) {
  answer *o = self;
  o->opts = iso_gqa_opts_default();
  o->opts.loss = cli_real(a, "loss");
  o->opts.head_dim = (double)cli_int(a, "head-dim");
  o->opts.memory_weight = cli_real(a, "memory-weight");
  o->opts.flop_weight = 1 - o->opts.memory_weight;
  o->opts.memory_power = cli_real(a, "memory-power");
  o->opts.flop_power = cli_real(a, "flop-power");
  o->level = cli_real(a, "level");
  ISO_TRY(cli_quantity(a, "seq", ISO_UNIT_TOK, &o->opts.context_tok, err));
  if (!cli_given(a, "data")) return iso_fail(err, ISO_EINVAL, "--data is missing");
  if (isnan(o->opts.context_tok)) return iso_fail(err, ISO_EINVAL, "--seq is missing");
  if (!cli_given(a, "loss")) return iso_fail(err, ISO_EINVAL, "--loss is missing");
  if (!(o->opts.memory_weight >= 0 && o->opts.memory_weight <= 1)) return iso_fail(err, ISO_EINVAL, "--memory-weight must lie between 0 and 1");
  ISO_TRY(cli_plan_fit_check(a, err));
  ISO_TRY(load(a, o, err));
  o->opts.n_sizes = o->n_sizes;
  o->opts.size_params = o->size;
  o->opts.size_layers = o->layers;
  return iso_gqa_choose(&o->opts, o->pair, o->pairs, o->cost, &o->best, err);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

// The pair that is best at this context and loss; -1: none reaches the loss.
static int best_at(const answer *o, const iso_gqa_pair *pair, double context, double loss) {
  iso_gqa_opts q = o->opts;
  iso_gqa_cost each[PAIRS_MAX];
  int best;
  q.context_tok = context;
  q.loss = loss;
  return iso_gqa_choose(&q, pair, o->pairs, each, &best, NULL) == ISO_OK ? best : -1;
}

static json_t *pair_json(const answer *o, int i) {
  return i < 0 ? json_null() : json_pack("{s:i, s:i}", "heads", o->pair[i].heads, "kv_heads", o->pair[i].kv_heads);
}

// Contexts at which another pair becomes the best one, by a scan of 12 an octave and halving.
static json_t *changes_json(const answer *o) {
  json_t *all = json_array();
  double lo = log(o->opts.context_tok / AROUND), step = log(2) / 12;
  int before = best_at(o, o->pair, exp(lo), o->opts.loss);
  for (int i = 1; i <= 2 * 12 * 6 && json_array_size(all) < CHANGES_MAX; i++) {
    double a = lo + step * (i - 1), b = lo + step * i;
    int now = best_at(o, o->pair, exp(b), o->opts.loss);
    if (now == before) continue;
    for (int k = 0; k < 40; k++) {
      double mid = 0.5 * (a + b);
      *(best_at(o, o->pair, exp(mid), o->opts.loss) == before ? &a : &b) = mid;
    }
    now = best_at(o, o->pair, exp(b), o->opts.loss);
    json_array_append_new(all, json_pack("{s:o, s:o, s:o}", "seq", iso_json_range(exp(b), NAN, NAN, "refits are asked at this context only"), "from",
                                         pair_json(o, before), "to", pair_json(o, now)));
    before = now;
  }
  return all;
}

// What is told of a pair, in the order of iso_gqa_cost's members that it is from.
enum { PARAMS, LAYERS, ELEMENTS, FLOP, COST, NUMBERS };
static const char *const NUMBER[NUMBERS] = {"params", "layers", "elements", "flop_per_tok", "cost"};

static void numbers_of(const iso_gqa_cost *c, double v[NUMBERS]) {
  v[PARAMS] = c->params;
  v[LAYERS] = c->layers;
  v[ELEMENTS] = c->elements;
  v[FLOP] = c->flop;
  v[COST] = c->cost;
}

// Numbers of all refits: [pair][number][refit], and how often each pair is the best one.
static void refit_costs(const answer *o, int64_t n, double *v, int64_t *wins) {
  for (int64_t r = 0; r < n; r++) {
    iso_gqa_pair pair[PAIRS_MAX];
    iso_gqa_cost each[PAIRS_MAX];
    int best;
    memcpy(pair, o->pair, sizeof pair);
    for (int i = 0; i < o->pairs; i++) memcpy(pair[i].p, cli_plan_fit_sample(&o->fit[i], r), sizeof pair[i].p);
    bool ok = iso_gqa_choose(&o->opts, pair, o->pairs, each, &best, NULL) == ISO_OK;
    if (ok) wins[best]++;
    for (int i = 0; i < o->pairs; i++) {
      double at[NUMBERS];
      numbers_of(&each[i], at);
      for (int k = 0; k < NUMBERS; k++) v[(i * NUMBERS + k) * n + r] = ok ? at[k] : NAN;
    }
  }
}

static iso_status pairs_json(const answer *o, json_t **out, iso_err *err) {
  static const char *const NOTE[] = {"", "the loss lies below this pair's floor", "it would need a size outside the table of layers"};
  int64_t n = INT64_MAX, wins[PAIRS_MAX] = {0};
  for (int i = 0; i < o->pairs; i++) n = o->fit[i].fit.resamples < n ? o->fit[i].fit.resamples : n;
  double *v = malloc((size_t)(NUMBERS * n * o->pairs + 1) * sizeof *v);
  if (!v) return iso_fail(err, ISO_ENOMEM, "no memory for %lld refits", (long long)n);
  refit_costs(o, n, v, wins);
  *out = json_array();
  for (int i = 0; i < o->pairs; i++) {
    const iso_gqa_cost *c = &o->cost[i];
    const cli_plan_fit *f = &o->fit[i];
    json_t *j = pair_json(o, i);
    double at[NUMBERS];
    numbers_of(c, at);
    for (int k = 0; k < NUMBERS; k++) json_object_set_new(j, NUMBER[k], cli_plan_fit_range(at[k], v + (i * NUMBERS + k) * n, n, o->level));
    json_object_set_new(j, "refits_that_choose", n ? json_real((double)wins[i] / (double)n) : json_null());
    json_object_set_new(j, "reach", isfinite(c->params) ? json_real(fmax(1, fmax(c->params / f->x_hi[0], f->x_lo[0] / c->params))) : json_null());
    json_object_set_new(j, "why_not", json_string(NOTE[c->flag]));
    json_object_set_new(j, "fit",
                        json_pack("{s:f, s:f, s:f, s:I, s:f}", "a", exp(f->p[0]), "b", f->p[1], "E", exp(f->p[2]), "points", (json_int_t)f->fit.n,
                                  "rmse", f->fit.rmse));
    json_array_append_new(*out, j);
  }
  free(v);
  return ISO_OK;
}

// What a loss 1% lower costs more, at the pair that is best for it.
static json_t *shadow_json(const answer *o) {
  iso_gqa_opts q = o->opts;
  iso_gqa_cost each[PAIRS_MAX];
  int best;
  q.loss *= 0.99;
  bool ok = iso_gqa_choose(&q, o->pair, o->pairs, each, &best, NULL) == ISO_OK;
  return json_pack("{s:o, s:s}", "cost_per_percent_lower_loss", iso_json_num(ok ? each[best].cost - o->cost[o->best].cost : NAN), "interval",
                   "none: a difference at the plan");
}

static iso_status answer_json(const cli_args *a, const void *self, json_t **out, iso_err *err) {
  const answer *o = self;
  json_t *pairs = NULL;
  ISO_TRY(pairs_json(o, &pairs, err));
  const double loss[2] = {0.99 * o->opts.loss, 1.01 * o->opts.loss};
  json_t *best = json_deep_copy(json_array_get(pairs, (size_t)o->best));
  *out = json_pack("{s:s, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f}, s:o, s:o, s:o, s:{s:o, s:o}, s:s, s:s, s:s}", "kind", "heads", "loss", o->opts.loss,
                   "seq", o->opts.context_tok, "head_dim", o->opts.head_dim, "objective", "memory_weight", o->opts.memory_weight, "memory_power",
                   o->opts.memory_power, "flop_weight", o->opts.flop_weight, "flop_power", o->opts.flop_power, "best", best, "pairs", pairs,
                   "changes", changes_json(o), "sensitivity", "loss_1pc_lower", pair_json(o, best_at(o, o->pair, o->opts.context_tok, loss[0])),
                   "loss_1pc_higher", pair_json(o, best_at(o, o->pair, o->opts.context_tok, loss[1])), "layers_from",
                   o->family ? "a published family's (LLaMA)" : "the runs", "source", cli_text(a, "data"), "paper", iso_law_gqa.base.paper);
  json_object_set_new(*out, "binding", json_string("loss"));
  json_object_set_new(*out, "shadow", shadow_json(o));
  json_object_set_new(*out, "intervals", json_string(cli_int(a, "bootstrap") ? "refits of the law" : "none: no refits were made"));
  return ISO_OK;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static const char *pair_text(const json_t *p, char *buf, size_t n) {
  if (json_is_object(p))
    (void)snprintf(buf, n, "%.0f/%.0f", cli_at(p, "heads"), cli_at(p, "kv_heads"));
  else
    (void)snprintf(buf, n, "none");
  return buf;
}

static void print_plan(const json_t *r) {
  const json_t *pairs = json_object_get(r, "pairs"), *changes = json_object_get(r, "changes"), *best = json_object_get(r, "best");
  char a[40], b[40], at[40];
  cli_row("best", "%.0f query heads over %.0f key/value heads, at a loss of %.4g and a context of %s", cli_at(best, "heads"),
          cli_at(best, "kv_heads"), cli_at(r, "loss"), iso_unit_print(cli_at(r, "seq"), ISO_UNIT_TOK, b, sizeof b));
  cli_row_range("parameters", best, "params", ISO_UNIT_COUNT);
  cli_row("layers", "%.1f, by %s", cli_at(best, "layers"), cli_text_at(r, "layers_from"));
  if (!isnan(cli_at(best, "refits_that_choose"))) cli_row("", "%.0f%% of the refits choose this pair", 100 * cli_at(best, "refits_that_choose"));
  cli_row("cost", "%.3g M^%.3g + %.3g C^%.3g, M elements of memory, C FLOPs a token", cli_at(r, "objective.memory_weight"),
          cli_at(r, "objective.memory_power"), cli_at(r, "objective.flop_weight"), cli_at(r, "objective.flop_power"));
  printf("\n%8s %12s %8s %12s %12s %12s %8s\n", "heads", "parameters", "layers", "memory", "FLOP/token", "cost", "of best");
  for (size_t i = 0; i < json_array_size(pairs); i++) {
    const json_t *p = json_array_get(pairs, i);
    if (cli_text_at(p, "why_not")[0]) {
      printf("%8s  %s\n", pair_text(p, at, sizeof at), cli_text_at(p, "why_not"));
      continue;
    }
    char note[80] = "";
    if (cli_at(p, "reach") > 1) (void)snprintf(note, sizeof note, "  %.3g times outside its runs", cli_at(p, "reach"));
    printf("%8s %12.4g %8.1f %12.4g %12.4g %12.6g %7.2fx%s\n", pair_text(p, at, sizeof at), cli_at(p, "params.value"), cli_at(p, "layers"),
           cli_at(p, "elements"), cli_at(p, "flop_per_tok"), cli_at(p, "cost.value"), cli_at(p, "cost.value") / cli_at(best, "cost.value"), note);
  }
  printf("\n");
  for (size_t i = 0; i < json_array_size(changes); i++) {
    const json_t *c = json_array_get(changes, i);
    cli_row(i ? "" : "the choice changes", "at a context of %s: from %s to %s", iso_unit_print(cli_at(c, "seq"), ISO_UNIT_TOK, b, sizeof b),
            pair_text(json_object_get(c, "from"), at, sizeof at), pair_text(json_object_get(c, "to"), a, sizeof a));
  }
  if (!json_array_size(changes)) cli_row("the choice changes", "at no context within a factor of %g", AROUND);
  if (!isnan(cli_at(r, "shadow.cost_per_percent_lower_loss")))
    cli_row("shadow price", "a loss 1%% lower costs %.4g more (%.2f%%)", cli_at(r, "shadow.cost_per_percent_lower_loss"),
            100 * cli_at(r, "shadow.cost_per_percent_lower_loss") / cli_at(best, "cost"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  cli_row("at other losses", "1%% lower: %s, 1%% higher: %s", pair_text(cli_json_at(r, "sensitivity.loss_1pc_lower"), at, sizeof at),
          pair_text(cli_json_at(r, "sensitivity.loss_1pc_higher"), a, sizeof a));
}

void cli_why_heads(const json_t *p, cli_why *w) {
  const json_t *pairs = json_object_get(p, "pairs"), *changes = json_object_get(p, "changes"), *best = json_object_get(p, "best");
  char at[40], to[40], b[40];
  double each = 2 * cli_at(p, "seq") * cli_at(best, "layers") * cli_at(p, "head_dim") * cli_at(best, "kv_heads");
  cli_why_say(w->bound, "%s: %.3g%% of the memory is cache, the rest weights", pair_text(best, at, sizeof at), 100 * each / cli_at(best, "elements"));
  for (size_t i = 0; i < json_array_size(pairs); i++) {
    const json_t *o = json_array_get(pairs, i);
    if (cli_text_at(o, "why_not")[0])
      cli_why_say(w->bound, "%s: %s", pair_text(o, at, sizeof at), cli_text_at(o, "why_not"));
    else if (cli_at(o, "cost.value") > cli_at(best, "cost.value"))
      cli_why_lost(w, cli_at(o, "cost.value") / cli_at(best, "cost.value"), "cost of %s with %.4g parameters", pair_text(o, at, sizeof at),
                   cli_at(o, "params.value"));
  }
  for (size_t i = 0; i < json_array_size(changes); i++) {
    const json_t *c = json_array_get(changes, i);
    cli_why_say(w->change, "at a context of %s: from %s to %s", iso_unit_print(cli_at(c, "seq"), ISO_UNIT_TOK, b, sizeof b),
                pair_text(json_object_get(c, "from"), at, sizeof at), pair_text(json_object_get(c, "to"), to, sizeof to));
  }
  cli_why_say(w->change, "a loss 1%% lower: %s; 1%% higher: %s", pair_text(cli_json_at(p, "sensitivity.loss_1pc_lower"), at, sizeof at),
              pair_text(cli_json_at(p, "sensitivity.loss_1pc_higher"), to, sizeof to));
  cli_why_say(w->sources, "losses: law gqa fitted to %s, pair by pair (%s)", cli_text_at(p, "source"), cli_text_at(p, "paper"));
  cli_why_say(w->sources, "layers: %s", cli_text_at(p, "layers_from"));
}

static void close_all(void *self) {
  answer *o = self;
  for (int i = 0; i < o->pairs; i++) cli_plan_fit_close(&o->fit[i]);
}

static int run(cli_args *a) {
  static const cli_plan_answer ANSWER = {sizeof(answer), solve, answer_json, close_all, print_plan};
  return cli_plan_run_answer(a, &ANSWER);
}

const cli_verb cli_verb_plan_heads = {
    .name = "plan heads",
    .summary = "Query and key/value heads, and the size, that reach a loss at least inference cost, from runs.",
    .examples = EXAMPLES,
    .usage = "--data FILE --seq TOKENS --loss LOSS [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Chen et al. 2025 (arXiv:2503.09579): L(N) is fitted for each pair of heads (four sizes or more), and the pair is chosen that reaches\n"
        "the loss at least weighted memory and compute of a token. Without a column of layers they are those of a published family.",
    .stops_at_once = true,
    .run = run};
