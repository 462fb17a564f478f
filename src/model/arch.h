// Architectures: plugins that build a graph from a config and know the names that model files use.
#ifndef ISO_MODEL_ARCH_H
#define ISO_MODEL_ARCH_H
#include "graph/graph.h"
#include "model/config.h"

// What a graph is built for.
typedef enum iso_graph_mode {
  ISO_MODE_LOSS,   // ids and targets in, loss out; add iso_pass_gradient to train
  ISO_MODE_DECODE  // ids, sequence and position of each row in, logits of R chosen rows out, KV cache kept
} iso_graph_mode;

// Tensors that the caller writes or reads; -1 when the mode has none.
typedef struct iso_graph_io {
  int ids, targets, loss, row_loss, hyp;       // LOSS: ids, targets i[M]; loss f64[2]; row_loss e[M]; hyp iso_hyp
  int seq, pos, last, logits, kcache, vcache;  // DECODE: seq, pos i[M]; last i[R]: the rows (< M) of logits e[R,V]
} iso_graph_io;

// Knobs of the graph that are not part of the model.
typedef struct iso_build {
  iso_graph_mode mode;
  bool row_loss;                  // LOSS: also write each row's loss
  int64_t cache_seqs, cache_len;  // DECODE: sequences and positions of the KV cache; no more than the ctx of a model with learned positions
} iso_build;

typedef struct iso_arch {
  const char *name, *summary, *paper;
  const char *hf_type;   // model_type in config.json
  const char *hf_class;  // architectures[0] in config.json
  bool rotary;
  iso_status (*build)(const iso_model_config *c, const iso_build *b, iso_graph *g, iso_graph_io *io, iso_err *err);
  // Adds the model's keys to a Hugging Face config, and reads them back.
  iso_status (*to_hf)(const iso_model_config *c, json_t *out, iso_err *err);
  iso_status (*from_hf)(const json_t *hf, iso_model_config *out, iso_err *err);
  bool hf_transposed;  // linear weights are stored [in, out] (GPT-2's Conv1D)
} iso_arch;

#define X(name) extern const iso_arch iso_arch_##name;
#include "model/archs.def"
#undef X
iso_status iso_arch_find(const char *name, const iso_arch **out, iso_err *err);
iso_status iso_arch_find_hf(const char *hf_type, const iso_arch **out, iso_err *err);

// ---- for arch_*.c: the pre-norm decoder that they share -------------------------------------------------------------

typedef enum iso_act { ISO_ACT_SWIGLU, ISO_ACT_GELU, ISO_ACT_RELU2 } iso_act;
typedef struct iso_decoder {
  bool layernorm;    // LayerNorm with bias, else RMSNorm
  bool learned_pos;  // learned positions, else rotary
  bool bias;         // biases on linear layers
  iso_act act;
  // Names in model files; * is the layer.
  const char *n_embed, *n_pos, *n_norm1, *n_norm1_b, *n_q, *n_k, *n_v, *n_qkv, *n_o, *n_norm2, *n_norm2_b, *n_gate, *n_up, *n_down, *n_norm,
      *n_norm_b, *n_head;
  const char *n_qkv_b, *n_o_b, *n_up_b, *n_down_b;
} iso_decoder;
iso_status iso_decoder_build(const iso_decoder *k, const iso_model_config *c, const iso_build *b, iso_graph *g, iso_graph_io *io, iso_err *err);
#endif
