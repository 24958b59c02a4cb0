/** Lists: movement, sort, filter, mouse, and what a hundred thousand rows cost in formatting. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Column } from '../../shared/feature.ts';
import { Canvas } from '../../tui/canvas.ts';
import {
  drawTable,
  emptyTable,
  selectedRow,
  type TableState,
  tableKey,
  tableMouse,
  tableRows,
} from '../../tui/table.ts';
import '../helpers/property.ts';
import { THEME } from '../helpers/board.ts';

const test = suite('table');

interface Row {
  path: string;
  size: string;
}

let formatted = 0;
const columns: readonly Column<Row>[] = [
  {
    title: 'Path',
    value: ({ path }) => {
      formatted += 1;
      return path;
    },
  },
  { title: 'Size', value: ({ size }) => size, align: 'right' },
];

const ROWS: readonly Row[] = [
  { path: 'b.raf', size: '900 MB' },
  { path: 'a.raf', size: '1.50 GB' },
  { path: 'c.jpg', size: '12 kB' },
];

const LOOK = { focus: true, empty: 'Nothing.' };
const press = (state: TableState, names: readonly string[], rows: readonly Row[] = ROWS): TableState =>
  names.reduce((before, name) => {
    const text = [...name].length === 1 ? name : '';
    const count = tableRows(rows, columns, before).length;
    return tableKey(before, { kind: 'key', name, text }, count, columns.length) ?? before;
  }, state);
const lines = (state: TableState, rows: readonly Row[] = ROWS, height = 4): string[] => {
  const canvas = new Canvas(30, height, THEME);
  drawTable(canvas, rows, columns, state, LOOK);
  return canvas.lines().map((line) => line.trimEnd());
};

test('head, rows, numbers at the right, the selected row marked', () => {
  assert.equal(lines({ ...emptyTable, at: 1 }), [
    '  PATH      SIZE',
    '  b.raf   900 MB',
    '▸ a.raf  1.50 GB',
    '  c.jpg    12 kB',
  ]);
});

test('o sorts by each column up, down, and then not at all; sizes by what they are', () => {
  const order = (state: TableState): string[] => tableRows(ROWS, columns, state).map(({ path }) => path[0] ?? '');
  let state = emptyTable;
  const seen = Array.from({ length: 5 }, () => {
    state = press(state, ['o']);
    return order(state).join('');
  });
  assert.equal(seen, ['abc', 'cba', 'cba', 'abc', 'bac']);
});

test('numbers, sizes, times and dates are sorted by what they mean', () => {
  const column = [{ title: 'X', value: ({ path }: { path: string }) => path }];
  const order = (...texts: string[]): string[] => {
    const rows = texts.map((path) => ({ path, size: '' }));
    return tableRows(rows, column, { sort: { column: 0, descending: false }, filter: '' }).map(({ path }) => path);
  };
  assert.equal(order('10', '9', '1,000'), ['9', '10', '1,000']);
  assert.equal(order('1.50 GB', '900 MB', '46.0 MB/s'), ['46.0 MB/s', '900 MB', '1.50 GB']);
  assert.equal(order('2 min 05 s', '1 h 01 min', '42 s', '0.8 s'), ['0.8 s', '42 s', '2 min 05 s', '1 h 01 min']);
  assert.equal(order('26-11-20 14:30', '26-11-19 15:12', '25-12-31 00:00'), [
    '25-12-31 00:00',
    '26-11-19 15:12',
    '26-11-20 14:30',
  ]);
  assert.equal(order('412 GB / 2.00 TB', '1.10 TB / 8.00 TB', '62%', '7%'), [
    '7%',
    '62%',
    '412 GB / 2.00 TB',
    '1.10 TB / 8.00 TB',
  ]);
});

test('a window shows rows that are sorted elsewhere, and says which are not there yet', () => {
  const rows = [{ path: 'x.raf', size: '1 B' }];
  const canvas = new Canvas(30, 4, THEME);
  const look = { focus: true, empty: 'none', window: { from: 1, count: 3 } };
  const state = drawTable(canvas, rows, columns, { ...emptyTable, at: 1, sort: { column: 0, descending: true } }, look);
  assert.equal(
    canvas
      .lines()
      .map((line) => line.trimEnd())
      .slice(1),
    ['  …', '▸ x.raf   1 B', '  …'],
  );
  const area = { x: 0, y: 0, width: 30, height: 4 };
  const click = { kind: 'mouse', action: 'click', x: 5, y: 3 } as const;
  assert.is(tableMouse(state, click, area, rows, columns, look.window)?.at, 2);
  assert.is(tableMouse(state, { ...click, action: 'wheeldown' }, area, rows, columns, look.window)?.at, 2);
});

test('a filter takes every word in any column; Esc shows all', () => {
  const typed = press(emptyTable, ['/', 'r', 'a', 'f', ' ', '9', 'enter']);
  assert.is(typed.typing, false);
  assert.equal(
    tableRows(ROWS, columns, typed).map(({ path }) => path),
    ['b.raf'],
  );
  assert.is(press(typed, ['esc']).filter, '');
  assert.equal(lines(press(emptyTable, ['/', 'z'])).slice(1, 2), ['Nothing matches “z”. Esc shows']);
});

test('a click on a title sorts, on a row selects; the wheel moves', () => {
  const area = { x: 5, y: 2, width: 30, height: 4 };
  const click = (x: number, y: number, action: 'click' | 'wheeldown' = 'click') =>
    tableMouse(emptyTable, { kind: 'mouse', action, x, y }, area, ROWS, columns);
  assert.equal(click(8, 2)?.sort, { column: 0, descending: false });
  assert.equal(click(17, 2)?.sort, { column: 1, descending: false });
  assert.is(click(8, 4)?.at, 1);
  assert.is(click(8, 5, 'wheeldown')?.at, 2);
  assert.is(click(2, 2), undefined);
  assert.is(click(8, 6), undefined);
});

test('no key leaves the list, and the selected row is always drawn', () => {
  const keys = fc.constantFrom('j', 'k', 'g', 'G', 'pgup', 'pgdn', 'C-d', 'C-u', 'home', 'end', 'down', 'up', 'o');
  fc.assert(
    fc.property(
      fc.array(keys, { maxLength: 30 }),
      fc.nat(60),
      fc.integer({ min: 2, max: 9 }),
      (names, count, height) => {
        const rows = Array.from({ length: count }, (_, index) => ({ path: `p${index}`, size: `${index} B` }));
        let state = emptyTable;
        for (const name of names) {
          state = press(state, [name], rows);
          const canvas = new Canvas(30, height, THEME);
          state = drawTable(canvas, rows, columns, state, LOOK);
          assert.is(canvas.lines().filter((line) => line.startsWith('▸')).length, count > 0 ? 1 : 0);
          assert.is(selectedRow(rows, columns, state) === undefined, count === 0);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('a key on 100,000 rows formats what is seen and a sample, no more', () => {
  const rows = Array.from({ length: 100_000 }, (_, index) => ({ path: `folder/${index}.raf`, size: `${index} kB` }));
  const state = press(emptyTable, ['G'], rows);
  formatted = 0;
  assert.ok(lines(state, rows, 30).some((line) => line.includes('99999.raf')));
  assert.ok(formatted < 400, `${formatted} rows were formatted`);
  const sorted = press(emptyTable, ['o'], rows);
  lines(sorted, rows, 30);
  formatted = 0;
  lines(press(sorted, ['pgdn'], rows), rows, 30);
  assert.ok(formatted < 400, `sorted once only: ${formatted}`);
});

test('narrow columns give way, and nothing leaves its place', () => {
  const rows = [{ path: `a/very/long/${'folder/'.repeat(9)}東京.raf`, size: '900 MB' }];
  const canvas = new Canvas(26, 3, THEME);
  drawTable(canvas, rows, columns, emptyTable, LOOK);
  assert.match(canvas.lines()[1] ?? '', /….*東京\.raf {2,}900 MB/);
});

test.run();
