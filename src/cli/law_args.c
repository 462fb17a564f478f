// Parses the inputs of a law.
#include "cli/law_args.h"

#include <math.h>
#include <string.h>

static iso_status read_value(const char *s, const char *what, double *out, iso_err *err) {
  static const iso_unit UNIT[] = {ISO_UNIT_COUNT, ISO_UNIT_TOK, ISO_UNIT_FLOP};
  iso_err e = {0};
  for (size_t i = 0; i < ISO_COUNT(UNIT); i++)
    if (iso_unit_parse(s, UNIT[i], out, &e) == ISO_OK)
      return *out >= 0 ? ISO_OK : iso_fail(err, ISO_EINVAL, "%s: %s, expected a positive number", what, s);
  return iso_fail(err, ISO_EINVAL, "%s: '%.60s', expected a number as in 70B or 1.4e12", what, s);
}

iso_status cli_law_inputs(const iso_law *law, const char *text, const char *what, double *x, iso_err *err) {
  int place = 0;
  iso_law_absent(law, x);
  for (const char *s = text;; s++) {
    char part[120], *eq;
    size_t n = strcspn(s, ",");
    if (n == 0 || n >= sizeof part) return iso_fail(err, ISO_EINVAL, "%s %.80s: expected NAME=VALUE,... as in params=70B,tokens=1.4T", what, text);
    memcpy(part, s, n);
    part[n] = 0;
    eq = strchr(part, '=');
    int k = -1;
    if (eq) {
      *eq = 0;
      k = iso_law_input_find(law, part);
      if (k < 0) {
        iso_fail(err, ISO_EINVAL, "%s: law %s has no input called %s", what, law->base.name, part);
        return iso_hint(err, ISO_EINVAL, "isoflop law show %s lists them", law->base.name);
      }
    } else if (law->n_inputs == 1 && place == 0) {
      k = 0;
    } else if (law->at_params >= 0 && law->at_tokens >= 0 && place < 2) {
      k = place == 0 ? law->at_params : law->at_tokens;
    } else {
      return iso_fail(err, ISO_EINVAL, "%s %.80s: expected NAME=VALUE,... as in params=70B,tokens=1.4T", what, text);
    }
    place++;
    ISO_TRY(read_value(eq ? eq + 1 : part, what, &x[k], err));
    s += n;
    if (!*s) break;
  }
  return iso_law_check_inputs(law, x, err);
}

iso_status cli_law_best(const iso_law *law, const char *text, int *k, double *x, iso_err *err) {
  char name[120], all[700];
  size_t n = strcspn(text, ",");
  if (n == 0 || n >= sizeof name) return iso_fail(err, ISO_EINVAL, "--best %.80s: expected INPUT,NAME=VALUE,...", text);
  memcpy(name, text, n);
  name[n] = 0;
  *k = iso_law_input_find(law, name);
  if (*k < 0) {
    iso_fail(err, ISO_EINVAL, "--best: law %s has no input called %s", law->base.name, name);
    return iso_hint(err, ISO_EINVAL, "isoflop law show %s lists them", law->base.name);
  }
  // Any value will do for the input that is looked for.
  if ((size_t)snprintf(all, sizeof all, "%s=1%s", law->input[*k].name, text + n) >= sizeof all)
    return iso_fail(err, ISO_EINVAL, "--best %.80s...: too long", text);
  iso_law_absent(law, x);
  return cli_law_inputs(law, all, "--best", x, err);
}

void cli_law_inputs_text(const iso_law *law, const double *x, char *buf, size_t n) {
  *buf = 0;
  for (int i = 0; i < law->n_inputs; i++) {
    size_t a = strlen(buf);
    if (isfinite(x[i])) (void)snprintf(buf + a, n - a, "%s%s = %.6g", a ? ", " : "", law->input[i].name, x[i]);
  }
}
