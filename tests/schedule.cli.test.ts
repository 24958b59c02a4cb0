/** `tandem schedule` as it is typed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { command, listSchedules, type Schedule } from '../features/schedule.ts';
import type { Values, Verb } from '../shared/feature.ts';
import type { CliResult } from './helpers/cli.ts';
import { refusal, withPair } from './helpers/pair.ts';
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
    for (const words of [
      ['add', 'x', 'Archive'],
      ['now', 'nightli'],
    ]) {
      const { code, stderr } = await box.run(['schedule', ...words]);
      assert.is(code, 2, words.join(' '));
      assert.match(stderr, /not said when|No schedule is called 'nightli'/);
    }
  }));

test('what cannot be is refused in a sentence, and nothing is kept of it', () =>
  withPair({}, async ({ ctx }) => {
    const add = (options: Values, id = 'x', target = 'Archive'): Promise<unknown> =>
      (command.verbs['add'] as Verb).run({ args: { id, target }, options }, ctx, () => {});
    await add({ every: 60 }, 'nightly');
    const wrong: [() => Promise<unknown>, RegExp][] = [
      [() => add({ every: 60 }, 'x', 'Nobody'), /No group is called 'Nobody'/],
      [() => add({}), /not said when/],
      [() => add({ every: 60, onConnect: true }), /--every and --on-connect/],
      [() => add({ cron: '0 2 * * *', zone: 'Moon' }), /no time zone 'Moon'/],
      [() => add({ cron: '0 0 31 4 *' }), /impossible/],
      [() => add({ every: 0 }), /1 second to 366 days/],
      [() => add({ every: 60, zone: 'UTC' }), /--zone belongs/],
      [() => add({ every: 60, settle: 5 }), /--settle belongs/],
      [() => add({ every: 60, eject: true }), /--eject needs/],
      [() => add({ every: 60, sample: 5 }), /--sample belongs/],
      [() => add({ every: 60, job: 'verify', sample: 0 }), /--sample takes/],
      [() => add({ every: 60, job: 'verify', sample: Number.NaN }), /--sample takes/],
      [() => add({ every: 60, job: 'verify', verify: true }), /--verify is for syncs/],
      [() => add({ every: 60 }, 'nightly'), /already called 'nightly'/],
      [() => add({ every: 60 }, '../x'), /cannot be the id/],
      [() => add({ every: 60, role: 'footage' }), /--role is for projects/],
      [() => (command.verbs['next'] as Verb).run({ args: {}, options: {} }, ctx, () => {}), /has to be given/],
    ];
    for (const [attempt, message] of wrong) {
      const error = await refusal(attempt());
      assert.match(error.message, message);
      assert.is(error.exitCode, 2, error.message);
    }
    assert.equal(
      (await listSchedules(ctx)).map(({ schedule_id }) => schedule_id),
      ['nightly'],
    );
  }));

test.run();
