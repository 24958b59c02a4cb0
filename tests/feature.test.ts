import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Progress } from '../shared/events.ts';
import { type Column, type Paint, renderTable } from '../shared/feature.ts';
import { displayWidth } from '../shared/format.ts';
import { barLine } from '../shared/progress.ts';
import { REPOSITORY } from './helpers/cli.ts';

const test = suite('feature');
const plain: Paint = (_style, text) => text;

interface Row {
  name: string;
  size: number;
}
const columns: Column<Row>[] = [
  { title: 'Name', value: (row) => row.name, style: (row) => (row.size > 5 ? 'good' : 'plain') },
  { title: 'Size', value: (row) => String(row.size), align: 'right' },
  { title: 'Note', value: () => '' },
];

test('renderTable() aligns by terminal cells and leaves no spaces at line ends', () => {
  const text = renderTable(
    [
      { name: '写真', size: 7 },
      { name: 'e\u0301', size: 12_345 },
    ],
    columns,
    plain,
  );
  assert.is(text, 'Name   Size  Note\n写真      7\ne\u0301     12345');
  assert.is(renderTable([], columns, plain), 'Name  Size  Note');
  const painted = renderTable([{ name: 'a', size: 9 }], columns, (style, cell) => `<${style}>${cell}</>`);
  assert.match(painted, '<good>a   </>');
});

test('renderTable() takes as many rows as there are', () => {
  const rows = Array.from({ length: 200_000 }, (_, size) => ({ name: 'n', size }));
  assert.is(renderTable(rows, columns, plain).split('\n').length, 200_001);
});

function progress(changes: Partial<Progress>): Progress {
  const base: Progress = {
    phase: 'copy',
    files_done: 1234,
    files_total: 2345,
    files_copied: 1234,
    files_skipped: 0,
    files_failed: 0,
    bytes_done: 4.2e9,
    bytes_total: 8.4e9,
    rate: 182e6,
    eta: 65,
    current: [],
    paused: false,
  };
  return { ...base, ...changes };
}

test('barLine() fits the terminal, whatever the names are', () => {
  const names = ['Day1/IMG_0001.CR3', '写真'.repeat(60), '\u001b[2J\n', '', 'x'.repeat(4000)];
  for (const width of [1, 20, 79, 120, 200]) {
    for (const name of names) {
      const line = barLine(progress({ current: [name] }), width);
      assert.ok(displayWidth(line) <= width, `${displayWidth(line)} > ${width}`);
      assert.not.ok(line.includes('\u001b') || line.includes('\n'));
    }
  }
  assert.is(
    barLine(progress({}), 200),
    'copy     ████████░░░░░░░░  50 %  1,234/2,345 files  4.20 GB  182 MB/s  1 min 05 s left',
  );
  assert.match(barLine(progress({ current: ['Day1/IMG_0001.CR3'] }), 200), 'Day1/IMG_0001.CR3');
  assert.match(barLine(progress({ paused: true, files_failed: 2 }), 200), /^paused .* 2 failed$/);
  assert.match(barLine(progress({ bytes_total: 0, files_total: 0, rate: 0, eta: null }), 200), '  0 %');
  assert.match(barLine(progress({ bytes_done: 9e9 }), 200), '100 %');
});

test('runIfMain() runs the program that was started and no other', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-feature-'));
  try {
    const feature = pathToFileURL(join(REPOSITORY, 'shared', 'feature.ts')).href;
    const source = (name: string, more = ''): string => `import { defineCommand, runIfMain } from '${feature}';\n${more}
      export const command = defineCommand({ name: '${name}', summary: 's', single: true, verbs: { run: { summary: 's', examples: ['x'], run: async () => ({ json: 1, text: () => 'ran ${name}' }) } } });
      runIfMain(import.meta, command);\n`;
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'low.ts'), source('low'));
    writeFileSync(join(folder, 'high.ts'), source('high', "import './low.ts';"));
    symlinkSync(join(folder, 'high.ts'), join(folder, 'link.ts'));
    symlinkSync(folder, join(folder, 'self'));
    const tsx = join(REPOSITORY, 'node_modules', '.bin', 'tsx');
    const ran = (path: string): string => spawnSync(tsx, [path], { cwd: folder, encoding: 'utf8' }).stdout;
    for (const path of ['high.ts', './high', 'link.ts', 'self/high.ts', join(folder, 'high')])
      assert.is(ran(path), 'ran high\n', path);
    assert.is(ran('low.ts'), 'ran low\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
