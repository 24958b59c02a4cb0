/**
 * The compiled loops of the bulk copy against the ordinary way, file by file: the same files, the same rows, the same
 * reasons, whatever the files are and whatever happens to them in between.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BulkTransfer } from '../shared/bulk-transfer.ts';
import { decoderFor, encoderFor } from '../shared/codec.ts';
import { hasherFactory, keyedChecksum, keyedFactory } from '../shared/hash.ts';
import { checksumKey, type GroupKey } from '../shared/keyring.ts';
import { factsOf, rowChecks } from '../shared/listing.ts';
import { type RowTuple, rowOfTuple } from '../shared/rows.ts';
import {
  openChunk,
  openChunkInto,
  Sealer,
  sealChunk,
  sealChunkInto,
  sealingKeys,
  TAG_BYTES,
} from '../shared/sealed.ts';
import type { Suffix } from '../shared/stored.ts';
import { closeFolder, openRoot, type Stat, statAt } from '../shared/syscalls.ts';
import type { PlacedGroup, StagedGroup, TransferSession } from '../shared/tasks.ts';
import { removeBelow, skipped } from './helpers/drives.ts';
import { type Leaf, treeOf } from './helpers/world.ts';
import './helpers/property.ts';

const test = suite('bulk loops');

const traits = {
  stable: true,
  permissions: true,
  hardLinks: true,
  exchange: true,
  minTime: -1e12,
  maxTime: 1e12,
};

interface Way {
  root: string;
  master: string;
  backup: string;
  dirs: Pick<TransferSession, 'master' | 'backup'>;
  transfer: BulkTransfer;
  encode: Suffix;
  /** Times that it said how far it is: once a call, or once a file. */
  steps(): number;
}

interface Settings {
  session?: Partial<TransferSession>;
  traits?: Partial<TransferSession['traits']>;
  sealed?: boolean;
}

const KEY: GroupKey = { key: Buffer.alloc(32, 7), keyId: Buffer.alloc(16, 9) };
const keyed = (checksum: string): string => keyedChecksum(checksum, checksumKey(KEY));

/** A sealed file of somebody else's. */
const sealedBytes = Buffer.concat(
  encoderFor('.encrypted', { key: KEY, compressionLevel: 1 }, { name: 'x', size: 3, mtime: 0n }).whole?.(
    Buffer.from('not'),
  ) ?? [],
);

/** The content of a sealed file. */
function opened(bytes: Buffer): Buffer {
  const decoder = decoderFor('.encrypted', KEY);
  return Buffer.concat([...decoder.update(bytes), ...decoder.final()]);
}

async function withWay<T>(loops: boolean, settings: Settings, work: (way: Way) => T): Promise<T> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-bulk-'));
  const [master, backup] = [join(root, 'master'), join(root, 'backup')];
  for (const folder of [master, backup]) mkdirSync(folder);
  mkdirSync(join(backup, '.tandem'));
  writeFileSync(join(backup, '.tandem/lock'), '');
  const dirs = { master: openRoot(master), backup: openRoot(backup) };
  const session: TransferSession = {
    ...dirs,
    reversed: false,
    masterStable: true,
    masterClock: { stable: true, margin: 10 },
    operation: 'op',
    owner: true,
    ...settings.session,
    traits: { ...traits, ...settings.traits },
  };
  let steps = 0;
  const control = {
    stop: () => false,
    cancel: () => false,
    moved: () => {
      steps += 1;
    },
    holding: () => {},
    allowed: (wanted: number) => wanted,
    ...(loops ? { limited: () => false } : {}),
  };
  const plain = await hasherFactory('sha256');
  const transfer = settings.sealed
    ? new BulkTransfer(session, 'hmac-sha256', keyedFactory(plain, keyed), control, { key: KEY, compressionLevel: 1 })
    : new BulkTransfer(session, 'sha256', plain, control, { key: null, compressionLevel: 1 });
  const encode = settings.sealed ? '.encrypted' : '';
  try {
    return work({ root, master, backup, dirs, transfer, encode, steps: () => steps });
  } finally {
    transfer.close();
    for (const dir of Object.values(dirs)) closeFolder(dir);
    removeBelow(root);
  }
}

/** Makes the same Master twice, and copies each: with the loops, and without. */
async function bothWays(
  build: (master: string) => void,
  settings: Settings,
  work: (way: Way) => { staged: StagedGroup; placed: PlacedGroup },
): Promise<void> {
  const run = (way: Way): unknown => {
    build(way.master);
    const { staged, placed } = work(way);
    const partials = join(way.backup, '.tandem/partial/op');
    const left = existsSync(partials) ? leaves(partials) : [];
    return comparable({ staged, placed, left, tree: filesOf(way.backup) });
  };
  assert.equal(await withWay(true, settings, run), await withWay(false, settings, run));
}

/** Folders and links have the time of the test. Of what is sealed the content: no two sealed files are alike. */
function filesOf(root: string): Record<string, unknown> {
  const dated = ([path, { mtime, ...leaf }]: [string, Leaf]) => {
    if (leaf.content === undefined) return [path, leaf];
    const content = path.endsWith('.encrypted') ? sha256(opened(readFileSync(join(root, path)))) : leaf.content;
    return [path, { ...leaf, content, mtime }];
  };
  return Object.fromEntries(Object.entries(treeOf(root)).map(dated));
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const leaves = (folder: string): string[] => readdirSync(folder, { recursive: true }).map(String).sort();

/** Without what differs between two trees made one after the other: inode, ctime, and the checks that depend on them. */
function comparable({
  staged,
  placed,
  left,
  tree,
}: {
  staged: StagedGroup;
  placed: PlacedGroup;
  left: string[];
  tree: unknown;
}): unknown {
  const bySeq = (a: { seq: number }, b: { seq: number }): number => a.seq - b.seq;
  const rows = JSON.parse(`[${placed.rows}]`) as (string | number)[][];
  const facts = (text: unknown): string => {
    const [kind, size, mtime, ctime, ino, ...rest] = String(text).split(' ');
    return [kind, size, mtime, ctime === '-' ? '-' : 'ctime', ino === '-' ? '-' : 'ino', ...rest].join(' ');
  };
  const plain = rows
    .map(([path, size, a, b, doubt, checksum, algorithm, master, backup, ...rest]) => {
      assert.ok(Number.isInteger(a) && Number.isInteger(b));
      return [path, size, doubt, checksum, algorithm, facts(master), facts(backup), ...rest];
    })
    .sort((x, y) => (String(x[0]) < String(y[0]) ? -1 : 1));
  const { rows: _rows, folders, ...sums } = placed;
  return {
    staged: { ...staged, others: [...staged.others].sort(bySeq) },
    placed: { ...sums, others: [...placed.others].sort(bySeq), folders: [...new Set(folders)].sort() },
    rows: plain,
    left,
    tree,
  };
}

/** @param later milliseconds, from the making of the files to the run: by then none of them is fresh. */
function copyAll(paths: readonly string[], between: (way: Way) => void = () => {}, later = 3_600_000) {
  return (way: Way): { staged: StagedGroup; placed: PlacedGroup } => {
    const staged = way.transfer.stageNew(1, paths.join('\0'), Date.now() + later, way.encode);
    between(way);
    return { staged, placed: way.transfer.placeNew(1) };
  };
}

function put(root: string, path: string, content: string | Buffer, seconds = 1e9): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  // As a date: Node 20 takes a negative number for now.
  const time = new Date(seconds * 1000);
  utimesSync(file, time, time);
}

/** The folders of the plan, made before the files. */
function folders(root: string, ...paths: string[]): void {
  for (const path of paths) mkdirSync(join(root, path), { recursive: true });
}

const missing =
  process.platform !== 'linux'
    ? 'the loops are for Linux'
    : spawnSync('cc', ['--version']).status !== 0
      ? 'no C compiler'
      : undefined;
const loopTest = (name: string, work: () => Promise<void>): void => {
  if (missing === undefined) test(name, work);
  else skipped(name, missing);
};

loopTest('they are there, and they do the work of ordinary files', async () => {
  const paths = Array.from({ length: 100 }, (_, at) => `f${at}`);
  let together = 0;
  await bothWays(
    (master) => {
      for (const path of paths) put(master, path, path);
    },
    {},
    (way) => {
      const done = copyAll(paths)(way);
      if (together === 0) together = way.steps();
      return done;
    },
  );
  assert.ok(together <= 20, `${together} calls for ${paths.length} files`);
});

loopTest('files of every kind come out the same', async () => {
  const names = [
    'plain',
    'empty',
    'exactly',
    'larger',
    'one chunk',
    'two chunks',
    'sparse',
    'attribute',
    'sticky',
    'group',
    'closed',
    'old',
    'far',
    'link',
    'fifo',
    'folder',
    'gone',
    'deep/er/file',
    'no/folder',
    'owned',
    'q"uote\\back',
    'tab\tnew\nline\u0001\u007f',
    '日本語 é 🎞',
    `${'n'.repeat(255)}`,
  ];
  const build = (master: string): void => {
    put(master, 'plain', 'plain');
    put(master, 'empty', '');
    put(master, 'exactly', Buffer.alloc(1024 * 1024, 1));
    put(master, 'larger', Buffer.alloc(1024 * 1024 + 1, 2));
    put(master, 'one chunk', Buffer.alloc(262_144, 3));
    put(master, 'two chunks', Buffer.alloc(262_145, 4));
    put(master, 'sparse', 'x');
    truncateSync(join(master, 'sparse'), 500_000);
    utimesSync(join(master, 'sparse'), 1e9, 1e9);
    put(master, 'attribute', 'with one');
    execFileSync('setfattr', ['-n', 'user.rating', '-v', '5', join(master, 'attribute')]);
    for (const [path, mode] of [
      ['sticky', 0o4755],
      ['group', 0o664],
      ['closed', 0o400],
    ] as const) {
      put(master, path, path);
      chmodSync(join(master, path), mode);
    }
    put(master, 'old', 'before 1970', -86_400.5);
    put(master, 'far', 'after the end of FAT', 4_400_000_000);
    symlinkSync('plain', join(master, 'link'));
    execFileSync('mkfifo', [join(master, 'fifo')]);
    mkdirSync(join(master, 'folder'));
    put(master, 'deep/er/file', 'deep');
    put(master, 'no/folder', 'there is none on the Backup');
    put(master, 'owned', 'by somebody else');
    chownSync(join(master, 'owned'), 12_345, 12_345);
    for (const name of names.slice(-4)) put(master, name, name);
  };
  for (const settings of [
    {},
    { session: { reversed: true } },
    { session: { masterStable: false, masterClock: { stable: false, margin: 4000 } }, traits: { stable: false } },
    { sealed: true },
    { session: { owner: false }, traits: { permissions: false, minTime: 315_532_800, maxTime: 4_354_819_199 } },
  ])
    await bothWays(build, settings, (way) => {
      folders(way.backup, 'deep/er');
      return copyAll(names)(way);
    });
});

loopTest('what changes between reading and putting in place is found, on either side', async () => {
  const paths = ['edited', 'same size', 'replaced', 'gone', 'touched', 'mode', 'taken', 'fine'];
  for (const sealed of [false, true])
    await bothWays(
      (master) => {
        for (const path of paths) put(master, path, `content of ${path}`);
      },
      { sealed },
      copyAll(paths, ({ master, backup, encode }) => {
        writeFileSync(join(master, 'edited'), 'something longer than it was before');
        put(master, 'same size', 'CONTENT of same size');
        put(master, 'aside', 'content of replaced');
        renameSync(join(master, 'aside'), join(master, 'replaced'));
        rmSync(join(master, 'gone'));
        utimesSync(join(master, 'touched'), 1e9 + 1, 1e9 + 1);
        chmodSync(join(master, 'mode'), 0o600);
        put(backup, `taken${encode}`, encode === '' ? 'by somebody else' : sealedBytes);
      }),
    );
});

loopTest('a folder that is a link by now is not followed', async () => {
  await bothWays(
    (master) => {
      put(master, 'shoot/a', 'a');
      put(master, 'card/b', 'b');
    },
    {},
    (way) => {
      folders(way.backup, 'card');
      mkdirSync(join(way.root, 'elsewhere'));
      symlinkSync('../elsewhere', join(way.backup, 'shoot'));
      const done = copyAll(['shoot/a', 'card/b'], ({ master }) => {
        renameSync(join(master, 'card'), join(master, 'other'));
        symlinkSync('other', join(master, 'card'));
      })(way);
      assert.equal(readdirSync(join(way.root, 'elsewhere')), []);
      return done;
    },
  );
});

loopTest('a fresh file is in doubt, and its row is found to be right', async () => {
  await bothWays(
    (master) => writeFileSync(join(master, 'fresh'), 'just now'),
    {},
    (way) => {
      utimesSync(join(way.master, 'fresh'), 1e9, 1e9);
      const done = copyAll(['fresh'], () => {}, 0)(way);
      assert.match(done.placed.rows, '"racy"');
      return done;
    },
  );
});

loopTest('the checks of a row are those that the ordinary way would record', async () => {
  const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((text) => {
    const bytes = Buffer.byteLength(text);
    return (
      !/[/\0]/.test(text) && text !== '.' && text !== '..' && bytes <= 245 && Buffer.from(text).toString() === text
    );
  });
  const check = (names: readonly string[], size: number) => (way: Way) => {
    for (const one of names) put(way.master, one, Buffer.alloc(size, one));
    const { placed } = copyAll(names)(way);
    assert.is(placed.files, names.length);
    for (const tuple of JSON.parse(`[${placed.rows}]`) as RowTuple[]) {
      const row = rowOfTuple(tuple);
      const there = row.path + way.encode;
      assert.is(row.stored_name, way.encode === '' ? '' : there);
      const { a, b } = rowChecks(row.path, '', row.master_facts, row.backup_facts, there);
      assert.equal([row.check_a, row.check_b], [a, b], JSON.stringify(row.path));
      assert.is(factsOf(statAt(way.dirs.master, row.path) as Stat, true), row.master_facts);
      assert.is(factsOf(statAt(way.dirs.backup, there) as Stat, true), row.backup_facts);
      const bytes = readFileSync(join(way.backup, there));
      const content = way.encode === '' ? bytes : opened(bytes);
      assert.ok(content.equals(Buffer.alloc(size, row.path)));
      assert.is(row.checksum, way.encode === '' ? sha256(content) : keyed(sha256(content)));
    }
  };
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(name, { minLength: 1, maxLength: 40 }),
      fc.nat(5000),
      fc.boolean(),
      (names, size, sealed) => withWay(true, { sealed }, check(names, size)),
    ),
    { numRuns: 80 },
  );
});

loopTest('no two sealed files have a salt or a key in common', () =>
  withWay(true, { sealed: true }, (way) => {
    const paths = Array.from({ length: 300 }, (_, at) => `f${at}`);
    for (const path of paths) put(way.master, path, 'the same');
    assert.is(copyAll(paths)(way).placed.files, 300);
    const heads = paths.map((path) => readFileSync(join(way.backup, `${path}.encrypted`)).toString('hex', 14, 37));
    assert.is(new Set(heads).size, 300);
    assert.is(new Set(heads.map((head) => head.slice(0, 32))).size, 300);
  }),
);

loopTest(
  'chunks that are sealed into memory open as the others do, the other way round too, and damaged ones do not',
  async () => {
    const keys = sealingKeys({ kind: 'group_key', ...KEY });
    await fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5000 }),
        fc.nat(0xffff_ffff),
        fc.boolean(),
        fc.nat(),
        (bytes, counter, last, at) => {
          const plain = Buffer.from(bytes);
          const out = Buffer.alloc(plain.length + TAG_BYTES);
          assert.is(sealChunkInto(keys, counter, last, plain, out), out.length);
          assert.ok(out.equals(Buffer.concat(sealChunk(keys, counter, last, plain))));
          assert.ok(Buffer.concat(openChunk(keys, counter, last, out)).equals(plain));
          const back = Buffer.alloc(plain.length, 0xaa);
          assert.is(openChunkInto(keys, counter, last, out, back), plain.length);
          assert.ok(back.equals(plain));
          for (const wrong of [
            openChunkInto(keys, counter, !last, out, back),
            openChunkInto(keys, counter ^ 1, last, out, back),
          ])
            assert.is(wrong, null);
          const flipped = Buffer.from(out);
          flipped[at % out.length] = (flipped[at % out.length] as number) ^ 1;
          assert.is(openChunkInto(keys, counter, last, flipped, back), null);
          assert.ok(
            back.every((byte) => byte === 0),
            'nothing that was not proved is left',
          );
          assert.is(openChunkInto(keys, counter, last, out.subarray(0, at % TAG_BYTES), back), null);
        },
      ),
      { numRuns: 300 },
    );
  },
);

loopTest('a sealer that uses its memory again gives what opens to the same', async () => {
  const chunkSize = 4096;
  await fc.assert(
    fc.property(fc.array(fc.nat(3 * chunkSize + 1), { maxLength: 8 }), fc.boolean(), (sizes, whole) => {
      const plain = randomBytes(sizes.reduce((sum, size) => sum + size, 0));
      const sealer = new Sealer({ kind: 'group_key', ...KEY }, { chunkSize }, chunkSize, true);
      const sealed: Buffer[] = [sealer.header];
      const take = (pieces: readonly Buffer[]): void => void sealed.push(Buffer.concat(pieces));
      if (whole) take(sealer.whole(plain));
      else {
        let at = 0;
        for (const size of sizes) {
          take(sealer.update(plain.subarray(at, at + size)));
          at += size;
        }
        take(sealer.final());
      }
      assert.ok(opened(Buffer.concat(sealed)).equals(plain));
    }),
    { numRuns: 300 },
  );
});

test.run();
