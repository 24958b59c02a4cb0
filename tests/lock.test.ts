import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TandemError } from '../shared/errors.ts';
import { DriveLock, type LockOptions, lockHolder } from '../shared/lock.ts';
import { isGone, thisProcess } from '../shared/machine.ts';
import { closeFolder, type Dir, openRoot } from '../shared/syscalls.ts';

const machine = suite('processes');

function fieldsOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const part of child.stdout ?? []) {
    text += String(part);
    if (text.includes('\n')) break;
  }
  return text.trim();
}

machine('a process that ended and whose parent does not notice is gone; the parent is not', async () => {
  // What the shell turns into never waits for the child that the shell started.
  const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 30'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const pid = Number(await firstLine(parent));
    for (let tries = 0; fieldsOf(pid)[0] !== 'Z' && tries < 200; tries += 1)
      await new Promise((done) => setTimeout(done, 10));
    assert.is(fieldsOf(pid)[0], 'Z');
    assert.is(isGone({ ...thisProcess(), pid, start: fieldsOf(pid)[19] ?? '' }), true);
    const alive = { ...thisProcess(), pid: parent.pid ?? 0, start: fieldsOf(parent.pid ?? 0)[19] ?? '' };
    assert.is(isGone(alive), false);
    assert.is(isGone({ ...alive, start: '1' }), true, 'another process has its number');
  } finally {
    parent.kill('SIGKILL');
  }
});

machine('a process that cannot be seen from here is never taken for gone', () => {
  const dead = { ...thisProcess(), pid: 4_194_305 };
  assert.is(isGone(dead), true);
  assert.is(isGone({ ...dead, pid_namespace: 'pid:[1]' }), false);
  assert.is(isGone({ ...dead, machine_id: 'another' }), false);
  assert.is(isGone({ ...dead, boot_id: 'another', pid_namespace: 'pid:[1]' }), true, 'nothing outlives a boot');
  assert.is(isGone(thisProcess()), false);
});

machine.run();

const lock = suite('lock');
const options: LockOptions = {
  label: 'Photo',
  wait: 0,
  breakLock: false,
  network: false,
  signal: new AbortController().signal,
};

async function withRoot(work: (root: Dir, path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'tandem-lock-'));
  mkdirSync(join(path, '.tandem'));
  const root = openRoot(path);
  try {
    await work(root, join(path, '.tandem', 'lock'));
  } finally {
    closeFolder(root);
    rmSync(path, { recursive: true, force: true });
  }
}

const content = (change: object = {}): string =>
  JSON.stringify({ token: 't', counter: 0, ...thisProcess(), ...change });

lock('a living process holds it, and is named', () =>
  withRoot(async (root, path) => {
    const first = await DriveLock.acquire(root, options);
    assert.is(lockHolder(root)?.pid, process.pid);
    const error = await DriveLock.acquire(root, options).catch((reason: unknown) => reason);
    assert.ok(error instanceof TandemError && error.code === 'locked');
    assert.match(error.message, String(process.pid));
    first.confirm();
    first.release();
    assert.not(existsSync(path));
  }),
);

lock('what a pulled cable left of this very process is stale to it as soon as it works there no more', () =>
  withRoot(async (root, path) => {
    const first = await DriveLock.acquire(root, options);
    const left = readFileSync(path);
    first.release();
    // The drive was gone when it was let go of, and is back.
    writeFileSync(path, left);
    assert.is(lockHolder(root), null);
    const second = await DriveLock.acquire(root, options);
    assert.throws(() => first.confirm(), /being written by process/);
    const refused = await DriveLock.acquire(root, options).catch((reason: unknown) => reason);
    assert.ok(refused instanceof TandemError && refused.code === 'locked', 'what it does hold is held');
    first.release();
    second.confirm();
    second.release();
    assert.not(existsSync(path));
  }),
);

lock('what is no lock in its place neither hangs nor misleads, and is out of the way after a second', () => {
  const outside = mkdtempSync(join(tmpdir(), 'tandem-lock-outside-'));
  const elsewhere = join(outside, 'elsewhere');
  writeFileSync(elsewhere, content());
  const kinds: Record<string, (path: string) => unknown> = {
    pipe: (path) => assert.is(spawnSync('mkfifo', [path]).status, 0),
    'link to a valid lock': (path) => symlinkSync(elsewhere, path),
    'link to nothing': (path) => symlinkSync('nothing', path),
    socket: (path) => new Promise<void>((done) => createServer().listen(path, done).unref()),
    huge: (path) => writeFileSync(path, content() + ' '.repeat(2 ** 20)),
    'bad number': (path) => writeFileSync(path, content({ pid: 0 })),
    'every process': (path) => writeFileSync(path, content({ pid: -1 })),
    'not text': (path) => writeFileSync(path, Buffer.from([0xff, 0, 0x1b])),
    'no object': (path) => writeFileSync(path, 'null'),
  };
  const trial = (name: string, make: (path: string) => unknown): Promise<void> =>
    withRoot(async (root, path) => {
      await make(path);
      assert.is(lockHolder(root), null, name);
      const taken = await DriveLock.acquire(root, options);
      taken.confirm();
      assert.is(lockHolder(root)?.pid, process.pid, name);
      taken.release();
      assert.equal(readdirSync(join(path, '..')), [], name);
      assert.is(readFileSync(elsewhere, 'utf8'), content(), 'what a link led to is untouched');
    });
  return Promise.all(Object.entries(kinds).map(([name, make]) => trial(name, make)))
    .then(() => {})
    .finally(() => rmSync(outside, { recursive: true, force: true }));
});

lock('a folder in its place is moved aside with what is in it', () =>
  withRoot(async (root, path) => {
    mkdirSync(path);
    writeFileSync(join(path, 'mine'), '1');
    assert.is(lockHolder(root), null);
    (await DriveLock.acquire(root, options)).release();
    const [aside = ''] = readdirSync(join(path, '..'));
    assert.match(aside, /^lock\./);
    assert.is(readFileSync(join(path, '..', aside, 'mine'), 'utf8'), '1');
  }),
);

lock('a lock that was exchanged for a pipe is lost, not waited for', () =>
  withRoot(async (root, path) => {
    const held = await DriveLock.acquire(root, options);
    rmSync(path);
    assert.is(spawnSync('mkfifo', [path]).status, 0);
    assert.throws(() => held.confirm(), /is being written by another process/);
    held.release();
    assert.ok(existsSync(path), 'what is not ours stays');
  }),
);

lock(
  'a lock of a gone process, a former boot or another machine is taken; on a network drive not from another machine',
  () =>
    withRoot(async (root, path) => {
      for (const change of [{ start: '1' }, { boot_id: 'former' }, { machine_id: 'other' }, { pid: 4_194_305 }]) {
        writeFileSync(path, content(change));
        (await DriveLock.acquire(root, options)).release();
      }
      writeFileSync(path, content({ machine_id: 'other' }));
      const error = await DriveLock.acquire(root, { ...options, network: true }).catch((reason: unknown) => reason);
      assert.ok(error instanceof TandemError && error.code === 'locked');
      (await DriveLock.acquire(root, { ...options, network: true, breakLock: true })).release();
    }),
);

lock.run();
