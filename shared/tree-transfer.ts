/**
 * What a run does to names besides copying content: new folders, deletions, metadata, folder times. Runs in worker threads,
 * like all of shared/transfer.ts; nothing is deleted that is not kept as a version.
 */
import { readdirSync } from 'node:fs';
import { errnoOf, explain } from './errors.ts';
import { factsOf } from './listing.ts';
import { baseName, parentOf } from './paths.ts';
import { type Dir, mkdirAt, rmdirAt, statAt, unlinkAt } from './syscalls.ts';
import { type CommitResult, commitResult, type ExpectedItem, type Outcome, type Retired } from './tasks.ts';
import { Transfer } from './transfer.ts';

export class TreeTransfer extends Transfer {
  /** Files as they were stored before; what took their place is there, and on the medium. */
  retire(items: readonly Retired[]): { path: string; message: string }[] {
    this.close();
    return items.map((item) => {
      const { path, keep } = item;
      this.nextItem(path);
      try {
        const folder = this.backups.open(parentOf(path));
        const there = statAt(folder, baseName(path));
        if (there === null) return { path, message: '' };
        if (!this.stands(item)) return { path, message: 'changed meanwhile; it stays beside its new form' };
        if (keep) this.putAside(folder, baseName(path), path, there);
        else unlinkAt(folder, baseName(path));
        return { path, message: '' };
      } catch (error) {
        return { path, message: `stays beside its new form: ${explain(error)}` };
      }
    });
  }

  /** New folders, parents first. Their times and modes are set last, by `finishFolders`. */
  makeFolders(paths: readonly string[]): { path: string; message: string }[] {
    this.close();
    const problems: { path: string; message: string }[] = [];
    for (const path of paths) {
      this.nextItem(path);
      try {
        mkdirAt(this.backups.open(parentOf(path)), baseName(path), 0o777);
      } catch (error) {
        if (errnoOf(error) === 'EEXIST' && statAt(this.backups.open(parentOf(path)), baseName(path))?.kind === 'd')
          continue;
        problems.push({ path, message: explain(error) });
      }
    }
    return problems;
  }

  /**
   * Moves files to the trash and removes empty folders, in the order given (children first). Each looks at the Master
   * once more: only a name that is provably not there lets the deletion happen.
   */
  remove(
    items: readonly Omit<ExpectedItem, 'masterFacts'>[],
    junk: (name: string) => boolean,
  ): { path: string; outcome: Outcome; message: string }[] {
    this.close();
    return items.map(({ path, kind, backupFacts, backupShared, stored = '' }) => {
      if (this.control.cancel()) return { path, outcome: 'stopped', message: 'cancelled before it was deleted' };
      this.nextItem(path);
      try {
        if (this.masters.exists(path)) return { path, outcome: 'changed', message: `is on the ${this.source} again` };
        const folder = this.backups.open(parentOf(path));
        if (kind === 'd') return this.removeFolder(folder, path, junk);
        const there = statAt(folder, baseName(path) + stored);
        if (there === null) return { path, outcome: 'done', message: '' };
        if (!this.isAsRecorded(there, backupFacts, backupShared)) {
          return {
            path,
            outcome: 'conflict',
            message: `the ${this.target} changed since the plan was made; nothing was deleted`,
          };
        }
        this.putAside(folder, baseName(path) + stored, path + stored, there);
        return { path, outcome: 'done', message: '' };
      } catch (error) {
        return { path, outcome: 'failed', message: explain(error) };
      }
    });
  }

  private removeFolder(
    folder: Dir,
    path: string,
    junk: (name: string) => boolean,
  ): { path: string; outcome: Outcome; message: string } {
    const inside = this.backups.open(path);
    const names = readdirSync(inside.path);
    if (!names.every(junk)) return { path, outcome: 'changed', message: 'kept: it still holds other files' };
    for (const name of names) this.trash.take(inside, name, `${path}/${name}`);
    this.backups.forget(path);
    rmdirAt(folder, baseName(path));
    return { path, outcome: 'done', message: '' };
  }

  /** Makes mode, owner, times and attributes of files like the Master's, without touching their content. */
  copyMetadata(items: readonly ExpectedItem[]): CommitResult[] {
    this.close();
    return items.map((item, seq) => {
      this.nextItem(item.path);
      try {
        const folder = this.masters.open(parentOf(item.path));
        const name = baseName(item.path);
        const stat = statAt(folder, name);
        if (stat === null || factsOf(stat, this.session.masterStable) !== item.masterFacts)
          return commitResult({ seq }, 'changed', 'changed since it was compared');
        const target = this.backups.open(parentOf(item.path));
        const stored = name + (item.stored ?? '');
        const there = statAt(target, stored);
        if (there === null || !this.isAsRecorded(there, item.backupFacts, item.backupShared)) {
          return commitResult({ seq }, 'conflict', `the ${this.target} changed since the plan was made`);
        }
        this.metadata.mirror(folder, target, name, stat, stored);
        const placed = statAt(target, stored);
        return {
          ...commitResult({ seq }, 'done', ''),
          backupFacts: placed ? factsOf(placed, this.session.traits.stable) : '',
          links: placed?.nlink ?? 0,
        };
      } catch (error) {
        return commitResult({ seq }, 'failed', explain(error));
      }
    });
  }

  /** Modes and times of folders, deepest first, after everything in them is done; returns what both sides say then. */
  finishFolders(
    paths: readonly string[],
  ): { path: string; masterFacts: string; backupFacts: string; message: string }[] {
    this.close();
    return paths.map((path) => {
      this.nextItem(path);
      try {
        const from = this.masters.open(parentOf(path));
        const to = this.backups.open(parentOf(path));
        const name = baseName(path);
        const stat = statAt(from, name);
        if (stat?.kind !== 'd')
          return { path, masterFacts: '', backupFacts: '', message: `the folder is gone from the ${this.source}` };
        this.metadata.mirror(from, to, name, stat);
        const placed = statAt(to, name);
        const backupFacts = placed ? factsOf(placed, this.session.traits.stable) : '';
        return { path, masterFacts: factsOf(stat, this.session.masterStable), backupFacts, message: '' };
      } catch (error) {
        return { path, masterFacts: '', backupFacts: '', message: explain(error) };
      }
    });
  }

  /** What the Backup says of these paths now; `''` where nothing is. */
  restat(paths: readonly string[]): string[] {
    this.close();
    return paths.map((path) => {
      this.nextItem(path);
      const stat = this.backups.exists(path) ? statAt(this.backups.open(parentOf(path)), baseName(path)) : null;
      return stat ? factsOf(stat, this.session.traits.stable) : '';
    });
  }
}
