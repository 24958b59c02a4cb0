/**
 * The dashboard's view of the reader: starts it, tells it what is wanted, keeps the last answers. When the reader dies it is
 * started again; while it is blocked, the last answers stay and `trouble` says so.
 */
import type { ChildProcess } from 'node:child_process';
import { forkBeside } from '../shared/detach.ts';
import type { FromReader, ToReader } from './reader.ts';
import type { Answer, Want } from './reads.ts';
import { keyOf } from './wants.ts';

export interface Source {
  /** What is to be read from now on. */
  want(wants: readonly Want[]): void;
  answer(want: Want): Answer<unknown>;
  /** A wish of `ASKS`; rejects with the reason when it is refused. */
  ask(name: string, args: readonly string[]): Promise<void>;
  /** Everything anew. */
  refresh(): void;
  /** Why answers may be old; a sentence. */
  trouble(now: number): string | undefined;
  close(): void;
}

export interface Folders {
  configDir: string;
  dataDir: string;
}

/** A reader in a process of its own. `onChange`: there is something new to draw. */
export function startReader(folders: Folders, onChange: () => void): Source {
  return new ReaderProcess(folders, onChange);
}

// --- internal ---

const SILENCE = 6000;
const AGAIN = 1000;

class ReaderProcess implements Source {
  private readonly folders: Folders;
  private readonly onChange: () => void;
  private readonly answers = new Map<string, Answer<unknown>>();
  private readonly asked = new Map<number, { done(): void; fail(error: Error): void }>();
  private child: ChildProcess | undefined;
  private wanted: Want[] = [];
  private wantedKey = '';
  private lastId = 0;
  private lastWord = performance.now();
  private readonly first: NodeJS.Immediate;
  private restart: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(folders: Folders, onChange: () => void) {
    this.folders = folders;
    this.onChange = onChange;
    // The first drawing comes before it: starting a process takes longer than that.
    this.first = setImmediate(() => this.start());
  }

  want(wants: readonly Want[]): void {
    const key = wants.map(keyOf).join();
    if (key === this.wantedKey) return;
    this.wantedKey = key;
    this.wanted = [...wants];
    const keep = new Set(wants.map(keyOf));
    // Answers of other screens are shown at once when one comes back to them, up to a bound.
    if (this.answers.size > 50) for (const old of this.answers.keys()) if (!keep.has(old)) this.answers.delete(old);
    this.send({ kind: 'want', wants: this.wanted });
  }

  answer(want: Want): Answer<unknown> {
    return this.answers.get(keyOf(want)) ?? {};
  }

  ask(name: string, args: readonly string[]): Promise<void> {
    this.lastId += 1;
    const id = this.lastId;
    return new Promise((done, fail) => {
      this.asked.set(id, { done, fail });
      this.send({ kind: 'ask', id, name, args: [...args] });
    });
  }

  refresh(): void {
    this.send({ kind: 'refresh' });
  }

  trouble(now: number): string | undefined {
    if (this.child === undefined) return undefined;
    if (!this.child.connected) return 'Drives and journal cannot be read at the moment; trying again.';
    const seconds = Math.floor((now - this.lastWord) / 1000);
    return seconds * 1000 > SILENCE ? `No news for ${seconds} s: a drive or its mount does not answer.` : undefined;
  }

  close(): void {
    this.closed = true;
    clearImmediate(this.first);
    clearTimeout(this.restart);
    // It ends by itself when the channel closes, unless it is blocked; then it must not keep this process.
    if (this.child?.connected) this.child.disconnect();
    this.child?.unref();
  }

  private start(): void {
    const { configDir, dataDir } = this.folders;
    const child = forkBeside(['dashboard-reader'], { TANDEM_CONFIG: configDir, TANDEM_DATA: dataDir });
    this.child = child;
    this.lastWord = performance.now();
    child.on('message', (message) => this.take(message as FromReader));
    child.on('error', () => {});
    child.on('exit', () => {
      for (const { fail } of this.asked.values()) fail(new Error('The reader ended before it could do that.'));
      this.asked.clear();
      if (this.closed || this.child !== child) return;
      this.onChange();
      this.restart = setTimeout(() => this.start(), AGAIN);
    });
    if (this.wanted.length > 0) this.send({ kind: 'want', wants: this.wanted });
  }

  private send(message: ToReader): void {
    if (this.child?.connected) this.child.send(message, () => {});
  }

  private take(message: FromReader): void {
    this.lastWord = performance.now();
    if (message.kind === 'beat') return;
    if (message.kind === 'answer') {
      const waiting = this.asked.get(message.id);
      this.asked.delete(message.id);
      if (message.error === null) waiting?.done();
      else waiting?.fail(new Error(message.error));
      return;
    }
    if (message.kind === 'data') this.answers.set(message.key, { value: message.value });
    else this.answers.set(message.key, { ...this.answers.get(message.key), error: message.message });
    this.onChange();
  }
}
