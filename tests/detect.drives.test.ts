/** Real drives on loop devices: needs root, loop devices, and mkfs for ext4, exFAT and NTFS with their FUSE drivers. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as detect from '../features/detect.ts';
import { type Context, createContext } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { renderTable } from '../shared/feature.ts';
import { thisProcess } from '../shared/machine.ts';

const test = suite('detect on real drives');
const base = fs.mkdtempSync(join(tmpdir(), 'tandem-drives-'));
const loops = new Set<string>();
const mounts = new Set<string>();
let count = 0;

test.after.each(() => {
  for (const path of [...mounts].reverse()) quietly('umount', path);
  for (const loop of loops) quietly('losetup', '-d', loop);
  mounts.clear();
  loops.clear();
});
test.after(() => fs.rmSync(base, { recursive: true, force: true }));

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function quietly(program: string, ...args: string[]): void {
  try {
    run(program, ...args);
  } catch {
    // Gone already, as most tests intend.
  }
}

const MAKE = {
  ext4: (device: string, label: string) => run('mkfs.ext4', '-q', '-L', label, device),
  exfat: (device: string, label: string) => run('mkfs.exfat', '-L', label, device),
  ntfs: (device: string, label: string) => run('mkntfs', '-q', '-F', '-L', label, device),
};

/** A formatted loop device of 32 MiB. */
function makeLoop(type: keyof typeof MAKE, label: string): string {
  count += 1;
  const image = join(base, `${count}.img`);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 32 * 1024 * 1024);
  const loop = run('losetup', '-f', '--show', image).trim();
  loops.add(loop);
  MAKE[type](loop, label);
  return loop;
}

function mount(loop: string, type: keyof typeof MAKE, name: string): string {
  const path = join(base, name);
  fs.mkdirSync(path, { recursive: true });
  if (type === 'ext4') run('mount', loop, path);
  else run(type === 'exfat' ? 'mount.exfat-fuse' : 'ntfs-3g', loop, path);
  mounts.add(path);
  return path;
}

function contextWith(options: Parameters<typeof createContext>[0] = {}, allow: unknown = [`${base}/*`]): Context {
  count += 1;
  const configDir = join(base, `config-${count}`);
  fs.mkdirSync(configDir);
  fs.writeFileSync(join(configDir, 'app.yaml'), `drives:\n  allow_fixed: ${JSON.stringify(allow)}\n`);
  return createContext({ configDir, dataDir: configDir, ...options });
}

async function rejected(promise: Promise<unknown>): Promise<TandemError> {
  const error = await promise.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof TandemError) return error;
  throw error;
}

const isMounted = (path: string): boolean => fs.readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `);

for (const type of ['ext4', 'exfat', 'ntfs'] as const) {
  test(`${type}: filesystem, label, id and size are found, also where the mount says fuseblk`, async () => {
    const loop = makeLoop(type, `L ${type}`);
    const path = mount(loop, type, `m ${type}`);
    const found = detect.findDrive(path, await detect.listDrives(contextWith()));
    assert.is(found.filesystem, type);
    assert.is(found.label, `L ${type}`);
    assert.is(found.device, loop);
    assert.is(found.disk, loop);
    assert.ok(found.fs_uuid);
    assert.is(found.read_only, false);
    assert.ok(found.total_size > 20e6 && found.total_size <= 33_554_432, String(found.total_size));
    assert.ok(found.free_size > 0 && found.free_size <= found.total_size);
    const { dev } = fs.statSync(path);
    assert.is(found.device_number, `${dev >> 8}:${dev & 0xff}`);
  });
}

const PROBED = {
  ext4: {
    mtime_granularity_ns: 1,
    case_sensitive: true,
    symlinks: true,
    hard_links: true,
    permissions: true,
    xattrs: true,
    exchange: true,
    stable_ids: true,
  },
  exfat: {
    mtime_granularity_ns: 1e9,
    case_sensitive: false,
    symlinks: false,
    hard_links: false,
    permissions: false,
    xattrs: false,
    exchange: false,
    stable_ids: false,
  },
  ntfs: {
    mtime_granularity_ns: 100,
    // The Linux driver tells A from a; Windows and macOS, where the drive may go next, do not.
    case_sensitive: false,
    symlinks: true,
    hard_links: true,
    permissions: false,
    xattrs: true,
    exchange: false,
    stable_ids: true,
    name_unit: 'utf16',
  },
};

for (const type of ['ext4', 'exfat', 'ntfs'] as const) {
  test(`${type}: traits are what the drive does, the drive is left as it was, a signature comes back after a remount`, async () => {
    const loop = makeLoop(type, 'T');
    const path = mount(loop, type, `t ${type}`);
    const before = fs.readdirSync(path);
    const traits = detect.probeTraits(path, type);
    assert.equal(fs.readdirSync(path), before);
    for (const [key, value] of Object.entries(PROBED[type])) assert.is(traits[key as keyof detect.Traits], value, key);
    detect.writeSignature(path, {
      tandem_version: '0.1.0',
      drive_uuid: `uuid-${type}`,
      group_id: 'g',
      role: 'backup',
      label: 'T',
      serial_number: null,
      total_size: 1,
      created_at: '2026-01-12T10:00:00Z',
      traits,
    });
    run('umount', path);
    mount(loop, type, `t ${type} again`);
    const found = detect.findDrive(`uuid-${type}`, await detect.listDrives(contextWith()));
    assert.equal([found.role, found.group_id, found.mount_path], ['backup', 'g', join(base, `t ${type} again`)]);
  });
}

test('loop devices and the system disk are drives only when allowed, by device, label or mount path', async () => {
  const loop = makeLoop('ext4', 'Dock 7');
  const path = mount(loop, 'ext4', 'allowed');
  const paths = async (allow: unknown) =>
    (await detect.listDrives(contextWith({}, allow))).map((drive) => drive.mount_path);
  assert.not((await paths(false)).includes(path));
  assert.not((await paths(false)).includes('/'));
  assert.not((await paths(['nothing*'])).includes(path));
  for (const allow of [['Dock 7'], [loop], [`*/allowed`]])
    assert.equal(await paths(allow), [path], JSON.stringify(allow));
  assert.ok((await paths(true)).includes(path));
});

test('hostile labels and mount paths are kept as they are, and shown safely on one line', async () => {
  const label = 'a\u001b[2J"\nb';
  const path = mount(makeLoop('ext4', label), 'ext4', 'x\n\u001b]0;t\u0007 "\\040ä');
  const drives = (await detect.listDrives(contextWith())).filter((drive) => drive.mount_path === path);
  assert.equal(
    drives.map((drive) => drive.label),
    [label],
  );
  const text = renderTable(drives, detect.panel.columns, (_, plain) => plain);
  assert.is(text.split('\n').length, 2);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
  assert.not.match(text.replaceAll('\n', ''), /[\u0000-\u001f\u007f]/);
  await detect.ejectDrive(drives[0] as detect.DriveInfo, contextWith());
  assert.not(isMounted(path.replaceAll('\n', '\\012').replaceAll(' ', '\\040')));
});

test('a drive without a label takes the name of its mount folder', async () => {
  const path = mount(makeLoop('ext4', ''), 'ext4', 'folder name');
  assert.is(detect.findDrive(path, await detect.listDrives(contextWith())).label, 'folder name');
});

test('a mount path that is not UTF-8 is left out with a warning', async () => {
  const loop = makeLoop('ext4', 'bytes');
  const path = Buffer.concat([Buffer.from(`${base}/b`), Buffer.from([0xff])]);
  fs.mkdirSync(path);
  run('sh', '-c', `mount ${loop} "$(printf '${base}/b\\377')"`);
  try {
    const warnings: string[] = [];
    const ctx = contextWith({ emit: (event) => void (event.kind === 'warning' && warnings.push(event.message)) }, [
      loop,
    ]);
    assert.equal(await detect.listDrives(ctx), []);
    assert.is(warnings.length, 1);
    assert.match(warnings[0] ?? '', loop);
  } finally {
    run('sh', '-c', `umount "$(printf '${base}/b\\377')"`);
  }
});

test('bind mounts and second mounts are no second drive, stacked mounts show the upper one, hidden ones are left out', async () => {
  const lower = makeLoop('ext4', 'lower');
  const upper = makeLoop('ext4', 'upper');
  const path = mount(lower, 'ext4', 'long name of the first mount');
  fs.mkdirSync(join(path, 'sub'));
  for (const [name, source] of [
    ['s', path],
    ['sub', join(path, 'sub')],
  ] as const) {
    fs.mkdirSync(join(base, name));
    run('mount', '--bind', source, join(base, name));
    mounts.add(join(base, name));
  }
  const own = async (): Promise<string[][]> =>
    (await detect.listDrives(contextWith())).map((drive) => [drive.label, drive.mount_path]);
  assert.equal(await own(), [['lower', path]]);
  run('mount', upper, path);
  try {
    assert.equal(await own(), [
      ['upper', path],
      ['lower', join(base, 's')],
    ]);
  } finally {
    run('umount', path);
  }
});

test('a read-only mount is told', async () => {
  const path = mount(makeLoop('ext4', 'ro'), 'ext4', 'ro');
  run('mount', '-o', 'remount,ro', path);
  const found = detect.findDrive(path, await detect.listDrives(contextWith()));
  assert.is(found.read_only, true);
  assert.is((await detect.listDrives(contextWith())).length, 1);
  let code = '';
  try {
    detect.probeTraits(path, 'ext4');
  } catch (error) {
    code = (error as TandemError).code;
  }
  assert.is(code, 'failed');
});

test('without lsblk and blkid drives are still listed, under the names of their folders', async () => {
  const path = mount(makeLoop('ext4', 'named'), 'ext4', 'no tools');
  const exec = () => Promise.reject(Object.assign(new Error('no such program'), { code: 'ENOENT' }));
  const found = detect.findDrive(path, await detect.listDrives(contextWith({ exec })));
  assert.equal([found.label, found.filesystem, found.fs_uuid], ['no tools', 'ext4', null]);
});

test('a virtual drive on a FUSE mount knows the filesystem below it, and replaces the drive of the same folder', async () => {
  const path = mount(makeLoop('exfat', 'E'), 'exfat', 'below');
  const ctx = contextWith();
  await detect.addVirtualDrive(ctx, path, 'Virtual');
  const drives = await detect.listDrives(ctx);
  assert.equal(
    drives.map((drive) => [drive.label, drive.filesystem, drive.virtual]),
    [['Virtual', 'exfat', true]],
  );
});

for (const type of ['ext4', 'exfat', 'ntfs'] as const) {
  test(`eject ${type}: everything is written and every mount of the device is gone`, async () => {
    const loop = makeLoop(type, 'out');
    const path = mount(loop, type, `out-${type}`);
    fs.writeFileSync(join(path, 'file'), 'content');
    const second = join(base, `second-${type}`);
    fs.mkdirSync(second);
    run('mount', '--bind', path, second);
    mounts.add(second);
    const found = detect.findDrive(path, await detect.listDrives(contextWith()));
    await detect.ejectDrive(found, contextWith());
    assert.not(isMounted(path));
    assert.not(isMounted(second));
    assert.is(fs.readFileSync(join(mount(loop, type, `out-${type}`), 'file'), 'utf8'), 'content');
  });
}

test('eject: a busy drive and one locked by a run stay mounted, with a hint', async () => {
  const path = mount(makeLoop('ext4', 'busy'), 'ext4', 'busy one');
  const ctx = contextWith();
  const found = detect.findDrive(path, await detect.listDrives(ctx));
  const fd = fs.openSync(join(path, 'file'), 'w');
  try {
    const error = await rejected(detect.ejectDrive(found, ctx));
    assert.is(error.code, 'locked');
    assert.match(error.hint ?? '', `lsof +f -- '${path}'`);
  } finally {
    fs.closeSync(fd);
  }
  fs.mkdirSync(join(path, '.tandem'));
  fs.writeFileSync(
    join(path, '.tandem/lock'),
    JSON.stringify({ token: 't', counter: 0, ...thisProcess(), pid: process.ppid, start: '' }),
  );
  assert.is((await rejected(detect.ejectDrive(found, ctx))).code, 'locked');
  assert.ok(isMounted(path.replaceAll(' ', '\\040')));
  fs.rmSync(join(path, '.tandem/lock'));
  await detect.ejectDrive(found, ctx);
});

test('eject: flushes first, asks udisks before umount, and powers a USB disk down last', async () => {
  const path = mount(makeLoop('ext4', 'udisks'), 'ext4', 'udisks');
  const usb = { ...detect.findDrive(path, await detect.listDrives(contextWith())), transport: 'usb' };
  const calls: string[] = [];
  const exec = (program: string, args: readonly string[]) => {
    calls.push(`${program} ${args[0]} ${args.at(-1)}`);
    if (program === 'udisksctl' && args[0] === 'unmount') run('umount', path);
    return Promise.resolve({ code: 0, stdout: '', stderr: '' });
  };
  await detect.ejectDrive(usb, contextWith({ exec }));
  assert.equal(calls, [`sync -f ${path}`, `udisksctl unmount ${usb.device}`, `udisksctl power-off ${usb.disk}`]);
});

test('eject: a failed flush, a busy answer of udisks and an unmount that did nothing are errors', async () => {
  const path = mount(makeLoop('ext4', 'refuse'), 'ext4', 'refuse');
  const found = detect.findDrive(path, await detect.listDrives(contextWith()));
  const answer = async (program: string, code: number, stderr: string): Promise<TandemError> => {
    const exec = (name: string) => Promise.resolve({ code: name === program ? code : 0, stdout: '', stderr });
    return rejected(detect.ejectDrive(found, contextWith({ exec })));
  };
  const flush = await answer('sync', 1, 'sync: error syncing: Input/output error\u001b[2J');
  assert.is(flush.code, 'failed');
  assert.match(flush.message, 'Input/output error');
  assert.not.match(flush.message, '\u001b');
  assert.is((await answer('udisksctl', 1, 'Error unmounting /dev/x: target is busy')).code, 'locked');
  assert.match((await answer('none', 0, '')).message, 'still mounted');
  assert.ok(isMounted(path));
});

test('eject: another drive that took the place meanwhile is left alone', async () => {
  const path = mount(makeLoop('ext4', 'first'), 'ext4', 'place');
  const found = detect.findDrive(path, await detect.listDrives(contextWith()));
  run('umount', path);
  mount(makeLoop('ext4', 'second'), 'ext4', 'place');
  assert.is((await rejected(detect.ejectDrive(found, contextWith()))).code, 'drive_missing');
  assert.ok(isMounted(path));
});

test('watch sees a drive plugged, remounted in place and elsewhere, changed, and unplugged', async () => {
  const loop = makeLoop('ext4', 'watched');
  const stop = new AbortController();
  const seen: detect.DriveEvent[] = [];
  const label = (event: detect.DriveEvent): boolean => event.drive.label === 'watched';
  const watching = detect.watchDrives(
    contextWith({ signal: stop.signal }),
    (event) => void (label(event) && seen.push(event)),
  );
  const until = async (done: () => boolean, what: string): Promise<void> => {
    for (let round = 0; round < 100; round += 1) {
      if (done()) return;
      await new Promise((next) => setTimeout(next, 50));
    }
    throw new Error(`never ${what}: ${JSON.stringify(seen.map((event) => event.kind))}`);
  };
  const last = (): string | undefined => seen.at(-1)?.kind;
  try {
    await new Promise((next) => setTimeout(next, 300));
    const path = mount(loop, 'ext4', 'w1');
    await until(() => last() === 'plugged', 'plugged');
    // One process unmounts and mounts faster than a listing: it must be told all the same.
    run('sh', '-c', `umount ${path} && mount ${loop} ${path}`);
    await until(() => seen.length > 1 && last() !== 'unplugged', 'remounted in place');
    assert.ok(last() === 'remounted' || last() === 'plugged');
    run('mount', '-o', 'remount,ro', path);
    await until(() => last() === 'changed', 'changed');
    assert.is(seen.at(-1)?.drive.read_only, true);
    run('umount', path);
    await until(() => last() === 'unplugged', 'unplugged');
    assert.is(seen.at(-1)?.drive.mount_path, path);
  } finally {
    stop.abort();
    await watching;
  }
});

test('a moved mount is one remount, with the former place', async () => {
  const loop = makeLoop('ext4', 'moved');
  const first = mount(loop, 'ext4', 'from');
  const before = await detect.listDrives(contextWith());
  run('umount', first);
  const second = mount(loop, 'ext4', 'to');
  const events = detect.compareDrives(before, await detect.listDrives(contextWith()));
  assert.equal(
    events.map((event) => [event.kind, event.previous?.mount_path, event.drive.mount_path]),
    [['remounted', first, second]],
  );
});

test('detect watch --json prints one document a line and leaves no child behind', async () => {
  const loop = makeLoop('ext4', 'cli');
  const { configDir } = contextWith();
  const feature = new URL('../features/detect.ts', import.meta.url).pathname;
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', 'tsx', feature, 'watch', '--json', '--config', configDir],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let stdout = '';
  child.stdout?.on('data', (text) => {
    stdout += text;
  });
  const ended = new Promise<number | null>((done) => child.on('close', (code) => done(code)));
  const children = (): string[] =>
    fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ');
  const pause = (ms: number): Promise<void> => new Promise((next) => setTimeout(next, ms));
  let followers: string[] = [];
  try {
    const isFindmnt = (pid: string): boolean =>
      pid !== '' && fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'findmnt';
    for (let round = 0; round < 100 && followers.length === 0; round += 1) {
      await pause(50);
      followers = children().filter(isFindmnt);
    }
    await pause(300);
    const path = mount(loop, 'ext4', 'cli');
    for (let round = 0; round < 300 && !/plugged.*\n/.test(stdout); round += 1) await pause(50);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; drive: detect.DriveInfo });
    assert.equal(
      lines.map((line) => [line.kind, line.drive.mount_path]),
      [['plugged', path]],
    );
  } finally {
    child.kill('SIGINT');
  }
  assert.is(await ended, 0);
  assert.is(followers.length, 1);
  for (let round = 0; round < 40 && fs.existsSync(`/proc/${followers[0]}`); round += 1) await pause(50);
  assert.not(fs.existsSync(`/proc/${followers[0]}`));
});

test.run();
