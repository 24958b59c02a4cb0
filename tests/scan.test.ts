/** The two listers must say the same of every tree, and what neither can read must be unknown, never absent. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Entry, eachRecord, entryAt } from '../shared/listing.ts';
import { alwaysExcluded, mountsBelow, type Scan, type ScanRequest, scanTree, walkTree } from '../shared/scan.ts';
import { closeFolder, openRoot } from '../shared/syscalls.ts';
import { removeBelow, skipped } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import { withPair } from './helpers/pair.ts';
import './helpers/property.ts';

const test = suite('scan');

async function withFolder(work: (root: string) => Promise<void> | void): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-scan-'));
  try {
    await work(root);
  } finally {
    removeBelow(root);
  }
}

async function withRequest<T>(
  root: string,
  work: (request: ScanRequest) => Promise<T> | T,
  more: Partial<ScanRequest> = {},
): Promise<T> {
  const dir = openRoot(root);
  try {
    return await work({ root: dir, subpath: '', stable: true, mounts: mountsBelow(root), ...more });
  } finally {
    closeFolder(dir);
  }
}

function entriesOf(scan: Scan): Map<string, Entry> {
  const found = new Map<string, Entry>();
  eachRecord(scan.bytes, (view) => {
    const path = scan.bytes.toString('utf8', view.pathStart, view.pathEnd);
    assert.not(found.has(path), `${path} is listed once`);
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    found.set(path, entryAt(scan.bytes, view, path));
    assert.ok(
      parent === '' ||
        found.has(parent) ||
        found.size === 1 ||
        [...found.keys()].every((one) => !one.startsWith(`${parent}/`) || one === path || !found.has(parent)),
      `${parent} comes before ${path}`,
    );
  });
  return found;
}

/** Lists with both; they must agree to the last character. */
async function both(root: string, more: Partial<ScanRequest> = {}): Promise<Map<string, Entry>> {
  return withRequest(
    root,
    async (request) => {
      const [found, walked] = [await scanTree(request), walkTree(request)];
      const [one, other] = [linesOf(found), linesOf(walked)];
      const unlike = [...[...one].filter((line) => !other.has(line)), ...[...other].filter((line) => !one.has(line))];
      assert.equal(unlike, [], unlike.join('\n'));
      return entriesOf(found);
    },
    more,
  );
}

function linesOf(scan: Scan): Set<string> {
  const entries = [...entriesOf(scan)].map(([path, { facts, nlink, blocks, target }]) =>
    JSON.stringify([path, facts, nlink, blocks, target]),
  );
  return new Set([...entries, ...scan.unknown.map(({ path, message }) => JSON.stringify([path, message]))]);
}

const unknownIn = (
  root: string,
  engine: (request: ScanRequest) => Promise<Scan> | Scan = scanTree,
): Promise<string[]> =>
  withRequest(root, async (request) => (await engine(request)).unknown.map(({ path }) => path).sort());

const awkward = fc.constantFrom(
  'a',
  'b b',
  'new\nline',
  '-name',
  '%s',
  '\\',
  '*',
  '[a]',
  "'",
  '"',
  'é',
  'e\u0301',
  '🌄',
  '\u001b[1m',
  ' ',
  '.',
  '~',
  '#',
  '{}',
  '(',
  '!',
  'x'.repeat(255),
);
const treeShape = fc.array(
  fc.record({
    path: fc.array(
      awkward.map((text) => (text === '.' ? '.hidden' : text)),
      { minLength: 1, maxLength: 4 },
    ),
    kind: fc.constantFrom('file', 'folder', 'link', 'hard', 'sparse', 'fifo'),
    text: fc.string({ maxLength: 8 }),
    mode: fc.constantFrom(0, 0o644, 0o4755, 0o1777, 0o600),
    time: fc.constantFrom(
      '1901-12-14T00:00:00.000000001Z',
      '1969-12-31T23:59:59.999999999Z',
      '1970-01-01T00:00:00Z',
      '2001-09-09T01:46:40.1Z',
      '2038-01-19T03:14:08Z',
      '2200-01-01T00:00:00.5Z',
    ),
  }),
  { maxLength: 12 },
);

test('find and the walk of our own list every tree alike', async () => {
  await fc.assert(
    fc.asyncProperty(treeShape, async (shape) => {
      await withFolder(async (root) => {
        let last: string | undefined;
        for (const { path, kind, text, mode, time } of shape) {
          const full = join(root, ...path);
          try {
            mkdirSync(join(full, '..'), { recursive: true });
            // Writing to a pipe would wait for a reader.
            if (lstatSync(full, { throwIfNoEntry: false })) continue;
            if (kind === 'folder') mkdirSync(full);
            else if (kind === 'link') symlinkSync(text.replaceAll('\0', '') || 'x', full);
            else if (kind === 'hard' && last !== undefined) linkSync(last, full);
            else if (kind === 'fifo') spawnSync('mkfifo', [full]);
            else {
              writeFileSync(full, text);
              if (kind === 'sparse') truncateSync(full, 1_000_000);
              last = full;
            }
            if (kind === 'file' || kind === 'folder') chmodSync(full, mode);
            spawnSync('touch', ['-h', '-d', time, '--', full]);
          } catch (error) {
            if (
              !['EEXIST', 'ENOTDIR', 'ENAMETOOLONG', 'EISDIR', 'ENOENT', 'ELOOP'].includes(
                (error as NodeJS.ErrnoException).code ?? '',
              )
            )
              throw error;
          }
        }
        const all = await both(root);
        await both(root, { stable: false });
        for (const path of [...all.keys()].slice(0, 3)) {
          const below = await both(root, { subpath: path });
          const wanted = [...all.keys()].filter((one) => one === path || one.startsWith(`${path}/`));
          assert.equal([...below.keys()].sort(), wanted.sort(), `the listing of '${path}' is that part of the whole`);
        }
      });
    }),
    { numRuns: 60, interruptAfterTimeLimit: 12_000, markInterruptAsFailure: false, endOnFailure: true },
  );
});

test('the facts are those of stat, to the nanosecond, also before 1970', async () => {
  await withFolder(async (root) => {
    writeFileSync(join(root, 'f'), '12345');
    execFileSync('touch', ['-d', '1969-12-31T23:59:58.250000001Z', join(root, 'f')]);
    const entry = (await both(root)).get('f');
    assert.is(entry?.size, 5);
    assert.is(entry?.mtime, -1_749_999_999n);
    assert.is(entry?.kind, 'f');
  });
});

test('what no sync looks at is not listed: at the root only', async () => {
  const names = [
    '.tandem',
    '.Trash-1000',
    '.Trash',
    '.Trashes',
    '$RECYCLE.BIN',
    'System Volume Information',
    'lost+found',
    '.Spotlight-V100',
    '.fseventsd',
  ];
  await withFolder(async (root) => {
    for (const name of names) {
      mkdirSync(join(root, name, 'inside'), { recursive: true });
      mkdirSync(join(root, 'deep', name), { recursive: true });
      assert.ok(alwaysExcluded(`${name}/x`), name);
      assert.not(alwaysExcluded(`deep/${name}`));
    }
    for (const name of ['.tandem2', 'lost+found2', 'x.Trash', '.trash', 'tandem']) mkdirSync(join(root, name));
    const found = [...(await both(root)).keys()];
    assert.equal(found.filter((path) => !path.startsWith('deep')).sort(), [
      '.tandem2',
      '.trash',
      'lost+found2',
      'tandem',
      'x.Trash',
    ]);
    assert.is(found.filter((path) => path.startsWith('deep/')).length, names.length);
  });
});

test('a name or a link target that is not UTF-8 is unknown, its neighbours are listed', async () => {
  await withFolder(async (root) => {
    mkdirSync(join(root, 'd'));
    writeFileSync(Buffer.concat([Buffer.from(`${root}/d/bad`), Buffer.from([0xff])]), '1');
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xc3, 0x28])]), '1');
    mkdirSync(Buffer.concat([Buffer.from(`${root}/folder`), Buffer.from([0xe2, 0x82])]));
    symlinkSync(Buffer.from([0x61, 0xfe]), join(root, 'link'));
    writeFileSync(join(root, 'd/good'), '1');
    assert.equal([...(await both(root)).keys()].sort(), ['d', 'd/good']);
    assert.is((await unknownIn(root)).length, 4);
  });
});

test('a mount below is not entered and is unknown, by device or by bind, whatever its name', async () => {
  await withFolder(async (root) => {
    for (const name of ['tmp fs', 'bi*nd[1]', 'new\nline', 'outer'])
      mkdirSync(join(root, name, 'inner'), { recursive: true });
    mkdirSync(join(root, 'bi1nd'));
    writeFileSync(join(root, 'bi1nd/near'), 'not a mount, but its name fits the pattern');
    const mount = (...args: string[]): boolean => spawnSync('mount', args).status === 0;
    if (!mount('-t', 'tmpfs', 'none', join(root, 'tmp fs'))) return skipped('mounts below', 'mounting takes root');
    assert.ok(mount('--bind', join(root, 'outer'), join(root, 'bi*nd[1]')));
    assert.ok(mount('-t', 'tmpfs', 'none', join(root, 'new\nline')));
    assert.ok(mount('-t', 'tmpfs', 'none', join(root, 'outer/inner')));
    writeFileSync(join(root, 'tmp fs/secret'), 'another disk');
    const found = [...(await both(root)).keys()].sort();
    assert.equal(found, ['bi1nd', 'bi1nd/near', 'outer']);
    assert.ok((await unknownIn(root)).includes('tmp fs'));
    assert.equal(
      [...new Set(await unknownIn(root))].filter((path) => !path.includes('/')),
      ['bi*nd[1]', 'new\nline', 'tmp fs'],
    );
  });
});

test('a mount below is seen also where the drive is named through a link', async () => {
  await withFolder(async (root) => {
    mkdirSync(join(root, 'real/mnt'), { recursive: true });
    symlinkSync('real', join(root, 'alias'));
    if (spawnSync('mount', ['-t', 'tmpfs', 'none', join(root, 'real/mnt')]).status !== 0)
      return skipped('mounts below a link', 'mounting takes root');
    writeFileSync(join(root, 'real/mnt/x'), 'another disk');
    const found = await withRequest(join(root, 'alias'), scanTree);
    assert.not([...entriesOf(found).keys()].includes('mnt/x'));
    assert.equal(
      found.unknown.map(({ path }) => path),
      ['mnt'],
    );
  });
});

test('the folder asked for is missing, a file, a link out of the drive: nothing outside is read', async () => {
  await withFolder(async (root) => {
    mkdirSync(join(root, 'drive/in'), { recursive: true });
    mkdirSync(join(root, 'outside/sub'), { recursive: true });
    writeFileSync(join(root, 'outside/sub/secret'), 's');
    writeFileSync(join(root, 'drive/file'), 'f');
    symlinkSync('../outside', join(root, 'drive/link'));
    const wanted = { missing: [], file: ['file'], link: ['link'], 'link/sub': [], 'file/x': [], in: ['in'] };
    for (const [subpath, paths] of Object.entries(wanted)) {
      assert.equal([...(await both(join(root, 'drive'), { subpath })).keys()], paths, subpath);
    }
  });
});

test('entries that come and go while the tree is listed: never an error, never a listing with a hole that looks whole', async () => {
  await withFolder(async (root) => {
    for (let index = 0; index < 300; index += 1) writeFileSync(join(root, `stays${index}`), 'x');
    const churn = `i=0; while :; do i=$((i+1)); mkdir -p "$1/c$((i%20))/d"; : > "$1/c$((i%20))/d/f$i"; rm -rf "$1/c$(((i+7)%20))"; done`;
    const child = spawn('sh', ['-c', churn, 'sh', root], { stdio: 'ignore', detached: true });
    try {
      for (let turn = 0; turn < 25; turn += 1) {
        const listed = entriesOf(await withRequest(root, turn % 2 ? scanTree : walkTree));
        for (let index = 0; index < 300; index += 1)
          assert.ok(listed.has(`stays${index}`), 'what stood still is listed');
      }
    } finally {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
      await new Promise((done) => child.once('exit', done));
    }
  });
});

test('a very deep tree is listed whole or its depth is unknown, never silently cut', async () => {
  await withFolder(async (root) => {
    const deep = Array.from({ length: 20 }, () => 'd'.repeat(240));
    execFileSync('bash', [
      '-c',
      'cd "$1"; shift; for n in "$@"; do mkdir "$n"; cd "$n"; done; echo x > leaf',
      'bash',
      root,
      ...deep,
    ]);
    for (const engine of [scanTree, walkTree]) {
      const scan = await withRequest(root, engine as (request: ScanRequest) => Promise<Scan>);
      const listed = entriesOf(scan);
      const leaf = listed.has([...deep, 'leaf'].join('/'));
      const deepest = [...listed.keys()].sort((a, b) => b.length - a.length)[0] ?? '';
      assert.ok(
        leaf || scan.unknown.some(({ path }) => path.startsWith(deepest)),
        `${engine.name}: ${scan.unknown.length} unknown`,
      );
    }
    execFileSync('rm', ['-rf', join(root, deep[0] ?? '')]);
  });
});

for (const mode of ['find', 'walk']) {
  test(`what cannot be read on the Master deletes nothing below it on the Backup (${mode})`, async () => {
    await withPair({ master: { 'd/a': '1', 'd/sub/b': '2', 'd/sub/c': '3', e: '4' } }, async (pair) => {
      const env = mode === 'walk' ? { TANDEM_NO_FIND: '1' } : {};
      assert.is((await pair.box.run(['sync', 'run', 'Archive'], { env })).code, 0);
      if (spawnSync('mount', ['-t', 'tmpfs', 'none', join(pair.master, 'd/sub')]).status !== 0)
        return skipped('unreadable folder', 'mounting takes root');
      try {
        rmSync(join(pair.master, 'e'));
        const result = await pair.box.run(['sync', 'run', 'Archive', '--delete', '--json'], { env });
        const { files_deleted, problems } = result.json() as { files_deleted: number; problems: { path: string }[] };
        assert.is(files_deleted, 1, 'e goes');
        assert.equal(
          problems.map(({ path }) => path),
          ['d/sub'],
        );
        assert.is(
          execFileSync('find', [join(pair.backup, 'd'), '-type', 'f'], { encoding: 'utf8' })
            .trim()
            .split('\n').length,
          3,
        );
        assert.equal(
          (await pair.rows()).filter(({ path }) => path.startsWith('d/sub/')).length,
          2,
          'their records are frozen, not forgotten',
        );
      } finally {
        spawnSync('umount', ['-l', join(pair.master, 'd/sub')]);
      }
      assert.is((await pair.box.run(['sync', 'run', 'Archive', '--json'], { env })).code, 0);
    });
  });
}

test('a mount below the Backup is never written to, and a wrong time never makes a file look absent', async () => {
  await withPair({ master: { 'd/a': '1', 'e/b': '2' } }, async (pair) => {
    mkdirSync(join(pair.backup, 'd'));
    if (spawnSync('mount', ['-t', 'tmpfs', 'none', join(pair.backup, 'd')]).status !== 0)
      return skipped('mount on the Backup', 'mounting takes root');
    try {
      const result = await pair.sync();
      assert.equal(execFileSync('ls', ['-A', join(pair.backup, 'd')], { encoding: 'utf8' }), '');
      assert.is(result.files_copied, 1);
      assert.equal(
        result.problems.map(({ path }) => path),
        ['d'],
      );
      lutimesSync(join(pair.master, 'e/b'), 4e9, 4e9);
      assert.is((await pair.sync({ options: { on_master_delete: 'trash' } })).files_deleted, 0);
    } finally {
      spawnSync('umount', ['-l', join(pair.backup, 'd')]);
    }
    await pair.sync();
    assert.is(execFileSync('cat', [join(pair.backup, 'd/a')], { encoding: 'utf8' }), '1');
  });
});

test.run();
