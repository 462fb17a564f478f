// isoflop demo: the whole loop in one budget, with a report.
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "gen_version.h"
#include "loop/demo.h"
#include "report/report.h"

static const char *const EXAMPLES[] = {"isoflop demo --budget 5m", "isoflop demo --budget 90s --text book.txt --out book-model",
                                       "isoflop demo --budget 2e14flop,600MiB --json", NULL};

static const cli_opt OPTS[] = {
    {"budget", CLI_TEXT, "BUDGET", "5m", "limits for everything together, as in 90s, 2e14flop or 5m,600MiB; seconds count from start to exit"},
    {"text", CLI_LIST, "FILE", NULL, "text to learn from (default: GCIDE, of Debian's package dict-gcide)"},
    {"out", CLI_TEXT, "DIR", "demo-model", "folder for the model and report.html"},
    {"sweep-share", CLI_REAL, "SHARE", "0.25", "share of the budget that the IsoFLOP sweep may cost"},
    {"vocab", CLI_INT, "N", NULL, "entries of the tokenizer (default: by budget and text)"},
    {"seq", CLI_INT, "N", NULL, "tokens a sequence (default: 256)"},
    {"max-bytes", CLI_INT, "N", NULL, "read so much text at most (default: what the budget can use)"},
    {"precision", CLI_TEXT, "NAME", "auto", "f32, bf16 (operands of matrix products) or auto: what calibration found faster"},
    {"seed", CLI_INT, "N", "0", "seed of weights, batches and bootstrap"},
    {"dry-run", CLI_FLAG, NULL, NULL, "plan and price from the shipped law, train nothing"},
    {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"},
    {"prices", CLI_TEXT, "FILE", NULL, "JSON with prices and carbon intensity"},
};

// The report in the model's folder, and on the terminal.
static iso_status report(cli_args *a, const char *run, const char *dir, const char *store_path, iso_err *err) {
  iso_store *s;
  iso_report_data data;
  char path[4200];
  ISO_TRY(iso_store_open(a->ctx, store_path, &s, err));
  iso_status st = iso_report_load(a->ctx, s, run, &data, err);
  if (st == ISO_OK) {
    (void)snprintf(path, sizeof path, "%s/report.html", dir);
    st = iso_report_html_save(a->ctx, &data, path, err);
    iso_str text = {0};
    iso_report_term t = {.colour = false, .width = 80};
    if (st == ISO_OK && !a->json && iso_report_text(&data, &t, &text, err) == ISO_OK && text.p) printf("%s\nreport: %s\n", text.p, path);
    iso_str_free(&text);
    iso_report_close(&data);
  }
  iso_store_close(s);
  return st;
}

static int dry_run(cli_args *a, const iso_demo_opts *o, iso_env_opts *eo) {
  iso_err err = {0};
  iso_env *e = NULL;
  json_t *result = NULL;
  iso_solo_opts so = {.texts = o->texts,
                      .n_texts = o->n_texts,
                      .out_dir = o->out_dir,
                      .precision = o->precision,
                      .lr = NAN,
                      .muon_lr = NAN,
                      .weight_decay = NAN,
                      .vocab = o->vocab,
                      .seq = o->seq,
                      .max_bytes = o->max_bytes,
                      .seed = o->seed,
                      .plan_only = true};
  eo->kind = "plan";
  iso_status st = iso_env_open(a->ctx, eo, &e, &err);
  if (st == ISO_OK) st = iso_solo_run(e, &so, &result, &err);
  int code = st != ISO_OK ? cli_fail(a, st, &err) : a->json ? cli_put_json(json_incref(result)) : EXIT_DONE;
  if (st == ISO_OK && !a->json) {
    const json_t *plan = json_object_get(result, "plan"), *q = json_object_get(plan, "bits_per_byte");
    printf("by the shipped law: %s\nbits per byte %.3f (%.3f to %.3f); the demo itself decides after its sweep\n",
           json_string_value(json_object_get(plan, "why")), json_number_value(json_array_get(q, 1)), json_number_value(json_array_get(q, 0)),
           json_number_value(json_array_get(q, 2)));
  }
  iso_env_close(e, st == ISO_OK ? "done" : "failed", result);
  json_decref(result);
  return code;
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_env *e = NULL;
  json_t *result = NULL;
  iso_env_opts eo = {.kind = "demo", .command = a->command, .rev = ISO_REV, .store = cli_text(a, "store"), .prices = cli_text(a, "prices")};
  iso_demo_opts o = {.out_dir = cli_text(a, "out"),
                     .precision = cli_text(a, "precision"),
                     .sweep_share = cli_real(a, "sweep-share"),
                     .vocab = cli_int(a, "vocab"),
                     .seq = cli_int(a, "seq"),
                     .max_bytes = cli_int(a, "max-bytes"),
                     .seed = (uint64_t)cli_int(a, "seed")};
  o.texts = cli_list(a, "text", &o.n_texts);
  eo.seed = (int64_t)o.seed;
  if (!(o.sweep_share > 0 && o.sweep_share < 0.9)) return cli_usage(a, "--sweep-share must be between 0 and 0.9");
  if (cli_given(a, "seq") && o.seq < 8) return cli_usage(a, "--seq must be at least 8");
  if (cli_given(a, "vocab") && (o.vocab < 256 + ISO_TOK_SPECIALS || o.vocab > ISO_TOK_VOCAB_MAX))
    return cli_usage(a, "--vocab must be between %d and %d", 256 + ISO_TOK_SPECIALS, ISO_TOK_VOCAB_MAX);
  iso_status st = cli_budget(a, &eo.budget, &err);
  if (st == ISO_OK && !iso_env_bounds(&eo.budget)) return cli_usage(a, "nothing bounds this demo: give a time, FLOPs, or another --budget to use up");
  if (st == ISO_OK && cli_flag(a, "dry-run")) return dry_run(a, &o, &eo);
  iso_cost used;
  bool any = false;
  if (st == ISO_OK) st = iso_demo_used(o.out_dir, &used, &any, &err);
  if (any) eo.used = &used;
  if (st == ISO_OK) st = iso_env_open(a->ctx, &eo, &e, &err);
  if (st == ISO_OK) st = iso_demo_run(e, &o, &result, &err);
  char id[ISO_RUN_ID] = "";
  if (e) memcpy(id, e->run_id, sizeof id);
  if (st == ISO_ECANCEL) {
    iso_err none = {0};
    bool saved = iso_demo_used(o.out_dir, &used, &any, &none) == ISO_OK && any;
    iso_hint(&err, st, saved ? "saved in %s; the same command goes on" : "there was nothing yet to save in %s; the same command begins anew",
             o.out_dir);
  }
  iso_env_close(e, st == ISO_OK ? "done" : st == ISO_ECANCEL ? "stopped" : "failed", result);
  if (st == ISO_OK) st = report(a, id, o.out_dir, eo.store, &err);
  int code = st != ISO_OK ? cli_fail(a, st, &err) : a->json ? cli_put_json(json_incref(result)) : EXIT_DONE;
  json_decref(result);
  return code;
}

const cli_verb cli_verb_demo = {
    .name = "demo",
    .summary = "The whole loop: calibrate, data, plan, sweep, fit, choose, train, report, in one budget.",
    .examples = EXAMPLES,
    .usage = "[--budget BUDGET] [--text FILE...] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes = "The budget is never overrun: decay, evaluation, export and report are paid from it. Ctrl-C saves; the same command goes on.",
    .run = run};
