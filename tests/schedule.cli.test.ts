/** `tandem schedule` as it is typed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Schedule } from '../features/schedule.ts';
import type { CliResult } from './helpers/cli.ts';
import { withPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('schedule.cli');

test('the command line: add, list, next, now, pause, resume, remove; what is wrong exits 2', () =>
  withPair({ master: { 'Wedding/a.txt': 'a', 'b.txt': 'b' } }, async ({ box, backup }) => {
    const good = async (...words: string[]): Promise<CliResult> => {
      const done = await box.run(['schedule', ...words]);
      assert.is(done.code, 0, `${words.join(' ')}: ${done.stderr}`);
      return done;
    };
    assert.match((await good('list')).stdout, /^No schedule yet/);
    await good('add', 'nightly', 'Archive', '--preset', 'daily', '--zone', 'Europe/Berlin');
    await good('add', 'work', 'archive', '--every', '30m', '--path', 'Wedding');
    await good('add', 'plugged', 'Archive', '--on-connect', '--settle', '5s', '--verify', '--eject');
    await good(
      'add',
      'scrub',
      'Archive',
      '--cron',
      '0 9 * * MON#1',
      '--job',
      'verify',
      '--sample',
      '10',
      '--missed',
      'skip',
    );
    const listed = (await good('list', '--json')).json() as Schedule[];
    assert.equal(listed.map(({ schedule_id }) => schedule_id).sort(), ['nightly', 'plugged', 'scrub', 'work']);
    const [plugged] = listed.filter(({ schedule_id }) => schedule_id === 'plugged');
    assert.equal(
      [plugged?.trigger, plugged?.expression, plugged?.next_run, plugged?.eject],
      ['on-connect', '5s', null, 'backup'],
    );
    for (const field of ['schedule_id', 'target', 'trigger', 'job', 'enabled', 'next_run', 'last_run', 'last_status'])
      assert.ok(field in (listed[0] as Schedule), field);
    assert.match((await good('list')).stdout, /nightly +Archive +0 2 \* \* \* \(Europe\/Berlin\) +sync/);
    assert.is(((await good('next', 'nightly', '-n', '3', '--json')).json() as string[]).length, 3);
    const times = (
      await good('next', '--cron', '30 2 29 2 *', '--zone', 'UTC', '-n', '1', '--json')
    ).json() as string[];
    assert.match(times[0] ?? '', /-02-29T02:30:00\.000Z$/);
    assert.match((await good('now', 'work')).stdout, /^Sync of Archive completed: 1 file copied/);
    assert.equal(Object.keys(treeOf(backup)), ['Wedding/', 'Wedding/a.txt']);
    assert.match((await good('pause', 'work')).stdout, /next: paused/);
    assert.is(
      (((await good('list', '--json')).json() as Schedule[]).find((one) => one.schedule_id === 'work') as Schedule)
        .enabled,
      false,
    );
    await good('resume', 'work');
    await good('remove', 'work');
    writeFileSync(join(backup, 'b.txt'), 'other');
    const conflict = await box.run(['schedule', 'now', 'nightly', '--json']);
    assert.is(conflict.code, 3);
    assert.is((conflict.json() as { conflicts_detected: number }).conflicts_detected, 1);
    assert.is(readFileSync(join(backup, 'b.txt'), 'utf8'), 'other');
    const wrong: [words: string[], message: RegExp][] = [
      [['add', 'x', 'Nobody', '--every', '1h'], /No group is called 'Nobody'/],
      [['add', 'x', 'Archive'], /not said when/],
      [['add', 'x', 'Archive', '--every', '1h', '--on-connect'], /--every and --on-connect/],
      [['add', 'x', 'Archive', '--every', 'often'], /--every cannot be read/],
      [['add', 'x', 'Archive', '--cron', '0 2 * * *', '--zone', 'Moon'], /no time zone 'Moon'/],
      [['add', 'x', 'Archive', '--every', '1h', '--zone', 'UTC'], /--zone belongs/],
      [['add', 'x', 'Archive', '--every', '1h', '--settle', '5s'], /--settle belongs/],
      [['add', 'x', 'Archive', '--every', '1h', '--eject'], /--eject needs/],
      [['add', 'x', 'Archive', '--every', '1h', '--job', 'verify', '--sample', '0'], /--sample takes/],
      [['add', 'x', 'Archive', '--preset', 'dayly'], /Allowed are/],
      [['add', 'nightly', 'Archive', '--every', '1h'], /already called 'nightly'/],
      [['add', '../x', 'Archive', '--every', '1h'], /cannot be the id/],
      [['next'], /has to be given/],
      [['now', 'nightli'], /No schedule is called 'nightli'/],
    ];
    for (const [words, message] of wrong) {
      const { code, stderr } = await box.run(['schedule', ...words]);
      assert.is(code, 2, words.join(' '));
      assert.match(stderr, message, words.join(' '));
    }
  }));

test.run();
