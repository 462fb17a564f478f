// Answers the checklist from what the IsoFLOP methods did.
#include "plan/fit/isoflop_checklist.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct list {
  iso_lawfit_item *at;
  int n;
  const char *section;
} list;

__attribute__((format(printf, 3, 4))) static void ask(list *l, const char *question, const char *fmt, ...) {
  if (l->n >= ISO_LAWFIT_ITEMS) return;
  iso_lawfit_item *i = &l->at[l->n++];
  va_list ap;
  i->section = l->section;
  i->question = question;
  i->answer[0] = 0;
  if (!fmt) return;
  va_start(ap, fmt);
  (void)vsnprintf(i->answer, sizeof i->answer, fmt, ap);
  va_end(ap);
}

static void range(const double *v, int64_t n, double *lo, double *hi) {
  *lo = INFINITY;
  *hi = 0;
  for (int64_t i = 0; i < n; i++) {
    *lo = fmin(*lo, v[i]);
    *hi = fmax(*hi, v[i]);
  }
}

static void runs(list *l, const iso_isoflop_done *d) {
  const iso_fit_data *p = d->data;
  double n[2], t[2], c[2];
  range(p->params, p->n, &n[0], &n[1]);
  range(p->tokens, p->n, &t[0], &t[1]);
  range(p->flop, p->n, &c[0], &c[1]);
  l->section = "training";
  ask(l, "How many models are trained?", "%lld rows", (long long)p->n);
  ask(l, "At which sizes, on how much data?", "params %.3g to %.3g, tokens %.3g to %.3g, train_flop %.3g to %.3g", n[0], n[1], t[0], t[1], c[0],
      c[1]);
  ask(l, "How are parameters, tokens and FLOPs counted?", "as the table has them; tokens or FLOPs that it lacks follow from C = 6 N D");
  ask(l, "On which data, in which mixture; is any of it repeated?", NULL);
  ask(l, "Which architecture, shapes and tokenizer?", NULL);
  ask(l, "How are optimizer, schedule, batch size and learning rate chosen at each size?", NULL);
  l->section = "data collection";
  ask(l, "Is the target measured at the end of runs or at checkpoints within them?", NULL);
  ask(l, "Which metric, on which held-out data?", NULL);
  ask(l, "Are all rows used?", "%lld without a loss skipped, %lld highest dropped%s", (long long)p->skipped, (long long)p->dropped,
      d->curves && d->curves->unassigned ? "; some share no budget with two others" : "");
}

static void method(list *l, const iso_isoflop_done *d) {
  l->section = "fitting";
  if (d->curves) {
    const iso_curves *m = d->curves;
    ask(l, "Interpolated curves: how are the minima found?",
        "Akima interpolation of log loss on log N, %d of %d budgets with a minimum inside; weighted least squares in the logarithms, R2 %.5f",
        m->used, m->n, m->r2);
    ask(l, "Interpolated curves: how uncertain?", "%lld resamples with noise of %g on each loss, %.0f%% intervals", (long long)m->resamples,
        m->noise_sd, 100 * m->level);
  }
  if (d->parabolas) {
    const iso_parabolas *m = d->parabolas;
    ask(l, "Parabolas: how are the minima found?", "least squares of loss on log N and its square, %d of %d budgets with a minimum inside", m->used,
        m->n);
    ask(l, "Parabolas: how uncertain?", "Fieller's theorem and Student's t, %.0f%% intervals", 100 * m->level);
  }
  if (d->envelope) {
    const iso_envelope *m = d->envelope;
    ask(l, "Envelope: how are the best sizes found?",
        "lowest of %lld training curves at each budget, %lld sizes count; weighted least squares, R2 %.5f", (long long)m->sizes, (long long)m->steps,
        m->r2);
    ask(l, "Envelope: how uncertain?", "spread over %lld random subsets of 80%% of the sizes, %.0f%% intervals", (long long)m->resamples,
        100 * m->level);
  }
  ask(l, "How is the fit checked?", "R2 of the line; no budget is held out");
}

int iso_isoflop_checklist(const iso_isoflop_done *d, iso_lawfit_item *items) {
  list l = {.at = items, .section = "form"};
  ask(&l, "What is the form of the law?", "N* = k C^a, the size of least loss at a budget");
  ask(&l, "Which variables does it relate?", "train_flop to params");
  ask(&l, "Which parameters are fitted?", "k, a; none is held fixed");
  ask(&l, "Where does the form come from?", "Hoffmann et al. 2022, arXiv:2203.15556%s",
      d->curves ? "; Porian et al. 2024, arXiv:2406.19146, for interpolated curves" : "");
  runs(&l, d);
  method(&l, d);
  return l.n;
}
