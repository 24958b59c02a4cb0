/** What a decision asks first, which command carries it out, and what comes of it. Pure. */
import { withTheirSets } from '../../shared/camera-sets.ts';
import { formatCount, plural } from '../../shared/format.ts';
import { baseName } from '../../shared/paths.ts';
import type { Outcome } from '../actions.ts';
import { ask, type Choice, confirmLoss, fill, tell } from '../dialogs.ts';
import type { ConflictRow } from '../reads/conflicts.ts';
import type { Command, Effect, Overlay, UndoStep, View } from '../screen.ts';
import { wrap } from '../table.ts';
import { describeState, type Keep, SIDE_NAME, type Side, winner } from './conflicts-data.ts';
import { unlocked } from './unlock.ts';

/** Of one row. What is replaced or removed by it is named first; where nothing is, there is no question. */
export function decide(row: ConflictRow, keep: Keep, all: readonly ConflictRow[], view: Pick<View, 'read'>): Effect[] {
  const side = winner(row, keep);
  if (typeof side === 'object') return [{ kind: 'toast', style: 'warn', text: `${baseName(row.path)}: ${side.why}` }];
  const along = companions(row, all);
  const begin = resolving([row], keep, baseName(row.path), view);
  const lost = [row, ...along].flatMap((one) => losses(one, keep, view));
  if (lost.length === 0) return begin;
  const lines = [...lost.slice(0, SHOWN), ...more(lost.length), ...(along.length > 0 ? [alongLine(along)] : [])];
  return [
    {
      kind: 'overlay',
      overlay: confirmLoss(`Let ${STANDS[keep]} stand?`, [row.path, ...lines], 'Yes, settle it', begin),
    },
  ];
}

/** What one choice is made for: those that are marked, or all of the group. */
export function askForAll(
  row: ConflictRow,
  marked: readonly ConflictRow[],
  all: readonly ConflictRow[],
  view: Pick<View, 'read'>,
): Overlay {
  const group = all.filter(({ group_id: id }) => id === row.group_id);
  const choose = (rows: readonly ConflictRow[], what: string): Effect[] => [
    { kind: 'overlay', overlay: chooseKeep(rows, what, view) },
  ];
  const m = marked.length === 0 ? 'what is marked' : `the ${plural(marked.length, 'marked conflict')}`;
  const g = `all ${plural(group.length, 'conflict')} of ${row.target}`;
  const question = {
    title: 'Same for all',
    lines: ['For which conflicts shall one choice be made?'],
    choices: [
      {
        key: 'm',
        label: `For ${m}`,
        effects: choose(marked, m),
        disabled: marked.length === 0 ? 'Space marks' : undefined,
      },
      { key: 't', label: `For ${g}`, effects: choose(group, g) },
    ],
  };
  return ask(question, marked.length === 0 ? 1 : 0);
}

/** Has a program of the user's put both versions together. */
export function mergeForm(row: ConflictRow, view: Pick<View, 'read'>): Overlay {
  return fill({
    title: `Merge ${baseName(row.path)}`,
    fields: [
      {
        name: 'program',
        label: 'Program',
        help: 'with a window of its own: meld {master} {merged} {backup}; empty: TANDEM_MERGE',
        type: 'text',
        value: '',
      },
    ],
    notes: () => [
      `What it leaves in {merged} takes the place of both. What is replaced is ${fateOf(row, SIDES, view)}.`,
    ],
    closes: true,
    save: ({ program }) => {
      const text = String(program).trim();
      const words = [
        'conflicts',
        'merge',
        row.group_id,
        row.path,
        '--json',
        ...(text === '' ? [] : [`--program=${text}`]),
      ];
      return carriedOut(words, row, `merge of ${baseName(row.path)}`, view);
    },
  });
}

/** The whole difference, as `conflicts diff` prints it; it opens what is compressed or sealed. */
export function showDifference(row: ConflictRow, view: Pick<View, 'read'>): Effect[] {
  const title = `Master and Backup: ${row.path}`;
  const command: Command = {
    kind: 'command',
    words: ['conflicts', 'diff', row.group_id, row.path],
    label: `difference of ${baseName(row.path)}`,
    after: ({ lines }) => [{ kind: 'overlay', overlay: tell(title, lines) }],
  };
  return unlocked(command, [row.group_id], view);
}

/** What became of a decision: a sentence, and what it could not settle. */
export function endOfDecision(outcome: Outcome, label: string): Effect[] {
  if (outcome.style === 'bad')
    return [{ kind: 'toast', style: 'bad', text: [outcome.text, outcome.hint ?? ''].join(' ').trim() }];
  const result = resultIn(outcome);
  if (!result) return [{ kind: 'toast', style: 'warn', text: outcome.text }];
  const { problems } = result;
  if (problems.length === 0) return [{ kind: 'toast', style: 'good', text: `${label}: settled · u undo` }];
  return [
    { kind: 'toast', style: 'warn', text: `${label}: ${plural(problems.length, 'problem')}` },
    { kind: 'overlay', overlay: tell('These still wait', problems.flatMap(problemLines)) },
  ];
}

/** What takes a decision back. */
export function undoOfDecision(outcome: Outcome, label: string): UndoStep | undefined {
  const id = resultIn(outcome)?.operation_id;
  return id === undefined ? undefined : { label, words: ['restore', 'undo', id] };
}

// --- internal ---

/** Lines of a question that name what is lost. */
const SHOWN = 8;
/** Characters of paths in one command; a system takes some more. */
const LONGEST = 100_000;

const SIDES: readonly Side[] = ['master', 'backup'];

const STANDS: Readonly<Record<Keep, string>> = {
  master: "the Master's state",
  backup: "the Backup's state",
  both: 'both versions',
  newest: 'the newest version',
  largest: 'the largest version',
};

function chooseKeep(rows: readonly ConflictRow[], what: string, view: Pick<View, 'read'>): Overlay {
  const choice = (key: string, keep: Keep): Choice => {
    const unclear = rows.filter((row) => typeof winner(row, keep) === 'object').length;
    return {
      key,
      label: `Let ${STANDS[keep]} stand`,
      ...(unclear > 0 && { help: `${formatCount(unclear)} cannot be settled so` }),
      effects: resolving(rows, keep, what, view),
      disabled: unclear === rows.length ? 'none of them can be settled so' : undefined,
    };
  };
  const groups = [...new Map(rows.map((row) => [row.group_id, row])).values()];
  const fates = groups.map((row) => {
    const where = groups.length > 1 ? ` of ${row.target}` : '';
    return `What gives way${where} is replaced or removed on its drive, and ${fateOf(row, SIDES, view)}.`;
  });
  const paths = rows.slice(0, 3).map(({ path }) => path);
  return ask({
    title: 'Same for all',
    danger: true,
    lines: [`For ${what}: ${paths.join(', ')}${rows.length > paths.length ? ' …' : ''}`, ...fates],
    choices: [
      { key: 'n', label: 'No, leave them as they are', effects: [] },
      choice('<', 'master'),
      choice('>', 'backup'),
      choice('=', 'both'),
      choice('w', 'newest'),
      choice('l', 'largest'),
    ],
  });
}

/** Commands for rows of any groups: one for each group, since each is an operation that can be undone. */
function resolving(rows: readonly ConflictRow[], keep: Keep, what: string, view: Pick<View, 'read'>): Effect[] {
  const groups = new Map<string, ConflictRow[]>();
  for (const row of rows) groups.set(row.group_id, [...(groups.get(row.group_id) ?? []), row]);
  return [...groups].flatMap(([id, own]) => {
    const [first] = own;
    if (!first) return [];
    const words = own.map(({ path }) => pathWord(path));
    if (words.join('').length > LONGEST) {
      const text = `${plural(own.length, 'conflict')} are too many for one command: tandem conflicts resolve --all`;
      return [{ kind: 'toast', style: 'warn', text } as const];
    }
    const label = groups.size > 1 ? `${first.target}: ${STANDS[keep]}` : `${what}: ${STANDS[keep]}`;
    return carriedOut(['conflicts', 'resolve', id, ...words, '--keep', keep, '--json'], first, label, view);
  });
}

function carriedOut(words: readonly string[], row: ConflictRow, label: string, view: Pick<View, 'read'>): Effect[] {
  const command: Command = {
    kind: 'command',
    words,
    label,
    undo: (outcome) => undoOfDecision(outcome, label),
    ended: (outcome) => endOfDecision(outcome, label),
  };
  return unlocked(command, [row.group_id], view);
}

/** A path that looks like an option is a pattern instead, which means it alone. */
function pathWord(path: string): string {
  return path.startsWith('-') ? `/${path.replace(/[\\*?[\]!# ]/g, '\\$&')}` : path;
}

/** Of the same shot, and therefore settled with it. */
function companions(row: ConflictRow, all: readonly ConflictRow[]): ConflictRow[] {
  const group = all.filter(({ group_id: id }) => id === row.group_id);
  const set = withTheirSets(
    [row.path],
    group.map(({ path }) => path),
  );
  return group.filter(({ path }) => path !== row.path && set.has(path));
}

function alongLine(along: readonly ConflictRow[]): string {
  const names = along.slice(0, 3).map(({ path }) => baseName(path));
  return `It belongs to the same shot as ${names.join(', ')}${along.length > 3 ? ' …' : ''}, which ${along.length === 1 ? 'goes' : 'go'} along.`;
}

function more(count: number): string[] {
  return count > SHOWN ? [`… and ${formatCount(count - SHOWN)} more.`] : [];
}

/** Which version gives way on which drive; none where the other side has nothing, or both stay. */
function losses(row: ConflictRow, keep: Keep, view: Pick<View, 'read'>): string[] {
  const side = winner(row, keep);
  if (typeof side === 'object' || side === 'both') return [];
  const loser = side === 'master' ? 'backup' : 'master';
  const [lost, stands] = [row[loser], row[side]];
  if (lost === null) return [];
  const what = `${SIDE_NAME[loser]}'s ${baseName(row.path)} (${describeState(lost).replace(/ +/g, ' ')})`;
  const how =
    stands === null ? `is deleted, as it is on the ${SIDE_NAME[side]}` : `gives way to the ${SIDE_NAME[side]}'s`;
  const below = lost.kind === 'd' && stands?.kind !== 'd' ? ' with all that is in it' : '';
  return [`The ${what}${below} ${how}. It is ${fateOf(row, [loser], view)}.`];
}

/** Where what gives way on this side is kept; `lost` where the group keeps no versions. */
function fateOf({ group_id: id, keeps }: ConflictRow, sides: readonly Side[], view: Pick<View, 'read'>): string {
  if (!keeps) return 'lost: versions are off for this group';
  const group = view.read('status').value?.groups.find((one) => one.id === id);
  const labels = { master: group?.master_drive.label, backup: group?.backup_drive.label };
  const names = sides.map((side) => labels[side] ?? `the ${SIDE_NAME[side]}`);
  return names.length > 1
    ? `kept in the trash of its drive (${names.join(' or ')})`
    : `kept in the trash of ${names.join('')}`;
}

function problemLines({ path, message }: Result['problems'][number]): string[] {
  return [path, ...wrap(message, 68).map((line) => `  ${line}`), ''];
}

interface Result {
  operation_id: string;
  problems: { path: string; message: string }[];
}

/** The document that it printed; what it complained of comes after. */
function resultIn({ lines }: Outcome): Result | undefined {
  try {
    const end = lines.indexOf('}');
    return (JSON.parse(lines.slice(0, end + 1).join('\n')) as Result | null) ?? undefined;
  } catch {
    return undefined;
  }
}
