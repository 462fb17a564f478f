// Any bytes as a budget: refused with a reason, or printed and read back to the same limits; the same for its JSON form.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cost/budget.h"

static void check(bool ok) {
  if (!ok) abort();
}

static void as_text(const char *text) {
  iso_budget b, again = iso_budget_none();
  iso_err e = {0};
  if (iso_budget_parse(text, &b, &e) != ISO_OK) {
    check(e.msg[0] != 0);
    return;
  }
  iso_str s = {0};
  iso_budget_print(&b, &s);
  check(iso_budget_is_bounded(&b) && iso_budget_parse(s.p, &again, &e) == ISO_OK);
  check(memcmp(&b, &again, sizeof b) == 0);
  iso_str_free(&s);
}

static void as_json(const char *text, size_t n) {
  json_t *j;
  iso_budget b, again;
  iso_cost c;
  iso_err e = {0};
  if (iso_json_parse(text, n, "fuzz", &j, &e) != ISO_OK) return;
  if (iso_budget_from_json(j, "fuzz", &b, &e) == ISO_OK) {
    json_t *k = iso_budget_json(&b);
    check(k && iso_budget_from_json(k, "fuzz", &again, &e) == ISO_OK && memcmp(&b, &again, sizeof b) == 0);
    json_decref(k);
  }
  if (iso_cost_from_json(j, "fuzz", &c, &e) == ISO_OK) json_decref(iso_cost_json(&c));
  json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  if (!text) return 0;
  if (size) memcpy(text, data, size);
  text[size] = 0;
  as_text(text);
  as_json(text, size);
  free(text);
  return 0;
}
