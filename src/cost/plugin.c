// Looking plugins up by name and running their selftests.
#include "cost/plugin.h"

#include <string.h>

#include "base/str.h"

iso_status iso_plugin_find(const iso_plugin *const *list, int64_t n, const char *kind, const char *name, const iso_plugin **out, iso_err *err) {
  const char *best = NULL;
  *out = NULL;
  for (int64_t i = 0; i < n; i++) {
    if (strcmp(list[i]->name, name) == 0) {
      *out = list[i];
      return ISO_OK;
    }
    if (!best || iso_str_distance(name, list[i]->name) < iso_str_distance(name, best)) best = list[i]->name;
  }
  iso_str names = {0};
  for (int64_t i = 0; i < n; i++) iso_str_fmt(&names, "%s%s", i ? ", " : "", list[i]->name);
  iso_fail(err, ISO_EINVAL, "unknown %s \"%.60s\"; known: %s", kind, name, names.p ? names.p : "none");
  iso_str_free(&names);
  if (best && iso_str_near(best, name)) iso_hint(err, ISO_EINVAL, "did you mean \"%s\"?", best);
  return ISO_EINVAL;
}

iso_status iso_plugin_selftest(const iso_plugin *const *list, int64_t n, const char *kind, iso_ctx *c, iso_err *err) {
  for (int64_t i = 0; i < n; i++) {
    iso_status st = list[i]->selftest(c, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "selftest of %s %s", kind, list[i]->name);
  }
  return ISO_OK;
}
