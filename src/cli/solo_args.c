// Reading the options of train and plan.
#include "cli/solo_args.h"

#include <math.h>
#include <string.h>

int cli_solo_opts(const cli_args *a, iso_solo_opts *o) {
  *o = (iso_solo_opts){.out_dir = cli_text(a, "out"),
                       .data_dir = cli_text(a, "data"),
                       .shape = cli_text(a, "model"),
                       .config_path = cli_text(a, "config"),
                       .precision = cli_text(a, "precision"),
                       .optim = cli_text(a, "optim"),
                       .schedule = cli_text(a, "schedule"),
                       .lr = cli_real(a, "lr"),
                       .muon_lr = cli_real(a, "muon-lr"),
                       .weight_decay = cli_real(a, "weight-decay"),
                       .batch = cli_int(a, "batch"),
                       .seq = cli_int(a, "seq"),
                       .steps = cli_int(a, "steps"),
                       .vocab = cli_int(a, "vocab"),
                       .micro = cli_int(a, "micro"),
                       .recompute = cli_int(a, "recompute"),
                       .recompute_layers = cli_int(a, "recompute-layers"),
                       .recompute_cheap = cli_flag(a, "recompute-cheap"),
                       .max_bytes = cli_int(a, "max-bytes"),
                       .seed = (uint64_t)cli_int(a, "seed")};
  o->texts = cli_list(a, "text", &o->n_texts);
  if (o->n_texts > 0 && o->data_dir) return cli_usage(a, "--text and --data exclude each other");
  if (o->shape && o->config_path) return cli_usage(a, "--model and --config exclude each other");
  const char *positive[] = {"steps", "batch", "micro", "seq", "vocab", "recompute", "recompute-layers", "max-bytes"};
  for (size_t i = 0; i < ISO_COUNT(positive); i++)
    if (cli_given(a, positive[i]) && cli_int(a, positive[i]) < 1) return cli_usage(a, "--%s must be at least 1", positive[i]);
  if (cli_given(a, "vocab") && (o->vocab < 256 + ISO_TOK_SPECIALS || o->vocab > ISO_TOK_VOCAB_MAX))
    return cli_usage(a, "--vocab must be between %d and %d: 256 bytes and %d special tokens are always there", 256 + ISO_TOK_SPECIALS,
                     ISO_TOK_VOCAB_MAX, ISO_TOK_SPECIALS);
  if (o->recompute > 0 && (o->recompute_layers > 0 || o->recompute_cheap))
    return cli_usage(a, "--recompute (groups of layers) excludes --recompute-layers and --recompute-cheap");
  // A shape names its vocabulary: the tokenizer follows it.
  if (o->shape && o->vocab <= 0 && !o->data_dir) {
    iso_model_config c;
    iso_err err = {0};
    if (iso_config_parse(o->shape, &c, &err) != ISO_OK) return cli_usage(a, "--model: %s", err.msg);
    o->vocab = c.vocab;
  }
  return 0;
}

int cli_print_plan(const json_t *r) {
  const json_t *plan = json_object_get(r, "plan"), *p = json_object_get(r, "predicted"), *q = json_object_get(plan, "bits_per_byte");
  char b[40];
  printf("%s\n\n", json_string_value(json_object_get(plan, "why")));
  printf("%-22s %.3f M\n", "parameters", json_number_value(json_object_get(plan, "params")) / 1e6);
  printf("%-22s %.3f M\n", "tokens", json_number_value(json_object_get(plan, "tokens")) / 1e6);
  printf("%-22s %lld tokens\n", "batch", (long long)json_integer_value(json_object_get(plan, "batch_tok")));
  printf("%-22s %.3g\n", "learning rate", json_number_value(json_object_get(plan, "lr")));
  printf("%-22s %.3f (%.3f to %.3f)\n", "bits per byte", json_number_value(json_array_get(q, 1)), json_number_value(json_array_get(q, 0)),
         json_number_value(json_array_get(q, 2)));
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    const iso_res_info *info = iso_res_get((iso_res)i);
    const json_t *x = json_object_get(p, info->name);
    double lo, mean, hi;
    if (json_is_array(x))
      lo = json_number_value(json_array_get(x, 0)), mean = json_number_value(json_array_get(x, 1)), hi = json_number_value(json_array_get(x, 2));
    else if (json_is_number(x))
      lo = mean = hi = json_number_value(x);
    else
      continue;
    if (mean == 0) continue;
    printf("%-22s %s", info->name, iso_unit_print(mean, info->unit, b, sizeof b));
    if (lo < hi) {
      printf(" (%s", iso_unit_print(lo, info->unit, b, sizeof b));
      printf(" to %s)", iso_unit_print(hi, info->unit, b, sizeof b));
    }
    printf("\n");
  }
  printf("%-22s %s; a doubling of it would change the loss by %+.3f bits per byte\n", "binding", json_string_value(json_object_get(plan, "binding")),
         json_number_value(json_object_get(plan, "shadow_bpb_per_log_budget")) * log(2));
  return EXIT_DONE;
}
