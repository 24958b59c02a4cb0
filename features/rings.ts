/**
 * Whether the key of each sealed group can be had when it is needed: for `tandem doctor`. Looks at the copies of its ring
 * and at the files that its options name, opens none of them, asks for no secret and writes nothing.
 */
import { statSync } from 'node:fs';
import { type Check, fail, failed, ok, warn } from '../shared/checks.ts';
import type { Context } from '../shared/context.ts';
import { explain } from '../shared/errors.ts';
import { ROLES } from '../shared/groups-file.ts';
import { quote, shellWord } from '../shared/named.ts';
import { withDefaults } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { type DriveInfo, listDrives } from './detect.ts';
import type { Group } from './groups.ts';
import { type Drives, findRings, type RingPlace, secretPath } from './keyring.ts';
import { matchPair } from './pairs.ts';
import { compareRings } from './slots.ts';

/** @param dataDir of this computer, which keeps a copy of each ring. */
export async function ringChecks(groups: readonly Group[], ctx: Context, dataDir: string): Promise<Check[]> {
  let drives: DriveInfo[] | undefined;
  const checks: Check[] = [];
  for (const group of groups) {
    try {
      drives ??= await listDrives({ ...ctx, emit: () => {} });
      checks.push(...checksOf(group, drives, { ...ctx, dataDir }));
    } catch (error) {
      checks.push(failed(`key ring:${group.name}`, error));
    }
  }
  return checks;
}

// --- internal ---

function checksOf(group: Group, connected: readonly DriveInfo[], ctx: Context): Check[] {
  const places = placesOf(group, connected, ctx);
  const { enable_encryption: on } = withDefaults(group.options);
  const any = places.some(({ ring, problem }) => ring !== null || problem !== null);
  if (!on && !any) return [];
  return [ringCheck(group, places, any), ...secretChecks(group, on)];
}

function placesOf(group: Group, connected: readonly DriveInfo[], ctx: Context): RingPlace[] {
  const { problem: _problem, ...pair } = matchPair(group, connected, ctx);
  const drives: Drives = { master: null, backup: null };
  try {
    for (const role of ROLES) {
      const drive = pair[role];
      if (drive) drives[role] = openDriveRoot(drive.mount_path, drive.label);
    }
    return findRings(group, drives, ctx);
  } finally {
    for (const role of ROLES) if (drives[role]) closeDriveRoot(drives[role]);
  }
}

function ringCheck(group: Group, places: readonly RingPlace[], any: boolean): Check {
  const name = `key ring:${group.name}`;
  const whose = `The group ${quote(group.name)}`;
  const word = shellWord(group.name);
  if (!any)
    return fail(
      name,
      places.length < 3
        ? `${whose} is to be sealed, and no key ring is on this computer or a connected drive.`
        : `${whose} is to be sealed and has no key ring: its next sync will be refused.`,
      places.length < 3
        ? 'Connect its drives and run `tandem doctor` again.'
        : `Make it once with \`tandem encrypt init ${word}\`; a ring that was lost is the end of what was sealed with it.`,
    );
  const { key_id, copies } = compareRings(places);
  const held = places.filter(({ ring }) => ring !== null);
  const [broken] = places.filter(({ problem }) => problem !== null);
  if (broken)
    return fail(
      name,
      `The key ring of ${quote(group.name)} on ${broken.name} cannot be used: ${displayPath(broken.problem ?? '')}.`,
      'Put a good copy from the other drive there (.tandem/keyring.json; on this computer keyrings/ in the data folder).',
    );
  if (key_id === null)
    return fail(
      name,
      `The key rings of ${quote(group.name)} are of different keys: ${held.map((one) => `${one.name} holds ${one.ring?.key_id.slice(0, 8)}`).join(', ')}.`,
      `Disconnect the drive, or move away the ring, that does not belong to the sealed files; \`tandem encrypt status ${word}\` shows them.`,
    );
  const behind = places.filter(({ where }) =>
    copies.some((copy) => copy.where === where && (copy.state === 'older' || copy.state === 'none')),
  );
  if (behind.length === 0)
    return ok(name, `The key ring of ${quote(group.name)} is the same wherever it was looked for.`);
  return warn(
    name,
    `The key ring of ${quote(group.name)} is missing or older on ${behind.map((one) => one.name).join(' and ')}.`,
    `The next sync of ${quote(group.name)} brings it there.`,
  );
}

/** Runs that nobody attends have nothing else to open the ring with. */
function secretChecks(group: Group, on: boolean): Check[] {
  const { encryption_password_file, encryption_key_file } = withDefaults(group.options);
  const named = Object.entries({ encryption_password_file, encryption_key_file });
  return named.flatMap(([option, path]) => {
    if (path === null || !on) return [];
    const name = `${option}:${group.name}`;
    const file = `The file '${displayPath(path)}' (${option} of ${quote(group.name)})`;
    try {
      const stat = statSync(secretPath(path), { throwIfNoEntry: false });
      if (!stat)
        return [
          warn(
            name,
            `${file} is not on this computer.`,
            'Runs that nobody attends cannot open the key ring here; put the file there, or name another one.',
          ),
        ];
      if (!stat.isFile()) return [fail(name, `${file} is no file.`, 'Name a file that holds the secret.')];
      if (process.platform === 'win32' || (stat.mode & 0o077) === 0)
        return [ok(name, `${file} is here, and only you can read it.`)];
      return [
        fail(
          name,
          `${file} can be read by others (its mode is ${(stat.mode & 0o777).toString(8)}), so runs refuse it.`,
          `Take that right away: chmod 600 ${displayPath(path)}`,
        ),
      ];
    } catch (error) {
      return [fail(name, `${file} cannot be looked at: ${explain(error)}.`, 'Check the rights of its folder.')];
    }
  });
}
