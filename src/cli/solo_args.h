// Options that train and plan share, and printing a plan.
#ifndef ISO_CLI_SOLO_ARGS_H
#define ISO_CLI_SOLO_ARGS_H
#include "cli/cli.h"
#include "loop/solo.h"

#define CLI_SOLO_OPTS                                                                                                                        \
  {"text", CLI_LIST, "FILE", NULL, "text: txt, jsonl (field \"text\"), either of them gz or zst, - for standard input"},                     \
      {"data", CLI_TEXT, "DIR", NULL, "token shards that isoflop data build wrote, instead of text"},                                        \
      {"out", CLI_TEXT, "DIR", "model", "folder for the model, its tokenizer and the checkpoint"},                                           \
      {"budget", CLI_TEXT, "BUDGET", NULL, "limits, as in 300s,600MiB or train_flop=2e14,usd=0.10; seconds count from start to exit"},       \
      {"dry-run", CLI_FLAG, NULL, NULL, "plan and price, train nothing"},                                                                    \
      {"model", CLI_TEXT, "SHAPE", NULL, "layers,width,heads/kv_heads,mlp,vocab,seq, or 10m, 50m, 124m (default: the planner chooses)"},     \
      {"config", CLI_TEXT, "FILE", NULL, "JSON with \"model\" and \"options\", as job.json in a model folder"},                              \
      {"steps", CLI_INT, "N", NULL, "optimizer steps (default: what the budget allows)"}, {"batch", CLI_INT, "N", NULL, "sequences a step"}, \
      {"micro", CLI_INT, "N", NULL, "sequences a micro-batch; gradients add up over batch / micro of them"},                                 \
      {"seq", CLI_INT, "N", NULL, "tokens a sequence (default: 256)"},                                                                       \
      {"vocab", CLI_INT, "N", NULL, "entries of the tokenizer (default: by budget and text)"},                                               \
      {"recompute", CLI_INT, "K", NULL, "keep the activations of every K-th layer only"},                                                    \
      {"recompute-layers", CLI_INT, "N", NULL, "the first N layers keep only their input for the backward pass"},                            \
      {"recompute-cheap", CLI_FLAG, NULL, NULL, "layers do not keep what takes no matrix product: norms, activations"},                      \
      {"optim", CLI_TEXT, "NAME", NULL, "muon or adamw (default: muon)"},                                                                    \
      {"schedule", CLI_TEXT, "NAME", NULL, "wsd, cosine or linear (default: wsd)"},                                                          \
      {"lr", CLI_REAL, "RATE", NULL, "peak learning rate of AdamW's tensors"},                                                               \
      {"muon-lr", CLI_REAL, "RATE", NULL, "peak learning rate of Muon's matrices"},                                                          \
      {"weight-decay", CLI_REAL, "RATE", NULL, "decoupled weight decay"},                                                                    \
      {"precision", CLI_TEXT, "NAME", "auto", "f32, bf16 (operands of matrix products) or auto: what calibration found faster"},             \
      {"max-bytes", CLI_INT, "N", NULL, "read so much text at most"}, {"seed", CLI_INT, "N", "0", "seed of weights and batches"},            \
      {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"}, {                                                 \
    "prices", CLI_TEXT, "FILE", NULL, "JSON with prices and carbon intensity"                                                                \
  }

// 0, or the exit code of a wrong call.
int cli_solo_opts(const cli_args *a, iso_solo_opts *o);
// A plan as a table.
int cli_print_plan(const json_t *result);
#endif
