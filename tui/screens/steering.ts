/** What screens ask of operations: the questions, and the words of commands that begin them again. Pure. */
import type { Operation } from '../../features/history.ts';
import { plural } from '../../shared/format.ts';
import { readMegabytes } from '../../shared/throttle.ts';
import { confirmLoss, fill } from '../dialogs.ts';
import type { Running } from '../reads.ts';
import type { Command, Overlay } from '../screen.ts';

type Named = Pick<Operation, 'operation_type' | 'target_kind' | 'target_name' | 'group_id' | 'subpath' | 'role'>;

/** Paused, or about to be. */
export function isHeld({ control, progress }: Pick<Running, 'control' | 'progress'>): boolean {
  return control === 'pause' || progress?.paused === true;
}

export function stopRun(run: Running): Overlay {
  const left = run.progress ? run.progress.files_total - run.progress.files_done : 0;
  const text = left > 0 ? `${plural(left, 'file')} will not be copied now.` : 'What is left is not done now.';
  return confirmLoss(
    `Stop the ${run.operation_type} of ${run.target_name}?`,
    [`Files in flight are finished. ${text} Nothing that was copied is lost; the next run goes on from there.`],
    'Yes, stop it',
    [{ kind: 'control', operation: run, control: 'cancel' }],
  );
}

/** How fast it may write from now on. */
export function limitForm(run: Running): Overlay {
  return fill({
    title: `Bandwidth of the ${run.operation_type} of ${run.target_name}`,
    fields: [
      {
        name: 'limit',
        label: 'MB per second',
        help: '0.1 to 1000; 0: without limit; empty: as its options say',
        type: 'text',
        value: '',
      },
    ],
    check: ({ limit }): Record<string, string> =>
      isLimit(String(limit).trim()) ? {} : { limit: 'A number from 0.1 to 1000, or 0 for no limit.' },
    save: ({ limit }) => {
      const text = String(limit).trim();
      const said = text === '' ? 'as its options say' : text === '0' ? 'no limit' : `${text} MB/s`;
      return [{ kind: 'ask', name: 'limit', args: [run.uuid, text], done: `${run.target_name}: ${said}` }];
    },
  });
}

/** The target as commands take it: a group by its id, a project by its name. */
export function targetWords({ target_kind, target_name, group_id, role }: Named): string[] {
  if (target_kind === 'group') return [group_id];
  return role === '' ? [target_name] : [target_name, '--role', role];
}

/** The command that does the same again; undefined for what cannot be said from the history alone. */
export function againCommand(operation: Named): Command | undefined {
  const { operation_type: type, target_kind, target_name, subpath } = operation;
  if (target_kind === 'folder' || (type !== 'sync' && type !== 'verify')) return undefined;
  const path = target_kind === 'group' && subpath !== '' ? ['--path', subpath] : [];
  return {
    kind: 'command',
    words: [type, 'run', ...targetWords(operation), ...path],
    label: `${type} of ${target_name}`,
  };
}

// --- internal ---

function isLimit(text: string): boolean {
  return text === '' || text === '0' || readMegabytes(text) !== undefined;
}
