// What plan subverbs about training runs share: the law of the loss, and limits that a run grows into.
#ifndef ISO_CLI_PLAN_LAW_H
#define ISO_CLI_PLAN_LAW_H
#include "cli/cli.h"
#include "plan/train_plan.h"

#define CLI_TRAIN_LAW_OPTS                                                                                  \
  {"law", CLI_TEXT, "NAME", "chinchilla", "scaling law of the loss, as isoflop law list has them"},         \
      {"set", CLI_TEXT, "NAME", NULL, "its published constants (default: the first that are confirmed)"}, { \
    "at", CLI_TEXT, "NAME=VALUE,...", NULL, "other inputs of the law"                                       \
  }

// --law, --set and --at; x gets the law's other inputs. ISO_EINVAL for a law that does not split a budget, ISO_EUNSUP for one without sets.
iso_status cli_train_law(const cli_args *a, const iso_law **law, const iso_law_const **set, double *x, iso_err *err);
// --budget, unlimited when absent. ISO_EINVAL for limits that do not bound a run on a cluster.
iso_status cli_train_budget(const cli_args *a, iso_budget *b, iso_err *err);
#endif
