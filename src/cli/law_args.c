// Parses the inputs of a law.
#include "cli/law_args.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static iso_status read_value(const char *s, const char *what, double *out, iso_err *err) {
  static const iso_unit UNIT[] = {ISO_UNIT_COUNT, ISO_UNIT_TOK, ISO_UNIT_FLOP};
  iso_err e = {0};
  for (size_t i = 0; i < ISO_COUNT(UNIT); i++)
    if (iso_unit_parse(s, UNIT[i], out, &e) == ISO_OK)
      return *out >= 0 ? ISO_OK : iso_fail(err, ISO_EINVAL, "%s: %s, expected a positive number", what, s);
  return iso_fail(err, ISO_EINVAL, "%s: '%.60s', expected a number as in 70B or 1.4e12", what, s);
}

// Cuts the next "NAME=VALUE" off *s into part; NULL after the last.
static iso_status next_part(const char **s, const char *text, const char *what, char *part, size_t size, iso_err *err) {
  size_t n = strcspn(*s, ",");
  if (n == 0 || n >= size) return iso_fail(err, ISO_EINVAL, "%s %.80s: expected NAME=VALUE,... as in params=70B,tokens=1.4T", what, text);
  memcpy(part, *s, n);
  part[n] = 0;
  *s = (*s)[n] ? *s + n + 1 : NULL;
  return ISO_OK;
}

iso_status cli_law_inputs(const iso_law *law, const char *text, const char *what, double *x, iso_err *err) {
  ISO_TRY(cli_law_some_inputs(law, text, what, x, err));
  return iso_law_check_inputs(law, x, err);
}

static int constant_find(const iso_law *law, const char *name, bool *by_name) {
  int k = iso_law_param_find(law, name);
  *by_name = k >= 0;
  for (int i = 0; k < 0 && i < law->n_params; i++)
    if (strcmp(law->param[i].sign, name) == 0) k = i;
  return k;
}

iso_status cli_law_constants(const iso_law *law, const char *text, const iso_law_const *base, iso_law_const *out, iso_err *err) {
  bool have[ISO_LAW_PARAM_MAX] = {false}, by_name;
  bool rest = base && base->confirmed;
  *out = (iso_law_const){.name = "given", .confirmed = true, .source = rest ? base->source : "constants given on the command line"};
  if (rest) memcpy(out->p, base->p, sizeof out->p);
  for (const char *s = text; s;) {
    char part[120], *eq, *end;
    ISO_TRY(next_part(&s, text, "--with", part, sizeof part, err));
    eq = strchr(part, '=');
    if (!eq) return iso_fail(err, ISO_EINVAL, "--with %.80s: expected NAME=VALUE,... as in alpha=0.34", text);
    *eq = 0;
    int k = constant_find(law, part, &by_name);
    if (k < 0) {
      iso_fail(err, ISO_EINVAL, "--with: law %s has no constant called %s", law->base.name, part);
      return iso_hint(err, ISO_EINVAL, "its constants are those of the formula %s", law->formula);
    }
    double v = strtod(eq + 1, &end);
    if (end == eq + 1 || *end || !isfinite(v)) return iso_fail(err, ISO_EINVAL, "--with: %s = '%.40s', expected a number", part, eq + 1);
    bool by_log = law->param[k].is_log && !by_name;
    if (by_log && !(v > 0)) return iso_fail(err, ISO_EINVAL, "--with: %s = %g, it must be positive in this law", part, v);
    out->p[k] = by_log ? log(v) : v;
    have[k] = true;
  }
  for (int k = 0; k < law->n_params && !rest; k++)
    if (!have[k])
      return iso_fail(err, ISO_EINVAL, "--with: %s is missing: law %s has no confirmed set to take it from", law->param[k].sign, law->base.name);
  return ISO_OK;
}

void cli_law_best_range(const iso_law *law, int k, double *lo, double *hi) {
  static const char *const SHARE[] = {"active_share", "density", "chance", "ceiling"};
  *lo = 1e-6;
  *hi = 1e30;
  for (size_t i = 0; i < ISO_COUNT(SHARE); i++)
    if (strcmp(law->input[k].name, SHARE[i]) == 0) *hi = 1;
}

iso_status cli_law_some_inputs(const iso_law *law, const char *text, const char *what, double *x, iso_err *err) {
  int place = 0;
  iso_law_absent(law, x);
  for (const char *s = text; s;) {
    char part[120], *eq;
    ISO_TRY(next_part(&s, text, what, part, sizeof part, err));
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
  }
  return ISO_OK;
}

iso_status cli_law_best(const iso_law *law, const char *text, int *k, double *x, iso_err *err) {
  ISO_TRY(cli_law_some_best(law, text, k, x, err));
  return iso_law_check_inputs(law, x, err);
}

iso_status cli_law_some_best(const iso_law *law, const char *text, int *k, double *x, iso_err *err) {
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
  return cli_law_some_inputs(law, all, "--best", x, err);
}

void cli_law_inputs_text(const iso_law *law, const double *x, char *buf, size_t n) {
  *buf = 0;
  for (int i = 0; i < law->n_inputs; i++) {
    size_t a = strlen(buf);
    if (isfinite(x[i])) (void)snprintf(buf + a, n - a, "%s%s = %.6g", a ? ", " : "", law->input[i].name, x[i]);
  }
}
