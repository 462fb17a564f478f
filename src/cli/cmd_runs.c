// isoflop runs: what the run store holds.
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "report/report.h"

static const char *const EXAMPLES[] = {"isoflop runs", "isoflop runs --kind demo --limit 5", "isoflop runs --json", NULL};
static const cli_opt OPTS[] = {
    {"kind", CLI_TEXT, "KIND", NULL, "only runs of this kind: demo, sweep, train, eval, data, tokenizer, calibrate, plan"},
    {"limit", CLI_INT, "N", "20", "the newest N runs; 0: all"},
    {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"},
};

static int run(cli_args *a) {
  iso_err err = {0};
  iso_store *s = NULL;
  iso_arena *arena = NULL;
  iso_store_run *rows = NULL;
  json_t *j = NULL;
  iso_str text = {0};
  int64_t n = 0;
  int code = EXIT_DONE;
  static const char *const KINDS[] = {"demo", "sweep", "train", "eval", "data", "tokenizer", "calibrate", "plan"};
  const char *kind = cli_text(a, "kind");
  bool known = !kind;
  for (size_t i = 0; kind && i < ISO_COUNT(KINDS); i++) known = known || strcmp(kind, KINDS[i]) == 0;
  if (!known) return cli_usage(a, "--kind: \"%.40s\" is not one of demo, sweep, train, eval, data, tokenizer, calibrate, plan", kind);
  iso_report_term term = cli_term(a);
  iso_status st = cli_store_open(a, &s, &err);
  if (st == ISO_OK) st = iso_arena_open(&arena, &err);
  if (st == ISO_OK) st = iso_store_runs(s, kind, NULL, cli_int(a, "limit"), arena, &rows, &n, &err);
  if (st == ISO_OK) st = a->json ? iso_report_runs_json(rows, n, &j, &err) : iso_report_runs_text(rows, n, &term, &text, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else if (a->json)
    code = cli_put_json(j);
  else if (n == 0 && kind)
    printf("  no runs of this kind\n");
  else
    fputs(text.p ? text.p : "", stdout);
  iso_str_free(&text);
  iso_arena_close(arena);
  iso_store_close(s);
  return code;
}

const cli_verb cli_verb_runs = {.name = "runs",
                                .summary = "List the runs that the store keeps, newest first.",
                                .examples = EXAMPLES,
                                .usage = "[--kind KIND] [--limit N]",
                                .opts = OPTS,
                                .n_opts = ISO_COUNT(OPTS),
                                .run = run};
