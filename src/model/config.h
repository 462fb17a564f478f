// The shape of a decoder, as planners choose it and model files state it.
#ifndef ISO_MODEL_CONFIG_H
#define ISO_MODEL_CONFIG_H
#include "base/json.h"

typedef struct iso_model_config {
  char arch[16];                                                      // plugin name: "llama", "gpt2"
  int64_t vocab, width, layers, heads, kv_heads, head_dim, mlp, ctx;  // V D L H K Hd F, longest sequence
  bool tied;                                                          // the head is the embedding table
  double norm_eps, rope_theta;
} iso_model_config;

// Every number in range and consistent (heads divide, head_dim even for rotary positions), else ISO_EINVAL saying which.
iso_status iso_config_check(const iso_model_config *c, iso_err *err);
// Our own JSON, all fields; unknown keys are errors.
json_t *iso_config_json(const iso_model_config *c);
iso_status iso_config_from_json(const json_t *j, iso_model_config *out, iso_err *err);
// "layers,width,heads/kv_heads,mlp,vocab,seq" as in 8,320,5/5,864,4096,256, or a name of the bench table: 10m, 50m, 124m, gpt2-124m.
iso_status iso_config_parse(const char *text, iso_model_config *out, iso_err *err);
// One line: "llama 8x320, heads 5/5 of 64, mlp 864, vocab 4096, seq 256".
char *iso_config_print(const iso_model_config *c, char *buf, size_t n);
#endif
