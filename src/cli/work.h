// What verbs that spend share: opening a job under --budget, pricing it for --dry-run, predicted beside measured, and the terminal.
#ifndef ISO_CLI_WORK_H
#define ISO_CLI_WORK_H
#include "cli/cli.h"
#include "loop/env.h"
#include "report/report.h"

#define CLI_WORK_OPTS(budget_help)                                                                                                 \
  {"budget", CLI_TEXT, "BUDGET", NULL, budget_help}, {"dry-run", CLI_FLAG, NULL, NULL, "print what it would cost and do nothing"}, \
      {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"}, {                                       \
    "prices", CLI_TEXT, "FILE", NULL, "JSON with prices and carbon intensity"                                                      \
  }

// Opens the job of a verb; a dry run is kept as kind "plan".
iso_status cli_work_open(cli_args *a, const char *kind, int64_t seed, iso_env **out, iso_err *err);
// Ends it with the status that `st` means. Returns `code`, or on failure prints the error and returns its exit code. `result` is dropped.
int cli_work_close(const cli_args *a, iso_env *e, iso_status st, const iso_err *err, json_t *result, int code);
// ISO_EBUDGET with the least that would do when `cost` does not fit; nothing stays reserved.
iso_status cli_work_fits(iso_env *e, const char *label, const iso_cost *cost, iso_err *err);
// Adds "predicted" and (unless NULL) "measured" to an object.
void cli_work_json(json_t *o, const iso_cost *predicted, const iso_cost *measured);
// The same as a table on stdout.
void cli_work_print(const iso_cost *predicted, const iso_cost *measured);

// Opens the store of --store for reading; a named one must be there.
iso_status cli_store_open(const cli_args *a, iso_store **out, iso_err *err);
// Width, colours and character set of stdout.
iso_report_term cli_term(const cli_args *a);
// Which of n names the first positional argument is; -1 after saying so on stderr (the exit code is then EXIT_USAGE).
int cli_action(const cli_args *a, const char *const *names, int n);
// The tokenizer of a model folder (or a tokenizer.json).
iso_status cli_tok_load(const char *path, iso_tok **out, iso_err *err);
// Bytes of text files as far as the file system knows; NaN for standard input, four times the size of compressed files.
double cli_text_bytes(const char *const *paths, int n);
#endif
