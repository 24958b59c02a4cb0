/** The kernel's writing parts by themselves: batches, folders that are never left, recovery, and the lock. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TandemError } from '../shared/errors.ts';
import { FolderCache } from '../shared/folders.ts';
import { ALGORITHMS, hasherFactory } from '../shared/hash.ts';
import { factsOf } from '../shared/listing.ts';
import { DriveLock, lockHolder } from '../shared/lock.ts';
import { thisProcess } from '../shared/machine.ts';
import { partialFolder, recoverDrive } from '../shared/recover.ts';
import { closeFolder, type Dir, openRoot, statAt } from '../shared/syscalls.ts';
import type { CommitItem, StageItem, StageResult, TransferSession } from '../shared/tasks.ts';
import { TreeTransfer } from '../shared/tree-transfer.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { removeBelow } from './helpers/drives.ts';
import { type World, world } from './helpers/world.ts';
import './helpers/property.ts';

const test = suite('transfer');

interface Bench {
  root: string;
  master: string;
  backup: string;
  dirs: { master: Dir; backup: Dir };
  session: TransferSession;
  transfer: TreeTransfer;
  /** 'run', or what the control answers from now on. */
  order: 'run' | 'cancel' | 'stop';
}

type Traits = Partial<TransferSession['traits']>;

async function withBench(
  worlds: { master?: World; backup?: World; traits?: Traits },
  work: (bench: Bench) => Promise<void> | void,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-transfer-'));
  const [master, backup] = [join(root, 'master'), join(root, 'backup')];
  world(worlds.master ?? {}, master);
  world(worlds.backup ?? {}, backup);
  mkdirSync(join(backup, '.tandem'), { recursive: true });
  writeFileSync(join(backup, '.tandem/lock'), '');
  const dirs = { master: openRoot(master), backup: openRoot(backup) };
  const traits = {
    stable: true,
    permissions: true,
    hardLinks: true,
    exchange: true,
    minTime: -1e12,
    maxTime: 1e12,
    ...worlds.traits,
  };
  const session: TransferSession = {
    master: dirs.master,
    backup: dirs.backup,
    reversed: false,
    masterStable: true,
    masterClock: { stable: true, margin: 10 },
    operation: 'op',
    owner: true,
    traits,
  };
  const bench: Bench = {
    root,
    master,
    backup,
    dirs,
    session,
    order: 'run',
    transfer: undefined as unknown as TreeTransfer,
  };
  const control = {
    stop: () => bench.order === 'stop',
    cancel: () => bench.order !== 'run',
    moved: () => {},
    holding: () => {},
    allowed: (wanted: number) => wanted,
  };
  bench.transfer = new TreeTransfer(session, 'sha256', await hasherFactory('sha256'), control, {
    key: null,
    compressionLevel: 1,
  });
  try {
    await work(bench);
  } finally {
    bench.transfer.close();
    for (const dir of Object.values(dirs)) closeFolder(dir);
    removeBelow(root);
  }
}

let seq = 0;
function item(bench: Bench, path: string, more: Partial<StageItem> = {}): StageItem {
  const stat = statAt(bench.dirs.master, path);
  const there = statAt(bench.dirs.backup, path);
  const kind = stat?.kind === 'd' || stat?.kind === 'l' ? stat.kind : 'f';
  seq += 1;
  return {
    seq,
    path,
    kind,
    size: stat?.size ?? 0,

    linkTo: null,
    masterFacts: null,
    backupFacts: there ? factsOf(there, bench.session.traits.stable) : null,
    ...more,
  };
}

const commitItem = (one: StageItem, staged: StageResult | undefined): CommitItem => ({
  ...one,
  stagedFacts: staged?.masterFacts ?? '',
});

/** Stages, lets `between` interfere, commits; the outcome of each path. */
function put(bench: Bench, items: readonly StageItem[], between: () => void = () => {}): Record<string, string> {
  const staged = bench.transfer.stage(items);
  between();
  const ready = items.filter((_, index) => staged[index]?.outcome === 'done');
  const committed = bench.transfer.commit(ready.map((one) => commitItem(one, staged[items.indexOf(one)])));
  return Object.fromEntries(
    items.map((one, index) => [
      one.path,
      staged[index]?.outcome === 'done'
        ? (committed[ready.indexOf(one)]?.outcome ?? 'missing')
        : `stage ${staged[index]?.outcome}`,
    ]),
  );
}

const read = (root: string, path: string): string => readFileSync(join(root, path), 'utf8');
const trash = (bench: Bench, path: string): string => read(bench.backup, `.tandem/trash/op/${path}`);
const partials = (bench: Bench): string[] =>
  existsSync(join(bench.backup, partialFolder('op'))) ? readdirSync(join(bench.backup, partialFolder('op'))) : [];
const sha = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');

for (const traits of [{}, { exchange: false }, { exchange: false, hardLinks: false }] as Traits[]) {
  test(`new and replaced files, with ${JSON.stringify(traits)}: complete content, the old one kept, no partial left`, async () => {
    await withBench(
      {
        traits,
        master: { a: 'new a', 'd/b': 'new b', l: { symlink: 'there' }, e: '' },
        backup: { a: 'old a', 'd/': null, l: { symlink: 'elsewhere' } },
      },
      (bench) => {
        assert.equal(
          put(
            bench,
            ['a', 'd/b', 'l', 'e'].map((path) => item(bench, path)),
          ),
          { a: 'done', 'd/b': 'done', l: 'done', e: 'done' },
        );
        assert.equal(
          [read(bench.backup, 'a'), read(bench.backup, 'd/b'), trash(bench, 'a')],
          ['new a', 'new b', 'old a'],
        );
        assert.equal(partials(bench), []);
        assert.not(
          existsSync(join(bench.backup, '.tandem/intent')) &&
            readdirSync(join(bench.backup, '.tandem/intent')).length > 0,
        );
        assert.is(lstatSync(join(bench.backup, '.tandem/trash/op/a')).nlink, 1);
      },
    );
  });

  test(`a version never replaces a version, with ${JSON.stringify(traits)}`, async () => {
    await withBench({ traits, master: { a: '1' }, backup: { a: '0' } }, (bench) => {
      for (const content of ['1', '2', '3']) {
        writeFileSync(join(bench.master, 'a'), content);
        assert.equal(put(bench, [item(bench, 'a')]), { a: 'done' });
      }
      assert.equal(
        readdirSync(join(bench.backup, '.tandem/trash/op'))
          .map((name) => trash(bench, name))
          .sort(),
        ['0', '1', '2'],
      );
    });
  });

  test(`types change place, with ${JSON.stringify(traits)}`, async () => {
    await withBench(
      {
        traits,
        master: { file: 'f', 'folder/': null, link: { symlink: 'x' } },
        backup: { 'file/in': '1', folder: '2', 'link/in': '3' },
      },
      (bench) => {
        assert.equal(
          put(
            bench,
            ['file', 'folder', 'link'].map((path) => item(bench, path)),
          ),
          { file: 'done', folder: 'done', link: 'done' },
        );
        assert.equal(
          [read(bench.backup, 'file'), trash(bench, 'file/in'), trash(bench, 'folder'), trash(bench, 'link/in')],
          ['f', '1', '2', '3'],
        );
        assert.ok(lstatSync(join(bench.backup, 'folder')).isDirectory());
      },
    );
  });

  test(`the Backup changed between plan and commit, with ${JSON.stringify(traits)}: a conflict, and nothing is touched`, async () => {
    await withBench(
      { traits, master: { a: 'm', fresh: 'm', gone: 'm', swapped: 'm' }, backup: { a: 'b', gone: 'b', swapped: 'b' } },
      (bench) => {
        const outcome = put(
          bench,
          ['a', 'fresh', 'gone', 'swapped'].map((path) => item(bench, path)),
          () => {
            writeFileSync(join(bench.backup, 'a'), 'mine');
            writeFileSync(join(bench.backup, 'fresh'), 'mine');
            unlinkSync(join(bench.backup, 'gone'));
            unlinkSync(join(bench.backup, 'swapped'));
            symlinkSync('/etc/passwd', join(bench.backup, 'swapped'));
          },
        );
        assert.equal(outcome, { a: 'conflict', fresh: 'conflict', gone: 'conflict', swapped: 'conflict' });
        assert.equal([read(bench.backup, 'a'), read(bench.backup, 'fresh')], ['mine', 'mine']);
        assert.ok(lstatSync(join(bench.backup, 'swapped')).isSymbolicLink());
        assert.equal(partials(bench), []);
      },
    );
  });
}

test('the Master changed between stage and commit: changed, never put in place', async () => {
  await withBench(
    {
      master: { content: 'one', replaced: 'one', gone: 'one', mode: 'one', typed: 'one', link: { symlink: 'one' } },
      backup: { content: 'old' },
    },
    (bench) => {
      const names = ['content', 'replaced', 'gone', 'mode', 'typed', 'link'];
      const outcome = put(
        bench,
        names.map((path) => item(bench, path)),
        () => {
          writeFileSync(join(bench.master, 'content'), 'two');
          writeFileSync(join(bench.master, 'tmp'), 'one');
          renameSync(join(bench.master, 'tmp'), join(bench.master, 'replaced'));
          unlinkSync(join(bench.master, 'gone'));
          chmodSync(join(bench.master, 'mode'), 0o600);
          unlinkSync(join(bench.master, 'typed'));
          mkdirSync(join(bench.master, 'typed'));
          unlinkSync(join(bench.master, 'link'));
          symlinkSync('two', join(bench.master, 'link'));
        },
      );
      assert.equal(outcome, Object.fromEntries(names.map((name) => [name, 'changed'])));
      assert.is(read(bench.backup, 'content'), 'old');
      assert.equal(partials(bench), []);
      assert.equal(readdirSync(bench.backup).sort(), ['.tandem', 'content']);
    },
  );
});

test('a pipe, a link or a folder in the place of a file neither hangs nor leads away', async () => {
  await withBench({ master: { a: '1', b: '2', c: '3' } }, (bench) => {
    const items = ['a', 'b', 'c'].map((path) => item(bench, path));
    for (const name of ['a', 'b', 'c']) unlinkSync(join(bench.master, name));
    spawnSync('mkfifo', [join(bench.master, 'a')]);
    symlinkSync('/etc/passwd', join(bench.master, 'b'));
    mkdirSync(join(bench.master, 'c'));
    const outcome = put(bench, items);
    assert.ok(
      Object.values(outcome).every((one) => one.startsWith('stage ')),
      JSON.stringify(outcome),
    );
    assert.equal(readdirSync(bench.backup), ['.tandem']);
  });
});

test('a link in the place of a parent folder is refused on both sides, also by deletions and metadata', async () => {
  await withBench({ master: { 'd/a': 'from the Master' }, backup: { 'd/a': 'old', 'e/x': '1' } }, (bench) => {
    const outside = join(bench.root, 'outside');
    world({ a: 'outside', x: 'outside' }, outside);
    const one = item(bench, 'd/a');
    const gone = factsOf(statAt(openRoot(join(bench.root, 'outside')), 'x') as never, true);
    const outcome = put(bench, [one], () => {
      rmSync(join(bench.backup, 'd'), { recursive: true });
      symlinkSync(outside, join(bench.backup, 'd'));
    });
    assert.is(outcome['d/a'], 'failed');
    rmSync(join(bench.backup, 'e'), { recursive: true });
    symlinkSync(outside, join(bench.backup, 'e'));
    assert.is.not(
      bench.transfer.remove([{ path: 'e/x', kind: 'f', backupFacts: gone }], () => true)[0]?.outcome,
      'done',
    );
    bench.transfer.makeFolders(['d/new']);
    assert.equal([read(outside, 'a'), read(outside, 'x'), readdirSync(outside).length], ['outside', 'outside', 2]);
    rmSync(join(bench.master, 'd'), { recursive: true });
    symlinkSync(outside, join(bench.master, 'd'));
    assert.ok(put(bench, [{ ...one, seq: 9999 }])['d/a']?.startsWith('stage failed'));
  });
});

test('checksums are those of the content, for every algorithm and at every awkward size', async () => {
  const sizes = [0, 1, 65_535, 1_048_575, 1_048_576, 1_048_577, 4_194_303, 4_194_304, 4_194_305, 9_000_001];
  for (const algorithm of ALGORITHMS) {
    await withBench({}, async (bench) => {
      const control = {
        stop: () => false,
        cancel: () => false,
        moved: () => {},
        holding: () => {},
        allowed: (wanted: number) => wanted,
      };
      const transfer = new TreeTransfer(bench.session, 'sha256', await hasherFactory(algorithm), control, {
        key: null,
        compressionLevel: 1,
      });
      for (const size of algorithm === 'sha256' ? sizes : sizes.slice(0, 4))
        writeFileSync(join(bench.master, String(size)), Buffer.alloc(size, `${size} `));
      const items = readdirSync(bench.master).map((name) => item(bench, name));
      const staged = transfer.stage(items);
      const committed = transfer.commit(items.map((one, index) => commitItem(one, staged[index])));
      assert.ok(committed.every(({ outcome }) => outcome === 'done'));
      const again = transfer.hash(
        'backup',
        items.map((one, index) => ({ path: one.path, facts: committed[index]?.backupFacts ?? '' })),
        await hasherFactory(algorithm),
      );
      for (const [index, one] of items.entries()) {
        const content = readFileSync(join(bench.backup, one.path));
        assert.ok(content.equals(readFileSync(join(bench.master, one.path))), one.path);
        assert.is(staged[index]?.checksum, again[index]?.checksum);
        if (algorithm === 'sha256') assert.is(staged[index]?.checksum, sha(content), one.path);
      }
      transfer.close();
    });
  }
});

test('holes, wherever they lie: same content, same checksum', async () => {
  const stretch = fc.record({
    at: fc.integer({ min: 0, max: 9_000_000 }),
    bytes: fc.integer({ min: 1, max: 200_000 }),
    zero: fc.boolean(),
  });
  await withBench({}, (bench) => {
    let count = 0;
    fc.assert(
      fc.property(fc.array(stretch, { maxLength: 4 }), fc.integer({ min: 0, max: 9_500_000 }), (stretches, size) => {
        count += 1;
        const name = `sparse${count}`;
        const file = join(bench.master, name);
        writeFileSync(file, '');
        truncateSync(file, size);
        for (const { at, bytes, zero } of stretches)
          execFileSync(
            'dd',
            [`of=${file}`, `seek=${at}`, 'oflag=seek_bytes', 'bs=256k', 'count=1', 'conv=notrunc', 'status=none'],
            { input: Buffer.alloc(bytes, zero ? 0 : 'x') },
          );
        const one = item(bench, name);
        const [staged] = bench.transfer.stage([one]);
        assert.is(bench.transfer.commit([commitItem(one, staged)])[0]?.outcome, 'done');
        const content = readFileSync(file);
        assert.ok(content.equals(readFileSync(join(bench.backup, name))), 'the same content');
        assert.is(staged?.checksum, sha(content));
        for (const root of [bench.master, bench.backup]) unlinkSync(join(root, name));
      }),
      { numRuns: 25 },
    );
  });
});

test('verify finds a partial that is not what was read', async () => {
  await withBench({ master: { a: 'aaaa', b: 'b'.repeat(5_000_000) } }, (bench) => {
    const items = ['a', 'b'].map((path) => item(bench, path));
    const staged = bench.transfer.stage(items);
    const [, second] = items;
    const file = join(bench.backup, partialFolder('op'), (second as StageItem).seq.toString(36));
    const bytes = readFileSync(file);
    bytes[4_999_999] = 0;
    writeFileSync(file, bytes);
    bench.transfer.flush();
    for (const direct of [true, false]) {
      const found = bench.transfer.verify(
        staged.map((one) => ({ seq: one.seq, checksum: one.checksum })).slice(direct ? 0 : 0, direct ? 2 : 1),
        direct,
      );
      assert.equal(found.failed, direct ? [second?.seq] : []);
    }
  });
});

test('deletions: only what is provably gone from the Master, only what the plan saw on the Backup', async () => {
  await withBench(
    {
      master: { back: '1', 'sub/x': '1' },
      backup: { back: '1', gone: '1', edited: '1', 'd/own': 'mine', 'j/.DS_Store': 'junk', 'sub/x': '1' },
    },
    (bench) => {
      const facts = (path: string): string => factsOf(statAt(bench.dirs.backup, path) as never, true);
      const items = ['back', 'gone', 'edited', 'd', 'j', 'missing', 'sub/x'].map((path) => ({
        path,
        kind: path === 'd' || path === 'j' ? ('d' as const) : ('f' as const),
        backupFacts: path === 'missing' ? '' : facts(path),
      }));
      writeFileSync(join(bench.backup, 'edited'), 'edited since');
      const outcome = Object.fromEntries(
        bench.transfer.remove(items, (name) => name === '.DS_Store').map((one) => [one.path, one.outcome]),
      );
      assert.equal(outcome, {
        back: 'changed',
        gone: 'done',
        edited: 'conflict',
        d: 'changed',
        j: 'done',
        missing: 'done',
        'sub/x': 'changed',
      });
      assert.equal(
        [read(bench.backup, 'edited'), read(bench.backup, 'd/own'), trash(bench, 'gone'), trash(bench, 'j/.DS_Store')],
        ['edited since', 'mine', '1', 'junk'],
      );
      assert.not(existsSync(join(bench.backup, 'j')));
    },
  );
});

test('cancel takes no other file, stop leaves no half file under a name', async () => {
  await withBench({ master: { a: '1', big: 'x'.repeat(9_000_000) } }, (bench) => {
    bench.order = 'cancel';
    assert.equal(
      put(
        bench,
        ['a', 'big'].map((path) => item(bench, path)),
      ),
      { a: 'stage stopped', big: 'stage stopped' },
    );
    bench.order = 'stop';
    assert.is(put(bench, [item(bench, 'big')])['big'], 'stage stopped');
    assert.equal(readdirSync(bench.backup), ['.tandem']);
  });
});

test('folders are opened name by name, never through a link, and are found anew after a move', async () => {
  await withBench({ backup: { 'a/b/c/x': '1', 'other/x': '2' } }, (bench) => {
    symlinkSync('a', join(bench.backup, 'link'));
    const folders = new FolderCache(bench.dirs.backup);
    const code = (work: () => unknown): string => {
      try {
        work();
        return 'fine';
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'unknown';
      }
    };
    assert.is(
      code(() => folders.open('a/b/c')),
      'fine',
    );
    assert.ok(['ENOTDIR', 'ELOOP'].includes(code(() => folders.open('link/b'))));
    assert.ok(['ENOTDIR', 'ELOOP'].includes(code(() => folders.make('link/new'))));
    assert.is(
      code(() => folders.open('a/missing/c')),
      'ENOENT',
    );
    assert.ok(folders.exists('a/b/c/x'));
    assert.not(folders.exists('a/b/c/y'));
    assert.not(folders.exists('link/b/c/x'), 'what lies behind a link is not at this path');
    for (let index = 0; index < 200; index += 1) folders.make(`many/${index}`);
    folders.trim();
    assert.ok(readdirSync('/proc/self/fd').length < 150, 'descriptors are not hoarded');
    renameSync(join(bench.backup, 'a'), join(bench.backup, 'z'));
    folders.forget('a');
    assert.is(
      code(() => folders.open('a/b')),
      'ENOENT',
    );
    folders.clear();
  });
});

// --- recovery ---

function crashed(
  bench: Bench,
  state: { path?: string; partial?: string; trash?: string; intents?: unknown },
): ReturnType<typeof recoverDrive> {
  const files: Record<string, string> = {};
  if (state.path !== undefined) files['d/x'] = state.path;
  if (state.partial !== undefined) files['.tandem/partial/op/1'] = state.partial;
  if (state.trash !== undefined) files['.tandem/trash/op/d/x'] = state.trash;
  world({ 'd/': null, ...files }, bench.backup);
  const intents =
    'intents' in state
      ? state.intents
      : [{ path: 'd/x', partial: '.tandem/partial/op/1', trash: '.tandem/trash/op/d/x' }];
  world({ '.tandem/intent/op-1.json': typeof intents === 'string' ? intents : JSON.stringify(intents) }, bench.backup);
  return recoverDrive(bench.dirs.backup);
}

const left = (bench: Bench): string[] =>
  ['intent', 'partial'].flatMap((name) =>
    existsSync(join(bench.backup, '.tandem', name)) ? readdirSync(join(bench.backup, '.tandem', name)) : [],
  );

for (const [what, state, wanted, kept] of [
  ['before the first rename', { path: 'old', partial: 'new' }, 'old', undefined],
  ['between the two', { partial: 'new', trash: 'old' }, 'new', 'old'],
  ['after the second', { path: 'new', trash: 'old' }, 'new', 'old'],
  ['between the two, and the partial is lost', { trash: 'old' }, 'old', undefined],
] as const) {
  test(`a crash ${what} is put right`, async () => {
    await withBench({}, (bench) => {
      crashed(bench, state);
      assert.is(read(bench.backup, 'd/x'), wanted);
      const version = join(bench.backup, '.tandem/trash/op/d/x');
      assert.is(existsSync(version) ? readFileSync(version, 'utf8') : undefined, kept);
      assert.equal(left(bench), []);
      assert.equal(recoverDrive(bench.dirs.backup), { restored: [], interrupted: [] }, 'once is enough');
    });
  });
}

for (const [what, text] of [
  ['cut short', '[{"path":"d/x","partial":'],
  ['empty', ''],
  ['null', 'null'],
  ['an object', '{}'],
  ['a list of nothing', '[null,{},{"path":1}]'],
  ['a number', '7'],
] as const) {
  test(`an intent record that is ${what} stops nothing`, async () => {
    await withBench({}, (bench) => {
      crashed(bench, { path: 'old', partial: 'new', intents: text });
      assert.is(read(bench.backup, 'd/x'), 'old');
      assert.equal(left(bench), []);
    });
  });
}

test('an intent record cannot move anything out of the drive or into it', async () => {
  await withBench({}, (bench) => {
    world({ secret: 'outside' }, join(bench.root, 'outside'));
    const intents = [
      { path: 'stolen', partial: '../outside/secret', trash: '../outside/secret' },
      { path: '../outside/planted', partial: '.tandem/partial/op/1', trash: 'x' },
      { path: '.tandem/drive.json', partial: '.tandem/partial/op/1', trash: 'x' },
    ];
    try {
      crashed(bench, { partial: 'new', intents });
    } catch {
      // A refusal is as good.
    }
    assert.equal(readdirSync(join(bench.root, 'outside')), ['secret']);
    assert.not(existsSync(join(bench.backup, 'stolen')));
  });
});

test('recovery clears what it finds without following links, and strange files there stop nothing', async () => {
  await withBench(
    {
      backup: {
        'photos/a': 'precious',
        '.tandem/partial/dead/1': 'half',
        '.tandem/partial/dead/2/': null,
        '.tandem/partial/.DS_Store': 'litter',
        '.tandem/intent/._x': 'litter',
      },
    },
    (bench) => {
      symlinkSync('../../../photos', join(bench.backup, '.tandem/partial/dead/link'));
      const outside = join(bench.root, 'outside');
      world({ 'keep/me': 'precious' }, outside);
      symlinkSync(join(outside, 'keep'), join(bench.backup, '.tandem/partial/evil'));
      symlinkSync('../../photos', join(bench.backup, '.tandem/partial/worse'));
      let thrown: unknown;
      try {
        recoverDrive(bench.dirs.backup);
      } catch (error) {
        thrown = error;
      }
      assert.is(read(outside, 'keep/me'), 'precious');
      assert.is(read(bench.backup, 'photos/a'), 'precious');
      assert.is(thrown, undefined, `a run must be possible after it: ${String(thrown)}`);
      assert.not(existsSync(join(bench.backup, '.tandem/partial/dead')));
    },
  );
});

test('a version that is still a second name of the live file leaves the trash', async () => {
  await withBench(
    { backup: { 'd/x': 'live', '.tandem/partial/op/1': 'new', '.tandem/trash/op/d/y': 'kept' } },
    (bench) => {
      linkSync(join(bench.backup, 'd/x'), join(bench.backup, '.tandem/trash/op/d/x'));
      recoverDrive(bench.dirs.backup);
      assert.equal(readdirSync(join(bench.backup, '.tandem/trash/op/d')), ['y']);
      assert.is(lstatSync(join(bench.backup, 'd/x')).nlink, 1);
    },
  );
});

// --- lock ---

const lockOptions = { label: 'DRIVE', wait: 0, breakLock: false, network: false, signal: new AbortController().signal };

async function lockRefused(promise: Promise<unknown>): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.instance(error, TandemError);
  assert.is((error as TandemError).exitCode, 7);
}

const foreign = (change: Record<string, unknown>): string =>
  JSON.stringify({ token: randomUUID(), counter: 0, ...thisProcess(), ...change });

test('the lock: one at a time, confirmed before each batch, given back', async () => {
  await withBench({}, async ({ dirs, backup }) => {
    unlinkSync(join(backup, '.tandem/lock'));
    const first = await DriveLock.acquire(dirs.backup, lockOptions);
    await lockRefused(DriveLock.acquire(dirs.backup, lockOptions));
    first.confirm();
    assert.is(lockHolder(dirs.backup)?.pid, process.pid);
    const waiting = DriveLock.acquire(dirs.backup, { ...lockOptions, wait: 5 });
    setTimeout(() => first.release(), 100);
    const second = await waiting;
    assert.throws(
      () => first.confirm(),
      (error: TandemError) => error.exitCode === 7,
    );
    first.release();
    assert.ok(existsSync(join(backup, '.tandem/lock')), 'a lock is released by its holder only');
    const third = await DriveLock.acquire(dirs.backup, { ...lockOptions, breakLock: true });
    assert.throws(
      () => second.confirm(),
      (error: TandemError) => error.exitCode === 7,
    );
    third.release();
    assert.is(lockHolder(dirs.backup), null);
  });
});

/** In a process of its own with a time limit: a lock that is never decided would hang the whole file. */
function acquiredInTime(root: string): boolean {
  const script = `const { DriveLock } = await import(process.argv[1] + '/shared/lock.ts'); const { openRoot } = await import(process.argv[1] + '/shared/syscalls.ts');
    (await DriveLock.acquire(openRoot(process.argv[2]), { label: 'D', wait: 0, breakLock: false, network: false, signal: new AbortController().signal })).release();`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script, REPOSITORY, root];
  return spawnSync(process.execPath, args, { cwd: REPOSITORY, timeout: 30_000, killSignal: 'SIGKILL' }).status === 0;
}

for (const text of ['[]', '{}', 'null', '7', '"x"', '']) {
  test(`a lock file that holds ${text || 'nothing'} is taken within seconds`, async () => {
    await withBench({}, ({ backup }) => {
      writeFileSync(join(backup, '.tandem/lock'), text);
      assert.ok(acquiredInTime(backup));
      assert.equal(readdirSync(join(backup, '.tandem')), []);
    });
  });
}

test('a stale lock is taken: a dead process, another boot, another machine; a living one is respected', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  const dead = spawn('true', { stdio: 'ignore' });
  await new Promise((done) => dead.once('exit', done));
  const startOf = (pid: number): string =>
    readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[19] ?? '';
  try {
    const living = { pid: child.pid, start: startOf(child.pid ?? 0) };
    const cases: [string, string, boolean, 'taken' | 'respected'][] = [
      ['a dead process', foreign({ pid: dead.pid, start: '1' }), false, 'taken'],
      ['a number that another process has now', foreign({ pid: child.pid, start: '1' }), false, 'taken'],
      ['another boot', foreign({ boot_id: 'another' }), false, 'taken'],
      ['another machine, on a drive that is here', foreign({ machine_id: 'another' }), false, 'taken'],
      ['another machine, on a network drive', foreign({ machine_id: 'another' }), true, 'respected'],
      ['a living process', foreign(living), false, 'respected'],
      ['a process in another container', foreign({ ...living, pid_namespace: 'pid:[1]' }), false, 'respected'],
      ['a lock cut short by a crash', '{"token":"', false, 'taken'],
    ];
    for (const [what, text, network, wanted] of cases) {
      await withBench({}, async ({ dirs, backup }) => {
        writeFileSync(join(backup, '.tandem/lock'), text);
        if (wanted === 'respected') {
          await lockRefused(DriveLock.acquire(dirs.backup, { ...lockOptions, network }));
          assert.is(read(backup, '.tandem/lock'), text, what);
        } else {
          (await DriveLock.acquire(dirs.backup, { ...lockOptions, network })).release();
          assert.equal(
            readdirSync(join(backup, '.tandem')).filter((name) => name.startsWith('lock')),
            [],
            what,
          );
        }
      });
    }
  } finally {
    child.kill('SIGKILL');
  }
});

test('many at once for one stale lock: never two holders', async () => {
  await withBench({}, async ({ dirs, backup }) => {
    for (let turn = 0; turn < 10; turn += 1) {
      writeFileSync(join(backup, '.tandem/lock'), foreign({ boot_id: 'another' }));
      const won = (
        await Promise.allSettled(Array.from({ length: 8 }, () => DriveLock.acquire(dirs.backup, lockOptions)))
      ).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      const valid = won.filter((lock) => {
        try {
          lock.confirm();
          return true;
        } catch {
          return false;
        }
      });
      assert.is(valid.length, 1);
      for (const lock of won) lock.release();
    }
  });
});

test('the rename over a file fails after its link into the trash was made: the link goes again, and both stay what they were', async () => {
  await withBench({ master: { a: 'new a', s: 'new s' }, backup: { a: 'old a', s: 'old s' } }, (bench) => {
    linkSync(join(bench.backup, 's'), join(bench.backup, 'other'));
    const items = ['a', 's'].map((path) => item(bench, path));
    const lose = (): void => {
      for (const name of partials(bench)) rmSync(join(bench.backup, partialFolder('op'), name));
    };
    assert.equal(put(bench, items, lose), { a: 'failed', s: 'failed' });
    assert.equal([read(bench.backup, 'a'), read(bench.backup, 's')], ['old a', 'old s']);
    // An edit in place would change a version that is the same file.
    assert.not(existsSync(join(bench.backup, '.tandem/trash/op/a')));
    assert.equal(
      ['a', 's'].map((name) => lstatSync(join(bench.backup, name)).nlink),
      [1, 2],
    );
    writeFileSync(join(bench.backup, 's'), 'edited');
    assert.is(trash(bench, 's'), 'old s', 'what lives on under another name was copied there');
    const again = ['a', 's'].map((path) => item(bench, path));
    assert.equal(put(bench, again), { a: 'done', s: 'done' });
    assert.is(trash(bench, 'a'), 'old a');
  });
});

test.run();
