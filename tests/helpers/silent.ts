/**
 * A drive whose driver has stopped, beside a pair that is in order. In a process and a namespace of mounts of its own:
 * whoever else lists drives on this machine would wait for it too.
 */
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { REPOSITORY, sandbox } from './cli.ts';
import { type DriveKind, holdersOf, withDrives } from './drives.ts';
import { pause, until } from './watching.ts';

/** Milliseconds: ten until it is asked again, three until it counts as silent, and what the work itself takes. */
const SOON = 30_000;
/** A run writes to its drives for a moment after its files have arrived; who falls silent then holds it up (docs/safety.md). */
const AT_REST = 5000;

const kind = process.argv[2] as DriveKind;
const specs = [
  { label: 'GOOD_MASTER', fs: 'ext4' },
  { label: 'GOOD_BACKUP', fs: 'ext4' },
  { label: 'SLOW_MASTER', fs: 'ext4' },
  { label: 'SLOW_BACKUP', fs: kind },
] as const;

await withDrives(specs, async (drives) => {
  const [master, backup, other, slow] = drives.map(({ mount }) => mount) as [string, string, string, string];
  const drivers = holdersOf(drives[3]?.device ?? '');
  assert.is(drivers.length, 1, 'its driver');
  const signal = (name: 'SIGSTOP' | 'SIGCONT'): void => void process.kill(drivers[0] as number, name);
  const box = sandbox();
  const settings = { version: 1, drives: { allow_fixed: drives.map(({ mount }) => mount) } };
  writeFileSync(join(box.config, 'app.yaml'), JSON.stringify(settings));
  const tandem = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await box.run(words);
    assert.is(code, 0, stderr);
    return stdout;
  };
  for (const [name, one, two] of [
    ['Good', 'GOOD_MASTER', 'GOOD_BACKUP'],
    ['Slow', 'SLOW_MASTER', 'SLOW_BACKUP'],
  ] as const) {
    await tandem('groups', 'create', name, '--master', one, '--backup', two);
    await tandem('watch', 'enable', name, '--debounce', '0.2');
  }
  const daemon = spawn(process.execPath, [join(REPOSITORY, 'tui/tandem.mjs'), 'daemon', 'run'], {
    env: { ...process.env, TANDEM_CONFIG: box.config, TANDEM_DATA: box.data },
    stdio: 'ignore',
  });
  const ended = new Promise<number | null>((done) => daemon.once('exit', done));
  const states = async (): Promise<string> =>
    (JSON.parse(await tandem('watch', 'list', '--json')) as { target: string; status: string; message: string }[])
      .map(({ target, status, message }) => `${target}: ${status} ${message}`.trim())
      .join('; ');
  const arrives = (path: string, root: string): Promise<void> =>
    until(() => existsSync(join(root, path)) || `${path} has not arrived`, SOON);
  try {
    writeFileSync(join(master, 'before'), '1');
    writeFileSync(join(other, 'before'), '1');
    await Promise.all([arrives('before', backup), arrives('before', slow)]);
    await until(async () => (await states()) === 'Good: active; Slow: active' || (await states()));
    await pause(AT_REST);
    signal('SIGSTOP');
    writeFileSync(join(other, 'meanwhile'), '2');
    writeFileSync(join(master, 'meanwhile'), '2');
    await arrives('meanwhile', backup);
    await until(async () => {
      const now = await states();
      return (now.includes('Good: active') && now.includes(`what is mounted at ${slow} does not answer`)) || now;
    }, SOON);
    const list = await box.run(['detect', 'list', '--json']);
    assert.match(list.stderr, `What is mounted at ${slow} does not answer`);
    assert.equal((list.json() as { label: string }[]).map(({ label }) => label).sort(), [
      'GOOD_BACKUP',
      'GOOD_MASTER',
      'SLOW_MASTER',
    ]);
    const sync = await box.run(['sync', 'run', 'Slow']);
    assert.is(sync.code, 5, sync.stderr);
    signal('SIGCONT');
    await arrives('meanwhile', slow);
    await until(async () => (await states()) === 'Good: active; Slow: active' || (await states()), SOON);
    await pause(AT_REST);
    signal('SIGSTOP');
    await until(async () => (await states()).includes('does not answer') || (await states()), SOON);
    const asked = Date.now();
    await tandem('daemon', 'stop');
    assert.is(await ended, 0);
    assert.ok(Date.now() - asked < 10_000, 'it ends although the drive is silent');
  } finally {
    signal('SIGCONT');
    daemon.kill('SIGKILL');
    await ended;
    box.cleanup();
  }
});
