import { spawnSync } from 'node:child_process';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addVirtualDrive, findDrive, listDrives, readSignature, writeSignature } from '../features/detect.ts';
import { type Check, panel, runChecks } from '../features/doctor.ts';
import { createGroup } from '../features/groups.ts';
import { syncToBackup } from '../features/sync.ts';
import { type Context, createContext } from '../shared/context.ts';
import { DriveLock } from '../shared/lock.ts';
import { closeFolder, openRoot } from '../shared/syscalls.ts';
import { type Sandbox, sandbox } from './helpers/cli.ts';
import { driveTest } from './helpers/drives.ts';
import { world } from './helpers/world.ts';

const test = suite('doctor');

/** A context without the process's own, so that every look is a first one. */
async function look(box: Sandbox, changes: Partial<Context> = {}): Promise<Map<string, Check>> {
  const ctx = createContext({ configDir: box.config, dataDir: box.data });
  try {
    const checks = await runChecks({ ...ctx, ...changes });
    for (const { status, message, hint } of checks) {
      assert.match(message, /[.?!]$/);
      if (status !== 'ok') assert.type(hint, 'string', `no way to mend: ${message}`);
    }
    return new Map(checks.map((check) => [check.name, check]));
  } finally {
    await ctx.close();
  }
}

async function withBox(work: (box: Sandbox, ctx: Context) => Promise<void>): Promise<void> {
  const box = sandbox();
  const ctx = createContext({ configDir: box.config, dataDir: box.data });
  try {
    await work(box, ctx);
  } finally {
    await ctx.close();
    box.cleanup();
  }
}

async function synced(box: Sandbox, ctx: Context): Promise<void> {
  const drives = await listDrives(ctx);
  const [master, backup] = [findDrive('MASTER', drives), findDrive('BACKUP', drives)];
  await createGroup({ name: 'Archive', master, backup }, ctx);
  world({ 'a.txt': '1' }, box.master);
  await syncToBackup('Archive', {}, ctx);
  await ctx.close();
}

function statusOf(checks: ReadonlyMap<string, Check>, name: string): string {
  const check = checks.get(name);
  assert.ok(check, `no check '${name}' among ${[...checks.keys()].join(', ')}`);
  return check.status;
}

/** Every file and folder with its content, owner's mode and times; the times of `root` itself are left out. */
function snapshot(root: string): string {
  const visit = (path: string): string[] =>
    readdirSync(path)
      .sort()
      .flatMap((name) => {
        const full = join(path, name);
        const { mode, mtimeMs, ino } = lstatSync(full);
        if (lstatSync(full).isDirectory()) return [`${full} ${mode}`, ...visit(full)];
        return [`${full} ${mode} ${mtimeMs} ${ino} ${readFileSync(full).toString('base64')}`];
      });
  return visit(root).join('\n');
}

test('a sound pair: nothing fails, every topic of both drives is there, and nothing is written', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    rmSync(join(box.data, 'cache'), { recursive: true, force: true });
    const before = snapshot(box.root);
    const checks = await look(box);
    assert.is(snapshot(box.root), before);
    assert.equal(
      [...checks.values()].filter(({ status }) => status === 'fail'),
      [],
    );
    for (const name of ['node', 'clock', 'settings', 'groups', 'data folder', 'database', 'journal', 'drives'])
      assert.is(statusOf(checks, name), 'ok');
    for (const role of ['master', 'backup'])
      for (const topic of ['signature', 'writable', 'space', 'lock', 'leftovers'])
        assert.is(statusOf(checks, `${topic}:Archive/${role}`), 'ok');
  });
});

test('the command exits with 0 when nothing fails and with 1 when something does', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    const good = await box.run(['doctor', '--json']);
    assert.is(good.code, 0);
    const { checks } = good.json() as { checks: Check[] };
    assert.equal(Object.keys(checks[0] ?? {}), ['name', 'status', 'message', 'hint']);
    writeFileSync(
      join(box.data, 'tandem.db'),
      'this is no database, and it is long enough to have a header of its own '.repeat(4),
    );
    const bad = await box.run(['doctor']);
    assert.is(bad.code, 1);
    assert.match(bad.stdout, /✗ .*tandem\.db is not a database\.\n {4}Run `tandem doctor --repair`/);
    assert.match(bad.stdout, /, 1 failed$/m);
  });
});

test('before the first run: no folder and no database are made', async () => {
  await withBox(async (box) => {
    rmSync(box.data, { recursive: true });
    rmSync(box.config, { recursive: true });
    const { code, stdout } = await box.run(['doctor']);
    assert.is(code, 0);
    assert.match(stdout, /the defaults hold/);
    assert.match(stdout, /will be made by the first run/);
    assert.equal(readdirSync(box.root).sort(), ['backup', 'master']);
  });
});

test('broken settings and groups fail with line and column, and the rest is still checked', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    writeFileSync(join(box.config, 'storage_groups.yaml'), 'version: 1\ngroups:\n  - id: "x"\n    nmae: \u001b[31m\n');
    const groups = await look(box);
    assert.is(statusOf(groups, 'groups'), 'fail');
    assert.match(groups.get('groups')?.message ?? '', /storage_groups\.yaml:\d+:\d+:/);
    assert.not.match(groups.get('groups')?.message ?? '', '\u001b');
    assert.is(statusOf(groups, 'drives'), 'ok');
    writeFileSync(join(box.config, 'app.yaml'), 'drives:\n  virtual: [\n');
    const settings = await look(box);
    assert.is(statusOf(settings, 'settings'), 'fail');
    assert.match(settings.get('settings')?.message ?? '', /app\.yaml:\d+:\d+:/);
    assert.is(settings.has('drives'), false, 'which drives there are cannot be known');
    assert.is(statusOf(settings, 'database'), 'ok');
  });
});

test('a database that is damaged inside, cut off, newer or older', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    const path = join(box.data, 'tandem.db');
    const sound = readFileSync(path);
    const patched = async (bytes: Uint8Array, offset: number): Promise<Check | undefined> => {
      writeFileSync(path, sound);
      const fd = openSync(path, 'r+');
      writeSync(fd, bytes, 0, bytes.length, offset);
      closeSync(fd);
      return (await look(box)).get('database');
    };
    const damaged = await patched(Buffer.alloc(sound.length - 8192, 0x5a), 8192);
    assert.is(damaged?.status, 'fail');
    assert.match(damaged?.hint ?? '', /Only the history is lost/);
    const newer = await patched(Buffer.from([0, 0, 3, 231]), 60);
    assert.is(newer?.status, 'fail');
    assert.match(newer?.message ?? '', /newer tandem \(schema 999/);
    assert.match(newer?.hint ?? '', /Update tandem/);
    const older = await patched(Buffer.from([0, 0, 0, 0]), 60);
    assert.is(older?.status, 'warn');
    assert.is(readFileSync(path).readUInt32BE(60), 0, 'it was not brought up to date');
    writeFileSync(path, sound);
    truncateSync(path, 5000);
    assert.is((await look(box)).get('database')?.status, 'fail');
    rmSync(path);
    mkdirSync(path);
    assert.is((await look(box)).get('database')?.status, 'fail');
  });
});

test('a data folder that is a file', async () => {
  await withBox(async (box) => {
    rmSync(box.data, { recursive: true });
    writeFileSync(box.data, '');
    assert.is(statusOf(await look(box), 'data folder'), 'fail');
    const below = createContext({ configDir: box.config, dataDir: join(box.data, 'below') });
    const checks = await runChecks(below);
    assert.is(checks.find(({ name }) => name === 'data folder')?.status, 'fail');
  });
});

test('missing programs are warnings that say what is lost', async () => {
  await withBox(async (box) => {
    const exec = (): Promise<never> => Promise.reject(Object.assign(new Error('spawn ENOENT'), { code: 'ENOENT' }));
    const checks = await look(box, { exec, platform: 'linux' });
    for (const name of ['lsblk', 'findmnt', 'udisksctl']) {
      assert.is(statusOf(checks, name), 'warn');
      assert.match(checks.get(name)?.message ?? '', 'ENOENT');
    }
    assert.is(statusOf(checks, 'drives'), 'ok', 'virtual drives need none of them');
  });
});

test('a clock before 2025 fails, one behind the newest run is a warning', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    assert.is(statusOf(await look(box, { now: () => new Date('1970-01-02') }), 'clock'), 'fail');
    const behind = await look(box, { now: () => new Date(Date.now() - 3_600_000) });
    assert.equal([statusOf(behind, 'clock'), statusOf(behind, 'journal')], ['ok', 'warn']);
  });
});

test('a drive that is away is a warning; one that lost or changed its signature fails', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    const signature = readSignature(box.backup);
    assert.ok(signature);
    const said = async (): Promise<Check> => {
      const check = (await look(box)).get('signature:Archive/backup');
      assert.ok(check);
      return check;
    };
    writeSignature(box.backup, { ...signature, group_id: 'other' });
    assert.is((await said()).status, 'fail');
    assert.match((await said()).message, /group_id is other/);
    writeSignature(box.backup, { ...signature, role: 'master' });
    assert.match((await said()).message, /role is master, expected backup/);
    writeSignature(box.backup, { ...signature, drive_uuid: 'impostor' });
    assert.match((await said()).message, /carries the signature of another drive/);
    rmSync(join(box.backup, '.tandem', 'drive.json'));
    assert.equal([(await said()).status, /no readable signature/.test((await said()).message)], ['fail', true]);
    renameSync(box.backup, `${box.backup}.away`);
    assert.equal([(await said()).status, /is not connected/.test((await said()).message)], ['warn', true]);
    assert.is((await box.run(['doctor'])).code, 0);
  });
});

test('one signature on two drives, and a drive of another size, are impostors', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    const signature = readSignature(box.backup);
    assert.ok(signature);
    const copy = join(box.root, 'copy');
    mkdirSync(copy);
    await addVirtualDrive(ctx, copy, 'COPY');
    writeSignature(copy, signature);
    const twice = (await look(box)).get('identity:Archive');
    assert.is(twice?.status, 'fail');
    assert.match(twice?.message ?? '', /'BACKUP' at .* and 'COPY' at/);
    rmSync(copy, { recursive: true });
    const path = join(box.config, 'app.yaml');
    const sized = readFileSync(path, 'utf8').replace(/label: BACKUP/, 'label: BACKUP\n      total_size: 1000000');
    writeFileSync(path, sized);
    assert.is((await look(box)).get('identity:Archive')?.status, 'fail');
  });
});

test('a living lock and the leftovers of an interrupted run are found; links are not followed', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    const partial = join(box.backup, '.tandem', 'partial');
    mkdirSync(join(partial, 'an-operation'), { recursive: true });
    const left = await look(box);
    assert.equal([statusOf(left, 'lock:Archive/backup'), statusOf(left, 'leftovers:Archive/backup')], ['ok', 'warn']);
    assert.match(left.get('leftovers:Archive/backup')?.message ?? '', /1 interrupted run left/);
    const root = openRoot(box.backup);
    try {
      const signal = new AbortController().signal;
      const lock = await DriveLock.acquire(root, { label: 'B', wait: 0, breakLock: false, network: false, signal });
      const held = (await look(box)).get('lock:Archive/backup');
      lock.release();
      assert.is(held?.status, 'warn');
      assert.match(held?.message ?? '', `process ${process.pid}`);
    } finally {
      closeFolder(root);
    }
    rmSync(partial, { recursive: true });
    symlinkSync(box.root, partial);
    assert.is(statusOf(await look(box), 'lock:Archive/backup'), 'fail');
    rmSync(partial);
    assert.is(spawnSync('mkfifo', [join(box.backup, '.tandem', 'lock')]).status, 0);
    assert.is(statusOf(await look(box), 'lock:Archive/backup'), 'fail', 'a pipe is not waited for');
  });
});

test('mount options that lose data fail, slow ones are a warning', async () => {
  await withBox(async (box, ctx) => {
    await synced(box, ctx);
    const said = async (options: string): Promise<string> => {
      const answer = { code: 0, stdout: `${options}\n`, stderr: '' };
      const exec: Context['exec'] = (file, args) =>
        file === 'findmnt' ? Promise.resolve(answer) : ctx.exec(file, args);
      return statusOf(await look(box, { exec, platform: 'linux' }), 'mount:Archive/backup');
    };
    assert.equal([await said('rw,noatime'), await said('rw,sync'), await said('rw,nobarrier')], ['ok', 'warn', 'fail']);
  });
});

test('hostile names never reach the terminal as they are', async () => {
  await withBox(async (box, ctx) => {
    writeFileSync(join(box.config, 'app.yaml'), 'version: 1\n');
    await addVirtualDrive(ctx, box.master, 'M\u001b[2J\nMASTER');
    await addVirtualDrive(ctx, box.backup, 'B\u202eACKUP');
    const [master, backup] = await listDrives(ctx);
    assert.ok(master && backup);
    await createGroup({ name: 'Archive', master, backup }, ctx);
    const { stdout } = await box.run(['doctor']);
    assert.match(stdout, 'M␛[2J␊MASTER');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
    assert.not.match(stdout, /[\u0000-\u0009\u000b-\u001f\u202e]/);
  });
});

test('the panel has the same checks', async () => {
  await withBox(async (_box, ctx) => {
    const rows = await panel.rows(ctx);
    assert.ok(rows.length > 5);
    assert.equal(
      rows.map((row) => panel.columns[0]?.value(row)),
      rows.map(({ name }) => name),
    );
  });
});

const PAIR = [
  { label: 'DocMaster', fs: 'ext4' },
  { label: 'DocBackup', fs: 'ext4' },
] as const;

driveTest(test, 'real drives: a read-only Backup and a filesystem with errors fail', PAIR, async ([master, backup]) => {
  assert.ok(master && backup);
  await withBox(async (box, ctx) => {
    writeFileSync(join(box.config, 'app.yaml'), 'version: 1\ndrives:\n  allow_fixed: ["Doc*"]\n');
    const drives = await listDrives(ctx);
    const input = { master: findDrive('DocMaster', drives), backup: findDrive('DocBackup', drives) };
    await createGroup({ name: 'Archive', ...input }, ctx);
    const sound = await look(box);
    assert.equal(
      [statusOf(sound, 'writable:Archive/backup'), statusOf(sound, 'filesystem:Archive/backup')],
      ['ok', 'ok'],
    );
    writeFileSync(`/sys/fs/ext4/${basename(backup.device)}/trigger_fs_error`, 'test');
    assert.is(statusOf(await look(box), 'filesystem:Archive/backup'), 'fail');
    for (const { mount } of [master, backup]) spawnSync('mount', ['-o', 'remount,ro', mount]);
    const checks = await look(box);
    assert.equal(
      [statusOf(checks, 'writable:Archive/master'), statusOf(checks, 'writable:Archive/backup')],
      ['ok', 'fail'],
    );
    assert.match(checks.get('writable:Archive/backup')?.message ?? '', /is read-only at/);
  });
});

driveTest(
  test,
  'a data folder on a read-only filesystem fails, without blaming the database',
  PAIR.slice(0, 1),
  async ([drive]) => {
    assert.ok(drive);
    await withBox(async (box) => {
      const place: Sandbox = { ...box, data: join(drive.mount, 'data') };
      const ctx = createContext({ configDir: place.config, dataDir: place.data });
      await ctx.db();
      await ctx.close();
      spawnSync('mount', ['-o', 'remount,ro', drive.mount]);
      const checks = await look(place);
      assert.equal([statusOf(checks, 'data folder'), statusOf(checks, 'database')], ['fail', 'warn']);
      assert.match(checks.get('data folder')?.message ?? '', 'EROFS');
    });
  },
);

test.run();
