/** One job at a time, the newest wins. */

export interface LatestWins<A, T> {
  /**
   * Cancels the running job, waits for it to let go, then runs with `argument`.
   * Resolves to undefined when a newer start came in between.
   */
  start(argument: A): Promise<T | undefined>;
  cancel(): void;
}

/** `run` must end soon after its signal aborts, and must not reject. */
export function latestWins<A, T>(
  run: (argument: A, signal: AbortSignal) => Promise<T>,
): LatestWins<A, T> {
  let controller: AbortController | undefined;
  let settled: Promise<unknown> = Promise.resolve();

  return {
    async start(argument) {
      controller?.abort();
      const mine = new AbortController();
      controller = mine;
      const before = settled;
      const job = before.then(() => (mine === controller ? run(argument, mine.signal) : undefined));
      settled = job.catch(() => undefined);
      const result = await job;
      return mine === controller ? result : undefined;
    },
    cancel() {
      controller?.abort();
    },
  };
}
