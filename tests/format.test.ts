import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  closest,
  displayWidth,
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatTime,
  parseDuration,
  parseSize,
  plural,
} from '../shared/format.ts';
import './helpers/property.ts';

const test = suite('format');

function table<T>(cases: readonly (readonly [T, unknown])[], convert: (input: T) => unknown): void {
  for (const [input, expected] of cases)
    assert.is(convert(input), expected, `${String(input)} → ${String(convert(input))}`);
}

test('formatBytes() shows three digits in decimal units, and rolls over cleanly', () => {
  table(
    [
      [0, '0 B'],
      [999, '999 B'],
      [1000, '1.00 kB'],
      [9994, '9.99 kB'],
      [9995, '10.0 kB'],
      [99_949, '99.9 kB'],
      [99_950, '100 kB'],
      [999_499, '999 kB'],
      [999_500, '1.00 MB'],
      [1_536_000_000, '1.54 GB'],
      [2e12, '2.00 TB'],
      [-1500, '-1.50 kB'],
      [5e18, '5000 PB'],
      [Number.NaN, '?'],
      [Number.POSITIVE_INFINITY, '?'],
    ],
    formatBytes,
  );
  assert.is(formatRate(182_400_000), '182 MB/s');
});

test('formatDuration() never shows 60 of anything', () => {
  table(
    [
      [0, '0.0 s'],
      [-3, '0.0 s'],
      [0.84, '0.8 s'],
      [9.94, '9.9 s'],
      [9.96, '10 s'],
      [59.4, '59 s'],
      [59.6, '1 min 00 s'],
      [185, '3 min 05 s'],
      [3599.6, '1 h 00 min'],
      [8040, '2 h 14 min'],
      [86_390, '1 d 00 h'],
      [86_400 * 3 + 4 * 3600, '3 d 04 h'],
      [Number.NaN, '?'],
      [Number.POSITIVE_INFINITY, '?'],
    ],
    formatDuration,
  );
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), (s) => !/\b60 (s|min)|\b24 h/.test(formatDuration(s))),
  );
});

test('counts, plurals, times and ages', () => {
  table(
    [
      [0, '0'],
      [999, '999'],
      [1000, '1,000'],
      [1_234_567, '1,234,567'],
      [-123_456, '-123,456'],
    ],
    formatCount,
  );
  assert.equal(
    [plural(1, 'file'), plural(0, 'file'), plural(1234, 'entry', 'entries')],
    ['1 file', '0 files', '1,234 entries'],
  );
  assert.is(formatTime(new Date(2026, 0, 4, 9, 5, 7)), '2026-01-04 09:05:07');
  assert.is(formatTime(new Date(Number.NaN)), '?');
  const now = new Date('2026-01-10T00:00:00Z');
  table(
    [
      [0, 'just now'],
      [-500, 'just now'],
      [59, 'just now'],
      [60, '1 min ago'],
      [3599, '59 min ago'],
      [3600, '1 h ago'],
      [48 * 3600 - 1, '47 h ago'],
      [48 * 3600, '2 days ago'],
      [Number.NaN, '?'],
    ],
    (seconds) => formatAge(new Date(now.getTime() - seconds * 1000), now),
  );
});

test('parseSize() and parseDuration() take what people write, and nothing else', () => {
  table(
    [
      ['500', 500],
      ['10kB', 10_000],
      ['1.5 GB', 1_500_000_000],
      ['2GiB', 2 * 1024 ** 3],
      ['100M', 100_000_000],
      ['3 b', 3],
      ['1ki', 1024],
      ['5i', undefined],
      ['5iB', undefined],
      ['-5', undefined],
      ['1e9', undefined],
      ['', undefined],
      ['five', undefined],
      ['10 kB extra', undefined],
      ['99999999999 PB', undefined],
    ],
    parseSize,
  );
  table(
    [
      ['10s', 10],
      ['250ms', 0.25],
      ['5m', 300],
      ['5 min', 300],
      ['2h', 7200],
      ['90d', 7_776_000],
      ['1w', 604_800],
      ['7', 7],
      ['', undefined],
      ['-1s', undefined],
      ['1y', undefined],
      ['s', undefined],
    ],
    parseDuration,
  );
});

test('closest() finds what was meant and stays silent otherwise', () => {
  const verbs = ['list', 'show', 'create', 'edit', 'set', 'delete', 'status', 'history'];
  table(
    [
      ['lsit', 'list'],
      ['LIST', 'list'],
      ['ls', 'list'],
      ['creat', 'create'],
      ['hist', 'history'],
      ['delte', 'delete'],
      ['x', undefined],
      ['', undefined],
      ['banana', undefined],
    ],
    (word) => closest(word, verbs),
  );
  assert.is(closest('archive-2026', ['Archive-2025', 'archive-2026']), 'archive-2026');
  assert.is(closest('any', []), undefined);
});

test('displayWidth() counts terminal cells', () => {
  table(
    [
      ['', 0],
      ['abc', 3],
      ['é', 1],
      ['e\u0301', 1],
      ['写真', 4],
      ['한글', 4],
      ['🔵', 2],
      ['✓', 1],
      ['—', 1],
    ],
    displayWidth,
  );
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => displayWidth(a + b) <= displayWidth(a) + displayWidth(b) + 2),
  );
});

test.run();
