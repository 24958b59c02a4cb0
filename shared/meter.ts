/** How fast it goes and how long it will take, smoothed so that people can read it. */
export class RateMeter {
  private rate = 0;
  private lastBytes = 0;
  private lastTime = Date.now();

  /** @returns bytes per second, and seconds for the bytes that are left, null while that is unknown. */
  sample(bytes: number, left: number): { rate: number; eta: number | null } {
    const now = Date.now();
    const momentary = (bytes - this.lastBytes) / Math.max(0.001, (now - this.lastTime) / 1000);
    this.rate = this.rate === 0 ? momentary : this.rate * 0.85 + momentary * 0.15;
    this.lastBytes = bytes;
    this.lastTime = now;
    return { rate: Math.round(this.rate), eta: this.rate > 1 && left > 0 ? Math.round(left / this.rate) : null };
  }
}
