/** How the wizard is drawn, and what is known of its answers. */
import type { Column } from '../../shared/feature.ts';
import { formatBytes } from '../../shared/format.ts';
import { type Canvas, dialogBox } from '../canvas.ts';
import { type Line, visibleLine } from '../editor.ts';
import type { PairingFacts } from '../reads/places.ts';
import type { View } from '../screen.ts';
import { drawTable, type TableState, wrap } from '../table.ts';
import type { Tone } from '../theme.ts';
import type { Drive } from './places-rows.ts';
import { nameTrouble } from './places-words.ts';

export const STEPS = ['Master', 'Backup', 'Name', 'Preset', 'Create'] as const;

export interface Answers {
  step: number;
  /** Mount paths; '' while none is chosen. */
  master: string;
  backup: string;
  name: Line;
  description: Line;
  /** Which of the two texts is being typed. */
  typing: 'name' | 'description';
  preset: string;
  table: TableState;
  /** Why creating failed. */
  failed: string;
}

export interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

export function roleOf({ step }: Answers): 'master' | 'backup' {
  return step === 0 ? 'master' : 'backup';
}

export function driveRows(view: View): readonly Drive[] {
  return view.read('status').value?.drives ?? [];
}

export function pairingOf({ master, backup, name }: Answers, view: View): PairingFacts | undefined {
  return view.read('pairing', master, backup, name.text.trim()).value;
}

function labelOf(path: string, view: View): string {
  if (path === '') return '—';
  const drive = driveRows(view).find(({ mount_path }) => mount_path === path);
  return drive ? `${drive.label} at ${path}` : `${path}: not connected any more`;
}

/** Everything that keeps the group from being made. */
export function troubles(answers: Answers, view: View): string[] {
  const { master, backup } = answers;
  const facts = pairingOf(answers, view);
  const gone = [master, backup].filter(
    (path) => path !== '' && !driveRows(view).some((one) => one.mount_path === path),
  );
  const refusals = [facts?.master, facts?.backup, facts?.pair, facts?.name];
  return [
    ...(master === '' ? ['No Master is chosen (step 1).'] : []),
    ...(backup === '' ? ['No Backup is chosen (step 2).'] : []),
    ...Object.values(nameTrouble(answers.name.text, 'group')).map((text) => `${text} (step 3)`),
    ...gone.map((path) => `The drive at ${path} is not connected any more.`),
    ...(facts ? [] : ['Drives and name are still being checked.']),
    ...refusals.flatMap((one) => (one ? [`${one.message} ${one.hint}`.trim()] : [])),
  ].filter((text, index, all) => all.indexOf(text) === index);
}

interface PresetRow {
  name: string;
  sets: string;
}

const NO_PRESET: readonly PresetRow[] = [{ name: '', sets: 'every option has its default' }];
const PRESET_ROWS = new WeakMap<object, readonly PresetRow[]>();

export function presetRows(view: View): readonly PresetRow[] {
  const table = view.read('options').value;
  if (!table) return NO_PRESET;
  const rows = PRESET_ROWS.get(table) ?? [...NO_PRESET, ...table.presets];
  PRESET_ROWS.set(table, rows);
  return rows;
}

export const PRESET_COLUMNS: readonly Column<PresetRow>[] = [
  { title: 'Preset', value: ({ name }) => (name === '' ? 'none' : name) },
  { title: 'Sets', value: ({ sets }) => sets, style: () => 'dim' },
];

export function driveColumns(answers: Answers, view: View): readonly Column<Drive>[] {
  const refused = pairingOf(answers, view)?.refused ?? {};
  const groups = view.read('status').value?.groups ?? [];
  const state = ({ mount_path, group_id, role }: Drive): string => {
    if (mount_path === answers.master) return '✓ Master';
    if (mount_path === answers.backup) return '✓ Backup';
    const group = groups.find(({ id }) => id === group_id);
    if (group) return `✗ ${role === 'master' ? 'M' : 'B'} of ${group.name}`;
    return refused[mount_path] === undefined ? '● free' : '✗ taken';
  };
  return [
    { title: 'Drive', value: ({ label }) => label },
    { title: 'Free/Size', value: (one) => `${formatBytes(one.free_size)} / ${formatBytes(one.total_size)}` },
    { title: 'Where', value: ({ mount_path }) => mount_path, style: () => 'dim' },
    { title: 'State', value: state, style: (one) => (state(one).startsWith('✗') ? 'warn' : 'good') },
  ];
}

export function drawWizard(canvas: Canvas, answers: Answers, view: View): Area {
  const { step } = answers;
  const title = `New group · step ${step + 1} of ${STEPS.length}`;
  const box = dialogBox(canvas, Math.min(canvas.width - 2, 84), Math.min(canvas.height, 21), title, false);
  drawSteps(box, answers);
  const body = box.area(0, 2, box.width, box.height - 2);
  if (step <= 1) return drawDrives(body, answers, view);
  if (step === 3) return drawPresets(body, answers, view);
  if (step === 2) drawName(body, answers, view);
  else drawCheck(body, answers, view);
  return { x: 0, y: 0, width: 0, height: 0 };
}

function drawSteps(box: Canvas, answers: Answers): void {
  const done = [answers.master, answers.backup, answers.name.text.trim(), answers.preset, ''];
  let x = 0;
  STEPS.forEach((name, index) => {
    const here = index === answers.step;
    const sign = done[index] === '' ? ' ' : '✓';
    x = box.put(x, 0, here ? `[${index + 1} ${name}]` : ` ${index + 1} ${name}${sign}`, here ? 'here' : 'tab') + 1;
  });
}

/** Lines at the foot, and how many there are. */
function drawNotes(box: Canvas, notes: readonly (readonly [text: string, tone: Tone])[], most: number): number {
  const lines = notes
    .flatMap(([text, tone]) => wrap(text, box.width).map((line) => [line, tone] as const))
    .slice(0, most);
  lines.forEach(([line, tone], index) => {
    box.put(0, box.height - lines.length + index, line, tone);
  });
  return lines.length;
}

const ASKS = {
  master: 'Which drive do you work on? It becomes the Master.',
  backup: 'Which drive shall hold the copy? It becomes the Backup.',
};

function drawDrives(box: Canvas, answers: Answers, view: View): Area {
  const role = roleOf(answers);
  const { value, error } = view.read('status');
  const rows = driveRows(view);
  const facts = pairingOf(answers, view);
  const chosen = rows[Math.min(answers.table.at, rows.length - 1)];
  const why = chosen && facts?.refused[chosen.mount_path];
  const taken = chosen && chosen.mount_path === answers[role === 'master' ? 'backup' : 'master'];
  const side = facts?.[role];
  const notes: [string, Tone][] = [
    ...(why ? [[why, 'warn'] as [string, Tone]] : []),
    ...(taken && !why ? [['Master and Backup cannot be the same drive.', 'warn'] as [string, Tone]] : []),
    ...(answers[role] !== '' && side ? [[`${side.message} ${side.hint}`, 'bad'] as [string, Tone]] : []),
    ...(rows.length === 1 && role === 'backup'
      ? [['Plug in the second drive: it appears here by itself.', 'dim'] as [string, Tone]]
      : []),
  ];
  const used = drawNotes(box, notes, 4);
  box.put(0, 0, ASKS[role], 'bold');
  const list = box.area(0, 2, box.width, Math.max(2, box.height - 2 - used));
  const empty = value
    ? 'No drive is connected. Plug in both drives: they appear here by themselves. Fixed disks take part when drives.allow_fixed in app.yaml names them; a folder (a NAS mount, a practice folder) with the key a.'
    : (error ?? 'Looking at the drives …');
  drawTable(list, rows, driveColumns(answers, view), answers.table, { focus: true, empty });
  return { x: list.left, y: list.top, width: list.width, height: list.height };
}

function drawName(box: Canvas, answers: Answers, view: View): void {
  box.put(0, 0, 'What is the pair called?', 'bold');
  for (const [index, field] of (['name', 'description'] as const).entries()) {
    const y = 2 + index;
    const here = answers.typing === field;
    box.put(0, y, here ? '▸' : ' ', 'focus');
    box.put(2, y, field === 'name' ? 'Name' : 'Description', here ? 'bold' : 'plain');
    const { text, at } = visibleLine(answers[field], box.width - 20);
    box.put(15, y, '[ ', 'dim');
    box.put(17, y, text);
    box.put(box.width - 2, y, ' ]', 'dim');
    if (here) box.put(17 + at, y, box.cell(17 + at, y).text || ' ', 'plain', true);
  }
  const why = pairingOf(answers, view)?.name;
  const early = answers.name.text === '' ? undefined : nameTrouble(answers.name.text, 'group')['name'];
  const trouble = early ?? (why ? `${why.message} ${why.hint}` : undefined);
  drawNotes(
    box,
    [
      trouble === undefined
        ? ['For example Client-XYZ-2026. The description may stay empty.', 'dim']
        : [trouble, 'bad'],
    ],
    3,
  );
}

function drawPresets(box: Canvas, answers: Answers, view: View): Area {
  box.put(0, 0, 'Options for a kind of drive or work? Each can be changed later.', 'bold');
  const rows = presetRows(view);
  const sets = rows[Math.min(answers.table.at, rows.length - 1)]?.sets ?? '';
  const used = drawNotes(box, [[sets, 'dim']], 3);
  const list = box.area(0, 2, box.width, box.height - 2 - used);
  drawTable(list, rows, PRESET_COLUMNS, answers.table, { focus: true, empty: '' });
  return { x: list.left, y: list.top, width: list.width, height: list.height };
}

function drawCheck(box: Canvas, answers: Answers, view: View): void {
  const wrong = troubles(answers, view);
  const facts = pairingOf(answers, view);
  box.put(
    0,
    0,
    wrong.length === 0 ? 'Enter makes the group. Both drives are signed; no file is touched.' : 'Something is missing:',
    'bold',
  );
  const rows: [string, string][] = [
    ['Master', labelOf(answers.master, view)],
    ['Backup', labelOf(answers.backup, view)],
    ['Name', answers.name.text.trim() || '—'],
    ['Description', answers.description.text.trim() || '—'],
    ['Preset', answers.preset || 'none'],
  ];
  rows.forEach(([name, text], index) => {
    box.put(0, 2 + index, name.padEnd(13), 'dim');
    box.put(13, 2 + index, text);
  });
  const notes: [string, Tone][] = [
    ...wrong.map((text): [string, Tone] => [`✗ ${text}`, 'bad']),
    ...(facts?.warnings ?? []).map((text): [string, Tone] => [`! ${text}`, 'warn']),
    ...(answers.failed === '' ? [] : [[`✗ ${answers.failed}`, 'bad'] as [string, Tone]]),
  ];
  drawNotes(box, notes, Math.max(1, box.height - 8));
}
