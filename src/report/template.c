// Fills a template.
#include "report/template.h"

#include <stdlib.h>
#include <string.h>

static iso_status bad(const iso_template *t, const char *name, size_t n, iso_err *err) {
  return iso_fail(err, ISO_EBUG, "%s: {{%.*s}} is unknown or not closed", t->what, (int)(n < 40 ? n : 40), name);
}

iso_status iso_template_fill(const iso_template *t, iso_str *s, iso_err *err) {
  const char *at = t->text;
  for (;;) {
    const char *open = strstr(at, "{{");
    if (!open) break;
    iso_str_put(s, at, (size_t)(open - at));
    const char *name = open + 2, *close = strstr(name, "}}");
    if (!close) return bad(t, name, strlen(name), err);
    bool block = *name == '?', end = *name == '/';
    name += block || end;
    size_t n = (size_t)(close - name);
    char key[40], mark[48];
    if (n >= sizeof key) return bad(t, name, n, err);
    memcpy(key, name, n);
    key[n] = 0;
    at = close + 2;
    int keep = block || end ? t->keep(t->self, key) : 1;
    if (keep < 0 || (!block && !end && !t->write(t->self, key, s))) return bad(t, name, n, err);
    if (!block || keep) continue;
    (void)snprintf(mark, sizeof mark, "{{/%s}}", key);
    const char *past = strstr(at, mark);
    if (!past) return bad(t, name, n, err);
    at = past + strlen(mark);
  }
  iso_str_add(s, at);
  return ISO_OK;
}

// '<' appears in JSON only inside strings, so its escape there is always valid, and no "</script" or "<!--" can end the block.
void iso_template_json(const json_t *j, iso_str *s) {
  char *text = j ? json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17)) : NULL;
  if (!text) s->failed = true;
  for (const char *p = text; p && *p;) {
    size_t n = strcspn(p, "<");
    iso_str_put(s, p, n);
    p += n;
    if (*p) {
      iso_str_add(s, "\\u003c");
      p++;
    }
  }
  free(text);
}
