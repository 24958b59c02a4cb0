/**
 * What opens the key ring of a group, as a user sees it: the ring is made once (`encrypt init`), passwords, key files and
 * recovery keys are its slots (`encrypt password`), and `encrypt status` says where its copies are. A slot has a number in
 * the order in which the slots were made, and a short id that stays. A recovery key is shown when it is made, never again.
 */
import { randomBytes } from 'node:crypto';
import { type Context, confirmed } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { type Column, type Output, type Paint, renderTable, type Verb } from '../shared/feature.ts';
import { formatTime } from '../shared/format.ts';
import type { Group } from '../shared/groups-file.ts';
import { isLabel, mergeRings, type RingSecret } from '../shared/keyring.ts';
import { quote, shellWord } from '../shared/named.ts';
import { withDefaults } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { recoveryLines } from '../shared/recovery-key.ts';
import {
  askedSecret,
  type GivenSecret,
  passwordsInStdin,
  type SecretFiles,
  secretInEnvironment,
  secretInFile,
} from '../shared/secrets.ts';
import { type Storage, storageLines, storageOf } from '../shared/storage.ts';
import { getGroup } from './groups.ts';
import { changeKeyring, findRings, groupKey, initKeyring, type RingPlace, type Slot, withDrives } from './keyring.ts';

/** A slot in plain terms; holds nothing that helps to open it. */
export interface SlotRow {
  /** From 1, in the order in which they were made. */
  slot: number;
  id: string;
  kind: Slot['kind'];
  label: string;
  created: string;
}

/** A copy of the ring, or the place of one. */
export interface RingCopy {
  where: 'master' | 'backup' | 'computer';
  /** `older`: it lacks a change that another copy has. */
  state: 'current' | 'older' | 'none' | 'unusable' | 'away';
  key_id: string | null;
  /** Why it cannot be used; null otherwise. */
  problem: string | null;
}

export interface KeyringStatus {
  group_id: string;
  name: string;
  enable_encryption: boolean;
  /** Null without a ring, and where copies are of different keys. */
  key_id: string | null;
  slots: SlotRow[];
  copies: RingCopy[];
  /** How the files of the Backup are stored; null: plain. */
  storage: Storage | null;
  /** Both drives are here and carry the same ring, and so does this computer. */
  agree: boolean;
}

/** Where copies of a group's ring are and what opens it; needs no secret, proves nothing, and writes nothing. */
export async function keyringStatus(group: Group, ctx: Context): Promise<KeyringStatus> {
  const places = await withDrives(group, ctx, (drives) => findRings(group, drives, ctx));
  return {
    group_id: group.id,
    name: group.name,
    enable_encryption: withDefaults(group.options).enable_encryption,
    ...compareRings(places),
    storage: await storageOf(group, ctx),
  };
}

/** What copies of a ring come to. */
export function compareRings(
  places: readonly RingPlace[],
): Pick<KeyringStatus, 'key_id' | 'slots' | 'copies' | 'agree'> {
  const rings = places.flatMap(({ ring }) => (ring === null ? [] : [ring]));
  const ids = new Set(rings.map(({ key_id }) => key_id));
  const [key_id = null] = ids.size === 1 ? ids : [];
  const merged = mergeRings(rings);
  const whole = contentOf(merged);
  const copies = (['master', 'backup', 'computer'] as const).map((where): RingCopy => {
    const place = places.find((one) => one.where === where);
    const ring = place?.ring ?? null;
    const state =
      place === undefined
        ? 'away'
        : ring !== null
          ? contentOf(ring) === whole
            ? 'current'
            : 'older'
          : place.problem === null
            ? 'none'
            : 'unusable';
    return { where, state, key_id: ring?.key_id ?? null, problem: place?.problem ?? null };
  });
  return {
    key_id,
    slots: key_id === null ? [] : slotRows(merged.slots),
    copies,
    agree: key_id !== null && copies.every(({ state }) => state === 'current'),
  };
}

// --- internal ---

/** What two copies of one ring can differ in. */
function contentOf({ slots, removed }: { slots: readonly Slot[]; removed: readonly string[] }): string {
  return JSON.stringify([slots.map(({ salt }) => salt).sort(), [...removed].sort()]);
}

const idOf = ({ salt }: Slot): string => salt.slice(0, 8);

function slotRows(slots: readonly Slot[]): SlotRow[] {
  return slots.map((one, index) => ({
    slot: index + 1,
    id: idOf(one),
    kind: one.kind,
    label: one.label,
    created: one.created,
  }));
}

const KIND = { password: 'password', key_file: 'key file', recovery: 'recovery key' } as const;

const COLUMNS: readonly Column<SlotRow>[] = [
  { title: 'Slot', value: (row) => String(row.slot), align: 'right' },
  { title: 'Id', value: (row) => row.id },
  { title: 'Kind', value: (row) => KIND[row.kind] },
  { title: 'Made', value: (row) => formatTime(new Date(row.created)) },
  { title: 'Label', value: (row) => displayPath(row.label) },
];

/** The slot that a number or the start of an id names. */
function slotNamed(text: string, slots: readonly Slot[], group: Group): Slot {
  const byNumber = /^\d{1,3}$/.test(text) ? slots[Number(text) - 1] : undefined;
  const byId = slots.filter((one) => text.length >= 4 && one.salt.startsWith(text.toLowerCase()));
  const found = byNumber ?? (byId.length === 1 ? byId[0] : undefined);
  if (found) return found;
  throw new TandemError('not_found', `The key ring of ${quote(group.name)} has no slot '${displayPath(text)}'.`, {
    hint: `\`tandem encrypt password ${shellWord(group.name)}\` lists them.`,
  });
}

// --- what is asked ---

const NEW_FLAGS = '--new-password-file FILE or --new-key-file FILE';

/** Not from the environment: that is the one which opens the ring now. */
async function newSecret(options: SecretFiles, ctx: Context): Promise<GivenSecret> {
  const given = secretInFile(options);
  return given ?? askedSecret({ question: 'New password:', what: 'new', flags: NEW_FLAGS }, ctx);
}

function labelOf(options: { label?: string }): string {
  const label = (options.label ?? '').trim();
  if (isLabel(label)) return label;
  throw new TandemError('usage', 'A label is one line of at most 60 characters.', { hint: 'Give a shorter --label.' });
}

interface Wish {
  kind: 'add' | 'change' | 'remove';
  /** As the user named it; empty: the only password. */
  slot: string;
  label: string;
  recovery: boolean;
}

function wishOf(options: Record<string, unknown>): Wish | undefined {
  const kinds = (['add', 'change', 'remove'] as const).filter((kind) => options[kind] !== undefined);
  const [kind] = kinds;
  const recovery = options['recovery'] === true;
  if (kinds.length > 1)
    throw new TandemError('usage', `--${kinds.join(' and --')} are given, and one thing is done at a time.`, {
      hint: 'Give one of --add, --change and --remove.',
    });
  const unused = NEW_OPTIONS.find((name) => options[name] !== undefined && (kind === undefined || kind === 'remove'));
  if (unused !== undefined)
    throw new TandemError('usage', 'A new secret is given, and nothing that it is for.', {
      hint: 'Say --add or --change SLOT.',
    });
  if (recovery && NEW_OPTIONS.some((name) => name.startsWith('new') && options[name] !== undefined))
    throw new TandemError('usage', 'A recovery key is made by tandem; no file can be given for it.', {
      hint: 'Give --recovery alone, or leave it out.',
    });
  if (kind === undefined) return undefined;
  const named = options[kind];
  return { kind, slot: typeof named === 'string' ? named : '', label: labelOf(options), recovery };
}

const NEW_OPTIONS = ['newPasswordFile', 'newKeyFile', 'recovery', 'label'] as const;

/** The slot that a wish is about. */
function aim(wish: Wish, slots: readonly Slot[], group: Group): Slot | undefined {
  if (wish.kind === 'add') return undefined;
  if (wish.slot !== '') return slotNamed(wish.slot, slots, group);
  const [only, ...others] = slots.filter(({ kind }) => kind === 'password');
  if (only && others.length === 0) return only;
  throw new TandemError(
    'usage',
    `The key ring of ${quote(group.name)} has ${others.length + (only ? 1 : 0)} passwords, so the slot has to be named.`,
    {
      hint: `\`tandem encrypt password ${shellWord(group.name)}\` lists the slots: --change SLOT.`,
    },
  );
}

// --- what is done ---

async function initRing(group: Group, options: Record<string, unknown>, ctx: Context): Promise<Output> {
  const label = labelOf(options);
  const secret = (): GivenSecret | Promise<GivenSecret> =>
    secretInFile(options) ??
    secretInEnvironment() ??
    askedSecret(
      {
        question: `New password for ${quote(group.name)}:`,
        what: 'new',
        flags: '--password-file FILE or --key-file FILE',
      },
      ctx,
    );
  const { ring, recovery } = await initKeyring(group, secret, ctx, label);
  const slots = slotRows(ring.slots);
  const text = (paint: Paint): string =>
    [
      `Made the key ring of ${quote(group.name)} (key ${ring.key_id.slice(0, 8)}) on both drives and this computer.`,
      '',
      ...paperText(recovery, paint),
      'Who loses the password and this paper loses the Backup: nobody can open it without one of them.',
      '',
      `Next: tandem groups set ${shellWord(group.name)} enable_encryption=true`,
    ].join('\n');
  const { key_id } = ring;
  return { json: { group_id: group.id, name: group.name, key_id, slots, recovery_key: recovery.join(' ') }, text };
}

function paperText(lines: readonly string[], paint: Paint): string[] {
  return [
    'Recovery key, shown this one time:',
    '',
    ...lines.map((line, index) => `  ${index + 1}   ${paint('bold', line)}`),
    '',
    'Write it on paper and keep it apart from the drives: it opens the Backup like a password.',
  ];
}

async function changeRing(group: Group, wish: Wish, options: Record<string, unknown>, ctx: Context): Promise<Output> {
  const files: SecretFiles = options;
  const fresh = { passwordFile: options['newPasswordFile'], keyFile: options['newKeyFile'] } as SecretFiles;
  const both = files.passwordFile === '-' && fresh.passwordFile === '-' ? passwordsInStdin() : undefined;
  const rings = await withDrives(group, ctx, (drives) => ringsIn(findRings(group, drives, ctx)));
  const before = mergeRings(rings).slots;
  // Where there is no one ring, what comes next says so.
  const target = new Set(rings.map(({ key_id }) => key_id)).size === 1 ? aim(wish, before, group) : undefined;
  const key = await withDrives(group, ctx, (drives) =>
    groupKey(group, drives, ctx, both?.present ?? secretInFile(files)),
  );
  const paper = wish.recovery || (target?.kind === 'recovery' && Object.values(fresh).every((file) => !file));
  let added: RingSecret | undefined;
  let lines: string[] = [];
  if (wish.kind !== 'remove' && paper) {
    const bytes = randomBytes(32);
    lines = recoveryLines(bytes);
    added = { kind: 'recovery', bytes };
  } else if (wish.kind !== 'remove') added = both?.fresh ?? (await newSecret(fresh, ctx));
  if (wish.kind === 'remove' && target)
    await confirmed(`Remove slot ${before.indexOf(target) + 1} (${describe(target)}) of ${quote(group.name)}?`, ctx);
  const { ring, problems } = await changeKeyring(
    group,
    key,
    (slots, wrap) => {
      const gone = target && slotNamed(target.salt, slots, group);
      const kept = slots.filter((one) => one !== gone);
      return added === undefined ? kept : [...kept, wrap(added, wish.label === '' ? (gone?.label ?? '') : wish.label)];
    },
    ctx,
  );
  if (added && added.kind !== 'password') added.bytes.fill(0);
  key.key.fill(0);
  for (const message of problems) ctx.emit({ kind: 'warning', message });
  return changedOutput(group, wish, ring.slots, lines, ctx);
}

const ringsIn = (places: readonly RingPlace[]) => places.flatMap(({ ring }) => (ring === null ? [] : [ring]));

function describe({ kind, label, created }: Slot): string {
  return [KIND[kind], ...(label === '' ? [] : [quote(label)]), `made ${formatTime(new Date(created))}`].join(', ');
}

async function changedOutput(
  group: Group,
  wish: Wish,
  slots: readonly Slot[],
  lines: readonly string[],
  ctx: Context,
): Promise<Output> {
  const rows = slotRows(slots);
  const { copies } = await keyringStatus(group, ctx);
  const away = copies.filter(({ where, state }) => where !== 'computer' && state !== 'current');
  const done = { add: 'Added a slot', change: 'Changed a slot', remove: 'Removed a slot' }[wish.kind];
  const text = (paint: Paint): string =>
    [
      `${done} of the key ring of ${quote(group.name)}; nothing on the Backup was sealed anew.`,
      ...(away.length === 0
        ? []
        : [
            `${away.map(({ where }) => (where === 'master' ? 'The Master' : 'The Backup')).join(' and ')} still carries the ring as it was, until the next change or sync with it.`,
          ]),
      ...(wish.kind === 'add'
        ? []
        : ['What opened the slot still opens copies of the ring that somebody made before.']),
      ...(lines.length === 0 ? [] : ['', ...paperText(lines, paint), '']),
      renderTable(rows, COLUMNS, paint),
    ].join('\n');
  const recovery = lines.length === 0 ? {} : { recovery_key: lines.join(' ') };
  return { json: { group_id: group.id, name: group.name, slots: rows, copies, ...recovery }, text };
}

function statusOutput(status: KeyringStatus, group: Group): Output {
  const names = {
    master: `Master ${quote(group.master_drive.label)}`,
    backup: `Backup ${quote(group.backup_drive.label)}`,
    computer: 'this computer',
  };
  const saying = ({ state, problem, key_id }: RingCopy): string => {
    if (status.key_id === null && key_id !== null) return `a ring of the key ${key_id.slice(0, 8)}`;
    const words = { current: 'the ring', older: 'an older ring', none: 'no ring', away: 'not connected' };
    return state === 'unusable' ? `cannot be used: ${problem}` : words[state];
  };
  const ring = status.copies.some(({ state }) => state !== 'none' && state !== 'away');
  const width = Math.max(...Object.values(names).map(({ length }) => length));
  const text = (paint: Paint): string =>
    [
      `${paint('bold', displayPath(status.name))}  encryption is ${status.enable_encryption ? 'on' : 'off'}${status.key_id === null ? '' : `, key ${status.key_id.slice(0, 8)}`}`,
      ...(status.storage === null ? [] : storageLines(status.storage).map((line) => `  ${line}`)),
      ...status.copies.map((copy) => `  ${names[copy.where].padEnd(width)}  ${saying(copy)}`),
      ...(ring ? [] : [`There is no key ring. Make it with: tandem encrypt init ${shellWord(status.name)}`]),
      ...(ring && status.key_id === null && status.copies.some(({ key_id }) => key_id !== null)
        ? [paint('bad', 'The copies are of different keys: disconnect or move away the one that does not belong here.')]
        : []),
      ...(status.slots.length === 0 ? [] : [renderTable(status.slots, COLUMNS, paint)]),
    ].join('\n');
  return { json: status, text };
}

// --- commands ---

const GROUP = { name: 'group', description: 'id, unique start of an id, or name', complete: 'group' } as const;
const PASSWORD_FILE = 'file that holds the password or recovery key; - for stdin';
const SECRETS = [
  { flags: '--password-file <file>', description: PASSWORD_FILE, complete: 'path' },
  { flags: '--key-file <file>', description: 'file of at least 32 bytes that is the key', complete: 'path' },
] as const;
const LABEL = { flags: '--label <text>', description: 'what to call the slot' } as const;

/** Verbs of the command `encrypt`. */
export const ringVerbs: Readonly<Record<string, Verb>> = {
  init: {
    summary: 'make the key of a group, and show its recovery key once; both drives have to be connected',
    examples: ['tandem encrypt init Archive', 'tandem encrypt init Archive --key-file archive.key'],
    args: [GROUP],
    options: [...SECRETS, LABEL],
    run: async ({ args, options }, ctx) => initRing(getGroup(args['group'], ctx), options, ctx),
  },
  password: {
    summary: 'list, add, change or remove what opens the key of a group; no file is sealed anew',
    examples: [
      'tandem encrypt password Archive',
      'tandem encrypt password Archive --change',
      'tandem encrypt password Archive --add --new-key-file archive.key',
      'tandem encrypt password Archive --add --recovery',
      'tandem encrypt password Archive --remove 2',
    ],
    args: [GROUP],
    options: [
      { flags: '--add', description: 'one more password, key file or recovery key' },
      { flags: '--change [slot]', description: 'another secret in the place of this one (default: the only password)' },
      { flags: '--remove <slot>', description: 'a slot by its number or id' },
      { flags: '--recovery', description: 'a new recovery key, shown once' },
      {
        flags: '--new-password-file <file>',
        description: 'file that holds the new password; - for the last line of stdin',
        complete: 'path',
      },
      { flags: '--new-key-file <file>', description: 'file that is the new key', complete: 'path' },
      ...SECRETS,
      LABEL,
    ],
    run: async ({ args, options }, ctx): Promise<Output> => {
      const group = getGroup(args['group'], ctx);
      const wish = wishOf(options);
      if (wish) return changeRing(group, wish, options, ctx);
      const { slots, ...status } = await keyringStatus(group, ctx);
      if (slots.length === 0) return statusOutput({ slots, ...status }, group);
      return {
        json: { group_id: group.id, name: group.name, slots },
        text: (paint) => renderTable(slots, COLUMNS, paint),
      };
    },
  },
  status: {
    summary: 'how the files of a group are stored, where its key ring is, and what opens it',
    examples: ['tandem encrypt status Archive', 'tandem encrypt status Archive --json'],
    args: [GROUP],
    run: async ({ args }, ctx) => {
      const group = getGroup(args['group'], ctx);
      return statusOutput(await keyringStatus(group, ctx), group);
    },
  },
};
