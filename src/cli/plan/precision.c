// isoflop plan precision: bits to train in and to serve in, with the size and tokens that suit them.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/fit.h"
#include "cli/why.h"
#include "plan/bits.h"

static const char *const EXAMPLES[] = {
    "isoflop plan precision --flop 1e21", "isoflop plan precision --params 1e9 --tokens 20e9 --serve-bits 4 --json",
    "isoflop plan precision --flop 1e22 --memory 4GB", "isoflop plan precision --flop 1e21 --weight-bits 4 --fit runs.csv", NULL};
static const cli_opt OPTS[] = {
    {"flop", CLI_TEXT, "C", NULL, "training compute, C = 6/16 N D P"},
    {"params", CLI_TEXT, "N", NULL, "parameters without embeddings (default: the best)"},
    {"tokens", CLI_TEXT, "TOKENS", NULL, "training tokens (default: the best)"},
    {"weight-bits", CLI_REAL, "BITS", NULL, "of weights in training; 16: not quantised (default: the best)"},
    {"act-bits", CLI_REAL, "BITS", NULL, "of activations in training (default: the best)"},
    {"kv-bits", CLI_REAL, "BITS", NULL, "of keys and values in training (default: the best)"},
    {"serve-bits", CLI_REAL, "BITS", NULL, "weights are quantised to so many bits after training"},
    {"memory", CLI_TEXT, "BYTES", NULL, "the weights are served in so many bytes, as in 4GB: chooses bits, size and tokens for it"},
    {"fit", CLI_TEXT, "FILE", NULL, "law precision: FILE.json of isoflop fit --law precision --json, or a CSV to fit it to (default: published)"},
    CLI_PLAN_FIT_OPTS,
    CLI_PLAN_OPTS,
};
#define COLUMNS "params, tokens, weight_bits, act_bits, kv_bits, post_bits, loss"
#define NO_INTERVAL "none: these constants come without refits, so that nothing says how sure they are"

// Nobody trains on so many tokens.
#define FAR_TOK 1e15

// From the fewest that the law's runs had.
enum { BITS_FROM = 3, BITS_TO = ISO_BITS_FULL, ROWS = BITS_TO - BITS_FROM + 1 };
enum { BITS, PARAMS, TOKENS, LOSS, BEST_BITS, BEST_LOSS, SERVED, AFTER, NUMBERS = AFTER + 2 * ROWS };

// One way to serve: a width of weights in memory, reached by quantising afterwards or by training in it.
typedef struct way {
  double bits;
  bool after, ok;
  iso_bits_point at;
} way;

typedef struct answer {
  cli_plan_fit law;  // owned
  iso_bits_q q;      // as asked, without the memory
  double memory_b, serve_bits, level;
  iso_bits_point chosen, best;  // under what is given; the best of the same FLOPs, its bits a real number
  way way[2 * ROWS];
  int ways, served;  // served: the best of them, -1 without --memory
} answer;

// ---- solving --------------------------------------------------------------------------------------------------------

// Ways to serve in memory_b bytes of weights.
static void serve(answer *o, iso_bits_q q) {
  o->ways = 0;
  o->served = -1;
  for (int b = BITS_TO; b >= BITS_FROM; b--)
    for (int after = 1; after >= 0; after--) {
      way *w = &o->way[o->ways];
      iso_bits_q s = q;
      *w = (way){.bits = b, .after = after};
      s.params_max = 8 * o->memory_b / b;
      if (after && !(b < (isnan(q.bits[0]) ? (double)ISO_BITS_FULL : q.bits[0]))) continue;  // nothing is left to quantise
      if (!after && !isnan(q.bits[0]) && q.bits[0] != b) continue;                           // trained otherwise
      if (!after) s.bits[0] = b;
      s.post_bits = after ? (double)b : INFINITY;
      w->ok = iso_bits_best(&s, true, &w->at, NULL) == ISO_OK && (!after || w->at.bits[0] > b);
      if (w->ok && (o->served < 0 || w->at.loss < o->way[o->served].at.loss)) o->served = o->ways;
      o->ways++;
    }
}

// Everything that follows from one set of parameters.
static iso_status solve(answer *o, const double *p, iso_err *err) {
  iso_bits_q q = o->q;
  q.p = p;
  if (!isnan(o->memory_b)) {
    serve(o, q);
    if (o->served < 0)
      return iso_fail(err, ISO_ENOMEM, "--memory: no width of weights from %d to %d bits fits %g bytes", BITS_FROM, BITS_TO, o->memory_b);
    o->chosen = o->way[o->served].at;
  } else {
    q.post_bits = o->serve_bits;
    ISO_TRY(iso_bits_best(&q, true, &o->chosen, err));
  }
  iso_bits_q best = iso_bits_q_default(p);
  best.flop = isnan(o->q.flop) ? o->chosen.flop : o->q.flop;
  return iso_bits_best(&best, false, &o->best, err);
}

// What quantising the chosen model to b bits adds, and the tokens beyond which more of them hurt.
static double added(const double *p, const iso_bits_point *c, double b, double *critical) {
  double x[ISO_LAW_INPUT_MAX], full;
  iso_bits_inputs(c->params, c->tokens, c->bits, INFINITY, x);
  full = iso_law_precision.value(p, x, NULL);
  iso_bits_inputs(c->params, c->tokens, c->bits, b, x);
  *critical = iso_bits_critical_tokens(p, c->params, c->bits, b);
  return iso_law_precision.value(p, x, NULL) - full;
}

static void numbers(const answer *o, const double *p, double *v) {
  const iso_bits_point *c = &o->chosen;
  v[BITS] = c->widest;
  v[PARAMS] = c->params;
  v[TOKENS] = c->tokens;
  v[LOSS] = c->loss;
  v[BEST_BITS] = o->best.widest;
  v[BEST_LOSS] = o->best.loss;
  v[SERVED] = o->served < 0 ? NAN : o->way[o->served].bits;
  for (int i = 0; i < ROWS; i++) v[AFTER + i] = added(p, c, BITS_FROM + i, &v[AFTER + ROWS + i]);
}

// Refits of all numbers: [number][refit]. The size and tokens of the losses are those of each refit.
static iso_status refits(const answer *o, double *v, iso_err *err) {
  int64_t n = o->law.fit.resamples;
  answer *r = malloc(sizeof *r);
  if (!r) return iso_fail(err, ISO_ENOMEM, "no memory for a plan");
  for (int64_t i = 0; i < n; i++) {
    const double *p = cli_plan_fit_sample(&o->law, i);
    double at[NUMBERS];
    *r = *o;
    bool ok = solve(r, p, NULL) == ISO_OK;
    if (ok) numbers(r, p, at);
    for (int k = 0; k < NUMBERS; k++) v[k * n + i] = ok ? at[k] : NAN;
  }
  free(r);
  return ISO_OK;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

// The loss at x, less that at `from` (NULL: all of it), with what the refits say at these sizes and bits.
static json_t *loss_range(const answer *o, double value, const double *x, const double *from) {
  int64_t n = o->law.fit.resamples;
  double *v = malloc((size_t)(n + 1) * sizeof *v);
  for (int64_t i = 0; v && i < n; i++) {
    const double *p = cli_plan_fit_sample(&o->law, i);
    v[i] = iso_law_precision.value(p, x, NULL) - (from ? iso_law_precision.value(p, from, NULL) : 0);
  }
  json_t *out = cli_plan_fit_range(value, v, v ? n : 0, o->level);
  free(v);
  return out;
}

// The same between two points, the first quantised to `post` bits afterwards.
static json_t *above(const answer *o, const iso_bits_point *c, double post, const iso_bits_point *best, double best_post) {
  double x[ISO_LAW_INPUT_MAX], from[ISO_LAW_INPUT_MAX];
  iso_bits_inputs(c->params, c->tokens, c->bits, post, x);
  iso_bits_inputs(best->params, best->tokens, best->bits, best_post, from);
  return loss_range(o, c->loss - best->loss, x, from);
}

static json_t *point_json(const answer *o, const iso_bits_point *c, double post) {
  double x[ISO_LAW_INPUT_MAX], full[ISO_LAW_INPUT_MAX];
  iso_bits_inputs(c->params, c->tokens, c->bits, post, x);
  iso_bits_inputs(c->params, c->tokens, c->bits, INFINITY, full);
  return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:f}", "params", c->params, "tokens", c->tokens, "flop", c->flop,
                   "weight_bits", c->bits[0], "act_bits", c->bits[1], "kv_bits", c->bits[2], "cost_bits", c->widest, "share", c->share,
                   "effective_params", c->effective_params, "loss", loss_range(o, c->loss, x, NULL), "post_loss",
                   loss_range(o, c->post_loss, x, full), "reach", iso_law_reach(&iso_law_precision, o->law.x_lo, o->law.x_hi, x, NULL));
}

// Whole numbers of bits of all parts at the same FLOPs, each with the size and tokens that suit it.
static json_t *by_bits(const answer *o) {
  json_t *all = json_array();
  for (int b = BITS_FROM; b <= BITS_TO; b++) {
    iso_bits_q q = iso_bits_q_default(o->law.p);
    iso_bits_point at;
    q.flop = o->best.flop;
    for (int k = 0; k < ISO_BITS_PARTS; k++) q.bits[k] = b;
    if (iso_bits_best(&q, true, &at, NULL) != ISO_OK) continue;
    json_t *j = point_json(o, &at, INFINITY);
    json_object_set_new(j, "bits", json_integer(b));
    json_object_set_new(j, "loss_above_best", above(o, &at, INFINITY, &o->best, INFINITY));
    json_array_append_new(all, j);
  }
  return all;
}

static json_t *after_json(const answer *o, double *v) {
  json_t *all = json_array();
  const iso_bits_point *c = &o->chosen;
  int64_t n = o->law.fit.resamples;
  double x[ISO_LAW_INPUT_MAX];
  iso_bits_inputs(c->params, c->tokens, c->bits, INFINITY, x);
  double full = iso_law_precision.value(o->law.p, x, NULL);
  for (int b = BITS_TO - 1; b >= BITS_FROM; b--) {
    int i = b - BITS_FROM;
    double critical, d = added(o->law.p, c, b, &critical);
    double post[ISO_LAW_INPUT_MAX];
    if (!(b < c->bits[0])) continue;
    iso_bits_inputs(c->params, c->tokens, c->bits, b, post);
    json_array_append_new(
        all, json_pack("{s:i, s:f, s:o, s:o, s:o, s:b}", "bits", b, "bytes", c->params * b / 8, "loss_added",
                       cli_plan_fit_range(d, v + (AFTER + i) * n, n, o->level), "loss", loss_range(o, full + d, post, NULL), "critical_tokens",
                       cli_plan_fit_range(critical, v + (AFTER + ROWS + i) * n, n, o->level), "more_data_hurts", c->tokens > critical));
  }
  return all;
}

static json_t *ways_json(const answer *o) {
  json_t *all = json_array();
  for (int i = 0; i < o->ways; i++) {
    const way *w = &o->way[i];
    if (!w->ok) continue;
    json_t *j = point_json(o, &w->at, w->after ? w->bits : INFINITY);
    json_object_set_new(j, "bits", json_real(w->bits));
    json_object_set_new(j, "how", json_string(w->after ? "quantised after training" : "trained in them"));
    json_object_set_new(j, "bytes", json_real(w->at.params * w->bits / 8));
    json_object_set_new(j, "memory_binds", json_boolean(w->at.at_memory));
    const way *best = &o->way[o->served];
    json_object_set_new(j, "loss_above_best", above(o, &w->at, w->after ? w->bits : INFINITY, &best->at, best->after ? best->bits : INFINITY));
    json_array_append_new(all, j);
  }
  return all;
}

// What holds the loss up, and what 1% more of each limit takes off it, by solving again.
static void put_binding(const answer *o, json_t *j) {
  bool memory = o->served >= 0 && o->chosen.at_memory, flop = !isnan(o->q.flop);
  json_t *shadow = json_pack("{s:s}", "interval", "none: slopes at the plan");
  for (int k = 0; k < 2; k++) {
    answer more = *o;
    if (k ? o->served < 0 : !flop) continue;
    *(k ? &more.memory_b : &more.q.flop) *= 1.01;
    if (solve(&more, o->law.p, NULL) == ISO_OK)
      json_object_set_new(shadow, k ? "loss_per_percent_memory" : "loss_per_percent_train_flop", json_real(more.chosen.loss - o->chosen.loss));
  }
  if (!flop && o->served < 0) json_object_set_new(shadow, "none", json_string("sizes are given and no limit is"));
  json_object_set_new(j, "binding",
                      json_string(memory && flop ? "memory, and train_flop"
                                  : memory       ? "memory"
                                  : flop         ? "train_flop"
                                                 : "the parameters and tokens given"));
  json_object_set_new(j, "shadow", shadow);
}

static json_t *range_of(const answer *o, double value, double *v, int k) {
  int64_t n = o->law.fit.resamples;
  return cli_plan_fit_range(value, v + k * n, n, o->level);
}

static iso_status answer_json(const cli_args *a, const void *self, json_t **out, iso_err *err) {
  (void)a;
  const answer *o = self;
  int64_t n = o->law.fit.resamples;
  double *v = malloc((size_t)(NUMBERS * n + 1) * sizeof *v);
  if (!v) return iso_fail(err, ISO_ENOMEM, "no memory for %lld refits", (long long)n);
  iso_status st = refits(o, v, err);
  if (st == ISO_OK) {
    const iso_bits_point *c = &o->chosen;
    double post = o->served >= 0 && o->way[o->served].after ? o->way[o->served].bits : o->serve_bits;
    json_t *chosen = point_json(o, c, post), *best = point_json(o, &o->best, INFINITY);
    json_object_set_new(chosen, "cost_bits", range_of(o, c->widest, v, BITS));
    json_object_set_new(chosen, "params", range_of(o, c->params, v, PARAMS));
    json_object_set_new(chosen, "tokens", range_of(o, c->tokens, v, TOKENS));
    json_object_set_new(chosen, "loss", range_of(o, c->loss, v, LOSS));
    json_object_set_new(best, "cost_bits", range_of(o, o->best.widest, v, BEST_BITS));
    json_object_set_new(best, "loss", range_of(o, o->best.loss, v, BEST_LOSS));
    *out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:f}", "kind", "precision", "chosen", chosen, "best", best, "by_bits", by_bits(o),
                     "quantised", after_json(o, v), "serve_bits", isfinite(o->serve_bits) ? json_real(o->serve_bits) : json_null(), "memory",
                     o->served < 0 ? json_null()
                                   : json_pack("{s:f, s:o, s:s, s:o}", "bytes", o->memory_b, "bits", range_of(o, o->way[o->served].bits, v, SERVED),
                                               "how", o->way[o->served].after ? "quantised after training" : "trained in them", "ways", ways_json(o)),
                     "intervals", n ? "refits of the law" : NO_INTERVAL, "fit", cli_plan_fit_json(&o->law), "level", o->level);
    if (!*out) st = iso_fail(err, ISO_EBUG, "plan precision: its result has no JSON");
    if (*out) put_binding(o, *out);
  }
  free(v);
  return st;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static void print_by(const json_t *r) {
  const json_t *by = json_object_get(r, "by_bits");
  char b[40], c[40];
  printf("\nall parts trained in the same bits, at the same compute\n%6s %12s %12s %10s %10s %12s\n", "bits", "parameters", "tokens", "N_eff / N",
         "loss", "over best");
  for (size_t i = 0; i < json_array_size(by); i++) {
    const json_t *o = json_array_get(by, i);
    printf("%6.0f %12s %12s %10.4f %10.4f %+12.5f\n", cli_at(o, "bits"), iso_unit_print(cli_at(o, "params"), ISO_UNIT_COUNT, b, sizeof b),
           iso_unit_print(cli_at(o, "tokens"), ISO_UNIT_TOK, c, sizeof c), cli_at(o, "share"), cli_at(o, "loss"), cli_at(o, "loss_above_best"));
  }
}

static void print_after(const json_t *r) {
  const json_t *q = json_object_get(r, "quantised");
  char b[40], c[40];
  if (!json_array_size(q)) return;
  printf("\nweights of the chosen model quantised after training\n%6s %12s %12s %10s %18s\n", "bits", "bytes", "loss added", "loss",
         "more data hurts at");
  for (size_t i = 0; i < json_array_size(q); i++) {
    const json_t *o = json_array_get(q, i);
    bool far = cli_at(o, "critical_tokens.value") > FAR_TOK;
    printf("%6.0f %12s %+12.5f %10.4f %18s%s\n", cli_at(o, "bits"), iso_unit_print(cli_at(o, "bytes"), ISO_UNIT_BYTE, b, sizeof b),
           cli_at(o, "loss_added.value"), cli_at(o, "loss"),
           far ? "out of reach" : iso_unit_print(cli_at(o, "critical_tokens.value"), ISO_UNIT_TOK, c, sizeof c),
           json_is_true(json_object_get(o, "more_data_hurts")) ? "  already" : "");
  }
}

static void print_ways(const json_t *r) {
  const json_t *ways = cli_json_at(r, "memory.ways");
  char b[40], c[40];
  if (!ways) return;
  printf("\nweights in %s\n%6s  %-26s %12s %12s %8s %10s %12s\n", iso_unit_print(cli_at(r, "memory.bytes"), ISO_UNIT_BYTE, b, sizeof b), "bits", "",
         "parameters", "tokens", "trained", "loss", "over best");
  for (size_t i = 0; i < json_array_size(ways); i++) {
    const json_t *o = json_array_get(ways, i);
    printf("%6.0f  %-26s %12s %12s %8.0f %10.4f %+12.5f\n", cli_at(o, "bits"), cli_text_at(o, "how"),
           iso_unit_print(cli_at(o, "params"), ISO_UNIT_COUNT, b, sizeof b), iso_unit_print(cli_at(o, "tokens"), ISO_UNIT_TOK, c, sizeof c),
           cli_at(o, "cost_bits"), cli_at(o, "loss"), cli_at(o, "loss_above_best"));
  }
}

static void print_plan(const json_t *r) {
  const json_t *c = json_object_get(r, "chosen");
  cli_row("train in", "%g bits of weights, %g of activations, %g of keys and values (16: not quantised)", cli_at(c, "weight_bits"),
          cli_at(c, "act_bits"), cli_at(c, "kv_bits"));
  cli_row_range("parameters", c, "params", ISO_UNIT_COUNT);
  cli_row("  effective", "%.4g, %.2f%% of them", cli_at(c, "effective_params"), 100 * cli_at(c, "share"));
  cli_row_range("tokens", c, "tokens", ISO_UNIT_TOK);
  cli_row("compute", "%.4g FLOP", cli_at(c, "flop"));
  cli_row_range("loss", c, "loss", ISO_UNIT_COUNT);
  if (cli_at(c, "post_loss") > 0) cli_row("", "of it %.5f by quantising the weights afterwards", cli_at(c, "post_loss"));
  if (!isnan(cli_at(r, "memory.bits.value"))) cli_row("serve in", "%g bits, %s", cli_at(r, "memory.bits.value"), cli_text_at(r, "memory.how"));
  cli_row("best precision", "%.2f bits of all parts, independent of the compute; loss %.4f with this one", cli_at(r, "best.cost_bits.value"),
          cli_at(r, "best.loss.value"));
  cli_row("binding", "%s", cli_text_at(r, "binding"));
  if (!isnan(cli_at(r, "shadow.loss_per_percent_train_flop")))
    cli_row("shadow price", "1%% more compute: loss %+.3g", cli_at(r, "shadow.loss_per_percent_train_flop"));
  if (!isnan(cli_at(r, "shadow.loss_per_percent_memory")))
    cli_row("shadow price", "1%% more memory: loss %+.3g", cli_at(r, "shadow.loss_per_percent_memory"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  if (cli_at(c, "reach") > 1) cli_row("reach", "%.3g times outside what the law's fit saw", cli_at(c, "reach"));
  print_ways(r);
  print_by(r);
  print_after(r);
}

void cli_why_precision(const json_t *p, cli_why *w) {
  const json_t *by = json_object_get(p, "by_bits"), *q = json_object_get(p, "quantised"), *ways = cli_json_at(p, "memory.ways");
  cli_why_say(w->bound, "compute of %.4g FLOP: a bit less buys %.3g%% more parameters times tokens and takes effective parameters",
              cli_at(p, "chosen.flop"), 100 / (cli_at(p, "chosen.cost_bits.value") - 1));
  for (size_t i = 0; ways && i < json_array_size(ways); i++) {
    const json_t *o = json_array_get(ways, i);
    if (cli_at(o, "loss_above_best") > 0)
      cli_why_lost(w, cli_at(o, "loss") / cli_at(p, "chosen.loss.value"), "loss when served in %g bits, %s, %.4g parameters", cli_at(o, "bits"),
                   cli_text_at(o, "how"), cli_at(o, "params"));
  }
  if (ways) cli_why_say(w->bound, "memory: %.4g bytes of weights in %g bits", cli_at(p, "memory.bytes"), cli_at(p, "memory.bits.value"));
  for (size_t i = 0; !ways && i < json_array_size(by); i++) {
    const json_t *o = json_array_get(by, i);
    cli_why_lost(w, cli_at(o, "loss") / cli_at(p, "chosen.loss.value"), "loss with all parts trained in %g bits", cli_at(o, "bits"));
  }
  for (size_t i = 0; i < json_array_size(q); i++) {
    const json_t *o = json_array_get(q, i);
    if (json_is_true(json_object_get(o, "more_data_hurts")))
      cli_why_say(w->change, "quantised to %g bits it has more tokens than help: beyond %.4g they raise the loss", cli_at(o, "bits"),
                  cli_at(o, "critical_tokens.value"));
    else if (cli_at(o, "critical_tokens.value") < FAR_TOK)
      cli_why_say(w->change, "quantised to %g bits more tokens help up to %.4g", cli_at(o, "bits"), cli_at(o, "critical_tokens.value"));
  }
  cli_why_say(w->sources, "law precision: %s (%s)", cli_text_at(p, "fit.source"), cli_text_at(p, "fit.paper"));
  cli_why_say(w->sources, "intervals: %s", cli_text_at(p, "intervals"));
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status read(const cli_args *a, answer *o, iso_err *err) {
  static const char *const PART[ISO_BITS_PARTS] = {"weight-bits", "act-bits", "kv-bits"};
  o->q = iso_bits_q_default(NULL);
  o->served = -1;
  o->level = cli_real(a, "level");
  ISO_TRY(cli_quantity(a, "flop", ISO_UNIT_FLOP, &o->q.flop, err));
  ISO_TRY(cli_quantity(a, "params", ISO_UNIT_COUNT, &o->q.params, err));
  ISO_TRY(cli_quantity(a, "tokens", ISO_UNIT_TOK, &o->q.tokens, err));
  ISO_TRY(cli_quantity(a, "memory", ISO_UNIT_BYTE, &o->memory_b, err));
  for (int k = 0; k < ISO_BITS_PARTS; k++) {
    if (!cli_given(a, PART[k])) continue;
    o->q.bits[k] = cli_real(a, PART[k]);
    if (!(o->q.bits[k] >= 1 && o->q.bits[k] <= 32)) return iso_fail(err, ISO_EINVAL, "--%s %g, expected 1 to 32", PART[k], o->q.bits[k]);
  }
  o->serve_bits = cli_given(a, "serve-bits") ? cli_real(a, "serve-bits") : INFINITY;
  if (!(o->serve_bits >= 1)) return iso_fail(err, ISO_EINVAL, "--serve-bits %g, expected 1 or more", o->serve_bits);
  if (!isnan(o->memory_b) && cli_given(a, "serve-bits"))
    return iso_fail(err, ISO_EINVAL, "--memory chooses the bits to serve in: leave --serve-bits out");
  bool two = !isnan(o->q.params) && !isnan(o->q.tokens);
  if (two && !isnan(o->q.flop)) return iso_fail(err, ISO_EINVAL, "--flop, --params and --tokens: leave one of the three out");
  if (!two && isnan(o->q.flop) && (isnan(o->q.tokens) || isnan(o->memory_b)))
    return iso_fail(err, ISO_EINVAL, "--flop is missing (or --params and --tokens, or --tokens and --memory)");
  return ISO_OK;
}

static iso_status solve_all(const cli_args *a, void *self, iso_err *err) {
  answer *o = self;
  ISO_TRY(read(a, o, err));
  ISO_TRY(cli_plan_fit_open(a, &iso_law_precision, &iso_law_precision.consts[0], COLUMNS, &o->law, err));
  return solve(o, o->law.p, err);
}

static void close_all(void *self) { cli_plan_fit_close(&((answer *)self)->law); }

static int run(cli_args *a) {
  static const cli_plan_answer ANSWER = {sizeof(answer), solve_all, answer_json, close_all, print_plan};
  return cli_plan_run_answer(a, &ANSWER);
}

const cli_verb cli_verb_plan_precision = {
    .name = "plan precision",
    .summary = "Bits to train in and to serve in, with the parameters and tokens that suit them, for a budget or a memory.",
    .examples = EXAMPLES,
    .usage = "--flop C | --params N --tokens TOKENS | --tokens TOKENS --memory BYTES [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Kumar et al. 2024 (arXiv:2411.04330). Without a budget of FLOPs bits of training that are not given are 16. A memory holds the weights\n"
        "alone, without the scales of their groups; every width is tried quantised after training and trained in it.",
    .stops_at_once = true,
    .run = run};
