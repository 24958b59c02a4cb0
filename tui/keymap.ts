/**
 * The table of keys. Those of everywhere stand here, a screen adds its own; from both come the footer, the help and what a
 * key does, so that none of the three can say something else than the others.
 */
import { displayWidth } from '../shared/format.ts';
import type { Binding, View } from './screen.ts';

/** Moving is done by tables and lists; these rows are here for help and footer. */
export const MOVE_KEYS: readonly Binding[] = [
  {
    keys: ['j', 'down', 'k', 'up'],
    show: '↑↓ j k',
    brief: 'jk',
    action: 'move',
    label: 'move',
    help: 'line down, line up',
    group: 'move',
    hint: 0,
  },
  {
    keys: ['g', 'G', 'home', 'end'],
    show: 'g G',
    action: 'move',
    label: 'ends',
    help: 'to the top, to the bottom',
    group: 'move',
  },
  {
    keys: ['pgup', 'pgdn'],
    show: 'PgUp PgDn',
    action: 'move',
    label: 'page',
    help: 'a page up, a page down',
    group: 'move',
  },
  {
    keys: ['C-u', 'C-d'],
    show: 'Ctrl-U Ctrl-D',
    action: 'move',
    label: 'half page',
    help: 'half a page up, down',
    group: 'move',
  },
];

/** Of screens with a table: `tableKey` carries them out. */
export const TABLE_KEYS: readonly Binding[] = [
  {
    keys: ['/'],
    action: 'filter',
    label: 'filter',
    help: 'only rows that contain what is typed; Esc shows all',
    group: 'move',
    hint: 90,
  },
  {
    keys: ['o'],
    action: 'sort',
    label: 'sort',
    help: 'by the next column; a click on a column title does it too',
    group: 'move',
  },
];

export const EVERYWHERE: readonly Binding[] = [
  { keys: ['esc'], show: 'Esc', action: 'back', label: 'back', help: 'back; closes what is open', group: 'everywhere' },
  {
    keys: [':'],
    action: 'palette',
    label: 'command',
    help: 'any command of the command line',
    group: 'everywhere',
    hint: 91,
  },
  { keys: ['?', 'f1'], show: '?', action: 'help', label: 'help', help: 'these keys', group: 'everywhere', hint: 92 },
  { keys: ['u'], action: 'undo', label: 'undo', help: 'take the last step back', group: 'everywhere', writes: true },
  { keys: ['r'], action: 'refresh', label: 'refresh', help: 'read everything anew', group: 'everywhere' },
  {
    keys: ['C-l'],
    show: 'Ctrl-L',
    action: 'redraw',
    label: 'redraw',
    help: 'draw the screen anew',
    group: 'everywhere',
  },
  {
    keys: ['C-z'],
    show: 'Ctrl-Z',
    action: 'suspend',
    label: 'suspend',
    help: 'to the shell; fg comes back',
    group: 'everywhere',
  },
  {
    keys: ['q', 'C-c'],
    show: 'q',
    action: 'quit',
    label: 'quit',
    help: 'quit; asks while something runs',
    group: 'everywhere',
    hint: 93,
  },
];

/** The binding that a key means on a screen; a screen's own keys come first. */
export function bindingFor(name: string, own: readonly Binding[]): Binding | undefined {
  return [...own, ...EVERYWHERE].find(({ keys }) => keys.includes(name));
}

/** Why a key does nothing now. */
export function whyNot(binding: Binding, view: View): string | undefined {
  if (binding.writes && view.readOnly) return 'the dashboard was started with --read-only';
  return binding.disabled?.(view);
}

/** As people read it. */
export function keyName({ show, keys }: Pick<Binding, 'show' | 'keys'>): string {
  const name = show ?? keys[0] ?? '';
  const known: Readonly<Record<string, string>> = {
    enter: 'Enter',
    esc: 'Esc',
    tab: 'Tab',
    'S-tab': 'Shift-Tab',
    space: 'Space',
  };
  return known[name] ?? name.replace(/^C-(.)$/, (_, letter: string) => `Ctrl-${letter.toUpperCase()}`);
}

function hintName(binding: Binding): string {
  return binding.brief ?? keyName(binding);
}

/** The hints that fit into `width` cells: `[key, label, possible]`; what matters everywhere stays longest. */
export function footerHints(
  own: readonly Binding[],
  view: View,
  width: number,
): [key: string, label: string, possible: boolean][] {
  const all = [...MOVE_KEYS, ...own, ...EVERYWHERE].filter(({ hint }) => hint !== undefined);
  all.sort((a, b) => (a.hint ?? 0) - (b.hint ?? 0));
  const size = (binding: Binding): number => displayWidth(hintName(binding)) + displayWidth(binding.label) + 3;
  while (all.length > 1 && all.reduce((sum, binding) => sum + size(binding), 0) > width) {
    const ordinary = all.filter(({ group }) => group === 'do');
    const drop = ordinary.at(-1) ?? all[0];
    all.splice(all.indexOf(drop as Binding), 1);
  }
  return all.map((binding) => [hintName(binding), binding.label, whyNot(binding, view) === undefined]);
}
