// Trains a small model on a text under a budget, scores it and samples from it; built against isoflop.h alone.
// run: ./train $TEXT 10s
#include <isoflop.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s TEXT BUDGET [OUT]\n", argv[0]);
    return 2;
  }
  const char *texts[] = {argv[1]}, *out = argc > 3 ? argv[3] : "example-model";
  isoflop *f = isoflop_open(0);
  if (!f) return 1;
  char *result = NULL, *text = NULL;
  isoflop_model *m = NULL;
  double bpb;
  int failed = isoflop_train(f, texts, 1, argv[2], out, NULL, &result) || isoflop_model_open(f, out, &m) ||
               isoflop_model_eval(m, "The quick brown fox jumps over the lazy dog.", 44, &bpb) ||
               isoflop_model_sample(m, "The ", 40, 0.8, 0.95, 1, &text);
  if (failed)
    fprintf(stderr, "%s\n", isoflop_error(f));
  else
    printf("%lld parameters, %.3f bits per byte on a pangram\nThe %s\n", (long long)isoflop_model_params(m), bpb, text);
  free(result);
  free(text);
  isoflop_model_close(m);
  isoflop_close(f);
  return failed != 0;
}
