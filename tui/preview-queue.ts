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

export interface DecoderEvents {
  /** It has started. */
  ready(): void;
  /** The answer to the last `decode`. */
  done(preview: Preview): void;
  /** Once, also after `kill`. */
  ended(how: string): void;
}

export interface QueueOptions {
  start(events: DecoderEvents): Decoder;
  /** There is something new to see. */
  changed(): void;
  /** Milliseconds; see `DEFAULTS`. */
  limit?: number;
  starting?: number;
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
  private ready = false;
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
    const { limit, starting, grace } = this.options;
    const left = (this.ready ? limit : starting) - (performance.now() - current.begun);
    current.timer = wanted ? setTimeout(() => this.tooLong(), Math.max(0, left)) : setTimeout(() => this.stop(), grace);
  }

  private next(): void {
    if (this.closed || this.current || this.ending) return;
    clearTimeout(this.resting);
    const file = this.wished.find((one) => !this.known.has(previewKey(one)) && !this.failed.has(previewKey(one)));
    if (!file) {
      if (this.decoder) this.resting = setTimeout(() => this.stop(), this.options.rest).unref();
      return;
    }
    this.current = { key: previewKey(file), begun: performance.now(), wanted: true, timer: this.timer(this.ready) };
    this.decoder ??= this.begin();
    this.decoder.decode(file);
  }

  private timer(ready: boolean): NodeJS.Timeout {
    return setTimeout(() => this.tooLong(), ready ? this.options.limit : this.options.starting);
  }

  private begin(): Decoder {
    const decoder: Decoder = this.options.start({
      ready: () => {
        if (this.decoder === decoder) this.count();
      },
      done: (preview) => {
        if (this.decoder === decoder) this.keep(preview);
      },
      ended: (how) => {
        if (this.ending === decoder) this.ending = undefined;
        if (this.decoder === decoder) {
          this.forgetDecoder();
          this.fail(`no preview: the program that decodes ended (${how})`);
        }
        this.next();
      },
    });
    return decoder;
  }

  /** From now on the time of the file in hand counts. */
  private count(): void {
    this.ready = true;
    const { current } = this;
    if (!current?.wanted) return;
    clearTimeout(current.timer);
    Object.assign(current, { begun: performance.now(), timer: this.timer(true) });
  }

  private forgetDecoder(): void {
    this.decoder = undefined;
    this.ready = false;
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
    this.forgetDecoder();
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
  /** For its process to start, on a machine that has much to do. */
  starting: 60_000,
  /** For a file in hand that is not wanted any more: most are done in less, and starting a process costs as much. */
  grace: 1000,
  /** An idle decoder is let go, and its memory with it. */
  rest: 60_000,
};
