/** Random worlds and random edits on both sides: what must hold whatever happens. */
import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { errnoOf } from '../shared/errors.ts';
import './helpers/inline-workers.ts';
import { age, type TestPair, withPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';
import './helpers/property.ts';

const test = suite('sync properties');

/** Few names, so that edits meet: as files, as folders, as links, with a newline in one. */
const name = fc.constantFrom('a', 'b', 'A', 'n\nl', 'é');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const edit = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      path,
      content: fc.string({ maxLength: 6 }),
      mtime: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), path }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('link' as const),
      path,
      target: fc.constantFrom('a', '../b', '/nowhere'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('folder' as const), path }) },
);
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

const round = fc.record({
  master: fc.array(edit, { maxLength: 6 }),
  backup: fc.array(edit, { maxLength: 3 }),
  remove: fc.boolean(),
  checksum: fc.boolean(),
});

function apply(root: string, edits: readonly Edit[]): void {
  for (const one of edits) {
    const full = join(root, one.path);
    // A parent that is a file or a link gives way: that is how types change, and no edit leaves the drive.
    const parts = one.path.split('/');
    for (let count = 1; count < parts.length; count += 1) clear(join(root, ...parts.slice(0, count)));
    if (one.kind === 'folder') clear(full);
    else rmSync(full, { recursive: true, force: true });
    if (one.kind === 'remove') continue;
    mkdirSync(one.kind === 'folder' ? full : dirname(full), { recursive: true });
    if (one.kind === 'link') symlinkSync(one.target, full);
    if (one.kind === 'write') {
      writeFileSync(full, one.content);
      utimesSync(full, one.mtime * 1e8, one.mtime * 1e8);
    }
  }
  age(root);
}

/** Removes what is no folder. */
function clear(path: string): void {
  const stat = lookAt(path);
  if (stat && !stat.isDirectory()) rmSync(path);
}

/** Contents of files and targets of links that are to be found anywhere on the drive, the trash included. */
function contentsOn(root: string): Set<string> {
  const found = new Set<string>();
  const visit = (folder: string, own: boolean): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const full = join(folder, entry.name);
      if (own && !['trash'].includes(entry.name)) continue;
      if (entry.isDirectory()) visit(full, folder === root && entry.name === '.tandem');
      else if (entry.isSymbolicLink()) found.add(`-> ${readlinkSync(full)}`);
      else found.add(createHash('sha256').update(readFileSync(full)).digest('hex'));
    }
  };
  visit(root, false);
  return found;
}

/** Every record says the truth about both sides, wherever they still stand as they were recorded. */
async function recordsHold(pair: TestPair): Promise<void> {
  for (const row of await pair.rows()) {
    if (!row.backup_facts.startsWith('f') || row.checksum === '') continue;
    const stat = lookAt(join(pair.backup, row.path));
    if (
      !stat?.isFile() ||
      String(stat.ino) !== row.backup_facts.split(' ')[4] ||
      timeOf(stat.ctimeNs) !== row.backup_facts.split(' ')[3]
    )
      continue;
    const content = readFileSync(join(pair.backup, row.path));
    assert.is(row.checksum, createHash('sha256').update(content).digest('hex'), row.path);
  }
}

/** Undefined where nothing is, also below what is a file or a link by now. */
function lookAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (['ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

function timeOf(nanoseconds: bigint): string {
  return `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}0`;
}

test('no content that was ever on the Backup is lost; runs end, settle, and leave the Master alone', async () => {
  const rounds = fc.array(round, { minLength: 2, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(rounds, async (all) => {
      await withPair({ master: { keep: 'always' } }, async (pair) => {
        await pair.sync();
        for (const { master, backup, remove, checksum } of all) {
          apply(pair.master, master);
          apply(pair.backup, backup);
          // Past the clock's tick: what was written within it is rightly compared once more.
          await new Promise((done) => setTimeout(done, 40));
          const before = contentsOn(pair.backup);
          const masterBefore = treeOf(pair.master);
          const options = { on_master_delete: remove ? ('trash' as const) : ('ask' as const), checksum };
          const result = await pair.sync({ options });
          assert.equal(treeOf(pair.master), masterBefore, 'the Master is only read');
          const after = contentsOn(pair.backup);
          for (const content of before) assert.ok(after.has(content), `a content of the Backup is gone: ${content}`);
          assert.is(result.files_failed, 0, JSON.stringify(result.problems));
          await recordsHold(pair);
          if (result.conflicts_detected === 0 && remove) {
            assert.equal(treeOf(pair.backup), treeOf(pair.master), 'without conflicts both sides are equal');
            const rest = (await pair.plan({ options: { on_master_delete: 'trash' } })).actions;
            // What was written in the very tick of the look has its content confirmed once more.
            assert.equal(
              rest.filter(({ kind }) => kind !== 'adopt'),
              [],
              'applying twice is applying once',
            );
          } else {
            const backupBefore = treeOf(pair.backup);
            const again = await pair.sync({ options });
            assert.is(again.conflicts_detected, result.conflicts_detected, 'conflicts stay what they are');
            assert.equal(treeOf(pair.backup), backupBefore, 'and so does the Backup');
          }
        }
      });
    }),
    { numRuns: 22, interruptAfterTimeLimit: 28_000, markInterruptAsFailure: false, endOnFailure: true },
  );
});

test('equal sides plan nothing, whatever they hold', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { maxLength: 15 }), async (edits) => {
      await withPair({}, async (pair) => {
        for (const root of [pair.master, pair.backup]) apply(root, edits);
        const rest = (await pair.plan()).actions.filter(({ kind }) => kind !== 'adopt' && kind !== 'meta');
        assert.equal(rest, []);
        await pair.sync();
        assert.equal((await pair.plan()).actions, []);
        assert.equal(treeOf(pair.backup), treeOf(pair.master));
      });
    }),
    { numRuns: 12, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false, endOnFailure: true },
  );
});

test('a saved plan does what a run does', async () => {
  const { applySavedPlan } = await import('../features/sync.ts');
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { maxLength: 8 }), fc.array(edit, { maxLength: 8 }), async (first, second) => {
      await withPair({ master: { keep: '1' } }, async (pair) => {
        apply(pair.master, first);
        await pair.sync();
        apply(pair.master, second);
        const plan = await pair.plan({ options: { on_master_delete: 'trash' } });
        const result = await applySavedPlan(JSON.parse(JSON.stringify(plan)), [], {}, pair.ctx);
        assert.equal(result.problems, []);
        assert.equal(treeOf(pair.backup), treeOf(pair.master));
      });
    }),
    { numRuns: 10, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false, endOnFailure: true },
  );
});

test.run();
