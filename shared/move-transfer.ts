/**
 * Renames on the Backup what was renamed on the Master. No content is written: what stood at the old name stands, whole, at
 * the new one, and nothing that has the new name is ever overwritten. Runs in worker threads, like all of shared/transfer.ts.
 */
import { readdirSync } from 'node:fs';
import { explain } from './errors.ts';
import { factsOf } from './listing.ts';
import { baseName, parentOf } from './paths.ts';
import { dropIntents, partialName, writeIntents } from './recover.ts';
import { type Dir, renameNoReplace, rmdirAt, type Stat, statAt } from './syscalls.ts';
import type { CommitResult, MoveItem, Outcome } from './tasks.ts';
import { trashFolder } from './trash.ts';
import { TreeTransfer } from './tree-transfer.ts';

export class MoveTransfer extends TreeTransfer {
  /**
   * In the order given: a later item may build on an earlier one. Each looks at both drives once more: the Master has the
   * new name and not the old one, the Backup has the old one as the plan saw it.
   */
  move(items: readonly MoveItem[]): CommitResult[] {
    this.close();
    return items.map((item) => {
      if (this.control.cancel()) return result(item, 'stopped', 'cancelled before it was renamed');
      this.nextItem(item.path);
      try {
        return this.moveOne(item);
      } catch (error) {
        return result(item, 'failed', explain(error));
      }
    });
  }

  private moveOne(item: MoveItem): CommitResult {
    const { kind, stored = '' } = item;
    const [path, from] = [item.path, item.from];
    const [to, old] = [path + stored, from + stored];
    const source = this.masters.exists(path) ? statAt(this.masters.open(parentOf(path)), baseName(path)) : null;
    if (source === null || !isAsSeen(source, item.masterFacts, this.session.masterStable))
      return result(item, 'changed', `changed on the ${this.source} since it was found under its new name`);
    if (item.respelled ? isListed(this.masters.open(parentOf(path)), baseName(from)) : this.masters.exists(from))
      return result(item, 'changed', `its old name is on the ${this.source} again`);
    const there = this.backups.exists(old) ? statAt(this.backups.open(parentOf(old)), baseName(old)) : null;
    if (there === null || !isAsSeen(there, item.backupFacts, this.session.traits.stable))
      return result(item, 'conflict', `the ${this.target} changed since the plan was made; nothing was renamed`);
    // Their descriptors would go on leading to the folder, wherever it is.
    this.backups.forget(old);
    this.backups.forget(to);
    const folder = this.backups.open(parentOf(old));
    const target = this.backups.open(parentOf(to));
    const names = { ...item, path: to, from: old };
    const done = renameNoReplace(folder, baseName(old), target, baseName(to)) || this.respell(names, folder);
    if (!done) return result(item, 'conflict', `its new name is taken on the ${this.target}; nothing was overwritten`);
    const message = kind === 'd' ? '' : this.carryOver(path, source, to);
    const placed = statAt(this.backups.open(parentOf(to)), baseName(to));
    if (placed === null) return result(item, 'failed', 'is not there after it was renamed');
    return { ...result(item, 'done', message), backupFacts: factsOf(placed, this.session.traits.stable) };
  }

  /** Permissions, times and attributes may have changed along with the name: both leave their trace in ctime alone. */
  private carryOver(path: string, source: Stat, to: string): string {
    try {
      this.metadata.mirror(
        this.masters.open(parentOf(path)),
        this.backups.open(parentOf(to)),
        baseName(path),
        source,
        baseName(to),
      );
      return '';
    } catch (error) {
      return `was renamed, but its permissions and attributes could not be carried over: ${explain(error)}`;
    }
  }

  /**
   * A drive that takes both spellings for one name refuses the plain rename: the way goes through a name of tandem's own.
   * A record on the drive, flushed first, has the next run finish the second step after a crash; while that record
   * stands, nothing clears the folder it points to.
   */
  protected respell(item: Pick<MoveItem, 'seq' | 'path' | 'from' | 'respelled'>, folder: Dir): boolean {
    const [from, to] = [baseName(item.from), baseName(item.path)];
    if (!item.respelled || !isListed(folder, from) || isListed(folder, to)) return false;
    const aside = `.tandem/partial/${this.session.operation}-${partialName(item.seq)}`;
    const partials = this.backups.make(aside);
    const intent = {
      path: item.path,
      partial: `${aside}/0`,
      trash: `${trashFolder(this.session.operation, parentOf(item.path))}/${to}`,
    };
    this.flush();
    const record = writeIntents(this.backups, `${this.session.operation}-${partialName(item.seq)}.json`, [intent]);
    if (renameNoReplace(folder, from, partials, '0')) {
      const back = renameNoReplace(partials, '0', folder, to) || renameNoReplace(partials, '0', folder, from);
      if (!back) throw new Error(`waits in ${aside}; the next run puts it back`);
    }
    this.flush();
    dropIntents(this.session.backup, record);
    this.backups.forget(aside);
    rmdirAt(this.session.backup, aside);
    return isListed(folder, to);
  }
}

/** Files and links as they were seen; of a folder only which one it is, since work in it moves its times. */
export function isAsSeen(now: Stat, facts: string, stable: boolean): boolean {
  const found = factsOf(now, stable);
  if (now.kind !== 'd') return found === facts;
  const [kind, , , , ino] = facts.split(' ');
  return kind === 'd' && (!stable || ino === now.ino);
}

/** Under exactly this name, whatever else the drive would take for it. */
function isListed(dir: Dir, name: string): boolean {
  return readdirSync(dir.path).includes(name);
}

function result({ seq }: MoveItem, outcome: Outcome, message: string): CommitResult {
  return { seq, outcome, message, backupFacts: '', links: 0 };
}
