/** What a tree of watched folders tells, and what it never misses: a folder that is new is heard from, wherever it came from. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { TreeListener, TreeOptions } from '../shared/tree-events.ts';
import { watchTree } from '../shared/watch-tree.ts';
import { overflow, until, withFewWatches } from './helpers/watching.ts';

const test = suite('tree-events');

interface Heard {
  root: string;
  at(path: string): string;
  /** Writes the files and waits until they are named. */
  hears(...paths: string[]): Promise<void>;
  /** Until these folders are told of as new. */
  met(...paths: string[]): Promise<void>;
  paths: Set<string>;
  folders: Set<string>;
  /** Other news, in order. */
  said: string[];
}

async function listening(
  prepare: (root: string) => void,
  { platform = 'linux', ...options }: Partial<TreeOptions> & { platform?: NodeJS.Platform },
  work: (heard: Heard) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-tree-'));
  const [paths, folders, said] = [new Set<string>(), new Set<string>(), [] as string[]];
  const listener: TreeListener = {
    changed: (path, folder) => (folder ? folders : paths).add(path),
    blind: (reason) => said.push(reason),
    sighted: () => said.push('sighted'),
    flooded: () => said.push('flooded'),
  };
  try {
    prepare(root);
    const tree = watchTree(root, { ignored: () => false, patience: 60_000, ...options }, listener, platform);
    try {
      await tree.ready;
      const at = (path: string): string => join(root, path);
      await work({
        root,
        at,
        paths,
        folders,
        said,
        hears: async (...files) => {
          paths.clear();
          for (const path of files) writeFileSync(at(path), '');
          await until(() => files.find((path) => !paths.has(path)) ?? true, 10_000);
        },
        met: (...wanted) => until(() => wanted.find((path) => !folders.has(path)) ?? true, 10_000),
      });
    } finally {
      await tree.close();
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
    rmSync(`${root}-gone`, { recursive: true, force: true });
  }
}

const make = (root: string, ...folders: string[]): void => {
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
};

test('a change is named at any depth, a folder that is new is followed, and one that was moved is named anew', () =>
  listening(
    (root) => make(root, 'a/b/c', 'd'),
    {},
    async ({ root, at, hears, met }) => {
      await hears('top');
      await hears('a/b/c/file');
      make(root, 'd/e/f/g');
      await met('d/e/f/g');
      await hears('d/e/f/g/file');
      renameSync(at('d/e'), at('a/b/moved'));
      await met('a/b/moved/f/g');
      await hears('a/b/moved/f/g/file');
      rmSync(at('a'), { recursive: true });
      make(root, 'a/b/c');
      await met('a/b/c');
      await hears('a/b/c/file');
    },
  ));

test('a folder that takes the place of another is the one that is heard from', () =>
  listening(
    (root) => make(root, 'a/b/c', 'other/b/c'),
    {},
    async ({ at, hears, met, paths, folders }) => {
      renameSync(at('a'), at('former'));
      renameSync(at('other'), at('a'));
      await met('former/b/c');
      await met('a/b/c');
      await hears('a/b/c/file');
      await hears('former/b/c/file');
      assert.not.ok([...paths].some((path) => path.startsWith('a/')));
      folders.clear();
      renameSync(at('former'), at('elsewhere'));
      await met('elsewhere/b/c');
      await hears('elsewhere/b/c/file');
      assert.not.ok([...paths].some((path) => path.startsWith('former/')));
    },
  ));

test('folders within folders that come faster than they can be watched are all heard from', () =>
  listening(
    () => {},
    {},
    async ({ root, hears, met }) => {
      const deep = Array.from({ length: 60 }, (_, at) => `${at}/${at % 7}/x/y/z`);
      for (const [index, path] of deep.entries()) {
        make(root, path);
        if (index % 10 === 0) await new Promise((done) => setImmediate(done));
      }
      await met(...deep);
      await hears(...deep.map((path) => `${path}/file`));
    },
  ));

test('what is ignored is not watched, links are not followed, and links in circles stop nothing', () =>
  listening(
    (root) => {
      make(root, 'a/own/deep', '.tandem/lock');
      symlinkSync('..', join(root, 'a/up'));
      symlinkSync('loop', join(root, 'a/loop'));
      writeFileSync(join(root, 'file'), '');
      symlinkSync('../file/beyond', join(root, 'a/through'));
    },
    { ignored: (path) => path === '.tandem' },
    async ({ at, hears, paths, said }) => {
      writeFileSync(at('.tandem/lock/x'), '');
      await hears('a/own/deep/file');
      assert.equal([[...paths], said], [['a/own/deep/file'], ['sighted']]);
    },
  ));

test('a root that is moved away, or removed, is said to be out of sight', async () => {
  for (const leave of [
    (root: string) => renameSync(root, `${root}-gone`),
    (root: string) => rmSync(root, { recursive: true }),
  ])
    await listening(
      (root) => make(root, 'a'),
      {},
      async ({ root, said }) => {
        leave(root);
        await until(() => said.includes('error') || said.join(), 10_000);
      },
    );
  await listening(
    (root) => rmSync(root, { recursive: true }),
    {},
    async ({ said }) => assert.equal(said, ['error']),
  );
});

test('too little time, or too few watches, is said once; what is late is told of', async () => {
  await listening(
    (root) => make(root, 'a/b/c/d/e'),
    { patience: 0 },
    async ({ said, hears }) => {
      await until(() => said.includes('sighted') || said.join(), 10_000);
      await hears('a/b/c/d/e/file');
    },
  );
  await withFewWatches(10, () =>
    listening(
      (root) => make(root, ...Array.from({ length: 40 }, (_, at) => `${at}`)),
      {},
      async ({ said }) => assert.equal(said, ['limit']),
    ),
  );
});

test('by chokidar: changes and new folders are named, these once more when they are surely watched; what is ignored is not', () =>
  listening(
    (root) => {
      make(root, 'a/b/c', '.tandem/lock');
      symlinkSync('..', join(root, 'a/up'));
    },
    { platform: 'darwin', ignored: (path) => path === '.tandem' },
    async ({ root, at, hears, met, folders, paths, said }) => {
      assert.equal(said, ['sighted']);
      await hears('top', 'a/b/c/file');
      make(root, 'd/e');
      await met('d', 'd/e');
      folders.clear();
      await met('d', 'd/e');
      await hears('d/e/file');
      writeFileSync(at('.tandem/lock/x'), '');
      renameSync(at('d'), at('moved'));
      await met('moved', 'moved/e');
      assert.not.ok([...paths, ...folders].some((path) => path.startsWith('.tandem')));
    },
  ));

test('an overflow of the queue of the kernel is noticed, and what it swallowed is heard from afterwards', () =>
  listening(
    (root) => make(root, 'a'),
    {},
    async ({ root, at, hears, said }) => {
      // Nothing empties the queue before the next wait.
      overflow(at('a'));
      make(root, 'a/swallowed/deep');
      await until(() => said.includes('flooded') || said.join(), 20_000);
      await hears('a/swallowed/deep/file');
    },
  ));

test.run();
