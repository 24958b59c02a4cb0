/** A folder chosen on a drive, read by the reader. Nothing outside of the drive can be reached. */
import { type Canvas, dialogBox } from './canvas.ts';
import type { Overlay, View } from './screen.ts';
import { drawTable, emptyTable, type TableState, tableKey, tableMouse, tablePaste, tableRows } from './table.ts';
import { want } from './wants.ts';

export interface PickDrive {
  label: string;
  mount: string;
}

interface Picking {
  drive: number;
  /** From the drive's root; '' is the root itself. */
  folder: string;
  table: TableState;
}

interface Row {
  name: string;
}

/**
 * @param value where to begin, from the drive's root
 * @param back gives what is shown next: with the chosen folder, or null when none was chosen
 */
export function pickFolder(
  drives: readonly PickDrive[],
  value: string,
  back: (picked: string | null) => Overlay,
): Overlay {
  const inside = value.startsWith('/') ? '' : value.replace(/\/+$/, '');
  return picker(drives, { drive: 0, folder: inside, table: emptyTable }, back);
}

// --- internal ---

const COLUMNS = [{ title: 'Folder', value: ({ name }: Row) => name }];

function picker(drives: readonly PickDrive[], state: Picking, back: (picked: string | null) => Overlay): Overlay {
  const drive = drives[state.drive];
  let area = { x: 0, y: 0, width: 0, height: 0 };
  const next = (more: Partial<Picking>): { overlay: Overlay } => ({
    overlay: picker(drives, { ...state, ...more }, back),
  });
  const enter = (folder: string) => next({ folder, table: emptyTable });
  return {
    hints: 'Enter open  Ctrl-S take it  Backspace up  Tab other drive  / filter  Esc back',
    wants: drive ? [want('folders', drive.mount, state.folder)] : [],
    draw: (canvas, view) => {
      area = drawPicker(canvas, drive, state, view);
    },
    input: (event, view) => {
      const rows = rowsOf(drive, state, view);
      const shown = tableRows(rows, COLUMNS, state.table);
      if (event.kind === 'paste') {
        const table = tablePaste(state.table, event.text);
        return table ? next({ table }) : next({});
      }
      if (event.kind === 'mouse') {
        const table = tableMouse(state.table, event, area, rows, COLUMNS);
        const again = event.action === 'click' && table?.at === state.table.at;
        return again ? enter(below(state.folder, shown[table?.at ?? 0]?.name)) : next(table ? { table } : {});
      }
      const table = tableKey(state.table, event, shown.length, 0);
      if (table) return next({ table });
      const chosen = shown[Math.min(state.table.at, shown.length - 1)];
      switch (event.name) {
        case 'enter':
        case 'right':
        case 'l':
          return chosen ? enter(below(state.folder, chosen.name)) : next({});
        case 'backspace':
        case 'left':
        case 'h':
          return enter(state.folder.slice(0, Math.max(0, state.folder.lastIndexOf('/'))));
        case 'tab':
          return drives.length > 1
            ? next({ drive: (state.drive + 1) % drives.length, folder: '', table: emptyTable })
            : next({});
        case 'C-s':
          return { overlay: back(state.folder) };
        case 'esc':
          return { overlay: back(null) };
        default:
          return next({});
      }
    },
  };
}

function below(folder: string, name: string | undefined): string {
  if (name === undefined) return folder;
  return folder === '' ? name : `${folder}/${name}`;
}

const ROWS = new WeakMap<object, readonly Row[]>();

/** The same rows for the same answer. */
function rowsOf(drive: PickDrive | undefined, { folder }: Picking, view: View): readonly Row[] {
  const value = drive && view.read('folders', drive.mount, folder).value;
  if (!value) return [];
  const rows = ROWS.get(value) ?? value.names.map((name) => ({ name }));
  ROWS.set(value, rows);
  return rows;
}

function drawPicker(
  canvas: Canvas,
  drive: PickDrive | undefined,
  state: Picking,
  view: View,
): { x: number; y: number; width: number; height: number } {
  const title = drive ? `Folder on ${drive.label}` : 'Folder';
  const box = dialogBox(canvas, Math.min(canvas.width - 2, 78), Math.min(canvas.height, 20), title, false);
  box.put(0, 0, state.folder === '' ? '/ (the whole drive)' : `/${state.folder}`, 'bold');
  const answer = drive ? view.read('folders', drive.mount, state.folder) : {};
  const empty = !drive
    ? 'No Master of a group is connected. Esc goes back; the folder can be typed.'
    : (answer.error ?? (answer.value ? 'No folder in here. Ctrl-S takes this one.' : 'Reading …'));
  const list = box.area(0, 1, box.width, box.height - 2);
  drawTable(list, rowsOf(drive, state, view), COLUMNS, state.table, { focus: true, empty });
  const filter = state.table.typing || state.table.filter !== '' ? `/${state.table.filter}` : '';
  const more = answer.value?.more ? 'Only the first folders are shown; type the rest of the path.' : '';
  box.put(0, box.height - 1, filter || more, 'dim');
  return { x: list.left, y: list.top, width: list.width, height: list.height };
}
