/**
 * The decision: given what was recorded when both sides last agreed (the baseline) and what stands on Master and Backup
 * now, what is to be done to each path? Pure: no disk, no clock. Where a decision needs the content of a file, the path
 * comes back as a need; the caller reads checksums and asks again with them as evidence.
 *
 * A path is compared three ways, as in the table of docs/safety.md. What is not known is never taken for absent.
 */
import { Entry } from '../shared/listing.ts';
import { isInside, type KeyRules, parentOf, pathKey, sortPaths } from '../shared/paths.ts';
import { hasSettled } from '../shared/rows.ts';
import type { Suffix } from '../shared/stored.ts';
import { type SideRules, type SideState, sideState } from './sides.ts';

export type { SideRules } from './sides.ts';

/** What was recorded of a path when both sides last agreed. */
export interface Recorded {
  path: string;
  checksum: string;
  checksum_algorithm: string;
  master_facts: string;
  backup_facts: string;
  link_target: string;
  /** Its name on a Backup that stores it in another form; else empty. */
  stored_name?: string;
  /** Not empty: its content is compared before it is believed (shared/rows.ts). */
  doubt: string;
}

/** Both maps are keyed by `pathKey`; entries that are equal to their record on both sides may be left out of all three. */
export interface Trees {
  baseline: ReadonlyMap<string, Recorded>;
  master: ReadonlyMap<string, Entry>;
  backup: ReadonlyMap<string, Entry>;
}

export interface Rules {
  onMasterDelete: 'ask' | 'trash' | 'keep';
  onBackupDelete: 'restore' | 'ask';
  /** Leave whatever is on the Backup already, equal or not. */
  skipExisting: boolean;
  /** Equal size and time without a record are taken for equal content. */
  trustMtime: boolean;
  /** Read every file on both sides. */
  compareContents: boolean;
  /** Write every path's metadata and record anew. */
  full: boolean;
  /** Something about the drives is doubtful: what is absent on the Backup is copied, every other difference is a conflict. */
  careful: boolean;
  /** Both drives keep permissions. */
  permissions: boolean;
  owner: boolean;
  master: SideRules;
  backup: SideRules;
  keys: KeyRules;
  /** A file that the Backup stores so may stay so. */
  isStoredWell(path: string, stored: Suffix): boolean;
  /** Left alone in this run: filtered out, or below something that could not be read. */
  frozen(path: string): boolean;
  /** That side could not be read there, so a missing entry proves nothing. */
  unknown(path: string): boolean;
  /** The Backup's folder holds something that is in neither tree: it could not be read, or the filter leaves it out. */
  holdsOthers(path: string): boolean;
}

export type ConflictType =
  | 'modified_both'
  | 'modified_backup'
  | 'deleted_master'
  | 'deleted_backup'
  | 'size_mismatch'
  | 'new_backup'
  | 'undone';

/** One step of a plan, as `sync plan --json` prints it and `sync apply` takes it. */
export interface Action {
  kind: 'mkdir' | 'move' | 'copy' | 'update' | 'convert' | 'meta' | 'adopt' | 'forget' | 'delete' | 'conflict' | 'skip';
  path: string;
  /** Of a move: where it stands on the Backup when its turn comes. */
  from?: string;
  /** Files that a moved folder takes along. */
  files?: number;
  /** What stands, or stood, there: f file, d folder, l symbolic link. */
  entry: 'f' | 'd' | 'l';
  size: number;
  reason: string;
  /** The facts that the decision rests on; null: not there. */
  master: string | null;
  backup: string | null;
  conflict_type?: ConflictType;
  /** Copied from this path of the other side instead of its own; such a copy says nothing about what both sides agree on. */
  source_path?: string;
  /** Hard link to this path instead of a copy. */
  link_to?: string;
  sparse?: true;
  /** The Backup's file has other names, whose changes move its ctime, mode and owner. */
  backup_shared?: true;
  /** How the Backup stores what stands there; its facts are those of the stored file. */
  stored?: Suffix;
  /** Facts of what has the name that the file is to get on the Backup, besides the file itself. */
  occupied?: string;
  /** A further form of the file, which an interrupted run left on the Backup. */
  leftover?: { path: string; facts: string };
  /** Link target, for records. */
  target?: string;
  /** Checksum that evidence gave, with its algorithm; for records. */
  checksum?: string;
  checksum_algorithm?: string;
}

/** A file whose content decides. */
export interface Need {
  path: string;
  key: string;
  side: 'master' | 'backup';
  facts: string;
  size: number;
  algorithm: string | null;
  /** How it is stored there. */
  stored: Suffix;
}

/** Checksums read on request, by key. An empty text: the file could not be read, so its path stays as it is. */
export type Evidence = ReadonlyMap<string, { master?: string; backup?: string; algorithm?: string }>;

export interface Reconciled {
  /** Parents before children. */
  actions: Action[];
  needs: Need[];
  /** Files that are equal, or left alone, on both sides. */
  skipped: number;
  /** Sockets, fifos and devices on the Master, never copied. */
  special: string[];
  /** Keys that are gone from the Master while the Backup is as recorded: deleted, or moved (features/moves.ts). */
  gone: string[];
}

/**
 * Decides every path of `trees`.
 * @returns actions in path order, or the files to be read first: while `needs` is not empty, their paths have no action.
 */
export function reconcile(trees: Trees, rules: Rules, evidence: Evidence = new Map()): Reconciled {
  const decisions: Decision[] = [];
  const out: Reconciled = { actions: [], needs: [], skipped: 0, special: [], gone: [] };
  const doubted: Subject[] = [];
  for (const key of sortedKeys(trees)) {
    const decision = decide(trees, key, rules, evidence, doubted);
    switch (decision.kind) {
      case 'need':
        out.needs.push(...decision.needs);
        break;
      case 'equal':
        out.skipped += decision.file ? 1 : 0;
        if (decision.gone) out.gone.push(key);
        break;
      case 'special':
        out.special.push(decision.path);
        break;
      case 'frozen':
        out.skipped += decision.file ? 1 : 0;
        break;
      case 'act':
        decisions.push(decision);
        if (isGone(decision)) out.gone.push(key);
        break;
      default:
        decision satisfies never;
    }
  }
  out.actions = keepNonEmptyFolders(absorbReplacedTrees(decisions, trees, rules), trees);
  out.actions.push(...respelled(out.actions, trees, rules.keys));
  out.actions.push(...doubted.map(forgetRow));
  return out;
}

// --- internal ---

interface Decision {
  kind: 'act';
  key: string;
  action: Action;
  backupState: SideState;
}

type Decided =
  | Decision
  | { kind: 'need'; needs: Need[] }
  | { kind: 'equal'; file: boolean; gone?: true }
  | { kind: 'frozen'; file: boolean }
  | { kind: 'special'; path: string };

interface Subject {
  key: string;
  path: string;
  row: Recorded | undefined;
  m: Entry | undefined;
  b: Entry | undefined;
}

/** Parents first, siblings in code-unit order. */
function sortedKeys(trees: Trees): string[] {
  const keys = new Set(trees.master.keys());
  for (const key of trees.baseline.keys()) keys.add(key);
  for (const key of trees.backup.keys()) keys.add(key);
  return sortPaths(keys);
}

function decide(trees: Trees, key: string, rules: Rules, evidence: Evidence, doubted: Subject[]): Decided {
  const m = trees.master.get(key);
  const b = trees.backup.get(key);
  const row = trees.baseline.get(key);
  const path = m?.path ?? row?.path ?? b?.path ?? key;
  const subject: Subject = { key, path, row, m, b };
  if (rules.frozen(path) || ((m === undefined || b === undefined) && rules.unknown(path))) {
    if (rules.careful && row) doubted.push(subject);
    return { kind: 'frozen', file: m?.kind === 'f' };
  }
  if (m?.kind === 'o') return { kind: 'special', path };
  if (b?.kind === 'o')
    return conflict(
      subject,
      m ? 'modified_both' : 'new_backup',
      'a device, socket or pipe has this name on the Backup',
    );
  if (rules.careful) return decideCarefully(subject, rules, evidence, doubted);
  return row ? decideRecorded(subject, row, rules, evidence) : decideNew(subject, rules, evidence);
}

/**
 * A record is believed only where both sides are as it says. Any other is forgotten, here and in every path that this run
 * does not look at, so that later runs do not believe it either. Times and permissions are left as they are, too.
 */
function decideCarefully(subject: Subject, rules: Rules, evidence: Evidence, doubted: Subject[]): Decided {
  const { row } = subject;
  const plain: Rules = { ...rules, skipExisting: false, trustMtime: false, onBackupDelete: 'restore' };
  const fresh = (): Decided => decideNew({ ...subject, row: undefined }, plain, evidence);
  let decided = row ? decideRecorded(subject, row, plain, evidence) : fresh();
  if (decided.kind === 'act' && decided.action.kind === 'update') decided = fresh();
  if (decided.kind === 'act' && decided.action.kind === 'convert') {
    // Its content was compared just now, or else it is as recorded.
    if (decided.action.checksum !== undefined) decided.action.kind = 'adopt';
    else decided = { kind: 'equal', file: true };
  }
  if (decided.kind === 'act' && decided.action.kind === 'delete')
    decided = conflict(subject, 'deleted_master', 'not on the Master', decided.backupState);
  const stays = decided.kind === 'act' && decided.action.kind === 'conflict';
  if (row && (stays || decided.kind === 'frozen')) doubted.push(subject);
  if (decided.kind !== 'act') return decided;
  if (decided.action.kind === 'meta') decided.action.kind = 'adopt';
  if (stays) decided.action.reason += ' (this run is careful)';
  return decided;
}

function forgetRow({ path, row, m, b }: Subject): Action {
  const { kind } = new Entry(row?.master_facts ?? 'f', path);
  const entry = kind === 'o' ? 'f' : kind;
  const [master, backup] = [m?.facts ?? null, b?.facts ?? null];
  return { kind: 'forget', path: row?.path ?? path, entry, size: 0, reason: 'not confirmed', master, backup };
}

/** No record: the path was never agreed on. */
function decideNew(subject: Subject, rules: Rules, evidence: Evidence): Decided {
  const { m, b } = subject;
  if (m && !b) return act(subject, m.kind === 'd' ? 'mkdir' : 'copy', 'new on the Master');
  if (!m && b) return conflict(subject, 'new_backup', 'only on the Backup, and tandem did not put it there');
  if (!m || !b) return { kind: 'equal', file: false };
  if (m.kind === 'd' && b.kind === 'd')
    return act(subject, metadataEqual(m, b, rules) ? 'adopt' : 'meta', 'the folder is on both sides');
  if (rules.skipExisting) return act(subject, 'skip', 'on the Backup already');
  if (m.kind !== b.kind) return conflict(subject, 'modified_both', 'of another type on each side');
  if (m.kind === 'l') {
    if (m.target !== b.target) return conflict(subject, 'modified_both', 'the link points elsewhere on each side');
    return act(subject, metadataEqual(m, b, rules) ? 'adopt' : 'meta', 'equal on both sides');
  }
  if (b.stored === '' && m.size !== b.size) return unequalContent(subject, m, b, rules);
  if (rules.trustMtime && !rules.compareContents && timesEqual(m.mtime, b.mtime, rules))
    return act(subject, 'adopt', 'equal size and time (--trust-mtime)');
  return compareBoth(subject, m, b, rules, evidence);
}

function unequalContent(subject: Subject, m: Entry, b: Entry, rules: Rules): Decided {
  const mismatch = b.stored === '' && m.size !== b.size && timesEqual(m.mtime, b.mtime, rules);
  return mismatch
    ? conflict(subject, 'size_mismatch', 'equal times but different sizes')
    : conflict(
        subject,
        'modified_both',
        subject.row ? 'changed on both sides' : 'different on both sides, and never synced',
      );
}

/** Reads both sides: equal content is adopted. */
function compareBoth(subject: Subject, m: Entry, b: Entry, rules: Rules, evidence: Evidence): Decided {
  const read = evidence.get(subject.key);
  if (read?.master === undefined || read.backup === undefined) {
    return { kind: 'need', needs: [need(subject, 'master', m, null), need(subject, 'backup', b, null)] };
  }
  if (read.master === '' || read.backup === '') return { kind: 'frozen', file: true };
  if (read.master !== read.backup) return unequalContent(subject, m, b, rules);
  // What it is adopted in may be another form than it is to have: that is never recorded as it is.
  const well = rules.isStoredWell(subject.path, b.stored);
  const kind = !well ? 'convert' : metadataEqual(m, b, rules) ? 'adopt' : 'meta';
  return act(subject, kind, 'equal content on both sides', { checksum: read.master });
}

function decideRecorded(subject: Subject, row: Recorded, rules: Rules, evidence: Evidence): Decided {
  const { m, b } = subject;
  const unproved = row.checksum === '' && b?.kind === 'f' && !rules.isStoredWell(subject.path, b.stored);
  const doubt = row.doubt !== '' || rules.compareContents || rules.full || unproved;
  let master = sideState(m, row.master_facts, row, rules.master, doubt);
  const stored = (b?.stored ?? '') !== '' || (row.stored_name ?? '') !== '';
  let backup = sideState(b, row.backup_facts, row, rules.backup, doubt, stored);
  if (isFile(m, master) || isFile(b, backup)) {
    const read = settleTouched(subject, row, master, backup, evidence);
    if (read.kind !== 'settled') return read;
    ({ master, backup } = read);
  }
  if (master === 'absent') return masterGone(subject, backup, rules);
  if (backup === 'absent') return backupGone(subject, master, rules);
  if (master !== 'changed' && backup !== 'changed') return bothSame(subject, row, master, backup, rules, evidence);
  if (m?.kind === 'd' && b?.kind === 'd') return act(subject, 'meta', 'the folder is on both sides');
  if (rules.skipExisting) return act(subject, 'skip', 'on the Backup already');
  if (master === 'changed' && backup === 'changed') return bothChanged(subject, rules, evidence);
  if (master === 'changed' && m?.kind === 'f' && hasSettled(row.doubt) && m.facts === row.master_facts)
    return conflict(
      subject,
      'modified_both',
      'its content on the Master changed, but neither size nor time did: it may be damaged there',
      backup,
    );
  if (master === 'changed')
    return act(subject, 'update', m?.kind === b?.kind ? 'changed on the Master' : 'of another type on the Master', {
      backup,
    });
  return conflict(subject, 'modified_backup', 'changed on the Backup only', backup);
}

function isGone({ action, backupState }: Decision): boolean {
  return backupState !== 'changed' && (action.kind === 'delete' || action.conflict_type === 'deleted_master');
}

function isFile(entry: Entry | undefined, state: SideState): boolean {
  return state === 'touched' && entry?.kind === 'f';
}

function bothSame(
  subject: Subject,
  row: Recorded,
  master: SideState,
  backup: SideState,
  rules: Rules,
  evidence: Evidence,
): Decided {
  const { m, b } = subject;
  const read = evidence.get(subject.key);
  if (!m || !b) return { kind: 'equal', file: false };
  const well = m.kind !== 'f' || rules.isStoredWell(subject.path, b.stored);
  // Of a record without a checksum both contents were read just now.
  const proved = row.checksum === '' ? read?.master : undefined;
  if (!well && (row.checksum !== '' || proved))
    return act(subject, 'convert', 'is to be stored in another form', proved ? { checksum: proved } : {});
  const sameFacts = m.facts === row.master_facts && b.facts === row.backup_facts;
  if (sameFacts && row.doubt === '' && !rules.full && well) return { kind: 'equal', file: m.kind !== 'd' };
  if (rules.full) return act(subject, 'meta', 'everything is written anew (--full)');
  if (sameFacts) return act(subject, 'adopt', 'content confirmed');
  if (master === 'same' && backup === 'same')
    return act(subject, 'adopt', 'the drive reports the same file in other words');
  return act(subject, 'meta', 'only permissions, times or attributes changed');
}

function masterGone(subject: Subject, backup: SideState, rules: Rules): Decided {
  if (backup === 'absent') return act(subject, 'forget', 'gone from both sides');
  if (backup === 'changed' && subject.b?.kind !== 'd')
    return conflict(subject, 'deleted_master', 'deleted on the Master, changed on the Backup', backup);
  switch (rules.onMasterDelete) {
    case 'keep':
      return { kind: 'equal', file: false, gone: true };
    case 'trash':
      return act(subject, 'delete', 'deleted on the Master', { backup });
    case 'ask':
      return conflict(subject, 'deleted_master', 'deleted on the Master; --delete moves it to the trash', backup);
    default:
      return rules.onMasterDelete satisfies never;
  }
}

function backupGone(subject: Subject, master: SideState, rules: Rules): Decided {
  const folder = subject.m?.kind === 'd';
  if (master !== 'changed' && rules.onBackupDelete === 'ask' && !folder)
    return conflict(subject, 'deleted_backup', 'deleted on the Backup');
  return act(
    subject,
    folder ? 'mkdir' : 'copy',
    master === 'changed' ? 'changed on the Master, missing on the Backup' : 'missing on the Backup',
  );
}

function bothChanged(subject: Subject, rules: Rules, evidence: Evidence): Decided {
  const { m, b } = subject;
  if (!m || !b || m.kind !== b.kind)
    return conflict(subject, 'modified_both', 'of another type on each side', 'changed');
  if (m.kind === 'l') {
    if (m.target === b.target) return act(subject, 'meta', 'equal on both sides');
    return conflict(subject, 'modified_both', 'the link points elsewhere on each side', 'changed');
  }
  if (b.stored === '' && m.size !== b.size) return unequalContent(subject, m, b, rules);
  return compareBoth(subject, m, b, rules, evidence);
}

type Settled = { kind: 'settled'; master: SideState; backup: SideState };

/** Turns `touched` files into `same` content (still called touched, since facts differ) or `changed`. */
function settleTouched(
  subject: Subject,
  row: Recorded,
  master: SideState,
  backup: SideState,
  evidence: Evidence,
): Settled | Decided {
  const { m, b } = subject;
  const read = evidence.get(subject.key);
  const needs: Need[] = [];
  const unreadRecord = row.checksum === '' && m?.kind === 'f' && b?.kind === 'f';
  const algorithm = row.checksum === '' ? null : row.checksum_algorithm;
  const wanted = (entry: Entry | undefined, state: SideState): entry is Entry =>
    entry?.kind === 'f' && (state === 'touched' || (unreadRecord && state === 'same'));
  if (wanted(m, master) && read?.master === undefined) needs.push(need(subject, 'master', m, algorithm));
  if (wanted(b, backup) && read?.backup === undefined) needs.push(need(subject, 'backup', b, algorithm));
  if (needs.length > 0) return { kind: 'need', needs };
  if ((wanted(m, master) && read?.master === '') || (wanted(b, backup) && read?.backup === ''))
    return { kind: 'frozen', file: true };
  if (row.checksum === '') {
    // Adopted by size and time: the two contents can only be compared with each other.
    const both = wanted(m, master) && wanted(b, backup);
    const equal = both && read?.master === read?.backup;
    const settle = (state: SideState): SideState => (state === 'touched' && !equal ? 'changed' : state);
    return { kind: 'settled', master: settle(master), backup: settle(backup) };
  }
  return {
    kind: 'settled',
    master: wanted(m, master) && read?.master !== row.checksum ? 'changed' : master,
    backup: wanted(b, backup) && read?.backup !== row.checksum ? 'changed' : backup,
  };
}

function need(subject: Subject, side: 'master' | 'backup', entry: Entry, algorithm: string | null): Need {
  const { path, facts, size, stored } = entry;
  return { path, key: subject.key, side, facts, size, algorithm, stored };
}

function act(
  subject: Subject,
  kind: Action['kind'],
  reason: string,
  more: { backup?: SideState; checksum?: string } = {},
): Decision {
  const { m, b, key, path, row } = subject;
  const shown = m ?? b;
  const entry = shown ? shown.kind : new Entry(row?.master_facts ?? 'f', path).kind;
  const action: Action = {
    kind,
    path,
    entry: entry === 'o' ? 'f' : entry,
    size: shown?.kind === 'f' ? shown.size : 0,
    reason,
    master: m?.facts ?? null,
    backup: b?.facts ?? null,
  };
  if (m?.kind === 'l') action.target = m.target;
  if (b && b.kind === 'f' && b.nlink > 1) action.backup_shared = true;
  if (b && b.stored !== '') action.stored = b.stored;
  if (m?.kind === 'f' && m.blocks >= 0 && m.blocks * 512 < m.size && m.size >= 65_536) action.sparse = true;
  if (more.checksum !== undefined) action.checksum = more.checksum;
  else if (row && row.checksum !== '' && ['adopt', 'meta', 'convert'].includes(kind)) {
    action.checksum = row.checksum;
    action.checksum_algorithm = row.checksum_algorithm;
  }
  return { kind: 'act', key, action, backupState: more.backup ?? (b ? 'same' : 'absent') };
}

function conflict(subject: Subject, type: ConflictType, reason: string, backup: SideState = 'changed'): Decision {
  const decision = act(subject, 'conflict', reason, { backup });
  decision.action.conflict_type = type;
  return decision;
}

function metadataEqual(m: Entry, b: Entry, rules: Rules): boolean {
  if (rules.permissions && m.mode !== b.mode) return false;
  if (rules.permissions && rules.owner && m.owner !== b.owner) return false;
  return timesEqual(m.mtime, b.mtime, rules);
}

function timesEqual(a: bigint, b: bigint, rules: Rules): boolean {
  const granule = BigInt(Math.max(rules.master.granularity, rules.backup.granularity));
  const shift = a > b ? a - b : b - a;
  return shift === 0n || shift < granule;
}

/**
 * A folder of the Backup that gives way to a file goes to the trash as a whole, so nothing in it may have changed; and
 * where a conflict keeps something on the Backup that is no folder, nothing can be put below it.
 */
function absorbReplacedTrees(decisions: Decision[], trees: Trees, rules: Rules): Decision[] {
  const absorbed = new Map<string, 'forget' | 'drop'>();
  for (const decision of decisions) {
    const { action, key } = decision;
    const b = trees.backup.get(key);
    if (action.kind === 'update' && b?.kind === 'd' && action.entry !== 'd') {
      const below = decisions.filter((other) => other.key !== key && isInside(other.key, key));
      const clean =
        below.every(
          (other) => other.backupState === 'same' || other.backupState === 'touched' || other.backupState === 'absent',
        ) && !rules.holdsOthers(b.path);
      if (clean) absorbed.set(key, 'forget');
      else {
        action.kind = 'conflict';
        action.conflict_type = 'modified_both';
        action.reason = 'a file on the Master, but a folder with changes on the Backup';
        absorbed.set(key, 'drop');
      }
    } else if ((action.kind === 'conflict' || action.kind === 'skip') && action.entry === 'd' && b && b.kind !== 'd') {
      absorbed.set(key, 'drop');
    }
  }
  if (absorbed.size === 0) return decisions;
  return decisions.filter((decision) => {
    const how = above(decision.key, absorbed);
    if (how === 'forget') {
      decision.action.kind = 'forget';
      delete decision.action.conflict_type;
    }
    return how !== 'drop';
  });
}

function above<T>(key: string, marks: ReadonlyMap<string, T>): T | undefined {
  for (let at = parentOf(key); at !== ''; at = parentOf(at)) {
    const mark = marks.get(at);
    if (mark !== undefined) return mark;
  }
  return undefined;
}

/** A folder is deleted, or reported, only if nothing in it stays; what is in it speaks for it. */
function keepNonEmptyFolders(decisions: Decision[], trees: Trees): Action[] {
  const staying = new Set<string>();
  const holding = new Set<string>();
  const deleted = new Set(
    decisions.filter(({ action }) => action.kind === 'delete' || action.kind === 'forget').map(({ key }) => key),
  );
  for (const [key] of trees.backup) {
    for (
      let at = parentOf(key);
      at !== '' && !(holding.has(at) && (deleted.has(key) || staying.has(at)));
      at = parentOf(at)
    ) {
      holding.add(at);
      if (!deleted.has(key)) staying.add(at);
    }
  }
  return decisions
    .filter(({ action, key }) => {
      if (action.entry !== 'd' || trees.master.has(key)) return true;
      if (action.kind === 'delete') return !staying.has(key);
      return action.kind !== 'conflict' || !holding.has(key);
    })
    .map(({ action }) => action);
}

/** A path that goes on under another spelling leaves its record under the old one behind. */
function respelled(actions: readonly Action[], trees: Trees, keys: KeyRules): Action[] {
  if (!keys.foldCase && !keys.normalise) return [];
  return actions.flatMap((action): Action[] => {
    const row = trees.baseline.get(keyOf(action.path, keys));
    if (!row || row.path === action.path || ['conflict', 'skip', 'delete', 'forget'].includes(action.kind)) return [];
    return [{ ...action, kind: 'forget', path: row.path, reason: 'spelled differently now' }];
  });
}

/** The key of a path under the rules of a pair. */
export function keyOf(path: string, rules: KeyRules): string {
  return rules.foldCase || rules.normalise ? pathKey(path, rules) : path;
}
