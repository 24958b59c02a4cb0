/**
 * A new, empty Master is filled from the Backup: everything that it lacks is copied and read back, nothing on it is
 * replaced. It is a run like any other with the two drives in each other's place; what it recorded is turned round at its
 * end, so that the next sync finds nothing to do. An interrupted refill goes on where it stopped. A Backup whose files are
 * compressed or sealed takes another way: a restore gives the Master its files as they were.
 */
import { mirrorRecord } from '../shared/carry.ts';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Verb } from '../shared/feature.ts';
import { formatBytes, plural } from '../shared/format.ts';
import { quote, shellWord } from '../shared/named.ts';
import { storageOf, wasStored } from '../shared/storage.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { holdsStoredFiles } from '../shared/stored-drive.ts';
import type { DriveInfo } from './detect.ts';
import { connectPair, type Group, getGroup } from './groups.ts';
import { assertGuards } from './guards.ts';
import { ensurePair, findPair, readBaseline } from './history.ts';
import { makePlan } from './plan.ts';
import { exitCodeOf, type RunFlags, runLocked, type SyncResult } from './run.ts';
import { syncOptions, workersOf } from './session.ts';
import { wholeOf } from './targets.ts';

/**
 * Copies to the Master what only the Backup has, verified.
 * @throws TandemError `invalid` when these two drives were synced with each other before: then a file that the Master lacks
 * may have been deleted there; and when the Backup holds files that are compressed or sealed, or is to.
 */
export async function refillMaster(query: string, flags: RunFlags, ctx: Context): Promise<SyncResult> {
  const { group, backup: drive } = await connectPair(getGroup(query, ctx), ctx);
  const [master, backup] = [group.master_drive.drive_uuid ?? '', group.backup_drive.drive_uuid ?? ''];
  const synced = await findPair(master, backup, ctx);
  if (synced !== null && (await readBaseline(synced, '', ctx)).length > 0) {
    throw new TandemError(
      'invalid',
      `The Master of ${quote(group.name)} was synced with this Backup before: it is not a new one.`,
      {
        hint: 'Run `tandem sync run` instead; what the Master lacks shows up there.',
      },
    );
  }
  await checkStored(group, drive, ctx);
  const turned: Group = { ...group, master_drive: group.backup_drive, backup_drive: group.master_drive };
  const result = await runLocked(
    wholeOf(turned),
    { ...flags, turned: true },
    ctx,
    async ({ pair, target, operation }, running) => {
      const options = syncOptions(turned, {
        verify_checksums: 'checksum',
        filters: syncOptions({ ...group, options: {} }, {}).filters,
        ...flags.options,
      });
      pair.careful = 'a new Master is being filled, and nothing on it is replaced.';
      const plan = await makePlan(pair, target, options, running, () => workersOf(pair, operation, options).warm());
      assertGuards(plan, ctx);
      return [{ plan, strict: false }];
    },
    'refill',
  );
  const made = await findPair(backup, master, ctx);
  if (made !== null && result.status === 'completed')
    await mirrorRecord(made, await ensurePair(group.id, master, backup, ctx), group.id, ctx);
  return result;
}

// --- internal ---

async function checkStored(group: Group, drive: DriveInfo | null, ctx: Context): Promise<void> {
  let stored = (await storageOf(group, ctx)) !== null || (await wasStored(group.backup_drive.drive_uuid ?? '', ctx));
  if (drive !== null && !stored) {
    const root = openDriveRoot(drive.mount_path, drive.label);
    try {
      stored = await holdsStoredFiles(root);
    } finally {
      closeDriveRoot(root);
    }
  }
  if (!stored) return;
  const name = shellWord(group.name);
  throw new TandemError(
    'invalid',
    `The files on the Backup of ${quote(group.name)} are compressed or sealed, so they cannot be copied to the Master as they are.`,
    { hint: `Bring them to the Master with \`tandem restore run ${name}\`, then run \`tandem sync run ${name}\`.` },
  );
}

/** A verb of the command `sync`. */
export const refillVerb: Verb = {
  summary: 'fill a new, empty Master from the Backup, verified',
  examples: ['tandem sync refill Archive'],
  args: [{ name: 'group', description: 'id, unique start of an id, or name', complete: 'group' }],
  run: async ({ args }, ctx) => {
    const result = await refillMaster(args['group'], {}, ctx);
    const { status, files_copied, bytes_copied, conflicts_detected, files_failed } = result;
    const rest = [
      ...(files_failed > 0 ? [`${plural(files_failed, 'file')} failed`] : []),
      ...(conflicts_detected > 0 ? [plural(conflicts_detected, 'conflict')] : []),
    ];
    const said = [`${plural(files_copied, 'file')} copied to the Master (${formatBytes(bytes_copied)})`, ...rest].join(
      ', ',
    );
    return { json: result, exitCode: exitCodeOf([result]), text: () => `${result.target}: ${status}. ${said}.` };
  },
};
