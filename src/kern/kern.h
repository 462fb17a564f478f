// The kernel table: one function per slot, chosen once for the CPU; `ref` computes in f64 and counts what it does.
#ifndef ISO_KERN_KERN_H
#define ISO_KERN_KERN_H
#include "base/ctx.h"
#include "base/pool.h"
#include "tensor/dtype.h"

typedef enum iso_kslot {
#define X(name, doc) ISO_K_##name,
#include "kern/slots.def"
#undef X
  ISO_K_COUNT
} iso_kslot;

// Numbers that change from step to step; read by loss and optimizer kernels, written by the training loop.
typedef struct iso_hyp {
  double lr;  // learning rate of this step, before a tensor's own factor
  double beta1, beta2, eps, weight_decay;
  double bias1, bias2;  // 1 - beta^step, for AdamW's bias correction
  double momentum;      // Muon
  double muon_lr, muon_decay;
  int ns_steps;       // Newton-Schulz iterations of Muon
  double loss_scale;  // gradient of the loss sum: 1 / (tokens of the whole batch)
  double clip;        // largest global gradient norm, 0 = none
  double grad_sumsq;  // sum of squares of all gradients, filled by the sumsq kernels
} iso_hyp;
// min(1, clip / (norm + 1e-6)), the factor of global-norm clipping (Pascanu et al. 2013, as PyTorch computes it).
double iso_hyp_clip_factor(const iso_hyp *h);

// Operations that a reference kernel has done: matrix products (multiply and add are two) and everything else.
typedef struct iso_kcount {
  double mat_flop, vec_flop;
} iso_kcount;

enum { ISO_K_OPERANDS = 8, ISO_K_DIMS = 8, ISO_K_ATTRS = 4 };

// One kernel call, ready to run. What p, d and a mean stands in slots.def.
typedef struct iso_kcall {
  iso_pool *pool;  // borrowed
  void *p[ISO_K_OPERANDS];
  unsigned narrow;  // bit i: operand i is kept as bf16; only where the table and the op (graph/op.h) allow it
  int64_t d[ISO_K_DIMS];
  double a[ISO_K_ATTRS];
  unsigned char *scratch;  // iso_kern_scratch() bytes, 64-byte aligned; nothing in it outlives the call
  iso_kcount *count;       // ref kernels only; may be NULL
} iso_kcall;

typedef void (*iso_kern_fn)(const iso_kcall *c);

typedef struct iso_kern_probes iso_kern_probes;  // kern/probe.h
typedef struct iso_bf16_ops iso_bf16_ops;        // kern/gemm.h

struct iso_kern_table {
  const char *name;  // "ref", "generic", "avx2", "avx512"
  iso_dtype elem;    // f64 for ref, else f32
  iso_kern_fn fn[ISO_K_COUNT];
  // Bytes of scratch that slot `s` needs for dimensions d with `threads` workers.
  size_t (*scratch)(iso_kslot s, const int64_t *d, int threads);
  const iso_bf16_ops *bf16;       // how its products round; NULL: they do not
  bool narrow;                    // takes activations that only products and their like see as bf16
  const iso_kern_probes *probes;  // what calibration measures the instruction set with; NULL for ref
};

extern const iso_kern_table iso_kern_ref;
// How matrix products round their operands: f32 as they are, bf16 to eight bits of mantissa (products and sums stay f32).
typedef enum iso_precision { ISO_PREC_f32, ISO_PREC_bf16 } iso_precision;
// The best table that this CPU and the operating system support (CPUID and XCR0), or the one named in
// ISOFLOP_KERNELS (ref is not offered: its element type differs). bf16 is emulated (rounded operands, f32 product)
// where the CPU has no bf16 instructions, or none that multiply faster than f32 (iso_cpu_dots_pay).
iso_status iso_kern_select(iso_precision prec, const iso_kern_table **out, iso_err *err);
const char *iso_kslot_name(iso_kslot s);
#endif
