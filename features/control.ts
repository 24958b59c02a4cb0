/**
 * How a run that is going on looks from outside: its progress, shown to this process and through the journal to others,
 * and the wish of either to pause, cancel or stop it, passed on to the workers.
 */
import type { Context } from '../shared/context.ts';
import type { Progress } from '../shared/events.ts';
import { RateMeter } from '../shared/meter.ts';
import { type BandwidthOptions, rateAt } from '../shared/throttle.ts';
import { CANCEL, PAUSE, RUN, STOP, type WorkerPool } from '../shared/workers.ts';
import type { Control } from './history.ts';
import { reportProgress } from './steering.ts';

/** What the run itself knows of its progress. */
export type Counts = Omit<Progress, 'bytes_done' | 'rate' | 'eta' | 'current' | 'paused'>;

export class RunControl {
  private readonly run: { operationId: number; operation: string; target: string };
  private readonly pool: WorkerPool;
  private readonly counts: () => Counts;
  private readonly ctx: Context;
  private readonly meter = new RateMeter();
  /** What comparing had read before the first copy. */
  private readonly readBefore: number;
  private wish: Control = '';
  /** Set from outside; null: the options hold. */
  private limit: number | null = null;
  private readonly bandwidth: BandwidthOptions | null;
  private ended = false;
  private timer: NodeJS.Timeout | undefined;
  private reporting = false;

  constructor(
    run: { operationId: number; operation: string; target: string },
    pool: WorkerPool,
    counts: () => Counts,
    ctx: Context,
    bandwidth: BandwidthOptions | null = null,
  ) {
    this.bandwidth = bandwidth;
    this.run = run;
    this.pool = pool;
    this.counts = counts;
    this.ctx = ctx;
    this.readBefore = pool.bytesMoved;
  }

  begin(): void {
    this.ctx.signal.addEventListener('abort', this.setState);
    this.ctx.hardSignal.addEventListener('abort', this.setState);
    this.setState();
    this.timer = setInterval(() => void this.report(), 250);
  }

  end(): void {
    this.ended = true;
    clearInterval(this.timer);
    this.ctx.signal.removeEventListener('abort', this.setState);
    this.ctx.hardSignal.removeEventListener('abort', this.setState);
  }

  /** What is in hand is finished and recorded, nothing else is begun. */
  get cancelled(): boolean {
    return this.ctx.signal.aborted || this.wish === 'cancel' || this.wish === 'stop';
  }

  /** Even what is staged is left to the next start. */
  get stopped(): boolean {
    return this.ctx.hardSignal.aborted || this.wish === 'stop';
  }

  private readonly setState = (): void => {
    // The pool may be at work for another run by now.
    if (this.ended) return;
    this.pool.setState(this.stopped ? STOP : this.cancelled ? CANCEL : this.wish === 'pause' ? PAUSE : RUN);
    const byOptions = this.bandwidth === null ? 0 : rateAt(this.bandwidth, this.ctx.now());
    this.pool.setRate(this.limit === null ? byOptions : this.limit * 1_000_000);
  };

  private async report(): Promise<void> {
    if (this.reporting) return;
    this.reporting = true;
    const { operationId, operation, target } = this.run;
    try {
      const progress = this.progress();
      this.ctx.emit({ kind: 'progress', operation_id: operation, target, progress });
      const { control, bandwidth_limit } = await reportProgress(operationId, progress, this.ctx);
      this.wish = control;
      this.limit = bandwidth_limit;
      this.setState();
    } catch (error) {
      this.ctx.emit({ kind: 'warning', message: `The progress could not be recorded: ${String(error)}` });
    } finally {
      this.reporting = false;
    }
  }

  private progress(): Progress {
    const counts = this.counts();
    const bytes = this.pool.bytesMoved - this.readBefore;
    const holding = this.pool.holding;
    const { rate, eta } = this.meter.sample(bytes, counts.bytes_total - bytes);
    return {
      ...counts,
      bytes_done: Math.min(bytes, counts.bytes_total),
      rate,
      eta,
      current: holding.map(({ path }) => path),
      current_bytes: holding.map(({ bytes: done }) => done),
      paused: this.wish === 'pause',
    };
  }
}
