/** The scripts of docs/examples do what their first line says, on virtual practice drives. */
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type CliResult, REPOSITORY, type Sandbox, sandbox } from './helpers/cli.ts';
import { treeOf, world } from './helpers/world.ts';

const test = suite('examples');
const FOLDER = join(REPOSITORY, 'docs', 'examples');
const tried = new Set<string>();

function example(box: Sandbox, name: string, ...args: string[]): Promise<CliResult> {
  tried.add(`${name}.ts`);
  return box.run(args, { program: ['--import', import.meta.resolve('tsx'), join(FOLDER, `${name}.ts`)] });
}

async function withBox(work: (box: Sandbox) => Promise<void>): Promise<void> {
  const box = sandbox();
  try {
    await work(box);
  } finally {
    box.cleanup();
  }
}

async function paired(box: Sandbox): Promise<void> {
  const { code, stderr } = await box.run(['groups', 'create', 'Archive', '--master', 'MASTER', '--backup', 'BACKUP']);
  assert.is(code, 0, stderr);
}

test('detect_drives lists both practice drives, before and after they are paired', () =>
  withBox(async (box) => {
    const before = await example(box, 'detect_drives');
    assert.is(before.code, 0, before.stderr);
    assert.match(before.stdout, /^Drives: 2\n/);
    assert.ok(before.stdout.includes(`MASTER at ${box.master}: in no group\n  virtual, `), before.stdout);
    await paired(box);
    const after = await example(box, 'detect_drives');
    assert.ok(after.stdout.includes(`MASTER at ${box.master}: master of Archive\n`), after.stdout);
    assert.ok(after.stdout.includes(`BACKUP at ${box.backup}: backup of Archive\n`), after.stdout);
  }));

test('create_storage_group pairs and signs, and list_storage_groups shows it', () =>
  withBox(async (box) => {
    assert.is((await example(box, 'list_storage_groups')).stdout, 'No groups yet.\n');
    const created = await example(box, 'create_storage_group', 'Archive', 'MASTER', 'BACKUP', 'Weddings');
    assert.is(created.code, 0, created.stderr);
    const signature = JSON.parse(readFileSync(join(box.master, '.tandem', 'drive.json'), 'utf8'));
    assert.ok(created.stdout.includes(`master: MASTER, signed as ${signature.drive_uuid}\n`), created.stdout);
    const listed = await example(box, 'list_storage_groups');
    assert.ok(listed.stdout.startsWith(`Groups: 1\nArchive (${signature.group_id}): connected\n`), listed.stdout);
    assert.match(listed.stdout, / {2}backup: BACKUP, \d.*, no serial number\n/);
    const [group] = (await box.run(['groups', 'list', '--json'])).json() as { description: string }[];
    assert.is(group?.description, 'Weddings');
  }));

test('create_storage_group refuses one drive in both roles, and leaves no signature', () =>
  withBox(async (box) => {
    const refused = await example(box, 'create_storage_group', 'Archive', 'MASTER', 'MASTER');
    assert.is(refused.code, 2);
    assert.match(refused.stderr, /Master and Backup cannot be the same drive/);
    assert.equal(readdirSync(box.master), []);
  }));

test('storage_group_status tells both drives, then the Backup alone, then that none is there', () =>
  withBox(async (box) => {
    await paired(box);
    const both = await example(box, 'storage_group_status', 'Archive');
    assert.is(both.code, 0, both.stderr);
    assert.match(both.stdout, /^Archive: ✓ Both Connected\n/);
    assert.ok(both.stdout.includes(`work on: ${box.master} (master)`), both.stdout);
    rmSync(box.master, { recursive: true });
    const partial = await example(box, 'storage_group_status', 'Archive');
    assert.match(partial.stdout, /^Archive: ⚠ Partial\n {2}master: not connected\n/);
    assert.ok(partial.stdout.includes(`work on: ${box.backup} (backup)`), partial.stdout);
    rmSync(box.backup, { recursive: true });
    const none = await example(box, 'storage_group_status', 'Archive');
    assert.is(none.code, 5);
    assert.match(none.stdout, /^Archive: ✗ Disconnected\n/);
    assert.match(none.stderr, /^No drives available for 'Archive'/);
  }));

test('manual_sync copies, names conflicts, and takes a folder; sync_history tells of it', () =>
  withBox(async (box) => {
    world({ 'Wedding/a.cr3': 'raw', 'Wedding/\u001b[2Jb.cr3': 'hostile', 'Other/c.jpg': 'picture' }, box.master);
    await paired(box);
    const part = await example(box, 'manual_sync', 'Archive', 'Other');
    assert.is(part.code, 0, part.stderr);
    assert.match(part.stdout, /^completed: 1 copied, 0 skipped$/m);
    assert.equal(Object.keys(treeOf(box.backup)), ['Other/', 'Other/c.jpg']);
    world({ 'Wedding/\u001b[2Jb.cr3': 'of another origin' }, box.backup);
    const whole = await example(box, 'manual_sync', 'Archive');
    assert.match(whole.stdout, /^completed: 1 copied, 1 skipped$/m);
    assert.match(whole.stdout, /^conflict: Wedding\/␛\[2Jb\.cr3 \(modified_both\)$/m);
    assert.is(readFileSync(join(box.backup, 'Wedding', '\u001b[2Jb.cr3'), 'utf8'), 'of another origin');
    const history = await example(box, 'sync_history', 'Archive', '1');
    assert.is(history.code, 0, history.stderr);
    assert.match(history.stdout, /^2 {2}\S+ {2}completed {2}1 copied, 1 skipped, 3 B\n/);
    assert.match(history.stdout, /^ {2}copy done: Wedding\/a\.cr3$/m);
    assert.match(history.stdout, /^Operation ID,Type,Status,.*\n1,sync,completed,1,.*\n2,sync,completed,1,/m);
    assert.not.ok(history.stdout.includes('\u001b'), 'no control character reaches the terminal');
  }));

test('realtime_sync_monitor brings what changes to the Backup while it runs', () =>
  withBox(async (box) => {
    world({ 'Wedding/a.cr3': 'raw' }, box.master);
    await paired(box);
    const { code, stdout, stderr } = await example(box, 'realtime_sync_monitor', 'Archive', '0.2');
    assert.is(code, 0, stderr);
    assert.match(stdout, /^Archive: enabled true\nArchive: starting\ncompleted: 1 copied\n/);
    assert.match(stdout, /^Archive: active$/m);
    assert.match(stdout, /^Archive: stopped, last sync 20/m);
  }));

test('scheduled_sync_setup makes two schedules, also a second time, and says when they run', () =>
  withBox(async (box) => {
    await paired(box);
    for (let time = 0; time < 2; time += 1) {
      const { code, stdout, stderr } = await example(box, 'scheduled_sync_setup', 'Archive', 'Projects/Mine');
      assert.is(code, 0, stderr);
      assert.match(
        stdout,
        /^project-auto-sync: Archive, enabled\n( {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n){3}nightly-backup: /,
      );
      assert.is(stdout.match(/ 0[23]:00:00$/gm)?.length, 3);
    }
    const listed = (await box.run(['schedule', 'list', '--json'])).json() as { path: string }[];
    assert.equal(
      listed.map(({ path }) => path),
      ['Projects/Mine', 'Projects/Mine'],
    );
  }));

test('sync_with_encryption makes the key ring once, seals the Backup and reports what it saves', () =>
  withBox(async (box) => {
    await paired(box);
    world({ 'notes.txt': 'line after line\n'.repeat(2000) }, box.master);
    const file = join(box.root, 'password');
    writeFileSync(file, 'a wedding in June', { mode: 0o600 });
    const first = await example(box, 'sync_with_encryption', 'Archive', file);
    assert.is(first.code, 0, first.stderr);
    assert.match(first.stdout, /^Recovery key.*\n(?:\w{5}-\w{5}-\w{5}\n){4}completed: 1 copied\nFiles: 1\n/);
    assert.match(first.stdout, /Compression ratio: \d+\.\d\d\nSpace saved: \d+ bytes, 9\d\.\d%\n$/);
    assert.equal(
      Object.keys(treeOf(box.backup)).filter((path) => path.startsWith('notes')),
      ['notes.txt.gz.encrypted'],
    );
    assert.match((await example(box, 'sync_with_encryption', 'Archive', file)).stdout, /^completed: 0 copied\n/);
    chmodSync(file, 0o644);
    const open = await example(box, 'sync_with_encryption', 'Archive', file);
    assert.equal([open.code, /Others may read/.test(open.stderr)], [2, true]);
  }));

test('compress_and_seal gives the very file back', () =>
  withBox(async (box) => {
    const [file, password] = [join(box.root, 'notes.txt'), join(box.root, 'password')];
    writeFileSync(file, 'line after line\n'.repeat(2000));
    writeFileSync(password, 'a wedding in June', { mode: 0o600 });
    const { code, stdout, stderr } = await example(box, 'compress_and_seal', file, password);
    assert.is(code, 0, stderr);
    assert.match(
      stdout,
      /^Sealed: .*notes\.txt\.lz4\.encrypted, lz4\nSpace saved: 9\d\.\d%\nRestored: .*, 32000 bytes\n$/,
    );
    assert.equal(readFileSync(`${file}.restored`), readFileSync(file));
  }));

test('throttled_copy keeps the rate', () =>
  withBox(async (box) => {
    const [from, to] = [join(box.root, 'from'), join(box.root, 'to')];
    writeFileSync(from, Buffer.alloc(3_000_000, 7));
    const { code, stdout, stderr } = await example(box, 'throttled_copy', from, to, '2');
    assert.is(code, 0, stderr);
    const [, seconds] = /^3000000 bytes in ([\d.]+) s/.exec(stdout) ?? [];
    assert.ok(Number(seconds) >= 1.3, stdout);
    assert.equal(readFileSync(to), readFileSync(from));
  }));

test('scripts that need arguments say so, and what the program refuses is one sentence with its exit code', () =>
  withBox(async (box) => {
    for (const name of readdirSync(FOLDER).map((one) => one.replace(/\.ts$/, ''))) {
      if (name === 'detect_drives' || name === 'list_storage_groups') continue;
      const { code, stderr } = await example(box, name);
      assert.is(code, 2, name);
      assert.match(stderr, /^Give .+\.\n$/, name);
    }
    const unknown = await example(box, 'manual_sync', 'Archiv');
    assert.is(unknown.code, 2);
    assert.is(unknown.stderr, "No group is called 'Archiv'.\n");
    writeFileSync(join(box.config, 'app.yaml'), 'drives: [');
    const broken = await example(box, 'detect_drives');
    assert.is(broken.code, 1);
    assert.match(broken.stderr, /app\.yaml:1:/);
  }));

test('every example was run', () => {
  const all = readdirSync(FOLDER).filter((name) => name.endsWith('.ts'));
  assert.equal([...tried].sort(), all.sort());
});

test.run();
