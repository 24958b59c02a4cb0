/**
 * How the files of a Backup are to be stored, as options say, and how they are, as the record says: what is plain,
 * compressed and sealed, what waits for its conversion, and the space that it saves. Reads the database alone, no drive.
 */
import { boundsBelow, findPair } from './baseline.ts';
import { availableCompression } from './compressed.ts';
import type { Context } from './context.ts';
import { formatCount, plural } from './format.ts';
import type { Group } from './groups-file.ts';
import { type GroupOptions, withDefaults } from './options.ts';
import { type SpaceSavings, savingsText, spaceSavings } from './space.ts';
import { formOf, type Storing, SUFFIXES, type Suffix, suffixFor, suffixOf } from './stored.ts';

/** Files as the Backup of a group holds them. A file that is both compressed and sealed counts as both. */
export interface Storage {
  /** What is written now gets; `plain`: its own name. */
  form: 'plain' | 'gzip' | 'lz4' | 'sealed' | 'gzip_sealed' | 'lz4_sealed';
  files: number;
  plain: number;
  compressed: number;
  sealed: number;
  /** Not yet as it is to be: the next sync converts them. */
  waiting: number;
  /** Of what is not plain; null where nothing is compressed, or `calculate_space_savings` is off. */
  space_savings: SpaceSavings | null;
}

/** Null: the Backup is plain, and is to be. */
export async function storageOf(
  group: Pick<Group, 'options' | 'master_drive' | 'backup_drive'>,
  ctx: Context,
): Promise<Storage | null> {
  const options = withDefaults(group.options);
  const forms = formsOf(options);
  const pairId = await findPair(group.master_drive.drive_uuid ?? '', group.backup_drive.drive_uuid ?? '', ctx);
  if (forms.wanted === '' && (pairId === null || !(await storedForms(pairId, ctx)).stored)) return null;
  const counts = pairId === null ? [] : await countForms(pairId, forms, ctx);
  const sum = (key: 'files' | 'original' | 'taken', of: (one: Count) => boolean): number =>
    counts.reduce((total, one) => total + (of(one) ? one[key] : 0), 0);
  const isStored = ({ suffix }: Count): boolean => suffix !== '';
  const compressed = sum('files', ({ suffix }) => formOf(suffix).compression !== null);
  const saving = {
    original_size: sum('original', isStored),
    compressed_size: sum('taken', isStored),
    files_processed: sum('files', isStored),
  };
  return {
    form: FORM_NAMES[forms.asked],
    files: sum('files', () => true),
    plain: sum('files', (one) => !isStored(one)),
    compressed,
    sealed: sum('files', ({ suffix }) => formOf(suffix).sealed),
    waiting: sum('files', ({ well }) => well === 0),
    space_savings: options.calculate_space_savings && compressed > 0 ? spaceSavings(saving) : null,
  };
}

/** What the files of a group that are compressed save. Reference: `calculate_space_savings`. */
export async function calculateSpaceSavings(group: Group, ctx: Context): Promise<SpaceSavings | null> {
  const asked = { ...group, options: { ...group.options, calculate_space_savings: true } };
  return (await storageOf(asked, ctx))?.space_savings ?? null;
}

/** What files that are written now get, as options say. */
export function formsOf(
  options: Pick<GroupOptions, 'enable_compression' | 'compression_type' | 'compression_level' | 'enable_encryption'>,
): { wanted: Suffix; asked: Suffix } {
  const { enable_encryption: sealed, enable_compression, compression_type, compression_level } = options;
  if (!enable_compression) {
    const suffix = suffixOf({ compression: null, sealed });
    return { wanted: suffix, asked: suffix };
  }
  const { kind } = availableCompression(compression_type, compression_level);
  return {
    wanted: suffixOf({ compression: kind, sealed }),
    asked: suffixOf({ compression: compression_type, sealed }),
  };
}

/** Whether any recorded file of a pair is compressed or sealed, and whether any is sealed. */
export async function storedForms(pairId: number, ctx: Context): Promise<{ stored: boolean; sealed: boolean }> {
  const db = await ctx.dbIfExists();
  const one = (condition: string): string =>
    `EXISTS (SELECT 1 FROM file_sync_history WHERE pair_id = ?1 AND stored_name <> '' ${condition})`;
  const sql = `SELECT ${one('')} AS stored, ${one(`AND ${SEALED}`)} AS sealed`;
  const found = await db?.get<{ stored: number; sealed: number }>(sql, [pairId]);
  return { stored: found?.stored === 1, sealed: found?.sealed === 1 };
}

/** Whether the group's key is needed to compare checksums of a pair, also when no file of it is sealed any more. */
export async function hasKeyedChecksums(pairId: number, ctx: Context): Promise<boolean> {
  const db = await ctx.dbIfExists();
  const sql = "SELECT 1 AS one FROM file_sync_history WHERE pair_id = ?1 AND checksum_algorithm GLOB 'hmac-*' LIMIT 1";
  return (await db?.get(sql, [pairId])) !== undefined;
}

/** Whether the newest record of a drive as a Backup, with whatever Master, has files that are compressed or sealed. */
export async function wasStored(backupUuid: string, ctx: Context): Promise<boolean> {
  const db = await ctx.dbIfExists();
  const sql = `SELECT id FROM pairs WHERE backup_uuid = ?1
    AND EXISTS (SELECT 1 FROM file_sync_history WHERE pair_id = pairs.id) ORDER BY id DESC LIMIT 1`;
  const pair = await db?.get<{ id: number }>(sql, [backupUuid]);
  return pair !== undefined && (await storedForms(pair.id, ctx)).stored;
}

/** Whether every recorded file at `subpath` and below is stored as it is to be. */
export async function allStoredWell(pairId: number, subpath: string, storing: Storing, ctx: Context): Promise<boolean> {
  if (!storing.active) return true;
  const db = await ctx.dbIfExists();
  const whole = subpath === '';
  const below = 'AND (relative_path = ?2 OR (relative_path > ?3 AND relative_path < ?4))';
  // Of everything, reading it in the order in which it lies is faster than any index.
  const sql = `SELECT 1 AS one FROM file_sync_history ${whole ? 'NOT INDEXED' : ''} WHERE pair_id = ?1
    AND substr(master_facts, 1, 1) = 'f' ${whole ? '' : below} AND NOT ${isWell(storing)} LIMIT 1`;
  const bounds = whole ? [] : [subpath, ...boundsBelow(subpath)];
  return (await db?.get(sql, [pairId, ...bounds])) === undefined;
}

/** What a group's options ask for, for people; `plain` where nothing is done to the files. */
export function formText({ form }: Pick<Storage, 'form'>): string {
  return FORM_TEXTS[form];
}

/** Whether somebody who opens the Backup's folder may find files there that are not as the Master has them. */
export function isDisguised({ form, files, plain }: Storage): boolean {
  return files === 0 ? form !== 'plain' : plain < files;
}

/** How its files are, ends a sentence that begins with "its files are". */
export function disguiseText({ form, compressed, sealed }: Storage): string {
  if (sealed + compressed === 0) return FORM_TEXTS[form];
  return [...(compressed > 0 ? ['compressed'] : []), ...(sealed > 0 ? ['sealed'] : [])].join(' and ');
}

/** Lines for people; the first one says the form. */
export function storageLines(storage: Storage): string[] {
  const { files, plain, compressed, sealed, waiting, space_savings } = storage;
  const parts = [
    ...(sealed > 0 ? [`${formatCount(sealed)} sealed`] : []),
    ...(compressed > 0 ? [`${formatCount(compressed)} compressed`] : []),
    ...(plain > 0 ? [`${formatCount(plain)} plain`] : []),
  ];
  return [
    `${formText(storage)}${files === 0 ? '' : `; of ${plural(files, 'file')}: ${parts.join(', ')}`}`,
    ...(waiting > 0
      ? [`${formatCount(waiting)} of ${plural(files, 'file')} wait for conversion; the next sync does it`]
      : []),
    ...(space_savings === null ? [] : [savingsText(space_savings)]),
  ];
}

// --- internal ---

const SEALED = "stored_name GLOB '*.encrypted'";

/** SQL: what is behind the file's own name; the longest that fits, as no shorter one is given to such a name. */
const SUFFIX = `CASE WHEN stored_name = '' THEN '' ${SUFFIXES.map(
  (suffix) => `WHEN substr(stored_name, -${suffix.length}) = '${suffix}' THEN '${suffix}'`,
).join(' ')} END`;

/** SQL: the file's own name ends as a compressed one does. */
const PACKED = "(substr(relative_path, -3) = '.gz' OR substr(relative_path, -4) = '.lz4')";

/** SQL: the file is stored as it is to be, or as it was asked for where this computer cannot make it. */
function isWell({ wanted, asked }: Pick<Storing, 'wanted' | 'asked'>): string {
  const fits = (suffix: Suffix): string =>
    `${SUFFIX} = iif(${PACKED}, '${suffixFor('a.gz', suffix)}', '${suffixFor('a', suffix)}')`;
  return wanted === asked ? `(${fits(wanted)})` : `(${fits(wanted)} OR ${fits(asked)})`;
}

interface Count {
  suffix: Suffix;
  well: number;
  files: number;
  /** Bytes: of the files, and of what the Backup has for them. */
  original: number;
  taken: number;
}

async function countForms(
  pairId: number,
  forms: Pick<Storing, 'wanted' | 'asked'>,
  ctx: Context,
): Promise<readonly Count[]> {
  const db = await ctx.dbIfExists();
  // The size is the second field of the facts; a number ends where its digits do. All is read, so no index helps.
  const sql = `SELECT ${SUFFIX} AS suffix, ${isWell(forms)} AS well, count(*) AS files, sum(file_size) AS original,
      sum(CAST(substr(backup_facts, 3) AS INTEGER)) AS taken
    FROM file_sync_history NOT INDEXED WHERE pair_id = ?1 AND substr(master_facts, 1, 1) = 'f' GROUP BY 1, 2`;
  return (await db?.all<Count>(sql, [pairId])) ?? [];
}

const FORM_NAMES: Readonly<Record<Suffix, Storage['form']>> = {
  '': 'plain',
  '.gz': 'gzip',
  '.lz4': 'lz4',
  '.encrypted': 'sealed',
  '.gz.encrypted': 'gzip_sealed',
  '.lz4.encrypted': 'lz4_sealed',
};

const FORM_TEXTS: Readonly<Record<Storage['form'], string>> = {
  plain: 'plain',
  gzip: 'compressed with gzip',
  lz4: 'compressed with LZ4',
  sealed: 'sealed',
  gzip_sealed: 'compressed with gzip and sealed',
  lz4_sealed: 'compressed with LZ4 and sealed',
};
