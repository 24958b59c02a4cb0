/**
 * Runs a bundle of `dist/` with V8's code cache of an earlier run, so that its functions are not compiled again; the
 * launcher starts the program with it. (Node's own compile cache needs a newer Node, and keeps few of the functions.)
 */
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { threadId } from 'node:worker_threads';

/** Length of a SHA-256 in hexadecimal digits, which a cache file begins with. */
const DIGITS = 64;

/**
 * @param {'main' | 'worker' | 'lane'} name of the bundle
 * @param {string} use has a cache of its own, because another use runs other functions
 * @returns {() => void} remembers the functions that have run until then, unless they were remembered already
 */
export function runBundle(name, use) {
  const url = new URL(`../dist/${name}.js`, import.meta.url);
  const filename = fileURLToPath(url);
  const source = `(function(require,importMeta){${readFileSync(filename, 'utf8')}\n})`;
  const folder = join(cacheHome(), 'tandem', 'code');
  const file = join(folder, `${use}-${process.version}-${process.arch}`);
  const cachedData = readCache(folder, file, source);
  const script = new Script(source, { filename, ...(cachedData && { cachedData }) });
  script.runInThisContext()(createRequire(url), { url: url.href });
  return () => {
    if (!cachedData || script.cachedDataRejected) writeCache(folder, file, source, script.createCachedData());
  };
}

/** V8 itself refuses the cache of another V8 or other flags, but of the source it compares the length only. */
function readCache(folder, file, source) {
  try {
    if (!isOwn(folder)) return undefined;
    const bytes = readFileSync(file);
    const data = bytes.subarray(DIGITS);
    return bytes.latin1Slice(0, DIGITS) === checksum(source, data) ? data : undefined;
  } catch {
    return undefined;
  }
}

/** In one step, because other processes and threads read and write it at the same time. */
function writeCache(folder, file, source, data) {
  const fresh = `${file}.${process.pid}-${threadId}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!isOwn(folder)) return;
    try {
      writeFileSync(fresh, Buffer.concat([Buffer.from(checksum(source, data)), data]), { mode: 0o600 });
      renameSync(fresh, file);
    } finally {
      rmSync(fresh, { force: true });
    }
  } catch {
    // Without a cache the next start is slower, no more.
  }
}

function checksum(source, data) {
  return hash('sha256', Buffer.concat([Buffer.from(source), data]), 'hex');
}

/** Code from a folder that others may write would run with the user's rights. */
function isOwn(folder) {
  const { uid, mode } = statSync(folder);
  return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
}

function cacheHome() {
  const given = process.env.XDG_CACHE_HOME;
  return given?.startsWith('/') ? given : join(homedir(), '.cache');
}
