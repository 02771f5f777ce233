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

  static fromWire({ code, message, where }: Problem): EngineProblem {
    return new EngineProblem(code, message, where);
  }
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
