/** A pair in other hands: another computer takes it over, a drive is replaced, the roles are exchanged. Nothing is lost on the way. */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { resolveConflicts } from '../features/conflicts.ts';
import { findDrive, listDrives, readSignature } from '../features/detect.ts';
import { getGroup, listGroups, setGroupOptions, updateGroup } from '../features/groups.ts';
import { adoptGroup, looksReformatted, replaceDrive, swapRoles } from '../features/handover.ts';
import { refillMaster } from '../features/refill.ts';
import { planSync, syncToBackup } from '../features/sync.ts';
import type { Context } from '../shared/context.ts';
import './helpers/inline-workers.ts';
import { edit, refusal, type TestPair, withPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('adopt');

/** A computer that sees the same drives and knows nothing of them. */
async function withNewComputer(pair: TestPair, work: (ctx: Context) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'tandem-new-'));
  try {
    for (const name of ['config', 'data']) mkdirSync(join(home, name));
    cpSync(join(pair.box.config, 'app.yaml'), join(home, 'config/app.yaml'));
    await work(pair.context({ configDir: join(home, 'config'), dataDir: join(home, 'data') }));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** A third virtual drive beside the pair's. */
async function thirdDrive(pair: TestPair, label: string): Promise<string> {
  const path = join(pair.box.root, label.toLowerCase());
  mkdirSync(path);
  const file = join(pair.box.config, 'app.yaml');
  writeFileSync(file, `${readFileSync(file, 'utf8')}    - path: ${JSON.stringify(path)}\n      label: ${label}\n`);
  return path;
}

const signatures = (pair: TestPair): string[] =>
  [pair.master, pair.backup].map((drive) => readFileSync(join(drive, '.tandem/drive.json'), 'utf8'));

test('a second computer adopts the group with its name and options, signs nothing, and goes on incrementally', () =>
  withPair({ master: { a: '1', 'd/b': '2', gone: 'x' } }, async (pair) => {
    await setGroupOptions('Archive', ['checksum_algorithm=blake2b512', 'filters.exclude=*.tmp'], undefined, pair.ctx);
    await pair.sync();
    const signed = signatures(pair);
    await withNewComputer(pair, async (other) => {
      assert.is((await refusal(planSync('Archive', {}, other))).code, 'not_found');
      const { group, known } = await adoptGroup(undefined, undefined, other);
      const here = getGroup('Archive', pair.ctx);
      assert.equal([known, group.id, group.name, group.options], [false, here.id, 'Archive', here.options]);
      assert.equal(group.master_drive.drive_uuid, here.master_drive.drive_uuid);
      assert.equal(signatures(pair), signed);
      rmSync(join(pair.master, 'gone'));
      edit(pair.master, { a: 'edited' });
      const result = await syncToBackup('Archive', { options: { on_master_delete: 'trash' } }, other);
      assert.equal([result.files_copied, result.files_deleted, result.conflicts_detected], [1, 1, 0]);
      assert.is((await refusal(adoptGroup(undefined, undefined, other))).code, 'not_found');
      const back = await pair.sync();
      assert.equal([back.files_copied, back.conflicts_detected, back.problems], [0, 0, []]);
    });
  }));

test('adopting takes the open conflicts along', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { a: 'on the Master' });
    edit(pair.backup, { a: 'and on the Backup' });
    assert.is((await pair.sync()).conflicts_detected, 1);
    const db = await pair.ctx.db();
    const waiting = 'SELECT path, conflict_type, reason, detected_at FROM conflicts';
    const [conflict] = await db.all(waiting);
    assert.is(conflict?.['path'], 'a');
    // Its date is kept, so it must differ from that of a conflict that is found anew.
    await db.run("UPDATE conflicts SET detected_at = '2026-01-01T00:00:00.000Z'");
    edit(pair.master, { other: 'x' });
    await pair.sync();
    await withNewComputer(pair, async (other) => {
      await adoptGroup('MASTER', 'Ours', other);
      await syncToBackup('Ours', {}, other);
      const rows = await (await other.db()).all(waiting);
      assert.equal(rows, [{ ...conflict, detected_at: '2026-01-01T00:00:00.000Z' }]);
      await resolveConflicts('Ours', { a: 'keep_master' }, other);
    });
    await pair.sync();
    assert.equal(await db.all('SELECT path FROM conflicts'), []);
  }));

test('one drive of a group that was synced is enough to adopt it; of one that never was, it is not', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    const hide = (drive: string, away: boolean): void => {
      const [from, to] = away ? ['.tandem', '.away'] : ['.away', '.tandem'];
      cpSync(join(drive, from), join(drive, to), { recursive: true });
      rmSync(join(drive, from), { recursive: true });
    };
    hide(pair.backup, true);
    await withNewComputer(pair, async (other) => {
      assert.is((await refusal(adoptGroup(undefined, undefined, other))).code, 'drive_missing');
    });
    hide(pair.backup, false);
    await pair.sync();
    hide(pair.backup, true);
    await withNewComputer(pair, async (other) => {
      const { group } = await adoptGroup(undefined, undefined, other);
      assert.is(group.backup_drive.drive_uuid, getGroup('Archive', pair.ctx).backup_drive.drive_uuid);
      hide(pair.backup, false);
      assert.is((await syncToBackup('Archive', {}, other)).files_copied, 0);
    });
  }));

test('a replaced Backup does not inherit what the former one lost', () =>
  withPair({ master: Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`f${at}`, `${at}`])) }, async (pair) => {
    const drop = (from: number, to: number): void => {
      for (let at = from; at < to; at += 1) rmSync(join(pair.master, `f${at}`));
    };
    await pair.sync();
    drop(0, 28);
    const trash = { options: { on_master_delete: 'trash' } } as const;
    assert.is((await pair.sync(trash)).files_deleted, 28);
    await thirdDrive(pair, 'THIRD');
    const ctx = pair.context();
    await replaceDrive('Archive', 'backup', findDrive('THIRD', await listDrives(ctx)), ctx);
    await pair.sync({}, ctx);
    drop(28, 34);
    assert.is((await pair.sync(trash, ctx)).files_deleted, 6);
  }));

test('a replaced Backup starts anew: everything is copied, nothing is deleted, and the old drive is no member any more', () =>
  withPair({ master: { a: '1', 'd/b': '2' } }, async (pair) => {
    await pair.sync();
    const third = await thirdDrive(pair, 'THIRD');
    edit(third, { a: '1', own: 'of the new drive' });
    const ctx = pair.context();
    const before = treeOf(pair.backup);
    const drive = findDrive('THIRD', await listDrives(ctx));
    await replaceDrive('Archive', 'backup', drive, ctx);
    const result = await pair.sync({ options: { on_master_delete: 'trash' } }, ctx);
    assert.equal([result.files_copied, result.files_deleted, result.conflicts_detected], [1, 0, 1]);
    assert.equal(result.problems, []);
    assert.is(readFileSync(join(third, 'own'), 'utf8'), 'of the new drive');
    assert.equal([treeOf(pair.backup), readSignature(pair.backup)], [before, null]);
    const same = findDrive('THIRD', await listDrives(ctx));
    assert.match((await refusal(replaceDrive('Archive', 'backup', same, ctx))).message, /already/);
    assert.match(
      (await refusal(replaceDrive('Archive', 'backup', findDrive('MASTER', await listDrives(ctx)), ctx))).message,
      /same drive|cannot become/,
    );
  }));

test('a reformatted drive is told from an unplugged one', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    const known = getGroup('Archive', pair.ctx).backup_drive;
    for (const name of readdirSync(pair.backup)) rmSync(join(pair.backup, name), { recursive: true });
    const error = await refusal(pair.sync({ options: { on_master_delete: 'trash' } }));
    assert.is(error.code, 'drive_missing');
    assert.match(error.hint ?? '', /without this group's signature.*tandem groups replace/);
    const drives = await listDrives(pair.ctx);
    assert.ok(looksReformatted(known, findDrive('BACKUP', drives)));
    assert.not.ok(looksReformatted(known, findDrive('MASTER', drives)));
    const cli = await pair.box.run(['groups', 'replace', 'Archive', '--backup', 'BACKUP', '--yes', '--json']);
    assert.is(cli.code, 0, cli.stderr);
    assert.is((cli.json() as { reformatted: boolean }).reformatted, true);
    const result = await pair.sync({}, pair.context());
    assert.equal([result.files_copied, result.problems], [1, []]);
  }));

test('a new Master is refilled from the Backup, and the sync after it finds nothing to do', () =>
  withPair({ master: { a: '1', 'd/b': '22', 'd/e/': null, link: { symlink: 'a' } } }, async (pair) => {
    await pair.sync();
    for (const name of readdirSync(pair.master)) rmSync(join(pair.master, name), { recursive: true });
    const ctx = pair.context();
    await replaceDrive('Archive', 'master', findDrive('MASTER', await listDrives(ctx)), ctx);
    const waiting = await planSync('Archive', {}, ctx);
    assert.not.ok(
      waiting.actions.some(({ kind }) => kind !== 'conflict' && kind !== 'adopt'),
      'an empty Master deletes nothing',
    );
    edit(pair.master, { 'd/b': 'already here' });
    const first = await refillMaster('Archive', {}, ctx);
    assert.equal([first.status, first.files_copied, first.conflicts_detected], ['completed', 2, 1]);
    assert.is.not(first.verified, 'none');
    assert.is(readFileSync(join(pair.master, 'd/b'), 'utf8'), 'already here');
    rmSync(join(pair.master, 'd/b'));
    const after = await pair.sync({}, ctx);
    assert.equal([after.files_copied, after.files_deleted, after.conflicts_detected], [0, 0, 1]);
    assert.is((await refusal(refillMaster('Archive', {}, ctx))).code, 'invalid');
  }));

test('roles exchanged: a sync after it is a no-op, and goes the other way from then on', () =>
  withPair({ master: { a: '1', 'd/b': '2', gone: 'x' } }, async (pair) => {
    assert.is((await refusal(swapRoles('nothing', pair.ctx))).code, 'not_found');
    await pair.sync();
    await pair.sync();
    const trees = [treeOf(pair.master), treeOf(pair.backup)];
    const group = await swapRoles('Archive', pair.ctx);
    assert.equal([group.master_drive.label, group.backup_drive.label], ['BACKUP', 'MASTER']);
    assert.equal([readSignature(pair.master)?.role, readSignature(pair.backup)?.role], ['backup', 'master']);
    const plan = await pair.plan();
    assert.equal([plan.actions, plan.problems, plan.careful], [[], [], null]);
    assert.equal((await pair.sync()).files_skipped, 3);
    assert.equal([treeOf(pair.master), treeOf(pair.backup)], trees);
    edit(pair.backup, { a: 'edited on the new Master' });
    rmSync(join(pair.backup, 'gone'));
    const result = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.equal([result.files_copied, result.files_deleted, result.conflicts_detected], [1, 1, 0]);
    assert.is(readFileSync(join(pair.master, 'a'), 'utf8'), 'edited on the new Master');
    await swapRoles('Archive', pair.ctx);
    assert.equal((await pair.plan()).actions, []);
  }));

test('roles exchanged elsewhere: this computer refuses to write until it takes them over', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    await withNewComputer(pair, async (other) => {
      await adoptGroup(undefined, undefined, other);
      await syncToBackup('Archive', {}, other);
      await swapRoles('Archive', other);
      edit(pair.backup, { a: 'new' });
      for (const refused of [() => pair.sync(), () => pair.plan()]) {
        const error = await refusal(refused());
        assert.equal([error.guard, error.code], ['identity', 'guard']);
        assert.match(error.hint ?? '', /groups adopt/);
      }
      const { known, group } = await adoptGroup(undefined, undefined, pair.ctx);
      assert.equal([known, group.master_drive.label], [true, 'BACKUP']);
      const result = await pair.sync();
      assert.equal(
        [result.files_copied, result.conflicts_detected, readFileSync(join(pair.master, 'a'), 'utf8')],
        [1, 0, 'new'],
      );
    });
  }));

test('roles are not exchanged on a record that is not that of the drives', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    await withNewComputer(pair, async (other) => {
      await adoptGroup(undefined, undefined, other);
      edit(pair.master, { a: '2' });
      await syncToBackup('Archive', {}, other);
    });
    assert.is((await refusal(swapRoles('Archive', pair.ctx))).code, 'invalid');
    assert.equal(listGroups(pair.ctx)[0]?.master_drive.label, 'MASTER');
    assert.is(readSignature(pair.master)?.role, 'master');
  }));

test('another serial number under a right signature: careful until it is confirmed', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    const file = join(pair.box.config, 'storage_groups.yaml');
    const text = readFileSync(file, 'utf8');
    const { openPair } = await import('../features/session.ts');
    const { lookAhead } = await import('../features/travel.ts');
    const open = await openPair(getGroup('Archive', pair.ctx), pair.ctx, true);
    try {
      open.group = { ...open.group, master_drive: { ...open.group.master_drive, serial_number: 'WD-1234' } };
      open.masterDrive = { ...open.masterDrive, serial_number: 'WD-9999' };
      await lookAhead(open, pair.ctx);
      assert.match(open.careful ?? '', /serial number WD-9999, recorded is WD-1234.*groups edit .* --master/);
      open.masterDrive = { ...open.masterDrive, serial_number: '0123456789ABCDEF' };
      await lookAhead(open, pair.ctx);
      assert.is(open.careful, null, 'placeholders name nothing');
    } finally {
      await open.close();
    }
    assert.is(readFileSync(file, 'utf8'), text);
    const { group } = await updateGroup(
      'Archive',
      { master: findDrive('MASTER', await listDrives(pair.ctx)) },
      pair.ctx,
    );
    assert.is(group.master_drive.label, 'MASTER');
  }));

test('a damaged database is moved aside on request, and the next run rebuilds it from the drives', () =>
  withPair({ master: { a: '1', b: '2' } }, async (pair) => {
    await pair.sync();
    await pair.ctx.close();
    const file = join(pair.box.data, 'tandem.db');
    writeFileSync(file, 'this is no database');
    assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 1);
    assert.is((await pair.box.run(['doctor'])).code, 1);
    const repaired = await pair.box.run(['doctor', '--repair']);
    assert.match(repaired.stderr, /kept as .*tandem\.db\.damaged-/);
    assert.not.ok(existsSync(file));
    const kept = readdirSync(pair.box.data).filter((name) => name.includes('.damaged-'));
    assert.is(readFileSync(join(pair.box.data, kept[0] ?? ''), 'utf8'), 'this is no database');
    const again = await pair.box.run(['sync', 'run', 'Archive', '--json']);
    const result = again.json() as { files_copied: number; files_skipped: number };
    assert.equal([result.files_copied, result.files_skipped], [0, 2]);
    await pair.box.run(['doctor', '--repair']);
    assert.is(
      readdirSync(pair.box.data).filter((name) => name.includes('.damaged-')).length,
      kept.length,
      'a sound one stays',
    );
  }));

test('what a drive carries of options: no file of secrets is named, none is taken over, and what is wrong is left out', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    const options = ['encryption_password_file=/home/me/pw', 'compression_type=lz4', 'compression_level=12'];
    await setGroupOptions('Archive', options, undefined, pair.ctx);
    await pair.sync();
    const files = [pair.master, pair.backup].map((drive) => join(drive, '.tandem/state/state.json'));
    const carried = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as { group: { options: object } });
    for (const { group } of carried) assert.equal(group.options, { compression_type: 'lz4', compression_level: 12 });
    for (const [index, file] of files.entries()) {
      const { checksum: _, ...state } = carried[index] as { group: { options: object }; checksum?: string };
      state.group.options = {
        compression_level: 12,
        skip_existing: 'perhaps',
        encryption_key_file: '/dev/zero',
        mhl: true,
      };
      const checksum = createHash('sha256').update(JSON.stringify(state)).digest('hex');
      writeFileSync(file, JSON.stringify({ ...state, checksum }));
    }
    await withNewComputer(pair, async (other) => {
      const { group, warnings } = await adoptGroup(undefined, undefined, other);
      assert.equal(group.options, { mhl: true });
      assert.equal(getGroup('Archive', other).options, { mhl: true });
      assert.equal(
        warnings.map((text) => /The option (\w+) was not taken over/.exec(text)?.[1]),
        ['skip_existing', 'compression_level'],
      );
    });
  }));

test.run();
