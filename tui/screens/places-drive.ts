/** The dialog of one drive: what it is, whose it is, what it can do; and what can be done with it. */
import { formatBytes } from '../../shared/format.ts';
import { ask, askLive, type Choice, confirmLoss, fill } from '../dialogs.ts';
import type { Overview, ReadResult, Running } from '../reads.ts';
import type { Effect, Overlay, View } from '../screen.ts';
import { want } from '../wants.ts';
import { type Drive, PAIR_STATE } from './places-rows.ts';
import { command } from './places-words.ts';

type Group = Overview['groups'][number];

/** @param drive undefined: it is away */
export function driveDialog({ label, drive }: { label: string; drive?: Drive | undefined }): Overlay {
  const traits = drive ? [want('traits', drive.mount_path, drive.filesystem)] : [];
  return askLive([want('status'), want('running'), ...traits], (view) => {
    const here = drive && view.read('status').value?.drives.find(({ mount_path }) => mount_path === drive.mount_path);
    const group = groupOf(label, here, view);
    return {
      title: `Drive ${label}`,
      lines: driveLines(label, here, group, view),
      choices: choices(here, group, view),
    };
  });
}

/** Asks when something runs on the drive, which cannot be let go before that ends. */
export function ejectEffects(
  drive: Pick<Drive, 'label' | 'mount_path' | 'group_id'>,
  running: readonly Running[],
): Effect[] {
  const eject = command(['detect', 'eject', drive.mount_path], `eject of ${drive.label}`);
  const run = running.find(({ group_id }) => group_id !== null && group_id === drive.group_id);
  if (!run) return [eject];
  const what = `${run.operation_type} of ${run.target_name}`;
  const overlay = ask({
    title: `Eject ${drive.label}?`,
    lines: [`The ${what} is running on it. It can be let go when that has ended; what was copied stays copied.`],
    danger: true,
    choices: [
      { key: 'n', label: 'No, let it go on', effects: [] },
      {
        key: 'x',
        label: `Stop the ${what}`,
        help: 'files in flight are finished; eject it then',
        effects: [{ kind: 'control', operation: run, control: 'cancel' }],
      },
      { key: 'e', label: 'Try to eject it all the same', effects: [eject] },
    ],
  });
  return [{ kind: 'overlay', overlay }];
}

/** A folder that takes part as a drive. */
export function addDriveForm(): Overlay {
  return fill({
    title: 'Use a folder as a drive',
    fields: [
      {
        type: 'text',
        name: 'path',
        label: 'Folder',
        value: '',
        help: 'In full, for example /mnt/nas/photos: a NAS mount, a disk in a dock, a folder to practise with',
      },
      { type: 'text', name: 'label', label: 'Label', value: '', help: 'The name of the drive' },
      { type: 'text', name: 'size', label: 'Size', value: '', blank: 'of its filesystem', help: 'For example 2TB' },
    ],
    check: ({ path, label }) => ({
      ...(!String(path).startsWith('/') &&
        !/^[A-Za-z]:[\\/]/.test(String(path)) && { path: 'The folder is given in full, from / on.' }),
      ...(String(label).trim() === '' && { label: 'A virtual drive needs a label.' }),
    }),
    save: ({ path, label, size }) => [
      command(
        ['detect', 'add', String(path), `--label=${label}`, ...(size === '' ? [] : [`--size=${size}`])],
        `new drive ${label}`,
        { undo: { label: `new drive ${label}`, words: ['detect', 'remove', String(path)] } },
      ),
    ],
  });
}

// --- internal ---

function groupOf(label: string, drive: Drive | undefined, view: View): Group | undefined {
  const groups = view.read('status').value?.groups ?? [];
  if (drive) return groups.find(({ id }) => id === drive.group_id);
  return groups.find((group) =>
    [group.master_drive, group.backup_drive].some((one) => one.label === label && !one.connected),
  );
}

function driveLines(label: string, drive: Drive | undefined, group: Group | undefined, view: View): string[] {
  const role = drive?.role ?? (group?.master_drive.label === label ? 'master' : group ? 'backup' : null);
  const other = group && role ? group[role === 'master' ? 'backup_drive' : 'master_drive'] : undefined;
  const pair = [
    `Badge       ${role === null ? '— unassigned' : role === 'master' ? 'M  Master' : 'B  Backup'}`,
    `Group       ${group?.name ?? (drive?.group_id ? 'one that this computer does not know: adopt it (A)' : '—')}`,
    `Paired      ${other ? `${other.label} (${other.connected ? 'connected' : 'not connected'})` : '—'}`,
    `Status      ${group ? PAIR_STATE[group.status].text : drive ? 'connected' : 'not connected'}`,
  ];
  if (!drive) return [...pair, 'It is not connected. Plug it in, and it appears by itself.'];
  const status = view.read('status').value;
  const watched = status?.watchers.some(({ group_id, process_id }) => group_id === group?.id && process_id !== null);
  const kind = drive.virtual ? 'virtual, a folder' : drive.removable ? 'removable' : 'fixed';
  const spin = drive.rotational === null ? '' : drive.rotational ? ', rotating disk' : ', solid state';
  return [
    ...pair,
    `Real-Time Sync: ${watched ? 'Active' : 'off'}`,
    `Serial      ${drive.serial_number ?? '—'}`,
    `Filesystem  ${drive.filesystem}${drive.read_only ? ', read-only' : ''}`,
    `Free        ${formatBytes(drive.free_size)} of ${formatBytes(drive.total_size)}`,
    `Mounted at  ${drive.mount_path}`,
    `Transport   ${[drive.network ? 'network' : (drive.transport ?? '—'), kind].join(', ')}${spin}`,
    `Can         ${traitsText(view.read('traits', drive.mount_path, drive.filesystem).value)}`,
  ];
}

function traitsText(answer: ReadResult<'traits'> | undefined): string {
  if (!answer) return '…';
  const { traits, probed } = answer;
  const words: [boolean, string][] = [
    [traits.case_sensitive, 'tells A from a'],
    [traits.symlinks, 'links'],
    [traits.hard_links, 'hard links'],
    [traits.permissions, 'permissions'],
    [traits.xattrs, 'attributes'],
    [traits.stable_ids, 'stable ids'],
  ];
  const can = words.flatMap(([has, word]) => (has ? [word] : []));
  return `${can.length === 0 ? 'files and folders only' : can.join(', ')}${probed ? '' : ' (as its type says)'}`;
}

function choices(drive: Drive | undefined, group: Group | undefined, view: View): Choice[] {
  const frozen = view.readOnly ? 'the dashboard was started with --read-only' : undefined;
  const away = drive ? undefined : 'it is not connected';
  const running = view.read('running').value ?? [];
  const real = drive && !drive.virtual ? 'only a virtual drive is removed; eject this one' : undefined;
  const remove = drive && {
    ...command(['detect', 'remove', drive.mount_path, '--yes'], `removal of ${drive.label}`),
  };
  return [
    { key: 'c', label: 'Close', effects: [] },
    {
      key: 'g',
      label: 'Show in groups',
      disabled: group ? undefined : 'it is in no group that is known here',
      effects: group ? [{ kind: 'go', screen: 'places', pick: group.id }] : [],
    },
    {
      key: 'e',
      label: 'Eject',
      disabled: frozen ?? away ?? (drive?.virtual ? 'a virtual drive cannot be ejected' : undefined),
      effects: drive ? ejectEffects(drive, running) : [],
    },
    {
      key: 'a',
      label: 'Use a folder as a drive',
      disabled: frozen,
      effects: [{ kind: 'overlay', overlay: addDriveForm() }],
    },
    {
      key: 'x',
      label: 'Remove',
      disabled: frozen ?? away ?? real,
      effects:
        remove && drive
          ? [
              {
                kind: 'overlay',
                overlay: confirmLoss(
                  `Remove the virtual drive ${drive.label}?`,
                  [
                    `${drive.mount_path} takes no part any more. No file in it is touched.`,
                    ...(group ? [`The group ${group.name} will miss it.`] : []),
                  ],
                  'Yes, remove it',
                  [remove],
                ),
              },
            ]
          : [],
    },
  ];
}
