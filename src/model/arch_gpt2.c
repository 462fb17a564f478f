// GPT-2: LayerNorm, learned positions, GELU, biases (Radford et al. 2019).
#include <string.h>

#include "model/arch.h"

static const iso_decoder GPT2 = {
    .layernorm = true,
    .learned_pos = true,
    .bias = true,
    .act = ISO_ACT_GELU,
    .n_embed = "transformer.wte.weight",
    .n_pos = "transformer.wpe.weight",
    .n_norm1 = "transformer.h.*.ln_1.weight",
    .n_norm1_b = "transformer.h.*.ln_1.bias",
    .n_qkv = "transformer.h.*.attn.c_attn.weight",
    .n_qkv_b = "transformer.h.*.attn.c_attn.bias",
    .n_o = "transformer.h.*.attn.c_proj.weight",
    .n_o_b = "transformer.h.*.attn.c_proj.bias",
    .n_norm2 = "transformer.h.*.ln_2.weight",
    .n_norm2_b = "transformer.h.*.ln_2.bias",
    .n_up = "transformer.h.*.mlp.c_fc.weight",
    .n_up_b = "transformer.h.*.mlp.c_fc.bias",
    .n_down = "transformer.h.*.mlp.c_proj.weight",
    .n_down_b = "transformer.h.*.mlp.c_proj.bias",
    .n_norm = "transformer.ln_f.weight",
    .n_norm_b = "transformer.ln_f.bias",
    .n_head = "lm_head.weight",
};

static iso_status build(const iso_model_config *c, const iso_build *b, iso_graph *g, iso_graph_io *io, iso_err *err) {
  return iso_decoder_build(&GPT2, c, b, g, io, err);
}

static iso_status to_hf(const iso_model_config *c, json_t *out, iso_err *err) {
  if (c->kv_heads != c->heads) return iso_fail(err, ISO_EUNSUP, "gpt2: grouped-query attention cannot be written as a Hugging Face GPT-2");
  json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:s}", "vocab_size", (json_int_t)c->vocab, "n_embd", (json_int_t)c->width,
                        "n_layer", (json_int_t)c->layers, "n_head", (json_int_t)c->heads, "n_inner", (json_int_t)c->mlp, "n_positions",
                        (json_int_t)c->ctx, "tie_word_embeddings", c->tied, "layer_norm_epsilon", c->norm_eps, "activation_function", "gelu_new");
  if (!j || json_object_update(out, j) != 0) {
    json_decref(j);
    return iso_fail(err, ISO_ENOMEM, "no memory for config.json");
  }
  json_decref(j);
  return ISO_OK;
}

// Refuses what the graph would compute differently, rather than load it silently.
static iso_status from_hf(const json_t *hf, iso_model_config *c, iso_err *err) {
  const int64_t big = INT64_C(1) << 40;
  const char *what = "config.json", *act = "gelu_new";
  bool scaled = true, by_layer = false;
  *c = (iso_model_config){.norm_eps = 1e-5, .rope_theta = 10000, .tied = true};
  strcpy(c->arch, "gpt2");
  ISO_TRY(iso_json_get_i64(hf, "vocab_size", what, 1, big, &c->vocab, err));
  ISO_TRY(iso_json_get_i64(hf, "n_embd", what, 1, big, &c->width, err));
  ISO_TRY(iso_json_get_i64(hf, "n_layer", what, 1, big, &c->layers, err));
  ISO_TRY(iso_json_get_i64(hf, "n_head", what, 1, big, &c->heads, err));
  ISO_TRY(iso_json_get_i64(hf, "n_positions", what, 1, big, &c->ctx, err));
  c->kv_heads = c->heads;
  c->head_dim = c->width / c->heads;
  c->mlp = 4 * c->width;
  ISO_TRY(iso_json_opt_i64(hf, "n_inner", what, 1, big, &c->mlp, err));
  ISO_TRY(iso_json_opt_bool(hf, "tie_word_embeddings", what, &c->tied, err));
  ISO_TRY(iso_json_opt_f64(hf, "layer_norm_epsilon", what, &c->norm_eps, err));
  if (json_object_get(hf, "activation_function")) ISO_TRY(iso_json_get_str(hf, "activation_function", what, &act, err));
  if (strcmp(act, "gelu_new") != 0 && strcmp(act, "gelu_pytorch_tanh") != 0)  // two names of the tanh form
    return iso_fail(err, ISO_EUNSUP, "config.json: activation_function \"%.30s\" is not supported, gelu_new is", act);
  ISO_TRY(iso_json_opt_bool(hf, "scale_attn_weights", what, &scaled, err));
  ISO_TRY(iso_json_opt_bool(hf, "scale_attn_by_inverse_layer_idx", what, &by_layer, err));
  if (!scaled || by_layer)
    return iso_fail(err, ISO_EUNSUP, "config.json: attention is scaled by 1/sqrt(head size) alone, other scales are not supported");
  return iso_config_check(c, err);
}

const iso_arch iso_arch_gpt2 = {
    "gpt2", "LayerNorm, learned positions, GELU, biases", "Radford et al. 2019", "gpt2", "GPT2LMHeadModel", false, build, to_hf, from_hf, true};
