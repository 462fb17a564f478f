// Where `isoflop fit` takes its runs from: a CSV file, or the points of a run in the store written as the same kind of table.
#ifndef ISO_CLI_FIT_SOURCE_H
#define ISO_CLI_FIT_SOURCE_H
#include "base/csv.h"
#include "cli/cli.h"
#include "store/store.h"

typedef struct cli_fit_source {
  iso_csv table;       // owned
  const char *name;    // file or run, for messages
  const char *metric;  // what the losses are: "loss" for files
  char run[ISO_RUN_ID];
} cli_fit_source;

// The exit code of a wrong call, after its message: a file and a run exclude each other. 0 when all is well.
int cli_fit_source_misused(const cli_args *a);
// The positional argument's file, or --run (default: the newest demo) of --store with columns run, label, params, tokens, train_flops,
// loss. Close with cli_fit_source_close.
iso_status cli_fit_source_open(const cli_args *a, cli_fit_source *out, iso_err *err);
void cli_fit_source_close(cli_fit_source *s);
#endif
