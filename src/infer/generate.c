// Generating tokens from a prompt, with what it took.
#include "infer/generate.h"

#include <stdlib.h>

static iso_status check(const iso_model *m, int64_t n, const iso_generate_opts *o, iso_err *err) {
  ISO_TRY(iso_sample_check(&o->sample, err));
  if (o->max_new < 0) return iso_fail(err, ISO_EINVAL, "generation of %lld tokens", (long long)o->max_new);
  if (n < 1) {
    iso_fail(err, ISO_EINVAL, "generation: the prompt is empty");
    return iso_hint(err, ISO_EINVAL, "start with the end-of-text token");
  }
  if (n > m->config.ctx)
    return iso_fail(err, ISO_EINVAL, "generation: a prompt of %lld tokens, the model reads at most %lld", (long long)n, (long long)m->config.ctx);
  return ISO_OK;
}

// Tokens that are fed: the prompt and every new one but the last.
static int64_t fed(const iso_model *m, int64_t n, const iso_generate_opts *o) {
  int64_t all = o->max_new > 1 ? n + o->max_new - 1 : n;
  return all < m->config.ctx ? all : m->config.ctx;
}

static iso_stop loop(iso_session *s, iso_model *m, float *logits, const iso_generate_opts *o, iso_token_fn each, void *arg, iso_generate_stats *out,
                     iso_status *st, iso_err *err) {
  const int64_t seq = 0;
  int32_t id;
  while (out->tok < o->max_new) {
    int64_t len = iso_session_len(s, 0);
    if (out->tok > 0) {
      if (len == iso_session_cap(s)) return ISO_STOP_CONTEXT;
      if ((*st = iso_session_step(s, &seq, &id, 1, logits, err)) != ISO_OK) return ISO_STOP_CALLER;
      out->flop += iso_session_flop(iso_session_costs(s), len++, 1, 1);
    }
    if (iso_cancelled(m->ctx)) return ISO_STOP_CANCEL;
    if ((*st = iso_sample(&o->sample, logits, m->config.vocab, o->seed, (uint64_t)len, &id, err)) != ISO_OK) return ISO_STOP_CALLER;
    out->tok++;
    if (each && !each(arg, id)) return ISO_STOP_CALLER;
    if (id == o->eos) return ISO_STOP_EOS;
  }
  return ISO_STOP_LENGTH;
}

iso_status iso_generate(iso_model *m, const int32_t *prompt, int64_t n, const iso_generate_opts *o, iso_token_fn each, void *arg,
                        iso_generate_stats *out, iso_err *err) {
  iso_session *s = NULL;
  *out = (iso_generate_stats){.prompt_tok = n};
  ISO_TRY(check(m, n, o, err));
  float *logits = malloc((size_t)m->config.vocab * sizeof *logits);
  iso_status st = logits ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for logits of %lld tokens", (long long)m->config.vocab);
  ISO_TRYG(st);
  ISO_TRYG(iso_session_open(m, 1, fed(m, n, o), 0, &s, err));
  double start = iso_now_s(m->ctx);
  ISO_TRYG(iso_session_feed(s, 0, prompt, n, logits, err));
  out->flop = iso_session_flop(iso_session_costs(s), 0, n, 1);
  double first = iso_now_s(m->ctx);
  out->prefill_s = first - start;
  out->stop = loop(s, m, logits, o, each, arg, out, &st, err);
  out->decode_s = iso_now_s(m->ctx) - first;
done:
  iso_session_close(s);
  free(logits);
  return st;
}

iso_status iso_generate_price(const iso_model *m, int64_t n, const iso_generate_opts *o, double *flop, int64_t *bytes, iso_err *err) {
  ISO_TRY(check(m, n, o, err));
  int64_t all = fed(m, n, o);
  iso_session_cost k;
  ISO_TRY(iso_session_price(&m->config, m->ctx->kern, iso_pool_threads(m->ctx->pool), 1, all, 0, &k, err));
  *flop = iso_session_flop(k, 0, all, 1 + all - n);  // logits of the prompt's end and of each token fed after it
  *bytes = k.bytes + m->config.vocab * (int64_t)sizeof(float);
  return ISO_OK;
}
