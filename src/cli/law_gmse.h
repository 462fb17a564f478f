// `isoflop law gmse`: errors of number formats and sparsity patterns on N(0,1) numbers, as the law compressed takes them.
#ifndef ISO_CLI_LAW_GMSE_H
#define ISO_CLI_LAW_GMSE_H
#include "cli/cli.h"

// The formats are the positional arguments from the second on. Returns the exit code.
int cli_law_gmse(const cli_args *a);
#endif
