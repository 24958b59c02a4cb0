/** What people do with the dashboard, key by key in a terminal, on practice folders and on drives that are pulled. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listOperations } from '../../features/history.ts';
import { addSchedule, listSchedules } from '../../features/schedule.ts';
import { type Sandbox, sandbox } from '../helpers/cli.ts';
import { driveTest } from '../helpers/drives.ts';
import { edit, withPair, withRealPair } from '../helpers/pair.ts';
import { every } from '../helpers/stage.ts';
import { nobodyIn, openTmux, quit, TANDEM, type Tmux } from '../helpers/tmux.ts';

const test = suite('journeys');

async function inTerminal(size: [number, number], box: Sandbox, work: (tmux: Tmux) => Promise<void>): Promise<void> {
  const tmux = openTmux(...size, { TANDEM_CONFIG: box.config, TANDEM_DATA: box.data });
  try {
    tmux.keys(`cd ${box.root} && ${TANDEM}; echo "code $?"`, 'Enter');
    await work(tmux);
  } finally {
    tmux.close();
  }
}

/** The same, and then the dashboard is left, with nothing running any more. */
async function throughout(size: [number, number], box: Sandbox, work: (tmux: Tmux) => Promise<void>): Promise<void> {
  try {
    await inTerminal(size, box, async (tmux) => {
      await work(tmux);
      await quit(tmux);
    });
  } finally {
    await nobodyIn(box.data);
  }
}

/** Any command of the command line. */
async function command(tmux: Tmux, words: string): Promise<void> {
  tmux.keys(':');
  await tmux.shows('Command');
  tmux.type(words);
  await tmux.shows(words);
  tmux.keys('Enter');
}

test('from two folders to an undone run: wizard, first sync, a conflict, history, export, undo', async () => {
  const box = sandbox();
  try {
    edit(box.master, { 'a.txt': 'one' });
    await throughout([120, 35], box, async (tmux) => {
      await tmux.shows('step 1 of 5');
      await tmux.shows('● free');
      tmux.keys('Enter');
      await tmux.shows('[2 Backup]');
      tmux.keys('Enter');
      await tmux.shows('[3 Name]');
      tmux.type('Wedding');
      tmux.keys('Enter', 'Enter');
      await tmux.shows('[4 Preset]');
      tmux.keys('Enter');
      await tmux.shows('Enter makes the group');
      tmux.keys('Enter');
      await tmux.shows(/The group .* is made/);
      tmux.keys('s', '1');
      await tmux.shows('in step');
      edit(box.master, { 'a.txt': 'of the Master', 'new.txt': 'new' });
      edit(box.backup, { 'a.txt': 'of the Backup' });
      tmux.keys('s');
      await tmux.shows('conflicts are waiting');
      await tmux.shows('! 1 conflict');
      assert.is(readFileSync(join(box.backup, 'a.txt'), 'utf8'), 'of the Backup');
      tmux.keys('4');
      await tmux.shows(/▸ +2 .*1 file/);
      tmux.keys('E');
      await tmux.shows('Export the history');
      tmux.keys('C-s');
      await tmux.shows(/export to history-\S+: done/);
      tmux.keys('u');
      await tmux.shows('Yes, undo it');
      assert.ok(existsSync(join(box.backup, 'new.txt')));
      tmux.keys('y');
      await tmux.shows('undo of sync 2: done');
      assert.not.ok(existsSync(join(box.backup, 'new.txt')));
    });
  } finally {
    box.cleanup();
  }
});

/** Slow enough to be held long before it ends, whatever the machine. */
const SLOW = 'sync run Archive --bwlimit 0.5';
const LARGE = 50_000_000;

test('a run is paused, slowed down, outlives a terminal that hangs up, and is let go on from another one', () =>
  withPair({ master: {} }, async ({ box, ctx, master, backup }) => {
    writeFileSync(join(master, 'large.mov'), Buffer.alloc(LARGE, 7));
    await inTerminal([80, 24], box, async (tmux) => {
      await tmux.shows('never synced');
      await command(tmux, SLOW);
      await tmux.shows('Active: sync Archive');
      await tmux.shows('large.mov');
      tmux.keys('p');
      await tmux.shows('p go on');
      tmux.keys('2');
      await tmux.shows(/Run: sync Archive.*go on/);
      tmux.keys('b');
      await tmux.shows('MB per second');
      tmux.type('2.5');
      tmux.keys('C-s');
      await tmux.shows('Archive: 2.5 MB/s');
    });
    const [going] = await listOperations({ status: 'running', limit: 1 }, ctx);
    assert.is(going?.control, 'pause');
    await throughout([120, 35], box, async (tmux) => {
      await tmux.shows('Active: sync Archive');
      await tmux.shows('p go on');
      tmux.keys('q');
      await tmux.shows('Something is running');
      tmux.keys('s', '2');
      await tmux.shows(/Run: sync Archive.*go on/);
      tmux.keys('b');
      await tmux.shows('MB per second');
      tmux.keys('0', 'C-s');
      await tmux.shows('Archive: no limit');
      tmux.keys('1', 'p');
      await tmux.shows('sync: 1 file copied');
      await tmux.shows('in step');
      assert.is(readFileSync(join(backup, 'large.mov')).length, LARGE);
    });
  }));

test('encryption is set up and used, and the password is never on the screen', () =>
  withPair({ master: { 'a.txt': 'one' } }, async ({ box, backup }) => {
    const sent = join(box.root, 'sent');
    await throughout([120, 35], box, async (tmux) => {
      tmux.record(sent);
      await tmux.shows('never synced');
      tmux.keys('6', 'c');
      await tmux.shows('There is no key ring yet');
      tmux.keys('i');
      await tmux.shows('set up');
      tmux.keys('Tab');
      tmux.type('correct horse');
      tmux.keys('Tab');
      tmux.type('correct horse');
      await tmux.shows(/\*{5}|•{5}/);
      tmux.keys('C-s');
      await tmux.shows('Yes, it is on paper');
      tmux.keys('y');
      await tmux.shows('Seal the Backup of Archive from now on?');
      tmux.keys('y');
      await tmux.shows('encryption of Archive: done');
      await tmux.shows(/never +sealed/);
      tmux.keys('1', 's');
      await tmux.shows('The Backup of Archive is sealed.');
      tmux.type('correct horse');
      tmux.keys('C-s');
      await tmux.shows('in step');
      assert.ok(existsSync(join(backup, 'a.txt.encrypted')));
    });
    const everything = readFileSync(sent, 'utf8');
    assert.match(everything, 'Seal the Backup');
    assert.not.match(everything, 'horse');
  }));

/** ESC, a newline, a right-to-left override, an emoji, and letters of two cells. */
const HOSTILE = ['esc\x1b[31m.txt', 'new\nline.txt', 'evil\u202egpj.exe', 'photo 📷.raf', '東京.raf'];

test('names that mean harm, clicks, a storm of sizes, and any command of the command line', () =>
  withPair({ master: Object.fromEntries(HOSTILE.map((name) => [name, name])) }, async ({ box, sync }) => {
    await sync();
    await throughout([120, 35], box, async (tmux) => {
      await tmux.shows('in step');
      tmux.click('2 Run');
      await tmux.shows('esc␛[31m.txt');
      for (const shown of ['new␊line.txt', 'evil�gpj.exe', 'photo ◇.raf', '東京.raf']) await tmux.shows(shown);
      const borders = tmux
        .screen()
        .split('\n')
        .filter((line) => line.startsWith('│'));
      assert.ok(borders.length > 20 && borders.every((line) => line.endsWith('│')), 'every border stands');
      tmux.click('FILE');
      await tmux.shows('FILE↑');
      tmux.click('FILE');
      await tmux.shows('FILE↓');
      for (const [width, height] of [
        [80, 24],
        [200, 60],
        [40, 10],
        [97, 31],
        [80, 24],
        [120, 35],
      ] as const)
        tmux.resize(width, height);
      await tmux.shows('[2 Run]');
      await tmux.shows('FILE↓');
      tmux.keys('1');
      await tmux.shows('Events');
      await command(tmux, 'history list --limit 1');
      await tmux.shows(/1 +sync +Archive +completed +5/);
      tmux.keys('Escape');
      await tmux.hides('history list');
    });
  }));

test('a schedule and a watcher are switched, and a project is assigned to a group', () =>
  withPair({ master: { 'Projects/Wedding/a.txt': '1' } }, async ({ box, ctx }) => {
    await addSchedule({ schedule_id: 'nightly', target: 'Archive', when: every(86_400) }, ctx);
    mkdirSync(join(box.root, 'plain'));
    const made = await box.run(['projects', 'create', 'Wedding', '--path', join(box.root, 'plain')]);
    const watched = await box.run(['watch', 'enable', 'Archive']);
    assert.equal([made.code, watched.code], [0, 0], made.stderr + watched.stderr);
    await throughout([80, 24], box, async (tmux) => {
      await tmux.shows(/The daemon is not running: nothing carries out/);
      tmux.keys('5');
      await tmux.shows('[x]');
      tmux.keys('Space');
      await tmux.shows('[ ]');
      await until(async () => (await listSchedules(ctx))[0]?.enabled === false);
      tmux.keys('Tab', 'Space');
      await tmux.shows('○ paused');
      tmux.keys('u');
      await tmux.hides('○ paused');
      tmux.keys('6', 'Tab');
      await tmux.shows(/Wedding +plain folder/);
      await assign(tmux);
      assert.match((await box.run(['projects', 'show', 'Wedding'])).stdout, 'Projects/Wedding');
    });
  }));

/** What was a plain folder lies on the drives of the group from then on. */
async function assign(tmux: Tmux): Promise<void> {
  tmux.keys('e');
  await tmux.shows('no group: a plain folder');
  tmux.keys('Tab', 'Tab', 'Right');
  await tmux.shows('group Archive');
  tmux.keys('Tab', 'C-u');
  tmux.type('Projects/Wedding');
  tmux.keys('C-s');
  await tmux.shows(/Wedding +Both Connected/);
}

driveTest(
  (name, work) => test(name, work),
  'a drive that is pulled in mid-run is missed on Home, and comes back with the next sync',
  [
    { label: 'PULL-A', fs: 'ext4' },
    { label: 'PULL-B', fs: 'ext4' },
  ],
  (drives) =>
    withRealPair(drives, {}, async ({ box, master }) => {
      const [, backup] = drives;
      for (let take = 0; take < 80; take += 1)
        writeFileSync(join(master, `take-${take}.mov`), Buffer.alloc(300_000, 7));
      await throughout([120, 35], box, async (tmux) => {
        await tmux.shows('never synced');
        await command(tmux, SLOW);
        await tmux.shows('Active: sync Archive');
        await tmux.shows('take-');
        backup?.unplug();
        await tmux.shows(/PULL-B +B +○ away/);
        // It writes into what is left of the mount, and would for as long as the limit makes it.
        tmux.keys('2');
        await tmux.shows('Run: sync Archive');
        tmux.keys('b');
        await tmux.shows('MB per second');
        tmux.keys('0', 'C-s', '1');
        await tmux.shows(/✗ +Archive +sync failed/);
        await tmux.shows("connect 'PULL-B', then");
        backup?.replug();
        await tmux.hides('○ away');
        tmux.keys('Escape');
        await tmux.hides(' · Esc');
        tmux.keys('s');
        await tmux.shows(/sync: \d+ files copied/);
        await tmux.shows('in step');
      });
    }),
);

async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error('It did not happen in time.');
    await pause(50);
  }
}

test.run();
