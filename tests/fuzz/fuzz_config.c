// Model configs, training options and Hugging Face configs from hostile JSON: an error or a config that passes its own check.
#include <stdlib.h>
#include <string.h>

#include "model/arch.h"
#include "train/trainer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  iso_err err = {0};
  json_t *j = NULL;
  iso_model_config c;
  iso_train_opts o = iso_train_defaults();
  const iso_arch *arch;
  if (iso_json_parse((const char *)data, size, "fuzz", &j, &err) != ISO_OK) return 0;
  if (iso_config_from_json(j, &c, &err) == ISO_OK && iso_config_check(&c, &err) != ISO_OK) abort();
  if (iso_train_opts_from_json(j, &o, &err) == ISO_OK && iso_train_opts_check(&o, &err) != ISO_OK) abort();
  const char *type = json_string_value(json_object_get(j, "model_type"));
  if (type && iso_arch_find_hf(type, &arch, &err) == ISO_OK && arch->from_hf(j, &c, &err) == ISO_OK && iso_config_check(&c, &err) != ISO_OK) abort();
  json_decref(j);
  return 0;
}
