/**
 * Run by tests/faults.test.ts in a process of its own, in front of whose C library tests/fixtures/faults/faults.c stands:
 * a small sync in which the n-th call on the drives fails, for each n that is this process's share. Prints one JSON
 * document.
 *
 * Arguments: the library, the number of processes, the number of this one, a seed that shifts which error meets which
 * call; then names of calls whose first one fails as well: there is one symlinkat in a run, which a count that differs
 * from run to run may step over.
 */
import { linkSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { SyncResult } from '../../features/sync.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { inlineWorkers } from './inline-workers.ts';
import { type TestPair, versionsOf, withPair } from './pair.ts';
import { treeOf, type World, world } from './world.ts';

export interface FaultReport {
  /** Calls of the run without a fault. */
  calls: number;
  /** Runs with a fault, by what they ended in. */
  ends: Record<string, number>;
  /** Names of the calls that failed, with how often. */
  hit: Record<string, number>;
  /** What was not as promised. */
  broken: string[];
}

const ERRORS = ['EIO', 'ENOSPC', 'EACCES', 'EROFS', 'ENOENT'] as const;

const OLD: World = {
  same: 'same',
  changed: 'old changed',
  gone: 'old gone',
  'folder/child': 'old child',
  'folder/deep/leaf': 'old leaf',
  'becomes/inner': 'old inner',
  turns: 'old turns',
  one: 'old one',
};

/** One of each kind of action. */
function editMaster(root: string): void {
  for (const path of ['gone', 'folder/deep', 'becomes', 'turns', 'one'])
    rmSync(join(root, path), { recursive: true, force: true });
  world(
    {
      changed: 'new changed',
      'folder/child': 'new child',
      'new/file': 'new file',
      becomes: 'new file of a folder',
      'turns/inner': 'new folder of a file',
      link: { symlink: 'same' },
      one: 'new one',
    },
    root,
  );
  linkSync(join(root, 'one'), join(root, 'two'));
  for (const path of ['changed', 'folder/child', 'new/file', 'becomes', 'turns/inner', 'one'])
    utimesSync(join(root, path), 1e9 + 500, 1e9 + 500);
}

interface Native {
  roots(joined: string): void;
  only(name: string): void;
  arm(at: number, code: number, forever: number): void;
  count(): number;
  hit(): string;
}

function nativeOf(file: string): Native {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const library = koffi.load(file);
  return {
    roots: library.func('void fault_roots(const char *)') as Native['roots'],
    only: library.func('void fault_only(const char *)') as Native['only'],
    arm: library.func('void fault_arm(int, int, int)') as Native['arm'],
    count: library.func('int fault_count()') as Native['count'],
    hit: library.func('const char *fault_hit()') as Native['hit'],
  };
}

class Trial {
  readonly report: FaultReport = { calls: 0, ends: {}, hit: {}, broken: [] };
  private readonly pair: TestPair;
  private readonly native: Native;

  constructor(pair: TestPair, native: Native) {
    this.pair = pair;
    this.native = native;
  }

  /** Both sides agree on `OLD`, and the Master has moved on. */
  private async prepare(): Promise<void> {
    const { master, backup, ctx } = this.pair;
    for (const root of [master, backup]) {
      for (const name of readdirSync(root)) if (name !== '.tandem') rmSync(join(root, name), { recursive: true });
      for (const name of ['trash', 'partial', 'intent', 'lock'])
        rmSync(join(root, '.tandem', name), { recursive: true, force: true });
    }
    world(OLD, master);
    for (const path of Object.keys(OLD)) utimesSync(join(master, path), 1e9, 1e9);
    await (await ctx.db()).run('DELETE FROM pairs');
    await this.sync();
    this.equal();
    editMaster(master);
  }

  /** Without native calls times are kept to the microsecond. */
  private equal(): void {
    const omit = process.env['TANDEM_NO_FFI'] ? (['mtime'] as const) : [];
    assert.equal(treeOf(this.pair.backup, omit), treeOf(this.pair.master, omit), 'both sides are equal');
  }

  private sync(): Promise<SyncResult> {
    return this.pair.sync({ options: { on_master_delete: 'trash' } });
  }

  async measure(): Promise<number> {
    await this.prepare();
    this.native.arm(0, 0, 0);
    await this.sync();
    this.report.calls = this.native.count();
    this.native.arm(-1, 0, 0);
    return this.report.calls;
  }

  /** @param name only calls of this name count; '' for all. */
  async withFault(at: number, code: (typeof ERRORS)[number], forever: boolean, name = ''): Promise<void> {
    await this.prepare();
    const before = this.look();
    this.native.only(name);
    this.native.arm(at, os.errno[code], forever ? 1 : 0);
    let problems = 0;
    const end = await this.sync().then(
      (result) => {
        problems = result.problems.length + result.conflicts_detected;
        return result.status;
      },
      (error: unknown) => (error instanceof TandemError ? error.code : messageOf(error)),
    );
    const hit = this.native.hit();
    this.native.arm(-1, 0, 0);
    this.native.only('');
    this.count(this.report.ends, end);
    this.count(this.report.hit, hit);
    const title = `call ${at}${name === '' ? '' : ' of its name'} (${hit}) with ${code}${forever ? ' and all after it' : ''}, ended ${end}`;
    try {
      this.afterFault(before, end === 'completed' && problems === 0);
      await this.afterCleanRun(before, code === 'ENOENT');
    } catch (error) {
      this.report.broken.push(`${title}: ${messageOf(error)}`);
    }
  }

  /** Every path has its old or its new content, nothing is lost, nothing is gone that is not to go. */
  private afterFault(before: Looks, clean: boolean): void {
    const after = this.look();
    assert.equal(after.master, before.master, 'the Master is only read');
    for (const [path, content] of Object.entries(after.backup))
      if (content !== before.backup[path]) assert.is(content, before.master[path], `${path} is neither old nor new`);
    for (const path of Object.keys(before.backup))
      if (before.master[path] !== undefined) assert.ok(path in after.backup, `${path} is gone from the Backup`);
    this.nothingLost(before, this.staged());
    const [backup, master] = [JSON.stringify(after.backup), JSON.stringify(after.master)];
    if (clean) assert.ok(backup === master, `completed without a problem, with ${backup} instead of ${master}`);
  }

  /** What an intent on the drive still speaks of. */
  private staged(): string[] {
    const own = join(this.pair.backup, '.tandem');
    if (!readdirSync(own).includes('intent') || readdirSync(join(own, 'intent')).length === 0) return [];
    return Object.values(treeOf(join(own, 'partial'))).map(({ content }) => content ?? '');
  }

  private nothingLost(before: Looks, staged: readonly string[] = []): void {
    const { backup, trash } = this.look();
    const kept = new Set([...Object.values(backup), ...trash, ...staged]);
    for (const [path, content] of Object.entries(before.backup))
      assert.ok(kept.has(content), `${path} with '${content}' is gone without a version`);
  }

  /** @param lie a name that was said not to be there: what stands there all the same is a stranger, and stays. */
  private async afterCleanRun(before: Looks, lie: boolean): Promise<void> {
    this.orphanLocks();
    const next = await this.sync();
    const conflicts = (await this.pair.plan()).actions.filter(({ kind }) => kind === 'conflict');
    const strangers = lie && conflicts.every(({ conflict_type }) => conflict_type === 'new_backup');
    const settled = conflicts.length === 0 || strangers;
    const clean = next.status === 'completed' && settled && next.problems.length === 0;
    assert.ok(clean, `the next run: ${JSON.stringify([next.status, next.problems, conflicts])}`);
    if (conflicts.length === 0) this.equal();
    this.nothingLost(before);
    assert.equal(readdirSync(join(this.pair.backup, '.tandem/partial')), []);
  }

  /** What a drive that failed keeps of a lock is stale once its process has ended. */
  private orphanLocks(): void {
    for (const root of [this.pair.master, this.pair.backup]) {
      const file = join(root, '.tandem/lock');
      const text = readdirSync(join(root, '.tandem')).includes('lock') ? readFileSync(file, 'utf8') : '';
      if (text.trim() === '') continue;
      writeFileSync(file, JSON.stringify({ ...(JSON.parse(text) as object), boot_id: 'former' }).padEnd(1024));
    }
  }

  private look(): Looks {
    const files = (root: string): Record<string, string> =>
      Object.fromEntries(
        Object.entries(treeOf(root, ['mode', 'mtime']))
          .filter(([path]) => !path.endsWith('/'))
          .map(([path, { content, symlink }]) => [path, content ?? `-> ${symlink}`]),
      );
    const { master, backup } = this.pair;
    return { master: files(master), backup: files(backup), trash: versionsOf(backup).map(([, content]) => content) };
  }

  private count(counts: Record<string, number>, name: string): void {
    counts[name] = (counts[name] ?? 0) + 1;
  }
}

interface Looks {
  master: Record<string, string>;
  backup: Record<string, string>;
  trash: string[];
}

inlineWorkers.loops = true;
const [library = '', processes = '1', mine = '0', seed = '0', ...names] = process.argv.slice(2);
await withPair({}, async (pair) => {
  const native = nativeOf(library);
  await pair.sync();
  native.roots(`${pair.master}:${pair.backup}`);
  const trial = new Trial(pair, native);
  const calls = await trial.measure();
  for (let at = 1 + Number(mine); at <= calls + 3; at += Number(processes)) {
    const variant = at + Number(seed);
    await trial.withFault(at, ERRORS[variant % ERRORS.length] ?? 'EIO', Math.floor(variant / ERRORS.length) % 2 === 1);
  }
  for (const name of names) await trial.withFault(1, 'EIO', false, name);
  process.stdout.write(JSON.stringify(trial.report));
});
