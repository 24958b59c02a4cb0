/**
 * The key of a sealed group: made, its passwords changed, its recovery key shown. Secrets go to the command's stdin and never
 * become words; what such a command prints is handed to the dialog alone, and neither toast, file nor undo gets it.
 */
import { type Canvas, dialogBox } from '../canvas.ts';
import { askLive, type Choice, confirmLoss, type Field, type FormValues, fill } from '../dialogs.ts';
import type { ReadResult } from '../reads.ts';
import type { Command, Effect, Overlay, View } from '../screen.ts';
import { wrap } from '../table.ts';
import { want } from '../wants.ts';
import type { GroupRow } from './home-rows.ts';
import { command } from './places-words.ts';

type Status = ReadResult<'keyring'>;
type Named = Pick<GroupRow, 'id' | 'name'>;

export function encryptionDialog(group: Named): Overlay {
  return askLive([want('keyring', group.id)], (view) => {
    const { value, error } = view.read('keyring', group.id);
    return {
      title: `Encryption of ${group.name}`,
      lines: value ? ringLines(value) : [error ?? 'Reading the key ring …'],
      choices: ringChoices(group, value, view),
    };
  });
}

/** Shown this one time; nothing but a yes closes it. */
export function recoveryDialog(group: Named, lines: readonly string[], then: readonly Effect[], yes = false): Overlay {
  const overlay: Overlay = {
    hints: '↑↓ choose   Enter',
    draw: (canvas) => drawRecovery(canvas, group, lines, yes),
    input: (event) => {
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'y' || (key === 'enter' && yes)) return { overlay: null, effects: then };
      if (['up', 'down', 'j', 'k', 'tab', 'S-tab'].includes(key))
        return { overlay: recoveryDialog(group, lines, then, !yes) };
      return { overlay };
    },
  };
  return overlay;
}

/** The four lines in what `encrypt init --json` or `encrypt password --json` printed; none: there is none. */
export function recoveryLinesIn(printed: readonly string[]): string[] {
  const found = /"recovery_key":\s*"([0-9A-Z -]+)"/.exec(printed.join('\n'))?.[1];
  return found === undefined ? [] : found.split(' ');
}

// --- internal ---

const WHERE = { master: 'Master', backup: 'Backup', computer: 'This computer' } as const;
const STATE = {
  current: 'the ring',
  older: 'an older ring',
  none: 'no ring',
  unusable: 'cannot be used',
  away: 'not connected',
};
const KIND = { password: 'password', key_file: 'key file', recovery: 'recovery key' } as const;

function ringLines({ enable_encryption, key_id, copies, slots, agree }: Status): string[] {
  const none = slots.length === 0 && key_id === null;
  return [
    `Encryption is ${enable_encryption ? 'on' : 'off'}${key_id === null ? '' : `; key ${key_id.slice(0, 8)}`}.`,
    ...copies.map(
      ({ where, state, problem }) =>
        `${WHERE[where].padEnd(14)} ${STATE[state]}${problem === null ? '' : `: ${problem}`}`,
    ),
    ...(none
      ? ['There is no key ring yet. Set it up with both drives connected, before the first sealed sync.']
      : slots.map(
          ({ slot, kind, label, created }) => `Slot ${slot}  ${KIND[kind]}, made ${created.slice(0, 10)}  ${label}`,
        )),
    ...(none || agree ? [] : ['The copies do not all agree; the next change or sync brings them together.']),
  ];
}

function ringChoices(group: Named, status: Status | undefined, view: View): Choice[] {
  const frozen = view.readOnly ? 'the dashboard was started with --read-only' : undefined;
  const reading = status === undefined ? 'it is still being read' : undefined;
  const ring = (status?.slots.length ?? 0) > 0;
  const noRing = frozen ?? reading ?? (ring ? undefined : 'there is no key ring yet');
  const on = status?.enable_encryption === true;
  const opens = (key: string, label: string, overlay: Overlay, disabled: string | undefined): Choice => {
    return { key, label, disabled, effects: [{ kind: 'overlay', overlay }] };
  };
  return [
    { key: 'c', label: 'Close', effects: [] },
    opens(
      'i',
      'Set up: password or key file',
      initForm(group),
      frozen ?? reading ?? (ring ? 'there is a key ring already' : undefined),
    ),
    {
      key: 'o',
      label: on ? 'Turn encryption off' : 'Turn encryption on',
      disabled: on ? frozen : noRing,
      effects: [turn(group, !on)],
    },
    opens('p', 'Change a password', changeForm(group, status, 'change'), noRing),
    opens('k', 'Add a password or key file', changeForm(group, status, 'add'), noRing),
    opens('r', 'New recovery key', changeForm(group, status, 'recovery'), noRing),
    opens('x', 'Remove what opens it', changeForm(group, status, 'remove'), noRing),
  ];
}

function turn({ id, name }: Named, on: boolean): Effect {
  const words = (value: boolean): string[] => ['groups', 'set', id, `enable_encryption=${value}`];
  return command(words(on), `encryption of ${name}`, { undo: { label: `encryption of ${name}`, words: words(!on) } });
}

/** A command that is given secrets; also without any it keeps what it prints out of files. */
function secretly(
  words: readonly string[],
  label: string,
  stdin: string,
  group: Named,
  then: readonly Effect[],
): Command {
  return {
    kind: 'command',
    words: [...words, '--json'],
    label,
    stdin,
    after: ({ lines }) => {
      const paper = recoveryLinesIn(lines);
      const done: Effect = { kind: 'toast', style: 'good', text: `${label}: done` };
      if (paper.length === 0) return [done, ...then];
      return [{ kind: 'overlay', overlay: recoveryDialog(group, paper, [done, ...then]) }];
    },
  };
}

const PASSWORDS: readonly Field[] = [
  {
    type: 'choice',
    name: 'kind',
    label: 'Opened by',
    value: 'password',
    choices: ['password', 'key file'],
    help: 'A password that is typed, or a file of at least 32 bytes that only you can read',
  },
  { type: 'text', name: 'password', label: 'New password', value: '', secret: true },
  { type: 'text', name: 'again', label: 'Once more', value: '', secret: true },
  {
    type: 'text',
    name: 'file',
    label: 'New key file',
    value: '',
    blank: 'only for a key file',
    help: 'Path of the file',
  },
  { type: 'text', name: 'label', label: 'Label', value: '', help: 'What to call it in the list; may stay empty' },
];

function checkNew({ kind, password, again, file }: FormValues): Record<string, string> {
  if (kind === 'key file') return String(file).trim() === '' ? { file: 'Say which file is the key.' } : {};
  if (password === '') return { password: 'The password is empty; give one that nobody guesses.' };
  return password === again ? {} : { again: 'The two passwords differ.' };
}

function initForm(group: Named): Overlay {
  const { id, name } = group;
  return fill({
    title: `Encryption of ${name}: set up`,
    fields: PASSWORDS,
    check: checkNew,
    notes: () => ['A recovery key is shown once afterwards: have paper at hand. Who loses both loses the Backup.'],
    save: ({ kind, password, file, label }) => {
      const secret = kind === 'key file' ? [`--key-file=${String(file).trim()}`] : ['--password-file=-'];
      const words = ['encrypt', 'init', id, ...secret, ...(label === '' ? [] : [`--label=${label}`])];
      const next = confirmOn(group);
      const stdin = kind === 'key file' ? '' : `${password}\n`;
      return [secretly(words, `key of ${name}`, stdin, group, [{ kind: 'overlay', overlay: next }])];
    },
  });
}

function confirmOn(group: Named): Overlay {
  return askLive([], () => ({
    title: `Seal the Backup of ${group.name} from now on?`,
    lines: ['The next sync seals its files. It can be turned on and off at any time.'],
    choices: [
      { key: 'y', label: 'Yes, turn encryption on', effects: [turn(group, true)] },
      { key: 'n', label: 'Not now', effects: [] },
    ],
  }));
}

type Wish = 'change' | 'add' | 'recovery' | 'remove';

const TITLES: Readonly<Record<Wish, string>> = {
  change: 'change a password',
  add: 'add a password or key file',
  recovery: 'new recovery key',
  remove: 'remove what opens it',
};

function changeForm({ id, name }: Named, status: Status | undefined, wish: Wish): Overlay {
  const slots = status?.slots ?? [];
  const names = Object.fromEntries(
    slots.map(({ id: one, slot, kind, label }) => [one, `${slot}  ${KIND[kind]} ${label}`]),
  );
  const chosen = slots.filter(({ kind }) => wish !== 'change' || kind !== 'recovery').map((one) => one.id);
  const slot: Field = { type: 'choice', name: 'slot', label: 'Slot', value: chosen[0] ?? '', choices: chosen, names };
  const present: Field[] = [
    {
      type: 'text',
      name: 'present',
      label: 'Present password',
      value: '',
      secret: true,
      help: 'Or the recovery key. Empty: the files that the options of the group name',
    },
    { type: 'text', name: 'key', label: 'Or key file', value: '', help: 'Path of a key file that opens it now' },
  ];
  const fields = [
    ...(wish === 'change' || wish === 'remove' ? [slot] : []),
    ...present,
    ...(wish === 'change' || wish === 'add' ? PASSWORDS : []),
  ];
  return fill({
    title: `Encryption of ${name}: ${TITLES[wish]}`,
    fields,
    check: (values) => ({
      ...(values['present'] !== '' && values['key'] !== '' && { key: 'Give a password or a key file, not both.' }),
      ...(wish === 'change' || wish === 'add' ? checkNew(values) : {}),
    }),
    notes: () =>
      wish === 'remove'
        ? ['The last one cannot be removed. Copies of a drive that somebody made before open as they did.']
        : [],
    save: (values) => {
      const change = changeCommand({ id, name }, wish, values);
      if (wish !== 'remove') return [change];
      const question = confirmLoss(
        `Remove slot ${names[String(values['slot'])] ?? ''} of ${name}?`,
        ['What is removed opens the Backup no more. Nothing else can bring it back.'],
        'Yes, remove it',
        [change],
      );
      return [{ kind: 'overlay', overlay: question }];
    },
  });
}

function changeCommand(group: Named, wish: Wish, values: FormValues): Command {
  const text = (key: string): string => String(values[key] ?? '');
  const does = {
    change: [`--change=${text('slot')}`],
    add: ['--add'],
    recovery: ['--add', '--recovery'],
    remove: [`--remove=${text('slot')}`, '--yes'],
  };
  const [present, key] = [text('present'), text('key').trim()];
  const fresh = wish === 'change' || wish === 'add';
  const file = fresh && values['kind'] === 'key file';
  const words = [
    ...does[wish],
    ...(present === '' ? [] : ['--password-file=-']),
    ...(key === '' ? [] : [`--key-file=${key}`]),
    ...(fresh ? [file ? `--new-key-file=${text('file').trim()}` : '--new-password-file=-'] : []),
    ...(text('label') === '' ? [] : [`--label=${text('label')}`]),
  ];
  const stdin = [present, fresh && !file ? text('password') : ''].filter((one) => one !== '').map((one) => `${one}\n`);
  return secretly(['encrypt', 'password', group.id, ...words], `key of ${group.name}`, stdin.join(''), group, []);
}

function drawRecovery(canvas: Canvas, { name }: Named, lines: readonly string[], yes: boolean): void {
  const width = Math.min(canvas.width - 4, 66);
  const why = [
    ...wrap(`Recovery key of ${name}, shown this one time. It opens the Backup like a password.`, width - 4),
    ...wrap('Write it on paper and keep it apart from the drives. It is stored nowhere.', width - 4),
  ];
  const box = dialogBox(canvas, width, why.length + lines.length + 7, 'Recovery key', true);
  why.forEach((line, y) => {
    box.put(0, y, line);
  });
  lines.forEach((line, index) => {
    box.put(4, why.length + 1 + index, `${index + 1}   ${line}`, 'bold');
  });
  const answers: [string, string, boolean][] = [
    ['n', 'Not yet', !yes],
    ['y', 'Yes, it is on paper', yes],
  ];
  answers.forEach(([key, label, here], index) => {
    const y = why.length + lines.length + 2 + index;
    if (here) box.fillLine(y, 'plain', true);
    box.spans(0, y, [[here ? '▸ ' : '  '], [key, 'key'], [`  ${label}`]], here);
  });
}
