// Atomic output files, bounded reads and read-only maps.
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_BUF = 1 << 18 };

struct iso_out {
  iso_ctx *c;
  int fd;
  int64_t bytes;
  size_t fill;
  char *path, *tmp;  // owned
  unsigned char buf[OUT_BUF];
};

static iso_status os_fail(iso_err *err, const char *path, const char *verb) {
  int e = errno;
  iso_status st = e == ENOSPC || e == EDQUOT ? ISO_EFULL : ISO_EIO;
  iso_fail(err, st, "%s: cannot %s: %s", path, verb, strerror(e));
  if (st == ISO_EFULL) iso_hint(err, st, "free some space; what was there before is untouched");
  return st;
}

iso_status iso_out_open(iso_ctx *c, const char *path, iso_out **out, iso_err *err) {
  *out = NULL;
  iso_out *o = malloc(sizeof *o);
  if (!o) return iso_fail(err, ISO_ENOMEM, "%s: no memory for a write buffer", path);
  o->c = c;
  o->bytes = 0;
  o->fill = 0;
  o->path = strdup(path);
  size_t n = strlen(path) + 32;
  o->tmp = malloc(n);
  o->fd = -1;
  if (!o->path || !o->tmp) {
    iso_out_abort(o);
    return iso_fail(err, ISO_ENOMEM, "%s: no memory", path);
  }
  (void)snprintf(o->tmp, n, "%s.tmp.%ld", path, (long)getpid());
  o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (o->fd < 0) {
    iso_status st = os_fail(err, o->tmp, "create");
    iso_out_abort(o);
    return st;
  }
  *out = o;
  return ISO_OK;
}

static iso_status flush_bytes(iso_out *o, const unsigned char *p, size_t n, iso_err *err) {
  while (n > 0) {
    ssize_t k = o->c->io.write(o->c->io.self, o->fd, p, n);
    if (k < 0) {
      if (errno == EINTR) continue;
      return os_fail(err, o->path, "write");
    }
    if (k == 0) {
      errno = ENOSPC;
      return os_fail(err, o->path, "write");
    }
    p += k;
    n -= (size_t)k;
  }
  return ISO_OK;
}

iso_status iso_out_write(iso_out *o, const void *buf, size_t n, iso_err *err) {
  o->bytes += (int64_t)n;
  if (n >= OUT_BUF) {
    ISO_TRY(flush_bytes(o, o->buf, o->fill, err));
    o->fill = 0;
    return flush_bytes(o, buf, n, err);
  }
  if (o->fill + n > OUT_BUF) {
    ISO_TRY(flush_bytes(o, o->buf, o->fill, err));
    o->fill = 0;
  }
  if (n) memcpy(o->buf + o->fill, buf, n);
  o->fill += n;
  return ISO_OK;
}

int64_t iso_out_bytes(const iso_out *o) { return o->bytes; }

static void fsync_parent(iso_out *o) {
  char *copy = strdup(o->path);
  if (!copy) return;
  int d = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (d >= 0) {
    (void)o->c->io.fsync(o->c->io.self, d);
    close(d);
  }
  free(copy);
}

iso_status iso_out_commit(iso_out *o, iso_err *err) {
  iso_status st = flush_bytes(o, o->buf, o->fill, err);
  if (st == ISO_OK && o->c->io.fsync(o->c->io.self, o->fd) != 0) st = os_fail(err, o->path, "fsync");
  if (st == ISO_OK && close(o->fd) != 0)
    st = os_fail(err, o->path, "close");
  else if (st != ISO_OK)
    close(o->fd);
  o->fd = -1;
  if (st == ISO_OK && o->c->io.rename(o->c->io.self, o->tmp, o->path) != 0) st = os_fail(err, o->path, "rename into place");
  if (st != ISO_OK) {
    iso_out_abort(o);
    return st;
  }
  fsync_parent(o);
  free(o->path);
  free(o->tmp);
  free(o);
  return ISO_OK;
}

void iso_out_abort(iso_out *o) {
  if (!o) return;
  if (o->fd >= 0) close(o->fd);
  if (o->tmp) (void)unlink(o->tmp);
  free(o->path);
  free(o->tmp);
  free(o);
}

iso_status iso_file_put(iso_ctx *c, const char *path, const void *buf, size_t n, iso_err *err) {
  iso_out *o;
  ISO_TRY(iso_out_open(c, path, &o, err));
  iso_status st = iso_out_write(o, buf, n, err);
  if (st != ISO_OK) {
    iso_out_abort(o);
    return st;
  }
  return iso_out_commit(o, err);
}

iso_status iso_file_get(const char *path, size_t limit, char **out, size_t *n, iso_err *err) {
  *out = NULL;
  *n = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return os_fail(err, path, "open");
  struct stat s;
  iso_status st = ISO_OK;
  if (fstat(fd, &s) != 0)
    st = os_fail(err, path, "stat");
  else if (S_ISDIR(s.st_mode))
    st = iso_fail(err, ISO_EINVAL, "%s: is a folder, a file is needed", path);
  else if (s.st_size > 0 && (size_t)s.st_size > limit)
    st = iso_fail(err, ISO_EFORMAT, "%s: %lld bytes, at most %zu make sense here", path, (long long)s.st_size, limit);
  size_t cap = st == ISO_OK ? (size_t)s.st_size + 1 : 0, k = 0;
  char *buf = st == ISO_OK ? malloc(cap + 1) : NULL;
  if (st == ISO_OK && !buf) st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %zu bytes", path, cap);
  while (st == ISO_OK) {
    if (k == cap) {  // pipes and /proc files state no size
      if (cap > limit) {
        st = iso_fail(err, ISO_EFORMAT, "%s: more than %zu bytes", path, limit);
        break;
      }
      cap *= 2;
      char *grown = realloc(buf, cap + 1);
      if (!grown) {
        st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %zu bytes", path, cap);
        break;
      }
      buf = grown;
    }
    ssize_t r = read(fd, buf + k, cap - k);
    if (r < 0 && errno == EINTR) continue;
    if (r < 0) st = os_fail(err, path, "read");
    if (r <= 0) break;
    k += (size_t)r;
  }
  close(fd);
  if (st != ISO_OK) {
    free(buf);
    return st;
  }
  buf[k] = 0;
  *out = buf;
  *n = k;
  return ISO_OK;
}

iso_status iso_map_open(const char *path, iso_map *out, iso_err *err) {
  *out = (iso_map){NULL, 0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return os_fail(err, path, "open");
  struct stat s;
  iso_status st = ISO_OK;
  if (fstat(fd, &s) != 0)
    st = os_fail(err, path, "stat");
  else if (!S_ISREG(s.st_mode))
    st = iso_fail(err, ISO_EINVAL, "%s: not a regular file", path);
  else if (s.st_size > 0) {
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
      st = os_fail(err, path, "map");
    else
      *out = (iso_map){p, (size_t)s.st_size};
  }
  close(fd);
  return st;
}

void iso_map_close(iso_map *m) {
  if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
  *m = (iso_map){NULL, 0};
}

bool iso_file_exists(const char *path) { return access(path, F_OK) == 0; }

iso_status iso_mkdirs(const char *path, iso_err *err) {
  char buf[PATH_MAX];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof buf) return iso_fail(err, ISO_EINVAL, "folder name of %zu characters", n);
  memcpy(buf, path, n + 1);
  for (char *p = buf + 1;; p++) {
    if (*p != '/' && *p != 0) continue;
    char keep = *p;
    *p = 0;
    if (mkdir(buf, 0777) != 0 && errno != EEXIST) return os_fail(err, buf, "create folder");
    *p = keep;
    if (!keep) break;
  }
  struct stat s;
  if (stat(path, &s) != 0) return os_fail(err, path, "stat");
  if (!S_ISDIR(s.st_mode)) return iso_fail(err, ISO_EIO, "%s: exists and is not a folder", path);
  return ISO_OK;
}

iso_status iso_home_path(const char *name, char *buf, size_t n, iso_err *err) {
  const char *own = getenv("ISOFLOP_HOME"), *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
  char dir[PATH_MAX];
  int k;
  if (own && *own)
    k = snprintf(dir, sizeof dir, "%s", own);
  else if (xdg && *xdg)
    k = snprintf(dir, sizeof dir, "%s/isoflop", xdg);
  else if (home && *home)
    k = snprintf(dir, sizeof dir, "%s/.local/share/isoflop", home);
  else {
    iso_fail(err, ISO_EINVAL, "no place for isoflop's files: HOME is not set");
    return iso_hint(err, ISO_EINVAL, "set ISOFLOP_HOME to a folder");
  }
  if (k < 0 || (size_t)k >= sizeof dir) return iso_fail(err, ISO_EINVAL, "the path of isoflop's folder is too long");
  ISO_TRY(iso_mkdirs(dir, err));
  k = snprintf(buf, n, "%s/%s", dir, name);
  if (k < 0 || (size_t)k >= n) return iso_fail(err, ISO_EINVAL, "the path of %s is too long", name);
  return ISO_OK;
}

const char *iso_path_abs(const char *path, char *buf, size_t n) {
  char *full = realpath(path, NULL);
  int len = snprintf(buf, n, "%s", full ? full : path);
  free(full);
  return len >= 0 && (size_t)len < n ? buf : path;
}
