// Model folders as Hugging Face's transformers reads and writes them: config.json, generation_config.json, model.safetensors.
#ifndef ISO_MODEL_FMT_HF_H
#define ISO_MODEL_FMT_HF_H
#include "model/model.h"
#include "tensor/dtype.h"

typedef struct iso_hf_opts {
  iso_dtype dtype;         // of the stored weights: f32 or bf16 (rounded to nearest even)
  int64_t bos_id, eos_id;  // token ids for the two configs; -1: none
} iso_hf_opts;

// Writes the three files into `dir` (created), each atomically, config.json last; a tied head is not stored twice.
// Tokenizer files are the text layer's. ISO_EUNSUP when the architecture cannot say this config in Hugging Face's terms.
iso_status iso_model_save_hf(iso_ctx *c, const iso_model *m, const char *dir, const iso_hf_opts *o, iso_err *err);
// Opens a folder: model.safetensors, or the shards of model.safetensors.index.json; F32, BF16 and F16 weights become f32.
// Missing, extra or misshapen tensors are ISO_EFORMAT with expected and actual. Buffers that old GPT-2 and Llama files
// carry (attention masks, rotary frequencies) are skipped, and a stored copy of a tied head must equal the embedding.
iso_status iso_model_load_hf(iso_ctx *c, const char *dir, iso_model **out, iso_err *err);
#endif
