// isoflop bench: our side of the speed comparisons, one JSON object a line.
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "measure/bench.h"
#include "measure/calibrate.h"
#include "plan/fit/lawfit_bench.h"

static const char *const EXAMPLES[] = {"isoflop bench gemm", "isoflop bench train --model 10m --precision f32",
                                       "isoflop bench tokenizer book.txt --vocab 8192", NULL};
static const cli_opt OPTS[] = {
    {"precision", CLI_TEXT, "NAME", "f32", "gemm, train: f32 or bf16"},
    {"max", CLI_INT, "N", "4096", "gemm: largest square"},
    {"seconds", CLI_REAL, "S", "0.5", "gemm: spent on each size and way to share"},
    {"model", CLI_TEXT, "SHAPE", "10m", "train: 10m, 50m, 124m, gpt2-124m or layers,width,heads/kv_heads,mlp,vocab,seq"},
    {"batch", CLI_INT, "N", NULL, "train: sequences a step (default: of the model's row in the table)"},
    {"seq", CLI_INT, "N", NULL, "train: tokens a sequence (default: the model's)"},
    {"steps", CLI_INT, "N", "9", "train: timed steps"},
    {"warmup", CLI_INT, "N", "2", "train: steps before"},
    {"profile", CLI_FLAG, NULL, NULL, "train: seconds by op of one more step"},
    {"vocab", CLI_INT, "N", "8192", "tokenizer: entries"},
    {"repeats", CLI_INT, "N", NULL, "tokenizer, fit: times everything is done (default: 3; fit 1)"},
    {"out", CLI_TEXT, "DIR", NULL, "tokenizer: an existing folder that gets its files"},
    {"law", CLI_TEXT, "NAME", NULL, "fit, without a CSV: this law on synthetic runs of its own published or typical constants; all: every law"},
    {"resamples", CLI_TEXT, "FILE", NULL, "fit: one resample a line, as row indices by rising loss"},
    {"count", CLI_INT, "N", "4000", "fit: resamples drawn when no file is given (--law: 100)"},
    {"seed", CLI_INT, "N", "0", "fit: seed of the resamples"},
    {"objectives", CLI_FLAG, NULL, NULL, "fit: a line for every refit"},
    {"drop-highest", CLI_INT, "K", "0", "fit: drop the K highest losses"},
};

static iso_status put_line(void *arg, json_t *line, iso_err *err) {
  (void)arg;
  if (cli_put_json(json_incref(line)) == EXIT_DONE) return ISO_OK;
  return iso_fail(err, ISO_EIO, "standard output cannot be written");
}

static int need(const cli_args *a, int n, const char *what) {
  if (a->n_pos == n) return 0;
  return cli_usage(a, "bench %s takes %s", a->pos[0], what);
}

// Anything below `min` that was given; 0 or the exit code.
static int at_least(const cli_args *a, const char *name, int64_t min) {
  if (!cli_given(a, name) || cli_int(a, name) >= min) return 0;
  return cli_usage(a, "--%s must be at least %lld", name, (long long)min);
}

static int64_t given_or(const cli_args *a, const char *name, int64_t otherwise) {
  int64_t v = cli_int(a, name);
  return v >= 0 ? v : otherwise;
}

// bench fit --law: a line a law.
static int run_laws(const cli_args *a) {
  iso_err err = {0};
  const iso_law *one = NULL;
  iso_status st = ISO_OK;
  const char *name = cli_text(a, "law");
  iso_lawfit_bench_opts o = iso_lawfit_bench_opts_default();
  bool all = strcmp(name, "all") == 0;
  if (cli_given(a, "resamples") || cli_given(a, "objectives") || cli_given(a, "drop-highest") || cli_given(a, "repeats"))
    return cli_usage(a, "bench fit --law makes its own runs: --resamples, --objectives, --drop-highest and --repeats go with a CSV file");
  if (!all && iso_law_find(name, &one, &err) != ISO_OK) return cli_usage(a, "--law: %s", err.msg);
  if (cli_given(a, "count")) o.resamples = cli_int(a, "count");
  o.seed = (uint64_t)cli_int(a, "seed");
  for (int64_t i = 0; i < (all ? iso_law_count() : 1) && st == ISO_OK; i++) {
    json_t *line = NULL;
    st = iso_lawfit_bench(a->ctx, all ? iso_law_at(i) : one, &o, &line, &err);
    if (st == ISO_OK) st = put_line(NULL, line, &err);
    json_decref(line);
  }
  return st == ISO_OK ? EXIT_DONE : cli_fail(a, st, &err);
}

static int run(cli_args *a) {
  static const char *const ACTIONS[] = {"gemm", "train", "tokenizer", "fit"};
  static const char *const POSITIVE[] = {"batch", "seq", "steps", "repeats", "count"};
  iso_err err = {0};
  iso_precision prec;
  iso_status st;
  int k = cli_action(a, ACTIONS, 4), code = k < 0 ? EXIT_USAGE : 0;
  for (size_t i = 0; i < ISO_COUNT(POSITIVE) && code == 0; i++) code = at_least(a, POSITIVE[i], 1);
  if (code == 0) code = at_least(a, "max", 1024);
  if (code == 0 && cli_given(a, "law")) {
    if (k != 3) return cli_usage(a, "--law goes with bench fit");
    code = need(a, 1, "a CSV file or --law");
    return code ? code : run_laws(a);
  }
  if (code == 0) code = need(a, k < 2 ? 1 : 2, k < 2 ? "no file" : k == 2 ? "one file" : "one CSV file, or --law NAME");
  if (code) return code;
  if (iso_precision_parse(cli_text(a, "precision"), &prec, &err) != ISO_OK) return cli_usage(a, "--precision: %s", err.msg);
  if (k == 0) {
    iso_bench_gemm_opts o = {.prec = prec, .max = cli_int(a, "max"), .seconds = cli_real(a, "seconds")};
    if (!(o.seconds > 0)) return cli_usage(a, "--seconds must be above 0");
    st = iso_bench_gemm(a->ctx, &o, put_line, NULL, &err);
  } else if (k == 1) {
    iso_bench_train_opts o = {.model = cli_text(a, "model"),
                              .prec = prec,
                              .batch = given_or(a, "batch", 0),
                              .seq = given_or(a, "seq", 0),
                              .steps = cli_int(a, "steps"),
                              .warmup = cli_int(a, "warmup"),
                              .profile = cli_flag(a, "profile")};
    st = iso_bench_train(a->ctx, &o, put_line, NULL, &err);
  } else if (k == 2) {
    iso_bench_tokenizer_opts o = {
        .file = a->pos[1], .vocab = (int)cli_int(a, "vocab"), .repeats = (int)given_or(a, "repeats", 3), .out = cli_text(a, "out")};
    if (o.vocab < 256 || o.vocab > 1 << 20) return cli_usage(a, "--vocab must be between 256 and %d", 1 << 20);
    st = iso_bench_tokenizer(a->ctx, &o, put_line, NULL, &err);
  } else {
    iso_fit_bench_opts o = {.csv = a->pos[1],
                            .drop_highest = cli_int(a, "drop-highest"),
                            .resamples = cli_text(a, "resamples"),
                            .count = cli_int(a, "count"),
                            .seed = (uint64_t)cli_int(a, "seed"),
                            .repeats = (int)given_or(a, "repeats", 1),
                            .objectives = cli_flag(a, "objectives")};
    st = iso_bench_fit(a->ctx, &o, put_line, NULL, &err);
  }
  if (k >= 2) st = cli_input(st, &err);
  return st == ISO_OK ? EXIT_DONE : cli_fail(a, st, &err);
}

const cli_verb cli_verb_bench = {.name = "bench",
                                 .summary = "Time products, training steps, the tokenizer or the fit; prints JSON lines.",
                                 .examples = EXAMPLES,
                                 .usage = "gemm | train | tokenizer FILE | fit CSV | fit --law NAME [options]",
                                 .opts = OPTS,
                                 .n_opts = ISO_COUNT(OPTS),
                                 .min_args = 1,
                                 .max_args = 2,
                                 .notes = "The programs of bench/ run the peers beside it and print the ratios.",
                                 .run = run};
