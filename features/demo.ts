/**
 * The practice run: tandem's main job on two practice drives in a folder of its own, from naming the drives to the exported
 * history. It goes through the same functions as the commands that it prints, with its own settings and its own journal
 * inside that folder, and it checks each claim by comparing the bytes on both drives. A claim that does not hold ends the
 * run with exit code 1.
 */
import { createCipheriv } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { writeFileAtomic } from '../shared/config.ts';
import { type Context, createContext } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { defineCommand, type Output, type Paint, runIfMain } from '../shared/feature.ts';
import { formatBytes, formatDuration, plural } from '../shared/format.ts';
import { displayPath } from '../shared/paths.ts';
import { addVirtualDrive, findDrive, listDrives } from './detect.ts';
import { createGroup } from './groups.ts';
import { exportHistory, getOperation, panel as historyPanel, operationFiles } from './history.ts';
import { type SyncResult, syncToBackup } from './sync.ts';

export interface DemoOptions {
  /** New or empty; left out, a temporary folder is made. */
  dir?: string | undefined;
  /** Leave the temporary folder where it is. A folder given by `dir` always stays. */
  keep?: boolean | undefined;
}

export interface DemoStep {
  title: string;
  /** What a user would type in the practice folder. */
  command: string;
  /** What the command says with `--json`; null for a command that is not tandem's. */
  result: unknown;
  /** What came out of it, checked on both drives; one sentence each. */
  checked: string[];
}

export interface DemoResult {
  folder: string;
  kept: boolean;
  seconds: number;
  steps: DemoStep[];
}

/**
 * Runs the whole demonstration. Nothing outside its folder is written.
 * @throws TandemError `invalid` for a folder that cannot be used, `failed` when a step does not do what it promises.
 */
export async function runDemo(options: DemoOptions, ctx: Context): Promise<DemoResult> {
  const started = ctx.now().getTime();
  const folder = practiceFolder(options.dir);
  const kept = options.dir !== undefined || options.keep === true;
  const { now, signal, hardSignal, exec, platform } = ctx;
  const own = { configDir: join(folder, 'config'), dataDir: join(folder, 'data') };
  const demo = createContext({ ...own, now, signal, hardSignal, exec, platform });
  const steps: DemoStep[] = [];
  try {
    await playAll({ folder, steps, master: join(folder, MASTER), backup: join(folder, BACKUP), ctx: demo });
  } catch (error) {
    throw failure(error, steps, kept ? folder : undefined, signal);
  } finally {
    await demo.close();
    if (!kept) rmSync(folder, { recursive: true, force: true });
  }
  return { folder, kept, seconds: (ctx.now().getTime() - started) / 1000, steps };
}

// --- internal ---

const MASTER = 'PhotoMaster';
const BACKUP = 'PhotoBackup';
const GROUP = 'Archive';

interface Stage {
  folder: string;
  master: string;
  backup: string;
  steps: DemoStep[];
  ctx: Context;
}

function practiceFolder(dir: string | undefined): string {
  const path = dir === undefined ? join(tmpdir(), 'tandem-demo-') : resolve(dir);
  let names: string[];
  try {
    if (dir === undefined) return realpathSync(mkdtempSync(path));
    mkdirSync(path, { recursive: true });
    names = readdirSync(path);
  } catch (error) {
    throw new TandemError('invalid', `The practice folder ${displayPath(path)} cannot be made: ${messageOf(error)}.`, {
      hint: 'Give --dir a new folder in a place that you may write to.',
      cause: error,
    });
  }
  if (names.length === 0) return realpathSync(path);
  throw new TandemError(
    'invalid',
    `The folder ${displayPath(path)} is not empty: it holds ${plural(names.length, 'entry', 'entries')}.`,
    {
      hint: 'Give --dir a new or an empty folder; nothing was written.',
    },
  );
}

function failure(
  error: unknown,
  steps: readonly DemoStep[],
  folder: string | undefined,
  signal: AbortSignal,
): TandemError {
  const done = steps.length === 0 ? '' : ` after step ${steps.length} (${steps.at(-1)?.command})`;
  if (signal.aborted) {
    const hint = folder === undefined ? 'Its folder was removed.' : `Its folder is ${displayPath(folder)}.`;
    return new TandemError('cancelled', `The demonstration was cancelled${done}.`, { hint });
  }
  const hint =
    folder === undefined ? 'Run it again with --keep and look at the folder.' : `Look at ${displayPath(folder)}.`;
  return new TandemError('failed', `The demonstration failed${done}: ${messageOf(error)}`, {
    hint: `${hint} \`tandem doctor\` checks this machine.`,
    details: { steps, folder: folder ?? null },
    cause: error,
  });
}

/** A claim of the demonstration that does not hold is a failure of tandem, not of the user. */
function claim(holds: boolean, sentence: string): string {
  if (!holds) throw new Error(`this does not hold: ${sentence}.`);
  return sentence;
}

async function playAll(stage: Stage): Promise<void> {
  await pairDrives(stage);
  await firstSync(stage);
  await secondSync(stage);
  await editOneFile(stage);
  await editBothSides(stage);
  await deleteOnMaster(stage);
  await lookBack(stage);
}

async function pairDrives({ folder, master, backup, steps, ctx }: Stage): Promise<void> {
  const { files, bytes } = writePractice(master);
  mkdirSync(backup);
  const title = 'Two practice drives become a pair';
  const has = [`${MASTER} holds ${plural(files, 'file')} of a wedding, ${formatBytes(bytes)}`, `${BACKUP} is empty`];
  for (const [index, label] of [MASTER, BACKUP].entries()) {
    const drive = await addVirtualDrive(ctx, join(folder, label), label);
    steps.push({
      title,
      command: `tandem detect add ${label} --label ${label}`,
      result: drive,
      checked: [has[index] ?? ''],
    });
  }
  const drives = await listDrives(ctx);
  const created = await createGroup(
    { name: GROUP, master: findDrive(MASTER, drives), backup: findDrive(BACKUP, drives) },
    ctx,
  );
  const signed = [master, backup].every((root) => lstatSync(join(root, '.tandem', 'drive.json')).isFile());
  steps.push({
    title,
    command: `tandem groups create ${GROUP} --master ${MASTER} --backup ${BACKUP}`,
    result: created.group,
    checked: [claim(signed, 'both drives carry a signature now, so no other drive is taken for them')],
  });
}

async function firstSync(stage: Stage): Promise<void> {
  const result = await sync(stage);
  const before = treeOf(stage.master);
  const copies = [...before.values()].filter((entry) => !entry.startsWith('folder')).length;
  const film = lstatSync(join(stage.backup, FILM));
  const checked = [
    claim(result.files_copied === copies, `${result.files_copied} copied, ${formatBytes(result.bytes_copied)}`),
    claim(
      differences(stage).length === 0,
      'every byte, name, link, mode and time compared: Master and Backup are equal',
    ),
  ];
  if (isSparse(join(stage.master, FILM))) {
    const room = `the film of ${formatBytes(film.size)} takes ${formatBytes(film.blocks * 512)} on the Backup: holes stay holes`;
    checked.push(claim(isSparse(join(stage.backup, FILM)), room));
  }
  stage.steps.push({ title: 'The first sync copies everything', command: SYNC, result, checked });
}

async function secondSync(stage: Stage): Promise<void> {
  const result = await sync(stage);
  const nothing = result.files_copied === 0 && result.bytes_copied === 0;
  const checked = [claim(nothing, `0 copied, ${result.files_skipped} unchanged`)];
  stage.steps.push({ title: 'The second one finds nothing to do', command: SYNC, result, checked });
}

async function editOneFile(stage: Stage): Promise<void> {
  const { master, backup, steps } = stage;
  const title = 'An edit is copied; the older version is kept';
  const former = readFileSync(join(backup, SIDECAR));
  appendFileSync(join(master, SIDECAR), '<!-- five stars -->\n');
  steps.push({ title, command: `echo '<!-- five stars -->' >> '${MASTER}/${SIDECAR}'`, result: null, checked: [] });
  const result = await sync(stage);
  const version = join('.tandem', 'trash', result.operation_id, SIDECAR);
  const checked = [
    claim(
      result.files_copied === 1 && differences(stage).length === 0,
      `1 copied, ${result.files_skipped} unchanged; Master and Backup are equal`,
    ),
    claim(readFileSync(join(backup, version)).equals(former), `the older version is ${BACKUP}/${version}`),
  ];
  steps.push({ title, command: SYNC, result, checked });
}

async function editBothSides(stage: Stage): Promise<void> {
  const { master, backup, steps, ctx } = stage;
  const title = 'Edited on both drives: a conflict, left untouched';
  const texts = { master: 'Ceremony at 14:00\n', backup: 'Ceremony at 15:00\n' };
  for (const [label, root, text] of [
    [MASTER, master, texts.master],
    [BACKUP, backup, texts.backup],
  ] as const) {
    appendFileSync(join(root, NOTES), text);
    steps.push({ title, command: `echo '${text.trim()}' >> ${label}/${NOTES}`, result: null, checked: [] });
  }
  const result = await sync(stage);
  const found = await conflictsOf(result, ctx);
  const untouched =
    readFileSync(join(master, NOTES), 'utf8').endsWith(texts.master) &&
    readFileSync(join(backup, NOTES), 'utf8').endsWith(texts.backup);
  const checked = [
    claim(found.length === 1 && found[0]?.path === NOTES, `1 conflict: ${NOTES} (${found[0]?.message ?? ''})`),
    claim(untouched && result.files_copied === 0, 'both drives keep their own text until you decide'),
  ];
  steps.push({ title, command: SYNC, result, checked });
  writeFileSync(join(backup, NOTES), readFileSync(join(master, NOTES)));
  steps.push({ title, command: `cp ${MASTER}/${NOTES} ${BACKUP}/${NOTES}`, result: null, checked: [] });
  const agreed = await sync(stage);
  steps.push({
    title,
    command: SYNC,
    result: agreed,
    checked: [claim(agreed.conflicts_detected === 0, 'you decided for the Master: 0 conflicts')],
  });
}

async function deleteOnMaster(stage: Stage): Promise<void> {
  const { master, backup, steps, ctx } = stage;
  const title = 'Deleted on the Master: kept until you say so, and then still in the trash';
  const content = readFileSync(join(master, REJECT));
  rmSync(join(master, REJECT));
  steps.push({ title, command: `rm '${MASTER}/${REJECT}'`, result: null, checked: [] });
  const asking = await sync(stage);
  const [conflict] = await conflictsOf(asking, ctx);
  const asks = conflict?.path === REJECT && readFileSync(join(backup, REJECT)).equals(content);
  steps.push({
    title,
    command: SYNC,
    result: asking,
    checked: [claim(asks, `1 conflict (${conflict?.message ?? ''}); the Backup still has it`)],
  });
  const result = await sync(stage, true);
  const version = join('.tandem', 'trash', result.operation_id, REJECT);
  const gone = result.files_deleted === 1 && differences(stage).length === 0;
  const checked = [
    claim(gone, '1 moved to the trash; Master and Backup are equal'),
    claim(readFileSync(join(backup, version)).equals(content), `it is ${BACKUP}/${version}`),
  ];
  steps.push({ title, command: `${SYNC} --delete`, result, checked });
}

async function lookBack({ folder, steps, ctx }: Stage): Promise<void> {
  const title = 'Every run is on record';
  const operations = await historyPanel.rows(ctx);
  const complete = operations.every(({ status }) => status === 'completed');
  const listed = claim(complete, `${plural(operations.length, 'operation')}, all completed`);
  steps.push({ title, command: 'tandem history list', result: operations, checked: [listed] });
  const text = await exportHistory('csv', { limit: 'all' }, ctx);
  const path = join(folder, 'history.csv');
  writeFileAtomic(path, text);
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n').length - 1;
  const exported = claim(lines === operations.length, `history.csv has ${plural(lines, 'row')}`);
  steps.push({
    title,
    command: 'tandem history export --format csv --out history.csv',
    result: { format: 'csv', path },
    checked: [exported],
  });
}

const SYNC = `tandem sync run ${GROUP}`;

async function sync({ ctx }: Stage, deletes = false): Promise<SyncResult> {
  const result = await syncToBackup(GROUP, deletes ? { options: { on_master_delete: 'trash' } } : {}, ctx);
  const trouble = result.problems.map(({ path, message }) => `${displayPath(path)}: ${message}`).join('; ');
  claim(
    result.status === 'completed' && trouble === '',
    `the sync is completed without trouble (${result.status}) ${trouble}`,
  );
  return result;
}

async function conflictsOf(result: SyncResult, ctx: Context): Promise<{ path: string; message: string }[]> {
  const files = await operationFiles((await getOperation(result.operation_id, ctx)).id, ctx);
  const found = files.filter(({ status }) => status === 'conflict');
  claim(found.length === result.conflicts_detected, `${result.conflicts_detected} conflicts are on record`);
  return found.map(({ path, message = '' }) => ({ path, message }));
}

// The practice media. Contents and times are the same in every run.

const DAY = '2026-05 Müller';
const FILM = `${DAY}/Film/Ceremony.MOV`;
const SIDECAR = `${DAY}/RAW/IMG_0102.xmp`;
const REJECT = `${DAY}/JPG/IMG_0106.JPG`;
const NOTES = 'notes.txt';
const FILM_SIZE = 16 * 1024 * 1024;

function writePractice(root: string): { files: number; bytes: number } {
  const contents = new Map<string, string | Buffer>([[NOTES, 'Delivery: 60 pictures, one film\n']]);
  for (let shot = 101; shot <= 106; shot += 1) {
    contents.set(`${DAY}/RAW/IMG_0${shot}.CR3`, noise(shot, 420_000 + 7919 * shot));
    contents.set(`${DAY}/RAW/IMG_0${shot}.xmp`, sidecar(shot));
    contents.set(`${DAY}/JPG/IMG_0${shot}.JPG`, noise(shot + 1000, 90_000 + 1031 * shot));
  }
  contents.set('2026-06 東京/東京タワー_0001.JPG', noise(1, 240_000));
  for (const [path, content] of contents) writeInto(root, path, content);
  writeFilm(join(root, FILM));
  mkdirSync(join(root, 'Exports'));
  symlinkSync(join(DAY, 'JPG'), join(root, 'Latest'));
  const paths = [...contents.keys(), FILM, 'Latest'];
  for (const [index, path] of paths.entries()) {
    const time = Date.UTC(2026, 4, 16, 12, 0, index * 13) / 1000;
    lutimesSync(join(root, path), time, time);
  }
  return { files: paths.length, bytes: paths.reduce((sum, path) => sum + lstatSync(join(root, path)).size, 0) };
}

function writeInto(root: string, path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

/** Two megabytes of picture in a file with holes, as cameras leave that allocate ahead. */
function writeFilm(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const fd = openSync(path, 'wx');
  try {
    writeSync(fd, noise(7, 1024 * 1024), 0, 1024 * 1024, 0);
    writeSync(fd, noise(8, 1024 * 1024), 0, 1024 * 1024, FILM_SIZE / 2);
    ftruncateSync(fd, FILM_SIZE);
  } finally {
    closeSync(fd);
  }
}

/** Bytes that do not compress, the same for the same seed. */
function noise(seed: number, length: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));
}

function sidecar(shot: number): string {
  return `<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- IMG_0${shot}.CR3 --><Rating>3</Rating></x:xmpmeta>\n`;
}

/** What each path is: kind, mode, time, content. `.tandem/` at the top is left out. */
function treeOf(root: string, folder = ''): Map<string, string> {
  const tree = new Map<string, string>();
  for (const name of readdirSync(join(root, folder)).sort()) {
    const path = folder === '' ? name : `${folder}/${name}`;
    if (path === '.tandem') continue;
    const full = join(root, path);
    const stat = lstatSync(full);
    const facts = `${stat.mode.toString(8)} ${Math.floor(stat.mtimeMs)}`;
    if (stat.isSymbolicLink()) tree.set(path, `link ${facts} ${readlinkSync(full)}`);
    else if (!stat.isDirectory()) tree.set(path, `file ${facts} ${readFileSync(full).toString('latin1')}`);
    else {
      tree.set(path, `folder ${facts}`);
      for (const [below, entry] of treeOf(root, path)) tree.set(below, entry);
    }
  }
  return tree;
}

function differences({ master, backup }: Stage): string[] {
  const [one, other] = [treeOf(master), treeOf(backup)];
  return [...new Set([...one.keys(), ...other.keys()])].filter((path) => one.get(path) !== other.get(path));
}

function isSparse(path: string): boolean {
  const { blocks, size } = lstatSync(path);
  return blocks * 512 < size;
}

function stepLines(steps: readonly DemoStep[], paint: Paint): string[] {
  const titles = [...new Set(steps.map(({ title }) => title))];
  return titles.flatMap((title, index) => [
    paint('bold', `${index + 1}. ${title}`),
    ...steps
      .filter((step) => step.title === title)
      .flatMap(({ command: typed, checked }) => [
        `   ${paint('dim', '$')} ${displayPath(typed)}`,
        ...checked.map((text) => `   ${paint('good', '✓')} ${displayPath(text)}`),
      ]),
  ]);
}

function demoText(result: DemoResult, paint: Paint): string {
  const { folder, kept, seconds, steps } = result;
  const word = shellWord(folder);
  const after = kept
    ? [
        'The practice drives are kept; go on with them:',
        `   $ cd ${word}; export TANDEM_CONFIG=$PWD/config TANDEM_DATA=$PWD/data`,
      ]
    : ['The practice folder is removed again; `tandem demo --keep` leaves it for you to play with.'];
  return [
    `tandem on two practice drives, in ${displayPath(folder)}; nothing outside of it is touched.`,
    '',
    ...stepLines(steps, paint),
    '',
    `${paint('good', '✓ All of it checked')} in ${formatDuration(seconds)}.`,
    ...after,
    'With your own drives: connect two, then `tandem detect list` and `tandem groups create`.',
  ].join('\n');
}

/** For a path that is pasted into a shell. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${displayPath(text).replaceAll("'", "'\\''")}'`;
}

export const command = defineCommand({
  name: 'demo',
  summary: 'The whole job on two practice drives, nothing of yours touched',
  single: true,
  verbs: {
    demo: {
      summary: 'The whole job on two practice drives, nothing of yours touched',
      examples: ['tandem demo', 'tandem demo --keep', 'tandem demo --dir ~/practice'],
      options: [
        { flags: '--dir <dir>', description: 'a new or empty folder for it, which stays', complete: 'path' },
        { flags: '--keep', description: 'do not remove the temporary folder' },
      ],
      run: async ({ options }, ctx): Promise<Output> => {
        const result = await runDemo({ dir: options['dir'], keep: options['keep'] }, ctx);
        return { json: result, text: (paint) => demoText(result, paint) };
      },
    },
  },
});

runIfMain(import.meta, command);
