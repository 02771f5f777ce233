/**
 * The interpreter of sampler tables. A scheduler's run is linear in its start latent, the model's
 * outputs and its fresh noises, so each step is two weighted sums; the weights come from diffusers
 * (see `SamplerTables` in runtime/manifest.py).
 */

import type { SamplerTable, SamplerTables } from "../bundle/manifest.gen";
import { EngineProblem } from "./problems";

type Term = SamplerTable["steps"][number]["next"][number];

/** Everything that a step may name: `x` latents, `e` model outputs, `z` noises, by model call. */
export interface History {
  x: Float32Array[];
  e: Float32Array[];
  z: Float32Array[];
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

/** Sum over terms of weight * history[kind][index]: summed in float64, stored in float32. */
export function weightedSum(terms: readonly Term[], history: History): Float32Array<ArrayBuffer> {
  const parts = terms.map(([kind, index, weight]) => {
    const values = history[kind][index];
    if (!values)
      throw new EngineProblem("damaged", `A sampler table names ${kind}${index} too early.`);
    return { values, weight };
  });
  const first = parts[0];
  if (!first) throw new EngineProblem("damaged", "A sampler table has a step without terms.");
  const sum = new Float64Array(first.values.length);
  for (const { values, weight } of parts) {
    for (let i = 0; i < sum.length; i++)
      sum[i] = (sum[i] as number) + weight * (values[i] as number);
  }
  return Float32Array.from(sum);
}
