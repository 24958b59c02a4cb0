import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Action, type Evidence, type Recorded, type Rules, reconcile } from '../features/reconcile.ts';
import { Entry } from '../shared/listing.ts';
import { sortPaths } from '../shared/paths.ts';
import './helpers/property.ts';

const side = { filesystem: 'ext4', granularity: 1, stable: true };
const rules: Rules = {
  onMasterDelete: 'ask',
  onBackupDelete: 'restore',
  skipExisting: false,
  trustMtime: false,
  compareContents: false,
  full: false,
  careful: false,
  permissions: true,
  owner: false,
  master: side,
  backup: side,
  keys: { foldCase: false, normalise: false },
  frozen: () => false,
  unknown: () => false,
  holdsOthers: () => false,
  isStoredWell: () => true,
};

/** `a`: content of length 1, `aa` of length 2 …; the clock is part of the text: `a@5`; `a@5!7` has ctime 7; `/` a folder; `>x` a link. */
function entry(path: string, text: string, inode: number): Entry {
  if (text.startsWith('/')) return new Entry(`d 0 ${text.slice(1) || 1}.0000000000 1.0 ${inode} 755 0 0`, path, 2);
  const [content = '', times = '1'] = text.split('@');
  const [mtime, ctime = '1'] = times.split('!');
  if (content.startsWith('>'))
    return new Entry(`l 1 ${mtime}.0000000000 ${ctime}.0 ${inode} 777 0 0`, path, 1, 0, content.slice(1));
  return new Entry(`f ${content.length} ${mtime}.0000000000 ${ctime}.0 ${inode} 644 0 0`, path, 1, 8);
}

type Literal = Record<string, string>;

function tree(literal: Literal, base: number): Map<string, Entry> {
  return new Map(Object.entries(literal).map(([path, text], index) => [path, entry(path, text, base + index)]));
}

/** The record of a path whose content was `text` when both sides agreed. */
function recorded(literal: Literal, master: Map<string, Entry>, backup: Map<string, Entry>): Map<string, Recorded> {
  return new Map(
    Object.entries(literal).map(([path, text]) => {
      const m = { at: entry(path, text, 0), ino: master.get(path)?.ino ?? '900' };
      const b = { at: entry(path, text, 0), ino: backup.get(path)?.ino ?? '901' };
      const facts = ({ at, ino }: { at: Entry; ino: string }): string =>
        at.facts.replace(/ 0 (755|644|777) /, ` ${ino} $1 `);
      return [
        path,
        {
          path,
          checksum: m.at.kind === 'f' ? `sum-${text.split('@')[0]}` : '',
          checksum_algorithm: 'sha256',
          master_facts: facts(m),
          backup_facts: facts(b),
          link_target: m.at.target,
          doubt: '',
        },
      ];
    }),
  );
}

interface World {
  baseline?: Literal;
  master?: Literal;
  backup?: Literal;
  rules?: Partial<Rules>;
}

function decide(world: World): { actions: Action[]; skipped: number; read: string[] } {
  const master = tree(world.master ?? {}, 100);
  const backup = tree(world.backup ?? {}, 200);
  const trees = { baseline: recorded(world.baseline ?? {}, master, backup), master, backup };
  const evidence = new Map<string, { master?: string; backup?: string }>();
  const all: Rules = { ...rules, ...world.rules };
  const read: string[] = [];
  let result = reconcile(trees, all, evidence as Evidence);
  for (let round = 0; result.needs.length > 0; round += 1) {
    assert.ok(round < 3, 'needs come to an end');
    for (const need of result.needs) {
      const text = (need.side === 'master' ? world.master : world.backup)?.[need.path] ?? '';
      evidence.set(need.key, { ...evidence.get(need.key), [need.side]: `sum-${text.split('@')[0]}` });
      read.push(`${need.side}:${need.path}`);
    }
    result = reconcile(trees, all, evidence as Evidence);
  }
  return { actions: result.actions, skipped: result.skipped, read };
}

const brief = ({ kind, path, conflict_type }: Action): string =>
  `${kind} ${path}${conflict_type ? ` ${conflict_type}` : ''}`;

interface Case extends World {
  name: string;
  expect: string[];
  reads?: string[];
}

const cases: Case[] = [
  // A careful run: copies what is absent, everything else that differs is a conflict, and its record is forgotten.
  {
    name: 'careful, same: nothing',
    rules: { careful: true },
    baseline: { a: 'x' },
    master: { a: 'x' },
    backup: { a: 'x' },
    expect: [],
  },
  {
    name: 'careful, new on the Master: copy',
    rules: { careful: true },
    master: { d: '/', 'd/a': 'x' },
    expect: ['mkdir d', 'copy d/a'],
  },
  {
    name: 'careful, changed on the Master: conflict, not update',
    rules: { careful: true, skipExisting: true },
    baseline: { a: 'x' },
    master: { a: 'y@5' },
    backup: { a: 'x' },
    expect: ['conflict a modified_both', 'forget a'],
  },
  {
    name: 'careful, changed on the Master to what the Backup has: adopt',
    rules: { careful: true },
    baseline: { a: 'x' },
    master: { a: 'x@5' },
    backup: { a: 'x' },
    expect: ['adopt a'],
  },
  {
    name: 'careful, changed on the Backup: conflict',
    rules: { careful: true },
    baseline: { a: 'x' },
    master: { a: 'x' },
    backup: { a: 'y@5' },
    expect: ['conflict a modified_backup', 'forget a'],
  },
  {
    name: 'careful, deleted on the Master: conflict whatever the policy',
    rules: { careful: true, onMasterDelete: 'trash' },
    baseline: { a: 'x' },
    backup: { a: 'x' },
    expect: ['conflict a deleted_master', 'forget a'],
  },
  {
    name: 'careful, a folder gone from the Master: its files speak for it',
    rules: { careful: true, onMasterDelete: 'trash' },
    baseline: { d: '/', 'd/a': 'x' },
    backup: { d: '/', 'd/a': 'x' },
    expect: ['conflict d/a deleted_master', 'forget d', 'forget d/a'],
  },
  {
    name: 'careful, missing on the Backup: copied whatever the policy, and its new record stays',
    rules: { careful: true, onBackupDelete: 'ask' },
    baseline: { a: 'x' },
    master: { a: 'x' },
    expect: ['copy a'],
  },
  {
    name: 'careful, no record and different: conflict, whatever is trusted',
    rules: { careful: true, trustMtime: true },
    master: { a: 'x@3' },
    backup: { a: 'y@3' },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'careful, equal content, other time: nothing is set',
    rules: { careful: true },
    master: { a: 'x@3' },
    backup: { a: 'x@9' },
    expect: ['adopt a'],
  },
  {
    name: 'careful, of another type on the Master: conflict',
    rules: { careful: true },
    baseline: { a: '/', 'a/b': 'x' },
    master: { a: 'x' },
    backup: { a: '/', 'a/b': 'x' },
    expect: ['conflict a modified_both', 'conflict a/b deleted_master', 'forget a', 'forget a/b'],
  },
  {
    name: 'careful, what the run does not look at: its record is forgotten',
    rules: { careful: true, frozen: (path) => path === 'a' },
    baseline: { a: 'x' },
    master: { a: 'y@5' },
    backup: { a: 'x' },
    expect: ['forget a'],
  },
  { name: 'careful, gone from both: forget', rules: { careful: true }, baseline: { a: 'x' }, expect: ['forget a'] },
  { name: 'same, same: nothing', baseline: { a: 'x' }, master: { a: 'x' }, backup: { a: 'x' }, expect: [] },
  { name: 'new on the Master: copy', master: { a: 'x' }, expect: ['copy a'] },
  { name: 'new folder with a file', master: { d: '/', 'd/a': 'x' }, expect: ['mkdir d', 'copy d/a'] },
  {
    name: 'new on the Backup only: conflict, never deleted',
    backup: { a: 'x' },
    rules: { onMasterDelete: 'trash' },
    expect: ['conflict a new_backup'],
  },
  {
    name: 'new folder on the Backup: its files speak for it',
    backup: { d: '/', 'd/a': 'x' },
    expect: ['conflict d/a new_backup'],
  },
  { name: 'new empty folder on the Backup', backup: { d: '/' }, expect: ['conflict d new_backup'] },
  {
    name: 'both new, equal content: adopt',
    master: { a: 'x@3' },
    backup: { a: 'x@3' },
    expect: ['adopt a'],
    reads: ['master:a', 'backup:a'],
  },
  {
    name: 'both new, equal content, other time: metadata only',
    master: { a: 'x@3' },
    backup: { a: 'x@9' },
    expect: ['meta a'],
  },
  {
    name: 'both new, same size, other content: conflict',
    master: { a: 'x' },
    backup: { a: 'y' },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'both new, equal times, other sizes: size mismatch, unread',
    master: { a: 'x@3' },
    backup: { a: 'xx@3' },
    expect: ['conflict a size_mismatch'],
    reads: [],
  },
  {
    name: 'both new, other times and sizes: conflict, unread',
    master: { a: 'x@3' },
    backup: { a: 'xx@4' },
    expect: ['conflict a modified_both'],
    reads: [],
  },
  {
    name: 'trusting times adopts without reading',
    master: { a: 'x@3' },
    backup: { a: 'y@3' },
    rules: { trustMtime: true },
    expect: ['adopt a'],
    reads: [],
  },
  {
    name: 'trusting times does not trust other times',
    master: { a: 'x@3' },
    backup: { a: 'y@4' },
    rules: { trustMtime: true },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'changed on the Master: update',
    baseline: { a: 'x' },
    master: { a: 'y@5' },
    backup: { a: 'x' },
    expect: ['update a'],
    reads: [],
  },
  {
    name: 'changed on the Backup: conflict',
    baseline: { a: 'x' },
    master: { a: 'x' },
    backup: { a: 'y@5' },
    expect: ['conflict a modified_backup'],
  },
  {
    name: 'changed on both, unequal',
    baseline: { a: 'x' },
    master: { a: 'y@5' },
    backup: { a: 'z@6' },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'changed on both to equal content: adopt',
    baseline: { a: 'x' },
    master: { a: 'y@5' },
    backup: { a: 'y@5' },
    expect: ['adopt a'],
  },
  {
    name: 'changed on both, sizes differ: unread conflict',
    baseline: { a: 'x' },
    master: { a: 'yy@5' },
    backup: { a: 'z@6' },
    expect: ['conflict a modified_both'],
    reads: [],
  },
  {
    name: 'deleted on the Master, ask',
    baseline: { a: 'x' },
    backup: { a: 'x' },
    expect: ['conflict a deleted_master'],
  },
  {
    name: 'deleted on the Master, trash',
    baseline: { a: 'x' },
    backup: { a: 'x' },
    rules: { onMasterDelete: 'trash' },
    expect: ['delete a'],
  },
  {
    name: 'deleted on the Master, keep',
    baseline: { a: 'x' },
    backup: { a: 'x' },
    rules: { onMasterDelete: 'keep' },
    expect: [],
  },
  {
    name: 'deleted on the Master, changed on the Backup: conflict whatever the policy',
    baseline: { a: 'x' },
    backup: { a: 'y@5' },
    rules: { onMasterDelete: 'trash' },
    expect: ['conflict a deleted_master'],
  },
  { name: 'deleted on the Backup: copied again', baseline: { a: 'x' }, master: { a: 'x' }, expect: ['copy a'] },
  {
    name: 'deleted on the Backup, ask',
    baseline: { a: 'x' },
    master: { a: 'x' },
    rules: { onBackupDelete: 'ask' },
    expect: ['conflict a deleted_backup'],
  },
  {
    name: 'changed on the Master, deleted on the Backup: copy whatever the policy',
    baseline: { a: 'x' },
    master: { a: 'y@5' },
    rules: { onBackupDelete: 'ask' },
    expect: ['copy a'],
  },
  { name: 'deleted on both: forget', baseline: { a: 'x' }, expect: ['forget a'] },
  {
    name: 'another ctime, same content: metadata',
    baseline: { a: 'x@1' },
    master: { a: 'x@1!9' },
    backup: { a: 'x@1' },
    expect: ['meta a'],
    reads: ['master:a'],
  },
  {
    name: 'another ctime, other content behind an old time: update',
    baseline: { a: 'x@1' },
    master: { a: 'y@1!9' },
    backup: { a: 'x@1' },
    expect: ['update a'],
  },
  {
    name: 'another ctime on the Backup, other content: conflict',
    baseline: { a: 'x@1' },
    master: { a: 'x@1' },
    backup: { a: 'y@1!9' },
    expect: ['conflict a modified_backup'],
  },
  {
    name: 'a deletion looks into a Backup file whose ctime moved',
    baseline: { a: 'x@1' },
    backup: { a: 'y@1!9' },
    rules: { onMasterDelete: 'trash' },
    expect: ['conflict a deleted_master'],
  },
  {
    name: 'folder deleted with all in it: children, then the folder',
    baseline: { d: '/', 'd/a': 'x' },
    backup: { d: '/', 'd/a': 'x' },
    rules: { onMasterDelete: 'trash' },
    expect: ['delete d', 'delete d/a'],
  },
  {
    name: 'folder deleted, but something in it stays',
    baseline: { d: '/', 'd/a': 'x' },
    backup: { d: '/', 'd/a': 'x', 'd/own': 'z' },
    rules: { onMasterDelete: 'trash' },
    expect: ['delete d/a', 'conflict d/own new_backup'],
  },
  {
    name: 'folder deleted under ask: only its files are asked about',
    baseline: { d: '/', 'd/a': 'x' },
    backup: { d: '/', 'd/a': 'x' },
    expect: ['conflict d/a deleted_master'],
  },
  {
    name: 'empty folder deleted under ask',
    baseline: { d: '/' },
    backup: { d: '/' },
    expect: ['conflict d deleted_master'],
  },
  {
    name: 'file became a folder',
    baseline: { a: 'x' },
    master: { a: '/', 'a/b': 'y' },
    backup: { a: 'x' },
    expect: ['update a', 'copy a/b'],
  },
  {
    name: 'file became a folder, changed on the Backup: conflict, nothing below it',
    baseline: { a: 'x' },
    master: { a: '/', 'a/b': 'y' },
    backup: { a: 'z@7' },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'folder became a file: the old tree goes with it',
    baseline: { a: '/', 'a/b': 'y' },
    master: { a: 'x@4' },
    backup: { a: '/', 'a/b': 'y' },
    expect: ['update a', 'forget a/b'],
  },
  {
    name: 'folder became a file, but a child changed on the Backup',
    baseline: { a: '/', 'a/b': 'y' },
    master: { a: 'x@4' },
    backup: { a: '/', 'a/b': 'z@8' },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'folder became a file, but the Backup has a new child',
    baseline: { a: '/' },
    master: { a: 'x@4' },
    backup: { a: '/', 'a/own': 'z' },
    expect: ['conflict a modified_both'],
  },
  { name: 'file became a link', baseline: { a: 'x' }, master: { a: '>t@3' }, backup: { a: 'x' }, expect: ['update a'] },
  {
    name: 'link with a new target',
    baseline: { a: '>t' },
    master: { a: '>u' },
    backup: { a: '>t' },
    expect: ['update a'],
  },
  { name: 'equal links on both sides', master: { a: '>t' }, backup: { a: '>t' }, expect: ['adopt a'] },
  {
    name: 'unequal links on both sides',
    master: { a: '>t' },
    backup: { a: '>u' },
    expect: ['conflict a modified_both'],
  },
  { name: 'folder on both sides, unrecorded', master: { d: '/' }, backup: { d: '/' }, expect: ['adopt d'] },
  {
    name: 'folder with other times: metadata',
    baseline: { d: '/1' },
    master: { d: '/5' },
    backup: { d: '/1' },
    expect: ['meta d'],
  },
  {
    name: 'skip existing leaves what is there, unread',
    baseline: { b: 'x' },
    master: { a: 'x', b: 'y@5' },
    backup: { a: 'z', b: 'x' },
    rules: { skipExisting: true },
    expect: ['skip a', 'skip b'],
    reads: [],
  },
  {
    name: 'checksum finds a change behind equal facts on the Master',
    baseline: { a: 'x' },
    master: { a: 'y' },
    backup: { a: 'x' },
    rules: { compareContents: true },
    expect: ['conflict a modified_both'],
  },
  {
    name: 'checksum finds rot on the Backup',
    baseline: { a: 'x' },
    master: { a: 'x' },
    backup: { a: 'y' },
    rules: { compareContents: true },
    expect: ['conflict a modified_backup'],
  },
  {
    name: 'full writes everything anew',
    baseline: { a: 'x' },
    master: { a: 'x' },
    backup: { a: 'x' },
    rules: { compareContents: true, full: true },
    expect: ['meta a'],
  },
  {
    name: 'frozen paths are left alone',
    baseline: { a: 'x' },
    backup: { a: 'x' },
    rules: { onMasterDelete: 'trash', frozen: (path) => path === 'a' },
    expect: [],
  },
  {
    name: 'unknown is not absent',
    baseline: { 'd/a': 'x' },
    backup: { 'd/a': 'x' },
    rules: { onMasterDelete: 'trash', unknown: (path) => path.startsWith('d') },
    expect: [],
  },
  {
    name: 'unknown below does not stop what is seen',
    master: { 'd/a': 'x@2' },
    baseline: { 'd/a': 'y' },
    backup: { 'd/a': 'y' },
    rules: { unknown: (path) => path.startsWith('d') },
    expect: ['update d/a'],
  },
];

const table = suite('reconcile');
for (const { name, expect, reads, ...world } of cases) {
  table(name, () => {
    const { actions, read } = decide(world);
    assert.equal(actions.map(brief), expect);
    if (reads) assert.equal(read, reads);
  });
}

// Doubt of a record whose facts still hold, contents on Master and Backup (recorded: x), what is done.
const DOUBTED: [doubt: string, master: string, backup: string, expect: string][] = [
  ['racy', 'x', 'x', 'adopt a'],
  ['racy', 'other', 'x', 'update a'],
  ['racy', 'x', 'other', 'modified_backup a'],
  ['racy', 'other', 'other', 'adopt a'],
  ['racy', 'other', 'third', 'modified_both a'],
  ['unequal', 'x', 'x', 'adopt a'],
  ['unequal', 'other', 'x', 'modified_both a'],
  ['unequal', 'x', 'other', 'modified_backup a'],
  ['unequal', 'other', 'other', 'adopt a'],
  ['unequal', 'other', 'third', 'modified_both a'],
];
for (const [doubt, one, two, expect] of DOUBTED)
  table(`a recorded file that is doubted as ${doubt} is decided by its content: ${one}, ${two}`, () => {
    const master = tree({ a: 'x' }, 100);
    const backup = tree({ a: 'x' }, 200);
    const baseline = recorded({ a: 'x' }, master, backup);
    (baseline.get('a') as Recorded).doubt = doubt;
    const trees = { baseline, master, backup };
    assert.equal(
      reconcile(trees, rules).needs.map(({ side: where }) => where),
      ['master', 'backup'],
    );
    const read = new Map([['a', { master: `sum-${one}`, backup: `sum-${two}` }]]);
    assert.equal(
      reconcile(trees, rules, read).actions.map((action) =>
        action.kind === 'conflict' ? `${action.conflict_type} ${action.path}` : brief(action),
      ),
      [expect],
    );
  });

table('a file that cannot be read keeps its path out of the plan', () => {
  const { master, backup } = { master: tree({ a: 'x' }, 1), backup: tree({ a: 'y' }, 2) };
  const result = reconcile(
    { baseline: new Map(), master, backup },
    rules,
    new Map([['a', { master: '', backup: 'sum-y' }]]),
  );
  assert.equal(result.actions, []);
  assert.is(result.skipped, 1);
});

table('FAT: a shift by whole hours is read before it is called a change', () => {
  const fat = { filesystem: 'vfat', granularity: 2_000_000_000, stable: false };
  const world: World = {
    baseline: { a: 'x@10' },
    master: { a: 'x@3610' },
    backup: { a: 'x@10' },
    rules: { master: fat },
  };
  assert.equal(decide(world).read, ['master:a']);
  assert.equal(decide(world).actions.map(brief), ['meta a']);
  assert.equal(decide({ ...world, rules: {} }).actions.map(brief), ['update a']);
});

table('on a drive without lasting ids, times within its granularity are the same', () => {
  const fat = { filesystem: 'exfat', granularity: 2_000_000_000, stable: false };
  const result = decide({
    baseline: { a: 'x@10' },
    master: { a: 'x@11' },
    backup: { a: 'x@10' },
    rules: { master: fat },
  });
  assert.equal(result.actions.map(brief), ['adopt a']);
  assert.equal(result.read, []);
});

table('paths come parents first', () => {
  const paths = ['a b', 'a', 'a/z', 'a.txt', 'a/b/c', 'a/b'];
  assert.equal(sortPaths(new Set(paths)), ['a', 'a/b', 'a/b/c', 'a/z', 'a b', 'a.txt']);
});

table('paths sort as if the slash were the lowest of all characters, with or without their folders', () => {
  const part = fc.constantFrom('a', 'a b', 'a.b', 'B', 'é', '\u0001', 'ab');
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(fc.uniqueArray(path, { maxLength: 30 }), (paths) => {
      const keys = new Map(paths.map((one) => [one.replaceAll('/', '\0'), one]));
      const expected = [...keys.keys()].sort().map((key) => keys.get(key));
      assert.equal(sortPaths(new Set(paths)), expected);
    }),
    { numRuns: 500 },
  );
});

const literal = fc.dictionary(
  fc.constantFrom('a', 'b', 'd/x', 'd/y', 'é', 'z z'),
  fc.constantFrom('x', 'y@2', 'xx@3', 'x@5', 'yy@7', '>t', '>u@4'),
  { maxKeys: 5 },
);

table('property: equal and recorded sides plan nothing', () => {
  fc.assert(
    fc.property(literal, (world) => {
      assert.equal(decide({ baseline: world, master: world, backup: world }).actions, []);
    }),
  );
});

table('property: whatever the three trees, nothing changed on the Backup is overwritten or deleted', () => {
  fc.assert(
    fc.property(
      literal,
      literal,
      literal,
      fc.constantFrom('ask', 'trash', 'keep'),
      (baseline, master, backup, onMasterDelete) => {
        const { actions } = decide({ baseline, master, backup, rules: { onMasterDelete } });
        for (const { kind, path } of actions) {
          if (kind === 'delete' || kind === 'update') assert.is(backup[path], baseline[path], `${kind} ${path}`);
          if (kind === 'copy') assert.is(backup[path], undefined);
          if (kind === 'delete') assert.is(master[path], undefined);
        }
      },
    ),
    { numRuns: 500 },
  );
});

table('property: every path is decided once', () => {
  fc.assert(
    fc.property(literal, literal, literal, (baseline, master, backup) => {
      const { actions } = decide({ baseline, master, backup });
      assert.is(new Set(actions.map(({ path }) => path)).size, actions.length);
    }),
  );
});

table.run();
