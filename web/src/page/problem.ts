/** What can stand between an artist and the picture. */

import type { Problem as WorkerProblem } from "../worker/protocol";

export interface PageProblem {
  code:
    | WorkerProblem["code"]
    | "server-down" // no answer at all
    | "server-busy" // not ready yet, or too much to do
    | "server-refused" // it says no to what it was asked
    | "server-failed" // it broke
    | "server-reply"; // an answer that is not what was asked for
  message: string;
  /** The file, address, style or field concerned. */
  where?: string;
}

/** Carries a PageProblem through promises. */
export class Trouble extends Error {
  constructor(readonly problem: PageProblem) {
    super(problem.message);
    this.name = "Trouble";
  }
}

/** The problem in whatever was thrown; an abort is `cancelled`. */
export function problemIn(thrown: unknown): PageProblem {
  if (thrown instanceof Trouble) return thrown.problem;
  if (thrown instanceof DOMException && thrown.name === "AbortError") {
    return { code: "cancelled", message: "" };
  }
  return { code: "internal", message: thrown instanceof Error ? thrown.message : String(thrown) };
}
