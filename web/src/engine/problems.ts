import type { Problem } from "../worker/protocol";

/** An error that a visitor can act on: `code` is stable, the message says what to do. */
export class EngineProblem extends Error {
  readonly code: Problem["code"];
  /** The file, style or field concerned. */
  readonly where: string | undefined;

  constructor(code: Problem["code"], message: string, where?: string) {
    super(message);
    this.name = "EngineProblem";
    this.code = code;
    this.where = where;
  }

  /** The form that crosses the worker boundary. */
  toWire(): Problem {
    const problem: Problem = { code: this.code, message: this.message };
    return this.where === undefined ? problem : { ...problem, where: this.where };
  }
}

const shown = 8;

/** Names in a sentence: the first few, and how many more there are. */
export function listed(names: readonly string[], between = ", "): string {
  const more = names.length - shown;
  const first = names.slice(0, shown).join(between);
  return more > 0 ? `${first} and ${more} more` : first;
}

/** Any thrown value as an EngineProblem; an abort is `cancelled`, the unexpected `internal`. */
export function asProblem(thrown: unknown): EngineProblem {
  if (thrown instanceof EngineProblem) return thrown;
  if (thrown instanceof DOMException && thrown.name === "AbortError") return cancelled();
  return new EngineProblem("internal", messageOf(thrown));
}

/** The text of any thrown value: onnxruntime-web throws Errors, strings and numbers. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** What a cancelled load or denoise ends with. */
export function cancelled(): EngineProblem {
  return new EngineProblem("cancelled", "Cancelled.");
}

/** @throws EngineProblem `cancelled` when the signal is aborted. */
export function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}

/** Waits for `promise` until the signal aborts. @throws EngineProblem `cancelled` at once then */
export async function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  stopIfAborted(signal);
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(cancelled());
  });
  signal?.addEventListener("abort", stop);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Waits. @throws EngineProblem `cancelled` at once when the signal aborts */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await untilAborted(elapsed, signal).finally(() => clearTimeout(timer));
}
