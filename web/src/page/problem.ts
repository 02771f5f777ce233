/** What can stand between an artist and the picture. */

import { asProblem, EngineProblem } from "../engine/problems";
import type { Problem } from "../worker/protocol";

export type PageProblem = Problem;

/**
 * What the opened bundle would run into again: a new export may have taken its files away, and a
 * worker that fell over does not get up by itself.
 */
const lasting: readonly PageProblem["code"][] = [
  "network",
  "damaged",
  "manifest",
  "wrong-base",
  "no-provider", // those that failed at work may have recovered by then
  "internal",
];

/** Whether trying again means to open the bundle anew. */
export const needsReopening = ({ code }: PageProblem): boolean => lasting.includes(code);

/** Carries a PageProblem through promises. */
export class Trouble extends EngineProblem {
  constructor(readonly problem: PageProblem) {
    super(problem.code, problem.message, problem.where);
    this.name = "Trouble";
  }
}

/** The problem in whatever was thrown; an abort is `cancelled`. */
export const problemIn = (thrown: unknown): PageProblem => asProblem(thrown).toWire();
