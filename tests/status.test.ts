import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addVirtualDrive, findDrive, listDrives } from '../features/detect.ts';
import { createGroup } from '../features/groups.ts';
import { completeOperation, ensurePair, type OperationResult, startOperation } from '../features/history.ts';
import { adviceFor, panel, readStatus, type Status } from '../features/status.ts';
import { syncToBackup } from '../features/sync.ts';
import { type Context, createContext } from '../shared/context.ts';
import type { TandemEvent } from '../shared/events.ts';
import { removeConflicts, writeConflicts } from '../shared/inbox.ts';
import { REPOSITORY, type Sandbox, sandbox } from './helpers/cli.ts';
import { world } from './helpers/world.ts';

const test = suite('status');

const DAY = 86_400_000;
const RESULT: OperationResult = {
  files_copied: 0,
  files_skipped: 0,
  files_failed: 0,
  bytes_copied: 0,
  files_moved: 0,
  files_deleted: 0,
  conflicts_detected: 0,
  verified: 'none',
  problems: [],
  reason: null,
};

interface Place {
  box: Sandbox;
  ctx: Context;
  events: TandemEvent[];
  /** Moves the clock. */
  at(time: Date): void;
}

async function withPlace(work: (place: Place) => Promise<void>): Promise<void> {
  const box = sandbox();
  // A small drive's free space is its size, whatever others write to the disk below it meanwhile.
  const app = join(box.config, 'app.yaml');
  writeFileSync(app, readFileSync(app, 'utf8').replace(/( +)label: .*/g, '$&\n$1total_size: 1000000'));
  const events: TandemEvent[] = [];
  let now = new Date();
  const emit = (event: TandemEvent): void => void events.push(event);
  const ctx = createContext({ configDir: box.config, dataDir: box.data, now: () => now, emit });
  const at = (time: Date): void => {
    now = time;
  };
  try {
    await work({ box, ctx, events, at });
  } finally {
    await ctx.close();
    box.cleanup();
  }
}

async function pair(ctx: Context, name = 'Archive'): Promise<string> {
  const drives = await listDrives(ctx);
  const input = { name, master: findDrive('MASTER', drives), backup: findDrive('BACKUP', drives) };
  return (await createGroup(input, ctx)).group.id;
}

/** A run in the journal, as it would have been `days` ago. */
async function recorded(
  groupId: string,
  run: Partial<OperationResult> & { status?: 'completed' | 'failed' | 'cancelled'; subpath?: string; type?: string },
  ctx: Context,
): Promise<void> {
  const { status = 'completed', subpath = '', type = 'sync', ...result } = run;
  const uuid = crypto.randomUUID();
  const start = {
    uuid,
    group_id: groupId,
    operation_type: type,
    target_kind: 'group',
    target_name: 'Archive',
    subpath,
  };
  const id = await startOperation({ ...start, target_kind: 'group' }, ctx);
  await completeOperation(id, { ...RESULT, ...result }, status, ctx);
}

const only = (status: Status): Status['groups'][number] => {
  assert.is(status.groups.length, 1);
  return status.groups[0] as Status['groups'][number];
};
const texts = (status: Status): string =>
  adviceFor(status)
    .map(({ text }) => text)
    .join('\n');

test('without drives and groups it says what to do first, and writes nothing', async () => {
  await withPlace(async ({ box, ctx }) => {
    writeFileSync(join(box.config, 'app.yaml'), 'version: 1\n');
    const status = await readStatus(ctx);
    assert.equal([status.drives, status.groups, status.operations], [[], [], []]);
    assert.match(texts(status), /No group yet: connect two drives/);
    assert.is(await ctx.dbIfExists(), undefined, 'looking makes no database');
    const { code, stdout, stderr } = await box.run(['status']);
    assert.is(code, 0);
    assert.is(stderr, '');
    assert.match(stdout, /No drive is connected/);
    assert.match(stdout, /tandem groups create/);
  });
});

test('`tandem` alone prints the same as `tandem status`, and with two free drives names the next command', async () => {
  await withPlace(async ({ box }) => {
    const [bare, named] = [await box.run([]), await box.run(['status'])];
    assert.is(bare.stdout, named.stdout);
    assert.match(bare.stdout, /MASTER/);
    assert.match(bare.stdout, /No group yet: tandem groups create\n/);
  });
});

test('drives and groups in JSON have the shape of `detect list` and `groups list`', async () => {
  await withPlace(async ({ box, ctx }) => {
    const id = await pair(ctx);
    const status = (await box.run(['status', '--json'])).json() as Status;
    assert.equal(status.drives, (await box.run(['detect', 'list', '--json'])).json());
    const { last_success, days_since_last_success, open_conflicts, last_run, storage, ...listed } = only(status);
    assert.equal([listed], (await box.run(['groups', 'list', '--json'])).json());
    assert.equal(
      [last_success, days_since_last_success, open_conflicts, last_run, storage],
      [null, null, 0, null, null],
    );
    assert.is(listed.id, id);
    assert.not.ok(Number.isNaN(Date.parse(status.now)));
    assert.match(texts(status), /Archive was never synced as a whole: tandem sync run Archive/);
  });
});

test('a drive that is away: partial, then disconnected, and the advice names what to connect', async () => {
  await withPlace(async ({ box, ctx }) => {
    await pair(ctx);
    renameSync(box.backup, `${box.backup}.away`);
    const partial = await readStatus(ctx);
    assert.is(only(partial).status, 'partial');
    assert.match(texts(partial), /connect 'BACKUP', then tandem sync run Archive/);
    renameSync(box.master, `${box.master}.away`);
    const none = await readStatus(ctx);
    assert.is(only(none).status, 'disconnected');
    assert.equal(none.drives, []);
    assert.match(texts(none), /connect 'MASTER' and 'BACKUP', then/);
  });
});

test('after a real sync the Backup is fresh; nine days later it is nine days old', async () => {
  await withPlace(async ({ box, ctx, at }) => {
    await pair(ctx);
    world({ 'a.txt': '1' }, box.master);
    const { end_time } = await syncToBackup('Archive', {}, ctx);
    const fresh = await readStatus(ctx);
    assert.is(only(fresh).last_success, end_time);
    assert.is(only(fresh).days_since_last_success, 0);
    assert.equal(adviceFor(fresh), []);
    at(new Date(Date.parse(end_time) + 9 * DAY + 1000));
    const later = await readStatus(ctx);
    assert.is(only(later).days_since_last_success, 9);
    assert.match(texts(later), /Backup of Archive is 9 days old: tandem sync run Archive/);
    assert.is(adviceFor(later)[0]?.style, 'warn');
    at(new Date(Date.parse(end_time) - 5 * DAY));
    assert.is(only(await readStatus(ctx)).days_since_last_success, 0, 'never negative when the clock was set back');
  });
});

test('only a completed sync of the whole group counts as the last good one', async () => {
  await withPlace(async ({ ctx, at }) => {
    const id = await pair(ctx);
    const now = Date.now();
    at(new Date(now - 20 * DAY));
    await recorded(id, {}, ctx);
    at(new Date(now));
    await recorded(id, { subpath: 'Wedding' }, ctx);
    await recorded(id, { type: 'verify' }, ctx);
    await recorded(id, { status: 'cancelled' }, ctx);
    await recorded(id, { status: 'failed', reason: 'disk full', files_failed: 1 }, ctx);
    await recorded('another group', {}, ctx);
    const group = only(await readStatus(ctx));
    assert.is(group.days_since_last_success, 20);
    assert.is(group.last_run?.status, 'failed');
    assert.is(group.last_run?.reason, 'disk full');
    assert.match(
      texts(await readStatus(ctx)),
      /The last run of Archive failed \(disk full\): tandem history show \w{8}/,
    );
  });
});

test('more runs of folders than one page of the journal do not hide the last good sync', async () => {
  await withPlace(async ({ ctx }) => {
    const id = await pair(ctx);
    await recorded(id, {}, ctx);
    for (let count = 0; count < 60; count += 1) await recorded(id, { subpath: 'Wedding' }, ctx);
    const group = only(await readStatus(ctx));
    assert.is(group.days_since_last_success, 0);
  });
});

/** Puts conflicts into the inbox of a group; returns the number of its pair. */
async function waitFor(groupId: string, paths: readonly string[], ctx: Context): Promise<number> {
  const pairId = await ensurePair(groupId, 'one', 'two', ctx);
  const entry = {
    conflict_type: 'modified_both',
    reason: 'r',
    entry: 'f',
    master_facts: null,
    backup_facts: null,
  } as const;
  const entries = paths.map((path) => ({ path, ...entry }));
  await writeConflicts(pairId, groupId, null, entries, ctx);
  return pairId;
}

test('conflicts are those that wait in the inbox, whatever the last runs said', async () => {
  await withPlace(async ({ ctx }) => {
    const id = await pair(ctx);
    const open = async (): Promise<number> => only(await readStatus(ctx)).open_conflicts;
    await recorded(id, { conflicts_detected: 3 }, ctx);
    assert.is(await open(), 0);
    const pairId = await waitFor(id, ['a', 'b'], ctx);
    assert.is(await open(), 2);
    assert.match(texts(await readStatus(ctx)), /2 conflicts wait in Archive, .*tandem conflicts list/);
    await removeConflicts(pairId, ['a'], ctx);
    assert.match(texts(await readStatus(ctx)), /1 conflict waits in Archive/);
    await removeConflicts(pairId, ['b'], ctx);
    assert.is(await open(), 0);
  });
});

/** Another process that began an operation, reported progress, and goes on for ever. */
async function otherProcess(box: Sandbox): Promise<ChildProcess> {
  const progress = {
    phase: 'copy',
    files_done: 120,
    files_total: 400,
    files_copied: 120,
    files_skipped: 0,
    files_failed: 0,
    bytes_done: 5e9,
    bytes_total: 2e10,
    rate: 1.5e8,
    eta: 100,
    current: ['Day1/\u001b[2JIMG_0001.CR3'],
    paused: false,
  };
  const start = {
    uuid: '3f2a91aa-0000-4000-8000-000000000001',
    group_id: 'g',
    operation_type: 'sync',
    target_kind: 'group',
    target_name: 'Ar\u001b[31mchive',
    subpath: '',
  };
  const code = `
    const { createContext } = await import('./shared/context.ts');
    const { startOperation } = await import('./features/history.ts');
    const { reportProgress } = await import('./features/steering.ts');
    const ctx = createContext(${JSON.stringify({ configDir: box.config, dataDir: box.data })});
    const id = await startOperation(${JSON.stringify(start)}, ctx);
    await reportProgress(id, ${JSON.stringify(progress)}, ctx);
    console.log('ready');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    cwd: REPOSITORY,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  assert.match(String(said[0]), 'ready');
  return child;
}

test('a run of another process is shown with progress; when it is killed it is interrupted', async () => {
  await withPlace(async ({ box, ctx }) => {
    const child = await otherProcess(box);
    try {
      const [operation, ...others] = (await readStatus(ctx)).operations;
      assert.is(others.length, 0);
      assert.is(operation?.process_id, child.pid);
      assert.is(operation?.progress?.files_done, 120);
      const { stdout } = await box.run(['status']);
      assert.match(stdout, /Running\nsync of Ar␛\[31mchive {2}3f2a91aa, process \d+/);
      assert.match(stdout, /120\/400 files {2}5\.00 GB {2}150 MB\/s {2}1 min 40 s left/);
      assert.match(stdout, /IMG_0001\.CR3/);
      assert.not.match(stdout, '\u001b');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    assert.equal((await readStatus(ctx)).operations, []);
    const list = (await box.run(['history', 'list', '--json'])).json() as { status: string; reason: string }[];
    assert.equal(
      list.map(({ status, reason }) => [status, reason]),
      [['failed', 'interrupted']],
    );
  });
});

test('hostile labels, names and reasons reach neither the terminal nor a pasted command', async () => {
  await withPlace(async ({ box, ctx }) => {
    writeFileSync(join(box.config, 'app.yaml'), 'version: 1\n');
    await addVirtualDrive(ctx, box.master, 'M\u001b]0;x\u0007\nMASTER');
    await addVirtualDrive(ctx, box.backup, 'B\u202eACKUP');
    const [master, backup] = await listDrives(ctx);
    assert.ok(master && backup);
    const { group } = await createGroup({ name: "-rf $(reboot) 'x'", master, backup }, ctx);
    await recorded(group.id, { status: 'failed', reason: 'gone\r\u001b[1A\nerror', files_failed: 1 }, ctx);
    await waitFor(group.id, ['n\nl'], ctx);
    await recorded(group.id, { status: 'failed', reason: 'gone\r\u001b[1A\nerror' }, ctx);
    renameSync(box.backup, `${box.backup}.away`);
    const { stdout, code } = await box.run(['status']);
    assert.is(code, 0);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
    assert.not.match(stdout, /[\u0000-\u0009\u000b-\u001f\u202e]/);
    assert.not.match(stdout, /^(MASTER|error)/m);
    assert.not.match(stdout, /tandem sync \w+ -rf/);
    assert.match(stdout, `tandem conflicts list ${group.id.slice(0, 8)}`);
  });
});

test('a broken groups file is an error with its line, a damaged signature one warning', async () => {
  await withPlace(async ({ box, ctx, events }) => {
    await pair(ctx);
    writeFileSync(join(box.backup, '.tandem', 'drive.json'), '{');
    const status = await readStatus(ctx);
    assert.is(only(status).status, 'partial');
    const warnings = events.filter(({ kind }) => kind === 'warning');
    assert.is(warnings.length, 1, JSON.stringify(warnings));
    writeFileSync(join(box.config, 'storage_groups.yaml'), 'version: 1\ngroups: [\n');
    const { code, stderr } = await box.run(['status']);
    assert.is(code, 2);
    assert.match(stderr, /storage_groups\.yaml:\d+:\d+:/);
  });
});

test('the panel has the groups, and syncs only a complete pair', async () => {
  await withPlace(async ({ box, ctx }) => {
    const id = await pair(ctx);
    const sync = panel.actions.find(({ key }) => key === 's');
    const [whole] = await panel.rows(ctx);
    assert.ok(whole && sync);
    assert.equal(sync.command(whole), ['sync', 'run', id]);
    assert.is(sync.disabled?.(whole), undefined);
    renameSync(box.backup, `${box.backup}.away`);
    const [half] = await panel.rows(ctx);
    assert.type(half && sync.disabled?.(half), 'string');
    assert.equal(panel.columns.map((column) => column.value(whole)).slice(-2), ['never', '—']);
  });
});

test.run();
