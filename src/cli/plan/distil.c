// isoflop plan distil: a student with a teacher against the same student without one, at the same FLOPs.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/fit.h"
#include "cli/why.h"
#include "plan/distil.h"

static const char *const EXAMPLES[] = {
    "isoflop plan distil --student 1e9 --flop 1e21 --teacher 7e9 --teacher-tokens 1.4e11 --teacher-cost forward --fit runs.csv",
    "isoflop plan distil --student 500M --flop 4e20 --teacher-cost train --fit fit.json --json",
    "isoflop plan distil --student 1e9 --flop 1e21 --teacher-loss 2.1 --teacher-cost free --fit fit.json", NULL};
static const cli_opt OPTS[] = {
    {"student", CLI_TEXT, "N", NULL, "parameters of the student, as in 1e9 or 1B"},
    {"flop", CLI_TEXT, "C", NULL, "training compute, the teacher's share included as far as it is paid for"},
    {"teacher", CLI_TEXT, "N", NULL, "parameters of the teacher (default, with no other option of it: the best one)"},
    {"teacher-tokens", CLI_TEXT, "TOKENS", NULL, "tokens that the teacher was or would be trained on"},
    {"teacher-loss", CLI_REAL, "LOSS", NULL, "its loss on the student's data, in nats per token, instead of the law's"},
    {"teacher-cost", CLI_TEXT, "KIND", "forward",
     "what of the teacher is paid for: free (stored logits), forward (it reads the student's tokens), train (that and its training)"},
    {"fit", CLI_TEXT, "FILE", NULL, "law distillation: FILE.json of isoflop fit --law distillation --json, or a CSV to fit it to"},
    {"supervised", CLI_TEXT, "FILE", NULL,
     "the same for law distillation_supervised (default: column supervised_loss of a CSV --fit, else its published constants)"},
    {"max-reach", CLI_REAL, "R", "20", "refuse questions further outside the runs fitted than this ratio"},
    CLI_PLAN_FIT_OPTS,
    CLI_PLAN_OPTS,
};
#define COLUMNS "params, tokens, teacher_loss, supervised_loss, student_loss"
// Budgets at which the answer may change are looked for this far round the one asked for.
#define AROUND 1e5

enum { FLIPS_MAX = 4 };
typedef struct answer {
  iso_distil_question q;
  double flop, level;
  bool best_asked;
  cli_plan_fit taught, alone;  // owned
  iso_distil_laws laws;
  iso_distil_answer a, best;
  double flip[FLIPS_MAX];
  int flips;
  double reach;
  int axis;
} answer;

static bool is_json(const char *path) {
  size_t n = strlen(path);
  return n > 5 && strcmp(path + n - 5, ".json") == 0;
}

// ---- laws -----------------------------------------------------------------------------------------------------------

static iso_status open_alone(const cli_args *a, answer *o, iso_err *err) {
  static const char *const COLUMN[] = {"loss=supervised_loss"};
  const char *own = cli_text(a, "supervised"), *fit = cli_text(a, "fit");
  const iso_law *law = &iso_law_distillation_supervised;
  if (own && is_json(own)) return cli_plan_fit_saved(own, law, &o->alone, err);
  if (!own && is_json(fit)) {
    const iso_law_const *c = &law->consts[0];
    o->alone.law = law;
    if (!c->confirmed) return iso_fail(err, ISO_EUNSUP, "law %s has no confirmed constants: give --supervised", law->base.name);
    memcpy(o->alone.p, c->p, sizeof c->p);
    (void)snprintf(o->alone.source, sizeof o->alone.source, "published constants %s: %.200s", c->name, c->source);
    return ISO_OK;
  }
  iso_csv t = {0};
  iso_status st = iso_csv_load(own ? own : fit, &t, err);
  if (st == ISO_OK) st = cli_plan_fit_rows(a, &t, own ? own : fit, law, NULL, COLUMN, own ? 0 : 1, &o->alone, err);
  iso_csv_close(&t);
  return cli_input(st, err);
}

static iso_status open_laws(const cli_args *a, answer *o, iso_err *err) {
  const char *fit = cli_text(a, "fit");
  const iso_law *law = &iso_law_distillation;
  if (!fit) {
    iso_fail(err, ISO_EUNSUP, "law %s: its published constants (%s) are not confirmed by a primary source, so nothing is decided with them",
             law->base.name, law->consts[0].name);
    return iso_hint(err, ISO_EUNSUP,
                    "give runs of your own: --fit DATA.csv with columns " COLUMNS
                    ", or --fit FIT.json of isoflop fit DATA.csv "
                    "--law distillation --json > FIT.json");
  }
  iso_status st = cli_plan_fit_open(a, law, &law->consts[0], COLUMNS, &o->taught, err);
  return st == ISO_OK ? open_alone(a, o, err) : st;
}

// ---- the decision ---------------------------------------------------------------------------------------------------

static iso_status read(const cli_args *a, answer *o, iso_err *err) {
  const char *cost = cli_text(a, "teacher-cost");
  double max_reach = cli_real(a, "max-reach");
  o->level = cli_real(a, "level");
  o->q = (iso_distil_question){.laws = &o->laws, .cost = ISO_DISTIL_COSTS, .teacher_loss = cli_real(a, "teacher-loss")};
  ISO_TRY(cli_quantity(a, "student", ISO_UNIT_COUNT, &o->q.student, err));
  ISO_TRY(cli_quantity(a, "flop", ISO_UNIT_FLOP, &o->flop, err));
  ISO_TRY(cli_quantity(a, "teacher", ISO_UNIT_COUNT, &o->q.teacher, err));
  ISO_TRY(cli_quantity(a, "teacher-tokens", ISO_UNIT_TOK, &o->q.teacher_tokens, err));
  if (isnan(o->q.student) || isnan(o->flop)) return iso_fail(err, ISO_EINVAL, "--%s is missing", isnan(o->q.student) ? "student" : "flop");
  for (int c = 0; c < ISO_DISTIL_COSTS; c++)
    if (strcmp(cost, iso_distil_cost_name((iso_distil_cost)c)) == 0) o->q.cost = (iso_distil_cost)c;
  if (o->q.cost == ISO_DISTIL_COSTS) return iso_fail(err, ISO_EINVAL, "--teacher-cost %.40s: expected free, forward or train", cost);
  if (!(max_reach >= 1)) return iso_fail(err, ISO_EINVAL, "--max-reach must be 1 or more");
  if (cli_given(a, "teacher-loss") && !(o->q.teacher_loss > 0 && o->q.teacher_loss < INFINITY))
    return iso_fail(err, ISO_EINVAL, "--teacher-loss %g, expected a positive number", o->q.teacher_loss);
  o->best_asked = isnan(o->q.teacher) && isnan(o->q.teacher_tokens) && isnan(o->q.teacher_loss);
  bool free_loss = o->q.cost == ISO_DISTIL_FREE && !isnan(o->q.teacher_loss);
  if (!o->best_asked && !free_loss && isnan(o->q.teacher))
    return iso_fail(err, ISO_EINVAL, "--teacher is missing: the parameters of the teacher that --teacher-cost %s pays for", cost);
  if (!o->best_asked && isnan(o->q.teacher_tokens) && (o->q.cost == ISO_DISTIL_TRAIN || isnan(o->q.teacher_loss)))
    return iso_fail(err, ISO_EINVAL, "--teacher-tokens is missing%s", o->q.cost == ISO_DISTIL_TRAIN ? "" : " (or --teacher-loss)");
  return ISO_OK;
}

static iso_status solve(const cli_args *a, answer *o, iso_err *err) {
  o->laws = (iso_distil_laws){o->alone.p, o->taught.p};
  ISO_TRY(iso_distil_ask(&o->q, o->flop, &o->a, err));
  iso_distil_question best = o->q;
  best.teacher = best.teacher_tokens = best.teacher_loss = NAN;
  if (iso_distil_ask(&best, o->flop, &o->best, NULL) != ISO_OK) o->best.distilled_loss = NAN;
  o->flips = iso_distil_flips(&o->q, o->flop / AROUND, o->flop * AROUND, o->flip, FLIPS_MAX);
  if (isinf(o->a.distilled_loss)) return ISO_OK;
  const double alone[2] = {o->q.student, o->a.student_tokens};
  const double x[4] = {alone[0], alone[1], o->a.teacher_loss, iso_law_distillation_supervised.value(o->alone.p, alone, NULL)};
  o->reach = iso_law_reach(&iso_law_distillation, o->taught.x_lo, o->taught.x_hi, x, &o->axis);
  if (o->reach <= cli_real(a, "max-reach")) return ISO_OK;
  iso_fail(err, ISO_EUNSUP, "%s = %.4g is %.3g times outside the runs that law distillation was fitted to (%.4g to %.4g)",
           iso_law_distillation.input[o->axis].name, x[o->axis], o->reach, o->taught.x_lo[o->axis], o->taught.x_hi[o->axis]);
  return iso_hint(err, ISO_EUNSUP, "add runs nearer to it, or raise --max-reach");
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

// The same question with refit i of both laws; the teacher that was chosen is kept.
static iso_distil_question refit(const answer *o, iso_distil_laws *l, int64_t i, bool keep) {
  iso_distil_question q = o->q;
  *l = (iso_distil_laws){cli_plan_fit_sample(&o->alone, i), cli_plan_fit_sample(&o->taught, i)};
  q.laws = l;
  if (keep && o->best_asked) {
    q.teacher = o->a.teacher_params;
    q.teacher_tokens = o->a.teacher_tokens;
  }
  return q;
}

// Losses, their difference, and how sure the refits are.
static iso_status put_losses(const answer *o, json_t *j, iso_err *err) {
  int64_t n = o->taught.fit.resamples > o->alone.fit.resamples ? o->taught.fit.resamples : o->alone.fit.resamples, yes = 0, told = 0;
  double *v = malloc((size_t)(4 * n + 1) * sizeof *v), *alone = v, *taught = v + n, *gain = v + 2 * n, *teacher = v + 3 * n;
  if (!v) return iso_fail(err, ISO_ENOMEM, "no memory for %lld refits", (long long)n);
  for (int64_t i = 0; i < n; i++) {
    iso_distil_laws l;
    iso_distil_question q = refit(o, &l, i, true);
    iso_distil_answer b;
    alone[i] = taught[i] = gain[i] = teacher[i] = NAN;
    if (iso_distil_ask(&q, o->flop, &b, NULL) != ISO_OK) continue;
    alone[i] = b.supervised_loss;
    taught[i] = b.distilled_loss;
    gain[i] = b.supervised_loss - b.distilled_loss;
    teacher[i] = b.teacher_loss;
    told++;
    yes += b.distil;
  }
  json_object_set_new(json_object_get(j, "alone"), "loss", cli_plan_fit_range(o->a.supervised_loss, alone, n, o->level));
  json_object_set_new(json_object_get(j, "student"), "loss", cli_plan_fit_range(o->a.distilled_loss, taught, n, o->level));
  json_object_set_new(j, "gain", cli_plan_fit_range(o->a.supervised_loss - o->a.distilled_loss, gain, n, o->level));
  json_object_set_new(json_object_get(j, "teacher"), "loss", cli_plan_fit_range(o->a.teacher_loss, teacher, n, o->level));
  json_object_set_new(json_object_get(j, "teacher"), "student_loss", json_deep_copy(cli_json_at(j, "student.loss")));
  json_object_set_new(j, "refits_that_distil", told ? json_real((double)yes / (double)told) : json_null());
  free(v);
  return ISO_OK;
}

static json_t *flips_json(const answer *o) {
  json_t *all = json_array();
  int64_t n = o->taught.fit.resamples;
  // A teacher chosen anew at each budget and refit would take minutes.
  if (o->best_asked && o->q.cost == ISO_DISTIL_TRAIN) n = 0;
  double *v = n > 0 ? malloc((size_t)n * FLIPS_MAX * sizeof *v) : NULL;
  for (int64_t i = 0; v && i < n; i++) {
    iso_distil_laws l;
    iso_distil_question q = refit(o, &l, i, true);
    int m = iso_distil_flips(&q, o->flop / AROUND, o->flop * AROUND, v + i * FLIPS_MAX, FLIPS_MAX);
    // Only refits that change their mind as often are about the same changes.
    for (int k = m == o->flips ? m : 0; k < FLIPS_MAX; k++) v[i * FLIPS_MAX + k] = NAN;
  }
  for (int k = 0; k < o->flips; k++) {
    double *one = v ? malloc((size_t)n * sizeof *one) : NULL;
    for (int64_t i = 0; one && i < n; i++) one[i] = v[i * FLIPS_MAX + k];
    json_t *range = cli_plan_fit_range(o->flip[k], one, one ? n : 0, o->level);
    iso_distil_answer after;
    bool then = iso_distil_ask(&o->q, o->flip[k] * 1.001, &after, NULL) == ISO_OK && after.distil;
    json_array_append_new(all, json_pack("{s:o, s:s}", "train_flop", range, "above", then ? "distil" : "alone"));
    free(one);
  }
  free(v);
  return all;
}

static json_t *teacher_json(const iso_distil_answer *a) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "params", iso_json_num(a->teacher_params), "tokens", iso_json_num(a->teacher_tokens), "loss",
                   iso_json_num(a->teacher_loss), "flop", iso_json_num(a->teacher_flop), "student_loss", iso_json_num(a->distilled_loss));
}

// The loss of the question q with what refits say of it.
static json_t *cost_range(const answer *o, const iso_distil_question *q, double value) {
  int64_t n = o->taught.fit.resamples;
  double *v = malloc((size_t)(n + 1) * sizeof *v);
  for (int64_t i = 0; v && i < n; i++) {
    iso_distil_laws l = {cli_plan_fit_sample(&o->alone, i), cli_plan_fit_sample(&o->taught, i)};
    iso_distil_question r = *q;
    iso_distil_answer b;
    r.laws = &l;
    v[i] = iso_distil_ask(&r, o->flop, &b, NULL) == ISO_OK ? b.distilled_loss : NAN;
  }
  json_t *out = cli_plan_fit_range(value, v, v ? n : 0, o->level);
  free(v);
  return out;
}

static json_t *costs_json(const answer *o) {
  json_t *all = json_array();
  for (int c = 0; c < ISO_DISTIL_COSTS; c++) {
    iso_distil_question q = o->q;
    iso_distil_answer a;
    q.cost = (iso_distil_cost)c;
    if (o->best_asked) {
      q.teacher = o->a.teacher_params;
      q.teacher_tokens = o->a.teacher_tokens;
    }
    if (iso_distil_ask(&q, o->flop, &a, NULL) != ISO_OK) continue;
    json_array_append_new(
        all, json_pack("{s:s, s:o, s:o, s:o, s:b}", "cost", iso_distil_cost_name(q.cost), "loss", cost_range(o, &q, a.distilled_loss), "tokens",
                       iso_json_num(a.student_tokens), "teacher_flop", iso_json_num(a.teacher_flop), "distil", a.distil));
  }
  return all;
}

// Compute is the one limit: what 1% more of it takes off the loss of the better way.
static void put_binding(const answer *o, json_t *j) {
  iso_distil_answer more;
  bool ok = iso_distil_ask(&o->q, 1.01 * o->flop, &more, NULL) == ISO_OK;
  double now = fmin(o->a.supervised_loss, o->a.distilled_loss);
  json_object_set_new(j, "binding", json_string("train_flop"));
  json_object_set_new(j, "shadow",
                      json_pack("{s:o, s:s}", "loss_per_percent", iso_json_num(ok ? fmin(more.supervised_loss, more.distilled_loss) - now : NAN),
                                "interval", "none: a slope at the budget"));
  json_object_set_new(j, "intervals", json_string(o->taught.fit.resamples ? "refits of both laws" : "none: no refits were made"));
}

static iso_status answer_json(const cli_args *a, const void *self, json_t **out, iso_err *err) {
  (void)a;
  const answer *o = self;
  json_t *j = json_pack("{s:s, s:b, s:s, s:f, s:{s:f, s:f}, s:{s:f}}", "kind", "distil", "distil", o->a.distil, "teacher_cost",
                        iso_distil_cost_name(o->q.cost), "train_flop", o->flop, "student", "params", o->q.student, "tokens", o->a.student_tokens,
                        "alone", "tokens", o->a.supervised_tokens);
  *out = j;
  json_t *t = teacher_json(&o->a), *best = isnan(o->best.distilled_loss) ? json_null() : teacher_json(&o->best);
  json_object_set_new(t, "given", json_boolean(!o->best_asked));
  json_object_set_new(j, "teacher", t);
  ISO_TRY(put_losses(o, j, err));
  if (json_is_object(best)) json_object_set_new(best, "interval", json_string("none: the choice of a teacher is not made anew for each refit"));
  json_object_set_new(j, "best_teacher", best);
  put_binding(o, j);
  json_object_set_new(j, "flips", flips_json(o));
  json_object_set_new(j, "flips_within", json_pack("[f, f]", o->flop / AROUND, o->flop * AROUND));
  json_object_set_new(j, "costs", costs_json(o));
  json_object_set_new(j, "reach", iso_json_num(o->reach));
  json_object_set_new(j, "reach_axis", o->axis < 0 ? json_null() : json_string(iso_law_distillation.input[o->axis].name));
  json_object_set_new(j, "fits", json_pack("[o, o]", cli_plan_fit_json(&o->taught), cli_plan_fit_json(&o->alone)));
  return ISO_OK;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static const char *loss_text(const json_t *o, char *buf, size_t n) {
  double lo = cli_at(o, "lo"), v = cli_at(o, "value"), hi = cli_at(o, "hi");
  if (isnan(v))
    (void)snprintf(buf, n, "nothing is left for the student");
  else if (isnan(lo))
    (void)snprintf(buf, n, "%.4f", v);
  else
    (void)snprintf(buf, n, "%.4f (%.4f to %.4f)", v, lo, hi);
  return buf;
}

static void teacher_row(const char *name, const json_t *t) {
  char b[40], size[100] = "of any size";
  if (!isnan(cli_at(t, "params")))
    (void)snprintf(size, sizeof size, "%.4g parameters%s%s", cli_at(t, "params"), isnan(cli_at(t, "tokens")) ? "" : " trained on ",
                   isnan(cli_at(t, "tokens")) ? "" : iso_unit_print(cli_at(t, "tokens"), ISO_UNIT_TOK, b, sizeof b));
  cli_row(name, "%s: loss %.4f, %.4g FLOP paid for it", size, cli_at(t, "loss"), cli_at(t, "flop"));
}

static void print_plan(const json_t *r) {
  char b[40], text[120];
  const json_t *flips = json_object_get(r, "flips"), *costs = json_object_get(r, "costs"), *fits = json_object_get(r, "fits");
  cli_row("distil", "%s: %.4g nats a token %s", json_is_true(json_object_get(r, "distil")) ? "yes" : "no", fabs(cli_at(r, "gain.value")),
          cli_at(r, "gain.value") > 0 ? "better than alone" : "worse than alone");
  if (!isnan(cli_at(r, "refits_that_distil"))) cli_row("", "%.0f%% of the refits say yes", 100 * cli_at(r, "refits_that_distil"));
  cli_row("student", "%.4g parameters, %.4g FLOP in all", cli_at(r, "student.params"), cli_at(r, "train_flop"));
  cli_row("  with the teacher", "loss %s on %s", loss_text(cli_json_at(r, "student.loss"), text, sizeof text),
          iso_unit_print(cli_at(r, "student.tokens"), ISO_UNIT_TOK, b, sizeof b));
  cli_row("  alone", "loss %s on %s", loss_text(cli_json_at(r, "alone.loss"), text, sizeof text),
          iso_unit_print(cli_at(r, "alone.tokens"), ISO_UNIT_TOK, b, sizeof b));
  teacher_row(json_is_true(cli_json_at(r, "teacher.given")) ? "teacher" : "teacher, the best", json_object_get(r, "teacher"));
  if (json_is_true(cli_json_at(r, "teacher.given")) && json_is_object(json_object_get(r, "best_teacher"))) {
    teacher_row("best teacher", json_object_get(r, "best_teacher"));
    cli_row("", "gives the student %.4f", cli_at(r, "best_teacher.student_loss"));
  }
  for (size_t i = 0; i < json_array_size(flips); i++) {
    const json_t *f = json_array_get(flips, i);
    cli_row_range(i ? "" : "the answer changes at", f, "train_flop", ISO_UNIT_FLOP);
    cli_row("", "above it: %s", strcmp(cli_text_at(f, "above"), "distil") == 0 ? "distil" : "train alone");
  }
  cli_row("binding", "train_flop");
  cli_row("shadow price", "1%% more of it: loss %+.3g", cli_at(r, "shadow.loss_per_percent"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  if (!json_array_size(flips)) cli_row("the answer changes", "nowhere within a factor of %g", AROUND);
  printf("\n%-10s %12s %14s %16s\n", "teacher", "loss", "tokens", "FLOP for it");
  for (size_t i = 0; i < json_array_size(costs); i++) {
    const json_t *c = json_array_get(costs, i);
    char loss[40] = "-";
    if (!isnan(cli_at(c, "loss"))) (void)snprintf(loss, sizeof loss, "%.4f", cli_at(c, "loss"));
    printf("%-10s %12s %14s %16.4g%s\n", cli_text_at(c, "cost"), loss, iso_unit_print(cli_at(c, "tokens"), ISO_UNIT_TOK, b, sizeof b),
           cli_at(c, "teacher_flop"), strcmp(cli_text_at(c, "cost"), cli_text_at(r, "teacher_cost")) == 0 ? "  asked for" : "");
  }
  printf("\n");
  for (size_t i = 0; i < json_array_size(fits); i++)
    cli_row(i ? "" : "laws from", "%s: %s", cli_text_at(json_array_get(fits, i), "law"), cli_text_at(json_array_get(fits, i), "source"));
  if (cli_at(r, "reach") > 1)
    cli_row("note", "an extrapolation: %.3g times outside the runs fitted in %s", cli_at(r, "reach"), cli_text_at(r, "reach_axis"));
}

void cli_why_distil(const json_t *p, cli_why *w) {
  const json_t *flips = json_object_get(p, "flips"), *costs = json_object_get(p, "costs"), *fits = json_object_get(p, "fits");
  bool yes = json_is_true(json_object_get(p, "distil"));
  double alone = cli_at(p, "alone.loss.value"), taught = cli_at(p, "student.loss.value"), chosen = yes ? taught : alone;
  char b[40];
  cli_why_say(w->bound, "%s: the teacher takes %.4g of %.4g FLOP (cost %s), which leaves the student %s", yes ? "distil" : "train alone",
              cli_at(p, "teacher.flop"), cli_at(p, "train_flop"), cli_text_at(p, "teacher_cost"),
              iso_unit_print(cli_at(p, "student.tokens"), ISO_UNIT_TOK, b, sizeof b));
  cli_why_lost(w, (yes ? alone : taught) / chosen, "loss %s", yes ? "of the student alone" : "with the teacher");
  cli_why_lost(w, cli_at(p, "best_teacher.student_loss") / chosen, "loss with the best teacher, %.4g parameters on %s",
               cli_at(p, "best_teacher.params"), iso_unit_print(cli_at(p, "best_teacher.tokens"), ISO_UNIT_TOK, b, sizeof b));
  for (size_t i = 0; i < json_array_size(costs); i++) {
    const json_t *c = json_array_get(costs, i);
    if (strcmp(cli_text_at(c, "cost"), cli_text_at(p, "teacher_cost")) != 0)
      cli_why_lost(w, cli_at(c, "loss") / chosen, "loss with this teacher at cost %s", cli_text_at(c, "cost"));
  }
  for (size_t i = 0; i < json_array_size(flips); i++)
    cli_why_say(w->change, "above %.4g FLOP: %s", cli_at(json_array_get(flips, i), "train_flop.value"),
                strcmp(cli_text_at(json_array_get(flips, i), "above"), "distil") == 0 ? "distil" : "train alone");
  if (!json_array_size(flips)) cli_why_say(w->change, "no budget within a factor of %g", AROUND);
  for (size_t i = 0; i < json_array_size(fits); i++)
    cli_why_say(w->sources, "law %s: %s (%s)", cli_text_at(json_array_get(fits, i), "law"), cli_text_at(json_array_get(fits, i), "source"),
                cli_text_at(json_array_get(fits, i), "paper"));
}

static iso_status solve_all(const cli_args *a, void *self, iso_err *err) {
  answer *o = self;
  o->axis = -1;
  o->reach = NAN;
  ISO_TRY(read(a, o, err));
  ISO_TRY(open_laws(a, o, err));
  return solve(a, o, err);
}

static void close_all(void *self) {
  answer *o = self;
  cli_plan_fit_close(&o->taught);
  cli_plan_fit_close(&o->alone);
}

static int run(cli_args *a) {
  static const cli_plan_answer ANSWER = {sizeof(answer), solve_all, answer_json, close_all, print_plan};
  return cli_plan_run_answer(a, &ANSWER);
}

const cli_verb cli_verb_plan_distil = {
    .name = "plan distil",
    .summary = "Distil a student or train it alone: both losses at the same FLOPs, the best teacher, where the answer changes.",
    .examples = EXAMPLES,
    .usage = "--student N --flop C --fit FILE [--teacher N --teacher-tokens TOKENS | --teacher-loss LOSS] [--teacher-cost KIND] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Busbridge et al. 2025 (arXiv:2502.08606). Its published constants of the distilled student are not confirmed, so runs are needed:\n"
        "a CSV with columns " COLUMNS
        ".\n"
        "The best teacher is looked for among compute-optimal ones, or, with cost train, over size and tokens. Intervals are from refits.",
    .stops_at_once = true,
    .run = run};
