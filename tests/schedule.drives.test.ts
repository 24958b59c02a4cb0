/** Schedules on real drives that come, are ejected, and come again; and an end in the middle of a large file. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listDrives } from '../features/detect.ts';
import { setGroupOptions } from '../features/groups.ts';
import { addSchedule, type JobEvent, listSchedules, runScheduler } from '../features/schedule.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { driveTest } from './helpers/drives.ts';
import { withPair, withRealPair } from './helpers/pair.ts';

const test = suite('schedule.drives');

async function until(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(50)) if (await done()) return;
  assert.unreachable(what);
}

driveTest(
  test,
  'plugged in: synced, read back, and the Backup unmounted; edited, plugged in again: equal again without a command',
  [
    { label: 'MASTER', fs: 'ext4' },
    { label: 'BACKUP', fs: 'ext4' },
  ],
  (drives) =>
    withRealPair(drives, { master: { 'a.txt': 'a' } }, async ({ context, ctx, master, backup }) => {
      const when = { kind: 'on-connect', settle: 0.5 } as const;
      await addSchedule({ schedule_id: 'plugged', target: 'Archive', when, verify: true, eject: 'backup' }, ctx);
      const stop = new AbortController();
      const events: JobEvent[] = [];
      const running = runScheduler(context({ signal: stop.signal }), {
        notify: () => {},
        report: (event) => events.push(event),
      });
      try {
        for (const round of [1, 2]) {
          await until(() => events.some(({ event }) => event === 'completed'), `round ${round} is synced`);
          const said = events.splice(0).find(({ event }) => event === 'completed')?.message ?? '';
          assert.match(said, /The Backup 'BACKUP' is safe to remove\.$/, said);
          assert.ok(
            (await listDrives(ctx)).every(({ mount_path }) => mount_path !== backup),
            'it is unmounted',
          );
          assert.not.ok(existsSync(join(backup, 'a.txt')));
          writeFileSync(join(master, 'a.txt'), `edited ${round}`);
          await sleep(2500);
          assert.equal(events, [], 'an absent drive is nothing to talk about');
          drives[1]?.replug(backup);
          await until(() => events.some(({ event }) => event === 'started'), 'plugging in starts it');
          await until(() => !existsSync(join(backup, 'a.txt')) || events.length > 1, 'and it ends');
        }
      } finally {
        stop.abort();
        await running;
      }
      drives[1]?.replug(backup);
      assert.is(readFileSync(join(backup, 'a.txt'), 'utf8'), 'edited 2');
    }),
);

test('SIGTERM in the middle of a large file ends within ten seconds; what was copied stays, and the run is owed', () =>
  withPair({}, async ({ box, ctx, master, backup }) => {
    writeFileSync(join(master, 'large.mov'), Buffer.alloc(96 * 1024 * 1024, 7));
    await setGroupOptions('Archive', ['enable_bandwidth_limit=true', 'bandwidth_limit_mbps=4'], undefined, ctx);
    await addSchedule({ schedule_id: 'plugged', target: 'Archive', when: { kind: 'on-connect', settle: 0 } }, ctx);
    const child = spawn(process.execPath, [join(REPOSITORY, 'tui', 'tandem.mjs'), 'schedule', 'run'], {
      env: { ...process.env, TANDEM_CONFIG: box.config, TANDEM_DATA: box.data },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = new Promise<number | null>((done) => child.on('exit', done));
    try {
      await until(async () => (await listSchedules(ctx))[0]?.last_status === 'running', 'it runs');
      await sleep(3000);
      const before = Date.now();
      child.kill('SIGTERM');
      assert.is(await ended, 0);
      assert.ok(Date.now() - before < 10_000, `${Date.now() - before} ms`);
    } finally {
      child.kill('SIGKILL');
    }
    const [schedule] = await listSchedules(ctx);
    assert.ok(schedule?.due !== null, JSON.stringify(schedule));
    assert.not.ok(existsSync(join(backup, 'large.mov')));
    assert.is(statSync(join(master, 'large.mov')).size, 96 * 1024 * 1024);
  }));

test.run();
