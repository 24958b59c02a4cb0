/** How work is cut into pieces: groups for the workers, batches between two flushes. */

import { areOneSet } from './camera-sets.ts';

/** Small files travel in groups of so many; larger ones alone. */
export const GROUP_FILES = 256;
const GROUP_BYTES = 8 * 1024 * 1024;
/** One batch is flushed at once: the more it holds, the fewer flushes. */
export const BATCH_FILES = 2000;
const BATCH_BYTES = 512 * 1024 * 1024;
const BATCH_MILLISECONDS = 5000;

/** Files of one shot beside each other are not parted by the end of a group. */
export function groupBySize<T extends { size: number; path?: string }>(items: readonly T[]): T[][] {
  const groups: T[][] = [];
  let group: T[] = [];
  let bytes = 0;
  for (const item of items) {
    if (item.size >= GROUP_BYTES) {
      groups.push([item]);
      continue;
    }
    if ((group.length >= GROUP_FILES || bytes + item.size > GROUP_BYTES) && !isOneShot(group.at(-1), item)) {
      groups.push(group);
      group = [];
      bytes = 0;
    }
    group.push(item);
    bytes += item.size;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/** Of what `groupBySize` makes: one file that is copied alone. */
export function isLargeGroup(group: readonly { size: number }[]): boolean {
  return group.length === 1 && (group[0]?.size ?? 0) >= GROUP_BYTES;
}

function isOneShot(before: { path?: string } | undefined, item: { path?: string }): boolean {
  return before?.path !== undefined && item.path !== undefined && areOneSet(before.path, item.path);
}

export function chunk<T>(items: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}

/** Finished items gather here; a full batch is committed while others are being made, at most two at a time in turn. */
export class Batches<T> {
  private open: T[] = [];
  private files = 0;
  private bytes = 0;
  private since = Date.now();
  private running: Promise<void> = Promise.resolve();
  private waiting = 0;
  private failure: { error: unknown } | undefined;
  private readonly commit: (batch: readonly T[]) => Promise<void>;

  constructor(commit: (batch: readonly T[]) => Promise<void>) {
    this.commit = commit;
  }

  add(item: T, bytes: number, files = 1): void {
    this.open.push(item);
    this.files += files;
    this.bytes += bytes;
  }

  /** Begins a commit when the batch is full; waits while two are under way. Throws what a commit threw. */
  async turn(): Promise<void> {
    const old = Date.now() - this.since >= BATCH_MILLISECONDS;
    if (this.files >= BATCH_FILES || this.bytes >= BATCH_BYTES || old) this.begin();
    if (this.waiting > 1) await this.running;
    if (this.failure) throw this.failure.error;
  }

  async finish(): Promise<void> {
    this.begin();
    await this.running;
  }

  private begin(): void {
    const batch = this.open;
    this.open = [];
    this.files = 0;
    this.bytes = 0;
    this.since = Date.now();
    this.waiting += 1;
    this.running = this.running
      .then(() => this.commit(batch))
      .finally(() => {
        this.waiting -= 1;
      });
    this.running.catch((error: unknown) => {
      this.failure ??= { error };
    });
  }
}
