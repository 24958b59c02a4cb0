/** State travels with the drives: what a drive carries is complete, is believed only when whole, and gives a rollback away. */
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findPair, readBaseline } from '../features/history.ts';
import { carriedRows, carryState, hasChanges, knownPair, type StateNotes, takeOver } from '../shared/carry.ts';
import { createContext } from '../shared/context.ts';
import { factsField, rowChecks } from '../shared/listing.ts';
import type { BaselineRow } from '../shared/rows.ts';
import { type DriveState, readState, writeState } from '../shared/state.ts';
import { closeDriveRoot, type DriveRoot, openDriveRoot } from '../shared/store.ts';
import './helpers/inline-workers.ts';
import './helpers/property.ts';
import { ensurePair, writeBaseline } from '../shared/baseline.ts';
import { driveTest } from './helpers/drives.ts';
import {
  differences,
  edit,
  refusal,
  snapshotOf,
  type TestPair,
  versionsOf,
  withPair,
  withRealPair,
} from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('state');

const stateOf = (drive: string): DriveState =>
  JSON.parse(readFileSync(join(drive, '.tandem/state/state.json'), 'utf8')) as DriveState;
const stateFiles = (drive: string): string[] => readdirSync(join(drive, '.tandem/state')).sort();
const contentAt = (drive: string, path: string): string => readFileSync(join(drive, path), 'utf8');

/** A drive as an image of it is: everything, times and links included. */
function image(drive: string): { restore(): void; drop(): void } {
  const copy = mkdtempSync(join(tmpdir(), 'tandem-image-'));
  cpSync(drive, copy, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  return {
    restore: () => {
      for (const name of readdirSync(drive)) rmSync(join(drive, name), { recursive: true, force: true });
      cpSync(copy, drive, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    },
    drop: () => rmSync(copy, { recursive: true, force: true }),
  };
}

/** Another computer: folders of its own, the same drives and the same file of groups. */
async function withOtherComputer(pair: TestPair, work: (ctx: ReturnType<TestPair['context']>) => Promise<void>) {
  const dataDir = mkdtempSync(join(tmpdir(), 'tandem-other-'));
  try {
    await work(pair.context({ dataDir }));
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

// --- what is carried ---

test('after a sync both drives carry the whole baseline under one generation', () =>
  withPair({ master: { a: '1', 'd/b': '22', 'd/e/c': '' } }, async (pair) => {
    await pair.sync();
    const [m, b] = [stateOf(pair.master), stateOf(pair.backup)];
    assert.is(m.generation, b.generation);
    assert.ok(m.generation !== '' && m.open === m.closed && m.open === b.open);
    assert.is(m.group.name, 'Archive');
    for (const drive of [pair.master, pair.backup]) {
      const root = openDriveRoot(drive, 'drive');
      try {
        const rows = await carriedRows({ root, state: stateOf(drive) });
        assert.equal(rows.sort(byPath), (await pair.rows()).sort(byPath));
      } finally {
        closeDriveRoot(root);
      }
    }
  }));

const byPath = (a: BaselineRow, b: BaselineRow): number => (a.path < b.path ? -1 : 1);

test('a sync that finds nothing to do writes nothing on either drive', () =>
  withPair({ master: { a: '1', 'd/b': '2' } }, async (pair) => {
    await pair.sync();
    await pair.sync();
    const before = { ...snapshotOf(pair.master), ...snapshotOf(pair.backup) };
    await pair.sync();
    // The lock comes and goes: it touches its folder.
    const touched = differences(before, { ...snapshotOf(pair.master), ...snapshotOf(pair.backup) });
    assert.equal(
      touched.filter((path) => !path.endsWith('/.tandem')),
      [],
    );
  }));

const many = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`f/${index}`, `content ${index}`]));

test('few changes travel as a delta, and many deltas are made one snapshot again', () =>
  withPair({ master: many(400) }, async (pair) => {
    await pair.sync();
    assert.equal(stateFiles(pair.backup).length, 2);
    const kinds: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      edit(pair.master, { [`new${round}`]: 'x', 'f/1': `round ${round}` });
      await pair.sync();
      kinds.push(stateOf(pair.backup).files.length === 1 ? 'snapshot' : 'delta');
      assert.equal(
        stateFiles(pair.backup),
        [...stateOf(pair.backup).files.map(({ name }) => name), 'state.json'].sort(),
      );
    }
    assert.is(kinds[0], 'delta');
    assert.ok(kinds.lastIndexOf('snapshot') > 0, kinds.join(' '));
    rmSync(join(pair.box.data, 'tandem.db'), { force: true });
    await withOtherComputer(pair, async (other) => {
      const plan = await pair.sync({}, other);
      assert.equal([plan.files_copied, plan.files_skipped, plan.conflicts_detected], [0, 412, 0]);
    });
  }));

test('property: what is carried and taken over is what was recorded, through any sequence of changes', async () => {
  const name = fc.stringMatching(/^[a-zA-Z0-9 äß☃𝒳'"\\\n.-]{1,12}$/u).filter((text) => text !== '.' && text !== '..');
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const size = fc.nat(1e9);
  const facts = (bytes: number): string =>
    `f ${bytes} 1700000000.1234567890 1700000001.0000000000 131074 644 1000 1000`;
  const row = fc.record({
    path,
    size,
    doubt: fc.constantFrom('' as const, 'racy' as const),
    link: fc.constantFrom('', 'to'),
  });
  const step = fc.record({ put: fc.array(row, { maxLength: 8 }), drop: fc.array(fc.nat(30), { maxLength: 4 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), async (steps) => {
      await onDrives(async (roots, ctx, fresh) => {
        const id = await ensurePair('g', 'm', 'b', ctx);
        for (const { put, drop } of steps) {
          const known = (await readBaseline(id, '', ctx)).map((one) => one.path);
          const rows = [...new Map(put.map((one) => [one.path, one])).values()].map(
            ({ path: at, size: bytes, doubt, link }) => {
              const { a, b } = rowChecks(at, link, facts(bytes), facts(bytes));
              const common = { checksum: 'ab12', checksum_algorithm: 'sha256', stored_name: '', link_target: link };
              return {
                path: at,
                size: bytes,
                doubt,
                check_a: a,
                check_b: b,
                master_facts: facts(bytes),
                backup_facts: facts(bytes),
                ...common,
              };
            },
          );
          await writeBaseline(
            id,
            'g',
            'sync',
            rows,
            drop.flatMap((at) => known[at] ?? []),
            ctx,
          );
          const pair = await knownPair('m', 'b', ctx);
          assert.ok(pair);
          assert.equal(
            await carryState(
              pair,
              roots.map((root) => ({ root, state: readState(root.dir).state })),
              NOTES,
              ctx,
            ),
            [],
          );
          assert.not.ok(
            await hasChanges({ ...pair, generation: (await knownPair('m', 'b', ctx))?.generation ?? '' }, ctx),
          );
        }
        const expected = (await readBaseline(id, '', ctx)).sort(byPath);
        for (const root of roots) {
          const other = fresh();
          const there = await ensurePair('g', 'm', 'b', other);
          await takeOver(there, 'g', { root, state: readState(root.dir).state }, other);
          assert.equal((await readBaseline(there, '', other)).sort(byPath), expected);
        }
      });
    }),
    { numRuns: 12 },
  );
});

const NOTES: StateNotes = {
  master_uuid: 'm',
  backup_uuid: 'b',
  group: {
    id: 'g',
    name: 'G',
    description: '',
    created: '',
    options: {},
    master_drive: { serial_number: null, label: 'M', total_size: 1 },
    backup_drive: { serial_number: null, label: 'B', total_size: 1 },
  },
  open: 'x',
  before: '',
  opened_at: '2026-01-01T00:00:00.000Z',
  closed: 'x',
  doubt: '',
};

async function onDrives(
  work: (
    roots: DriveRoot[],
    ctx: ReturnType<typeof createContext>,
    fresh: () => ReturnType<typeof createContext>,
  ) => Promise<void>,
): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'tandem-state-'));
  const contexts: ReturnType<typeof createContext>[] = [];
  const fresh = (): ReturnType<typeof createContext> => {
    const made = createContext({ configDir: home, dataDir: mkdtempSync(join(home, 'data-')) });
    contexts.push(made);
    return made;
  };
  const roots = ['m', 'b'].map((label) => openDriveRoot(mkdtempSync(join(home, `${label}-`)), label));
  try {
    await work(roots, fresh(), fresh);
  } finally {
    for (const ctx of contexts) await ctx.close();
    for (const root of roots) closeDriveRoot(root);
    rmSync(home, { recursive: true, force: true });
  }
}

// --- what is believed ---

function harmByFolder(file: string, folder: string): void {
  rmSync(file);
  cpSync(folder, file, { recursive: true });
}

test('torn, altered, random, newer or foreign state is never taken for a record, and never a crash', () =>
  withPair({ master: many(60) }, async (pair) => {
    await pair.sync();
    const file = join(pair.backup, '.tandem/state', stateOf(pair.backup).files[0]?.name ?? '');
    const whole = readFileSync(file);
    const root = openDriveRoot(pair.backup, 'BACKUP');
    try {
      const tries: [string, () => void][] = [
        ['cut in the middle', () => truncateSync(file, whole.length >> 1)],
        ['cut by one byte', () => truncateSync(file, whole.length - 1)],
        ['empty', () => truncateSync(file, 0)],
        ['random', () => writeFileSync(file, Buffer.from(Array.from({ length: 500 }, (_, at) => (at * 7919) % 251)))],
        ['twice', () => writeFileSync(file, Buffer.concat([whole, whole]))],
        ['a folder', () => harmByFolder(file, join(pair.backup, 'f'))],
        ['gone', () => rmSync(file, { recursive: true })],
      ];
      for (let at = 20; at < whole.length; at += 97)
        tries.push([
          `byte ${at}`,
          () =>
            writeFileSync(
              file,
              whole.map((byte, index) => (index === at ? byte ^ 0x55 : byte)),
            ),
        ]);
      for (const [what, harm] of tries) {
        harm();
        const error = await carriedRows({ root, state: stateOf(pair.backup) }).catch((reason: unknown) => reason);
        assert.instance(error, Error, what);
        rmSync(file, { recursive: true, force: true });
        writeFileSync(file, whole);
      }
      assert.is((await carriedRows({ root, state: stateOf(pair.backup) })).length, 61);
      const manifest = join(pair.backup, '.tandem/state/state.json');
      const text = readFileSync(manifest, 'utf8');
      for (const harmed of [
        '',
        '{}',
        'null',
        '[1]',
        text.slice(0, -4),
        text.replace('"tandem_state":1', '"tandem_state":2'),
        text.replace('"closed":"', '"closed":"x'),
      ]) {
        writeFileSync(manifest, harmed);
        const { state, problem } = readState(root.dir);
        assert.is(state, null);
        assert.ok(problem !== null && problem !== '', harmed.slice(0, 20));
      }
    } finally {
      closeDriveRoot(root);
    }
  }));

test('a row that names what no run records is refused, with everything else in its file', async () => {
  const facts = 'f 1 1700000000.1234567890 - - 644 0 0';
  for (const path of ['../outside', '/etc/passwd', 'a//b', '.tandem/drive.json', 'a/../b', '', 'x\0y']) {
    await onDrives(async ([root], ctx) => {
      assert.ok(root);
      const id = await ensurePair('g', 'm', 'b', ctx);
      const db = await ctx.db();
      await db.run(
        `INSERT INTO file_sync_history (group_id, relative_path, checksum, last_synced, file_size, operation_type, pair_id,
          checksum_algorithm, master_facts, backup_facts, check_a, check_b) VALUES ('g', ?, '', '', 1, 'sync', ?, '', ?, ?, 0, 0)`,
        [path.replace('\0', '\u0001\ufffd'), id, facts, path.includes('\0') ? 'no facts' : facts],
      );
      assert.equal(await carryState({ id, generation: '' }, [{ root, state: null }], NOTES, ctx), []);
      const error = await carriedRows({ root, state: readState(root.dir).state }).catch((reason: unknown) => reason);
      if (path === '') assert.equal(error, []);
      else assert.match(String(error), /holds what no baseline holds/, path);
    });
  }
});

test('the checks of a row are computed anew: a drive cannot make changes invisible', async () => {
  await onDrives(async ([root], ctx) => {
    assert.ok(root);
    const id = await ensurePair('g', 'm', 'b', ctx);
    const facts = 'f 1 1700000000.1234567890 - - 644 0 0';
    const row = {
      path: 'a',
      size: 1,
      checksum: '',
      checksum_algorithm: '',
      master_facts: facts,
      backup_facts: facts,
    } as const;
    await writeBaseline(
      id,
      'g',
      'sync',
      [{ ...row, link_target: '', stored_name: '', doubt: '', check_a: 1, check_b: 2 }],
      [],
      ctx,
    );
    await carryState({ id, generation: '' }, [{ root, state: null }], NOTES, ctx);
    const [back] = await carriedRows({ root, state: readState(root.dir).state });
    const { a, b } = rowChecks('a', '', facts, facts);
    assert.equal([back?.check_a, back?.check_b], [a, b]);
    assert.is(factsField(back?.master_facts ?? '', 1), '1');
  });
});

test('damaged state files are a problem, not an end: another computer compares by content, deletes nothing', () =>
  withPair({ master: many(30) }, async (pair) => {
    await pair.sync();
    for (const drive of [pair.master, pair.backup])
      writeFileSync(join(drive, '.tandem/state', stateOf(drive).files[0]?.name ?? ''), 'rubbish');
    await withOtherComputer(pair, async (other) => {
      const result = await pair.sync({ options: { on_master_delete: 'trash' } }, other);
      assert.is(result.status, 'completed');
      assert.equal([result.files_copied, result.files_deleted], [0, 0]);
      assert.match(result.problems.map(({ message }) => message).join('\n'), /was not used: its file snapshot-/);
      assert.is((await pair.sync({}, other)).problems.length, 0);
    });
  }));

// --- where it travels ---

test('the database deleted: rebuilt from the drives, the next run copies and reads nothing', () =>
  withPair({ master: { a: '1', 'd/b': '2', gone: 'x' } }, async (pair) => {
    await pair.sync();
    const before = (await pair.rows()).sort(byPath);
    await pair.ctx.close();
    for (const end of ['', '-wal', '-shm']) rmSync(join(pair.box.data, `tandem.db${end}`), { force: true });
    rmSync(join(pair.master, 'gone'));
    const notes: string[] = [];
    const ctx = pair.context({ emit: (event) => void (event.kind === 'note' && notes.push(event.message)) });
    const dry = await pair.box.run(['sync', 'plan', 'Archive', '--delete', '--json']);
    assert.equal(
      (dry.json() as { actions: { kind: string; path: string }[] }).actions.map(({ kind, path }) => `${kind} ${path}`),
      ['delete gone'],
    );
    assert.not.ok(existsSync(join(pair.box.data, 'tandem.db')), 'a dry run takes nothing over');
    const result = await pair.sync({ options: { on_master_delete: 'trash' } }, ctx);
    assert.equal([result.files_copied, result.files_deleted, result.conflicts_detected], [0, 1, 0]);
    assert.match(notes.join(), /Took over/);
    const id = await findPair(stateOf(pair.master).master_uuid, stateOf(pair.master).backup_uuid, ctx);
    const after = (await readBaseline(id ?? -2, '', ctx)).sort(byPath);
    assert.equal(
      after.filter(({ path }) => path !== ''),
      before.filter(({ path }) => path !== 'gone'),
    );
  }));

test('two computers alternate: each goes on from what the other recorded, deletions included', () =>
  withPair({ master: { a: '1', b: '1', c: '1' } }, async (pair) => {
    const trash = { options: { on_master_delete: 'trash' } } as const;
    await pair.sync();
    await withOtherComputer(pair, async (other) => {
      for (const [round, ctx] of [other, pair.ctx, other, other, pair.ctx, other].entries()) {
        edit(pair.master, { [`round${round}`]: `${round}`, a: `a ${round}` });
        if (round > 1) rmSync(join(pair.master, `round${round - 2}`));
        const result = await pair.sync(trash, ctx);
        assert.is(result.status, 'completed');
        assert.equal([result.files_copied, result.files_deleted, result.conflicts_detected], [2, round > 1 ? 1 : 0, 0]);
        assert.equal(result.problems, []);
        assert.equal(treeOf(pair.backup), treeOf(pair.master));
      }
    });
  }));

// --- what gives itself away ---

for (const side of ['master', 'backup'] as const) {
  test(`the ${side} restored from an image: the run is careful, nothing is lost, and it stays so for what differs`, () =>
    withPair({ master: { keep: 'same', edited: 'old', removed: 'was here' } }, async (pair) => {
      await pair.sync();
      const old = image(pair[side]);
      try {
        edit(pair.master, { edited: 'the newer content', added: 'new since' });
        rmSync(join(pair.master, 'removed'));
        await pair.sync({ options: { on_master_delete: 'trash' } });
        old.restore();
        const notes: string[] = [];
        const ctx = pair.context({ emit: (event) => void (event.kind === 'note' && notes.push(event.message)) });
        const plan = await pair.plan({ options: { on_master_delete: 'trash' } });
        assert.match(plan.careful ?? '', /did not see the last run/);
        assert.not.ok(plan.actions.some(({ kind }) => kind === 'update' || kind === 'delete'));
        for (const flags of [
          { options: { on_master_delete: 'trash' } } as const,
          {},
          { options: { on_master_delete: 'trash' } } as const,
        ]) {
          const result = await pair.sync(flags, ctx);
          assert.equal([result.status, result.files_deleted], ['completed', 0]);
          assert.is(result.conflicts_detected, 2);
          const newer = side === 'master' ? pair.backup : pair.master;
          assert.is(contentAt(newer, 'edited'), 'the newer content');
          assert.is(contentAt(newer, 'added'), 'new since');
          assert.is(contentAt(pair[side], 'edited'), 'old');
        }
        assert.match(
          notes[0] ?? '',
          new RegExp(
            `^Careful run: The ${side === 'master' ? 'Master' : 'Backup'} '${side.toUpperCase()}' did not see`,
          ),
        );
        assert.is(notes.length, 1);
        // Both made equal by hand: everything is ordinary again.
        edit(pair.master, { edited: 'settled', added: 'new since', removed: 'was here' });
        edit(pair.backup, { edited: 'settled', added: 'new since', removed: 'was here' });
        assert.is((await pair.sync({}, ctx)).conflicts_detected, 0);
        edit(pair.master, { edited: 'goes on' });
        assert.equal([(await pair.sync({}, ctx)).files_copied, contentAt(pair.backup, 'edited')], [1, 'goes on']);
      } finally {
        old.drop();
      }
    }));
}

for (const [fs, side] of [
  ['ext4', 'master'],
  ['exfat', 'master'],
  ['exfat', 'backup'],
] as const) {
  driveTest(
    test,
    `an image of the ${side} put back on a real drive (${fs}): careful, nothing overwritten`,
    [
      { label: 'STM', fs, size: 32 * 1024 * 1024 },
      { label: 'STB', fs, size: 32 * 1024 * 1024 },
    ],
    (drives) =>
      withRealPair(drives, { master: { keep: 'same', edited: 'old' } }, async (pair) => {
        const drive = drives[side === 'master' ? 0 : 1];
        assert.ok(drive);
        await pair.sync();
        await pair.ctx.close();
        drive.unplug();
        const copy = `${drive.image}.old`;
        cpSync(drive.image, copy);
        drive.replug();
        const ctx = pair.context();
        edit(pair.master, { edited: 'the newer content', added: 'x' });
        assert.is((await pair.sync({}, ctx)).files_copied, 2);
        drive.unplug();
        cpSync(copy, drive.image);
        drive.replug();
        const result = await pair.sync({ options: { on_master_delete: 'trash' } }, ctx);
        assert.match(result.problems[0]?.message ?? '', /careful run: .* did not see the last run/);
        assert.equal([result.status, result.files_deleted], ['completed', 0]);
        assert.is(contentAt(side === 'master' ? pair.backup : pair.master, 'edited'), 'the newer content');
        assert.is(contentAt(side === 'master' ? pair.backup : pair.master, 'added'), 'x');
        assert.is((await pair.sync({}, ctx)).conflicts_detected, result.conflicts_detected);
      }),
  );
}

test('both drives restored from images: this computer knows a later record, and is careful', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    const images = [image(pair.master), image(pair.backup)];
    try {
      edit(pair.master, { a: '2', b: 'x' });
      await pair.sync();
      for (const one of images) one.restore();
      const plan = await pair.plan();
      assert.match(plan.careful ?? '', /already left behind/);
      assert.is((await pair.sync()).status, 'completed');
      assert.is(contentAt(pair.backup, 'a'), '1');
    } finally {
      for (const one of images) one.drop();
    }
  }));

test('a fork: each drive was synced on from the same state elsewhere', () =>
  withPair({ master: { a: '1', b: '1' } }, async (pair) => {
    await pair.sync();
    const roots = [openDriveRoot(pair.master, 'M'), openDriveRoot(pair.backup, 'B')];
    try {
      for (const root of roots) {
        const state = readState(root.dir).state as DriveState;
        writeState(root.dir, {
          ...state,
          generation: `${root.label}0000000-0000-4000-8000-000000000000`,
          ancestors: [state.generation, ...state.ancestors],
        });
      }
    } finally {
      for (const root of roots) closeDriveRoot(root);
    }
    edit(pair.master, { a: '2' });
    const result = await pair.sync();
    assert.match(result.problems[0]?.message ?? '', /do not follow from each other/);
    assert.equal([result.conflicts_detected, contentAt(pair.backup, 'a')], [1, '1']);
    assert.is((await pair.plan()).careful, null);
    assert.is((await pair.sync()).conflicts_detected, 1);
  }));

test('a careful run of one folder, or one that fails, does not settle the doubt', () =>
  withPair({ master: { 'd/a': '1', e: '1' } }, async (pair) => {
    await pair.sync();
    const old = image(pair.master);
    try {
      edit(pair.master, { 'd/a': '2', e: '2' });
      await pair.sync();
      old.restore();
      edit(pair.master, { 'd/new': 'x' });
      assert.is((await pair.sync({ path: 'd' })).conflicts_detected, 1);
      assert.match((await pair.plan()).careful ?? '', /did not see/);
      assert.is((await pair.sync()).conflicts_detected, 2);
      assert.equal([contentAt(pair.backup, 'e'), contentAt(pair.backup, 'd/a')], ['2', '2']);
      assert.is((await pair.plan()).careful, null);
    } finally {
      old.drop();
    }
  }));

test('--force careful runs it as an ordinary one; --force alone does not', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    const old = image(pair.backup);
    try {
      edit(pair.master, { a: '2' });
      await pair.sync();
      old.restore();
      edit(pair.master, { a: '33' });
      assert.is((await pair.sync({}, pair.context({ force: ['all'] }))).conflicts_detected, 1);
      old.restore();
      const result = await pair.sync({}, pair.context({ force: ['careful'] }));
      assert.is(result.status, 'completed');
      assert.is((await pair.plan()).careful, null);
    } finally {
      old.drop();
    }
  }));

test('the clock went back by years: careful once; a clock that is ahead is no doubt', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync({}, pair.context({ now: () => new Date('2040-01-01T00:00:00Z') }));
    edit(pair.master, { a: '22' });
    const result = await pair.sync();
    assert.match(result.problems[0]?.message ?? '', /The clock says .* 2040/);
    assert.equal([result.conflicts_detected, contentAt(pair.backup, 'a')], [1, '1']);
    edit(pair.master, { b: 'x' });
    assert.equal((await pair.sync()).problems, []);
  }));

test('killed between open and closed: the next run is an ordinary one', () =>
  withPair({ master: { a: '1', b: '1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { a: '2' });
    const before = [pair.master, pair.backup].map((drive) => readFileSync(join(drive, '.tandem/state/state.json')));
    await pair.sync();
    const after = [pair.master, pair.backup].map((drive) => stateOf(drive));
    const noted = (drive: string, from: Buffer, at: number): void => {
      const root = openDriveRoot(drive, 'x');
      try {
        const { checksum: _, ...old } = JSON.parse(from.toString()) as DriveState & { checksum?: string };
        writeState(root.dir, { ...old, open: after[at]?.open ?? '', before: old.open });
      } finally {
        closeDriveRoot(root);
      }
    };
    // First only the Master was noted, then both were.
    const write = (at: number, bytes: Buffer): void =>
      writeFileSync(join([pair.master, pair.backup][at] ?? '', '.tandem/state/state.json'), bytes);
    const db = await pair.ctx.db();
    const steps: (() => void)[] = [
      () => write(1, before[1] as Buffer),
      () => noted(pair.backup, before[1] as Buffer, 1),
    ];
    for (const [index, step] of steps.entries()) {
      noted(pair.master, before[0] as Buffer, 0);
      step();
      await db.run('UPDATE pairs SET generation = ?', [JSON.parse(String(before[0])).generation]);
      assert.is((await pair.plan()).careful, null, `step ${index}`);
    }
    edit(pair.master, { b: '22' });
    const result = await pair.sync();
    assert.equal([result.status, result.files_copied, result.conflicts_detected], ['completed', 1, 0]);
    assert.is(stateOf(pair.master).generation, stateOf(pair.backup).generation);
    assert.equal(
      versionsOf(pair.backup)
        .map(([path]) => path)
        .sort(),
      ['a', 'b'],
    );
  }));

test('a run that ends after its first note leaves notes that can be read', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    const { openPair } = await import('../features/session.ts');
    const { arrive, depart } = await import('../features/travel.ts');
    const { getGroup } = await import('../features/groups.ts');
    for (const operation of ['first', 'second']) {
      const open = await openPair(getGroup('Archive', pair.ctx), pair.ctx, false);
      try {
        const journey = await arrive(open, pair.ctx);
        depart(journey, operation, pair.ctx);
        assert.equal([journey.problems, journey.opened, open.careful], [[], true, null]);
      } finally {
        await open.close();
      }
      assert.equal([stateOf(pair.master).open, stateOf(pair.backup).open], [operation, operation]);
    }
    const plan = await pair.plan();
    assert.equal([plan.careful, plan.problems], [null, []]);
  }));

test('a plan that was saved before the run had to be careful is refused', () =>
  withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    const old = image(pair.master);
    try {
      edit(pair.master, { a: '2' });
      await pair.sync();
      old.restore();
      edit(pair.master, { b: '1' });
      const { applySavedPlan } = await import('../features/sync.ts');
      const error = await refusal(applySavedPlan({ ...(await pair.plan()), careful: null }, [], {}, pair.ctx));
      assert.equal([error.code, error.guard], ['guard', 'careful']);
    } finally {
      old.drop();
    }
  }));

test.run();
