// isoflop report: predicted against measured of one run, on the terminal, as HTML or as JSON.
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "report/report.h"

static const char *const EXAMPLES[] = {"isoflop report", "isoflop report --html report.html", "isoflop report 01J8 --json", NULL};
static const cli_opt OPTS[] = {
    {"html", CLI_TEXT, "FILE", NULL, "write one self-contained HTML file instead"},
    {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"},
};

// Whether a run is a demo or training run that is not part of another: plans and evaluations have little to report.
static bool of_training(const iso_store_run *r) { return !r->parent && (strcmp(r->kind, "demo") == 0 || strcmp(r->kind, "train") == 0); }

// The newest such run that is done; when none is, the newest. Told when a newer one is passed over.
static iso_status newest(iso_ctx *c, iso_store *s, char id[ISO_RUN_ID], iso_err *err) {
  iso_arena *arena;
  iso_store_run *rows;
  int64_t n, first = -1, found = -1;
  ISO_TRY(iso_arena_open(&arena, err));
  iso_status st = iso_store_runs(s, NULL, NULL, 0, arena, &rows, &n, err);
  for (int64_t i = 0; st == ISO_OK && i < n && found < 0; i++) {
    if (!of_training(&rows[i])) continue;
    if (first < 0) first = i;
    if (rows[i].status && strcmp(rows[i].status, "done") == 0) found = i;
  }
  if (found > first)
    iso_note(c, ISO_EVENT_NOTE, "report", "the newest run that is done; %s is newer and %s", rows[first].id,
             rows[first].status ? rows[first].status : "of no known status");
  if (found < 0) found = first;
  if (found >= 0)
    (void)snprintf(id, ISO_RUN_ID, "%s", rows[found].id);
  else if (st == ISO_OK) {
    st = iso_fail(err, ISO_EINVAL, "run store %.200s: no demo and no training run to report yet", iso_store_path(s));
    iso_hint(err, st, "isoflop demo --budget 5m makes one; isoflop runs lists all kinds");
  }
  iso_arena_close(arena);
  return st;
}

static iso_status put(cli_args *a, const iso_report_data *d, int *code, iso_err *err) {
  const char *html = cli_text(a, "html");
  iso_report_term term = cli_term(a);
  iso_str text = {0};
  json_t *j = NULL;
  if (html) {
    ISO_TRY(iso_report_html_save(a->ctx, d, html, err));
    iso_note(a->ctx, ISO_EVENT_PHASE, "report", "%s written", html);
  }
  if (a->json) {
    ISO_TRY(iso_report_json(d, &j, err));
    *code = cli_put_json(j);
  } else if (!html) {
    iso_status st = iso_report_text(d, &term, &text, err);
    if (st == ISO_OK) fputs(text.p ? text.p : "", stdout);
    iso_str_free(&text);
    return st;
  }
  return ISO_OK;
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_store *s = NULL;
  iso_report_data d = {0};
  char id[ISO_RUN_ID] = "";
  int code = EXIT_DONE;
  iso_status st = cli_store_open(a, &s, &err);
  if (st == ISO_OK && a->n_pos == 0) st = newest(a->ctx, s, id, &err);
  if (st == ISO_OK) st = iso_report_load(a->ctx, s, a->n_pos ? a->pos[0] : id, &d, &err);
  if (st == ISO_OK) {
    st = put(a, &d, &code, &err);
    iso_report_close(&d);
  }
  if (st != ISO_OK) code = cli_fail(a, st, &err);
  iso_store_close(s);
  return code;
}

const cli_verb cli_verb_report = {.name = "report",
                                  .summary = "Report a run: predicted against measured, fit, curves, front, sample.",
                                  .examples = EXAMPLES,
                                  .usage = "[RUN] [--html FILE]",
                                  .opts = OPTS,
                                  .n_opts = ISO_COUNT(OPTS),
                                  .max_args = 1,
                                  .notes =
                                      "RUN is an id that isoflop runs shows, or its beginning; without it, the newest demo or training run that is\n"
                                      "done (the newest at all when none is).",
                                  .run = run};
