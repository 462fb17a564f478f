// Llama: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases (Touvron et al. 2023, arXiv 2302.13971).
#include <string.h>

#include "model/arch.h"

static const iso_decoder LLAMA = {
    .act = ISO_ACT_SWIGLU,
    .n_embed = "model.embed_tokens.weight",
    .n_norm1 = "model.layers.*.input_layernorm.weight",
    .n_q = "model.layers.*.self_attn.q_proj.weight",
    .n_k = "model.layers.*.self_attn.k_proj.weight",
    .n_v = "model.layers.*.self_attn.v_proj.weight",
    .n_o = "model.layers.*.self_attn.o_proj.weight",
    .n_norm2 = "model.layers.*.post_attention_layernorm.weight",
    .n_gate = "model.layers.*.mlp.gate_proj.weight",
    .n_up = "model.layers.*.mlp.up_proj.weight",
    .n_down = "model.layers.*.mlp.down_proj.weight",
    .n_norm = "model.norm.weight",
    .n_head = "lm_head.weight",
};

static iso_status build(const iso_model_config *c, const iso_build *b, iso_graph *g, iso_graph_io *io, iso_err *err) {
  return iso_decoder_build(&LLAMA, c, b, g, io, err);
}

static iso_status to_hf(const iso_model_config *c, json_t *out, iso_err *err) {
  json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:f, s:s, s:b, s:b}", "vocab_size", (json_int_t)c->vocab, "hidden_size",
                        (json_int_t)c->width, "num_hidden_layers", (json_int_t)c->layers, "num_attention_heads", (json_int_t)c->heads,
                        "num_key_value_heads", (json_int_t)c->kv_heads, "head_dim", (json_int_t)c->head_dim, "intermediate_size", (json_int_t)c->mlp,
                        "max_position_embeddings", (json_int_t)c->ctx, "tie_word_embeddings", c->tied, "rms_norm_eps", c->norm_eps, "rope_theta",
                        c->rope_theta, "hidden_act", "silu", "attention_bias", 0, "mlp_bias", 0);
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
  const char *what = "config.json", *act = "silu";
  bool bias = false;
  *c = (iso_model_config){.norm_eps = 1e-6, .rope_theta = 10000, .ctx = 2048};
  strcpy(c->arch, "llama");
  ISO_TRY(iso_json_get_i64(hf, "vocab_size", what, 1, big, &c->vocab, err));
  ISO_TRY(iso_json_get_i64(hf, "hidden_size", what, 1, big, &c->width, err));
  ISO_TRY(iso_json_get_i64(hf, "num_hidden_layers", what, 1, big, &c->layers, err));
  ISO_TRY(iso_json_get_i64(hf, "num_attention_heads", what, 1, big, &c->heads, err));
  ISO_TRY(iso_json_get_i64(hf, "intermediate_size", what, 1, big, &c->mlp, err));
  c->kv_heads = c->heads;
  ISO_TRY(iso_json_opt_i64(hf, "num_key_value_heads", what, 1, big, &c->kv_heads, err));
  c->head_dim = c->width / c->heads;
  ISO_TRY(iso_json_opt_i64(hf, "head_dim", what, 1, big, &c->head_dim, err));
  ISO_TRY(iso_json_opt_i64(hf, "max_position_embeddings", what, 1, big, &c->ctx, err));
  ISO_TRY(iso_json_opt_bool(hf, "tie_word_embeddings", what, &c->tied, err));
  ISO_TRY(iso_json_opt_f64(hf, "rms_norm_eps", what, &c->norm_eps, err));
  ISO_TRY(iso_json_opt_f64(hf, "rope_theta", what, &c->rope_theta, err));
  const json_t *params = json_object_get(hf, "rope_parameters"), *scaling = json_object_get(hf, "rope_scaling");
  if (json_is_object(params)) ISO_TRY(iso_json_opt_f64(params, "rope_theta", what, &c->rope_theta, err));
  if (scaling && !json_is_null(scaling)) return iso_fail(err, ISO_EUNSUP, "config.json: rope_scaling is not supported");
  if (json_object_get(hf, "hidden_act")) ISO_TRY(iso_json_get_str(hf, "hidden_act", what, &act, err));
  if (strcmp(act, "silu") != 0) return iso_fail(err, ISO_EUNSUP, "config.json: hidden_act \"%.30s\" is not supported, silu is", act);
  ISO_TRY(iso_json_opt_bool(hf, "attention_bias", what, &bias, err));
  if (!bias) ISO_TRY(iso_json_opt_bool(hf, "mlp_bias", what, &bias, err));
  if (bias) return iso_fail(err, ISO_EUNSUP, "config.json: a llama with biases is not supported");
  return iso_config_check(c, err);
}

const iso_arch iso_arch_llama = {"llama",
                                 "RMSNorm, rotary positions, grouped-query attention, SwiGLU",
                                 "arXiv 2302.13971",
                                 "llama",
                                 "LlamaForCausalLM",
                                 true,
                                 build,
                                 to_hf,
                                 from_hf,
                                 false};
