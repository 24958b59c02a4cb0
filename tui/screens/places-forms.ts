/** Forms and questions about groups. What they save are commands, in words as on the command line. */
import { confirmLoss, type Field, fill } from '../dialogs.ts';
import type { GroupFacts } from '../reads/places.ts';
import type { Overlay } from '../screen.ts';
import { want } from '../wants.ts';
import type { GroupRow } from './home-rows.ts';
import type { Drive } from './places-rows.ts';
import { changedWords, command, drivesToChoose, freeDrives, look, nameTrouble } from './places-words.ts';

/** The drive that has that role, and those that could. */
function driveField(role: 'master' | 'backup', now: string, drives: readonly Drive[]): Field {
  const { choices, names } = freeDrives(drives, now);
  return {
    type: 'choice',
    name: role,
    label: role === 'master' ? 'Master' : 'Backup',
    value: '',
    choices: ['', ...choices.filter((path) => path !== '')],
    ...(names && { names }),
    help: 'Another drive is signed for this group; no file is touched. For one that was lost use R, replace',
  };
}

export function editGroup(group: GroupRow, drives: readonly Drive[]): Overlay {
  const { id, name, description } = group;
  return fill({
    title: `Group ${name}`,
    fields: [
      { type: 'text', name: 'name', label: 'Name', value: name },
      { type: 'text', name: 'description', label: 'Description', value: description, help: 'Notes; may stay empty' },
      driveField('master', group.master_drive.label, drives),
      driveField('backup', group.backup_drive.label, drives),
    ],
    wants: (values) => [want('pairing', String(values['master']), String(values['backup']), '')],
    check: ({ name: given, master, backup }, view) => {
      const { value } = view.read('pairing', String(master), String(backup), '');
      return {
        ...nameTrouble(String(given), 'group'),
        ...(master !== '' && value?.master && { master: value.master.message }),
        ...(backup !== '' && value?.backup && { backup: value.backup.message }),
      };
    },
    save: (values) => {
      const words = changedWords(values, { name, description, master: '', backup: '' });
      if (words.length === 0) return [];
      const back = changedWords({ name, description }, { name: values['name'], description: values['description'] });
      const drive = values['master'] !== '' || values['backup'] !== '';
      return [
        command(['groups', 'edit', id, ...words, ...(drive ? ['--yes'] : [])], `edit of ${name}`, {
          ...(!drive &&
            back.length > 0 && { undo: { label: `edit of ${name}`, words: ['groups', 'edit', id, ...back] } }),
        }),
      ];
    },
  });
}

export function deleteGroup({ id, name }: GroupRow, facts: GroupFacts | undefined): Overlay {
  const { projects = [], schedules = [], watchers = [] } = facts?.uses ?? {};
  const lost = (names: readonly string[], text: string): string[] =>
    names.length === 0 ? [] : [`${text}: ${names.join(', ')}.`];
  return confirmLoss(
    `Delete the group ${name}?`,
    [
      'It removes the relationship, never a file: both drives keep what is on them.',
      ...lost(projects, 'Projects that lie on it and lose their group'),
      ...lost(schedules, 'Schedules that will not run any more'),
      ...lost(watchers, 'Watchers that will not run any more'),
      ...(facts === undefined ? ['What uses it is still being read.'] : []),
    ],
    'Yes, delete the group',
    [command(['groups', 'delete', id, '--yes'], `deletion of ${name}`)],
  );
}

export function swapRoles({ id, name, master_drive: m, backup_drive: b }: GroupRow): Overlay {
  return confirmLoss(
    `Exchange the roles of ${name}?`,
    [`${b.label} becomes the Master, ${m.label} the Backup. From then on work on ${b.label}. No file is touched.`],
    'Yes, exchange them',
    [command(['groups', 'swap', id, '--yes'], `exchange of roles of ${name}`)],
  );
}

export function replaceDrive({ id, name, master_drive, backup_drive }: GroupRow, drives: readonly Drive[]): Overlay {
  return fill({
    title: `Replace a drive of ${name}`,
    fields: [
      {
        type: 'choice',
        name: 'role',
        label: 'Which one',
        value: 'backup',
        choices: ['backup', 'master'],
        names: { backup: `Backup ${backup_drive.label}`, master: `Master ${master_drive.label}` },
        help: 'The one that was lost, broken or reformatted',
      },
      {
        type: 'choice',
        name: 'drive',
        label: 'By',
        ...freeDrives(drives, 'no free drive is connected'),
        help: 'It is signed for this group; its first run compares, copies and deletes nothing',
      },
    ],
    check: ({ drive }): Record<string, string> => (drive === '' ? { drive: 'Plug in the new drive first.' } : {}),
    notes: ({ role }) => [
      `${role === 'master' ? master_drive.label : backup_drive.label} is no drive of ${name} after that. No file is touched on either.`,
    ],
    save: ({ role, drive }) => [
      look(['groups', 'replace', id, `--${role}=${drive}`, '--yes'], `replacement in ${name}`),
    ],
  });
}

/** Drives that another computer paired. */
export function adoptGroup(drives: readonly Drive[], groups: readonly GroupRow[]): Overlay {
  const strange = drives.filter(({ group_id }) => group_id !== null && !groups.some(({ id }) => id === group_id));
  return fill({
    title: 'Take over a group of another computer',
    fields: [
      {
        type: 'choice',
        name: 'drive',
        label: 'A drive of it',
        ...drivesToChoose(strange, 'no unknown pair is connected'),
        help: 'Plug in both drives of the pair. Nothing is signed anew',
      },
      {
        type: 'text',
        name: 'name',
        label: 'Name',
        value: '',
        blank: 'as the drives say',
        help: 'What it is called here',
      },
    ],
    save: ({ drive, name }) => [
      command(
        ['groups', 'adopt', ...(drive === '' ? [] : [String(drive)]), ...(name === '' ? [] : [`--name=${name}`])],
        'adoption',
      ),
    ],
  });
}
