/**
 * Style packs: a LoRA as the graph takes it, `A [in, rank]` and `B [rank, out]` per slot with
 * alpha / rank folded into B (runtime/packs.py).
 */

import type { Manifest, Slot } from "../bundle/manifest.gen";
import { EngineProblem } from "./problems";
import { parseSafetensors, type Tensor } from "./safetensors";

const FORMAT = "brushlet-pack/1";

export interface Pack {
  name: string;
  rank: number;
  /** By graph input name; slots that the LoRA does not touch are absent. */
  tensors: Map<string, Tensor>;
}

/**
 * Reads a pack for this bundle's base.
 *
 * @param where the style's name, for messages
 * @throws EngineProblem `wrong-base` for a pack of another base; `damaged` for no valid pack
 */
export function readPack(
  file: Uint8Array,
  manifest: Manifest,
  slots: readonly Slot[],
  where: string,
): Pack {
  const { tensors, metadata } = parseSafetensors(file, where);
  const refuse = (what: string) =>
    new EngineProblem("damaged", `The style ${where} ${what}; export its LoRA again.`, where);
  if (metadata.get("format") !== FORMAT) throw refuse(`is not a style pack of format ${FORMAT}`);
  const base = metadata.get("base_hash") ?? "";
  if (base !== manifest.base_hash) {
    throw new EngineProblem(
      "wrong-base",
      `The style ${where} is made for the base ${metadata.get("base_name")} (${base.slice(0, 16)}); ` +
        `this bundle's base is ${manifest.name} (${manifest.base_hash.slice(0, 16)}). ` +
        `Export its LoRA on ${manifest.name}.`,
      where,
    );
  }
  const rank = Number(metadata.get("rank"));
  if (!Number.isSafeInteger(rank) || rank < 1) throw refuse("names no rank");
  checkTensors(tensors, slots, rank, refuse);
  return { name: metadata.get("name") ?? where, rank, tensors };
}

/** Every tensor is half of a slot's pair, of the pack's rank, and its other half is there. */
function checkTensors(
  tensors: ReadonlyMap<string, Tensor>,
  slots: readonly Slot[],
  rank: number,
  refuse: (what: string) => EngineProblem,
): void {
  const expected = new Map<string, string>();
  for (const slot of slots) {
    if (!tensors.has(slot.input_a) && !tensors.has(slot.input_b)) continue;
    expected.set(slot.input_a, `${[slot.in_width, rank]}`);
    expected.set(slot.input_b, `${[rank, slot.out_width]}`);
  }
  for (const name of new Set([...expected.keys(), ...tensors.keys()])) {
    const wanted = expected.get(name) ?? "none";
    const found = tensors.get(name)?.shape.join() ?? "none";
    if (wanted !== found) {
      throw refuse(`does not fit the slots: ${name} has the shape ${found} instead of ${wanted}`);
    }
  }
}

/**
 * The LoRA inputs of the graph for several styles at once. Per slot A = [A_1 | A_2 | ...] and
 * B = [s_1 B_1; s_2 B_2; ...], so that A @ B is the sum of s_i A_i @ B_i. Without styles, or with all
 * at strength 0, zeros of rank 1: not every execution provider multiplies over an axis of length 0.
 *
 * @returns graph input name -> `A [in, R]` or `B [R, out]`, for every slot
 */
export function stack(
  styles: readonly { pack: Pack; strength: number }[],
  slots: readonly Slot[],
): Map<string, Tensor> {
  const used = styles.filter(({ strength }) => strength !== 0);
  const rank = used.reduce((sum, { pack }) => sum + pack.rank, 0) || 1;
  const inputs = new Map<string, Tensor>();
  for (const slot of slots) {
    const A = new Float32Array(slot.in_width * rank);
    const B = new Float32Array(rank * slot.out_width);
    let start = 0;
    for (const { pack, strength } of used) {
      const packA = pack.tensors.get(slot.input_a)?.data;
      const packB = pack.tensors.get(slot.input_b)?.data;
      if (packA && packB) {
        for (let row = 0; row < slot.in_width; row++) {
          A.set(packA.subarray(row * pack.rank, (row + 1) * pack.rank), row * rank + start);
        }
        const scale = Math.fround(strength);
        B.set(
          packB.map((value) => value * scale),
          start * slot.out_width,
        );
      }
      start += pack.rank;
    }
    inputs.set(slot.input_a, { data: A, shape: [slot.in_width, rank] });
    inputs.set(slot.input_b, { data: B, shape: [rank, slot.out_width] });
  }
  return inputs;
}
