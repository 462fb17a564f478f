// Context lengths of models by name and from configs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/layout/layout.h"
#include "plan/serve/context.h"

static int64_t of_name(const char *name) {
  iso_serve_shape s = {.layers = 1};
  iso_serve_context_name(name, &s);
  assert_true(!s.context == !s.context_source[0]);
  return s.context;
}

// What the models' cards and configs say; a release with another context than its shape's has its own.
static void test_names(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int64_t tokens;
  } want[] = {{"llama-7b", 2048},
              {"meta-llama/Llama-2-7b-chat-hf", 4096},
              {"llama3-8b", 8192},
              {"meta-llama/Llama-3.1-8B-Instruct", 131072},
              {"Yi-34B", 4096},
              {"01-ai/Yi-34B-200K", 200000},
              {"Qwen/Qwen3-32B-FP8", 40960},
              {"Qwen/Qwen3-4B-Instruct-2507", 262144},
              {"deepseek-v3.1", 131072},
              {"kimi-k2.5", 262144},
              {"kimi-k2", 131072},
              {"llama3-8bit", 0},
              {"gpt-9", 0}};
  for (size_t i = 0; i < ISO_COUNT(want); i++)
    if (of_name(want[i].name) != want[i].tokens) fail_msg("%s: %lld", want[i].name, (long long)of_name(want[i].name));
  // No built-in model is without.
  for (int i = 0; iso_serve_shape_at(i); i++)
    if (!of_name(iso_serve_shape_at(i)->name)) fail_msg("%s has no context", iso_serve_shape_at(i)->name);
  for (int i = 0; iso_layout_model_name(i, NULL); i++)
    if (!of_name(iso_layout_model_name(i, NULL))) fail_msg("%s has no context", iso_layout_model_name(i, NULL));
}

// The published configs of each kind of scaling, by the keys that matter here.
static void test_configs(void **state) {
  (void)state;
  static const struct {
    const char *json;
    int64_t tokens;
    const char *source;
  } row[] = {
      {"{\"max_position_embeddings\": 4096}", 4096, "max_position_embeddings of c"},
      {"{\"n_positions\": 1024, \"n_ctx\": 1024}", 1024, "n_positions of c"},
      {"{\"hidden_size\": 1}", 0, ""},
      {"{\"max_position_embeddings\": null}", 0, ""},
      // Llama 3.1: the length is the scaled one.
      {"{\"max_position_embeddings\": 131072, \"rope_scaling\": {\"factor\": 8.0, \"original_max_position_embeddings\": 8192, \"rope_type\": "
       "\"llama3\"}}",
       131072, "max_position_embeddings of c"},
      // DeepSeek-V3: 40 x 4,096, which it states as well; Qwen2.5 with YaRN: 4 x 32,768, which it does not.
      {"{\"max_position_embeddings\": 163840, \"rope_scaling\": {\"factor\": 40, \"original_max_position_embeddings\": 4096, \"type\": \"yarn\"}}",
       163840, "max_position_embeddings of c"},
      {"{\"max_position_embeddings\": 32768, \"rope_scaling\": {\"factor\": 4.0, \"original_max_position_embeddings\": 32768, \"type\": \"yarn\"}}",
       131072, "max_position_embeddings and rope scaling of c"},
      // vicuna-7b-v1.5-16k
      {"{\"max_position_embeddings\": 4096, \"rope_scaling\": {\"factor\": 4.0, \"type\": \"linear\"}}", 16384,
       "max_position_embeddings and rope scaling of c"},
      // Phi-3 mini 128k
      {"{\"max_position_embeddings\": 131072, \"original_max_position_embeddings\": 4096, \"rope_scaling\": {\"long_factor\": [1], \"type\": "
       "\"longrope\"}}",
       131072, "max_position_embeddings of c"},
      {"{\"max_position_embeddings\": 131072, \"model_type\": \"gemma3_text\", \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}}",
       131072, "max_position_embeddings of c"},
      // Later configs keep all that rotates in one object.
      {"{\"max_position_embeddings\": 8192, \"rope_parameters\": {\"rope_theta\": 1e4, \"rope_type\": \"default\"}}", 8192,
       "max_position_embeddings of c"},
      {"{\"max_position_embeddings\": 8192, \"rope_parameters\": {\"rope_type\": \"dynamic\", \"factor\": 2}}", 16384,
       "max_position_embeddings and rope scaling of c"}};
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_serve_shape s = {.layers = 1};
    iso_err e;
    json_t *j;
    assert_int_equal(iso_json_parse(row[i].json, strlen(row[i].json), "c", &j, &e), ISO_OK);
    assert_int_equal(iso_serve_context_config(j, "c", &s, &e), ISO_OK);
    if (s.context != row[i].tokens || strcmp(s.context_source, row[i].source) != 0)
      fail_msg("%s: %lld, %s", row[i].json, (long long)s.context, s.context_source);
    json_decref(j);
  }
  static const char *const bad[] = {
      "{\"max_position_embeddings\": 0}", "{\"max_position_embeddings\": \"many\"}",
      "{\"max_position_embeddings\": 4096, \"rope_scaling\": {\"type\": \"linear\", \"factor\": -2}}",
      "{\"max_position_embeddings\": 4096, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 1e6}}",
      "{\"max_position_embeddings\": 4096, \"rope_scaling\": {\"type\": \"yarn\", \"original_max_position_embeddings\": 0}}"};
  for (size_t i = 0; i < ISO_COUNT(bad); i++) {
    iso_serve_shape s = {.layers = 1};
    iso_err e;
    json_t *j;
    assert_int_equal(iso_json_parse(bad[i], strlen(bad[i]), "c", &j, &e), ISO_OK);
    if (iso_serve_context_config(j, "c", &s, &e) != ISO_EFORMAT) fail_msg("%s: %lld", bad[i], (long long)s.context);
    json_decref(j);
  }
}

static void test_exceeded(void **state) {
  (void)state;
  iso_serve_shape s = {.name = "m", .context = 100, .context_source = "its card"};
  char text[320];
  assert_false(iso_serve_context_exceeded(&s, 90, 10, text, sizeof text));
  assert_true(iso_serve_context_exceeded(&s, 90, 11, text, sizeof text));
  assert_non_null(strstr(text, "90 + 11 tokens"));
  assert_non_null(strstr(text, "its card"));
  assert_false(iso_serve_context_exceeded_by(&s, 0, 5, text, sizeof text));
  assert_true(iso_serve_context_exceeded_by(&s, 2, 5, text, sizeof text));
  assert_non_null(strstr(text, "2 of 5 requests"));
  s.context = 0;
  assert_false(iso_serve_context_exceeded(&s, 1e9, 1, text, sizeof text));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_configs), cmocka_unit_test(test_exceeded)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
