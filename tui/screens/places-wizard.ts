/**
 * The wizard that makes a group: Master, Backup, name, preset, then the first sync. Each step can be passed over and taken
 * back; what `groups create` would refuse is told by the reader while one chooses, and drives appear as they are plugged in.
 */
import type { Column } from '../../shared/feature.ts';
import { ask } from '../dialogs.ts';
import { editLine, lineOf } from '../editor.ts';
import type { InputEvent } from '../input.ts';
import type { Command, Effect, Overlay, View } from '../screen.ts';
import { emptyTable, tableKey, tableMouse } from '../table.ts';
import { want } from '../wants.ts';
import { addDriveForm } from './places-drive.ts';
import {
  type Answers,
  type Area,
  drawWizard,
  driveColumns,
  driveRows,
  PRESET_COLUMNS,
  pairingOf,
  presetRows,
  roleOf,
  STEPS,
  troubles,
} from './places-wizard-draw.ts';
import { look } from './places-words.ts';

const EMPTY: Answers = {
  step: 0,
  master: '',
  backup: '',
  name: lineOf(''),
  description: lineOf(''),
  typing: 'name',
  preset: '',
  table: emptyTable,
  failed: '',
};

export function groupWizard(): Overlay {
  return wizard(EMPTY);
}

// --- internal ---

type Reply = ReturnType<Overlay['input']>;

function wizard(answers: Answers): Overlay {
  let area: Area = { x: 0, y: 0, width: 0, height: 0 };
  const overlay: Overlay = {
    hints: `${HINTS[answers.step] ?? ''}   Tab next   Shift-Tab back   Esc leave`,
    wants: [want('status'), want('options'), want('pairing', answers.master, answers.backup, answers.name.text.trim())],
    failed: (reason) => wizard({ ...answers, failed: reason }),
    draw: (canvas, view) => {
      area = drawWizard(canvas, answers, view);
    },
    input: (event, view) => {
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'esc') return { overlay: null };
      const to = (more: Partial<Answers>): Reply => ({ overlay: wizard({ ...answers, failed: '', ...more }) });
      const step = (by: number): Reply => {
        const next = Math.max(0, Math.min(STEPS.length - 1, answers.step + by));
        return to({ step: next, table: emptyTable });
      };
      if (key === 'tab') return step(1);
      if (key === 'S-tab') return step(-1);
      switch (answers.step) {
        case 0:
        case 1:
          return onDrives(event, answers, view, area, to, step);
        case 2:
          return onName(event, answers, to, step);
        case 3:
          return onPreset(event, answers, view, area, to, step);
        default:
          return key === 'enter' || key === 'C-s' ? create(overlay, answers, view) : { overlay };
      }
    },
  };
  return overlay;
}

const HINTS = [
  'Enter choose   a add a folder',
  'Enter choose   a add a folder',
  'Enter next   ↑↓ name, description',
  'Enter choose',
  'Enter create',
];

type To = (more: Partial<Answers>) => Reply;

function onDrives(
  event: InputEvent,
  answers: Answers,
  view: View,
  area: Area,
  to: To,
  step: (by: number) => Reply,
): Reply {
  const rows = driveRows(view);
  const role = roleOf(answers);
  const refused = pairingOf(answers, view)?.refused;
  const take = (at: number): Reply => {
    const drive = rows[at];
    if (!drive) return to({});
    const other = answers[role === 'master' ? 'backup' : 'master'];
    // What stands against it is told below the list; going on with it would only be refused at the end.
    if (refused?.[drive.mount_path] !== undefined || drive.mount_path === other)
      return to({ table: { ...answers.table, at } });
    // The next choice begins at the first drive that could be it.
    const free = rows.findIndex(
      ({ mount_path }) => mount_path !== drive.mount_path && refused?.[mount_path] === undefined,
    );
    const table = { ...emptyTable, at: role === 'master' ? Math.max(0, free) : 0 };
    return to({ [role]: drive.mount_path, step: answers.step + 1, table });
  };
  const key = event.kind === 'key' ? event.name : '';
  if (key === 'delete') return to({ [role]: '' });
  if (key === 'a') {
    const effects: Effect[] = view.readOnly ? [] : [{ kind: 'overlay', overlay: addDriveForm() }];
    return { overlay: wizard(answers), effects };
  }
  return onList(event, { rows, columns: driveColumns(answers, view), area, take }, answers, to, step);
}

function onName(event: InputEvent, answers: Answers, to: To, step: (by: number) => Reply): Reply {
  const { typing } = answers;
  const key = event.kind === 'key' ? event.name : '';
  if (key === 'enter' || key === 'C-s') return typing === 'name' ? to({ typing: 'description' }) : step(1);
  if (key === 'up' || key === 'down') return to({ typing: typing === 'name' ? 'description' : 'name' });
  const line = editLine(answers[typing], event);
  return to(line ? { [typing]: line } : {});
}

function onPreset(
  event: InputEvent,
  answers: Answers,
  view: View,
  area: Area,
  to: To,
  step: (by: number) => Reply,
): Reply {
  const rows = presetRows(view);
  const take = (at: number): Reply => to({ preset: rows[at]?.name ?? '', step: answers.step + 1, table: emptyTable });
  return onList(event, { rows, columns: PRESET_COLUMNS, area, take }, answers, to, step);
}

interface List<T> {
  rows: readonly T[];
  columns: readonly Column<T>[];
  area: Area;
  take(at: number): Reply;
}

/** Enter and a click take a row; a list this short is neither sorted nor filtered. */
function onList<T extends object>(
  event: InputEvent,
  { rows, columns, area, take }: List<T>,
  answers: Answers,
  to: To,
  step: (by: number) => Reply,
): Reply {
  const { table } = answers;
  if (event.kind === 'paste') return to({});
  if (event.kind === 'mouse') {
    const next = tableMouse(table, event, area, rows, columns);
    if (next && event.action === 'click' && event.y > area.y) return take(next.at);
    return to(next ? { table: { ...next, sort: null } } : {});
  }
  if (event.name === 'enter') return take(Math.min(table.at, rows.length - 1));
  if (event.name === 'right') return step(1);
  if (event.name === 'left' || event.name === 'backspace') return step(-1);
  const next = event.name === '/' ? undefined : tableKey(table, event, rows.length, 0);
  return to(next ? { table: next } : {});
}

/** `groups create`, then the preset, then the question about the first sync. */
function create(form: Overlay, answers: Answers, view: View): Reply {
  const { master, backup, preset } = answers;
  if (view.readOnly || troubles(answers, view).length > 0) return { overlay: form };
  const [name, description] = [answers.name.text.trim(), answers.description.text.trim()];
  const words = ['groups', 'create', name, `--master=${master}`, `--backup=${backup}`];
  const command: Command = {
    kind: 'command',
    words: [...words, ...(description === '' ? [] : [`--description=${description}`]), '--json'],
    label: `new group ${name}`,
    form,
    after: ({ lines }) => {
      const id = /"id":\s*"([^"]+)"/.exec(lines.join('\n'))?.[1] ?? name;
      const first: Effect = { kind: 'overlay', overlay: firstSync(id, name) };
      if (preset === '') return [first];
      const set: Command = {
        kind: 'command',
        words: ['groups', 'set', id, '--preset', preset],
        label: `preset of ${name}`,
        undo: { label: `preset of ${name}`, words: ['groups', 'set', id, ...resetsOf(preset, view)] },
        after: () => [first],
      };
      return [set];
    },
  };
  return { overlay: null, effects: [command] };
}

function resetsOf(preset: string, view: View): string[] {
  const sets = view.read('options').value?.presets.find(({ name }) => name === preset)?.sets ?? '';
  return sets.split(' ').map((word) => `${word.slice(0, word.indexOf('='))}=`);
}

function firstSync(id: string, name: string): Overlay {
  return ask({
    title: `The group ${name} is made`,
    lines: [
      'The first sync copies everything on the Master to the Backup. What the Backup holds already is compared and never overwritten unasked.',
    ],
    choices: [
      {
        key: 's',
        label: 'Sync now',
        effects: [{ kind: 'command', words: ['sync', 'run', id], label: `sync of ${name}` }],
      },
      {
        key: 'd',
        label: 'See what it would do',
        help: 'writes nothing',
        effects: [look(['sync', 'run', id, '--dry-run'], `plan of ${name}`)],
      },
      { key: 'l', label: 'Later', effects: [] },
    ],
  });
}
