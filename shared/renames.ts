/**
 * Names through a row of renames. Each rename is said in the names of its moment, so a path means something only together
 * with the number of renames that had been carried out by then; this finds the name that the same thing has at another
 * moment.
 */
import { baseName, isInside, parentOf } from './paths.ts';

/** From the drive's root, in the names of that moment. */
export interface Rename {
  /** The new name. */
  path: string;
  from: string;
  /** Facts (shared/listing.ts) of what got it. */
  after: string;
}

/** The former name of what an entry of the journal renamed. */
export function movedFrom({ action, message }: { action: string; message?: string | null }): string | undefined {
  return action === 'move' && message?.startsWith('from ') ? message.slice(5) : undefined;
}

/** Names that some drive could take for one. */
export function isRespelling(a: string, b: string): boolean {
  return parentOf(a) === parentOf(b) && folded(baseName(a)) === folded(baseName(b));
}

export class Renames {
  private readonly moves: readonly Rename[];
  /** Numbers of those that take a subtree along. */
  private readonly folders: number[] = [];
  private readonly byFormer = new Map<string, number[]>();
  private readonly byLater = new Map<string, number[]>();

  /** @param moves in the order in which they were carried out. */
  constructor(moves: readonly Rename[]) {
    this.moves = moves;
    moves.forEach(({ path, from, after }, index) => {
      if (after.startsWith('d ')) this.folders.push(index);
      else {
        enlist(this.byFormer, from, index);
        enlist(this.byLater, path, index);
      }
    });
  }

  /** The name, once `end` of them are done, of what has this one when `start` are. */
  forward(path: string, start: number, end = this.moves.length): string {
    let now = path;
    for (let at = start; at < end; at += 1) {
      const file = this.byFormer.get(now)?.find((index) => index >= at) ?? end;
      const folder = this.folders.find((index) => index >= at && isInside(now, this.moves[index]?.from ?? '')) ?? end;
      at = Math.min(file, folder);
      if (at >= end) break;
      const { path: to, from } = this.moves[at] as Rename;
      now = to + now.slice(from.length);
    }
    return now;
  }

  /** The name when only `start` of them were done, of what has this one once `end` are. */
  back(path: string, start: number, end = this.moves.length): string {
    let now = path;
    for (let at = end - 1; at >= start; at -= 1) {
      const file = this.byLater.get(now)?.findLast((index) => index <= at) ?? -1;
      const inside = (index: number): boolean => index <= at && isInside(now, this.moves[index]?.path ?? '');
      at = Math.max(file, this.folders.findLast(inside) ?? -1);
      if (at < start) break;
      const { path: to, from } = this.moves[at] as Rename;
      now = from + now.slice(to.length);
    }
    return now;
  }
}

function enlist(lists: Map<string, number[]>, name: string, index: number): void {
  const list = lists.get(name);
  if (list) list.push(index);
  else lists.set(name, [index]);
}

function folded(name: string): string {
  return name.normalize('NFC').toLowerCase().toUpperCase().toLowerCase();
}
