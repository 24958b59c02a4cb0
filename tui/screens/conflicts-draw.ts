/** How conflicts look: the list above, Master and Backup of the selected one side by side below. Pure. */
import type { Canvas } from '../canvas.ts';
import { drawPicture, type Picture } from '../halfblocks.ts';
import type { Preview } from '../previews.ts';
import type { ConflictRow, Sides } from '../reads/conflicts.ts';
import { fit } from '../sanitize.ts';
import { drawTable, tableCount, wrap } from '../table.ts';
import type { Tone } from '../theme.ts';
import {
  type ConflictsState,
  type ConflictsView,
  columnsFor,
  describeState,
  followed,
  hasChanged,
  listed,
  markedRows,
  newer,
  rowsOf,
  SIDE_NAME,
  type Side,
  sidesOf,
  storyOf,
} from './conflicts-data.ts';
import { aligned, firstDifference, type Pair } from './conflicts-text.ts';

export function drawConflicts(canvas: Canvas, view: ConflictsView): ConflictsState {
  const all = rowsOf(view).length;
  const height = all === 0 ? canvas.height : Math.max(6, Math.min(all + 3, Math.floor(canvas.height / 3)));
  const state = drawList(canvas.area(0, 0, canvas.width, height), view, all);
  const row = listed({ ...view, state })[state.table.at];
  if (row) drawBoth(canvas.area(0, height, canvas.width, canvas.height - height), { ...view, state }, row);
  return { ...state, selected: row ? { group: row.group_id, path: row.path } : null };
}

// --- internal ---

function drawList(canvas: Canvas, view: ConflictsView, all: number): ConflictsState {
  const { state } = view;
  const width = canvas.width - 4;
  const rows = listed(view, width);
  const marked = markedRows(view).length;
  const right = `${tableCount(state.table, rows.length, all)}${marked > 0 ? ` · ● ${marked} marked` : ''}`;
  const box = canvas.box({ title: 'Conflicts', right, focus: true });
  const answer = view.read('conflicts');
  const empty = answer.error ?? (answer.value ? EMPTY : 'Reading …');
  const table = drawTable(box, rows, columnsFor(state, width), followed(view, rows), {
    focus: true,
    empty: all === 0 ? empty : '',
    window: all === 0 ? undefined : { from: 0, count: rows.length },
  });
  return { ...state, table, area: { x: 2, y: 1, width: box.width, height: box.height } };
}

const EMPTY =
  '✓ All is well: no conflict waits. What a sync cannot decide for certain it leaves untouched on both drives, and it appears here.';

function drawBoth(canvas: Canvas, view: ConflictsView, row: ConflictRow): void {
  const { value, error } = sidesOf(view, row);
  const [left, right] = [canvas.area(0, 0, Math.ceil(canvas.width / 2), canvas.height), Math.ceil(canvas.width / 2)];
  const texts = textsOf(value);
  const boxes = {
    master: drawSide(left, view, row, 'master', value, error),
    backup: drawSide(canvas.area(right, 0, canvas.width - right, canvas.height), view, row, 'backup', value, error),
  };
  const from = firstDifference(texts, boxes.master.height);
  for (const side of ['master', 'backup'] as const) {
    const box = boxes[side];
    if (texts.length > 0 && value?.[side].preview?.text)
      drawText(box, texts, side, from, value[side].preview?.text?.cut === true);
    else drawPreview(box, value?.[side].preview, value === undefined ? error : undefined);
  }
}

/** Both texts line by line; one of them, where the other side has none. */
function textsOf(sides: Sides | undefined): readonly Pair[] {
  return aligned(sides?.master.preview?.text?.lines ?? NO_LINES, sides?.backup.preview?.text?.lines ?? NO_LINES);
}

const NO_LINES: readonly string[] = [];

/** Border and what is known of a side; returns the room below. */
function drawSide(
  canvas: Canvas,
  view: ConflictsView,
  row: ConflictRow,
  side: Side,
  sides: Sides | undefined,
  error: string | undefined,
): Canvas {
  const group = view.read('status').value?.groups.find(({ id }) => id === row.group_id);
  const label = side === 'master' ? group?.master_drive.label : group?.backup_drive.label;
  const now = sides?.[side];
  const newest = newer(row) === side ? ' (newer)' : '';
  const title = `${SIDE_NAME[side]}${label === undefined ? '' : ` · ${label}`}${newest}`;
  const box = canvas.box({ title, right: now && !now.here ? '○ away' : '' });
  const state = row[side];
  const sum = state?.checksum === undefined ? '' : `   sum ${state.checksum.slice(0, 8)}…`;
  box.put(0, 0, fit(describeState(state) + sum, box.width), state === null ? 'warn' : side);
  const changed = now !== undefined && error === undefined && hasChanged(state, now);
  const story = changed ? '! changed since it was found; a sync looks again' : storyOf(row, side);
  box.put(0, 1, fit(story, box.width), changed ? 'bad' : 'dim');
  const facts = now?.preview?.facts ?? [];
  const lines = facts.length === 0 ? [] : factLines(facts, box.width);
  lines.forEach((line, y) => {
    box.put(0, 2 + y, fit(line, box.width), 'dim');
  });
  const top = 2 + lines.length + (lines.length > 0 || box.height > 6 ? 1 : 0);
  return box.area(0, top, box.width, box.height - top);
}

/** In two lines at most: what does not fit is told by Enter. */
function factLines(facts: Preview['facts'], width: number): string[] {
  const text = facts.map(([name, value]) => (BARE.has(name) ? value : `${name} ${value}`)).join(' · ');
  return wrap(text, width).slice(0, 2);
}

/** Values that say by themselves what they are. */
const BARE = new Set(['Size', 'Type', 'Camera', 'Lens', 'Exposure', 'Codec']);

function drawPreview(box: Canvas, preview: Preview | undefined, error: string | undefined): void {
  if (preview?.picture) {
    drawPicture(box, pictureOf(preview.picture));
    return;
  }
  const [text, tone]: [string, Tone] =
    error !== undefined ? [error, 'bad'] : [preview ? preview.note : 'Reading …', 'dim'];
  wrap(text, box.width).forEach((line, y) => {
    box.put(0, y, line, tone);
  });
}

function pictureOf(packed: NonNullable<Preview['picture']>): Picture {
  const known = PICTURES.get(packed);
  if (known) return known;
  const { width, height, rgb } = packed;
  const picture = { width, height, rgb: Buffer.from(rgb, 'base64') };
  PICTURES.set(packed, picture);
  return picture;
}

const PICTURES = new WeakMap<object, Picture>();

function drawText(box: Canvas, pairs: readonly Pair[], side: Side, from: number, cut: boolean): void {
  const alone = pairs.every((pair) => pair.left === undefined) || pairs.every((pair) => pair.right === undefined);
  const room = pairs.length - from > box.height || cut ? box.height - 1 : box.height;
  pairs.slice(from, from + room).forEach((pair, y) => {
    const line = side === 'master' ? pair.left : pair.right;
    const lacks = (side === 'master' ? pair.right : pair.left) === undefined;
    if (line === undefined) return;
    const plain = pair.same || alone;
    box.put(0, y, plain ? ' ' : lacks ? '+' : '~', 'warn');
    box.put(2, y, fit(line, box.width - 2), plain ? 'plain' : side);
  });
  if (room < box.height) box.put(2, room, '… d shows the whole difference', 'dim');
}
