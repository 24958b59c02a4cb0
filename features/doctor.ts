/**
 * Checks of the machine, of tandem's own files and of the drives that are connected: what is there, what is missing, what
 * that means, and how to mend it. It writes nothing, neither on the drives nor in the settings nor in the database (with
 * `--repair` it moves a damaged one aside); a database of an older version is reported, not brought up to date.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { devNull } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type Check, fail, failed, ok, sentence, warn } from '../shared/checks.ts';
import type { Context } from '../shared/context.ts';
import { moveDatabaseAside } from '../shared/db.ts';
import { EXIT, errnoOf, messageOf } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  runIfMain,
  type Style,
} from '../shared/feature.ts';
import { formatAge, formatBytes, formatCount, plural } from '../shared/format.ts';
import { type Group, ROLES, type Role } from '../shared/groups-file.ts';
import { lockHolder } from '../shared/lock.ts';
import { foldText, quote } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import { findVersion } from '../shared/scan.ts';
import { MIGRATIONS } from '../shared/schema.ts';
import { loadSettings } from '../shared/settings.ts';
import { closeFolder, type Dir, hasNative, openFolder, openRoot, statAt } from '../shared/syscalls.ts';
import { type DriveInfo, listDrives, readSignature } from './detect.ts';
import { listGroups } from './groups.ts';
import { listOperations } from './history.ts';
import { projectChecks } from './orphans.ts';
import { matchPair, ROLE_NAME } from './pairs.ts';
import { ringChecks } from './rings.ts';

export type { Check } from '../shared/checks.ts';

/** Runs every check; nothing is written, and no check throws: what cannot be looked at is itself a finding. */
export async function runChecks(ctx: Context): Promise<Check[]> {
  // Settings and groups, once checked, are remembered in the data folder; here they must not be, since nothing is written.
  const reading: Context = { ...ctx, dataDir: devNull, settings: () => loadSettings(ctx.configDir) };
  const settings = attempt('settings', () => settingsCheck(reading));
  const { check: groupsCheck, groups } = readGroups(reading);
  const folder = dataFolderCheck(ctx);
  return [
    ...(await machineChecks(ctx)),
    settings,
    groupsCheck,
    folder,
    ...(await databaseChecks(folder.status === 'ok', ctx)),
    ...(settings.status === 'fail' ? [] : await driveChecks(groups, reading)),
    ...(settings.status === 'fail' ? [] : await ringChecks(groups, reading, ctx.dataDir)),
    ...(settings.status === 'fail' ? [] : await projectChecks(groups, reading)),
  ];
}

// --- internal ---

/** A check that cannot be carried out has failed. */
function attempt(name: string, check: () => Check): Check {
  try {
    return check();
  } catch (error) {
    return failed(name, error);
  }
}

// The machine.

async function machineChecks(ctx: Context): Promise<Check[]> {
  const checks = [nodeCheck(process.versions.node), nativeCheck(ctx)];
  if (ctx.platform === 'linux') {
    checks.push(
      ...(await Promise.all(TOOLS.map((tool) => toolCheck(tool, ctx)))),
      findCheck(),
      attempt('inotify', inotifyCheck),
    );
  }
  return [...checks, clockCheck(ctx.now())];
}

function nodeCheck(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('node', `Node ${version} runs tandem.`);
  return fail('node', `Node ${version} is too old.`, 'Install Node 20.19 or a later version.');
}

function nativeCheck(ctx: Context): Check {
  if (hasNative())
    return ok('native calls', 'System calls beyond those of Node are there (exact times, exchange of two files).');
  const why =
    'System calls beyond those of Node are missing: times are kept to 2 µs, and a replaced file takes two steps.';
  const linux = ctx.platform === 'linux';
  const hint = linux ? 'Run `npm ci` again, so that the package koffi is complete.' : 'tandem works without them.';
  return warn('native calls', why, hint);
}

interface Tool {
  name: string;
  gives: string;
  without: string;
  hint: string;
}

const TOOLS: readonly Tool[] = [
  {
    name: 'lsblk',
    gives: 'labels, serial numbers and transports of drives are read',
    without: 'serial numbers and transports of drives stay unknown',
    hint: 'Install the package util-linux.',
  },
  {
    name: 'findmnt',
    gives: 'drives are noticed at the moment they are mounted',
    without: 'drives are noticed a second later',
    hint: 'Install the package util-linux.',
  },
  {
    name: 'udisksctl',
    gives: 'drives are ejected without root rights and powered down',
    without: 'ejecting a drive takes root rights, and the disk is not powered down',
    hint: 'Install the package udisks2, or eject in the file manager.',
  },
];

async function toolCheck({ name, gives, without, hint }: Tool, ctx: Context): Promise<Check> {
  try {
    await ctx.exec(name, ['--version']);
    return ok(name, `${name} is here: ${gives}.`);
  } catch (error) {
    return warn(name, `${name} cannot be run (${errnoOf(error) ?? messageOf(error)}): ${without}.`, hint);
  }
}

function findCheck(): Check {
  const version = findVersion();
  if (version !== undefined) return ok('find', `GNU find ${version} lists large trees fast.`);
  return warn('find', 'GNU find is missing: trees are listed by a slower way.', 'Install the package findutils.');
}

/** A watch takes one for each folder. */
const ENOUGH_WATCHES = 65_536;

function inotifyCheck(): Check {
  const limit = (name: string): number => Number(readFileSync(`/proc/sys/fs/inotify/${name}`, 'utf8'));
  const [watches, instances] = [limit('max_user_watches'), limit('max_user_instances')];
  const text = `inotify allows ${formatCount(watches)} watches and ${formatCount(instances)} instances`;
  if (watches >= ENOUGH_WATCHES && instances >= 64) return ok('inotify', `${text}.`);
  const hint =
    'Set fs.inotify.max_user_watches=524288 and fs.inotify.max_user_instances=512 in /etc/sysctl.d/ and run `sysctl --system`.';
  return warn('inotify', `${text}: too few to watch a large tree.`, hint);
}

const CLOCK = 'Set the clock (on Linux: `timedatectl set-ntp true`); versions are pruned and backups are dated by it.';

function clockCheck(now: Date): Check {
  if (now.getTime() >= Date.UTC(2025, 0, 1))
    return ok('clock', `The clock says ${now.toISOString().slice(0, 16)} UTC.`);
  return fail('clock', `The clock says ${now.toISOString().slice(0, 16)} UTC, which is in the past.`, CLOCK);
}

// tandem's own files.

function settingsCheck(ctx: Context): Check {
  const { virtualDrives } = ctx.settings();
  const own = join(ctx.configDir, 'app.yaml');
  const virtual = virtualDrives.length > 0 ? ` and names ${plural(virtualDrives.length, 'virtual drive')}` : '';
  if (existsSync(own)) return ok('settings', `${displayPath(own)} is in order${virtual}.`);
  return ok('settings', `There is no ${displayPath(own)}: the defaults hold.`);
}

function readGroups(ctx: Context): { check: Check; groups: Group[] } {
  try {
    const groups = listGroups(ctx);
    const path = displayPath(ctx.settings().storageGroupsFile);
    if (groups.length > 0)
      return { check: ok('groups', `${path} is in order: ${plural(groups.length, 'group')}.`), groups };
    return {
      check: warn('groups', 'There is no group yet.', 'Connect two drives and run `tandem groups create`.'),
      groups,
    };
  } catch (error) {
    return { check: failed('groups', error), groups: [] };
  }
}

function dataFolderCheck({ dataDir }: Context): Check {
  let place = dataDir;
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
  try {
    if (!statSync(place).isDirectory()) throw new Error('it is not a folder');
    accessSync(place, constants.W_OK | constants.X_OK);
  } catch (error) {
    const why = errnoOf(error) ?? messageOf(error);
    return fail(
      'data folder',
      `${displayPath(dataDir)} cannot be written to (${why}).`,
      'Make it writable for you, or give --data another folder; without it no run can be recorded.',
    );
  }
  const made = place === dataDir ? 'can be written to' : 'will be made by the first run';
  return ok('data folder', `${displayPath(dataDir)} ${made}.`);
}

const REBUILD =
  'Run `tandem doctor --repair`: it moves the file aside, and the next sync rebuilds the baseline from the drives. Only the history is lost.';

/** Moves a damaged database aside; one that is sound, newer or cannot be looked at stays where it is. */
async function repair(ctx: Context): Promise<void> {
  const [found] = await databaseChecks(true, ctx);
  if (found?.hint !== REBUILD) return;
  await ctx.close();
  const aside = moveDatabaseAside(join(ctx.dataDir, 'tandem.db'), ctx.now());
  ctx.emit({ kind: 'note', message: `The damaged database is kept as ${displayPath(aside)}.` });
}

/** The database is opened only when its version is the present one: opening an older one would change it. */
async function databaseChecks(writable: boolean, ctx: Context): Promise<Check[]> {
  const path = join(ctx.dataDir, 'tandem.db');
  const name = 'database';
  const shown = displayPath(path);
  try {
    const version = schemaVersion(path);
    if (version === undefined) return [ok(name, 'There is no database yet; the first run makes it.')];
    if (version === 'broken') return [fail(name, `${shown} is not a database.`, REBUILD)];
    if (version > MIGRATIONS.length) {
      const message = `${shown} was written by a newer tandem (schema ${version}, this one knows ${MIGRATIONS.length}).`;
      return [fail(name, message, 'Update tandem; the file was not touched.')];
    }
    if (version < MIGRATIONS.length && !existsSync(`${path}-wal`)) {
      const hint = 'Nothing to do: the next command that uses it brings it up to date.';
      return [
        warn(
          name,
          `${shown} is of an older version (schema ${version} of ${MIGRATIONS.length}) and was not checked.`,
          hint,
        ),
      ];
    }
    if (!writable) return [warn(name, `${shown} was not checked.`, 'Make its folder writable first.')];
    const db = await ctx.dbIfExists();
    const rows = (await db?.all<{ quick_check: string }>('PRAGMA quick_check(3)')) ?? [];
    const said = rows.map((row) => row.quick_check);
    if (said.join() !== 'ok') return [fail(name, `${shown} is damaged: ${displayPath(said.join('; '))}.`, REBUILD)];
    return [ok(name, `${shown} is sound (schema ${version}).`), await journalCheck(ctx)];
  } catch (error) {
    const code = errnoOf(error) ?? errnoOf((error as Error).cause);
    const damaged = code === 'SQLITE_CORRUPT' || code === 'SQLITE_NOTADB';
    const hint = damaged ? REBUILD : 'Check its permissions and whether another program holds it; then try again.';
    return [fail(name, sentence(displayPath(messageOf(error))), hint)];
  }
}

/** `user_version` from the file's header (SQLite file format, offset 60), read without opening the database. */
function schemaVersion(path: string): number | 'broken' | undefined {
  if (!existsSync(path)) return undefined;
  const header = Buffer.alloc(100);
  const fd = openSync(path, 'r');
  try {
    const length = readSync(fd, header, 0, header.length, 0);
    if (length === 0) return 0;
    return header.toString('latin1', 0, 16) === 'SQLite format 3\0' ? header.readUInt32BE(60) : 'broken';
  } finally {
    closeSync(fd);
  }
}

/** Allows for clocks that are set back a little, as time servers do. */
const CLOCK_SLACK = 60_000;

async function journalCheck(ctx: Context): Promise<Check> {
  const [newest] = await listOperations({ limit: 1 }, ctx);
  if (!newest) return ok('journal', 'No run is recorded yet.');
  const at = new Date(newest.end_time ?? newest.start_time);
  const now = ctx.now();
  if (at.getTime() <= now.getTime() + CLOCK_SLACK)
    return ok('journal', `The newest recorded run was ${formatAge(at, now)}.`);
  return warn(
    'journal',
    `The newest recorded run (${at.toISOString().slice(0, 16)} UTC) lies in the future: this clock is behind, or was ahead then.`,
    CLOCK,
  );
}

// The drives.

async function driveChecks(groups: readonly Group[], ctx: Context): Promise<Check[]> {
  const heard: Check[] = [];
  const hint = 'Look at that drive; `tandem detect list` shows what is connected.';
  const listening: Context = {
    ...ctx,
    emit: (event) => {
      if (event.kind === 'warning') heard.push(warn('drives', sentence(displayPath(event.message)), hint));
    },
  };
  let drives: DriveInfo[];
  try {
    drives = await listDrives(listening);
  } catch (error) {
    return [failed('drives', error)];
  }
  const names = drives.map(({ label }) => quote(label)).join(', ');
  const found =
    drives.length > 0
      ? ok('drives', `${plural(drives.length, 'drive')} connected: ${names}.`)
      : warn('drives', 'No drive is connected.', 'Connect the drives that are to be checked.');
  const checks = await Promise.all(groups.map((group) => groupChecks(group, drives, listening)));
  return [found, ...heard, ...checks.flat()];
}

async function groupChecks(group: Group, drives: readonly DriveInfo[], ctx: Context): Promise<Check[]> {
  const { problem, ...pair } = matchPair(group, drives, ctx);
  const checks: Check[] = problem ? [failed(`identity:${group.name}`, problem)] : [];
  for (const role of ROLES) {
    const drive = pair[role];
    if (drive) checks.push(...(await oneDrive({ group, role, drive }, ctx)));
    else if (!problem) checks.push(missingCheck(group, role, drives));
  }
  return checks;
}

/** A drive that is away is no fault; one that is here under its label but lost its signature is. */
function missingCheck(group: Group, role: Role, drives: readonly DriveInfo[]): Check {
  const known = group[`${role}_drive`];
  const name = `signature:${group.name}/${role}`;
  const whose = `${ROLE_NAME[role]} ${quote(known.label)} of ${quote(group.name)}`;
  const alike = drives.find((drive) => foldText(drive.label) === foldText(known.label));
  if (!alike || known.drive_uuid === undefined)
    return warn(
      name,
      `The ${whose} is not connected, and was not checked.`,
      'Connect it and run `tandem doctor` again.',
    );
  const what = alike.drive_uuid === null ? 'carries no readable signature' : 'carries the signature of another drive';
  return fail(
    name,
    `A drive called ${quote(alike.label)} is at ${displayPath(alike.mount_path)}, but ${what}: it is not taken for the ${whose}.`,
    `If it was reformatted or replaced, give it to the group anew: tandem groups edit GROUP --${role} DRIVE. If it is another drive, connect the right one.`,
  );
}

interface Subject {
  group: Group;
  role: Role;
  drive: DriveInfo;
}

async function oneDrive(subject: Subject, ctx: Context): Promise<Check[]> {
  const { group, role, drive } = subject;
  const named = (topic: string): string => `${topic}:${group.name}/${role}`;
  const whose = `${ROLE_NAME[role]} ${quote(drive.label)}`;
  const mount = await mountCheck(named('mount'), whose, drive, ctx);
  return [
    attempt(named('signature'), () => signatureCheck(named('signature'), whose, subject)),
    writableCheck(named('writable'), whose, subject),
    spaceCheck(named('space'), whose, subject),
    ...(mount ? [mount] : []),
    ...errorsCheck(named('filesystem'), whose, drive),
    ...stateChecks(named, whose, subject),
  ];
}

function signatureCheck(name: string, whose: string, { group, role, drive }: Subject): Check {
  const known = group[`${role}_drive`];
  const signature = readSignature(drive.mount_path);
  if (!signature)
    return warn(
      name,
      `${whose} is not signed yet; it was found by its serial number or label.`,
      'The next sync with both drives signs them.',
    );
  const expected = { drive_uuid: known.drive_uuid ?? signature.drive_uuid, group_id: group.id, role };
  const wrong = (['drive_uuid', 'group_id', 'role'] as const).find((field) => signature[field] !== expected[field]);
  if (wrong === undefined) return ok(name, `${whose} is signed for ${quote(group.name)}, and its size is as recorded.`);
  return fail(
    name,
    `The signature of ${whose} does not fit ${quote(group.name)}: its ${wrong} is ${displayPath(signature[wrong])}, expected ${displayPath(expected[wrong])}.`,
    'Do not sync before you know which drive it is; `tandem detect show DRIVE` tells more.',
  );
}

function writableCheck(name: string, whose: string, { role, drive }: Subject): Check {
  const place = displayPath(drive.mount_path);
  if (drive.read_only && role === 'master') return ok(name, `${whose} is read-only, which is enough for a Master.`);
  if (drive.read_only) {
    return fail(
      name,
      `${whose} is read-only at ${place}.`,
      'Unmount it, check its filesystem (a damaged or uncleanly removed one is often mounted so), then mount it writable.',
    );
  }
  try {
    accessSync(drive.mount_path, constants.R_OK | constants.W_OK | constants.X_OK);
    const home = join(drive.mount_path, '.tandem');
    if (existsSync(home)) accessSync(home, constants.R_OK | constants.W_OK | constants.X_OK);
    return ok(name, `${whose} can be written to.`);
  } catch (error) {
    return fail(
      name,
      `You may not write to ${whose} at ${place} (${errnoOf(error) ?? messageOf(error)}).`,
      'Change the owner of its top folder and of .tandem, or mount it for your user.',
    );
  }
}

const LITTLE_SPACE = 1e9;

function spaceCheck(name: string, whose: string, { role, drive }: Subject): Check {
  const { free_size: free, total_size: total } = drive;
  const text = `${whose} has ${formatBytes(free)} of ${formatBytes(total)} free`;
  if (role === 'master' || free >= Math.min(LITTLE_SPACE, total / 20)) return ok(name, `${text}.`);
  return warn(
    name,
    `${text}: the next sync may not fit.`,
    'Older versions lie in .tandem/trash on that drive; or use a larger Backup.',
  );
}

/** Options under which "written" does not mean "on the medium", or that make a run crawl. */
async function mountCheck(name: string, whose: string, drive: DriveInfo, ctx: Context): Promise<Check | undefined> {
  if (ctx.platform !== 'linux') return undefined;
  let text: string;
  try {
    text = (await ctx.exec('findmnt', ['-n', '-o', 'OPTIONS', '-T', drive.mount_path])).stdout;
  } catch {
    return undefined; // The check of findmnt says that it is missing.
  }
  const options = text.trim().split('\n').at(-1)?.split(',') ?? [];
  const unsafe = options.find((option) => /^(nobarrier|barrier=0|data=writeback)$/.test(option));
  if (unsafe)
    return fail(
      name,
      `${whose} is mounted with ${unsafe}: a pulled cable can lose what was reported as written.`,
      `Mount it without ${unsafe}.`,
    );
  const slow = options.find((option) => /^(sync|dirsync)$/.test(option));
  if (slow)
    return warn(
      name,
      `${whose} is mounted with ${slow}, which makes every write slow.`,
      `Mount it without ${slow}: tandem flushes what has to be flushed.`,
    );
  return ok(
    name,
    `${whose} is mounted at ${displayPath(drive.mount_path)} (${displayPath(drive.filesystem)}) with safe options.`,
  );
}

/** ext4 counts the errors that it met; other filesystems keep no such record. */
function errorsCheck(name: string, whose: string, drive: DriveInfo): Check[] {
  if (drive.filesystem !== 'ext4' || drive.virtual) return [];
  try {
    const count = Number(readFileSync(`/sys/fs/ext4/${basename(realpathSync(drive.device))}/errors_count`, 'utf8'));
    if (count === 0) return [ok(name, `The filesystem of ${whose} has recorded no errors.`)];
    return [
      fail(
        name,
        `The filesystem of ${whose} has recorded ${plural(count, 'error')}.`,
        `Unmount it and run \`e2fsck -f ${displayPath(drive.device)}\` before the next sync.`,
      ),
    ];
  } catch {
    return [];
  }
}

/** The lock, and what interrupted runs left. Everything is opened below the drive's root, never through a link. */
function stateChecks(named: (topic: string) => string, whose: string, { drive, group }: Subject): Check[] {
  let root: Dir;
  try {
    root = openRoot(drive.mount_path);
  } catch (error) {
    return [failed(named('lock'), error)];
  }
  try {
    // Reading a pipe in its place would wait for ever.
    if ((statAt(root, '.tandem/lock')?.kind ?? 'f') !== 'f') {
      return [fail(named('lock'), `The lock of ${whose} is not a plain file.`, 'Remove .tandem/lock from that drive.')];
    }
    const holder = lockHolder(root);
    if (holder) {
      const hint = '`tandem status` shows what it does; `tandem sync cancel OPERATION` ends it.';
      return [warn(named('lock'), `${whose} is being written by process ${holder.pid}.`, hint)];
    }
    const left = partialsOf(root);
    const free = ok(named('lock'), `No process is writing to ${whose}.`);
    if (left.length === 0) return [free, ok(named('leftovers'), `No interrupted run left anything on ${whose}.`)];
    const text = `${plural(left.length, 'interrupted run')} left unfinished copies on ${whose}.`;
    return [
      free,
      warn(named('leftovers'), text, `The next sync of ${quote(group.name)} clears them and finishes the work.`),
    ];
  } catch (error) {
    return [failed(named('lock'), error)];
  } finally {
    closeFolder(root);
  }
}

function partialsOf(root: Dir): string[] {
  const open: Dir[] = [];
  try {
    for (const name of ['.tandem', 'partial']) open.push(openFolder(open.at(-1) ?? root, name));
    return readdirSync(open.at(-1)?.path ?? '');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  } finally {
    for (const dir of open) closeFolder(dir);
  }
}

const SIGN = { ok: '✓', warn: '⚠', fail: '✗' } as const;
const STYLE: Record<Check['status'], Style> = { ok: 'good', warn: 'warn', fail: 'bad' };

function doctorText(checks: readonly Check[], paint: Paint): string {
  const lines = checks.flatMap(({ status, message, hint }) => [
    `${paint(STYLE[status], SIGN[status])} ${message}`,
    ...(hint === null ? [] : [paint('dim', `    ${hint}`)]),
  ]);
  const count = (status: Check['status']): number => checks.filter((check) => check.status === status).length;
  const parts = [
    `${formatCount(count('ok'))} in order`,
    plural(count('warn'), 'warning'),
    `${formatCount(count('fail'))} failed`,
  ];
  const worst = count('fail') > 0 ? 'fail' : count('warn') > 0 ? 'warn' : 'ok';
  return [...lines, '', paint(STYLE[worst], `${SIGN[worst]} ${parts.join(', ')}`)].join('\n');
}

const columns: readonly Column<Check>[] = [
  { title: 'Check', value: ({ name }) => displayPath(name) },
  { title: 'Result', value: ({ status }) => `${SIGN[status]} ${status}`, style: ({ status }) => STYLE[status] },
  { title: 'Finding', value: ({ message }) => message },
  { title: 'How to mend it', value: ({ hint }) => hint ?? '', style: () => 'dim' },
];

export const command = defineCommand({
  name: 'doctor',
  summary: 'Check what this machine offers, and say how to mend it',
  single: true,
  verbs: {
    doctor: {
      summary: 'Check machine, settings, database and connected drives',
      examples: ['tandem doctor', 'tandem doctor --json | jq \'.checks[] | select(.status != "ok")\''],
      options: [{ flags: '--repair', description: 'move a damaged database aside; without it, nothing is written' }],
      run: async ({ options }, ctx): Promise<Output> => {
        if (options['repair'] === true) await repair(ctx);
        const checks = await runChecks(ctx);
        return {
          json: { checks },
          text: (paint) => doctorText(checks, paint),
          exitCode: checks.some(({ status }) => status === 'fail') ? EXIT.failed : EXIT.done,
        };
      },
    },
  },
});

export const panel = definePanel<Check>({
  title: 'Doctor',
  rows: runChecks,
  columns,
  empty: 'There is nothing to check.',
  actions: [],
});

runIfMain(import.meta, command);
