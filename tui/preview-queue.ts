/**
 * Which file is decoded next. One decoder runs, in a process of its own, and it has one file at a time. What is wished for
 * replaces what was wished for before: files that were not begun are forgotten, and one in hand that is not wanted any more
 * gets a moment to end and is then cut off. A file that takes too long, or whose decoder dies, gets a sentence instead of a
 * picture; it is tried again when it is looked at again.
 */
import { noPreview, PREVIEW_LIMIT, type Preview, type PreviewFile, previewKey } from './previews.ts';

/** The process that decodes. */
export interface Decoder {
  decode(file: PreviewFile): void;
  /** Ends it and all that it started, at once. */
  kill(): void;
}

export interface QueueOptions {
  /** `done` answers the last `decode`; `ended` is called once, also after `kill`. */
  start(done: (preview: Preview) => void, ended: (how: string) => void): Decoder;
  /** There is something new to see. */
  changed(): void;
  /** Milliseconds; see `DEFAULTS`. */
  limit?: number;
  grace?: number;
  rest?: number;
}

export class PreviewQueue {
  private readonly options: QueueOptions & typeof DEFAULTS;
  private readonly known = new Map<string, Preview>();
  private readonly failed = new Map<string, Preview>();
  private wished: readonly PreviewFile[] = [];
  private current: InHand | undefined;
  private decoder: Decoder | undefined;
  /** It was killed and is still there, for example because a drive does not answer: no second one beside it. */
  private ending: Decoder | undefined;
  private resting: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: QueueOptions) {
    this.options = { ...DEFAULTS, ...options };
  }

  /** What is known of these files, undefined of those that are still to be decoded; nothing else is decoded from now on. */
  look(files: readonly PreviewFile[]): (Preview | undefined)[] {
    const keys = files.map(previewKey);
    this.wished = files;
    for (const key of this.failed.keys()) if (!keys.includes(key)) this.failed.delete(key);
    this.reconsider(keys);
    this.next();
    return keys.map((key) => this.recall(key) ?? this.failed.get(key));
  }

  close(): void {
    this.closed = true;
    this.stop();
  }

  private recall(key: string): Preview | undefined {
    const preview = this.known.get(key);
    if (!preview) return undefined;
    // What was looked at last is forgotten last.
    this.known.delete(key);
    this.known.set(key, preview);
    return preview;
  }

  /** Whether the file in hand is still wanted: else it has a moment left. */
  private reconsider(keys: readonly string[]): void {
    const { current } = this;
    const wanted = current !== undefined && keys.includes(current.key);
    if (!current || current.wanted === wanted) return;
    current.wanted = wanted;
    clearTimeout(current.timer);
    const { limit, grace } = this.options;
    current.timer = wanted
      ? setTimeout(() => this.tooLong(), Math.max(0, limit - (performance.now() - current.begun)))
      : setTimeout(() => this.stop(), grace);
  }

  private next(): void {
    if (this.closed || this.current || this.ending) return;
    clearTimeout(this.resting);
    const file = this.wished.find((one) => !this.known.has(previewKey(one)) && !this.failed.has(previewKey(one)));
    if (!file) {
      if (this.decoder) this.resting = setTimeout(() => this.stop(), this.options.rest).unref();
      return;
    }
    const timer = setTimeout(() => this.tooLong(), this.options.limit);
    this.current = { key: previewKey(file), begun: performance.now(), wanted: true, timer };
    this.decoder ??= this.begin();
    this.decoder.decode(file);
  }

  private begin(): Decoder {
    const decoder: Decoder = this.options.start(
      (preview) => {
        if (this.decoder === decoder) this.keep(preview);
      },
      (how) => {
        if (this.ending === decoder) this.ending = undefined;
        if (this.decoder === decoder) {
          this.decoder = undefined;
          this.fail(`no preview: the program that decodes ended (${how})`);
        }
        this.next();
      },
    );
    return decoder;
  }

  private keep(preview: Preview): void {
    const key = this.letGo();
    if (key === undefined) return;
    this.known.set(key, preview);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= KEPT) break;
      this.known.delete(oldest);
    }
    this.options.changed();
    this.next();
  }

  private tooLong(): void {
    this.fail(`no preview: it took longer than ${this.options.limit / 1000} s`);
    this.stop();
  }

  private fail(why: string): void {
    const key = this.letGo();
    if (key === undefined) return;
    this.failed.set(key, noPreview(why));
    this.options.changed();
  }

  private letGo(): string | undefined {
    const key = this.current?.key;
    clearTimeout(this.current?.timer);
    this.current = undefined;
    return key;
  }

  /** Ends the decoder with what it has in hand; the next file gets a new one. */
  private stop(): void {
    this.letGo();
    clearTimeout(this.resting);
    if (!this.decoder) return;
    this.ending = this.decoder;
    this.decoder = undefined;
    this.ending.kill();
  }
}

// --- internal ---

interface InHand {
  key: string;
  begun: number;
  wanted: boolean;
  timer: NodeJS.Timeout;
}

/** A picture is some 100 kB. */
const KEPT = 64;

const DEFAULTS = {
  limit: PREVIEW_LIMIT,
  /** For a file in hand that is not wanted any more: most are done in less, and starting a process costs as much. */
  grace: 1000,
  /** An idle decoder is let go, and its memory with it. */
  rest: 60_000,
};
