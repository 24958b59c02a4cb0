/** Runs have no terminal to ask on: the password of a sealed group is asked for before one is started. Pure. */
import { fill } from '../dialogs.ts';
import type { Command, Effect, View } from '../screen.ts';

/** The command, or first the question for the password that the groups with these ids need. */
export function unlocked(run: Command, groupIds: readonly string[], view: Pick<View, 'read'>): Effect[] {
  return withPassword(run.label, groupIds, view, (password) => [password === undefined ? run : { ...run, password }]);
}

/** The same for any effects. `work` is handed no password where none is needed or given. */
export function withPassword(
  title: string,
  groupIds: readonly string[],
  { read }: Pick<View, 'read'>,
  work: (password: string | undefined) => Effect[],
): Effect[] {
  const { groups = [], sealed = [] } = read('status').value ?? {};
  const names = groups.filter(({ id }) => groupIds.includes(id) && sealed.includes(id)).map(({ name }) => name);
  if (names.length === 0) return work(undefined);
  const overlay = fill({
    title,
    fields: [
      {
        type: 'text',
        name: 'password',
        label: 'Password',
        value: '',
        secret: true,
        help: 'Or the recovery key. Empty: the variable TANDEM_PASSWORD, if it is set',
      },
    ],
    notes: () => [`The Backup of ${names.join(', ')} is sealed.`],
    closes: true,
    save: ({ password }) => work(password === '' ? undefined : String(password)),
  });
  return [{ kind: 'overlay', overlay }];
}
