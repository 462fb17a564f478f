// Hugging Face folders: what is stored, round trips in f32 and bf16, foreign variants, and what is refused with which words.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// clang-format off: cmocka.h needs what stands above
#include <cmocka.h>
// clang-format on

#include "base/file.h"
#include "base/rng.h"
#include "model/fmt_hf.h"
#include "model/fmt_safetensors.h"

static char dir[64];
static iso_ctx *ctx;
static iso_err bad;  // of calls that must succeed
#define OK(call)                                              \
  do {                                                        \
    if ((call) != ISO_OK) fail_msg("%s: %s", #call, bad.msg); \
  } while (0)
static const iso_hf_opts F32 = {ISO_DTYPE_f32, 1, 2}, BF16 = {ISO_DTYPE_bf16, -1, 0};

static int setup(void **state) {
  (void)state;
  strcpy(dir, "/tmp/isoflop_hf_XXXXXX");
  return !mkdtemp(dir) || iso_ctx_open(1, &ctx, &bad) != ISO_OK || iso_kern_select(ISO_PREC_f32, &ctx->kern, &bad) != ISO_OK;
}

static int teardown(void **state) {
  (void)state;
  char cmd[100];
  (void)snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
  iso_ctx_close(ctx);
  return system(cmd);
}

static const char *in_dir(const char *name) {
  static char path[4][160];
  static int k;
  k = (k + 1) % 4;
  (void)snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
  return path[k];
}

static iso_model *make(const char *arch, bool tied) {
  iso_model_config c = {.vocab = 31,
                        .width = 12,
                        .layers = 2,
                        .heads = 2,
                        .kv_heads = strcmp(arch, "llama") == 0 ? 1 : 2,
                        .head_dim = 6,
                        .mlp = 20,
                        .ctx = 9,
                        .tied = tied,
                        .norm_eps = 2e-5,
                        .rope_theta = 500};
  iso_model *m;
  strcpy(c.arch, arch);
  OK(iso_model_open(ctx, &c, &m, &bad));
  for (int64_t i = 0; i < m->weight_bytes / 4; i++) m->weights[i] = (float)iso_rng_normal(1, ISO_RNG_TEST, 0, (uint64_t)i);
  return m;
}

static const struct {
  const char *arch;
  bool tied;
} MODELS[] = {{"llama", true}, {"llama", false}, {"gpt2", true}, {"gpt2", false}};

static void test_round_trip(void **state) {
  (void)state;
  for (size_t i = 0; i < ISO_COUNT(MODELS); i++)
    for (int k = 0; k < 2; k++) {
      iso_model *m = make(MODELS[i].arch, MODELS[i].tied), *b;
      OK(iso_model_save_hf(ctx, m, in_dir("deep/er"), k ? &BF16 : &F32, &bad));
      OK(iso_model_load_hf(ctx, in_dir("deep/er"), &b, &bad));
      assert_memory_equal(&m->config.vocab, &b->config.vocab, 8 * sizeof(int64_t));
      assert_true(m->config.tied == b->config.tied && m->config.norm_eps == b->config.norm_eps && strcmp(m->config.arch, b->config.arch) == 0);
      assert_true(i > 1 || m->config.rope_theta == b->config.rope_theta);
      iso_bind one = {{1, 1, 1}};
      for (int t = 0; t < m->g->n_tensors; t++) {
        if (m->g->tensor[t].role != ISO_ROLE_WEIGHT) continue;
        int64_t n = iso_tensor_elems(&m->g->tensor[t], &one) * iso_tensor_copies(m->g, &m->g->tensor[t]);
        const float *x = iso_model_weight(m, t, 0), *y = iso_model_weight(b, t, 0);
        for (int64_t e = 0; e < n; e++) assert_true(y[e] == (k ? iso_f32_from_bf16(iso_bf16_from_f32(x[e])) : x[e]));
      }
      iso_model_close(m);
      iso_model_close(b);
    }
}

// Names, shapes and places as transformers has them, element by element for a packed and for a transposed weight.
static void test_layout(void **state) {
  (void)state;
  static const char *const LLAMA[] = {"model.embed_tokens.weight F32 [31,12]",
                                      "model.layers.1.self_attn.q_proj.weight F32 [12,12]",
                                      "model.layers.1.self_attn.k_proj.weight F32 [6,12]",
                                      "model.layers.0.mlp.down_proj.weight F32 [12,20]",
                                      "model.layers.0.mlp.up_proj.weight F32 [20,12]",
                                      "model.norm.weight F32 [12]"};
  static const char *const GPT2[] = {"transformer.wte.weight F32 [31,12]",
                                     "transformer.wpe.weight F32 [9,12]",
                                     "transformer.h.1.attn.c_attn.weight F32 [12,36]",
                                     "transformer.h.1.attn.c_attn.bias F32 [36]",
                                     "transformer.h.0.mlp.c_fc.weight F32 [12,20]",
                                     "transformer.h.0.mlp.c_proj.weight F32 [20,12]",
                                     "lm_head.weight F32 [31,12]"};
  for (int k = 0; k < 2; k++) {
    iso_model *m = make(k ? "gpt2" : "llama", k == 0);
    iso_st *st;
    OK(iso_model_save_hf(ctx, m, dir, &F32, &bad));
    OK(iso_st_open(in_dir("model.safetensors"), &st, &bad));
    assert_string_equal(iso_st_metadata(st, "format"), "pt");
    for (size_t i = 0; i < (k ? ISO_COUNT(GPT2) : ISO_COUNT(LLAMA)); i++) {
      char name[80], is[160];
      const char *want = k ? GPT2[i] : LLAMA[i], *space = strchr(want, ' ');
      (void)snprintf(name, sizeof name, "%.*s", (int)(space - want), want);
      const iso_st_info *t = iso_st_find(st, name);
      if (!t) fail_msg("%s is not stored", name);
      assert_string_equal(iso_st_describe(t, is, sizeof is), space + 1);
    }
    assert_int_equal(iso_st_count(st), k ? 2 + 2 * 12 + 2 + 1 : 1 + 2 * 9 + 1);  // the tied head is not stored
    for (int t = 0; t < m->g->n_tensors; t++) {
      if (strcmp(m->g->tensor[t].path, "layers.*.attn.qkv") != 0) continue;
      float x[12 * 36];
      const float *w = iso_model_weight(m, t, 1);
      OK(iso_st_read_f32(iso_st_find(st, k ? "transformer.h.1.attn.c_attn.weight" : "model.layers.1.self_attn.v_proj.weight"), x, &bad));
      for (int in = 0; in < 12; in++)
        for (int out = 0; out < (k ? 36 : 6); out++)
          assert_true(k ? x[in * 36 + out] == w[out * 12 + in] : x[out * 12 + in] == w[(18 + out) * 12 + in]);
    }
    iso_st_close(st);
    iso_model_close(m);
    json_t *j;
    int64_t id = -1;
    const char *s;
    OK(iso_json_load(in_dir("config.json"), &j, &bad));
    OK(iso_json_get_i64(j, "eos_token_id", "config", 0, 100, &id, &bad));
    assert_int_equal(id, 2);
    OK(iso_json_get_str(j, "model_type", "config", &s, &bad));
    assert_string_equal(s, k ? "gpt2" : "llama");
    assert_string_equal(json_string_value(json_array_get(json_object_get(j, "architectures"), 0)), k ? "GPT2LMHeadModel" : "LlamaForCausalLM");
    json_decref(j);
    OK(iso_json_load(in_dir("generation_config.json"), &j, &bad));
    OK(iso_json_get_i64(j, "bos_token_id", "config", 0, 100, &id, &bad));
    assert_int_equal(id, 1);
    json_decref(j);
  }
}

// Rewrites the folder's weights: without `drop`, `from` renamed to `to`, and one more tensor `extra`.
typedef struct edit {
  const char *drop, *from, *to, *extra;
  int extra_rank;
  int64_t extra_shape[4];
  const float *extra_data;
  int strip;  // characters cut off every name that starts with "transformer."
} edit;

static void rewrite(const edit *e) {
  iso_st *st;
  iso_st_writer *w;
  const char *path = in_dir("model.safetensors");
  OK(iso_st_open(path, &st, &bad));
  OK(iso_st_writer_open(&w, &bad));
  for (int64_t i = 0; i < iso_st_count(st); i++) {
    const iso_st_info *t = iso_st_at(st, i);
    const char *name = e->from && strcmp(t->name, e->from) == 0 ? e->to : t->name;
    if (e->strip && strncmp(name, "transformer.", 12) == 0) name += e->strip;
    if (!e->drop || strcmp(t->name, e->drop) != 0) OK(iso_st_add(w, name, t->dtype, t->rank, t->shape, t->data, &bad));
  }
  if (e->extra) OK(iso_st_add(w, e->extra, ISO_ST_F32, e->extra_rank, e->extra_shape, e->extra_data, &bad));
  OK(iso_st_commit(ctx, w, path, &bad));
  iso_st_writer_close(w);
  iso_st_close(st);
}

static void expect(const char *arch, bool tied, const edit *e, iso_status want, const char *a, const char *b) {
  iso_model *m = make(arch, tied), *got;
  iso_err err = {0};
  OK(iso_model_save_hf(ctx, m, dir, &F32, &bad));
  rewrite(e);
  iso_status st = iso_model_load_hf(ctx, dir, &got, &err);
  if (st != want || (a && !strstr(err.msg, a)) || (b && !strstr(err.msg, b))) fail_msg("status %d, \"%s\"", st, err.msg);
  assert_true(st == ISO_OK || got == NULL);
  if (st == ISO_OK) assert_memory_equal(got->weights, m->weights, 31 * 12 * sizeof(float));
  iso_model_close(got);
  iso_model_close(m);
}

static void test_variants(void **state) {
  (void)state;
  const float zeros[31 * 12] = {0};
  iso_model *m = make("llama", true);
  const edit inv = {.extra = "model.layers.0.self_attn.rotary_emb.inv_freq", .extra_rank = 1, .extra_shape = {3}, .extra_data = zeros};
  const edit mask = {.extra = "h.0.attn.bias", .extra_rank = 4, .extra_shape = {1, 1, 9, 9}, .extra_data = zeros, .strip = 12};
  const edit head = {.extra = "lm_head.weight", .extra_rank = 2, .extra_shape = {31, 12}, .extra_data = m->weights};
  const edit other = {.extra = "lm_head.weight", .extra_rank = 2, .extra_shape = {31, 12}, .extra_data = zeros};
  expect("llama", true, &inv, ISO_OK, NULL, NULL);
  expect("gpt2", true, &mask, ISO_OK, NULL, NULL);
  expect("llama", true, &head, ISO_OK, NULL, NULL);
  expect("llama", true, &other, ISO_EFORMAT, "lm_head.weight differs", "model.safetensors");
  iso_model_close(m);
}

static void test_refusals(void **state) {
  (void)state;
  const float zeros[100] = {0};
  const edit gone = {.drop = "model.layers.1.mlp.up_proj.weight"}, named = {.from = "model.norm.weight", .to = "model.norms.weight"};
  const edit extra = {.extra = "model.layers.2.mlp.up_proj.weight", .extra_rank = 2, .extra_shape = {5, 3}, .extra_data = zeros};
  const edit shape = {.drop = "model.norm.weight", .extra = "model.norm.weight", .extra_rank = 1, .extra_shape = {13}, .extra_data = zeros};
  const edit rank = {.drop = "model.norm.weight", .extra = "model.norm.weight", .extra_rank = 2, .extra_shape = {12, 1}, .extra_data = zeros};
  const edit flat = {.drop = "transformer.h.0.mlp.c_fc.weight",
                     .extra = "transformer.h.0.mlp.c_fc.weight",
                     .extra_rank = 2,
                     .extra_shape = {4, 3},
                     .extra_data = zeros};
  expect("llama", true, &gone, ISO_EFORMAT, "\"model.layers.1.mlp.up_proj.weight\" is missing", "model.safetensors");
  expect("llama", true, &named, ISO_EFORMAT, "\"model.norm.weight\" is missing", NULL);
  expect("llama", true, &extra, ISO_EFORMAT, "\"model.layers.2.mlp.up_proj.weight\", F32 [5,3], has no place", NULL);
  expect("llama", true, &shape, ISO_EFORMAT, "\"model.norm.weight\" is F32 [13]", "asks for [12]");
  expect("llama", true, &rank, ISO_EFORMAT, "\"model.norm.weight\" is F32 [12,1]", "asks for [12]");
  expect("gpt2", true, &flat, ISO_EFORMAT, "is F32 [4,3]", "asks for [12,20]");
}

static void test_configs(void **state) {
  (void)state;
  iso_model *m = make("llama", true), *got;
  iso_err err = {0};
  assert_int_equal(iso_model_load_hf(ctx, in_dir("nowhere"), &got, &err), ISO_EIO);
  assert_non_null(strstr(err.msg, "nowhere/config.json"));
  assert_true(err.hint[0] != 0);
  static const struct {
    const char *text, *says;
    iso_status st;
  } CASES[] = {
      {"", "JSON", ISO_EFORMAT},
      {"[]", "model_type", ISO_EFORMAT},
      {"{\"model_type\":\"bert\"}", "bert", ISO_EUNSUP},
      {"{\"model_type\":\"llama\"}", "vocab_size", ISO_EFORMAT},
      {"{\"model_type\":\"llama\",\"vocab_size\":31,\"hidden_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":0,\"intermediate_size\":20}",
       "num_attention_heads", ISO_EFORMAT},
      {"{\"model_type\":\"llama\",\"vocab_size\":31,\"hidden_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"intermediate_size\":20,"
       "\"rope_scaling\":{\"type\":\"linear\"}}",
       "rope_scaling", ISO_EUNSUP},
      {"{\"model_type\":\"gpt2\",\"vocab_size\":31,\"n_embd\":12,\"n_layer\":2,\"n_head\":2,\"n_positions\":8,\"activation_function\":\"gelu\"}",
       "gelu_new", ISO_EUNSUP},
      {"{\"model_type\":\"gpt2\",\"vocab_size\":31,\"n_embd\":12,\"n_layer\":2,\"n_head\":2,\"n_positions\":8,\"scale_attn_weights\":false}",
       "attention is scaled", ISO_EUNSUP},
      {"{\"model_type\":\"gpt2\",\"vocab_size\":31,\"n_embd\":12,\"n_layer\":2,\"n_head\":2,\"n_positions\":8,\"scale_attn_by_inverse_layer_idx\":"
       "true}",
       "attention is scaled", ISO_EUNSUP}};
  OK(iso_model_save_hf(ctx, m, dir, &F32, &bad));
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    OK(iso_file_put(ctx, in_dir("config.json"), CASES[i].text, strlen(CASES[i].text), &bad));
    iso_status st = iso_model_load_hf(ctx, dir, &got, &err);
    if (st != CASES[i].st || !strstr(err.msg, CASES[i].says) || got) fail_msg("case %zu: status %d, \"%s\"", i, st, err.msg);
  }
  OK(iso_model_save_hf(ctx, m, dir, &F32, &bad));
  assert_int_equal(unlink(in_dir("model.safetensors")), 0);
  assert_int_equal(iso_model_load_hf(ctx, dir, &got, &err), ISO_EIO);
  assert_non_null(strstr(err.msg, "model.safetensors"));
  assert_int_equal(iso_model_save_hf(ctx, m, dir, &(iso_hf_opts){ISO_DTYPE_i32, -1, -1}, &err), ISO_EUNSUP);
  iso_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_layout), cmocka_unit_test(test_variants),
                                     cmocka_unit_test(test_refusals), cmocka_unit_test(test_configs)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
