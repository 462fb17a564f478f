// Cached decoding against whole passes without a cache, by the reference kernels; pieces, chunks, interleaving, limits, and the price.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off: cmocka.h needs what stands above
#include <cmocka.h>
// clang-format on

#include "base/rng.h"
#include "infer/generate.h"

enum { V = 61, T = 24, SEQS = 3 };

static iso_ctx *ctx;
static iso_model *model;
static iso_err bad;  // of calls that must succeed
#define OK(call)                                              \
  do {                                                        \
    if ((call) != ISO_OK) fail_msg("%s: %s", #call, bad.msg); \
  } while (0)

// Ids of three sequences, and want[s][t]: the logits after tokens 0..t.
static int32_t ids[SEQS][T];
static double want[SEQS][T][V];

static iso_model_config config(const char *arch) {
  iso_model_config c = {.vocab = V,
                        .width = 24,
                        .layers = 3,
                        .heads = 4,
                        .kv_heads = 2,
                        .head_dim = 6,
                        .mlp = 40,
                        .ctx = T,
                        .tied = false,
                        .norm_eps = 1e-5,
                        .rope_theta = 50};
  if (strcmp(arch, "gpt2") == 0) {
    c.kv_heads = c.heads;
    c.tied = true;
  }
  strcpy(c.arch, arch);
  return c;
}

static int tensor_of(const iso_graph *g, const char *path) {
  for (int t = 0; t < g->n_tensors; t++)
    if (strcmp(g->tensor[t].path, path) == 0) return t;
  return -1;
}

// Logits of every position of x[n] from one pass over all of it: no cache, no DECODE graph, f64, and the product with the head done here.
static void whole_pass(const int32_t *x, int n, double (*out)[V]) {
  const iso_graph *g = model->g;
  const iso_bind one = {{1, 1, 1, 0}};
  iso_exec *e;
  iso_exec_opts o = {.max = iso_bind_batch(1, n), .kern = &iso_kern_ref};
  OK(iso_exec_open(ctx, g, &o, &e, &bad));
  for (int t = 0; t < g->n_tensors; t++) {
    if (g->tensor[t].role != ISO_ROLE_WEIGHT) continue;
    int64_t k = iso_tensor_elems(&g->tensor[t], &one) * iso_tensor_copies(g, &g->tensor[t]);
    for (int64_t i = 0; i < k; i++) ((double *)iso_exec_at(e, t, 0))[i] = (double)iso_model_weight(model, t, 0)[i];
  }
  memcpy(iso_exec_at(e, model->io.ids, 0), x, (size_t)n * sizeof *x);
  memset(iso_exec_at(e, model->io.targets, 0), 0, (size_t)n * sizeof *x);
  *(iso_hyp *)iso_exec_at(e, model->io.hyp, 0) = (iso_hyp){.loss_scale = 1};
  iso_exec_run(e, ISO_SECTION_FORWARD);
  const double *h = iso_exec_at(e, tensor_of(g, "norm"), 0), *w = iso_exec_at(e, tensor_of(g, model->config.tied ? "embed" : "head"), 0);
  int64_t d = model->config.width;
  for (int t = 0; t < n; t++)
    for (int v = 0; v < V; v++) {
      out[t][v] = 0;
      for (int64_t i = 0; i < d; i++) out[t][v] += h[t * d + i] * w[v * d + i];
    }
  iso_exec_close(e);
}

static int setup(const char *arch) {
  iso_model_config c = config(arch);
  OK(iso_ctx_open(2, &ctx, &bad));
  OK(iso_kern_select(ISO_PREC_f32, &ctx->kern, &bad));
  OK(iso_model_open(ctx, &c, &model, &bad));
  iso_model_init(model, 3);
  // Weights far from the start, so that every position and layer matters.
  for (int64_t i = 0; i < model->weight_bytes / 4; i++) model->weights[i] += 0.3f * (float)iso_rng_normal(5, ISO_RNG_TEST, 9, (uint64_t)i);
  for (int s = 0; s < SEQS; s++)
    for (int t = 0; t < T; t++) ids[s][t] = (int32_t)iso_rng_below(7, ISO_RNG_TEST, (uint64_t)s, (uint64_t)t, V);
  for (int s = 0; s < SEQS; s++) whole_pass(ids[s], T, want[s]);
  return 0;
}

static int setup_llama(void **state) {
  (void)state;
  return setup("llama");
}

static int setup_gpt2(void **state) {
  (void)state;
  return setup("gpt2");
}

static int teardown(void **state) {
  (void)state;
  iso_model_close(model);
  iso_ctx_close(ctx);
  return 0;
}

static void check_row(const float *logits, int s, int t) {
  for (int v = 0; v < V; v++)
    if (!(fabs((double)logits[v] - want[s][t][v]) < 1e-4))
      fail_msg("sequence %d, position %d, token %d: %.7f, %.7f by a whole pass", s, t, v, (double)logits[v], want[s][t][v]);
}

static void test_one_chunk(void **state) {
  (void)state;
  iso_session *s;
  float logits[V];
  OK(iso_session_open(model, 1, 0, T, &s, &bad));
  assert_int_equal(iso_session_cap(s), T);
  for (int q = 0; q < SEQS; q++)
    for (int n = 1; n <= T; n += 7) {
      OK(iso_session_cut(s, 0, 0, &bad));
      OK(iso_session_feed(s, 0, ids[q], n, logits, &bad));
      assert_int_equal(iso_session_len(s, 0), n);
      check_row(logits, q, n - 1);
    }
  iso_session_close(s);
}

// Every split of the sequence into two feeds, with passes of 1 to 6 rows.
static void test_pieces(void **state) {
  (void)state;
  for (int rows = 1; rows <= 6; rows++) {
    iso_session *s;
    float logits[V];
    OK(iso_session_open(model, 2, T, rows, &s, &bad));
    for (int k = 1; k < T; k++) {
      OK(iso_session_cut(s, 1, 0, &bad));
      OK(iso_session_feed(s, 1, ids[2], k, logits, &bad));
      check_row(logits, 2, k - 1);
      OK(iso_session_feed(s, 1, ids[2] + k, T - k, logits, &bad));
      check_row(logits, 2, T - 1);
    }
    iso_session_close(s);
  }
}

// Three sequences advance in turns of their own length, by feeds and by steps of any subset in any order.
static void test_interleaved(void **state) {
  (void)state;
  iso_session *s;
  float logits[SEQS][V];
  for (int rows = 1; rows <= 3; rows += 2) {
    OK(iso_session_open(model, SEQS, 0, rows, &s, &bad));
    int at[SEQS] = {0};
    for (int turn = 0; at[0] < T || at[1] < T || at[2] < T; turn++) {
      int64_t who[SEQS];
      int32_t id[SEQS];
      int n = 0, first = turn % SEQS;
      if (turn % 4 == 3 && at[first] + 2 <= T) {
        OK(iso_session_feed(s, first, ids[first] + at[first], 2, logits[0], &bad));
        at[first] += 2;
        check_row(logits[0], first, at[first] - 1);
      }
      for (int i = 0; i < SEQS; i++) {
        int q = (first + 2 * i) % SEQS;
        if (at[q] == T || iso_rng_below(11, ISO_RNG_TEST, (uint64_t)turn, (uint64_t)q, 3) == 0) continue;
        who[n] = q;
        id[n++] = ids[q][at[q]];
      }
      if (n == 0) continue;
      OK(iso_session_step(s, who, id, n, logits[0], &bad));
      for (int i = 0; i < n; i++) check_row(logits[i], (int)who[i], at[who[i]]++);
    }
    iso_session_close(s);
  }
}

static void test_cut(void **state) {
  (void)state;
  iso_session *s;
  float logits[V];
  OK(iso_session_open(model, 1, 0, 5, &s, &bad));
  OK(iso_session_feed(s, 0, ids[0], 12, NULL, &bad));
  OK(iso_session_feed(s, 0, ids[1], 6, NULL, &bad));
  OK(iso_session_cut(s, 0, 12, &bad));
  OK(iso_session_feed(s, 0, ids[0] + 12, 3, logits, &bad));
  check_row(logits, 0, 14);
  iso_session_close(s);
}

static void test_errors(void **state) {
  (void)state;
  iso_session *s;
  iso_err err = {0};
  float logits[V];
  const int32_t high[2] = {1, V}, low[2] = {-1, 1};
  const int64_t twice[2] = {1, 1}, far[2] = {0, 2}, both[2] = {0, 1};
  assert_int_equal(iso_session_open(model, 1, T + 1, 0, &s, &err), ISO_EINVAL);
  assert_int_equal(iso_session_open(model, 0, T, 0, &s, &err), ISO_EINVAL);
  assert_null(s);
  OK(iso_session_open(model, 2, 8, 3, &s, &bad));
  OK(iso_session_feed(s, 0, ids[0], 6, logits, &bad));
  assert_int_equal(iso_session_feed(s, 0, ids[0] + 6, 3, logits, &err), ISO_EINVAL);
  assert_non_null(strstr(err.msg, "holds 6 of 8 tokens, 3 more"));
  assert_true(err.hint[0] != 0);
  assert_int_equal(iso_session_feed(s, 0, high, 2, logits, &err), ISO_EINVAL);
  assert_int_equal(iso_session_feed(s, 0, low, 2, logits, &err), ISO_EINVAL);
  assert_int_equal(iso_session_feed(s, 2, ids[0], 1, logits, &err), ISO_EINVAL);
  assert_int_equal(iso_session_feed(s, -1, ids[0], 1, logits, &err), ISO_EINVAL);
  assert_int_equal(iso_session_feed(s, 0, ids[0], 0, logits, &err), ISO_EINVAL);
  assert_int_equal(iso_session_step(s, twice, ids[0], 2, NULL, &err), ISO_EINVAL);
  assert_int_equal(iso_session_step(s, far, ids[0], 2, NULL, &err), ISO_EINVAL);
  assert_int_equal(iso_session_step(s, both, high, 2, NULL, &err), ISO_EINVAL);
  assert_int_equal(iso_session_step(s, both, ids[0], 0, NULL, &err), ISO_EINVAL);
  assert_int_equal(iso_session_cut(s, 0, 7, &err), ISO_EINVAL);
  assert_true(iso_session_len(s, 0) == 6 && iso_session_len(s, 1) == 0);
  OK(iso_session_step(s, both, ids[0], 2, NULL, &bad));  // refusals have left nothing marked
  OK(iso_session_feed(s, 0, ids[0], 1, NULL, &bad));
  assert_int_equal(iso_session_step(s, both, ids[0], 2, NULL, &err), ISO_EINVAL);
  assert_true(iso_session_len(s, 0) == 8 && iso_session_len(s, 1) == 1);
  atomic_store(&ctx->cancel, 2);
  assert_int_equal(iso_session_feed(s, 1, ids[0], 4, NULL, &err), ISO_ECANCEL);
  atomic_store(&ctx->cancel, 0);
  iso_session_close(s);
}

// What the price promises is what opening takes, and the FLOPs are those of training's graph on the same tokens.
static int64_t taken;
static void *(*plain_get)(void *, size_t);
static void *counting_get(void *self, size_t n) {
  taken += (int64_t)n;
  return plain_get(self, n);
}

static void test_price(void **state) {
  (void)state;
  iso_session_cost k;
  iso_session *s;
  OK(iso_session_price(&model->config, ctx->kern, iso_pool_threads(ctx->pool), 3, 20, 7, &k, &bad));
  plain_get = ctx->alloc.get;
  ctx->alloc.get = counting_get;
  taken = 0;
  OK(iso_session_open(model, 3, 20, 7, &s, &bad));
  ctx->alloc.get = plain_get;
  assert_int_equal(k.bytes, taken);
  assert_int_equal(k.bytes, iso_session_costs(s).bytes);
  iso_session_close(s);
  // The head on every row, as in training's graph; and on the last row of each feed, which is less by the other rows' products.
  double whole = iso_eval_flop(&model->config, T, T);
  double parts = iso_session_flop(k, 0, 5, 5) + iso_session_flop(k, 5, 1, 1) + iso_session_flop(k, 6, T - 6, T - 6);
  assert_true(fabs(parts - whole) < 1e-9 * whole);
  double fed = iso_session_flop(k, 0, 5, 1) + iso_session_flop(k, 5, 1, 1) + iso_session_flop(k, 6, T - 6, 1);
  assert_true(fabs(whole - fed - (double)(T - 3) * 2 * V * (double)model->config.width) < 1e-9 * whole);
  // A vocabulary's logits are kept for as many rows as there are sequences, not for those of a pass.
  const int64_t more = 4096;
  iso_model_config c = model->config;
  c.vocab += more;
  for (int64_t seqs = 1; seqs <= 3; seqs += 2) {
    iso_session_cost big;
    OK(iso_session_price(&model->config, &iso_kern_ref, 1, seqs, 20, 7, &k, &bad));
    OK(iso_session_price(&c, &iso_kern_ref, 1, seqs, 20, 7, &big, &bad));
    int64_t each = (int64_t)sizeof(double) * more * seqs;
    if (llabs(big.bytes - k.bytes - each) >= 8192)
      fail_msg("%lld sequences: %lld bytes for logits, not %lld", (long long)seqs, (long long)(big.bytes - k.bytes), (long long)each);
  }
}

// The session's price of n tokens from position 0 is what the reference kernels count when the DECODE graph runs them; so is the cost pass.
static void test_counted(void **state) {
  (void)state;
  const iso_arch *arch;
  OK(iso_arch_find(model->config.arch, &arch, &bad));
  for (int n = 1; n <= T; n += 11)
    for (int wanted = 0; wanted <= n; wanted += wanted ? n : 1) {
      iso_graph *g;
      iso_graph_io io;
      iso_exec *e;
      iso_session_cost k;
      OK(iso_session_price(&model->config, ctx->kern, 1, 1, n, n, &k, &bad));
      OK(iso_graph_open(&g, &bad));
      OK(arch->build(&model->config, &(iso_build){.mode = ISO_MODE_DECODE, .cache_seqs = 1, .cache_len = n}, g, &io, &bad));
      iso_exec_opts o = {.max = {{1, 1, n, n}}, .kern = &iso_kern_ref};
      OK(iso_exec_open(ctx, g, &o, &e, &bad));
      const iso_bind b = {{1, 1, n, wanted}}, over = {{1, 1, n, n + 1}};
      OK(iso_exec_bind(e, &b, &bad));
      for (int i = 0; i < n; i++) {
        ((int32_t *)iso_exec_at(e, io.ids, 0))[i] = ids[0][i];
        ((int32_t *)iso_exec_at(e, io.seq, 0))[i] = 0;
        ((int32_t *)iso_exec_at(e, io.pos, 0))[i] = i;
        ((int32_t *)iso_exec_at(e, io.last, 0))[i] = i;
      }
      iso_kcount count = {0};
      iso_exec_count(e, ISO_SECTION_FORWARD, &count);
      iso_graph_cost p = iso_pass_cost(g, ISO_SECTION_FORWARD, &b, 8);
      assert_true(count.mat_flop == p.mat_flop);
      assert_true(fabs(iso_session_flop(k, 0, n, wanted) - p.mat_flop) < 1e-9 * p.mat_flop);
      iso_err err = {0};
      assert_int_equal(iso_exec_bind(e, &over, &err), ISO_EINVAL);
      iso_exec_close(e);
      iso_graph_close(g);
    }
}

typedef struct tape {
  int32_t id[64];
  int n, most;
} tape;
static bool record(void *arg, int32_t id) {
  tape *t = arg;
  t->id[t->n++] = id;
  return t->n < t->most;
}

static int likeliest(const double *logits) {
  int best = 0;
  for (int v = 1; v < V; v++) best = logits[v] > logits[best] ? v : best;
  return best;
}

// Greedy continuation of prompts of one token, two and many, against a whole pass over the prefix for each token.
static void test_greedy(void **state) {
  (void)state;
  static double all[T][V];
  const int prompt[] = {1, 2, 13, T};
  for (size_t k = 0; k < ISO_COUNT(prompt); k++)
    for (int q = 0; q < SEQS; q++) {
      int n = prompt[k], room = T - n + 1;
      tape t = {.most = 64};
      iso_generate_stats got;
      iso_generate_opts o = {.max_new = 100, .sample = {0, 0, 1}, .eos = -1};
      OK(iso_generate(model, ids[q], n, &o, record, &t, &got, &bad));
      assert_true(got.stop == ISO_STOP_CONTEXT && t.n == room);
      int32_t x[T + 1];
      memcpy(x, ids[q], (size_t)n * sizeof *x);
      for (int i = 0; i < room; i++) {
        whole_pass(x, n + i, all);
        x[n + i] = likeliest(all[n + i - 1]);
        assert_int_equal(t.id[i], x[n + i]);
      }
    }
}

// Learned positions end: no cache is built beyond them.
static void test_positions_end(void **state) {
  (void)state;
  iso_graph *g;
  iso_graph_io io;
  iso_err err = {0};
  const iso_arch *arch;
  OK(iso_arch_find("gpt2", &arch, &bad));
  iso_model_config c = config("gpt2");
  for (int over = 0; over <= 1; over++) {
    OK(iso_graph_open(&g, &bad));
    iso_status st = arch->build(&c, &(iso_build){.mode = ISO_MODE_DECODE, .cache_seqs = 1, .cache_len = T + over}, g, &io, &err);
    assert_int_equal(st, over ? ISO_EINVAL : ISO_OK);
    iso_graph_close(g);
  }
  assert_non_null(strstr(err.msg, "25 tokens, the model has learned 24 positions"));
}

// Why generation ends, and its price.
static void test_generate(void **state) {
  (void)state;
  tape t = {.most = 64};
  iso_generate_stats got;
  iso_generate_opts o = {.max_new = 10, .sample = {0, 0, 1}, .eos = -1};
  double flop;
  int64_t bytes;
  OK(iso_generate_price(model, 5, &o, &flop, &bytes, &bad));
  taken = 0;
  ctx->alloc.get = counting_get;
  OK(iso_generate(model, ids[0], 5, &o, record, &t, &got, &bad));
  ctx->alloc.get = plain_get;
  assert_true(t.n == 10 && got.tok == 10 && got.prompt_tok == 5 && got.stop == ISO_STOP_LENGTH && got.flop == flop);
  assert_int_equal(bytes, taken + V * 4);
  int32_t eos = t.id[3];
  int first = 0;
  while (t.id[first] != eos) first++;
  o.eos = eos;
  tape u = {.most = 64};
  OK(iso_generate(model, ids[0], 5, &o, record, &u, &got, &bad));
  assert_true(got.stop == ISO_STOP_EOS && got.tok == first + 1 && u.id[first] == eos);
  o.eos = -1;
  u = (tape){.most = 4};
  OK(iso_generate(model, ids[0], 5, &o, record, &u, &got, &bad));
  assert_true(got.stop == ISO_STOP_CALLER && got.tok == 4);
  o.max_new = 100;  // the model holds T tokens, one more can be predicted
  OK(iso_generate(model, ids[0], 5, &o, NULL, NULL, &got, &bad));
  assert_true(got.stop == ISO_STOP_CONTEXT && got.tok == T - 5 + 1);
  OK(iso_generate_price(model, 5, &o, &flop, &bytes, &bad));
  assert_true(flop == got.flop);
  o.max_new = 0;
  OK(iso_generate(model, ids[0], 5, &o, NULL, NULL, &got, &bad));
  assert_true(got.stop == ISO_STOP_LENGTH && got.tok == 0);
}

static bool press(void *arg, int32_t id) {
  (void)id;
  if (--*(int *)arg == 0) atomic_store(&ctx->cancel, 1);
  return true;
}

static void test_generate_sampled(void **state) {
  (void)state;
  tape a = {.most = 64}, b = {.most = 64}, c = {.most = 64};
  iso_generate_stats got;
  iso_generate_opts o = {.max_new = 16, .sample = {1, 0, 1}, .seed = 5, .eos = -1};
  iso_err err = {0};
  OK(iso_generate(model, ids[1], 3, &o, record, &a, &got, &bad));
  OK(iso_generate(model, ids[1], 3, &o, record, &b, &got, &bad));
  o.seed = 6;
  OK(iso_generate(model, ids[1], 3, &o, record, &c, &got, &bad));
  assert_memory_equal(a.id, b.id, sizeof a.id);
  assert_memory_not_equal(a.id, c.id, sizeof a.id);
  iso_session *s;  // each token is drawn with its position as the step
  float logits[V];
  OK(iso_session_open(model, 1, 0, 0, &s, &bad));
  for (int i = 0; i < 16; i++) {
    int32_t id;
    OK(i == 0 ? iso_session_feed(s, 0, ids[1], 3, logits, &bad) : iso_session_feed(s, 0, &c.id[i - 1], 1, logits, &bad));
    OK(iso_sample(&o.sample, logits, V, 6, (uint64_t)(3 + i), &id, &bad));
    assert_int_equal(c.id[i], id);
  }
  iso_session_close(s);
  int presses = 3;
  OK(iso_generate(model, ids[1], 3, &o, press, &presses, &got, &bad));
  atomic_store(&ctx->cancel, 0);
  assert_true(got.stop == ISO_STOP_CANCEL && got.tok == 3);
  assert_int_equal(iso_generate(model, ids[1], 0, &o, NULL, NULL, &got, &err), ISO_EINVAL);
  assert_int_equal(iso_generate(model, ids[1], T + 1, &o, NULL, NULL, &got, &err), ISO_EINVAL);
  o.sample.top_p = 0;
  assert_int_equal(iso_generate(model, ids[1], 3, &o, NULL, NULL, &got, &err), ISO_EINVAL);
  o.sample.top_p = 1;
  float keep = model->weights[ids[1][0] * 24];
  model->weights[ids[1][0] * 24] = NAN;  // the embedding of the first token
  assert_int_equal(iso_generate(model, ids[1], 3, &o, NULL, NULL, &got, &err), ISO_ENUM);
  model->weights[ids[1][0] * 24] = keep;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_chunk), cmocka_unit_test(test_pieces),          cmocka_unit_test(test_interleaved),
                                     cmocka_unit_test(test_cut),       cmocka_unit_test(test_errors),          cmocka_unit_test(test_price),
                                     cmocka_unit_test(test_counted),   cmocka_unit_test(test_greedy),          cmocka_unit_test(test_positions_end),
                                     cmocka_unit_test(test_generate),  cmocka_unit_test(test_generate_sampled)};
  int failed = cmocka_run_group_tests_name("llama: rotary positions", tests, setup_llama, teardown);
  return failed + cmocka_run_group_tests_name("gpt2: learned positions", tests, setup_gpt2, teardown);
}
