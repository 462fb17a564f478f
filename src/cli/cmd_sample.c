// isoflop sample: text from a trained model, as it comes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "infer/generate.h"
#include "model/fmt_hf.h"
#include "report/text.h"

static const char *const EXAMPLES[] = {"isoflop sample model --prompt 'Once upon a time'",
                                       "isoflop sample model --prompt 'The' --temperature 0 --max-tokens 50",
                                       "isoflop sample model --budget 2s --json", NULL};
static const cli_opt OPTS[] = {
    {"prompt", CLI_TEXT, "TEXT", "", "text to go on from; empty: the start of a document"},
    {"max-tokens", CLI_INT, "N", "200", "most tokens to generate"},
    {"temperature", CLI_REAL, "T", "0.8", "0: always the likeliest token"},
    {"top-k", CLI_INT, "K", "0", "draw among the K likeliest tokens; 0: all"},
    {"top-p", CLI_REAL, "P", "0.95", "then among the fewest that hold this share of probability"},
    {"seed", CLI_INT, "N", "0", "seed of the draws"},
    {"budget", CLI_TEXT, "BUDGET", NULL,
     "limits, as in 2s,infer_flop=1e10,tok=100; tok counts generated tokens. Sampling ends in time, and is refused for other limits"},
    {"dry-run", CLI_FLAG, NULL, NULL, "print what it would cost and generate nothing"},
    {"prices", CLI_TEXT, "FILE", NULL, "JSON with prices and carbon intensity"},
};

// Seconds left for closing when the wall clock decides.
#define LAST_S 0.05

typedef struct job {
  cli_args *a;
  iso_env *e;      // without a store: sampling must not need a writable home
  iso_model *m;    // owned
  iso_tok *t;      // owned
  iso_ids prompt;  // owned
  iso_str text;    // owned: what was generated
  iso_generate_opts o;
  double end_s, first_s;  // clock: when to have ended, and when the first token came
  int64_t n;
  bool late;
} job;

static bool on_token(void *arg, int32_t id) {
  job *j = arg;
  const uint8_t *p;
  size_t n;
  if (!iso_tok_is_special(j->t, id) && iso_tok_piece(j->t, id, &p, &n)) {
    iso_str_put(&j->text, p, n);
    if (!j->a->json) {
      (void)fwrite(p, 1, n, stdout);
      (void)fflush(stdout);
    }
  }
  double now = iso_now_s(j->a->ctx);
  if (j->n++ == 0) j->first_s = now;
  double each = j->n > 1 ? (now - j->first_s) / (double)(j->n - 1) : 0;
  j->late = now + 1.5 * each + LAST_S > j->end_s;
  return !j->late && !ferror(stdout);
}

// A job without a store, with what calibration knows of the machine.
static iso_status open_job(job *j, iso_err *err) {
  iso_ctx *c = j->a->ctx;
  iso_budget b;
  iso_hw known;
  iso_err none = {0};
  ISO_TRY(cli_budget(j->a, &b, err));
  j->e = calloc(1, sizeof *j->e);
  if (!j->e) return iso_fail(err, ISO_ENOMEM, "no memory for a job");
  j->e->ctx = c;
  ISO_TRY(iso_hw_detect(iso_pool_threads(c->pool), &j->e->hw, err));
  if (iso_hw_load(j->e->hw.id, &known, &none) == ISO_OK) j->e->hw = known;
  ISO_TRY(iso_prices_get(cli_text(j->a, "prices"), &j->e->prices, err));
  ISO_TRY(iso_run_open(c, &b, NULL, ISO_RUN_SERIAL, NULL, &j->e->run, err));
  iso_meter_start(c, &j->e->hw, &j->e->meter);
  return ISO_OK;
}

static iso_status open_model(job *j, iso_err *err) {
  const char *dir = j->a->pos[0], *prompt = cli_text(j->a, "prompt");
  ISO_TRY(iso_model_load_hf(j->a->ctx, dir, &j->m, err));
  ISO_TRY(cli_tok_load(dir, &j->t, err));
  if (iso_tok_vocab(j->t) > j->m->config.vocab)
    return iso_fail(err, ISO_EFORMAT, "%.300s: the tokenizer has %d entries, the model %lld", dir, iso_tok_vocab(j->t),
                    (long long)j->m->config.vocab);
  int32_t eot = iso_tok_eot(j->t);
  if (*prompt)
    ISO_TRY(iso_tok_encode(j->t, prompt, strlen(prompt), false, &j->prompt, err));
  else if (eot >= 0)
    ISO_TRY(iso_ids_put(&j->prompt, &eot, 1, err));
  else
    return iso_fail(err, ISO_EINVAL, "--prompt is empty, and this tokenizer has no end-of-text token to start from");
  j->o.eos = eot;
  return ISO_OK;
}

// Decoding reads every weight for each token; a prefill is bound by arithmetic. Without a calibration: rates of a slow core, and the
// interval is a factor of three either way. A limit on time cuts the run short instead of refusing it, as long as a token fits.
static iso_status price(job *j, iso_cost *out, iso_err *err) {
  const iso_hw *h = &j->e->hw;
  int64_t bytes, n = j->prompt.n;
  double flop, first_flop;
  iso_generate_opts one = j->o;
  one.max_new = 1;
  ISO_TRY(iso_generate_price(j->m, n, &one, &first_flop, &bytes, err));
  ISO_TRY(iso_generate_price(j->m, n, &j->o, &flop, &bytes, err));
  int64_t room = j->m->config.ctx - n + 1, count = j->o.max_new < room ? j->o.max_new : room;
  double rate = isfinite(h->gemm_f32_flop_s) ? 0.3 * h->gemm_f32_flop_s : 5e9, dram = isfinite(h->dram_b_s) ? 0.6 * h->dram_b_s : 4e9;
  double first = first_flop / rate + 1e-3, all = first + (double)count * fmax((double)j->m->weight_bytes / dram, 3e-4);
  double can = iso_env_affordable_s(j->e) - LAST_S;
  iso_est s = {all / 3, all, 3 * all};
  if (s.hi > can && can > 3 * first) s = (iso_est){fmin(s.lo, can), fmin(s.mean, can), can};
  *out = iso_env_seconds(j->e, s);
  out->infer_flop = iso_est_exact(flop);
  out->tok = iso_est_exact((double)count);
  double held = iso_meter_rss_b() + (double)bytes;
  out->peak_ram = iso_est_range(held, held, 1.05 * held + 0x1p24);
  j->end_s = iso_now_s(j->a->ctx) + iso_env_affordable_s(j->e);
  return ISO_OK;
}

static const char *stop_name(const job *j, iso_stop s) {
  static const char *const NAMES[] = {"length", "end_of_text", "context", "budget", "interrupted"};
  return s == ISO_STOP_CALLER && !j->late ? "output" : NAMES[s];
}

static int put_result(job *j, const iso_generate_stats *s, const iso_cost *predicted, const iso_cost *measured) {
  iso_ctx *c = j->a->ctx;
  double rate = s->tok > 1 && s->decode_s > 0 ? (double)s->tok / s->decode_s : NAN;
  if (!j->a->json) {
    if (j->text.n == 0 || j->text.p[j->text.n - 1] != '\n') putchar('\n');
    (void)fflush(stdout);
    iso_note(c, ISO_EVENT_PHASE, "sample", "%lld tokens after %lld of prompt: %.0f tok/s, first after %.1f ms, %.3g FLOP; ended by %s",
             (long long)s->tok, (long long)s->prompt_tok, rate, 1e3 * s->prefill_s, s->flop, stop_name(j, s->stop));
    return EXIT_DONE;
  }
  json_t *o = json_pack("{s:o, s:o, s:I, s:I, s:o, s:f, s:f, s:f, s:s, s:I, s:f}", "text", iso_text_json_n(j->text.p ? j->text.p : "", j->text.n),
                        "prompt", iso_text_json(cli_text(j->a, "prompt")), "prompt_tokens", (json_int_t)s->prompt_tok, "tokens", (json_int_t)s->tok,
                        "tok_per_s", iso_json_num(rate), "prefill_s", s->prefill_s, "decode_s", s->decode_s, "infer_flop", s->flop, "stop",
                        stop_name(j, s->stop), "seed", (json_int_t)j->o.seed, "elapsed_s", iso_now_s(c) - c->start_s);
  if (o) cli_work_json(o, predicted, measured);
  return cli_put_json(o);
}

static iso_status generate(job *j, const iso_cost *cost, int *code, iso_err *err) {
  iso_phase p;
  iso_generate_stats s;
  ISO_TRY(iso_phase_start(j->e, "sample", cost, &p, err));
  if (!j->a->json) fputs(cli_text(j->a, "prompt"), stdout);
  iso_status st = iso_generate(j->m, j->prompt.p, j->prompt.n, &j->o, on_token, j, &s, err);
  iso_meter_count(&p.meter, ISO_RES_infer_flop, st == ISO_OK ? s.flop : 0);
  iso_meter_count(&p.meter, ISO_RES_tok, st == ISO_OK ? (double)s.tok : 0);
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  if (st != ISO_OK) return st;
  *code = put_result(j, &s, cost, &p.measured);
  if (s.stop == ISO_STOP_CANCEL) *code = EXIT_INTERRUPTED;
  return end;
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_cost cost;
  int code = EXIT_DONE;
  job j = {.a = a};
  j.o = (iso_generate_opts){.max_new = cli_int(a, "max-tokens"),
                            .seed = (uint64_t)cli_int(a, "seed"),
                            .sample = {.temperature = cli_real(a, "temperature"), .top_k = cli_int(a, "top-k"), .top_p = cli_real(a, "top-p")}};
  if (j.o.max_new < 1) return cli_usage(a, "--max-tokens must be at least 1");
  if (iso_sample_check(&j.o.sample, &err) != ISO_OK) return cli_usage(a, "%s", err.msg);
  iso_status st = open_job(&j, &err);
  if (st == ISO_OK) st = open_model(&j, &err);
  if (st == ISO_OK) {
    iso_budget b = iso_run_budget(j.e->run);
    if (b.tok >= 1 && b.tok < (double)j.o.max_new) j.o.max_new = (int64_t)b.tok;
    st = price(&j, &cost, &err);
  }
  if (st == ISO_OK && cli_flag(a, "dry-run")) {
    st = cli_work_fits(j.e, "sample", &cost, &err);
    if (st == ISO_OK && a->json) {
      json_t *o = json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)j.prompt.n, "tokens", (json_int_t)j.o.max_new);
      if (o) cli_work_json(o, &cost, NULL);
      code = cli_put_json(o);
    } else if (st == ISO_OK)
      cli_work_print(&cost, NULL);
  } else if (st == ISO_OK)
    st = generate(&j, &cost, &code, &err);
  if (st != ISO_OK) code = cli_fail(a, st, &err);
  iso_str_free(&j.text);
  iso_ids_free(&j.prompt);
  iso_tok_close(j.t);
  iso_model_close(j.m);
  iso_env_close(j.e, "done", NULL);
  return code;
}

const cli_verb cli_verb_sample = {
    .name = "sample",
    .summary = "Generate text from a model folder; prints prompt and continuation as they come.",
    .examples = EXAMPLES,
    .usage = "MODEL_DIR [--prompt TEXT] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 1,
    .max_args = 1,
    .notes =
        "MODEL_DIR holds config.json (model_type llama or gpt2), model.safetensors and tokenizer.json, as Hugging Face's transformers\n"
        "writes them. Text ends where the model's context does.\n"
        "The same options and seed give the same text. --json prints one object with the continuation alone as \"text\".",
    .run = run};
