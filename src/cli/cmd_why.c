// isoflop why: explains the last plan from the run store.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/why.h"

static const char *const EXAMPLES[] = {"isoflop why", "isoflop why 01KB3XJ6 --json", NULL};
static const cli_opt OPTS[] = {
    {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"},
};

static const struct {
  const char *kind;
  cli_why_fn explain;
} KINDS[] = {{"train", cli_why_train},     {"devices", cli_why_devices},     {"layout", cli_why_layout},     {"shape", cli_why_shape},
             {"hparams", cli_why_hparams}, {"vocab", cli_why_vocab},         {"distil", cli_why_distil},     {"pools", cli_why_pools},
             {"heads", cli_why_heads},     {"cluster", cli_why_cluster},     {"memory", cli_why_memory},     {"serve", cli_why_serve},
             {"infer", cli_why_infer},     {"precision", cli_why_precision}, {"parscale", cli_why_parscale}, {"ledger", cli_why_ledger}};

static json_t *sentence(const char *fmt, va_list ap) {
  char text[600];
  (void)vsnprintf(text, sizeof text, fmt, ap);
  return json_string(text);
}

void cli_why_say(json_t *to, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  json_array_append_new(to, sentence(fmt, ap));
  va_end(ap);
}

void cli_why_lost(cli_why *w, double ratio, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  json_t *what = sentence(fmt, ap);
  va_end(ap);
  if (ratio > 0 && ratio < INFINITY)
    json_array_append_new(w->lost, json_pack("{s:o, s:f}", "what", what, "ratio", ratio));
  else
    json_decref(what);
}

// ---- output ---------------------------------------------------------------------------------------------------------

static void print_list(const char *title, const json_t *list) {
  if (!json_array_size(list)) return;
  printf("\n%s\n", title);
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *v = json_array_get(list, i);
    printf("  %s\n", json_string_value(v));
  }
}

static void print_lost(const json_t *list) {
  if (!json_array_size(list)) return;
  printf("\nAlternatives, beside what was chosen\n");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *v = json_array_get(list, i);
    double r = cli_at(v, "ratio");
    char by[40];
    if (r >= 2 || r < 0.5)
      (void)snprintf(by, sizeof by, "x%.3g", r);
    else
      (void)snprintf(by, sizeof by, "%+.1f%%", 100 * (r - 1));
    printf("  %8s  %s\n", by, cli_text_at(v, "what"));
  }
}

static int explain(const cli_args *a, const iso_store_run *run, const json_t *plan) {
  const char *kind = cli_text_at(plan, "kind");
  cli_why_fn fn = json_object_get(plan, "plan") ? cli_why_machine : cli_why_other;
  cli_why w = {json_array(), json_array(), json_array(), json_array()};
  for (size_t i = 0; i < ISO_COUNT(KINDS); i++)
    if (strcmp(KINDS[i].kind, kind) == 0) fn = KINDS[i].explain;
  if (!kind[0]) kind = "machine";
  fn(plan, &w);
  if (a->json)
    return cli_put_json(json_pack("{s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:o}", "run", run->id, "kind", kind, "command", run->command, "created",
                                  run->created, "bound", w.bound, "alternatives", w.lost, "sources", w.sources, "would_change", w.change));
  printf("%s\n%s, run %s\n", run->command ? run->command : "", run->created ? run->created : "", run->id);
  print_list("What bound", w.bound);
  print_lost(w.lost);
  print_list("What would change it", w.change);
  print_list("Where the numbers are from", w.sources);
  json_decref(w.bound);
  json_decref(w.lost);
  json_decref(w.sources);
  json_decref(w.change);
  return EXIT_DONE;
}

// A plan that was refused says why itself.
static int refused(const cli_args *a, const iso_store_run *run) {
  const char *note = run->note ? run->note : "it did not finish";
  if (a->json)
    return cli_put_json(json_pack("{s:s, s:s, s:s?, s:s?, s:[s], s:[], s:[], s:[]}", "run", run->id, "kind", "refused", "command", run->command,
                                  "created", run->created, "bound", note, "alternatives", "sources", "would_change"));
  printf("%s\n%s, run %s\n\nRefused\n  %s\n", run->command ? run->command : "", run->created ? run->created : "", run->id, note);
  return EXIT_DONE;
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_store *s = NULL;
  iso_arena *arena = NULL;
  iso_store_run r;
  json_t *plan = NULL;
  const char *path = cli_text(a, "store");
  int code = EXIT_DONE;
  iso_status st = ISO_OK;
  if (path && !iso_file_exists(path)) st = iso_fail(&err, ISO_EIO, "%.300s: there is no run store", path);
  if (st == ISO_OK) st = iso_store_open(a->ctx, path, &s, &err);
  if (st == ISO_OK) st = iso_arena_open(&arena, &err);
  if (st == ISO_OK) st = iso_store_find(s, a->n_pos ? a->pos[0] : NULL, "plan", arena, &r, &err);
  if (st == ISO_EINVAL && !a->n_pos) {
    iso_fail(&err, ISO_EINVAL, "there is no plan to explain");
    iso_hint(&err, ISO_EINVAL, "isoflop plan makes one; isoflop runs --kind plan lists them");
  }
  if (st == ISO_OK && r.result_json) st = iso_json_parse(r.result_json, strlen(r.result_json), "the stored plan", &plan, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else
    code = plan ? explain(a, &r, plan) : refused(a, &r);
  json_decref(plan);
  iso_arena_close(arena);
  iso_store_close(s);
  return code;
}

const cli_verb cli_verb_why = {.name = "why",
                               .summary = "Explain the last plan: what bound, what the alternatives cost, sources, what would change it.",
                               .examples = EXAMPLES,
                               .usage = "[RUN] [--store FILE]",
                               .opts = OPTS,
                               .n_opts = ISO_COUNT(OPTS),
                               .max_args = 1,
                               .notes = "RUN is the id of a stored plan or the beginning of it (isoflop runs --kind plan); default: the newest.",
                               .stops_at_once = true,
                               .run = run};
