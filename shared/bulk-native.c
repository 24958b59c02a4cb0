/*
 * Chunks of sealed files, and the inner loops of shared/bulk-transfer.ts for small new files, in one call for many of them.
 * What of those is not entirely ordinary is left as it was and reported as such: the TypeScript, which knows every case, then does it.
 * Linux only. The cryptography is that of the OpenSSL inside the running Node.js.
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
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *context);
const EVP_CIPHER *EVP_aes_256_gcm(void);
int EVP_EncryptInit_ex(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, void *engine, const unsigned char *key,
                       const unsigned char *nonce);
int EVP_EncryptUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *written, const unsigned char *in, int length);
int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *written);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *context, int what, int length, void *value);
int EVP_DecryptInit_ex(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, void *engine, const unsigned char *key,
                       const unsigned char *nonce);
int EVP_DecryptUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *written, const unsigned char *in, int length);
int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *written);
void OPENSSL_cleanse(void *bytes, size_t length);
enum { GCM_GET_TAG = 0x10, GCM_SET_TAG = 0x11 };

/* One for each file, in the layout that bulk-native.ts reads. */
struct record {
  struct statx source;
  struct statx placed;
  /* What is recorded of the content. */
  unsigned char checksum[32];
  int32_t status;
  int32_t unused;
  /* Bytes of the target. */
  uint64_t written;
  unsigned char more[16];
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

/* What sealed files are made with (docs/formats.md); each file takes the next of the random bytes. */
struct seal {
  unsigned char key[32];
  unsigned char key_id[16];
  unsigned char checksum_key[32];
};

enum { SMALL = 1024 * 1024, SPARSE_FROM = 65536 };
enum { HEADER = 89, TAG = 16, CHUNK = 262144, SALT = 16, PREFIX = 7, RANDOM = SALT + PREFIX };

static __thread unsigned char content[SMALL + 1];
static __thread unsigned char sealed[HEADER + CHUNK + TAG];
static __thread char names_of_attributes[65536];

static int has_carried_attributes(int fd) {
  ssize_t length = flistxattr(fd, names_of_attributes, sizeof names_of_attributes);
  for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names_of_attributes + at) + 1) {
    const char *name = names_of_attributes + at;
    if (strncmp(name, "user.", 5) == 0 || strncmp(name, "system.posix_acl_", 17) == 0) return 1;
  }
  return 0;
}

static int is_ordinary(const struct statx *stat, const struct rules *rules, int limit) {
  if (!S_ISREG(stat->stx_mode) || stat->stx_size > (uint64_t)limit) return 0;
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

static int write_all(int fd, const unsigned char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t put = pwrite(fd, bytes + done, size - done, (off_t)done);
    if (put <= 0) return 0;
    done += (size_t)put;
  }
  return 1;
}

/* HMAC-SHA-256 (RFC 2104) of a short key and a short message: the one of OpenSSL takes several times as long. */
static void hmac(const void *key, size_t key_length, const void *message, size_t length, unsigned char *out) {
  unsigned char block[64 + 64] = {0};
  unsigned char pad[64] = {0};
  memcpy(pad, key, key_length);
  for (int at = 0; at < 64; at += 1) block[at] = pad[at] ^ 0x36;
  memcpy(block + 64, message, length);
  SHA256(block, 64 + length, out);
  for (int at = 0; at < 64; at += 1) block[at] = pad[at] ^ 0x5c;
  memcpy(block + 64, out, 32);
  SHA256(block, 64 + 32, out);
  OPENSSL_cleanse(block, sizeof block);
  OPENSSL_cleanse(pad, sizeof pad);
}

static void nonce_of(unsigned char *nonce, const unsigned char *header, uint32_t counter, int last) {
  memcpy(nonce, header + 30, PREFIX);
  for (int at = 0; at < 4; at += 1) nonce[PREFIX + at] = (unsigned char)(counter >> (24 - 8 * at));
  nonce[11] = last ? 1 : 0;
}

static int seal_chunk(EVP_CIPHER_CTX *context, const unsigned char *key, const unsigned char *header, uint32_t counter,
                      int last, const unsigned char *plain, int size, unsigned char *out) {
  unsigned char nonce[12];
  int length = 0;
  nonce_of(nonce, header, counter, last);
  return EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
         EVP_EncryptUpdate(context, NULL, &length, header, HEADER) == 1 &&
         EVP_EncryptUpdate(context, out, &length, plain, size) == 1 && length == size &&
         EVP_EncryptFinal_ex(context, out + size, &length) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, GCM_GET_TAG, TAG, out + size) == 1;
}

/* sealChunk() of sealed.ts, into `out`. Returns the bytes there; -1: not done. */
int tandem_seal(const unsigned char *key, const unsigned char *header, uint32_t counter, int last,
                const unsigned char *plain, int size, unsigned char *out) {
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  int good = context != NULL && seal_chunk(context, key, header, counter, last, plain, size, out);
  EVP_CIPHER_CTX_free(context);
  return good ? size + TAG : -1;
}

/* openChunk() of sealed.ts, into `out`. Returns the bytes there; -1: the tag is wrong, or it was not done; `out` is wiped. */
int tandem_open(const unsigned char *key, const unsigned char *header, uint32_t counter, int last,
                const unsigned char *bytes, int length_with_tag, unsigned char *out) {
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  unsigned char nonce[12];
  int length = 0, size = length_with_tag - TAG;
  nonce_of(nonce, header, counter, last);
  int good = context != NULL && size >= 0 &&
             EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
             EVP_DecryptUpdate(context, NULL, &length, header, HEADER) == 1 &&
             EVP_DecryptUpdate(context, out, &length, bytes, size) == 1 && length == size &&
             EVP_CIPHER_CTX_ctrl(context, GCM_SET_TAG, TAG, (void *)(bytes + size)) == 1 &&
             EVP_DecryptFinal_ex(context, out + size, &length) == 1;
  EVP_CIPHER_CTX_free(context);
  if (!good && size > 0) OPENSSL_cleanse(out, (size_t)size);
  return good ? size : -1;
}

/* The whole sealed file of one chunk, as Sealer of sealed.ts makes it. */
static int seal_content(EVP_CIPHER_CTX *context, const struct seal *seal, const unsigned char *random, size_t size) {
  static const char file[] = "tandem file v1\x01", commit[] = "tandem commit v1\x01";
  unsigned char secret[32], key[32];
  unsigned char *header = sealed;
  memset(header, 0, HEADER);
  memcpy(header, "TNDMENC1", 8);
  header[8] = 2;
  memcpy(header + 14, random, SALT);
  memcpy(header + 30, random + SALT, PREFIX);
  header[38] = CHUNK >> 16;
  memcpy(header + 41, seal->key_id, 16);
  hmac(random, SALT, seal->key, 32, secret);
  hmac(secret, 32, file, sizeof file - 1, key);
  hmac(secret, 32, commit, sizeof commit - 1, header + 57);
  int good = seal_chunk(context, key, header, 0, 1, content, (int)size, sealed + HEADER);
  OPENSSL_cleanse(secret, sizeof secret);
  OPENSSL_cleanse(key, sizeof key);
  return good;
}

static void put_hex(char *out, const unsigned char *bytes) {
  for (int at = 0; at < 32; at += 1) {
    out[2 * at] = "0123456789abcdef"[bytes[at] >> 4];
    out[2 * at + 1] = "0123456789abcdef"[bytes[at] & 15];
  }
}

static int dress(int fd, const struct statx *source, const struct rules *rules) {
  mode_t mode = source->stx_mode & 07777;
  if (rules->permissions && mode != (mode & 0777 & ~(mode_t)rules->umask) && fchmod(fd, mode) != 0) return 0;
  struct timespec time = {.tv_sec = source->stx_mtime.tv_sec, .tv_nsec = source->stx_mtime.tv_nsec};
  struct timespec both[2] = {time, time};
  return futimens(fd, both) == 0;
}

struct batch {
  int partials;
  const struct rules *rules;
  /* NULL: stored as they are. */
  const struct seal *seal;
  EVP_CIPHER_CTX *context;
};

static int stage_open(int source, const char *partial, const unsigned char *random, const struct batch *batch,
                      struct record *record) {
  const struct seal *seal = batch->seal;
  struct statx *stat = &record->source;
  if (statx(source, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat) != 0) return LEFT;
  size_t size = stat->stx_size;
  if (!is_ordinary(stat, batch->rules, seal ? CHUNK : SMALL)) return LEFT;
  if (has_carried_attributes(source) || !read_all(source, size)) return LEFT;
  if (seal && !seal_content(batch->context, seal, random, size)) return LEFT;
  record->written = seal ? HEADER + size + TAG : size;
  int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int target = openat(batch->partials, partial, flags, stat->stx_mode & 0777);
  if (target < 0) return LEFT;
  int good = write_all(target, seal ? sealed : content, record->written) && dress(target, stat, batch->rules);
  if (close(target) != 0) good = 0;
  if (!good) {
    unlinkat(batch->partials, partial, 0);
    return LEFT;
  }
  SHA256(content, size, record->checksum);
  if (seal) {
    char digits[64];
    put_hex(digits, record->checksum);
    hmac(seal->checksum_key, 32, digits, sizeof digits, record->checksum);
  }
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
 * Copies files into partials, those of a tenth of a second: the caller wants to know whether to go on. `names`: for each
 * its path and the name of its partial, NUL behind each; `folders`: for each an open descriptor of the folder it lies in,
 * or a negative number for one that is left out. All records are `left` before. `seal`: NULL, or what to seal them with;
 * `random`: then 23 bytes for each.
 */
void tandem_stage(int partials, const char *names, const int32_t *folders, int count, const struct rules *rules,
                  struct record *records, const struct seal *seal, const unsigned char *random) {
  struct batch batch = {partials, rules, seal, seal ? EVP_CIPHER_CTX_new() : NULL};
  if (seal && batch.context == NULL) return;
  double end = milliseconds() + 100;
  for (int at = 0; at < count && (at == 0 || milliseconds() < end); at += 1) {
    const char *path = names;
    const char *partial = path + strlen(path) + 1;
    if (folders[at] >= 0) {
      int source = openat(folders[at], name_of(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
      if (source >= 0) {
        records[at].status = stage_open(source, partial, seal ? random + RANDOM * at : NULL, &batch, &records[at]);
        close(source);
      }
    }
    names = partial + strlen(partial) + 1;
  }
  EVP_CIPHER_CTX_free(batch.context);
}

static int is_as_staged(const struct statx *was, const struct statx *now, const struct rules *rules) {
  if (was->stx_mode != now->stx_mode || was->stx_size != now->stx_size || was->stx_uid != now->stx_uid ||
      was->stx_gid != now->stx_gid || was->stx_mtime.tv_sec != now->stx_mtime.tv_sec ||
      was->stx_mtime.tv_nsec != now->stx_mtime.tv_nsec)
    return 0;
  return !rules->source_stable || (was->stx_ino == now->stx_ino && was->stx_ctime.tv_sec == now->stx_ctime.tv_sec &&
                                   was->stx_ctime.tv_nsec == now->stx_ctime.tv_nsec);
}

static int place(int source, int target, int partials, const char *name, const char *suffix, const char *partial,
                 const struct rules *rules, struct record *record) {
  struct statx now;
  char stored[512];
  if ((size_t)snprintf(stored, sizeof stored, "%s%s", name, suffix) >= sizeof stored) return STAGED;
  if (statx(source, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &now) != 0) return STAGED;
  if (!is_as_staged(&record->source, &now, rules)) return STAGED;
  if (renameat2(partials, partial, target, stored, RENAME_NOREPLACE) != 0) return STAGED;
  if (statx(target, stored, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &record->placed) != 0) return LOST;
  return record->placed.stx_size == record->written ? PLACED : SHORT;
}

/* --- the row of the baseline, as rowTuple() of rows.ts makes it --- */

enum { FACTS = 256 };

/* factsOf() of listing.ts */
static void facts_of(const struct statx *stat, int stable, char *facts) {
  int length = snprintf(facts, FACTS, "f %llu %lld.%09u0 ", (unsigned long long)stat->stx_size,
                        (long long)stat->stx_mtime.tv_sec, stat->stx_mtime.tv_nsec);
  if (stable)
    length += snprintf(facts + length, FACTS - length, "%lld.%09u0 %llu", (long long)stat->stx_ctime.tv_sec,
                       stat->stx_ctime.tv_nsec, (unsigned long long)stat->stx_ino);
  else
    length += snprintf(facts + length, FACTS - length, "- -");
  snprintf(facts + length, FACTS - length, " %o %u %u", stat->stx_mode & 07777, stat->stx_uid, stat->stx_gid);
}

struct checks {
  uint32_t a, b;
};

static uint32_t finish(uint32_t hash) {
  hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
  return hash ^ (hash >> 16);
}

struct lanes {
  uint32_t h, g;
  /* Bytes of a word that is not full yet, and how many. */
  unsigned char rest[4];
  int held;
};

static void mix_byte(struct lanes *lanes, unsigned char byte) {
  lanes->rest[lanes->held++] = byte;
  if (lanes->held < 4) return;
  const unsigned char *four = lanes->rest;
  uint32_t word = four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16 | (uint32_t)four[3] << 24;
  lanes->h = (lanes->h ^ (word * 0xcc9e2d51)) * 0x1b873593;
  lanes->h = (lanes->h << 13) | (lanes->h >> 19);
  lanes->g = (lanes->g ^ word) * 0x85ebca6b;
  lanes->g ^= lanes->g >> 15;
  lanes->held = 0;
}

static void mix_end(struct lanes *lanes, size_t length) {
  for (int at = 0; at < lanes->held; at += 1) {
    lanes->h = (lanes->h ^ lanes->rest[at]) * 0x01000193;
    lanes->g = (lanes->g ^ lanes->rest[at]) * 0xc2b2ae35;
    lanes->g ^= lanes->g >> 13;
  }
  lanes->held = 0;
  lanes->h ^= (uint32_t)length;
}

/* Checks of listing.ts, over the facts and over the path with its suffix. */
static void mix(struct checks *checks, const char *facts, const char *path, const char *suffix, int master) {
  struct lanes lanes = {.h = master ? 0x9747b28c : 0x2f1c3d5a, .g = master ? 0x165667b1 : 0x7f4a7c15};
  for (const char *at = facts; *at != '\0'; at += 1) mix_byte(&lanes, (unsigned char)*at);
  mix_end(&lanes, strlen(facts));
  for (const char *at = path; *at != '\0'; at += 1) mix_byte(&lanes, (unsigned char)*at);
  for (const char *at = suffix; *at != '\0'; at += 1) mix_byte(&lanes, (unsigned char)*at);
  mix_end(&lanes, strlen(path) + strlen(suffix));
  checks->a += finish(lanes.h);
  checks->b += finish(lanes.g ^ (lanes.h >> 7));
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

/* The Backup has it under its name with the suffix. */
static char *put_row(char *out, const char *path, const char *suffix, const struct record *record,
                     const struct rules *rules) {
  char source[FACTS], target[FACTS];
  facts_of(&record->source, rules->source_stable, source);
  facts_of(&record->placed, rules->target_stable, target);
  struct checks checks = {0, 0};
  mix(&checks, source, path, rules->reversed ? suffix : "", !rules->reversed);
  mix(&checks, target, path, rules->reversed ? "" : suffix, !!rules->reversed);
  *out++ = '[';
  *out++ = '"';
  out = put_text(out, path);
  out += sprintf(out, "\",%llu,%u,%u,\"%s\",\"", (unsigned long long)record->source.stx_size, checks.a, checks.b,
                 is_racy(&record->source, rules) ? "racy" : "");
  put_hex(out, record->checksum);
  out += 64;
  out += sprintf(out, "\",\"%s\",\"%s\",\"%s\",\"\",\"", *suffix ? "hmac-sha256" : "sha256",
                 rules->reversed ? target : source, rules->reversed ? source : target);
  if (*suffix) out = put_text(put_text(out, name_of(path)), suffix);
  *out++ = '"';
  *out++ = ']';
  return out;
}

/*
 * Gives partials their names, with `suffix` behind them, where the source is as it was staged and nothing has the name.
 * `names` as above; `folders`: for each the folder of the source and that of the target. Whatever is not as expected stays
 * staged. Returns the length of the rows of those that were placed, joined by commas; each takes at most twelve times its
 * path and 1024 bytes.
 */
int tandem_place(int partials, const char *names, const int32_t *folders, int count, const struct rules *rules,
                 struct record *records, const char *suffix, char *rows) {
  char *out = rows;
  for (int at = 0; at < count; at += 1) {
    const char *path = names;
    const char *partial = path + strlen(path) + 1;
    const int32_t *pair = folders + 2 * at;
    struct record *record = &records[at];
    if (record->status == STAGED) {
      if (pair[0] >= 0 && pair[1] >= 0)
        record->status = place(pair[0], pair[1], partials, name_of(path), suffix, partial, rules, record);
      if (record->status == PLACED) {
        if (out != rows) *out++ = ',';
        out = put_row(out, path, suffix, record, rules);
      }
    }
    names = partial + strlen(partial) + 1;
  }
  return (int)(out - rows);
}
