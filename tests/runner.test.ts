import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type DriveKind, driveTest, withDrives } from './helpers/drives.ts';
import { treeOf, world } from './helpers/world.ts';
import { type Counts, judge, runTests } from './run.ts';

const test = suite('runner');
const scratch = mkdtempSync(join(tmpdir(), 'tandem-runner-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));
const UVU = `import { suite } from '${import.meta.resolve('uvu')}'; const test = suite('made up');`;
const ONLY = `test.${'only'}('x', () => {});`;

/** Runs made-up test files through the real runner. */
async function runFiles(
  files: Record<string, string>,
  options: { timeout?: number; strict?: boolean; filters?: string[] } = {},
): Promise<Counts & { text: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-made-up-'));
  let text = '';
  try {
    for (const [name, body] of Object.entries(files)) {
      mkdirSync(join(folder, name, '..'), { recursive: true });
      writeFileSync(join(folder, name), `${UVU}\n${body}\n`);
    }
    const counts = await runTests({
      folder,
      filters: options.filters ?? [],
      verbose: false,
      jobs: 2,
      timeout: options.timeout ?? 30_000,
      strict: options.strict ?? false,
      write: (part) => {
        text += part;
      },
    });
    return { ...counts, text };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

test('the last line is the sum, files below folders are found, output is shown of failed files only', async () => {
  const { text, ...counts } = await runFiles({
    'good.test.ts': "test('a', () => {}); test('b', () => console.log('quiet please')); test.run();",
    'deep/er/bad.test.ts':
      "test('c', () => {}); test('d', () => { console.log('look here'); throw new Error('no'); }); test.run();",
    'helper.ts': "throw new Error('not a test');",
  });
  assert.equal(counts, { passed: 3, failed: 1, skipped: 0 });
  assert.is(lastLine(text), '3 passed, 1 failed');
  assert.match(text, 'look here');
  assert.not.match(text, 'quiet please');
  assert.match(text, /✓ good\.test\.ts {2}2 passed {2}\d+\.\d s/);
});

test('what keeps tests from running is a failure, one each', async () => {
  const cases: Record<string, [body: string, reason: RegExp]> = {
    'norun.test.ts': ["test('a', () => {});", /no test in it|no summary/],
    'empty.test.ts': ['test.run();', /no test in it/],
    'only.test.ts': [`test('a', () => {}); ${ONLY} test.run();`, /contains \.only/],
    'exit.test.ts': ["test('a', () => process.exit(0)); test.run();", /no summary/],
    'code.test.ts': [
      "test('a', () => {}); test.run(); process.on('exit', () => { process.exitCode = 7; });",
      /ended with code 7/,
    ],
    'syntax.test.ts': ['test(;', /no summary/],
    'before.test.ts': ["test.before(() => { throw new Error('x'); }); test('a', () => {}); test.run();", /^/],
    'reject.test.ts': ["test('a', () => Promise.reject(undefined)); test.run();", /^/],
  };
  const bodies = Object.fromEntries(Object.entries(cases).map(([name, [body]]) => [name, body]));
  const { text, failed } = await runFiles(bodies);
  assert.is(failed, Object.keys(cases).length, text);
  for (const [name, [, reason]] of Object.entries(cases)) {
    const at = text.indexOf(`✗ ${name}`);
    assert.ok(at >= 0, `${name} must fail:\n${text}`);
    assert.match(text.slice(at), reason);
  }
});

test('a file that hangs is ended with everything it started, and counts once', async () => {
  const mark = join(scratch, 'pid');
  const body = `import { spawn } from 'node:child_process'; import { writeFileSync } from 'node:fs';
    test('a', () => { const child = spawn('sleep', ['300'], { stdio: 'inherit' }); writeFileSync(${JSON.stringify(mark)}, String(child.pid)); return new Promise(() => setInterval(() => {}, 1000)); }); test.run();`;
  const started = Date.now();
  const { text, ...counts } = await runFiles({ 'hang.test.ts': body }, { timeout: 4000 });
  assert.ok(Date.now() - started < 20_000);
  assert.is(counts.failed, 2, text);
  assert.match(text, 'the time limit was reached');
  const pid = Number(readFileSync(mark, 'utf8'));
  const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] : 'Z';
  assert.is(state, 'Z', 'the grandchild must be gone');
});

test('skipped tests are counted apart, and as failures where nothing may be skipped', async () => {
  const body = "console.log('SKIPPED: real drives: making drives takes root'); test('a', () => {}); test.run();";
  const soft = await runFiles({ 'a.test.ts': body });
  assert.is(lastLine(soft.text), '1 passed, 0 failed, 1 skipped');
  assert.match(soft.text, 'SKIPPED: real drives');
  const strict = await runFiles({ 'a.test.ts': body }, { strict: true });
  assert.is(lastLine(strict.text), '1 passed, 1 failed');
  const nothingElse = await runFiles({ 'a.test.ts': "console.log('SKIPPED: x: y'); test.run();" });
  assert.is(lastLine(nothingElse.text), '0 passed, 0 failed, 1 skipped');
});

test('a filter that matches nothing fails', async () => {
  const { text } = await runFiles({ 'a.test.ts': "test('a', () => {}); test.run();" }, { filters: ['other'] });
  assert.is(lastLine(text), '0 passed, 1 failed');
});

test('the last of several summaries counts, colours do not matter', () => {
  const output =
    '  Total:     9\n  Passed:    9\n\u001b[32m  Total:     3\u001b[39m\n\u001b[32m  Passed:    1\u001b[39m\n  Skipped:   0\n';
  assert.equal(judge(output, { code: 1, late: false }, false), { passed: 1, failed: 2, skipped: 0, reasons: [] });
});

test('a file has folders of its own', async () => {
  const body = `import { tmpdir } from 'node:os';
    test('a', () => { if (!process.env.TANDEM_DATA?.startsWith(tmpdir()) || !process.env.TANDEM_CONFIG?.startsWith(tmpdir())) throw new Error('shared folders'); }); test.run();`;
  assert.is((await runFiles({ 'a.test.ts': body })).failed, 0);
});

driveTest(
  test,
  'a drive that a test leaves behind is a failure and is removed',
  [{ label: 'X', fs: 'ext4' }],
  async () => {
    const body = `import { execFileSync } from 'node:child_process'; import { tmpdir } from 'node:os';
    const script = 'cd "$0"; truncate -s 8M i; mkfs.ext4 -q -F i; mkdir "m m"; mount "$(losetup --find --show i)" "m m"; pwd > "$MARK"';
    test('a', () => void execFileSync('sh', ['-ec', script, tmpdir()])); test.run();`;
    const mark = join(scratch, 'where');
    process.env['MARK'] = mark;
    const { text, failed } = await runFiles({ 'left.test.ts': body });
    const where = readFileSync(mark, 'utf8').trim();
    assert.is(failed, 1, text);
    assert.match(text, /left behind \(now removed\): mounted: .*m m, loop device:/);
    assert.not.match(readFileSync('/proc/self/mountinfo', 'utf8'), where);
    assert.not.match(spawnSync('losetup', ['-a'], { encoding: 'utf8' }).stdout, where);
  },
);

for (const fs of ['ext4', 'exfat', 'ntfs'] satisfies DriveKind[]) {
  driveTest(
    test,
    `an ${fs} drive is made, pulled, and comes back elsewhere`,
    [{ label: 'PhotoMaster', fs }],
    ([drive]) => {
      assert.ok(drive);
      world({ 'a.txt': 'x', 'Day 1/b.txt': 'y' }, drive.mount);
      const before = drive.mount;
      const device = statSync(before).dev;
      drive.unplug();
      assert.not.ok(existsSync(join(before, 'a.txt')));
      assert.is.not(statSync(before).dev, device);
      drive.replug(`${before}-elsewhere`);
      const tree = treeOf(drive.mount, ['mode', 'mtime']);
      assert.equal(tree['Day 1/b.txt'], { content: 'y' });
      assert.is(
        spawnSync('blkid', ['-o', 'value', '-s', 'LABEL', drive.device], { encoding: 'utf8' }).stdout.trim(),
        'PhotoMaster',
      );
    },
  );
}

driveTest(test, 'drives are removed when the work fails, busy ones too', [{ label: 'X', fs: 'exfat' }], async () => {
  const seen: string[] = [];
  await withDrives(
    [
      { label: 'A', fs: 'ext4' },
      { label: 'B', fs: 'exfat' },
    ],
    (drives) => {
      seen.push(...drives.map(({ image }) => image));
      process.chdir(drives[0]?.mount ?? '/');
      throw new Error('broken on purpose');
    },
  )
    .then(
      () => assert.unreachable(),
      (error: Error) => assert.is(error.message, 'broken on purpose'),
    )
    .finally(() => process.chdir('/'));
  const loops = spawnSync('losetup', ['-a'], { encoding: 'utf8' }).stdout;
  for (const image of seen) {
    assert.not.match(readFileSync('/proc/self/mountinfo', 'utf8'), image.replace(/image$/, ''));
    assert.not.ok(existsSync(image));
  }
  assert.ok(!seen[1] || !loops.includes(seen[1]), 'the loop device of the exFAT drive is gone');
});

test('a world is read back as it was written', () => {
  const root = mkdtempSync(join(tmpdir(), 'tandem-world-'));
  try {
    const odd = 'new\nline \udcff\u001b[31m';
    world(
      {
        'a.txt': { content: 'x', mode: 0o640, mtime: 1_700_000_000 },
        'dir/': null,
        [odd]: 'odd',
        'sub/link': { symlink: '../a.txt' },
        same: { hardlink: 'a.txt' },
        '.tandem/drive.json': '{}',
      },
      root,
    );
    const tree = treeOf(root, ['mtime']);
    assert.equal(tree['a.txt'], { content: 'x', mode: '640' });
    assert.equal(Object.keys(tree), ['a.txt', 'dir/', odd, 'same', 'sub/', 'sub/link']);
    assert.equal(tree['sub/link'], { symlink: '../a.txt' });
    assert.is(treeOf(root)['a.txt']?.mtime, '1700000000000000000');
    assert.is(statSync(join(root, 'same')).nlink, 2);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test.run();
