// What all plugins share: a name with one spelling everywhere, its paper, and a selftest with an oracle.
#ifndef ISO_COST_PLUGIN_H
#define ISO_COST_PLUGIN_H
#include "base/ctx.h"

// First member of every kind's vtable, so that lists of any kind can be searched and printed alike.
typedef struct iso_plugin {
  const char *name;     // as in file, symbol, flag, JSON and SQL, without the kind's prefix
  const char *summary;  // one line
  const char *paper;    // citation
  iso_status (*selftest)(iso_ctx *c, iso_err *err);
} iso_plugin;

// Finds `name` among n plugins of a kind ("optimizer", "law"); ISO_EINVAL with "did you mean" and the names when it is unknown.
iso_status iso_plugin_find(const iso_plugin *const *list, int64_t n, const char *kind, const char *name, const iso_plugin **out, iso_err *err);
// Runs every selftest in turn; the first failure names its plugin.
iso_status iso_plugin_selftest(const iso_plugin *const *list, int64_t n, const char *kind, iso_ctx *c, iso_err *err);
#endif
