// Student losses with and without a teacher at equal FLOPs, and the best teacher to train.
#include "plan/distil.h"

#include <math.h>

// A forward pass, FLOPs per parameter and token; a backward pass is two more.
static const double FORWARD = ISO_LAW_FLOP_PER_PARAM_TOK / 3;

const char *iso_distil_cost_name(iso_distil_cost c) {
  static const char *const NAME[ISO_DISTIL_COSTS] = {"free", "forward", "train"};
  return NAME[c];
}

static double supervised(const iso_distil_laws *l, double params, double tokens) {
  const double x[2] = {params, tokens};
  return iso_law_distillation_supervised.value(l->supervised, x, NULL);
}

static iso_status positive(double v, const char *name, iso_err *err) {
  if (v > 0 && v < INFINITY) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "distil: %s is %g, expected a positive finite number", name, v);
}

// The student with a teacher of known loss; its size and tokens are read as far as they are paid for.
static iso_status decide(const iso_distil_laws *l, iso_distil_cost cost, double flop, double student, double teacher, double teacher_tokens,
                         double teacher_loss, iso_distil_answer *out, iso_err *err) {
  ISO_TRY(positive(flop, "budget in FLOPs", err));
  ISO_TRY(positive(student, "size of the student", err));
  iso_distil_answer a = {.flop = flop, .student_params = student, .teacher_params = teacher, .teacher_tokens = teacher_tokens};
  double train = cost == ISO_DISTIL_TRAIN ? 3 * FORWARD * teacher * teacher_tokens : 0, read = cost == ISO_DISTIL_FREE ? 0 : FORWARD * teacher;
  a.supervised_tokens = flop / (3 * FORWARD * student);
  a.supervised_loss = supervised(l, student, a.supervised_tokens);
  a.teacher_loss = teacher_loss;
  a.distilled_loss = INFINITY;
  a.teacher_flop = train;
  if (!isfinite(a.supervised_loss) || !isfinite(a.teacher_loss))
    return iso_fail(err, ISO_ENUM, "distil: supervised losses of %g (student) and %g (teacher), expected finite ones", a.supervised_loss,
                    a.teacher_loss);
  if (flop > train) {
    a.student_tokens = (flop - train) / (3 * FORWARD * student + read);
    a.teacher_flop += read * a.student_tokens;
    const double x[4] = {student, a.student_tokens, a.teacher_loss, supervised(l, student, a.student_tokens)};
    a.distilled_loss = iso_law_distillation.value(l->distilled, x, NULL);
    if (!isfinite(a.distilled_loss)) return iso_fail(err, ISO_ENUM, "distil: the law gives %g for the student's loss", a.distilled_loss);
  }
  a.distil = a.distilled_loss < a.supervised_loss;
  *out = a;
  return ISO_OK;
}

iso_status iso_distil_decide(const iso_distil_laws *l, iso_distil_cost cost, double flop, double student, double teacher, double teacher_tokens,
                             iso_distil_answer *out, iso_err *err) {
  ISO_TRY(positive(teacher, "size of the teacher", err));
  ISO_TRY(positive(teacher_tokens, "training tokens of the teacher", err));
  return decide(l, cost, flop, student, teacher, teacher_tokens, supervised(l, teacher, teacher_tokens), out, err);
}

typedef struct search {
  const iso_distil_laws *l;
  double flop, student, teacher, tokens;
} search;

static double loss(search *s) {
  iso_distil_answer a = {0};
  return iso_distil_decide(s->l, ISO_DISTIL_TRAIN, s->flop, s->student, s->teacher, s->tokens, &a, NULL) == ISO_OK ? a.distilled_loss : INFINITY;
}

// u: logarithm of the share of the budget that goes into the teacher's training.
static double over_tokens(void *self, double u) {
  search *s = self;
  s->tokens = exp(u) * s->flop / (3 * FORWARD * s->teacher);
  return loss(s);
}

static double best_tokens(search *s) { return iso_law_least(over_tokens, s, log(1e-6), log(0.999), 40, NULL); }

static double over_teacher(void *self, double u) {
  search *s = self;
  s->teacher = exp(u);
  double share = best_tokens(s);
  return isnan(share) ? INFINITY : over_tokens(s, share);
}

iso_status iso_distil_best_teacher(const iso_distil_laws *l, double flop, double student, iso_distil_answer *out, iso_err *err) {
  search s = {.l = l, .flop = flop, .student = student, .teacher = 1};
  ISO_TRY(iso_distil_decide(l, ISO_DISTIL_FREE, flop, student, student, flop / (3 * FORWARD * student), out, err));
  double u = iso_law_least(over_teacher, &s, log(1e3), log(1e15), 60, NULL);
  if (isnan(u)) return iso_fail(err, ISO_ENUM, "distil: no teacher of 1e3 to 1e15 parameters leaves a finite loss at %g FLOP", flop);
  over_teacher(&s, u);
  return iso_distil_decide(l, ISO_DISTIL_TRAIN, flop, student, s.teacher, s.tokens, out, err);
}

// ---- questions ------------------------------------------------------------------------------------------------------

typedef struct at_hand {
  const iso_distil_question *q;
  double flop;
  iso_distil_answer best;
} at_hand;

// The student's loss with a compute-optimal teacher of exp(u) FLOPs, which nobody here pays for.
static double over_teacher_flop(void *self, double u) {
  at_hand *s = self;
  iso_law_point t;
  if (iso_law_distillation_supervised.optimum(s->q->laws->supervised, exp(u), &t, NULL) != ISO_OK) return INFINITY;
  iso_status st = iso_distil_decide(s->q->laws, s->q->cost, s->flop, s->q->student, t.params, t.tokens, &s->best, NULL);
  return st == ISO_OK ? s->best.distilled_loss : INFINITY;
}

static iso_status best_at_hand(const iso_distil_question *q, double flop, iso_distil_answer *out, iso_err *err) {
  at_hand s = {.q = q, .flop = flop};
  ISO_TRY(positive(flop, "budget in FLOPs", err));
  ISO_TRY(positive(q->student, "size of the student", err));
  double u = iso_law_least(over_teacher_flop, &s, log(1e12), log(1e30), 120, NULL);
  if (isnan(u)) return iso_fail(err, ISO_ENUM, "distil: no compute-optimal teacher of 1e12 to 1e30 FLOP leaves a finite loss at %g FLOP", flop);
  over_teacher_flop(&s, u);
  *out = s.best;
  return ISO_OK;
}

iso_status iso_distil_ask(const iso_distil_question *q, double flop, iso_distil_answer *out, iso_err *err) {
  double loss = q->teacher_loss;
  if (isnan(q->teacher) && isnan(q->teacher_tokens) && isnan(loss))
    return q->cost == ISO_DISTIL_TRAIN ? iso_distil_best_teacher(q->laws, flop, q->student, out, err) : best_at_hand(q, flop, out, err);
  bool size = q->cost != ISO_DISTIL_FREE || isnan(loss), tokens = q->cost == ISO_DISTIL_TRAIN || isnan(loss);
  if (size) ISO_TRY(positive(q->teacher, "size of the teacher", err));
  if (tokens) ISO_TRY(positive(q->teacher_tokens, "training tokens of the teacher", err));
  if (isnan(loss)) loss = supervised(q->laws, q->teacher, q->teacher_tokens);
  ISO_TRY(positive(loss, "loss of the teacher", err));
  return decide(q->laws, q->cost, flop, q->student, q->teacher, q->teacher_tokens, loss, out, err);
}

static bool distils(const iso_distil_question *q, double log_flop) {
  iso_distil_answer a;
  return iso_distil_ask(q, exp(log_flop), &a, NULL) == ISO_OK && a.distil;
}

int iso_distil_flips(const iso_distil_question *q, double lo, double hi, double *at, int max) {
  enum { SCAN = 96, HALVINGS = 30 };
  double from = log(lo), step = (log(hi) - from) / SCAN;
  bool before = distils(q, from);
  int n = 0;
  for (int i = 1; i <= SCAN && n < max; i++) {
    double a = from + step * (i - 1), b = from + step * i;
    bool now = distils(q, b);
    if (now == before) continue;
    for (int k = 0; k < HALVINGS; k++) {
      double mid = 0.5 * (a + b);
      *(distils(q, mid) == before ? &a : &b) = mid;
    }
    at[n++] = exp(0.5 * (a + b));
    before = now;
  }
  return n;
}
