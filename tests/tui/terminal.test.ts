/** The whole dashboard in a terminal: how it starts, how it ends, and that a terminal that hangs holds up no run. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { REPOSITORY, type Sandbox, sandbox } from '../helpers/cli.ts';
import { withPair } from '../helpers/pair.ts';
import { nobodyIn, openTmux, TANDEM, type Tmux } from '../helpers/tmux.ts';

const test = suite('terminal');

async function inTmux(size: [number, number], work: (tmux: Tmux, box: Sandbox) => Promise<void>): Promise<void> {
  const box = sandbox();
  const tmux = openTmux(...size, { TANDEM_CONFIG: box.config, TANDEM_DATA: box.data });
  try {
    await work(tmux, box);
  } finally {
    tmux.close();
    await nobodyIn(box.data);
    box.cleanup();
  }
}

/** Without a group the wizard lies over the first screen. */
async function leaveWizard(tmux: Tmux): Promise<void> {
  await tmux.shows('step 1 of 5');
  tmux.keys('Escape');
  await tmux.shows('q quit');
}

test('start, help, quit: the terminal is as it was', () =>
  inTmux([120, 35], async (tmux) => {
    tmux.keys(`${TANDEM}; echo "code $?"`, 'Enter');
    await leaveWizard(tmux);
    assert.is(tmux.flags(), '110');
    tmux.keys('?');
    await tmux.shows('EVERYWHERE');
    tmux.keys('Escape');
    await tmux.shows('Events');
    tmux.resize(80, 24);
    await tmux.shows('Drives & groups');
    tmux.keys('q');
    await tmux.shows('code 0');
    assert.is(tmux.flags(), '001');
  }));

test('Ctrl-Z gives the terminal to the shell, and fg takes it again', () =>
  inTmux([80, 24], async (tmux) => {
    tmux.keys(TANDEM, 'Enter');
    await leaveWizard(tmux);
    tmux.keys('C-z');
    await tmux.shows('Stopped');
    assert.is(tmux.flags(), '001');
    tmux.keys('echo in the shell; fg', 'Enter');
    await tmux.shows('Drives & groups');
    assert.is(tmux.flags(), '110');
    tmux.keys('q');
    await tmux.shows('in the shell');
  }));

test('each signal ends it with its code, and the terminal is as it was', () =>
  inTmux([80, 24], async (tmux) => {
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGINT', 130],
      ['SIGQUIT', 131],
      ['SIGHUP', 129],
    ] as const) {
      tmux.keys(`clear; ${TANDEM}; echo "code $?"`, 'Enter');
      await tmux.shows('MASTER');
      process.kill(tmux.child(), signal);
      await tmux.shows(`code ${code}`);
      assert.is(tmux.flags(), '001', signal);
    }
  }));

test('an error of the program ends it with 70, and is told when the terminal is back', () => {
  const guard = join(REPOSITORY, 'tui', 'guard.ts');
  for (const fault of ["throw new Error('broken')", "Promise.reject(new Error('broken'))"]) {
    const code = `import { guardTerminal } from ${JSON.stringify(guard)};
      process.once('uncaughtException', () => process.exit(1));
      guardTerminal(() => process.stderr.write('restored\\n'));
      setTimeout(() => { ${fault}; }, 1);`;
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
      encoding: 'utf8',
      cwd: REPOSITORY,
    });
    assert.is(status, 70, stderr);
    assert.match(stderr, /^restored\n[\s\S]*goes on\.\nError: broken/);
  }
});

test('without a terminal the overview is printed, and the dashboard refuses', async () => {
  const box = sandbox();
  try {
    const overview = await box.run([]);
    assert.match(overview.stdout, 'Drives');
    const refused = await box.run(['dashboard']);
    assert.is(refused.code, 2);
    assert.match(refused.stderr, '`tandem status` prints the same');
  } finally {
    box.cleanup();
  }
});

test('a terminal that takes nothing more holds up neither a run that it started nor another', () =>
  withPair({ master: { 'a.txt': '1' } }, async ({ box, master, sync }) => {
    // Nobody reads what `script` prints, so that its terminal fills up.
    const child = spawn('script', ['-qec', `stty cols 120 rows 35; exec ${TANDEM}`, '/dev/null'], {
      env: { ...process.env, NO_COLOR: '', TERM: 'xterm-256color', TANDEM_CONFIG: box.config, TANDEM_DATA: box.data },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    // When a step fails the terminal is taken away with keys still on their way: the step is what should be told.
    child.stdin.on('error', () => {});
    try {
      let shown = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        shown += text;
      });
      const shows = (text: string) => until(async () => shown.includes(text));
      await shows('Events');
      child.stdin.write(':');
      await shows('Command');
      child.stdin.write('sync run Archive');
      await shows('Archive');
      child.stdin.write('\r');
      child.stdout.pause();
      await until(async () => (await box.run(['history', 'list', '--json'])).stdout.includes('"completed"'));
      // Resized, and so redrawn, until no buffer on the way takes any more and its write waits for the terminal.
      const { stdout: pid } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(child.pid)], { encoding: 'utf8' });
      const terminal = readlinkSync(`/proc/${pid.trim()}/fd/1`);
      const written = (): number => Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${pid.trim()}/io`, 'utf8'))?.[1]);
      const isHeld = async (): Promise<boolean> => {
        const before = written();
        for (let round = 0; round < 10; round += 1) {
          spawnSync('stty', ['-F', terminal, 'cols', String(110 + (round % 2) * 10)]);
          await pause(100);
        }
        // Each drawing is some thousand bytes; a signal that it takes without drawing is noted in a pipe of its own.
        return written() - before < 1000;
      };
      await until(isHeld);
      writeFileSync(join(master, 'b.txt'), '2');
      assert.is((await sync()).status, 'completed');
      assert.ok(await isHeld(), 'it is still held up');
      // A result may lie over the screen, and what it knows of runs may be as old as its last drawing: then it asks.
      child.stdout.resume();
      await until(async () => {
        child.stdin.write('qd');
        return child.exitCode !== null;
      });
    } finally {
      // Its terminal goes with it, which ends the dashboard.
      child.kill('SIGKILL');
      await nobodyIn(box.data);
    }
  }));

async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error('It did not happen in time.');
    await pause(100);
  }
}

test.run();
