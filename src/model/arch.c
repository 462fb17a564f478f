// Finding architectures by name.
#include "model/arch.h"

#include <string.h>

#include "base/str.h"

static const iso_arch *const ARCHS[] = {
#define X(name) &iso_arch_##name,
#include "model/archs.def"
#undef X
};

iso_status iso_arch_find(const char *name, const iso_arch **out, iso_err *err) {
  const char *best = ARCHS[0]->name;
  for (size_t i = 0; i < ISO_COUNT(ARCHS); i++) {
    if (strcmp(ARCHS[i]->name, name) == 0) {
      *out = ARCHS[i];
      return ISO_OK;
    }
    if (iso_str_distance(name, ARCHS[i]->name) < iso_str_distance(name, best)) best = ARCHS[i]->name;
  }
  iso_fail(err, ISO_EINVAL, "no architecture \"%.40s\"", name);
  return iso_str_near(best, name) ? iso_hint(err, ISO_EINVAL, "did you mean \"%s\"?", best) : ISO_EINVAL;
}

iso_status iso_arch_find_hf(const char *hf_type, const iso_arch **out, iso_err *err) {
  for (size_t i = 0; i < ISO_COUNT(ARCHS); i++)
    if (strcmp(ARCHS[i]->hf_type, hf_type) == 0) {
      *out = ARCHS[i];
      return ISO_OK;
    }
  return iso_fail(err, ISO_EUNSUP, "model_type \"%.40s\" is not one of llama, gpt2", hf_type);
}
