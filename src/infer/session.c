// KV-cached decoding of many sequences over one DECODE graph.
#include "infer/session.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_DEFAULT = 64 };

struct iso_session {
  iso_model *m;
  iso_graph *g;  // owned
  iso_graph_io io;
  iso_exec *exec;  // owned
  int64_t seqs, cap, rows;
  int64_t *len;  // owned; [seqs]
  bool *busy;    // owned; [seqs], all false between calls
  iso_session_cost cost;
};

// Fills in defaults, checks, and builds the graph (the caller's to close, also on failure) with the limits of what binds.
static iso_status plan(const iso_model_config *c, int64_t seqs, int64_t *ctx_len, int64_t *rows, iso_graph **g, iso_graph_io *io, iso_exec_opts *o,
                       iso_err *err) {
  *o = (iso_exec_opts){.max = {{1, 1, 1}}};
  const iso_arch *arch;
  if (*ctx_len == 0) *ctx_len = c->ctx;
  if (*rows == 0) *rows = ROWS_DEFAULT;
  if (seqs < 1 || seqs > INT32_MAX || *rows < 1)
    return iso_fail(err, ISO_EINVAL, "session: %lld sequences, %lld rows a pass", (long long)seqs, (long long)*rows);
  if (*ctx_len < 1 || *ctx_len > c->ctx)
    return iso_fail(err, ISO_EINVAL, "session: sequences of %lld tokens, the model was made for 1 to %lld", (long long)*ctx_len, (long long)c->ctx);
  ISO_TRY(iso_arch_find(c->arch, &arch, err));
  ISO_TRY(iso_graph_open(g, err));
  o->max.v[ISO_SYM_M] = *rows;
  o->max.v[ISO_SYM_R] = *rows < seqs ? *rows : seqs;  // a feed wants one row's logits, a step those of different sequences
  return arch->build(c, &(iso_build){.mode = ISO_MODE_DECODE, .cache_seqs = seqs, .cache_len = *ctx_len}, *g, io, err);
}

static iso_session_cost cost_of(const iso_model_config *c, const iso_graph *g, int64_t ctx_len) {
  const iso_bind row = {{1, 1, 1, 0}}, both = {{1, 1, 1, 1}};
  iso_session_cost k = {.pair_flop = 4.0 * (double)(c->layers * c->heads * c->head_dim)};
  // The op's price assumes (S + 1) / 2 keys a row; here the positions are known.
  double body = iso_pass_cost(g, ISO_SECTION_FORWARD, &row, sizeof(float)).mat_flop;
  k.row_flop = body - k.pair_flop * ((double)ctx_len + 1) / 2;
  k.logits_flop = iso_pass_cost(g, ISO_SECTION_FORWARD, &both, sizeof(float)).mat_flop - body;
  return k;
}

iso_status iso_session_open(iso_model *m, int64_t seqs, int64_t ctx_len, int64_t rows, iso_session **out, iso_err *err) {
  const iso_model_config *c = &m->config;
  iso_exec_opts o;
  iso_status st;
  *out = NULL;
  iso_session *s = calloc(1, sizeof *s);
  if (!s) return iso_fail(err, ISO_ENOMEM, "no memory for a session");
  s->m = m;
  s->seqs = seqs;
  ISO_TRYG(plan(c, seqs, &ctx_len, &rows, &s->g, &s->io, &o, err));
  s->cap = ctx_len;
  s->rows = rows;
  s->len = calloc((size_t)seqs, sizeof *s->len);
  s->busy = calloc((size_t)seqs, sizeof *s->busy);
  ISO_TRYG(s->len && s->busy ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for a session of %lld sequences", (long long)seqs));
  o.weights = m->weights;
  ISO_TRYG(iso_exec_open(m->ctx, s->g, &o, &s->exec, err));
  s->cost = cost_of(c, s->g, ctx_len);
  s->cost.bytes = iso_exec_bytes(s->exec);
  *out = s;
  return ISO_OK;
done:
  iso_session_close(s);
  return st;
}

void iso_session_close(iso_session *s) {
  if (!s) return;
  iso_exec_close(s->exec);
  iso_graph_close(s->g);
  free(s->len);
  free(s->busy);
  free(s);
}

iso_status iso_session_price(const iso_model_config *c, const iso_kern_table *kern, int threads, int64_t seqs, int64_t ctx_len, int64_t rows,
                             iso_session_cost *out, iso_err *err) {
  iso_graph *g = NULL;
  iso_graph_io io;
  iso_exec_opts o;
  char shared;
  iso_status st = plan(c, seqs, &ctx_len, &rows, &g, &io, &o, err);
  o.weights = &shared;  // any address: weights are the model's, not counted
  if (st == ISO_OK) {
    *out = cost_of(c, g, ctx_len);
    st = iso_exec_price(g, &o, kern, threads, &out->bytes, err);
  }
  iso_graph_close(g);
  return st;
}

static iso_status check_seq(const iso_session *s, int64_t seq, iso_err *err) {
  if (seq >= 0 && seq < s->seqs) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "session: sequence %lld of %lld", (long long)seq, (long long)s->seqs);
}

static iso_status check_ids(const iso_session *s, const int32_t *ids, int64_t n, iso_err *err) {
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= s->m->config.vocab)
      return iso_fail(err, ISO_EINVAL, "session: token id %d, the vocabulary has %lld", ids[i], (long long)s->m->config.vocab);
  return ISO_OK;
}

static iso_status check_room(const iso_session *s, int64_t seq, int64_t n, iso_err *err) {
  if (n <= s->cap - s->len[seq]) return ISO_OK;
  iso_fail(err, ISO_EINVAL, "session: sequence %lld holds %lld of %lld tokens, %lld more do not fit", (long long)seq, (long long)s->len[seq],
           (long long)s->cap, (long long)n);
  return iso_hint(err, ISO_EINVAL, "shorten the prompt, or generate fewer tokens");
}

// Runs the first n rows of the inputs, which the caller has written; the last `wanted` of them get logits.
static iso_status run(iso_session *s, int64_t n, int64_t wanted, iso_err *err) {
  const iso_bind b = {{1, 1, n, wanted}};
  int32_t *last = iso_exec_at(s->exec, s->io.last, 0);
  for (int64_t i = 0; i < wanted; i++) last[i] = (int32_t)(n - wanted + i);
  ISO_TRY(iso_exec_bind(s->exec, &b, err));
  iso_exec_run(s->exec, ISO_SECTION_FORWARD);
  return ISO_OK;
}

static void put_row(const iso_session *s, int64_t row, int32_t id, int64_t seq, int64_t pos) {
  ((int32_t *)iso_exec_at(s->exec, s->io.ids, 0))[row] = id;
  ((int32_t *)iso_exec_at(s->exec, s->io.seq, 0))[row] = (int32_t)seq;
  ((int32_t *)iso_exec_at(s->exec, s->io.pos, 0))[row] = (int32_t)pos;
}

static void get_logits(const iso_session *s, int64_t n, float *out) {
  if (n > 0) memcpy(out, iso_exec_at(s->exec, s->io.logits, 0), (size_t)n * (size_t)s->m->config.vocab * sizeof(float));
}

iso_status iso_session_feed(iso_session *s, int64_t seq, const int32_t *ids, int64_t n, float *logits, iso_err *err) {
  ISO_TRY(check_seq(s, seq, err));
  if (n < 1) return iso_fail(err, ISO_EINVAL, "session: %lld tokens to feed, at least one is needed", (long long)n);
  ISO_TRY(check_ids(s, ids, n, err));
  ISO_TRY(check_room(s, seq, n, err));
  for (int64_t i = 0; i < n; i += s->rows) {
    int64_t k = n - i < s->rows ? n - i : s->rows;
    if (atomic_load(&s->m->ctx->cancel) > 1)
      return iso_fail(err, ISO_ECANCEL, "decoding stopped after %lld of %lld tokens", (long long)i, (long long)n);
    for (int64_t j = 0; j < k; j++) put_row(s, j, ids[i + j], seq, s->len[seq] + j);
    int64_t wanted = logits && i + k == n;
    ISO_TRY(run(s, k, wanted, err));
    s->len[seq] += k;
    get_logits(s, wanted, logits);
  }
  return ISO_OK;
}

static iso_status check_step(iso_session *s, const int64_t *seqs, const int32_t *ids, int64_t n, iso_err *err) {
  ISO_TRY(check_ids(s, ids, n, err));
  iso_status st = ISO_OK;
  int64_t i = 0;
  for (; i < n && st == ISO_OK; i++) {
    ISO_TRYG(check_seq(s, seqs[i], err));
    ISO_TRYG(check_room(s, seqs[i], 1, err));
    if (s->busy[seqs[i]]) st = iso_fail(err, ISO_EINVAL, "session: sequence %lld is twice in one step", (long long)seqs[i]);
    s->busy[seqs[i]] = true;
  }
done:
  while (i-- > 0) s->busy[seqs[i]] = false;
  return st;
}

iso_status iso_session_step(iso_session *s, const int64_t *seqs, const int32_t *ids, int64_t n, float *logits, iso_err *err) {
  if (n < 1 || n > s->seqs) return iso_fail(err, ISO_EINVAL, "session: a step of %lld sequences, there are %lld", (long long)n, (long long)s->seqs);
  ISO_TRY(check_step(s, seqs, ids, n, err));
  for (int64_t i = 0; i < n; i += s->rows) {
    int64_t k = n - i < s->rows ? n - i : s->rows;
    for (int64_t j = 0; j < k; j++) put_row(s, j, ids[i + j], seqs[i + j], s->len[seqs[i + j]]);
    int64_t wanted = logits ? k : 0;
    ISO_TRY(run(s, k, wanted, err));
    for (int64_t j = 0; j < k; j++) s->len[seqs[i + j]]++;
    get_logits(s, wanted, logits ? logits + i * s->m->config.vocab : NULL);
  }
  return ISO_OK;
}

iso_status iso_session_cut(iso_session *s, int64_t seq, int64_t len, iso_err *err) {
  ISO_TRY(check_seq(s, seq, err));
  if (len < 0 || len > s->len[seq])
    return iso_fail(err, ISO_EINVAL, "session: sequence %lld holds %lld tokens, cannot be cut to %lld", (long long)seq, (long long)s->len[seq],
                    (long long)len);
  s->len[seq] = len;
  return ISO_OK;
}

int64_t iso_session_len(const iso_session *s, int64_t seq) { return seq >= 0 && seq < s->seqs ? s->len[seq] : 0; }
int64_t iso_session_cap(const iso_session *s) { return s->cap; }
int64_t iso_session_seqs(const iso_session *s) { return s->seqs; }

iso_session_cost iso_session_costs(const iso_session *s) { return s->cost; }

double iso_session_flop(iso_session_cost k, int64_t pos, int64_t n, int64_t logits) {
  double rows = (double)n, keys = rows * (double)pos + rows * (rows + 1) / 2;
  return rows * k.row_flop + keys * k.pair_flop + (double)logits * k.logits_flop;
}
