// isoflop eval: held-out loss of a model on a text.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "model/fmt_hf.h"
#include "report/text.h"
#include "text/source.h"

static const char *const EXAMPLES[] = {"isoflop eval model heldout.txt", "isoflop eval model test.jsonl.gz --json",
                                       "isoflop eval model big.txt --budget 60s --dry-run", NULL};
static const cli_opt OPTS[] = {
    {"seq", CLI_INT, "N", NULL, "tokens a window (default: the model's context)"},
    {"max-bytes", CLI_INT, "N", NULL, "read so much text at most"},
    {"precision", CLI_TEXT, "NAME", "auto", "f32, bf16 (operands of matrix products) or auto: what calibration found faster"},
    CLI_WORK_OPTS("limits, as in 60s,2GiB; refused when they do not pay for the whole text"),
};

typedef struct job {
  iso_model *m;  // owned
  iso_tok *t;    // owned
  iso_docs *d;   // owned
  iso_ids ids;   // owned
  int64_t seq, batch;
  iso_loss loss;
} job;

static void job_close(job *j) {
  iso_ids_free(&j->ids);
  iso_docs_close(j->d);
  iso_tok_close(j->t);
  iso_model_close(j->m);
}

// One stream as in shards: with several documents <|endoftext|> opens each and closes the last.
static iso_status encode(iso_ctx *c, job *j, iso_err *err) {
  int32_t eot = iso_tok_eot(j->t);
  int64_t n = j->d->n;
  if (n > 1 && eot < 0)
    return iso_fail(err, ISO_EFORMAT, "this tokenizer has no <|endoftext|>, which must separate the %lld documents", (long long)n);
  iso_ids flat = {0};
  int64_t *ends = malloc((size_t)n * sizeof *ends), from = 0;
  iso_status st = ends ? iso_tok_encode_many(c, j->t, j->d->doc, n, n > 1 ? &flat : &j->ids, ends, err)
                       : iso_fail(err, ISO_ENOMEM, "no memory for %lld documents", (long long)n);
  for (int64_t i = 0; n > 1 && st == ISO_OK && i < n; from = ends[i++]) {
    st = iso_ids_put(&j->ids, &eot, 1, err);
    if (st == ISO_OK) st = iso_ids_put(&j->ids, flat.p + from, ends[i] - from, err);
  }
  if (n > 1 && st == ISO_OK) st = iso_ids_put(&j->ids, &eot, 1, err);
  free(ends);
  iso_ids_free(&flat);
  return st;
}

static iso_status load(cli_args *a, job *j, iso_err *err) {
  const char *dir = a->pos[0];
  iso_source_opts so = {.max_bytes = cli_given(a, "max-bytes") ? (size_t)cli_int(a, "max-bytes") : 0};
  ISO_TRY(iso_model_load_hf(a->ctx, dir, &j->m, err));
  ISO_TRY(cli_tok_load(dir, &j->t, err));
  if (iso_tok_vocab(j->t) > j->m->config.vocab)
    return iso_fail(err, ISO_EFORMAT, "%.300s: the tokenizer has %d entries, the model %lld", dir, iso_tok_vocab(j->t),
                    (long long)j->m->config.vocab);
  j->seq = cli_given(a, "seq") ? cli_int(a, "seq") : j->m->config.ctx;
  if (j->seq > j->m->config.ctx) {
    iso_fail(err, ISO_EINVAL, "--seq %lld, the model reads at most %lld tokens", (long long)j->seq, (long long)j->m->config.ctx);
    return ISO_EINVAL;
  }
  ISO_TRY(cli_input(iso_docs_open(a->ctx, a->pos + 1, 1, &so, &j->d, err), err));
  ISO_TRY(encode(a->ctx, j, err));
  if (j->ids.n < 2) {
    iso_fail(err, ISO_EFORMAT, "%.300s: %lld token of text, and a loss needs at least 2", a->pos[1], (long long)j->ids.n);
    return iso_hint(err, ISO_EFORMAT, "give a longer text");
  }
  int64_t windows = (j->ids.n - 1 + j->seq - 1) / j->seq, fit = 8192 / j->seq;
  j->batch = fit < 1 ? 1 : fit > 8 ? 8 : fit;
  if (j->batch > windows) j->batch = windows;
  return ISO_OK;
}

static iso_status price(iso_env *e, const job *j, iso_cost *out, iso_err *err) {
  iso_step_work w;
  int64_t bytes, scored = j->ids.n - 1, windows = (scored + j->seq - 1) / j->seq;
  double passes = (double)windows / (double)j->batch;
  iso_exec_opts o = {.max = iso_bind_batch(j->batch, j->seq), .weights = j->m->weights};
  ISO_TRY(iso_step_work_eval(&j->m->config, j->batch, j->seq, e->ctx->kern, &w, err));
  ISO_TRY(iso_exec_price(j->m->g, &o, e->ctx->kern, iso_pool_threads(e->ctx->pool), &bytes, err));
  iso_est pass = iso_step_model_predict(&e->steps, &w);
  // The first pass touches new memory, and the step model knows training steps better than long evaluations.
  *out = iso_env_seconds(e, iso_est_range(0.9 * passes * pass.lo, passes * pass.mean, (1.1 * passes + 1) * pass.hi + 0.02));
  out->infer_flop = iso_est_exact(iso_eval_flop(&j->m->config, windows * j->seq, j->seq));
  double held = iso_meter_rss_b() + (double)bytes;
  out->peak_ram = iso_est_range(0.8 * held, held, 1.05 * held + 0x1p24);
  return ISO_OK;
}

static void copy_ids(void *arg, int64_t start, int64_t n, int32_t *out) {
  const job *j = arg;
  memcpy(out, j->ids.p + start, (size_t)n * sizeof *out);
}

static iso_status score(iso_env *e, job *j, const iso_cost *cost, iso_cost *measured, iso_err *err) {
  iso_phase p;
  iso_eval *ev = NULL;
  ISO_TRY(iso_phase_start(e, "evaluate", cost, &p, err));
  iso_note(e->ctx, ISO_EVENT_PHASE, "evaluate", "%lld tokens in windows of %lld", (long long)j->ids.n, (long long)j->seq);
  iso_status st = iso_eval_open(j->m, j->batch, j->seq, &ev, err);
  if (st == ISO_OK) st = iso_eval_run(ev, copy_ids, j, j->ids.n, 0, &j->loss, err);
  iso_meter_count(&p.meter, ISO_RES_infer_flop, cost->infer_flop.mean);
  iso_meter_sample(&p.meter);
  iso_eval_close(ev);
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  *measured = p.measured;
  return st == ISO_OK ? end : st;
}

// The first token has no prediction; bytes are taken in proportion, as for held-out shards.
static double bits_per_byte(const job *j) { return j->loss.nats_per_tok / log(2) * (double)j->ids.n / (double)j->d->bytes; }

static iso_status record(iso_env *e, const job *j, const iso_cost *measured, iso_err *err) {
  iso_store_run row = iso_store_run_blank();
  iso_store_point p = iso_store_point_blank();
  row.params = iso_model_params(j->m);
  p.run = e->run_id;
  p.label = "eval";
  p.metric = "bits_per_byte";
  p.quality = bits_per_byte(j);
  p.n_params = (double)row.params;
  p.cost = *measured;
  ISO_TRY(iso_store_update(e->store, e->run_id, &row, err));
  return iso_store_points_add(e->store, &p, 1, err);
}

static int put(const cli_args *a, const iso_env *e, const job *j, const iso_cost *cost, const iso_cost *measured, json_t **result) {
  char shape[160];
  *result = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:s, s:f}", "model", iso_text_json(a->pos[0]), "file", iso_text_json(a->pos[1]), "params",
                      (json_int_t)iso_model_params(j->m), "tokens", (json_int_t)j->ids.n, "bytes", (json_int_t)j->d->bytes, "documents",
                      (json_int_t)j->d->n, "seq", (json_int_t)j->seq, "precision", iso_precision_name(e->precision), "elapsed_s",
                      iso_now_s(a->ctx) - a->ctx->start_s);
  if (!*result) return EXIT_MEMORY;
  cli_work_json(*result, cost, measured);
  if (measured) {
    json_object_set_new(*result, "bits_per_byte", json_real(bits_per_byte(j)));
    json_object_set_new(*result, "val_loss_nats", json_real(j->loss.nats_per_tok));
    json_object_set_new(*result, "scored_tokens", json_integer(j->loss.tokens));
    json_object_set_new(*result, "seconds", iso_json_num(measured->wall.mean));
  }
  if (a->json) return cli_put_json(json_incref(*result));
  cli_row("model", "%s, %.3f M parameters", iso_config_print(&j->m->config, shape, sizeof shape), (double)iso_model_params(j->m) / 1e6);
  cli_row("text", "%lld tokens, %lld bytes, %lld document%s", (long long)j->ids.n, (long long)j->d->bytes, (long long)j->d->n,
          j->d->n == 1 ? "" : "s");
  if (measured) {
    cli_row("loss", "%.5f nats per token (perplexity %.2f)", j->loss.nats_per_tok, exp(j->loss.nats_per_tok));
    cli_row("bits per byte", "%.5f", bits_per_byte(j));
  }
  cli_work_print(cost, measured);
  return EXIT_DONE;
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_env *e = NULL;
  job j = {0};
  iso_cost cost, measured;
  json_t *result = NULL;
  int code = EXIT_DONE;
  bool dry = cli_flag(a, "dry-run");
  iso_precision unused;
  const char *prec = cli_text(a, "precision");
  if (strcmp(prec, "auto") != 0 && iso_precision_parse(prec, &unused, &err) != ISO_OK) return cli_usage(a, "--precision: %s", err.msg);
  if (cli_given(a, "seq") && cli_int(a, "seq") < 1) return cli_usage(a, "--seq must be at least 1");
  if (cli_given(a, "max-bytes") && cli_int(a, "max-bytes") < 1) return cli_usage(a, "--max-bytes must be at least 1");
  iso_status st = load(a, &j, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);  // bad files leave no trace in the store
  else {
    st = cli_work_open(a, "eval", 0, &e, &err);
    if (st == ISO_OK) st = iso_env_machine(e, false, prec, &err);
    if (st == ISO_OK) st = price(e, &j, &cost, &err);
    if (st == ISO_OK) st = dry ? cli_work_fits(e, "evaluate", &cost, &err) : score(e, &j, &cost, &measured, &err);
    if (st == ISO_OK && !dry) st = record(e, &j, &measured, &err);
    if (st == ISO_OK) code = put(a, e, &j, &cost, dry ? NULL : &measured, &result);
    code = cli_work_close(a, e, st, &err, result, code);
  }
  job_close(&j);
  return code;
}

const cli_verb cli_verb_eval = {
    .name = "eval",
    .summary = "Score a text with a model: nats per token, bits per byte, predicted and measured cost.",
    .examples = EXAMPLES,
    .usage = "MODEL_DIR FILE [--seq N] [--budget BUDGET]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 2,
    .max_args = 2,
    .notes = "The whole file is scored in windows that do not overlap: txt, jsonl (field \"text\"), either of them gz or zst, - for standard input.",
    .run = run};
