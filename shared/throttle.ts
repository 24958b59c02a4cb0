/**
 * A token bucket that all worker threads of a run share, and the timetable that says how fast it fills. The bucket is kept
 * as the moment up to which the allowed bytes are spoken for (the generic cell rate algorithm, ITU-T I.371): a taker moves
 * it on by what its bytes cost, and waits until its own share of it has come. One atomic number serves all threads, nothing
 * is filled by a timer, and a new rate holds at once. Rates in bytes per second; a megabyte is 1,000,000 bytes.
 */

/** Bytes of shared memory that a bucket takes; BigInt64[0]: bytes per second, 0 is without limit; BigInt64[1]: the moment. */
export const BUCKET_BYTES = 16;

/** What may go at once after a pause. */
const BURST_NS = 100_000_000n;
/** A piece is a tenth of a second's worth, so that a new rate, a pause and a cancellation are noticed soon. */
const PIECES_PER_SECOND = 10;
const LEAST_PIECE = 4096;
const SECOND_NS = 1_000_000_000n;

export class TokenBucket {
  private readonly cells: BigInt64Array;
  private readonly clock: () => bigint;

  /** @param clock nanoseconds of a clock that all threads share and that never goes back. */
  constructor(memory: SharedArrayBuffer, offset = 0, clock: () => bigint = process.hrtime.bigint) {
    this.cells = new BigInt64Array(memory, offset, 2);
    this.clock = clock;
  }

  /** Bytes per second; 0: without limit. */
  get rate(): number {
    return Number(Atomics.load(this.cells, 0));
  }

  /** Whoever waits for the former rate begins anew with this one. */
  setRate(bytesPerSecond: number): void {
    const rate = BigInt(Math.max(0, Math.round(bytesPerSecond)));
    if (Atomics.exchange(this.cells, 0, rate) !== rate) Atomics.store(this.cells, 1, 0n);
  }

  /**
   * Waits until some of these bytes may be written.
   * @param sleep waits for so many milliseconds, or less; false: waiting is over whatever the bucket says.
   * @returns how many; all of them where there is no limit.
   */
  take(wanted: number, sleep: (milliseconds: number) => boolean): number {
    for (;;) {
      const rate = Atomics.load(this.cells, 0);
      if (rate === 0n) return wanted;
      const piece = Math.min(wanted, Math.max(LEAST_PIECE, Math.floor(Number(rate) / PIECES_PER_SECOND)));
      const start = this.reserve(piece, rate);
      if (this.waitFor(start, rate, sleep)) return piece;
    }
  }

  /** The moment at which these bytes may go. */
  private reserve(bytes: number, rate: bigint): bigint {
    const cost = (BigInt(bytes) * SECOND_NS) / rate;
    for (;;) {
      const known = Atomics.load(this.cells, 1);
      const earliest = this.clock() - BURST_NS;
      const start = known > earliest ? known : earliest;
      if (Atomics.compareExchange(this.cells, 1, known, start + cost) === known) return start;
    }
  }

  /** False when another rate was set meanwhile. */
  private waitFor(start: bigint, rate: bigint, sleep: (milliseconds: number) => boolean): boolean {
    for (;;) {
      const left = start - this.clock();
      if (left <= 0n) return true;
      if (Atomics.load(this.cells, 0) !== rate) return false;
      if (!sleep(Math.min(100, Number(left) / 1e6))) return true;
    }
  }
}

/** What of a group's options limits the rate. */
export interface BandwidthOptions {
  enable_bandwidth_limit: boolean;
  bandwidth_limit_mbps: number;
  bandwidth_timetable: string | null;
}

/** The rate that holds at a moment of this computer's local time; 0: none. */
export function rateAt(options: BandwidthOptions, now: Date): number {
  if (!options.enable_bandwidth_limit) return 0;
  const megabytes = options.bandwidth_limit_mbps;
  const entries = options.bandwidth_timetable === null ? [] : (parseTimetable(options.bandwidth_timetable) ?? []);
  const minute = now.getHours() * 60 + now.getMinutes();
  const entry = entries.find(({ from, to }) =>
    from <= to ? minute >= from && minute < to : minute >= from || minute < to,
  );
  return (entry ? entry.megabytes : megabytes) * 1_000_000;
}

export interface TimetableEntry {
  /** Minutes after midnight; `to` before `from` goes past midnight. */
  from: number;
  to: number;
  /** Per second; 0: without limit. */
  megabytes: number;
}

/** `08:00-18:00 10, otherwise off`; the first that fits counts. Undefined when it cannot be read. */
export function parseTimetable(text: string): TimetableEntry[] | undefined {
  const entries: TimetableEntry[] = [];
  for (const part of text.split(',')) {
    const [, span = '', word = ''] =
      /^\s*(otherwise|\d\d?:\d\d-\d\d?:\d\d)\s+(off|\d+(?:\.\d+)?)\s*$/i.exec(part) ?? [];
    const megabytes = word.toLowerCase() === 'off' ? 0 : readMegabytes(word);
    const hours = span.toLowerCase() === 'otherwise' ? [0, 24 * 60] : span.split('-').map(minuteOf);
    const [from, to] = hours;
    if (from === undefined || to === undefined || megabytes === undefined || from === to) return undefined;
    entries.push({ from, to, megabytes });
  }
  return entries;
}

/** From 0.1 to 1000; undefined for anything else. */
export function readMegabytes(text: string): number | undefined {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  return value >= 0.1 && value <= 1000 ? value : undefined;
}

// --- internal ---

function minuteOf(text: string): number | undefined {
  const [hour = 99, minute = 99] = text.split(':').map(Number);
  return hour * 60 + minute <= 24 * 60 && minute < 60 ? hour * 60 + minute : undefined;
}
