/** Contents that decide what a plan does: read on request, both drives at once. */
import type { Context } from '../shared/context.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import { isKeyed, type Recorded } from '../shared/hash.ts';
import type { Need } from './reconcile.ts';
import { LOOKING, type OpenPair, recordedAlgorithm, type SyncOptions, workersOf } from './session.ts';
import { haveKey } from './storing.ts';

/** Checksums by key; see `Evidence` in features/reconcile.ts. */
export type Checksums = Map<string, { master?: string; backup?: string; algorithm?: string }>;

/** Reads the files whose content decides, both sides at once, in small groups so that no worker idles. */
export async function readContents(
  needs: readonly Need[],
  evidence: Checksums,
  pair: OpenPair,
  options: SyncOptions,
  problems: Problem[],
  ctx: Context,
): Promise<void> {
  const keyed = ({ stored, algorithm }: Need): boolean =>
    stored.endsWith('.encrypted') || isKeyed(algorithm ?? recordedAlgorithm(pair, options));
  if (needs.some(keyed)) await keyIfAny(pair, ctx);
  const pool = workersOf(pair, LOOKING, options);
  await Promise.all(
    groupNeeds(needs).map(async (group) => {
      const first = group[0] as Need;
      const algorithm = (first.algorithm ?? recordedAlgorithm(pair, options)) as Recorded;
      const results = await pool.run(
        'hash',
        first.side,
        group.map(({ path, facts, stored }) => ({ path, facts, stored })),
        algorithm,
      );
      ctx.signal.throwIfAborted();
      results.forEach(({ checksum, message, path }, index) => {
        const { key, side } = group[index] as Need;
        // Checksums of two algorithms say nothing about each other.
        const known = evidence.get(key);
        evidence.set(key, { ...(known?.algorithm === algorithm ? known : {}), [side]: checksum, algorithm });
        if (message !== '')
          problems.push({
            path,
            message: `on the ${side === 'master' ? 'Master' : 'Backup'}: cannot be compared: ${message}`,
          });
      });
    }),
  );
}

/** For a Backup that seals nothing any more, or not yet: what cannot be opened is said file by file. */
export async function keyIfAny(pair: OpenPair, ctx: Context): Promise<void> {
  if (pair.secret.key !== null) return;
  await haveKey(pair, ctx).catch((error: unknown) => {
    if (!(error instanceof TandemError) || error.code !== 'key') throw error;
  });
}

function groupNeeds(needs: readonly Need[]): Need[][] {
  const groups: Need[][] = [];
  const open = new Map<string, { group: Need[]; bytes: number }>();
  for (const need of needs) {
    const kind = `${need.side} ${need.algorithm}`;
    let current = open.get(kind);
    if (!current || current.group.length >= 64 || current.bytes > 64e6) {
      current = { group: [], bytes: 0 };
      groups.push(current.group);
      open.set(kind, current);
    }
    current.group.push(need);
    current.bytes += need.size;
  }
  return groups;
}
