// Request traces: arrival, prompt and output tokens; read from CSV, drawn from another trace, summed up, cut into size buckets.
#ifndef ISO_PLAN_SERVE_TRACE_H
#define ISO_PLAN_SERVE_TRACE_H
#include "base/json.h"

enum { ISO_TRACE_TOKENS_MAX = 1 << 24, ISO_BUCKETS_MAX = 128 };

typedef struct iso_serve_request {
  double arrival_s;  // from the first request's
  int32_t prompt, output;
} iso_serve_request;

typedef struct iso_serve_trace {
  iso_serve_request *at;  // owned; ordered by arrival
  int64_t n;
} iso_serve_trace;

// Azure's format (AzurePublicDataset, AzureLLMInferenceTrace_*.csv): columns TIMESTAMP (YYYY-MM-DD hh:mm:ss with a fraction, or seconds),
// ContextTokens, GeneratedTokens; the names arrival_s, prompt_tok, output_tok do as well. Rows are sorted by arrival. ISO_EFORMAT names line and
// column: tokens outside 1 to 2^24, a time that is none. Close with iso_serve_trace_close.
iso_status iso_serve_trace_load(const char *path, iso_serve_trace *out, iso_err *err);
// The same from text.
iso_status iso_serve_trace_parse(const char *text, size_t n, const char *what, iso_serve_trace *out, iso_err *err);
// n requests with Poisson arrivals at `rate` a second, sizes drawn with replacement from `from`.
iso_status iso_serve_trace_draw(const iso_serve_trace *from, int64_t n, double rate, uint64_t seed, iso_serve_trace *out, iso_err *err);
void iso_serve_trace_close(iso_serve_trace *t);

typedef struct iso_trace_stats {
  int64_t n;
  double span_s, rate;  // last arrival; requests over it
  double prompt_median, prompt_mean, prompt_p99, output_median, output_mean, output_p99;
  double gap_cv;  // standard deviation over mean of the gaps between arrivals; NaN below three requests
} iso_trace_stats;
iso_status iso_serve_trace_stats(const iso_serve_trace *t, iso_trace_stats *out, iso_err *err);
json_t *iso_trace_stats_json(const iso_trace_stats *s);

// Requests of similar size; the boundaries are Melange's (arXiv:2404.14527): 25, 100, 250, 500, 1,000, then doubling.
typedef struct iso_bucket {
  int cell;               // iso_bucket_cell of its requests
  double prompt, output;  // means of the requests in it
  double share;           // of all requests
} iso_bucket;
// Empty buckets are left out. ISO_EINVAL for an empty trace.
iso_status iso_serve_buckets(const iso_serve_trace *t, iso_bucket *out, int *n, iso_err *err);
// The bucket of a size, by the same boundaries, an index from 0 to ISO_BUCKETS_MAX - 1.
int iso_bucket_cell(double prompt, double output);
#endif
