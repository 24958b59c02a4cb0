/** How a run shows itself on stderr: one redrawn line on a terminal, plain lines without one, NDJSON on request. */
import type { Progress, TandemEvent } from './events.ts';
import { displayWidth, formatBytes, formatCount, formatDuration, formatRate } from './format.ts';
import { displayPath } from './paths.ts';

export interface ProgressOptions {
  json?: boolean;
  quiet?: boolean;
  progress?: 'auto' | 'bar' | 'plain' | 'json' | 'none';
}

export class ProgressView {
  private readonly how: 'bar' | 'plain' | 'json' | 'none';
  private readonly quiet: boolean;
  private drawn = false;
  private asking = false;
  private lastPlain = 0;

  constructor(options: ProgressOptions) {
    const wanted = options.progress ?? 'auto';
    const tty = process.stderr.isTTY === true;
    this.quiet = options.quiet === true;
    if (wanted !== 'auto') this.how = wanted;
    else if (options.quiet || options.json) this.how = 'none';
    else this.how = tty ? 'bar' : 'plain';
  }

  show(event: TandemEvent): void {
    if (this.how === 'json') {
      process.stderr.write(`${JSON.stringify(event)}\n`);
      return;
    }
    if (event.kind === 'warning') this.line(`warning: ${event.message}`);
    else if (event.kind === 'note') this.note(event.message);
    else if (event.kind === 'progress') this.progress(event.progress);
  }

  note(text: string): void {
    if (!this.quiet && this.how !== 'json') this.line(text);
  }

  end(): void {
    if (!this.drawn) return;
    process.stderr.write('\r\u001b[2K');
    this.drawn = false;
  }

  /** While a question is open nothing is drawn over it. */
  async during<T>(question: () => Promise<T>): Promise<T> {
    this.end();
    this.asking = true;
    try {
      return await question();
    } finally {
      this.asking = false;
    }
  }

  private progress(progress: Progress): void {
    if (this.asking) return;
    if (this.how === 'bar') {
      const width = process.stderr.columns || 80;
      process.stderr.write(`\r\u001b[2K${barLine(progress, width - 1)}`);
      this.drawn = true;
    } else if (this.how === 'plain' && Date.now() - this.lastPlain >= 5000) {
      if (this.lastPlain > 0) this.line(plainLine(progress));
      this.lastPlain = this.lastPlain > 0 ? Date.now() : Date.now() - 3000;
    }
  }

  private line(text: string): void {
    this.end();
    process.stderr.write(`${displayPath(text)}\n`);
  }
}

/** `copy ████████░░░░  52 %  1,234/2,345 files  4.20 GB  182 MB/s  1 min 05 s left  Day1/IMG_0001.CR3` */
export function barLine(progress: Progress, width: number): string {
  const share = fraction(progress);
  const cells = 16;
  const full = Math.round(share * cells);
  const parts = [
    progress.paused ? 'paused' : progress.phase.padEnd(7),
    `${'█'.repeat(full)}${'░'.repeat(cells - full)} ${String(Math.floor(share * 100)).padStart(3)} %`,
    `${formatCount(progress.files_done)}/${formatCount(progress.files_total)} files`,
    formatBytes(progress.bytes_done),
  ];
  if (progress.rate > 0) parts.push(formatRate(progress.rate));
  if (progress.eta !== null) parts.push(`${formatDuration(progress.eta)} left`);
  if (progress.files_failed > 0) parts.push(`${formatCount(progress.files_failed)} failed`);
  let line = parts.join('  ');
  const current = progress.current[0];
  const room = width - displayWidth(line) - 2;
  if (current !== undefined && room > 10) line += `  ${keepEnd(displayPath(current), room)}`;
  return keepStart(line, width);
}

// --- internal ---

function plainLine(progress: Progress): string {
  const rate = progress.rate > 0 ? `, ${formatRate(progress.rate)}` : '';
  const left = progress.eta === null ? '' : `, ${formatDuration(progress.eta)} left`;
  return (
    `${progress.phase}: ${formatCount(progress.files_done)} of ${formatCount(progress.files_total)} files, ` +
    `${formatBytes(progress.bytes_done)} of ${formatBytes(progress.bytes_total)}${rate}${left}`
  );
}

function fraction(progress: Progress): number {
  if (progress.bytes_total > 0) return Math.min(1, progress.bytes_done / progress.bytes_total);
  return progress.files_total > 0 ? Math.min(1, progress.files_done / progress.files_total) : 0;
}

/** The last cells of a path: a file's name says more than its top folder. */
function keepEnd(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  const chars = [...text];
  let kept = '';
  for (let char = chars.pop(); char !== undefined; char = chars.pop()) {
    if (displayWidth(char + kept) > width - 1) break;
    kept = char + kept;
  }
  return `…${kept}`;
}

function keepStart(text: string, width: number): string {
  let kept = '';
  for (const char of text) {
    if (displayWidth(kept + char) > width) break;
    kept += char;
  }
  return kept;
}
