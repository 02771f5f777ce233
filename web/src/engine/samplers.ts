/**
 * The interpreter of sampler tables. A scheduler's run is linear in its start latent, the model's
 * outputs and its fresh noises, so each step is two weighted sums; the weights come from diffusers
 * (see `SamplerTables` in runtime/manifest.py).
 */

import type { SamplerTable, SamplerTables } from "../bundle/manifest.gen";
import type { Part, Values } from "./arithmetic";
import { EngineProblem } from "./problems";

type Term = SamplerTable["steps"][number]["next"][number];

/** Everything that a step may name: `x` latents, `e` model outputs, `z` noises, by model call. */
export interface History {
  x: Values[];
  e: Values[];
  z: Values[];
}

/** The table for a step count. @throws EngineProblem `request` when the bundle has none. */
export function tableFor(tables: SamplerTables, steps: number): SamplerTable {
  const table = tables.tables[String(steps)];
  if (table) return table;
  const counts = Object.keys(tables.tables).map(Number);
  const range = `${Math.min(...counts)} to ${Math.max(...counts)}`;
  throw new EngineProblem(
    "request",
    `The sampler ${tables.name} has no table for ${steps} steps; choose ${range}.`,
    "steps",
  );
}

/** What the terms of a table's row name, with their weights. */
export function partsOf(terms: readonly Term[], history: History): Part[] {
  if (!terms.length)
    throw new EngineProblem("damaged", "A sampler table has a step without terms.");
  return terms.map(([kind, index, weight]) => {
    const values = history[kind][index];
    if (values) return [values, weight];
    throw new EngineProblem("damaged", `A sampler table names ${kind}${index} too early.`);
  });
}
