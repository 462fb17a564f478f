// The reproducibility checklist for the IsoFLOP methods.
#ifndef ISO_PLAN_FIT_ISOFLOP_CHECKLIST_H
#define ISO_PLAN_FIT_ISOFLOP_CHECKLIST_H
#include "plan/fit/isoflop_curves.h"
#include "plan/fit/isoflop_envelope.h"
#include "plan/fit/isoflop_method.h"
#include "plan/fit/lawfit.h"

// What was done to d; methods that were not asked are NULL.
typedef struct iso_isoflop_done {
  const iso_fit_data *data;
  const iso_curves *curves;
  const iso_parabolas *parabolas;
  const iso_envelope *envelope;
} iso_isoflop_done;
// The questions of iso_lawfit_checklist for power laws of the best size by compute. Fills items; returns how many, at most ISO_LAWFIT_ITEMS.
int iso_isoflop_checklist(const iso_isoflop_done *d, iso_lawfit_item *items);
#endif
