// Streams through gz and zst, and the spool that keeps what they give.
#include "text/source_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { IN_BUF = 1 << 17 };
static const size_t spool_ram = (size_t)256 << 20;

typedef enum packing { PLAIN, GZ, ZST } packing;

struct src_in {
  const char *name;
  int fd;
  packing kind;
  bool eof, inside, ended;  // inside: a compressed frame is open; ended: at least one was complete
  z_stream z;
  ZSTD_DStream *zs;  // owned
  size_t at, n;
  uint8_t buf[IN_BUF];
};

static iso_status fill(src_in *s, iso_err *err) {
  if (s->at > 0 && s->at < s->n) memmove(s->buf, s->buf + s->at, s->n - s->at);
  s->n -= s->at;
  s->at = 0;
  while (!s->eof && s->n < IN_BUF) {
    ssize_t k = read(s->fd, s->buf + s->n, IN_BUF - s->n);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return iso_fail(err, ISO_EIO, "%s: cannot read: %s", s->name, strerror(errno));
    if (k == 0) s->eof = true;
    s->n += (size_t)k;
  }
  return ISO_OK;
}

iso_status src_in_open(const char *path, src_in **out, iso_err *err) {
  *out = NULL;
  src_in *s = calloc(1, sizeof *s);
  if (!s) return iso_fail(err, ISO_ENOMEM, "%s: no memory for a read buffer", path);
  bool std = strcmp(path, "-") == 0;
  s->name = std ? "standard input" : path;
  s->fd = std ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
  iso_status st = ISO_OK;
  struct stat sb;
  if (s->fd < 0 || fstat(s->fd, &sb) != 0) {
    st = iso_fail(err, ISO_EIO, "%s: cannot open: %s", s->name, strerror(errno));
    goto done;
  }
  if (S_ISDIR(sb.st_mode)) {
    st = iso_fail(err, ISO_EIO, "%s: is a folder, not a file of text", s->name);
    goto done;
  }
  ISO_TRYG(fill(s, err));
  if (s->n >= 2 && s->buf[0] == 0x1F && s->buf[1] == 0x8B) {
    s->kind = GZ;
    if (inflateInit2(&s->z, 15 + 16) != Z_OK) {
      s->kind = PLAIN;
      st = iso_fail(err, ISO_ENOMEM, "%s: no memory to unpack gz", s->name);
      goto done;
    }
  } else if (s->n >= 4 && memcmp(s->buf, "\x28\xB5\x2F\xFD", 4) == 0) {
    s->kind = ZST;
    s->zs = ZSTD_createDStream();
    if (!s->zs) {
      st = iso_fail(err, ISO_ENOMEM, "%s: no memory to unpack zst", s->name);
      goto done;
    }
  }
  *out = s;
  return ISO_OK;
done:
  src_in_close(s);
  return st;
}

void src_in_close(src_in *s) {
  if (!s) return;
  if (s->kind == GZ) inflateEnd(&s->z);
  if (s->zs) ZSTD_freeDStream(s->zs);
  if (s->fd >= 0) close(s->fd);
  free(s);
}

static iso_status unpack_gz(src_in *s, void *buf, size_t cap, size_t *n, iso_err *err) {
  s->z.next_in = s->buf + s->at;
  s->z.avail_in = (uInt)(s->n - s->at);
  s->z.next_out = buf;
  s->z.avail_out = (uInt)cap;
  if (!s->inside) {
    if (inflateReset(&s->z) != Z_OK) return iso_fail(err, ISO_EFORMAT, "%s: cannot unpack gz", s->name);
    s->inside = true;
  }
  int r = inflate(&s->z, Z_NO_FLUSH);
  if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
    return iso_fail(err, ISO_EFORMAT, "%s: broken gz data: %s", s->name, s->z.msg ? s->z.msg : "?");
  s->at = s->n - s->z.avail_in;
  *n = cap - s->z.avail_out;
  if (r == Z_STREAM_END) {
    s->inside = false;
    s->ended = true;
  }
  return ISO_OK;
}

static iso_status unpack_zst(src_in *s, void *buf, size_t cap, size_t *n, iso_err *err) {
  ZSTD_inBuffer in = {s->buf, s->n, s->at};
  ZSTD_outBuffer out = {buf, cap, 0};
  size_t r = ZSTD_decompressStream(s->zs, &out, &in);
  if (ZSTD_isError(r)) return iso_fail(err, ISO_EFORMAT, "%s: broken zst data: %s", s->name, ZSTD_getErrorName(r));
  s->at = in.pos;
  *n = out.pos;
  s->inside = r != 0;
  return ISO_OK;
}

iso_status src_in_read(src_in *s, void *buf, size_t cap, size_t *n, iso_err *err) {
  *n = 0;
  if (cap > (1u << 30)) cap = 1u << 30;
  while (*n == 0) {
    if (s->at == s->n && !s->eof) ISO_TRY(fill(s, err));
    size_t have = s->n - s->at;
    if (s->kind == PLAIN) {
      *n = have < cap ? have : cap;
      memcpy(buf, s->buf + s->at, *n);
      s->at += *n;
      return ISO_OK;
    }
    // As gzip does, what follows the last member and is no member is ignored.
    if (!s->inside && (have == 0 || (s->kind == GZ && s->ended && s->buf[s->at] != 0x1F))) return ISO_OK;
    ISO_TRY(s->kind == GZ ? unpack_gz(s, buf, cap, n, err) : unpack_zst(s, buf, cap, n, err));
    if (*n == 0 && s->inside && s->eof && s->n - s->at == 0) return iso_fail(err, ISO_EFORMAT, "%s: compressed data ends in the middle", s->name);
  }
  return ISO_OK;
}

void src_spool_init(src_spool *s) { *s = (src_spool){.fd = -1}; }

static iso_status write_all(iso_ctx *c, int fd, const uint8_t *p, size_t n, iso_err *err) {
  while (n > 0) {
    ssize_t k = c->io.write(c->io.self, fd, p, n);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) {
      iso_status st = k == 0 || errno == ENOSPC || errno == EDQUOT ? ISO_EFULL : ISO_EIO;
      iso_fail(err, st, "cannot write unpacked text to a temporary file: %s", k == 0 ? "nothing was written" : strerror(errno));
      return iso_hint(err, st, "set TMPDIR to a folder with room, or use --max-bytes");
    }
    p += k;
    n -= (size_t)k;
  }
  return ISO_OK;
}

static iso_status move_to_file(iso_ctx *c, src_spool *s, iso_err *err) {
  const char *dir = getenv("TMPDIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/isoflop-text-XXXXXX", dir && *dir ? dir : "/var/tmp");
  s->fd = mkostemp(path, O_CLOEXEC);
  if (s->fd < 0) return iso_fail(err, ISO_EIO, "cannot make a temporary file %s: %s", path, strerror(errno));
  unlink(path);
  ISO_TRY(write_all(c, s->fd, s->p, s->n, err));
  free(s->p);
  s->p = NULL;
  s->cap = 0;
  return ISO_OK;
}

iso_status src_spool_put(iso_ctx *c, src_spool *s, const void *bytes, size_t n, iso_err *err) {
  if (n == 0) return ISO_OK;
  if (s->fd < 0 && s->n + n > spool_ram) ISO_TRY(move_to_file(c, s, err));
  if (s->fd >= 0) {
    ISO_TRY(write_all(c, s->fd, bytes, n, err));
    s->n += n;
    return ISO_OK;
  }
  if (s->n + n > s->cap) {
    size_t cap = (s->n + n) * 2;
    uint8_t *p = realloc(s->p, cap);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for %zu bytes of text", cap);
    s->p = p;
    s->cap = cap;
  }
  memcpy(s->p + s->n, bytes, n);
  s->n += n;
  return ISO_OK;
}

iso_status src_spool_seal(src_spool *s, iso_err *err) {
  if (s->fd < 0) return ISO_OK;
  void *p = mmap(NULL, s->n, PROT_READ, MAP_PRIVATE, s->fd, 0);
  if (p == MAP_FAILED) return iso_fail(err, ISO_EIO, "cannot map %zu bytes of unpacked text: %s", s->n, strerror(errno));
  s->p = p;
  s->mapped = true;
  return ISO_OK;
}

void src_spool_free(src_spool *s) {
  if (s->mapped)
    munmap(s->p, s->n);
  else
    free(s->p);
  if (s->fd >= 0) close(s->fd);
  src_spool_init(s);
}
