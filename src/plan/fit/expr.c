// Expressions: a recursive-descent parser into reverse Polish notation, and its evaluation.
#include "plan/fit/expr.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"

enum { OPS_MAX = 200, DEPTH_MAX = 40, TEXT_MAX = 4096 };

typedef enum op {
  OP_NUM,
  OP_NAME,
  OP_OR,
  OP_AND,
  OP_NOT,
  OP_LT,
  OP_LE,
  OP_GT,
  OP_GE,
  OP_EQ,
  OP_NE,
  OP_TEXT_EQ,
  OP_TEXT_NE,
  OP_ADD,
  OP_SUB,
  OP_MUL,
  OP_DIV,
  OP_NEG,
  OP_POW,
  OP_LOG,
  OP_EXP,
  OP_SQRT,
  OP_MIN,
  OP_MAX
} op;

typedef struct step {
  op op;
  double num;  // OP_NUM
  int name;    // OP_NAME, OP_TEXT_*
  int text;    // OP_TEXT_*: offset into the expression's texts
} step;

struct iso_expr {
  int n;
  step at[OPS_MAX];
  char text[TEXT_MAX];  // NUL-terminated texts, one after the other
};

typedef struct parser {
  const char *all, *p;
  iso_expr *e;
  int depth, used;  // of the text block
  iso_expr_name_fn name;
  void *self;
  iso_err *err;
} parser;

static iso_status bad(parser *s, const char *what) {
  return iso_fail(s->err, ISO_EINVAL, "expression '%.120s', at '%.30s': %s", s->all, *s->p ? s->p : "the end", what);
}

static void blanks(parser *s) {
  while (*s->p == ' ' || *s->p == '\t') s->p++;
}

static bool take(parser *s, const char *sign) {
  blanks(s);
  if (strncmp(s->p, sign, strlen(sign)) != 0) return false;
  s->p += strlen(sign);
  return true;
}

static iso_status emit(parser *s, step t) {
  if (s->e->n == OPS_MAX) return bad(s, "too long");
  s->e->at[s->e->n++] = t;
  return ISO_OK;
}

static iso_status parse_or(parser *s);

static bool name_start(char c) { return isalpha((unsigned char)c) || c == '_'; }

// A name, bare or between backquotes, in buf.
static iso_status read_name(parser *s, char *buf, size_t size) {
  const char *from = s->p;
  size_t n = 0;
  if (*from == '`') {
    const char *end = strchr(from + 1, '`');
    if (!end) return bad(s, "a backquote is not closed");
    n = (size_t)(end - ++from);
    s->p = end + 1;
  } else {
    while (name_start(from[n]) || isdigit((unsigned char)from[n]) || from[n] == '.') n++;
    s->p = from + n;
  }
  if (n == 0 || n >= size) return bad(s, "a name of this length is not possible");
  memcpy(buf, from, n);
  buf[n] = 0;
  return ISO_OK;
}

static iso_status keep_text(parser *s, const char *from, size_t n, int *at) {
  if (s->used + (int)n + 1 > TEXT_MAX) return bad(s, "too much text");
  memcpy(s->e->text + s->used, from, n);
  s->e->text[s->used + (int)n] = 0;
  *at = s->used;
  s->used += (int)n + 1;
  return ISO_OK;
}

static iso_status parse_function(parser *s, const char *name) {
  static const struct {
    const char *name;
    op op;
    int args;
  } F[] = {{"log", OP_LOG, 1}, {"exp", OP_EXP, 1}, {"sqrt", OP_SQRT, 1}, {"min", OP_MIN, 2}, {"max", OP_MAX, 2}};
  for (size_t i = 0; i < ISO_COUNT(F); i++) {
    if (strcmp(name, F[i].name) != 0) continue;
    for (int k = 0; k < F[i].args; k++) {
      if (k && !take(s, ",")) return bad(s, "expected a comma");
      ISO_TRY(parse_or(s));
    }
    if (!take(s, ")")) return bad(s, "expected )");
    return emit(s, (step){.op = F[i].op});
  }
  return bad(s, "no such function; there are log, exp, sqrt, min and max");
}

static iso_status parse_number(parser *s) {
  char buf[60];
  size_t n = 0;
  double v;
  const char *from = s->p;
  // Digits with an exponent, then a unit's letters.
  while (isdigit((unsigned char)from[n]) || from[n] == '.') n++;
  if ((from[n] == 'e' || from[n] == 'E') && (isdigit((unsigned char)from[n + 1]) || strchr("+-", from[n + 1])) && from[n + 1]) {
    n += 2;
    while (isdigit((unsigned char)from[n])) n++;
  }
  while (isalpha((unsigned char)from[n])) n++;
  if (n >= sizeof buf) return bad(s, "this is no number");
  memcpy(buf, from, n);
  buf[n] = 0;
  if (iso_unit_parse(buf, ISO_UNIT_COUNT, &v, NULL) != ISO_OK && iso_unit_parse(buf, ISO_UNIT_FLOP, &v, NULL) != ISO_OK &&
      iso_unit_parse(buf, ISO_UNIT_TOK, &v, NULL) != ISO_OK)
    return bad(s, "this is no number");
  s->p += n;
  return emit(s, (step){.op = OP_NUM, .num = v});
}

static iso_status parse_primary(parser *s) {
  blanks(s);
  if (take(s, "(")) {
    if (++s->depth > DEPTH_MAX) return bad(s, "too many parentheses");
    ISO_TRY(parse_or(s));
    s->depth--;
    return take(s, ")") ? ISO_OK : bad(s, "expected )");
  }
  if (isdigit((unsigned char)*s->p) || *s->p == '.') return parse_number(s);
  if (name_start(*s->p) || *s->p == '`') {
    char name[256];
    bool quoted = *s->p == '`';
    ISO_TRY(read_name(s, name, sizeof name));
    if (!quoted && take(s, "(")) {
      if (++s->depth > DEPTH_MAX) return bad(s, "too many parentheses");
      ISO_TRY(parse_function(s, name));
      s->depth--;
      return ISO_OK;
    }
    int k = s->name(s->self, name, s->err);
    return k < 0 ? s->err->status : emit(s, (step){.op = OP_NAME, .name = k});
  }
  return bad(s, "expected a number, a name or (");
}

static iso_status parse_unary(parser *s) {
  if (take(s, "-")) {
    if (++s->depth > DEPTH_MAX) return bad(s, "too many signs");
    ISO_TRY(parse_unary(s));
    s->depth--;
    return emit(s, (step){.op = OP_NEG});
  }
  ISO_TRY(parse_primary(s));
  if (!take(s, "^")) return ISO_OK;
  if (++s->depth > DEPTH_MAX) return bad(s, "too many powers");
  ISO_TRY(parse_unary(s));
  s->depth--;
  return emit(s, (step){.op = OP_POW});
}

static iso_status parse_product(parser *s) {
  ISO_TRY(parse_unary(s));
  for (;;) {
    op o = take(s, "*") ? OP_MUL : take(s, "/") ? OP_DIV : OP_NUM;
    if (o == OP_NUM) return ISO_OK;
    ISO_TRY(parse_unary(s));
    ISO_TRY(emit(s, (step){.op = o}));
  }
}

static iso_status parse_sum(parser *s) {
  ISO_TRY(parse_product(s));
  for (;;) {
    op o = take(s, "+") ? OP_ADD : take(s, "-") ? OP_SUB : OP_NUM;
    if (o == OP_NUM) return ISO_OK;
    ISO_TRY(parse_product(s));
    ISO_TRY(emit(s, (step){.op = o}));
  }
}

typedef enum side { SIDE_OTHER, SIDE_NAME, SIDE_TEXT } side;

// What stands at s->p: a text, a name that is no function, or something else (then s->p stays).
static iso_status read_side(parser *s, char *name, size_t size, int *text, side *kind) {
  blanks(s);
  *kind = SIDE_OTHER;
  if (*s->p == '\'' || *s->p == '"') {
    const char *end = strchr(s->p + 1, *s->p);
    if (!end) return bad(s, "a quote is not closed");
    ISO_TRY(keep_text(s, s->p + 1, (size_t)(end - s->p - 1), text));
    s->p = end + 1;
    *kind = SIDE_TEXT;
  } else if (name_start(*s->p) || *s->p == '`') {
    ISO_TRY(read_name(s, name, size));
    *kind = SIDE_NAME;
  }
  return ISO_OK;
}

// The comparison of a name with a text, either way round. *done is false, and nothing read, when something else stands there.
static iso_status parse_text(parser *s, bool *done) {
  const char *from = s->p;
  char name[256];
  side a, b;
  int text = 0;
  *done = false;
  ISO_TRY(read_side(s, name, sizeof name, &text, &a));
  blanks(s);
  bool ne = strncmp(s->p, "!=", 2) == 0;
  if (a == SIDE_OTHER || (!ne && strncmp(s->p, "==", 2) != 0)) {
    if (a == SIDE_TEXT) return bad(s, "a text can only be compared by == and !=");
    s->p = from;
    return ISO_OK;
  }
  s->p += 2;
  blanks(s);
  // Two names are compared as numbers.
  if (a == SIDE_NAME && *s->p != '\'' && *s->p != '"') {
    s->p = from;
    return ISO_OK;
  }
  ISO_TRY(read_side(s, name, sizeof name, &text, &b));
  if (a == b || b == SIDE_OTHER) return bad(s, "a text can only be compared with a name");
  int k = s->name(s->self, name, s->err);
  if (k < 0) return s->err->status;
  *done = true;
  return emit(s, (step){.op = ne ? OP_TEXT_NE : OP_TEXT_EQ, .name = k, .text = text});
}

static iso_status parse_comparison(parser *s) {
  static const struct {
    const char *sign;
    op op;
  } C[] = {{"<=", OP_LE}, {">=", OP_GE}, {"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT}, {">", OP_GT}};
  bool done;
  ISO_TRY(parse_text(s, &done));
  if (done) return ISO_OK;
  ISO_TRY(parse_sum(s));
  for (size_t i = 0; i < ISO_COUNT(C); i++) {
    if (!take(s, C[i].sign)) continue;
    ISO_TRY(parse_sum(s));
    return emit(s, (step){.op = C[i].op});
  }
  return ISO_OK;
}

static iso_status parse_not(parser *s) {
  blanks(s);
  if (*s->p != '!' || s->p[1] == '=') return parse_comparison(s);
  s->p++;
  if (++s->depth > DEPTH_MAX) return bad(s, "too many signs");
  ISO_TRY(parse_not(s));
  s->depth--;
  return emit(s, (step){.op = OP_NOT});
}

static iso_status parse_and(parser *s) {
  ISO_TRY(parse_not(s));
  while (take(s, "&&")) {
    ISO_TRY(parse_not(s));
    ISO_TRY(emit(s, (step){.op = OP_AND}));
  }
  return ISO_OK;
}

static iso_status parse_or(parser *s) {
  ISO_TRY(parse_and(s));
  while (take(s, "||")) {
    ISO_TRY(parse_and(s));
    ISO_TRY(emit(s, (step){.op = OP_OR}));
  }
  return ISO_OK;
}

iso_status iso_expr_open(const char *text, iso_expr_name_fn name, void *self, iso_expr **out, iso_err *err) {
  iso_err own = {0};
  iso_expr *e = calloc(1, sizeof *e);
  *out = NULL;
  if (!e) return iso_fail(err, ISO_ENOMEM, "no memory for an expression");
  parser s = {.all = text, .p = text, .e = e, .name = name, .self = self, .err = err ? err : &own};
  iso_status st = parse_or(&s);
  blanks(&s);
  if (st == ISO_OK && *s.p) st = bad(&s, "expected an operator or the end");
  if (st != ISO_OK) {
    iso_expr_close(e);
    return st;
  }
  *out = e;
  return ISO_OK;
}

void iso_expr_close(iso_expr *e) { free(e); }

static double binary(op o, double a, double b) {
  switch (o) {
    case OP_OR: return a != 0 || b != 0;
    case OP_AND: return a != 0 && b != 0;
    case OP_LT: return a < b;
    case OP_LE: return a <= b;
    case OP_GT: return a > b;
    case OP_GE: return a >= b;
    case OP_EQ: return a == b;
    case OP_NE: return a != b;
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return a * b;
    case OP_DIV: return a / b;
    case OP_POW: return pow(a, b);
    case OP_MIN: return fmin(a, b);
    default: return fmax(a, b);
  }
}

iso_status iso_expr_eval(const iso_expr *e, iso_expr_num_fn num, iso_expr_text_fn text, void *self, double *out, iso_err *err) {
  double v[OPS_MAX];
  int n = 0;
  for (int i = 0; i < e->n; i++) {
    const step *t = &e->at[i];
    const char *got;
    switch (t->op) {
      case OP_NUM: v[n++] = t->num; break;
      case OP_NAME: ISO_TRY(num(self, t->name, &v[n++], err)); break;
      case OP_TEXT_EQ:
      case OP_TEXT_NE:
        ISO_TRY(text(self, t->name, &got, err));
        v[n++] = (strcmp(got, e->text + t->text) == 0) == (t->op == OP_TEXT_EQ);
        break;
      case OP_NOT: v[n - 1] = v[n - 1] == 0; break;
      case OP_NEG: v[n - 1] = -v[n - 1]; break;
      case OP_LOG: v[n - 1] = log(v[n - 1]); break;
      case OP_EXP: v[n - 1] = exp(v[n - 1]); break;
      case OP_SQRT: v[n - 1] = sqrt(v[n - 1]); break;
      default:
        n--;
        v[n - 1] = binary(t->op, v[n - 1], v[n]);
        break;
    }
  }
  *out = v[0];
  return ISO_OK;
}
