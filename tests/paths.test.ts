import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TandemError } from '../shared/errors.ts';
import {
  baseName,
  depthOf,
  displayPath,
  isInside,
  isWindowsFamily,
  joinPath,
  nameProblem,
  parentOf,
  pathKey,
  relPath,
} from '../shared/paths.ts';
import './helpers/property.ts';

const test = suite('paths');

test('relPath() takes paths inside a drive only', () => {
  for (const good of ['a', 'a/b', 'a b/ü', 'new\nline', '...', '.hidden', 'a\\b', '-x', ''])
    assert.is(relPath(good), good);
  assert.is(relPath('a/b///'), 'a/b');
  for (const bad of ['/', '/etc', '..', 'a/../b', 'a/..', './a', 'a//b', 'a/./b', 'a\0b', '//', '.']) {
    assert.throws(
      () => relPath(bad),
      (error: unknown) => error instanceof TandemError && error.code === 'invalid',
      bad,
    );
  }
  assert.throws(
    () => relPath('\u001b[31m/..'),
    (error: Error) => !error.message.includes('\u001b'),
  );
});

test('relPath() is quick on a hostile text', () => {
  const started = performance.now();
  assert.throws(() => relPath(`a${'/'.repeat(200_000)}b`));
  assert.ok(performance.now() - started < 20_000);
});

test('whatever relPath() lets through stays below the root', () => {
  const part = fc.constantFrom('a', '..', '.', '', '/', '\0', 'b c', '..a');
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const text = parts.join('/');
      let path: string;
      try {
        path = relPath(text);
      } catch {
        return true;
      }
      return path === '' || (!path.startsWith('/') && path.split('/').every((one) => !['', '.', '..'].includes(one)));
    }),
  );
});

test('parts of a path fit together', () => {
  assert.equal([joinPath('', 'a'), joinPath('a/b', 'c')], ['a', 'a/b/c']);
  assert.equal([parentOf('a/b/c'), parentOf('a'), parentOf('')], ['a/b', '', '']);
  assert.equal([baseName('a/b.c'), baseName('a')], ['b.c', 'a']);
  assert.equal([depthOf(''), depthOf('a'), depthOf('a/b/c')], [0, 0, 2]);
  assert.equal(
    ['a', 'a/b', 'ab', ''].map((path) => isInside(path, 'a')),
    [true, true, false, false],
  );
  assert.ok(isInside('anything', ''));
});

test('pathKey() joins what some drive takes for the same name', () => {
  const fold = { foldCase: true, normalise: true };
  const same: [string, string][] = [
    ['Photo.JPG', 'photo.jpg'],
    ['é', 'e\u0301'],
    ['É', 'e\u0301'],
    ['ẞ', 'ß'],
    ['ß', 'SS'],
    ['\u212a', 'k'],
    ['Σ', 'ς'],
  ];
  for (const [a, b] of same) assert.is(pathKey(a, fold), pathKey(b, fold), `${a} = ${b}`);
  assert.is.not(pathKey('A', { foldCase: false, normalise: true }), pathKey('a', { foldCase: false, normalise: true }));
  assert.is.not(
    pathKey('é', { foldCase: true, normalise: false }),
    pathKey('e\u0301', { foldCase: true, normalise: false }),
  );
  assert.is(pathKey('\u0000é', { foldCase: false, normalise: false }), '\u0000é');
});

test('pathKey() does not depend on how the name came to be spelt', () => {
  const text = fc.string({ unit: 'binary', maxLength: 6 });
  const fold = { foldCase: true, normalise: true };
  fc.assert(
    fc.property(text, (name) => {
      const key = pathKey(name, fold);
      return pathKey(key, fold) === key && pathKey(name.normalize('NFD'), fold) === key;
    }),
    { numRuns: 2000 },
  );
});

test('displayPath() leaves nothing that a terminal obeys or hides', () => {
  assert.is(displayPath('a\u001b[31m\nb'), 'a␛[31m␊b');
  assert.is(displayPath('x\u007f'), 'x␡');
  assert.is(displayPath('\u009b31m'), '\ufffd31m');
  for (const hidden of [
    '\u202e',
    '\u200b',
    '\u2066',
    '\ufeff',
    '\u00ad',
    '\u061c',
    '\u2028',
    '\u{e0041}',
    '\u3164',
    '\ud800',
  ]) {
    assert.is(displayPath(`a${hidden}b`), 'a\ufffdb', hidden.codePointAt(0)?.toString(16));
  }
  assert.is(displayPath('Wörk 写真 🔵 (1).CR3'), 'Wörk 写真 🔵 (1).CR3');
  const harmful = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (name) => !harmful.test(displayPath(name))));
});

test('nameProblem() judges by filesystem, in its own unit of length', () => {
  const ext4 = { filesystem: 'ext4', maxName: 255, nameUnit: 'bytes' } as const;
  const exfat = { filesystem: 'exfat', maxName: 255, nameUnit: 'utf16' } as const;
  assert.is(nameProblem('a:b?', ext4), undefined);
  assert.match(nameProblem('ü'.repeat(128), ext4) ?? '', '256 bytes');
  assert.is(nameProblem('ü'.repeat(255), exfat), undefined);
  assert.match(nameProblem('🔵'.repeat(128), exfat) ?? '', '256 utf16');
  for (const bad of [
    'a:b',
    'a\\b',
    'a\nb',
    'x.',
    'x ',
    'CON',
    'con.txt',
    'LPT1',
    'com¹.log',
    'CONIN$',
    'a|b',
    '"',
    '*',
  ]) {
    const problem = nameProblem(bad, exfat);
    assert.ok(problem, bad);
    assert.not.match(problem ?? '', '\n');
  }
  for (const good of ['console', 'CONTACT.jpg', '.hidden', 'com', 'a.b.c', ' leading'])
    assert.is(nameProblem(good, exfat), undefined, good);
  assert.equal(['exfat', 'vfat', 'ntfs', 'ntfs3', 'msdos', 'ext4', 'apfs'].map(isWindowsFamily), [
    true,
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
});

test.run();
