/*
 * The inner loops of shared/bulk-transfer.ts for plain small new files, in one call for many of them. Whatever is not
 * entirely ordinary is left as it was and reported as such: the TypeScript, which knows every case, then does it.
 * Linux only. SHA256() is the one of the OpenSSL inside the running Node.js.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

unsigned char *SHA256(const unsigned char *bytes, size_t length, unsigned char *digest);

/* One for each file, in the layout that bulk-native.ts reads. */
struct record {
  struct statx source;
  struct statx placed;
  unsigned char sha256[32];
  int32_t status;
  unsigned char unused[28];
};
_Static_assert(sizeof(struct record) == 576, "the layout that bulk-native.ts reads");

enum { STAGED = 0, LEFT = 1, PLACED = 2, LOST = 3, SHORT = 4 };

struct rules {
  /* Give files the permission bits of their source. */
  int64_t permissions;
  /* Only files of this owner and group; -1: of any. */
  int64_t uid, gid;
  /* Times that the drive can hold, in seconds since 1970; max is the first that it cannot. */
  int64_t min_time, max_time;
  int64_t umask;
  /* ctime and inode mean something: of the source, of the target. */
  int64_t source_stable, target_stable;
  /* The source is the Backup. */
  int64_t reversed;
  /* A change within so many milliseconds before the group was begun, which also was in milliseconds since 1970, is in doubt. */
  int64_t margin, started_at;
};

enum { SMALL = 1024 * 1024, SPARSE_FROM = 65536 };

static __thread unsigned char content[SMALL + 1];
static __thread char names_of_attributes[65536];

static int has_carried_attributes(int fd) {
  ssize_t length = flistxattr(fd, names_of_attributes, sizeof names_of_attributes);
  for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names_of_attributes + at) + 1) {
    const char *name = names_of_attributes + at;
    if (strncmp(name, "user.", 5) == 0 || strncmp(name, "system.posix_acl_", 17) == 0) return 1;
  }
  return 0;
}

static int is_ordinary(const struct statx *stat, const struct rules *rules) {
  if (!S_ISREG(stat->stx_mode) || stat->stx_size > SMALL) return 0;
  if (stat->stx_size >= SPARSE_FROM && stat->stx_blocks * 512 < stat->stx_size) return 0;
  if (rules->uid >= 0 && (stat->stx_uid != rules->uid || stat->stx_gid != rules->gid)) return 0;
  return stat->stx_mtime.tv_sec >= rules->min_time && stat->stx_mtime.tv_sec < rules->max_time;
}

/* Exactly so many bytes: one more shows that the file grew. */
static int read_all(int fd, size_t size) {
  size_t done = 0;
  for (;;) {
    ssize_t got = read(fd, content + done, size + 1 - done);
    if (got < 0) return 0;
    done += (size_t)got;
    if (got == 0 || done >= size) return done == size;
  }
}

static int write_all(int fd, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t put = pwrite(fd, content + done, size - done, (off_t)done);
    if (put <= 0) return 0;
    done += (size_t)put;
  }
  return 1;
}

static int dress(int fd, const struct statx *source, const struct rules *rules) {
  mode_t mode = source->stx_mode & 07777;
  if (rules->permissions && mode != (mode & 0777 & ~(mode_t)rules->umask) && fchmod(fd, mode) != 0) return 0;
  struct timespec time = {.tv_sec = source->stx_mtime.tv_sec, .tv_nsec = source->stx_mtime.tv_nsec};
  struct timespec both[2] = {time, time};
  return futimens(fd, both) == 0;
}

static int stage_open(int source, int partials, const char *partial, const struct rules *rules, struct record *record) {
  struct statx *stat = &record->source;
  if (statx(source, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat) != 0 || !is_ordinary(stat, rules)) return LEFT;
  if (has_carried_attributes(source) || !read_all(source, stat->stx_size)) return LEFT;
  int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int target = openat(partials, partial, flags, stat->stx_mode & 0777);
  if (target < 0) return LEFT;
  int good = write_all(target, stat->stx_size) && dress(target, stat, rules);
  if (close(target) != 0) good = 0;
  if (!good) {
    unlinkat(partials, partial, 0);
    return LEFT;
  }
  SHA256(content, stat->stx_size, record->sha256);
  return STAGED;
}

static const char *name_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/*
 * Copies files into partials, those of a tenth of a second: the caller wants to know whether to go on. `names`: for each its path and the name of its partial, NUL behind each; `folders`: for each
 * an open descriptor of the folder it lies in, or a negative number for one that is left out. All records are `left` before.
 */
void tandem_stage(int partials, const char *names, const int32_t *folders, int count, const struct rules *rules,
                  struct record *records) {
  double end = milliseconds() + 100;
  for (int at = 0; at < count && (at == 0 || milliseconds() < end); at += 1) {
    const char *path = names;
    const char *partial = path + strlen(path) + 1;
    if (folders[at] >= 0) {
      int source = openat(folders[at], name_of(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
      if (source >= 0) {
        records[at].status = stage_open(source, partials, partial, rules, &records[at]);
        close(source);
      }
    }
    names = partial + strlen(partial) + 1;
  }
}

static int is_as_staged(const struct statx *was, const struct statx *now, const struct rules *rules) {
  if (was->stx_mode != now->stx_mode || was->stx_size != now->stx_size || was->stx_uid != now->stx_uid ||
      was->stx_gid != now->stx_gid || was->stx_mtime.tv_sec != now->stx_mtime.tv_sec ||
      was->stx_mtime.tv_nsec != now->stx_mtime.tv_nsec)
    return 0;
  return !rules->source_stable || (was->stx_ino == now->stx_ino && was->stx_ctime.tv_sec == now->stx_ctime.tv_sec &&
                                   was->stx_ctime.tv_nsec == now->stx_ctime.tv_nsec);
}

static int place(int source, int target, int partials, const char *name, const char *partial,
                 const struct rules *rules, struct record *record) {
  struct statx now;
  if (statx(source, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &now) != 0) return STAGED;
  if (!is_as_staged(&record->source, &now, rules)) return STAGED;
  if (renameat2(partials, partial, target, name, RENAME_NOREPLACE) != 0) return STAGED;
  if (statx(target, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &record->placed) != 0) return LOST;
  return record->placed.stx_size == record->source.stx_size ? PLACED : SHORT;
}

/* --- the row of the baseline, as rowTuple() of rows.ts makes it --- */

enum { FACTS = 256 };

/* factsOf() of listing.ts */
static int facts_of(const struct statx *stat, int stable, char *facts) {
  int length = snprintf(facts, FACTS, "f %llu %lld.%09u0 ", (unsigned long long)stat->stx_size,
                        (long long)stat->stx_mtime.tv_sec, stat->stx_mtime.tv_nsec);
  if (stable)
    length += snprintf(facts + length, FACTS - length, "%lld.%09u0 %llu", (long long)stat->stx_ctime.tv_sec,
                       stat->stx_ctime.tv_nsec, (unsigned long long)stat->stx_ino);
  else
    length += snprintf(facts + length, FACTS - length, "- -");
  return length + snprintf(facts + length, FACTS - length, " %o %u %u", stat->stx_mode & 07777, stat->stx_uid,
                           stat->stx_gid);
}

struct checks {
  uint32_t a, b;
};

static uint32_t finish(uint32_t hash) {
  hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
  return hash ^ (hash >> 16);
}

/* Checks of listing.ts */
static void mix(struct checks *checks, const char *facts, size_t facts_length, const char *path, size_t path_length,
                int master) {
  uint32_t h = master ? 0x9747b28c : 0x2f1c3d5a;
  uint32_t g = master ? 0x165667b1 : 0x7f4a7c15;
  const char *bytes = facts;
  size_t length = facts_length;
  for (int part = 0; part < 2; part += 1) {
    size_t at = 0;
    for (; at + 4 <= length; at += 4) {
      const unsigned char *four = (const unsigned char *)bytes + at;
      uint32_t word = four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16 | (uint32_t)four[3] << 24;
      h = (h ^ (word * 0xcc9e2d51)) * 0x1b873593;
      h = (h << 13) | (h >> 19);
      g = (g ^ word) * 0x85ebca6b;
      /* JavaScript's >>> on a signed number: of the unsigned one. */
      g ^= g >> 15;
    }
    for (; at < length; at += 1) {
      h = (h ^ (unsigned char)bytes[at]) * 0x01000193;
      g = (g ^ (unsigned char)bytes[at]) * 0xc2b2ae35;
      g ^= g >> 13;
    }
    h ^= (uint32_t)length;
    bytes = path;
    length = path_length;
  }
  checks->a += finish(h);
  checks->b += finish(g ^ (h >> 7));
}

/* As JSON.stringify() writes it. */
static char *put_text(char *out, const char *text) {
  static const char short_forms[] = "btn\0fr";
  for (; *text != '\0'; text += 1) {
    unsigned char byte = (unsigned char)*text;
    if (byte >= 0x20) {
      if (byte == '"' || byte == '\\') *out++ = '\\';
      *out++ = (char)byte;
    } else if (byte >= 0x08 && byte <= 0x0d && short_forms[byte - 0x08] != '\0') {
      *out++ = '\\';
      *out++ = short_forms[byte - 0x08];
    } else
      out += sprintf(out, "\\u%04x", byte);
  }
  return out;
}

/* isRacy() of rows.ts */
static int is_racy(const struct statx *stat, const struct rules *rules) {
  const struct statx_timestamp *time = rules->source_stable ? &stat->stx_ctime : &stat->stx_mtime;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  double changed_at = (double)time->tv_sec * 1e3 + time->tv_nsec / 1e6;
  double here = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
  return changed_at >= (double)(rules->started_at - rules->margin) && changed_at <= here + (double)rules->margin;
}

static char *put_row(char *out, const char *path, const struct record *record, const struct rules *rules) {
  char source[FACTS], target[FACTS];
  size_t source_length = facts_of(&record->source, rules->source_stable, source);
  size_t target_length = facts_of(&record->placed, rules->target_stable, target);
  struct checks checks = {0, 0};
  size_t path_length = strlen(path);
  mix(&checks, source, source_length, path, path_length, !rules->reversed);
  mix(&checks, target, target_length, path, path_length, !!rules->reversed);
  *out++ = '[';
  *out++ = '"';
  out = put_text(out, path);
  out += sprintf(out, "\",%llu,%u,%u,\"%s\",\"", (unsigned long long)record->source.stx_size, checks.a, checks.b,
                 is_racy(&record->source, rules) ? "racy" : "");
  for (int at = 0; at < 32; at += 1) {
    *out++ = "0123456789abcdef"[record->sha256[at] >> 4];
    *out++ = "0123456789abcdef"[record->sha256[at] & 15];
  }
  return out + sprintf(out, "\",\"sha256\",\"%s\",\"%s\",\"\",\"\"]", rules->reversed ? target : source,
                       rules->reversed ? source : target);
}

/*
 * Gives partials their names, where the source is as it was staged and nothing has the name. `names` as above; `folders`:
 * for each the folder of the source and that of the target. Whatever is not as expected stays staged. Returns the length of the rows of those that were placed, joined by commas; each takes at most six times its path and 1024 bytes.
 */
int tandem_place(int partials, const char *names, const int32_t *folders, int count, const struct rules *rules,
                 struct record *records, char *rows) {
  char *out = rows;
  for (int at = 0; at < count; at += 1) {
    const char *path = names;
    const char *partial = path + strlen(path) + 1;
    const int32_t *pair = folders + 2 * at;
    struct record *record = &records[at];
    if (record->status == STAGED) {
      if (pair[0] >= 0 && pair[1] >= 0)
        record->status = place(pair[0], pair[1], partials, name_of(path), partial, rules, record);
      if (record->status == PLACED) {
        if (out != rows) *out++ = ',';
        out = put_row(out, path, record, rules);
      }
    }
    names = partial + strlen(partial) + 1;
  }
  return (int)(out - rows);
}
