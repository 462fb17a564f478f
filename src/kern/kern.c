// Which table this CPU runs, and the names of slots.
#include "kern/kern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kern/cpuid.h"

extern const iso_kern_table iso_kern_generic, iso_kern_generic_bf16;
#if defined(__x86_64__)
extern const iso_kern_table iso_kern_avx2, iso_kern_avx2_bf16, iso_kern_avx512, iso_kern_avx512_bf16, iso_kern_avx512_native_bf16, iso_kern_amx_bf16;
#endif

static const char *const SLOT_NAMES[ISO_K_COUNT] = {
#define X(name, doc) [ISO_K_##name] = #name,
#include "kern/slots.def"
#undef X
};

const char *iso_kslot_name(iso_kslot s) { return SLOT_NAMES[s]; }

double iso_hyp_clip_factor(const iso_hyp *h) {
  if (!(h->clip > 0)) return 1.0;
  double f = h->clip / (sqrt(h->grad_sumsq) + 1e-6);
  return f < 1.0 ? f : 1.0;
}

iso_status iso_kern_select(iso_precision prec, const iso_kern_table **out, iso_err *err) {
  iso_cpu_words w;
  iso_cpu_read(&w);
  iso_cpu cpu = iso_cpu_decode(&w);
  const char *want = getenv("ISOFLOP_KERNELS");
  bool any = !want || !*want, bf16 = prec == ISO_PREC_bf16;
  if (any || strcmp(want, "generic") == 0)
    *out = bf16 ? &iso_kern_generic_bf16 : &iso_kern_generic;
  else
    *out = NULL;
#if defined(__x86_64__)
  if (cpu.avx2 && (any || strcmp(want, "avx2") == 0)) *out = bf16 ? &iso_kern_avx2_bf16 : &iso_kern_avx2;
  bool tiles = cpu.amx_bf16 && cpu.avx512_bf16 && (any || strcmp(want, "amx") == 0);
  bool dots = !any && cpu.avx512_bf16 && strcmp(want, "avx512-bf16") == 0;
  if (cpu.avx512 && (any || tiles || dots || strcmp(want, "avx512") == 0))
    *out = !bf16 ? &iso_kern_avx512 : dots || iso_cpu_dots_pay(&cpu) ? &iso_kern_avx512_native_bf16 : &iso_kern_avx512_bf16;
  if (bf16 && tiles && iso_cpu_allow_tiles()) *out = &iso_kern_amx_bf16;
#endif
  if (*out) return ISO_OK;
  iso_fail(err, ISO_EUNSUP, "ISOFLOP_KERNELS=%s: this CPU cannot run these kernels, or there are none of that name", want);
  return iso_hint(err, ISO_EUNSUP, "generic, avx2, avx512, avx512-bf16 and amx exist; unset it to choose automatically");
}
