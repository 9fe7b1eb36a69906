/* A disk of which one write or one sync fails, for one process: loaded with LD_PRELOAD.
 *
 * FAIL_IN    the files whose path holds this text
 * FAIL_CALL  "write" or "sync": which calls count
 * FAIL_AT    the number of the call that fails, from 1
 * FAIL_WITH  its errno
 * FAIL_TOLD  a file: "failed CALL PATH" when it has failed, "again CALL PATH" for each later try on that file
 *
 * A write is what goes to the file at once: LevelDB flushes a stdio buffer, our own code calls pwrite.
 * A write that fails leaves its first half behind. A sync that fails loses what was written since the one
 * before, and says so once: later syncs of that file succeed. So does Linux after a failed write-back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 4096

typedef ssize_t (*write_call)(int, const void *, size_t);
typedef ssize_t (*pwrite_call)(int, const void *, size_t, off64_t);
typedef int (*flush_call)(FILE *);
typedef int (*sync_call)(int);

/* What a file held when it was last synced, or when it was first written to. */
static struct {
  ino_t inode;
  off_t size;
} durable[FILES];
static atomic_int calls;
static ino_t failed;

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Whether the descriptor is of a file that this is about; its path then. */
static int watched(int fd, char *path) {
  const char *in = getenv("FAIL_IN");
  if (in == NULL || fd < 0 || fd >= FILES) return 0;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int saved = errno;
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  errno = saved;
  if (length <= 0) return 0;
  path[length] = '\0';
  return strstr(path, in) != NULL;
}

static void tell(const char *what, const char *call, const char *path) {
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s %s %s\n", what, call, path);
  int told = open(getenv("FAIL_TOLD"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (told < 0 || ((write_call)next("write"))(told, line, length) != length) abort();
  close(told);
}

/* Whether this is the call that fails. */
static int fails(int fd, const char *call, const char *path) {
  struct stat file;
  if (fstat(fd, &file) != 0) return 0;
  if (failed != 0 && file.st_ino == failed) tell("again", call, path);
  if (strcmp(getenv("FAIL_CALL"), call) != 0) return 0;
  if (atomic_fetch_add(&calls, 1) + 1 != atoi(getenv("FAIL_AT"))) return 0;
  failed = file.st_ino;
  tell("failed", call, path);
  return 1;
}

static int with(void) {
  errno = atoi(getenv("FAIL_WITH"));
  return -1;
}

static void before_write(int fd) {
  struct stat file;
  if (fstat(fd, &file) != 0 || durable[fd].inode == file.st_ino) return;
  durable[fd].inode = file.st_ino;
  durable[fd].size = file.st_size;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  char path[PATH_MAX];
  write_call real = (write_call)next("write");
  if (!watched(fd, path)) return real(fd, bytes, count);
  before_write(fd);
  if (!fails(fd, "write", path)) return real(fd, bytes, count);
  if (count > 1 && real(fd, bytes, count / 2) < 0) abort();
  return with();
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  char path[PATH_MAX];
  pwrite_call real = (pwrite_call)next("pwrite64");
  if (!watched(fd, path)) return real(fd, bytes, count, at);
  before_write(fd);
  if (!fails(fd, "write", path)) return real(fd, bytes, count, at);
  if (count > 1 && real(fd, bytes, count / 2, at) < 0) abort();
  return with();
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

int fflush_unlocked(FILE *file) {
  char path[PATH_MAX];
  flush_call real = (flush_call)next("fflush_unlocked");
  size_t pending = __fpending(file);
  int fd = fileno_unlocked(file);
  if (pending == 0 || !watched(fd, path)) return real(file);
  before_write(fd);
  if (!fails(fd, "write", path)) return real(file);
  write_call half = (write_call)next("write");
  if (pending > 1 && half(fd, file->_IO_write_base, pending / 2) < 0) abort();
  __fpurge(file);
  return with();
}

static int sync_with(const char *name, int fd) {
  char path[PATH_MAX];
  sync_call real = (sync_call)next(name);
  if (!watched(fd, path)) return real(fd);
  struct stat file;
  int regular = fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
  if (fails(fd, "sync", path)) {
    int known = regular && durable[fd].inode == file.st_ino;
    if (known && durable[fd].size < file.st_size && ftruncate(fd, durable[fd].size) != 0) abort();
    return with();
  }
  int result = real(fd);
  if (regular && result == 0) {
    durable[fd].inode = file.st_ino;
    durable[fd].size = file.st_size;
  }
  return result;
}

int fsync(int fd) { return sync_with("fsync", fd); }

int fdatasync(int fd) { return sync_with("fdatasync", fd); }
