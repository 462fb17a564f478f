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

iso_status iso_distil_decide(const iso_distil_laws *l, iso_distil_cost cost, double flop, double student, double teacher, double teacher_tokens,
                             iso_distil_answer *out, iso_err *err) {
  const double given[4] = {flop, student, teacher, teacher_tokens};
  static const char *const NAME[4] = {"budget in FLOPs", "size of the student", "size of the teacher", "training tokens of the teacher"};
  for (int i = 0; i < 4; i++)
    if (!(given[i] > 0 && given[i] < INFINITY))
      return iso_fail(err, ISO_EINVAL, "distil: %s is %g, expected a positive finite number", NAME[i], given[i]);
  iso_distil_answer a = {.flop = flop, .student_params = student, .teacher_params = teacher, .teacher_tokens = teacher_tokens};
  double train = cost == ISO_DISTIL_TRAIN ? 3 * FORWARD * teacher * teacher_tokens : 0, read = cost == ISO_DISTIL_FREE ? 0 : FORWARD * teacher;
  a.supervised_tokens = flop / (3 * FORWARD * student);
  a.supervised_loss = supervised(l, student, a.supervised_tokens);
  a.teacher_loss = supervised(l, teacher, teacher_tokens);
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
