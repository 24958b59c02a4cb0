/** The help: every key of the screen and of everywhere, from the table of keys; typing searches it. */
import type { Canvas } from './canvas.ts';
import { dialogBox } from './dialogs.ts';
import { editLine, lineOf } from './editor.ts';
import { EVERYWHERE, keyName, MOVE_KEYS, whyNot } from './keymap.ts';
import { fit } from './sanitize.ts';
import type { AnyScreen, Binding, Overlay, View } from './screen.ts';
import { wrap } from './table.ts';

export function help(screen: AnyScreen, screens: readonly AnyScreen[], search = lineOf('')): Overlay {
  const rows = helpRows(screen, screens);
  return {
    hints: 'type to search   Esc close',
    draw: (canvas, view) => drawHelp(canvas, screen.title, rows, search.text, view),
    input: (event) => {
      if (event.kind === 'key' && (event.name === 'esc' || event.name === 'enter')) return { overlay: null };
      return { overlay: help(screen, screens, editLine(search, event) ?? search) };
    },
  };
}

/** All keys that do something on this screen, in the order of the help. */
export function helpRows(screen: AnyScreen, screens: readonly AnyScreen[]): Binding[] {
  const first = screens[0]?.hotkey ?? '1';
  const last = screens.at(-1)?.hotkey ?? '1';
  const numbers: Binding = {
    keys: screens.map(({ hotkey }) => hotkey),
    show: first === last ? first : `${first}–${last}`,
    action: 'go',
    label: 'screens',
    help: screens.map(({ title }) => title).join(', '),
    group: 'everywhere',
  };
  return [...MOVE_KEYS, ...screen.keys, numbers, ...EVERYWHERE] as Binding[];
}

// --- internal ---

const TITLES = { move: 'MOVE', do: 'DO', everywhere: 'EVERYWHERE' } as const;
const KEY_WIDTH = 14;

function drawHelp(canvas: Canvas, title: string, rows: readonly Binding[], search: string, view: View): void {
  const box = dialogBox(canvas, canvas.width, canvas.height, `Help · ${title}`, false);
  const words = search.toLowerCase().split(' ').filter(Boolean);
  const found = rows.filter((row) => {
    const text = `${keyName(row)} ${row.label} ${row.help}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const columns = (['move', 'do', 'everywhere'] as const).map((group) => found.filter((row) => row.group === group));
  const side = box.width >= 110;
  const width = side ? Math.floor(box.width / 3) : box.width;
  let y = 0;
  for (const [index, column] of columns.entries()) {
    if (column.length === 0) continue;
    const area = side
      ? box.area(index * width, 0, width - 2, box.height - 2)
      : box.area(0, y, width, box.height - 2 - y);
    const used = drawGroup(area, TITLES[column[0]?.group ?? 'do'], column, view);
    if (!side) y += used;
  }
  if (found.length === 0) box.put(0, 0, 'No key does that. `:` finds every command.', 'dim');
  box.spans(0, box.height - 1, [['Type to search these keys: '], [search, 'bold'], ['_', 'dim']]);
}

/** Returns the line after the last one. */
function drawGroup(area: Canvas, title: string, rows: readonly Binding[], view: View): number {
  area.put(0, 0, title, 'title');
  let y = 1;
  for (const row of rows) {
    const why = whyNot(row, view);
    const text = row.help + (why === undefined ? '' : ` (not now: ${why})`);
    area.put(0, y, fit(keyName(row), KEY_WIDTH - 1), why === undefined ? 'key' : 'dim');
    for (const line of wrap(text, area.width - KEY_WIDTH)) {
      area.put(KEY_WIDTH, y, line, why === undefined ? 'plain' : 'dim');
      y += 1;
    }
  }
  return y;
}
