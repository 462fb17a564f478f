// Prints what formats lose on Gaussian numbers.
#include "cli/law_gmse.h"

#include <math.h>

#include "plan/format_mse.h"

int cli_law_gmse(const cli_args *a) {
  json_t *list = json_array();
  for (int i = 1; i < a->n_pos; i++) {
    iso_gmse g;
    iso_err err = {0};
    iso_status st = iso_gmse_format(a->pos[i], &g, &err);
    if (st != ISO_OK) {
      json_decref(list);
      return cli_fail(a, st, &err);
    }
    if (a->json) {
      json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o}", "format", a->pos[i], "gmse", iso_json_num(g.mse), "bits", iso_json_num(g.bits),
                                            "scale", iso_json_num(g.scale)));
      continue;
    }
    if (i == 1) printf("%-14s %14s %12s %12s\n", "format", "gmse", "ideal bits", "scale");
    printf("%-14s %14.6g %12.4f", a->pos[i], g.mse, g.bits);
    if (isfinite(g.scale)) printf(" %12.5g", g.scale);
    printf("\n");
  }
  if (a->json) return cli_put_json(json_pack("{s:o}", "formats", list));
  json_decref(list);
  return EXIT_DONE;
}
