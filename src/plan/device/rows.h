// Measured operator times from CSV files: one row per shape, in canonical columns and seconds.
#ifndef ISO_PLAN_DEVICE_ROWS_H
#define ISO_PLAN_DEVICE_ROWS_H
#include "base/csv.h"

// What is measured. Columns of `shape`, in this order:
//   gemm        m n k                                 C(m,n) = A(m,k) B(k,n)
//   prefill     batch tokens heads kv_heads head_dim  causal attention of B x T new tokens on themselves (B, T, H, K, Hd)
//   decode      the same                              one new token per sequence; tokens = what is cached
//   collective  op gpus bytes                         op is an iso_coll; bytes = the whole buffer (NCCL's "size": what every device holds
//                                                     after all_gather and all_reduce and before reduce_scatter and alltoall)
typedef enum iso_table_kind { ISO_TABLE_gemm, ISO_TABLE_prefill, ISO_TABLE_decode, ISO_TABLE_collective, ISO_TABLE_COUNT } iso_table_kind;
enum { ISO_ROW_COLS_MAX = 5 };
const char *iso_table_name(iso_table_kind k);
int iso_table_cols(iso_table_kind k);
const char *iso_table_col(iso_table_kind k, int col);

typedef enum iso_coll { ISO_COLL_all_gather, ISO_COLL_all_reduce, ISO_COLL_alltoall, ISO_COLL_reduce_scatter, ISO_COLL_COUNT } iso_coll;
const char *iso_coll_name(iso_coll c);
iso_status iso_coll_find(const char *name, iso_coll *out, iso_err *err);

typedef struct iso_rows {
  iso_table_kind kind;
  int64_t n;
  double *shape;   // owned: n x iso_table_cols(kind)
  double *time_s;  // n
  int64_t *line;   // n: line of the file, for messages
} iso_rows;

// Memory for n rows. Close with iso_rows_close.
iso_status iso_rows_open(iso_table_kind kind, int64_t n, iso_rows *out, iso_err *err);
void iso_rows_close(iso_rows *r);
// Appends the rows of b, of the same kind, to a.
iso_status iso_rows_join(iso_rows *a, const iso_rows *b, iso_err *err);

// Columns (any order, others are ignored): those of the kind by name, and one of time_s, time_ms, time_us, time_ns. A collective's
// size may be `elements`, of element_b bytes each. Without op it is all_reduce; without gpus, busbw_gbs gives them: bus bandwidth is
// bytes / time x 2 (g - 1) / g (nccl-tests, doc/PERFORMANCE.md). ISO_EFORMAT names the line for missing or doubled columns, empty fields, values that
// are not positive finite numbers, dimensions that are not integers of at most 2^40, heads that are no multiple of kv_heads, fewer than
// 2 devices, unknown ops, rows of the wrong length, and files without rows. `what` names the source.
iso_status iso_rows_parse(const char *text, size_t n, const char *what, iso_table_kind kind, double element_b, iso_rows *out, iso_err *err);
iso_status iso_rows_load(const char *path, iso_table_kind kind, double element_b, iso_rows *out, iso_err *err);
#endif
