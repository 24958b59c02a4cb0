/** Draws the screen of settings: a line for each, and below them what the selected one means. Pure. */
import { showSetting } from '../../shared/setting-specs.ts';
import { type Canvas, drawScrollbar } from '../canvas.ts';
import { visibleLine } from '../editor.ts';
import { fit } from '../sanitize.ts';
import type { View } from '../screen.ts';
import { wrap } from '../table.ts';
import type { Tone } from '../theme.ts';
import {
  checkedOf,
  type Entry,
  entriesOf,
  moved,
  rowText,
  type SettingsState,
  unsavedOf,
  valueText,
} from './settings-rows.ts';

export type SettingsScreenView = View<SettingsState>;

export function drawSettings(canvas: Canvas, view: SettingsScreenView): SettingsState {
  const { value, error } = view.read('settings');
  const entries = entriesOf(value);
  const drafts = unsavedOf(view.state.drafts, value?.settings ?? []);
  const count = Object.keys(drafts).length;
  const right = count > 0 ? `* ${count} unsaved` : 'Ctrl-S save';
  const box = canvas.box({ title: `Settings · ${value?.path ?? ''}`, right, focus: true });
  if (!value) {
    const mend = error ? ['', 'Mend the file; until then what it said before counts where it is known.'] : [];
    [...wrap(error ?? 'Reading the settings …', box.width), ...mend].forEach((line, y) => {
      box.put(0, y, line, error ? 'bad' : 'dim');
    });
    return view.state;
  }
  const room = Math.max(1, box.height - NOTES - 1);
  const at = moved(entries, Math.min(view.state.at, entries.length - 1), 0);
  const top = Math.max(0, Math.min(view.state.top, at - 1, entries.length - room), at - room + 1);
  const state: SettingsState = {
    ...view.state,
    at,
    top,
    drafts,
    area: { x: 2, y: 1, width: box.width, height: room },
  };
  const wrong = mistakesOf(view, state);
  const list = box.area(0, 0, box.width, room);
  entries.slice(top, top + room).forEach((entry, y) => {
    drawEntry(list.area(0, y, list.width - 2, 1), entry, top + y === at, state, wrong);
  });
  drawScrollbar(list, top, entries.length);
  box.put(0, room, '─'.repeat(box.width), 'border');
  notesOf(entries[at], state, wrong)
    .flatMap(([text, tone]) => wrap(text, box.width).map((line): [string, Tone] => [line, tone]))
    .slice(0, NOTES)
    .forEach(([text, tone], index) => {
      box.put(0, room + 1 + index, text, tone);
    });
  return state;
}

/** By key, as far as the reader has answered. */
export function mistakesOf(view: SettingsScreenView, state: SettingsState): Readonly<Record<string, string>> {
  const checked = checkedOf(state);
  if (Object.keys(checked).length === 0) return {};
  return view.read('mistakes', JSON.stringify(checked)).value ?? {};
}

// --- internal ---

/** Lines below the list. */
const NOTES = 4;
const LABEL = 24;

function drawEntry(
  area: Canvas,
  entry: Entry,
  here: boolean,
  state: SettingsState,
  wrong: Readonly<Record<string, string>>,
): void {
  if (entry.kind === 'head') {
    area.put(0, 0, entry.title, 'title');
    return;
  }
  if (here) area.fillLine(0, 'plain', true);
  area.put(0, 0, here ? '▸' : ' ', 'plain', here);
  if (entry.kind === 'add') {
    area.put(6, 0, entry.text, 'dim', here);
    return;
  }
  if (entry.kind === 'row') {
    area.put(4, 0, fit(entry.name, LABEL - 2), 'plain', here);
    area.put(LABEL + 4, 0, fit(rowText(entry.list, entry.row), area.width - LABEL - 4), 'plain', here);
    return;
  }
  const { setting } = entry;
  const { key, source } = setting;
  area.put(2, 0, fit(key.slice(key.indexOf('.') + 1).replaceAll('_', ' '), LABEL), 'plain', here);
  const changed = Object.hasOwn(state.drafts, key);
  const mark = wrong[key] !== undefined ? '! wrong' : changed ? '* unsaved' : source === 'default' ? 'default' : 'set';
  const tone: Tone = wrong[key] !== undefined ? 'bad' : changed ? 'warn' : source === 'default' ? 'dim' : 'plain';
  const room = area.width - LABEL - 4 - 12;
  if (here && state.typing) {
    const { text, at } = visibleLine(state.typing.line, room - 4);
    const box = area.area(LABEL + 4, 0, room, 1);
    box.put(0, 0, `[ ${fit(text, room - 4)} ]`, 'bold');
    box.put(2 + at, 0, box.cell(2 + at, 0).text || ' ', 'plain', true);
  } else area.put(LABEL + 4, 0, fit(control(setting, state), room), 'plain', here);
  area.putRight(area.width, 0, mark, tone, here);
}

function control(setting: Extract<Entry, { kind: 'setting' }>['setting'], { drafts }: SettingsState): string {
  const text = valueText(setting, drafts);
  if (setting.kind === 'switch') return text === 'true' ? '[x]' : '[ ]';
  if (setting.kind === 'choice') return `< ${text} >`;
  return setting.kind === 'rows' ? text : `[ ${text} ]`;
}

function notesOf(
  entry: Entry | undefined,
  { typing }: SettingsState,
  wrong: Readonly<Record<string, string>>,
): [string, Tone][] {
  if (!entry || entry.kind === 'head') return [];
  if (entry.kind === 'add') return [[entry.list.help, 'plain']];
  if (entry.kind === 'row') {
    const channel = entry.list.key === 'notify.channels';
    const doing = channel
      ? 'Enter changes it, t sends a notice to it, D removes it.'
      : 'D takes it out; no file is touched.';
    return [
      [entry.list.help, 'plain'],
      [doing, 'dim'],
    ];
  }
  const { key, help, takes, default: usual, kind } = entry.setting;
  const trouble = wrong[key];
  const usually = kind === 'rows' ? '' : `Default: ${showSetting(usual) || '(none)'}. `;
  const how = typing ? 'Enter takes it, Esc leaves it as it was.' : kind === 'rows' ? '' : 'D: back to the default.';
  return [
    ...(trouble === undefined ? [] : [[`${key} ${trouble}.`, 'bad'] as [string, Tone]]),
    [help, 'plain'],
    [`${usually}${kind === 'rows' ? '' : `Takes ${takes}. `}${how}`, 'dim'],
  ];
}
