// To distil or not: a student's loss with a teacher against its loss without one, at the same training FLOPs.
#ifndef ISO_PLAN_DISTIL_H
#define ISO_PLAN_DISTIL_H
#include "plan/law.h"

// What of the teacher is paid for (Busbridge et al. 2025, arXiv:2502.08606). A pass of a model of N parameters costs 2 N FLOPs a token forwards
// and twice that backwards; the student trains, the teacher gives its logits for every token of the student.
typedef enum iso_distil_cost {
  ISO_DISTIL_FREE,     // logits are stored, or shared by many students
  ISO_DISTIL_FORWARD,  // the teacher is there and reads the student's tokens
  ISO_DISTIL_TRAIN,    // it is trained for this one student, and reads its tokens
  ISO_DISTIL_COSTS
} iso_distil_cost;
const char *iso_distil_cost_name(iso_distil_cost c);  // "free", "forward", "train"

// Parameters of iso_law_distillation_supervised and iso_law_distillation, in their orders: fitted or of a confirmed set.
typedef struct iso_distil_laws {
  const double *supervised, *distilled;
} iso_distil_laws;

typedef struct iso_distil_answer {
  double flop, student_params;
  double supervised_tokens, supervised_loss;  // all FLOPs on the student alone
  double teacher_params, teacher_tokens, teacher_loss;
  double teacher_flop;    // training and forward passes, as far as they are paid for
  double student_tokens;  // what is left buys
  double distilled_loss;  // +INFINITY when nothing is left
  bool distil;            // distilled_loss < supervised_loss
} iso_distil_answer;

// The answer for a given teacher. ISO_EINVAL for sizes or a budget that are not positive and finite, ISO_ENUM when a law gives no loss.
iso_status iso_distil_decide(const iso_distil_laws *l, iso_distil_cost cost, double flop, double student, double teacher, double teacher_tokens,
                             iso_distil_answer *out, iso_err *err);
// The teacher that is best to train for one student, its size and tokens searched for. ISO_ENUM when no teacher leaves a finite loss.
iso_status iso_distil_best_teacher(const iso_distil_laws *l, double flop, double student, iso_distil_answer *out, iso_err *err);

// A question whose budget is still open. What is not known of the teacher is NaN: nothing known asks for the best teacher; a loss is enough
// when it is free, forward passes need its parameters, and its training both parameters and tokens. A loss that is given counts instead of
// the law's.
typedef struct iso_distil_question {
  const iso_distil_laws *laws;
  iso_distil_cost cost;
  double student, teacher, teacher_tokens, teacher_loss;
} iso_distil_question;
// The answer at a budget. The best teacher of those that are not paid for is looked for among compute-optimal ones, as there is no end to
// how long a small one could be trained; the one to be trained is that of iso_distil_best_teacher. Of a teacher known by its loss alone, the
// answer's size and tokens are NaN. ISO_EINVAL names what is missing.
iso_status iso_distil_ask(const iso_distil_question *q, double flop, iso_distil_answer *out, iso_err *err);
// Budgets in [lo, hi] at which the answer changes, ascending, at most `max`; returns how many. Budgets without an answer count as training
// alone.
int iso_distil_flips(const iso_distil_question *q, double lo, double hi, double *at, int max);
#endif
