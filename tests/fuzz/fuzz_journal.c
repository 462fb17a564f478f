// Any bytes as the journal of a killed run: summed or refused, never worse.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cost/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  iso_cost spent;
  int64_t open = 0;
  iso_err e = {0};
  int fd = memfd_create("journal", MFD_CLOEXEC);
  if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size)) abort();
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  iso_status st = iso_run_recover(path, &spent, &open, &e);
  if (st != ISO_OK && e.msg[0] == 0) abort();
  close(fd);
  return 0;
}
