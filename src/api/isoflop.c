// What include/isoflop.h promises.
#include "isoflop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gen_version.h"
#include "infer/generate.h"
#include "loop/solo.h"
#include "model/fmt_hf.h"
#include "text/tok.h"

struct isoflop {
  iso_ctx *ctx;
  iso_err err;
  char text[800];
};

struct isoflop_model {
  isoflop *f;  // borrowed
  iso_model *m;
  iso_tok *tok;
};

const char *isoflop_status_name(isoflop_status s) { return iso_status_name((iso_status)s); }
const char *isoflop_version(void) { return ISO_VERSION " (" ISO_REV ")"; }

isoflop *isoflop_open(int threads) {
  isoflop *f = calloc(1, sizeof *f);
  if (!f) return NULL;
  if (iso_ctx_open(threads, &f->ctx, &f->err) == ISO_OK && iso_kern_select(ISO_PREC_f32, &f->ctx->kern, &f->err) == ISO_OK) return f;
  isoflop_close(f);
  return NULL;
}

void isoflop_close(isoflop *f) {
  if (!f) return;
  iso_ctx_close(f->ctx);
  free(f);
}

const char *isoflop_error(const isoflop *f) { return f ? f->text : "isoflop_open: no memory, or no kernels for this CPU"; }
void isoflop_stop(isoflop *f) { atomic_store(&f->ctx->cancel, 1); }

// Puts message and hint where isoflop_error finds them.
static isoflop_status done(isoflop *f, iso_status st) {
  f->text[0] = 0;
  if (st == ISO_ECANCEL) atomic_store(&f->ctx->cancel, 0);  // the call that was asked to has stopped: the next one runs
  if (st != ISO_OK) {
    size_t n = strlen(f->err.msg), h = strlen(f->err.hint);
    memcpy(f->text, f->err.msg, n + 1);
    if (h) {
      memcpy(f->text + n, " (", 2);
      memcpy(f->text + n + 2, f->err.hint, h);
      memcpy(f->text + n + 2 + h, ")", 2);
    }
  }
  return (isoflop_status)st;
}

static iso_status read_options(const char *text, json_t **keep, iso_solo_opts *o, iso_err *err) {
  static const char *const KEYS[] = {"model",           "steps",     "batch", "micro", "seq",     "vocab",        "recompute", "recompute_layers",
                                     "recompute_cheap", "max_bytes", "seed",  "lr",    "muon_lr", "weight_decay", "optim",     "schedule",
                                     "precision",       "init",      NULL};
  const int64_t big = INT64_C(1) << 53;
  int64_t seed = 0;
  if (!text) return ISO_OK;
  ISO_TRY(iso_json_parse(text, strlen(text), "options", keep, err));
  json_t *j = *keep;
  ISO_TRY(iso_json_only_keys(j, "options", KEYS, err));
  int64_t *ints[] = {&o->steps, &o->batch, &o->micro, &o->seq, &o->vocab, &o->recompute, &o->recompute_layers, &o->max_bytes};
  const char *int_names[] = {"steps", "batch", "micro", "seq", "vocab", "recompute", "recompute_layers", "max_bytes"};
  for (size_t i = 0; i < ISO_COUNT(ints); i++) ISO_TRY(iso_json_opt_i64(j, int_names[i], "options", 1, big, ints[i], err));
  ISO_TRY(iso_json_opt_bool(j, "recompute_cheap", "options", &o->recompute_cheap, err));
  ISO_TRY(iso_json_opt_i64(j, "seed", "options", 0, big, &seed, err));
  o->seed = (uint64_t)seed;
  double *reals[] = {&o->lr, &o->muon_lr, &o->weight_decay};
  const char *real_names[] = {"lr", "muon_lr", "weight_decay"};
  for (size_t i = 0; i < ISO_COUNT(reals); i++) ISO_TRY(iso_json_opt_f64(j, real_names[i], "options", reals[i], err));
  const char **texts[] = {&o->shape, &o->optim, &o->schedule, &o->precision, &o->init_dir};
  const char *text_names[] = {"model", "optim", "schedule", "precision", "init"};
  for (size_t i = 0; i < ISO_COUNT(texts); i++)
    if (json_object_get(j, text_names[i])) ISO_TRY(iso_json_get_str(j, text_names[i], "options", texts[i], err));
  iso_model_config c;
  if (o->shape && o->vocab <= 0) {
    ISO_TRY(iso_config_parse(o->shape, &c, err));
    o->vocab = c.vocab;
  }
  return ISO_OK;
}

isoflop_status isoflop_train(isoflop *f, const char *const *texts, int n_texts, const char *budget, const char *out_dir, const char *options,
                             char **result_json) {
  iso_solo_opts o = {.texts = texts, .n_texts = n_texts, .out_dir = out_dir, .precision = "auto", .lr = NAN, .muon_lr = NAN, .weight_decay = NAN};
  iso_env_opts eo = {.kind = "train", .command = "isoflop_train", .rev = ISO_REV};
  iso_env *e = NULL;
  iso_job_pending pending = {0};
  json_t *opts = NULL, *result = NULL;
  iso_err *err = &f->err;
  iso_status st;
  if (result_json) *result_json = NULL;
  f->ctx->start_s = iso_now_s(f->ctx);  // the budget counts from this call
  if (!out_dir || (n_texts > 0 && !texts)) {
    st = iso_fail(err, ISO_EINVAL, "isoflop_train needs a folder for the model, and as many texts as it says");
    goto done;
  }
  eo.budget = iso_budget_none();
  if (budget) ISO_TRYG(iso_budget_parse(budget, &eo.budget, err));
  ISO_TRYG(read_options(options, &opts, &o, err));
  if (!iso_env_bounds(&eo.budget) && o.steps <= 0) {
    st = iso_fail(err, ISO_EINVAL, "nothing bounds this run: give a budget or \"steps\"");
    goto done;
  }
  eo.seed = (int64_t)o.seed;
  ISO_TRYG(iso_job_pending_open(o.out_dir, &pending, err));
  if (pending.there) eo.used = &pending.used;
  ISO_TRYG(iso_env_open(f->ctx, &eo, &e, err));
  ISO_TRYG(iso_solo_run(e, &o, &result, err));
  if (result_json) *result_json = json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(12));
done:
  iso_env_close(e, st == ISO_OK ? "done" : st == ISO_ECANCEL ? "stopped" : "failed", result);
  iso_job_pending_close(&pending);
  json_decref(result);
  json_decref(opts);
  return done(f, st);
}

isoflop_status isoflop_model_open(isoflop *f, const char *dir, isoflop_model **out) {
  isoflop_model *m = calloc(1, sizeof *m);
  *out = NULL;
  if (!m) return done(f, iso_fail(&f->err, ISO_ENOMEM, "no memory for a model"));
  m->f = f;
  iso_status st = iso_model_load_hf(f->ctx, dir, &m->m, &f->err);
  if (st == ISO_OK) st = iso_tok_load(dir, &m->tok, &f->err);
  if (st == ISO_OK)
    *out = m;
  else
    isoflop_model_close(m);
  return done(f, st);
}

void isoflop_model_close(isoflop_model *m) {
  if (!m) return;
  iso_model_close(m->m);
  iso_tok_close(m->tok);
  free(m);
}

int64_t isoflop_model_params(const isoflop_model *m) { return iso_model_params(m->m); }

static void copy_ids(void *arg, int64_t start, int64_t n, int32_t *out) { memcpy(out, ((const iso_ids *)arg)->p + start, (size_t)n * sizeof *out); }

isoflop_status isoflop_model_eval(isoflop_model *m, const char *text, size_t n, double *bits_per_byte) {
  iso_ids ids = {0};
  iso_eval *ev = NULL;
  iso_loss loss;
  iso_err *err = &m->f->err;
  iso_status st;
  ISO_TRYG(iso_tok_encode(m->tok, text, n, false, &ids, err));
  ISO_TRYG(iso_eval_open(m->m, 8, m->m->config.ctx, &ev, err));
  ISO_TRYG(iso_eval_run(ev, copy_ids, &ids, ids.n, 0, &loss, err));
  *bits_per_byte = loss.nats / log(2) / (double)n;
done:
  iso_eval_close(ev);
  iso_ids_free(&ids);
  return done(m->f, st);
}

typedef struct sink {
  const iso_tok *tok;
  iso_str text;
} sink;

static bool take_token(void *arg, int32_t id) {
  sink *s = arg;
  iso_err none = {0};
  return iso_tok_decode(s->tok, &id, 1, &s->text, &none) == ISO_OK;
}

isoflop_status isoflop_model_sample(isoflop_model *m, const char *prompt, int64_t max_tokens, double temperature, double top_p, uint64_t seed,
                                    char **text) {
  iso_ids ids = {0};
  sink s = {.tok = m->tok};
  iso_err *err = &m->f->err;
  iso_generate_opts o = {.max_new = max_tokens, .sample = {.temperature = temperature, .top_p = top_p}, .seed = seed, .eos = iso_tok_eot(m->tok)};
  iso_generate_stats stats;
  iso_status st;
  *text = NULL;
  ISO_TRYG(iso_tok_encode(m->tok, prompt, strlen(prompt), false, &ids, err));
  int32_t eot = iso_tok_eot(m->tok);
  if (ids.n == 0 && eot >= 0) {  // the start of a document
    ISO_TRYG(iso_ids_put(&ids, &eot, 1, err));
  }
  ISO_TRYG(iso_generate(m->m, ids.p, ids.n, &o, take_token, &s, &stats, err));
  iso_str_put(&s.text, "", 0);
  if (s.text.failed)
    st = iso_fail(err, ISO_ENOMEM, "no memory for the text");
  else {
    *text = s.text.p;
    s.text = (iso_str){0};
  }
done:
  iso_str_free(&s.text);
  iso_ids_free(&ids);
  return done(m->f, st);
}
