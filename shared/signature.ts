/**
 * The signature: `.tandem/drive.json` at the root of a drive that belongs to a group says which drive it is, of which
 * group, and in which role. It decides a drive's identity, so that what cannot be read is an error, never "no signature".
 */
import { lstatSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from './config.ts';
import { messageOf, TandemError } from './errors.ts';
import { ownFolder, readSmallFile } from './own-folder.ts';
import { displayPath } from './paths.ts';
import type { Traits } from './traits.ts';

export const SIGNATURE = join('.tandem', 'drive.json');

/** Content of `.tandem/drive.json`; sizes in bytes. */
export interface Signature {
  tandem_version: string;
  drive_uuid: string;
  group_id: string;
  role: 'master' | 'backup';
  label: string;
  serial_number: string | null;
  total_size: number;
  created_at: string;
  traits: Traits;
}

/**
 * The signature at a drive's root; null when there is none.
 * @throws TandemError `config` when it is there but cannot be read or is not a signature.
 */
export function readSignature(root: string): Signature | null {
  const path = join(root, SIGNATURE);
  const broken = (why: string, cause?: unknown): TandemError =>
    new TandemError('config', `The drive's signature ${displayPath(path)} cannot be used: ${why}.`, {
      hint: 'Look at the file; when it is damaged, move it away and adopt or replace the drive in its group.',
      cause,
    });
  let text: string | undefined;
  try {
    text = readSmallFile(root, 'drive.json');
  } catch (error) {
    throw broken(messageOf(error), error);
  }
  if (text === undefined) return null;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw broken('it is not JSON', error);
  }
  const wrong = wrongField(document, SIGNATURE_FIELDS) ?? wrongField((document as Signature).traits, TRAIT_FIELDS);
  if (wrong !== undefined) throw broken(`its field '${wrong}' is missing or has no valid value`);
  return document as Signature;
}

/** Writes the signature atomically and flushed, and beside it a note in plain words when there is none yet. */
export function writeSignature(root: string, signature: Signature): void {
  ownFolder(root);
  const note = join(root, '.tandem', 'README.txt');
  if (!lstatSync(note, { throwIfNoEntry: false })) writeFileAtomic(note, README);
  writeFileAtomic(join(root, SIGNATURE), `${JSON.stringify(signature, null, 2)}\n`);
}

/** Removes the signature alone; versions and state stay. */
export function removeSignature(root: string): void {
  ownFolder(root);
  rmSync(join(root, SIGNATURE), { force: true });
}

// --- internal ---

const README = `This folder belongs to tandem, a program that keeps a Master and a Backup drive in step.
Please leave it where it is: without it, tandem does not know this drive any more.

Your files are not in here. They lie beside this folder as ordinary files: to get them back without
tandem, copy them from this drive with any file manager.

drive.json   says which drive this is: its id, its group, and whether it is the Master or the Backup
trash/       older versions of files that a run replaced or removed, one folder for each run, with their
             former paths; copy out what you miss
state/       what both drives looked like when they last agreed
partial/     files that were being copied; safe to delete while tandem is not running
lock         there while tandem works on this drive

A file whose name ends in .gz or .lz4 opens with gunzip or lz4. A file that ends in .encrypted is sealed
and needs tandem and your password, key file or recovery key; keyring.json holds the locked key: keep it.
`;

type Fields<T> = Record<keyof T, (value: unknown) => boolean>;
const isText = (value: unknown): boolean => typeof value === 'string';
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) > 0;

const SIGNATURE_FIELDS: Fields<Signature> = {
  tandem_version: isText,
  drive_uuid: (value) => isText(value) && /^[\w-]{1,64}$/.test(String(value)),
  group_id: (value) => isText(value) && value !== '',
  role: (value) => value === 'master' || value === 'backup',
  label: isText,
  serial_number: (value) => value === null || isText(value),
  total_size: (value) => value === 0 || isCount(value),
  created_at: isText,
  traits: (value) => typeof value === 'object' && value !== null,
};

const TRAIT_FIELDS: Fields<Traits> = {
  filesystem: isText,
  mtime_granularity_ns: isCount,
  case_sensitive: isFlag,
  normalises: isFlag,
  symlinks: isFlag,
  hard_links: isFlag,
  permissions: isFlag,
  xattrs: isFlag,
  exchange: isFlag,
  stable_ids: isFlag,
  max_name: isCount,
  name_unit: (value) => value === 'bytes' || value === 'utf16',
  probed_at: isText,
};

/** Fields that a later version added are let through. */
function wrongField<T>(value: unknown, fields: Fields<T>): string | undefined {
  const record = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  return (Object.keys(fields) as (keyof T & string)[]).find((key) => !fields[key](record[key]));
}
