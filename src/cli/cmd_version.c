// isoflop version: what this build is and what it runs on.
#include <dnnl.h>
#include <sqlite3.h>

#include "cli/cli.h"
#include "gen_version.h"
#include "kern/cpuid.h"
#include "kern/kern.h"

static const char *const EXAMPLES[] = {"isoflop version", "isoflop version --json", NULL};

static int run(cli_args *a) {
  const dnnl_version_t *d = dnnl_version();
  const iso_kern_table *bf16;
  iso_err err = {0};
  iso_cpu_words w;
  char isa[128], dnnl[40];
  iso_status st = iso_kern_select(ISO_PREC_bf16, &bf16, &err);
  if (st != ISO_OK) return cli_fail(a, st, &err);
  iso_cpu_read(&w);
  iso_cpu cpu = iso_cpu_decode(&w);
  (void)iso_cpu_isa(&cpu, isa, sizeof isa);
  (void)snprintf(dnnl, sizeof dnnl, "%d.%d.%d", d->major, d->minor, d->patch);
  if (a->json)
    return cli_put_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", ISO_VERSION, "rev", ISO_REV, "compiler", ISO_COMPILER,
                                  "build_type", ISO_BUILD_TYPE, "kernels", a->ctx->kern->name, "kernels_bf16", bf16->name, "cpu_features", isa,
                                  "onednn", dnnl, "sqlite", sqlite3_libversion()));
  printf("isoflop %s\n", ISO_VERSION);
  printf("%-12s %s\n%-12s %s, %s\n", "revision", ISO_REV, "compiler", ISO_COMPILER, ISO_BUILD_TYPE);
  printf("%-12s %s (bf16: %s)\n%-12s %s\n", "kernels", a->ctx->kern->name, bf16->name, "CPU", isa);
  printf("%-12s %s\n%-12s %s\n", "oneDNN", dnnl, "SQLite", sqlite3_libversion());
  return EXIT_DONE;
}

const cli_verb cli_verb_version = {
    .name = "version", .summary = "Print version, revision, compiler, kernels and libraries.", .examples = EXAMPLES, .usage = "[--json]", .run = run};
