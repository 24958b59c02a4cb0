/** A film on three groups of real drives: open, sync, a cable pulled, work on the Backup, a conflict, and its end. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type CliResult, type Sandbox, sandbox } from './helpers/cli.ts';
import { type DriveSpec, driveTest, type TestDrive } from './helpers/drives.ts';
import { carriedBy, ROLES } from './helpers/film.ts';
import { edit, versionsOf } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('projects on drives');

const SIX: DriveSpec[] = ROLES.flatMap((role) =>
  ['M', 'B'].map((side) => ({ label: `${role.toUpperCase()}_${side}`, fs: 'ext4', size: 24 * 1024 * 1024 }) as const),
);

interface Set {
  box: Sandbox;
  master(role: string): TestDrive;
  backup(role: string): TestDrive;
  /** Runs `tandem`, and fails unless it ends with this code. */
  tandem(words: string, code?: number): Promise<CliResult>;
}

async function onSet(drives: readonly TestDrive[], work: (set: Set) => Promise<void>): Promise<void> {
  const box = sandbox();
  const of = (role: string, side: string): TestDrive =>
    drives.find(({ label }) => label === `${role.toUpperCase()}_${side}`) as TestDrive;
  const allowed = `drives:\n  allow_fixed: ${JSON.stringify(drives.map(({ mount }) => `${mount}*`))}\n`;
  writeFileSync(join(box.config, 'app.yaml'), allowed);
  const tandem = async (words: string, code = 0): Promise<CliResult> => {
    const result = await box.run(words.split(' '));
    assert.is(result.code, code, `${words}: ${result.stdout}${result.stderr}`);
    return result;
  };
  try {
    for (const role of ROLES)
      await tandem(`groups create ${role}-drives --master ${of(role, 'M').mount} --backup ${of(role, 'B').mount}`);
    const roles = ROLES.map((role) => `--role ${role}=${role}-drives`).join(' ');
    await tandem(`projects create Film --path Film ${roles}`);
    await work({ box, master: (role) => of(role, 'M'), backup: (role) => of(role, 'B'), tandem });
  } finally {
    box.cleanup();
  }
}

driveTest(test, 'open, sync all, one Master unplugged, work on its Backup, replug, conflict, resolved', SIX, (drives) =>
  onSet(drives, async ({ master, backup, tandem }) => {
    for (const role of ROLES) edit(master(role).mount, { [`Film/${role}/one`]: `${role} one` });
    const opened = (await tandem('projects open Film --json')).json() as {
      role: string;
      path: string;
      access: string;
    }[];
    assert.equal(
      opened.map(({ role, path, access }) => [role, path, access]),
      ROLES.map((role) => [role, join(master(role).mount, 'Film', role), 'primary']),
    );
    await tandem('sync run Film');
    master('footage').unplug();
    await tandem('projects open Film --role footage --no-backup', 5);
    const [fallback] = (await tandem('projects open Film --role footage --use-backup --json')).json() as [
      { path: string; drive: string; access: string },
    ];
    assert.equal([fallback.drive, fallback.access], ['backup', 'fallback']);
    assert.is(fallback.path, join(backup('footage').mount, 'Film/footage'));
    edit(backup('footage').mount, { 'Film/footage/one': 'worked on the Backup' });
    edit(master('renders').mount, { 'Film/renders/two': 'rendered meanwhile' });
    await tandem('sync run Film', 4);
    assert.is(readFileSync(join(backup('renders').mount, 'Film/renders/two'), 'utf8'), 'rendered meanwhile');
    master('footage').replug();
    await tandem('sync run Film', 3);
    const waiting = (await tandem('conflicts list Film --json', 3)).json() as { path: string; conflict_type: string }[];
    assert.equal(
      waiting.map(({ path, conflict_type }) => [path, conflict_type]),
      [['Film/footage/one', 'modified_backup']],
    );
    await tandem('conflicts resolve Film one --keep backup');
    for (const role of ROLES)
      assert.equal(treeOf(join(backup(role).mount, 'Film')), treeOf(join(master(role).mount, 'Film')), role);
    assert.equal(versionsOf(master('footage').mount), [['Film/footage/one', 'footage one']]);
    await tandem('sync run Film');
    await tandem('verify run Film --side backup');
    const report = (await tandem('report project Film --json')).json() as { safe_to_format: boolean; files: number };
    assert.equal([report.safe_to_format, report.files], [true, 4]);
    backup('footage').unplug();
    master('footage').unplug();
    const none = await tandem('projects open Film --role footage --use-backup', 5);
    assert.match(none.stderr, /No drives available/);
    assert.match(none.stderr, /Connect the Master/);
  }),
);

driveTest(
  test,
  'a drive with another label at another place is still the same; its clone is refused; two projects share it',
  SIX,
  (drives) =>
    onSet(drives, async ({ box, master, backup, tandem }) => {
      await tandem('projects create Short --path Short --group footage-drives');
      edit(master('footage').mount, { 'Film/footage/one': 'one', 'Short/two': 'two' });
      await tandem('sync run Film Short');
      const { image } = master('footage');
      master('footage').unplug();
      assert.is(spawnSync('e2label', [image, 'RENAMED']).status, 0);
      const elsewhere = `${master('footage').mount}-elsewhere`;
      master('footage').replug(elsewhere);
      const [opened] = (await tandem('projects open Short --json')).json() as [{ path: string; access: string }];
      assert.equal([opened.path, opened.access], [join(elsewhere, 'Short'), 'primary']);
      await tandem('sync run Short');
      const clone = `${image}.clone`;
      const place = join(box.root, 'clone');
      copyFileSync(image, clone);
      mkdirSync(place);
      try {
        assert.is(spawnSync('mount', ['-o', 'loop', clone, place]).status, 0);
        const settings = join(box.config, 'app.yaml');
        writeFileSync(settings, readFileSync(settings, 'utf8').replace('[', `[${JSON.stringify(place)},`));
        for (const words of ['projects open Short', 'sync run Short', 'sync run Film --role footage'])
          assert.match((await tandem(words, 6)).stderr, /clone|two|both/i, words);
      } finally {
        spawnSync('umount', [place]);
        rmdirSync(place);
      }
      await tandem('sync run Short');
      const carried = carriedBy(backup('footage').mount).projects.map(({ name }) => name);
      assert.equal(carried, ['Film', 'Short']);
    }),
);

test.run();
