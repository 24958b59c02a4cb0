/**
 * Settings: app.yaml as a form. Changes wait, marked, until Ctrl-S has the command line make all of them or none; Esc asks
 * before it throws them away. Channels and folders that take part as drives are lines of their own.
 */
import type { Setting } from '../../features/settings.ts';
import { confirmLoss, tell } from '../dialogs.ts';
import { editLine, lineOf } from '../editor.ts';
import type { InputEvent } from '../input.ts';
import { type Binding, defineScreen, type Step } from '../screen.ts';
import { want } from '../wants.ts';
import { drawSettings, mistakesOf, type SettingsScreenView } from './settings-draw.ts';
import { channelForm, driveForm } from './settings-form.ts';
import {
  checkedOf,
  type Entry,
  emptySettings,
  entriesOf,
  moved,
  rowText,
  rowUndo,
  type SettingsState,
  savingOf,
  unsavedOf,
  valueText,
} from './settings-rows.ts';

export const settings = defineScreen<SettingsState>({
  name: 'settings',
  title: 'Settings',
  short: 'Set',
  hotkey: '8',
  start: emptySettings,
  wants: (state) => {
    const checked = checkedOf(state);
    return [want('settings'), ...(Object.keys(checked).length > 0 ? [want('mistakes', JSON.stringify(checked))] : [])];
  },
  draw: drawSettings,
  keys: keys(),
  act,
  input,
  unsaved: ({ drafts }) =>
    Object.keys(drafts).length > 0 ? `Unsaved settings: ${Object.keys(drafts).join(', ')}.` : undefined,
});

// --- internal ---

function keys(): Binding<SettingsState>[] {
  const write = { group: 'do', writes: true } as const;
  const read = (view: SettingsScreenView): string | undefined =>
    view.read('settings').value ? undefined : 'the settings are still being read';
  return [
    {
      ...write,
      keys: ['enter', 'space'],
      show: 'Enter',
      action: 'change',
      label: 'change',
      help: 'switch, choose the next, type',
      hint: 1,
      disabled: read,
    },
    {
      ...write,
      keys: ['left', 'h', 'right', 'l'],
      show: '← →',
      action: 'choose',
      label: 'choose',
      help: 'the choice before, the next one',
      disabled: read,
    },
    {
      ...write,
      keys: ['C-s'],
      action: 'save',
      label: 'save',
      help: 'make all changes, or with a mistake none',
      hint: 2,
      disabled: ({ state }) => (hasDrafts(state) ? undefined : 'nothing was changed'),
    },
    {
      ...write,
      keys: ['D'],
      action: 'reset',
      label: 'default',
      help: 'back to the default; takes a channel or a drive out, after a question',
      hint: 3,
      disabled: read,
    },
    {
      ...write,
      keys: ['n'],
      action: 'new',
      label: 'new',
      help: 'a new channel, or a folder as a drive',
      hint: 4,
      disabled: (view) => read(view) ?? (listAt(view) ? undefined : 'choose a line of channels or drives'),
    },
    {
      ...write,
      keys: ['t'],
      action: 'test',
      label: 'test',
      help: 'send a notice to the channel',
      hint: 5,
      disabled: (view) => (channelAt(view) ? undefined : 'no channel is selected'),
    },
    {
      keys: ['tab', 'S-tab'],
      show: 'Tab',
      action: 'move',
      label: 'line',
      help: 'next line; with Shift the line before',
      group: 'move',
    },
  ];
}

const hasDrafts = ({ drafts }: SettingsState): boolean => Object.keys(drafts).length > 0;

function entryAt(view: SettingsScreenView): Entry | undefined {
  return entriesOf(view.read('settings').value)[view.state.at];
}

/** The list that the selected line belongs to. */
function listAt(view: SettingsScreenView): Setting | undefined {
  const entry = entryAt(view);
  if (entry?.kind === 'row' || entry?.kind === 'add') return entry.list;
  return entry?.kind === 'setting' && entry.setting.kind === 'rows' ? entry.setting : undefined;
}

function channelAt(view: SettingsScreenView): string | undefined {
  const entry = entryAt(view);
  return entry?.kind === 'row' && entry.list.key === 'notify.channels' ? entry.name : undefined;
}

function act(action: string, view: SettingsScreenView): Step<SettingsState> {
  const { state } = view;
  const all = view.read('settings').value;
  const entry = entryAt(view);
  switch (action) {
    case 'change':
      return change(view, entry, 1);
    case 'save': {
      const wrong = Object.keys(mistakesOf(view, state))[0];
      if (wrong !== undefined) return toMistake(view, wrong);
      const drafts = unsavedOf(state.drafts, all?.settings ?? []);
      return { effects: [savingOf(drafts, all?.settings ?? [])] };
    }
    case 'reset':
      return reset(view, entry);
    case 'new': {
      const list = listAt(view);
      if (!list || !all) return {};
      const overlay = list.key === 'notify.channels' ? channelForm(all) : driveForm();
      return { effects: [{ kind: 'overlay', overlay }] };
    }
    case 'test': {
      const name = channelAt(view);
      if (name === undefined) return {};
      return { effects: [{ kind: 'command', words: ['notify', 'test', name], label: `test of ${name}`, show: true }] };
    }
    case 'throw-away':
      return { state: { ...state, drafts: {}, typing: null } };
    default:
      return {};
  }
}

function toMistake(view: SettingsScreenView, key: string): Step<SettingsState> {
  const at = entriesOf(view.read('settings').value).findIndex(
    (entry) => entry.kind === 'setting' && entry.setting.key === key,
  );
  const message = mistakesOf(view, view.state)[key] ?? '';
  const text = `Nothing was saved: ${key} ${message}`;
  return {
    ...(at >= 0 ? { state: { ...view.state, at } } : {}),
    effects: [{ kind: 'toast', style: 'warn', text }],
  };
}

/** What Enter, Space and the arrows do to the selected line. */
function change(view: SettingsScreenView, entry: Entry | undefined, step: number): Step<SettingsState> {
  const { state } = view;
  const all = view.read('settings').value;
  if (!entry || entry.kind === 'head' || !all) return {};
  if (entry.kind === 'add') return act('new', view);
  if (entry.kind === 'row') {
    const channel = entry.list.key === 'notify.channels';
    const overlay = channel
      ? channelForm(all, entry.row)
      : tell(entry.name, [rowText(entry.list, entry.row), '', 'D takes it out, n takes another folder as a drive.']);
    return { effects: [{ kind: 'overlay', overlay }] };
  }
  const { setting } = entry;
  const { key, kind, choices } = setting;
  const text = valueText(setting, state.drafts);
  if (kind === 'rows') return act('new', view);
  if (kind === 'switch') return draft(view, key, text === 'true' ? 'false' : 'true');
  if (kind === 'choice') {
    const next = (choices.indexOf(text) + step + choices.length) % choices.length;
    return draft(view, key, choices[next] ?? text);
  }
  return { state: { ...state, typing: { key, line: lineOf(text) } } };
}

function draft(view: SettingsScreenView, key: string, text: string | null): Step<SettingsState> {
  const { state } = view;
  const drafts = unsavedOf({ ...state.drafts, [key]: text }, view.read('settings').value?.settings ?? []);
  return { state: { ...state, drafts, typing: null } };
}

function reset(view: SettingsScreenView, entry: Entry | undefined): Step<SettingsState> {
  if (entry?.kind === 'setting' && entry.setting.kind !== 'rows') return draft(view, entry.setting.key, null);
  if (entry?.kind !== 'row') return {};
  const { list, name, row } = entry;
  const undo = rowUndo(list.key, name, row);
  const channel = list.key === 'notify.channels';
  const what = channel ? 'It is told of nothing any more.' : 'The folder is no drive any more; no file is touched.';
  const lost = undo === undefined ? ['Its address is not kept anywhere else, and u does not bring it back.'] : [];
  const words = ['settings', 'unset', `${list.key}.${name}`];
  const overlay = confirmLoss(`Take ${name} out?`, [what, ...lost], 'Yes, take it out', [
    { kind: 'command', words, label: `take ${name} out`, ...(undo ? { undo } : {}) },
  ]);
  return { effects: [{ kind: 'overlay', overlay }] };
}

function input(event: InputEvent, view: SettingsScreenView): Step<SettingsState> | undefined {
  const { state } = view;
  const entries = entriesOf(view.read('settings').value);
  if (event.kind === 'mouse') return onMouse(event, view, entries);
  if (state.typing) return type(event, view);
  if (event.kind === 'paste') return undefined;
  const page = Math.max(1, state.area.height - 1);
  const step = { j: 1, down: 1, tab: 1, k: -1, up: -1, 'S-tab': -1, pgdn: page, pgup: -page, g: -999, G: 999 }[
    event.name
  ];
  if (step !== undefined) return { state: { ...state, at: moved(entries, state.at, step) } };
  if (event.name === 'left' || event.name === 'h' || event.name === 'right' || event.name === 'l') {
    const entry = entryAt(view);
    const turns = entry?.kind === 'setting' && (entry.setting.kind === 'choice' || entry.setting.kind === 'switch');
    if (view.readOnly || !turns) return undefined;
    return change(view, entry, event.name === 'left' || event.name === 'h' ? -1 : 1);
  }
  if (event.name === 'esc' && hasDrafts(state)) {
    const overlay = confirmLoss(
      'Throw the changes away?',
      [`They were not saved: ${Object.keys(state.drafts).join(', ')}.`],
      'Yes, throw them away',
      [{ kind: 'action', action: 'throw-away' }],
    );
    return { effects: [{ kind: 'overlay', overlay }] };
  }
  return undefined;
}

/** Enter and Tab take what was typed, Esc leaves the line as it was. */
function type(event: InputEvent, view: SettingsScreenView): Step<SettingsState> {
  const { state } = view;
  const { typing } = state;
  const key = event.kind === 'key' ? event.name : '';
  if (!typing || key === 'esc') return { state: { ...state, typing: null } };
  if (['enter', 'tab', 'S-tab', 'up', 'down'].includes(key)) {
    const taken = draft(view, typing.key, typing.line.text);
    const at = moved(
      entriesOf(view.read('settings').value),
      state.at,
      { down: 1, tab: 1, up: -1, 'S-tab': -1 }[key] ?? 0,
    );
    return { state: { ...(taken.state ?? state), at } };
  }
  if (key === 'C-s') {
    const next = draft(view, typing.key, typing.line.text).state ?? state;
    const step = act('save', { ...view, state: next });
    return { ...step, state: step.state ?? next };
  }
  const line = editLine(typing.line, event) ?? typing.line;
  return { state: { ...state, typing: { ...typing, line } } };
}

/** A click chooses a line, and on the chosen one changes it. */
function onMouse(
  event: Extract<InputEvent, { kind: 'mouse' }>,
  view: SettingsScreenView,
  entries: readonly Entry[],
): Step<SettingsState> | undefined {
  const { state } = view;
  const { x, y, width, height } = state.area;
  if (event.x < x || event.x >= x + width || event.y < y || event.y >= y + height) return undefined;
  // What is being typed is taken, as with Enter.
  const taken = state.typing ? (draft(view, state.typing.key, state.typing.line.text).state ?? state) : state;
  if (event.action !== 'click')
    return { state: { ...taken, at: moved(entries, state.at, event.action === 'wheelup' ? -3 : 3) } };
  const at = state.top + event.y - y;
  const entry = entries[at];
  if (!entry || entry.kind === 'head') return { state: taken };
  if (at === state.at && !state.typing && !view.readOnly) return change(view, entry, 1);
  return { state: { ...taken, at } };
}
