// Probes of the machine: arithmetic on registers, reads of a buffer, and oneDNN products, on all workers at once.
#ifndef ISO_KERN_PROBE_H
#define ISO_KERN_PROBE_H
#include "kern/cpuid.h"
#include "kern/kern.h"

// Inner loops of one instruction set, on the calling thread; each returns the operations (multiply and add are two) or bytes of its loop.
// *sink takes a value that depends on all of it, so that nothing is optimised away. NULL: the instruction set has no such instruction.
// What needs more than the table's own instruction set says so; iso_probe_arith checks it.
struct iso_kern_probes {
  double (*fma_f32)(int64_t rounds, float *sink);          // independent fused multiply-adds
  double (*dot_bf16)(int64_t rounds, float *sink);         // vdpbf16ps; needs avx512_bf16
  double (*dot_int8)(int64_t rounds, float *sink);         // u8 x s8 with i32 sums: vpdpbusd; needs avx512_vnni
  double (*read)(const float *p, int64_t n, float *sink);  // sums n floats (a multiple of 256)
};

// Number classes that peaks are told for.
typedef enum iso_probe_class { ISO_PROBE_f32, ISO_PROBE_bf16, ISO_PROBE_int8, ISO_PROBE_CLASSES } iso_probe_class;

// Operations per second with operands in registers, summed over the context's workers, all busy for `seconds` on the context's clock.
// NaN when `kern` or the CPU has no instruction for the class.
double iso_probe_arith(const iso_ctx *c, const iso_kern_table *kern, iso_probe_class k, double seconds);
// Bytes per second read by all workers, each from its own part of `bytes` / threads of buf (64-byte aligned, at least 1 KiB a worker),
// over and over for `seconds`.
double iso_probe_read(const iso_ctx *c, const iso_kern_table *kern, const float *buf, size_t bytes, double seconds);

// A dense product C[m,n] = A' B', row-major, A' = A[m,k] or the transpose of A[k,m] (ta), B' likewise. Rows are `pad` elements longer than
// their columns: powers of two make cache sets collide.
typedef struct iso_probe_product {
  iso_probe_class cls;  // bf16 sums in f32; int8 is u8 x s8 with i32 sums
  bool ta, tb;
  int64_t m, n, k, pad;
} iso_probe_product;
// How it is shared among threads.
typedef enum iso_probe_share {
  ISO_PROBE_TILES,   // f32: tiles of kern/gemm.h on our pool; others: one block of rows a worker
  ISO_PROBE_OPENMP,  // one call, oneDNN's own threads
  ISO_PROBE_SHARES
} iso_probe_share;
// Bytes of buffer that it needs (64-byte aligned): A, B, C.
size_t iso_probe_product_bytes(const iso_probe_product *p);
// Puts small numbers into the operands in buf.
void iso_probe_product_fill(const iso_probe_product *p, unsigned char *buf);
// Runs it once through oneDNN: 2 m n k operations. False when oneDNN refuses it or has no threads of its own.
bool iso_probe_product_run(const iso_ctx *c, const iso_probe_product *p, iso_probe_share share, unsigned char *buf);
#endif
