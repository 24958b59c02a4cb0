/** What the history asks before it exports, restores or undoes. Pure. */
import { formatCount, formatTime } from '../../shared/format.ts';
import { confirmLoss, fill } from '../dialogs.ts';
import type { HistoryRow } from '../reads/history.ts';
import type { Effect, Overlay } from '../screen.ts';
import { targetWords } from './steering.ts';

/** Exactly `history export`. */
export function exportForm(now: Date): Overlay {
  return fill({
    title: 'Export the history',
    fields: [
      {
        name: 'format',
        label: 'Format',
        help: 'csv for spreadsheets, json for programs; all operations, oldest first',
        type: 'choice',
        value: 'csv',
        choices: ['csv', 'json'],
      },
      {
        name: 'out',
        label: 'File',
        help: 'from the folder in which the dashboard was started',
        type: 'text',
        value: `history-${formatTime(now).slice(0, 10)}.csv`,
      },
      {
        name: 'replace',
        label: 'Replace it',
        help: 'a file of this name, if there is one',
        type: 'toggle',
        value: false,
      },
    ],
    check: ({ out }): Record<string, string> =>
      isName(String(out).trim()) ? {} : { out: "A file name that does not begin with '-'." },
    save: ({ format, out, replace }) => {
      const file = withEnding(String(out).trim(), String(format));
      const words = [
        'history',
        'export',
        '--format',
        String(format),
        '--out',
        file,
        ...(replace === true ? ['--yes'] : []),
      ];
      return [{ kind: 'command', words, label: `export to ${file}` }];
    },
  });
}

/** `restore run` of what the operation worked on, into a folder. */
export function restoreForm(row: HistoryRow): Overlay {
  const states = ['as it is now', 'as it was before this operation'];
  return fill({
    title: `Restore ${row.target} into a folder`,
    fields: [
      {
        name: 'to',
        label: 'Into folder',
        help: 'it is made where it is not there; the files keep their paths in it',
        type: 'text',
        value: '',
      },
      {
        name: 'path',
        label: 'Path',
        help: 'a file, a folder or a pattern such as **/*.xmp; empty: everything',
        type: 'text',
        value: '',
      },
      {
        name: 'state',
        label: 'State',
        help: 'now: what the Backup holds; before: only what the operation replaced',
        type: 'choice',
        value: states[0] ?? '',
        choices: states,
      },
      { name: 'verify', label: 'Read back', help: 'what was written', type: 'toggle', value: true },
    ],
    check: ({ to, path }) => ({
      ...(isName(String(to).trim()) ? {} : { to: 'Name a folder, for example Rescued.' }),
      ...(String(path).trim().startsWith('-')
        ? { path: "A path cannot begin with '-' here; restore its folder." }
        : {}),
    }),
    save: ({ to, path, state, verify }) => {
      const paths = String(path).trim() === '' ? [] : [String(path).trim()];
      const [target = '', ...role] = targetWords(row);
      const version = state === states[1] ? ['--version', row.uuid] : [];
      const words = ['restore', 'run', target, ...paths, '--to', String(to).trim(), ...role, ...version];
      return [
        {
          kind: 'command',
          words: [...words, ...(verify === true ? ['--verify', 'checksum'] : [])],
          label: `restore of ${row.target}`,
        },
      ];
    },
  });
}

/** A process looks what an undo would do; then the question says it, or why it is not possible. */
export function askUndo(row: HistoryRow): Effect[] {
  const name = `${row.operation_type} ${row.id}`;
  return [
    {
      kind: 'command',
      words: ['restore', 'undo', row.uuid, '--dry-run'],
      label: `a look at what an undo of ${name} would do`,
      ended: ({ style, text, lines }) => {
        if (style === 'bad') return [{ kind: 'toast', style, text }];
        const said = lines.filter((line) => line !== 'Nothing was written.').map(undoSentence);
        if (said.every((sentence) => sentence === ''))
          return [{ kind: 'toast', style: 'warn', text: `${name} left nothing that could be undone` }];
        return [{ kind: 'overlay', overlay: undoQuestion(row, said.filter(Boolean)) }];
      },
    },
  ];
}

// --- internal ---

const SHOWN = 8;

function undoQuestion({ uuid, operation_type: type, id, target }: HistoryRow, said: readonly string[]): Overlay {
  const more = said.length > SHOWN ? [`… and ${said.length - SHOWN} more.`] : [];
  return confirmLoss(
    `Undo ${type} ${id} of ${target}?`,
    [
      ...said.slice(0, SHOWN),
      ...more,
      'What goes away is kept in the trash. The paths then wait in the conflicts until you say which state stands.',
    ],
    'Yes, undo it',
    [{ kind: 'command', words: ['restore', 'undo', uuid], label: `undo of ${type} ${id}` }],
  );
}

/** What `restore undo --dry-run` counts on a drive, as a sentence; empty: nothing there. Other lines stay as they are. */
function undoSentence(line: string): string {
  const found =
    /^(\w+): (\d+) to put back, (\d+) to move to the trash, (\d+) folders to make again, (\d+) to rename back, (\d+) refused$/.exec(
      line,
    );
  if (!found) return line.trim();
  const [, side, ...counts] = found;
  const whats = ['put back', 'moved to the trash', 'made again (folders)', 'renamed back', 'refused'];
  const said = whats.flatMap((what, index) =>
    Number(counts[index]) > 0 ? [`${formatCount(Number(counts[index]))} ${what}`] : [],
  );
  return said.length === 0 ? '' : `On the ${side}: ${said.join(', ')}.`;
}

function isName(text: string): boolean {
  return text !== '' && !text.startsWith('-') && !text.includes('\0');
}

/** The default name follows the format. */
function withEnding(file: string, format: string): string {
  return file.replace(/\.(csv|json)$/, `.${format}`);
}
