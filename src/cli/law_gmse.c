// Prints what formats lose on Gaussian numbers.
#include "cli/law_gmse.h"

#include <math.h>
#include <stdlib.h>

#include "plan/format_mse.h"

// The error of every format, so that a wrong name prints nothing: n_pos - 1 of them, the first position is the action.
static iso_status read_formats(const cli_args *a, iso_gmse *g, iso_err *err) {
  for (int i = 1; i < a->n_pos; i++) ISO_TRY(iso_gmse_format(a->pos[i], &g[i - 1], err));
  return ISO_OK;
}

int cli_law_gmse(const cli_args *a) {
  iso_err err = {0};
  int n = a->n_pos - 1;
  iso_gmse *g = calloc((size_t)n, sizeof *g);
  iso_status st = g ? read_formats(a, g, &err) : iso_fail(&err, ISO_ENOMEM, "no memory for %d formats", n);
  if (st != ISO_OK) {
    free(g);
    return cli_fail(a, st, &err);
  }
  json_t *list = a->json ? json_array() : NULL;
  if (!a->json) printf("%-14s %14s %12s %12s\n", "format", "gmse", "ideal bits", "scale");
  for (int i = 0; i < n; i++) {
    const char *name = a->pos[i + 1];
    if (a->json) {
      json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o}", "format", name, "gmse", iso_json_num(g[i].mse), "bits", iso_json_num(g[i].bits),
                                            "scale", iso_json_num(g[i].scale)));
      continue;
    }
    printf("%-14s %14.6g %12.4f", name, g[i].mse, g[i].bits);
    if (isfinite(g[i].scale)) printf(" %12.5g", g[i].scale);
    printf("\n");
  }
  free(g);
  return a->json ? cli_put_json(json_pack("{s:o}", "formats", list)) : EXIT_DONE;
}
