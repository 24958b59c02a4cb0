import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { versionsOf, withPair } from './helpers/pair.ts';
import { pause, until, watched } from './helpers/watching.ts';

const test = suite('watch');

test('create, modify, rename, move and delete reach the Backup; quiet looks leave no operation', () =>
  withPair({ master: { 'a/x': '1', 'a/y': '2', 'b/z': '3' } }, (pair) =>
    watched(pair, {}, async ({ watcher, agreed, operations }) => {
      const at = (path: string): string => join(pair.master, path);
      await agreed();
      assert.is(watcher.state, 'active');
      writeFileSync(at('a/new'), 'new');
      await agreed();
      writeFileSync(at('a/new'), 'newer');
      await agreed();
      renameSync(at('a/new'), at('b/renamed'));
      await agreed();
      const moved = (await operations()).at(-1);
      assert.equal([moved?.files_moved, moved?.files_copied], [1, 0], 'a rename copies nothing');
      mkdirSync(at('c/d/e'), { recursive: true });
      writeFileSync(at('c/d/e/deep'), 'deep');
      await agreed();
      renameSync(at('c'), at('b/c'));
      await agreed();
      writeFileSync(at('b/c/d/e/later'), 'in a folder that was moved');
      await agreed();
      await pause(1500);
      const before = (await operations()).length;
      writeFileSync(at('a/vanishes.tmp'), 'x');
      unlinkSync(at('a/vanishes.tmp'));
      await pause(1000);
      assert.is((await operations()).length, before, 'what came and went is no operation');
      assert.ok((await operations()).every(({ status }) => status === 'completed'));
    }),
  ));

test('a deletion is seen twice, 5 s apart, before it is passed on; its version is kept', () =>
  withPair({ master: { 'a/x': '1', 'a/y': '2', 'b/z': '3' } }, (pair) =>
    watched(pair, {}, async ({ agreed, operations }) => {
      await agreed();
      const start = Date.now();
      rmSync(join(pair.master, 'a/x'));
      rmSync(join(pair.master, 'b'), { recursive: true });
      await pause(3500);
      assert.ok(existsSync(join(pair.backup, 'a/x')) && existsSync(join(pair.backup, 'b/z')), 'not at the first look');
      assert.is((await operations()).length, 0);
      await agreed();
      assert.ok(Date.now() - start >= 5000);
      assert.equal(
        versionsOf(pair.backup).map(([path]) => path),
        ['a/x', 'b/z'],
      );
    }),
  ));

test('what is absent for a moment only is not deleted', () =>
  withPair({ master: { 'a/x': '1', 'a/y': '2' } }, (pair) =>
    watched(pair, { secondLook: 2 }, async ({ agreed, operations }) => {
      await agreed();
      renameSync(join(pair.master, 'a/x'), join(pair.box.root, 'aside'));
      await pause(1000);
      renameSync(join(pair.box.root, 'aside'), join(pair.master, 'a/x'));
      await pause(1800);
      await agreed();
      assert.equal(versionsOf(pair.backup), []);
      assert.ok((await operations()).every(({ files_deleted }) => files_deleted === 0));
    }),
  ));

test("editors' save dances end in one new content, and their litter makes no operation", () =>
  withPair({ master: { 'a/notes.txt': 'first', 'a/other.txt': 'first' } }, (pair) =>
    watched(pair, {}, async ({ agreed, operations }) => {
      const at = (path: string): string => join(pair.master, 'a', path);
      await agreed();
      // vim: a swap file, a probe, the old one aside, the new one in its place, all litter removed.
      writeFileSync(at('.notes.txt.swp'), 'swap');
      writeFileSync(at('4913'), '');
      unlinkSync(at('4913'));
      renameSync(at('notes.txt'), at('notes.txt~'));
      writeFileSync(at('notes.txt'), 'second');
      unlinkSync(at('notes.txt~'));
      unlinkSync(at('.notes.txt.swp'));
      await agreed();
      // Others: a file beside it that is renamed over it.
      writeFileSync(at('.goutputstream-ABCDEF'), 'second');
      renameSync(at('.goutputstream-ABCDEF'), at('other.txt'));
      await agreed();
      await pause(1000);
      const done = await operations();
      assert.equal(
        done.map(({ files_copied, files_deleted }) => [files_copied, files_deleted]),
        [
          [1, 0],
          [1, 0],
        ],
      );
      writeFileSync(at('.notes.txt.swp'), 'swap');
      await pause(1000);
      assert.is((await operations()).length, 2, 'a swap file alone starts nothing');
      unlinkSync(at('.notes.txt.swp'));
      assert.is(readFileSync(join(pair.backup, 'a/notes.txt'), 'utf8'), 'second');
    }),
  ));

test('a file that is written slowly is synced once, and whole', () =>
  withPair({ master: { 'a/x': '1' } }, (pair) =>
    watched(pair, {}, async ({ agreed, operations }) => {
      await agreed();
      const path = join(pair.master, 'a/clip.mov');
      const file = openSync(path, 'w');
      // Pauses longer than the debounce: only that it is open tells that it is not whole.
      for (let part = 0; part < 5; part += 1) {
        writeSync(file, Buffer.alloc(100_000, part));
        await pause(700);
        assert.not.ok(existsSync(join(pair.backup, 'a/clip.mov')));
      }
      closeSync(file);
      await agreed();
      const done = await operations();
      assert.equal(
        done.filter(({ files_copied }) => files_copied > 0).map(({ bytes_copied }) => bytes_copied),
        [500_000],
      );
    }),
  ));

test('a burst of 2,000 files, a deep rename of them, and a file that changes all the while', () =>
  withPair({ master: { 'a/x': '1' } }, (pair) =>
    watched(pair, {}, async ({ agreed, operations }) => {
      await agreed();
      const log = join(pair.master, 'a', 'log');
      const timer = setInterval(() => appendFileSync(log, 'line\n'), 50);
      try {
        for (let folder = 0; folder < 100; folder += 1) {
          mkdirSync(join(pair.master, `burst/${folder}`), { recursive: true });
          for (let file = 0; file < 20; file += 1)
            writeFileSync(join(pair.master, `burst/${folder}/${file}`), `${file}`);
        }
        await until(() => existsSync(join(pair.backup, 'burst/99/19')));
      } finally {
        clearInterval(timer);
      }
      await agreed();
      const copied = (await operations()).reduce((sum, { files_copied }) => sum + files_copied, 0);
      renameSync(join(pair.master, 'burst'), join(pair.master, 'a', 'renamed'));
      await agreed();
      const after = await operations();
      assert.is(
        after.reduce((sum, { files_copied }) => sum + files_copied, 0),
        copied,
        'renamed, not copied',
      );
      assert.ok(after.every(({ status }) => status === 'completed'));
    }),
  ));

test('folders that are renamed above and below each other, or change places, are followed by name and watched on', () =>
  withPair(
    {
      master: Object.fromEntries(
        ['p/q/r/s/t', 'u/v/w/x', 'u/v/y'].flatMap((folder) =>
          [0, 1, 2].map((at) => [`${folder}/${at}`, `${folder}${at}`]),
        ),
      ),
    },
    (pair) =>
      watched(pair, { secondLook: 1 }, async ({ agreed, operations }) => {
        await agreed();
        const move = (from: string, to: string): void => renameSync(join(pair.master, from), join(pair.master, to));
        move('p/q/r/s', 'p/q/r/s2');
        move('p/q/r', 'p/q/r2');
        move('p', 'p2');
        await agreed();
        // Two change places.
        move('u/v', 'aside');
        move('p2/q', 'u/v');
        move('aside', 'p2/q');
        await agreed();
        for (const path of ['u/v/r2/s2/t/new', 'p2/q/w/x/new', 'p2/q/y/new'])
          writeFileSync(join(pair.master, path), path);
        await agreed();
        const done = await operations();
        assert.is(
          done.reduce((sum, { files_copied }) => sum + files_copied, 0),
          3,
          'only what is new was copied',
        );
        assert.equal(versionsOf(pair.backup), []);
      }),
  ));

test('links that lead in circles, or through a file, stop nothing', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    symlinkSync('..', join(pair.master, 'a/up'));
    symlinkSync('loop', join(pair.master, 'a/loop'));
    symlinkSync('x/beyond', join(pair.master, 'a/through'));
    await watched(pair, {}, async ({ watcher, agreed }) => {
      await agreed();
      assert.is(watcher.state, 'active');
      symlinkSync('../a', join(pair.master, 'a/again'));
      writeFileSync(join(pair.master, 'a/y'), '2');
      await agreed();
      unlinkSync(join(pair.master, 'a/through'));
    });
  }));

test.run();
