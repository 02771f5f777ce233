/** How fast a count grows, and how long the rest will take. */

interface Sample {
  at: number;
  done: number;
}

export interface Pace {
  /** Units a second over the last seconds; undefined until two samples lie apart. */
  rate?: number;
  /** Seconds left at that rate. */
  left?: number;
}

/** Follows a growing count over a sliding window of `windowMs`. */
export class PaceMeter {
  private samples: Sample[] = [];

  constructor(private readonly windowMs = 3000) {}

  /** Takes the count `done` of `total` at `at` milliseconds. */
  measure(done: number, total: number, at: number): Pace {
    const last = this.samples.at(-1);
    if (last && done < last.done) this.samples = []; // a new file or stage began
    this.samples.push({ at, done });
    while (this.samples.length > 2 && at - (this.samples[0]?.at ?? at) > this.windowMs) {
      this.samples.shift();
    }
    const first = this.samples[0] as Sample;
    const seconds = (at - first.at) / 1000;
    if (seconds < 0.2 || done === first.done) return {};
    const rate = (done - first.done) / seconds;
    return { rate, left: Math.max(0, total - done) / rate };
  }
}
