// Private to report: pages from templates in web/.
#ifndef ISO_REPORT_TEMPLATE_H
#define ISO_REPORT_TEMPLATE_H
#include "base/json.h"
#include "base/str.h"

// {{name}} is what `write` appends; {{?name}} ... {{/name}} is kept or dropped as `keep` says. Blocks do not nest.
typedef struct iso_template {
  const char *what, *text;                                        // borrowed: the file, for messages; its bytes
  const void *self;                                               // borrowed: handed to both
  bool (*write)(const void *self, const char *name, iso_str *s);  // false: there is no such name
  int (*keep)(const void *self, const char *name);                // 1 or 0; -1: there is no such block
} iso_template;
// ISO_EBUG for a name or a block that nobody knows.
iso_status iso_template_fill(const iso_template *t, iso_str *s, iso_err *err);
// JSON for a script block: nothing in it can end the block. NULL marks the text as failed.
void iso_template_json(const json_t *j, iso_str *s);
#endif
