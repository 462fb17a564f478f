// Explaining plans: what bound, what lost and by how much, where numbers are from, what would change the choice.
#ifndef ISO_CLI_WHY_H
#define ISO_CLI_WHY_H
#include "cli/plan/args.h"

// Arrays of sentences; of `lost`, objects {what, ratio}: how many times the chosen one's cost; below 1 it is better in that one thing.
typedef struct cli_why {
  json_t *bound, *lost, *sources, *change;
} cli_why;
void cli_why_say(json_t *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// An alternative whose cost is `ratio` times that of the chosen one; left out when the ratio is no number.
void cli_why_lost(cli_why *w, double ratio, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// One explainer a kind of plan; `plan` is the result object that the plan printed with --json.
typedef void (*cli_why_fn)(const json_t *plan, cli_why *w);
void cli_why_train(const json_t *plan, cli_why *w);
void cli_why_devices(const json_t *plan, cli_why *w);
void cli_why_layout(const json_t *plan, cli_why *w);
void cli_why_shape(const json_t *plan, cli_why *w);
void cli_why_cluster(const json_t *plan, cli_why *w);
void cli_why_hparams(const json_t *plan, cli_why *w);
// In the file of their subverb.
void cli_why_memory(const json_t *plan, cli_why *w);
void cli_why_precision(const json_t *plan, cli_why *w);
void cli_why_vocab(const json_t *plan, cli_why *w);
void cli_why_parscale(const json_t *plan, cli_why *w);
void cli_why_pools(const json_t *plan, cli_why *w);
void cli_why_heads(const json_t *plan, cli_why *w);
void cli_why_distil(const json_t *plan, cli_why *w);
void cli_why_serve(const json_t *plan, cli_why *w);
void cli_why_infer(const json_t *plan, cli_why *w);
void cli_why_ledger(const json_t *plan, cli_why *w);
// isoflop plan without a subverb, and train and demo with --dry-run.
void cli_why_machine(const json_t *plan, cli_why *w);
// Kinds that have none of the above: what they say themselves in "binding", "shadow" and "warnings".
void cli_why_other(const json_t *plan, cli_why *w);
#endif
