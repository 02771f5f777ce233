/**
 * Style packs: a LoRA as the graph takes it, `A [in, rank]` and `B [rank, out]` per slot with
 * alpha / rank folded into B (runtime/packs.py).
 */

import type { Manifest, Slot, SlotTable } from "../bundle/manifest.gen";
import { EngineProblem } from "./problems";
import { parseSafetensors, type Tensor } from "./safetensors";

const FORMAT = "brushlet-pack/1";

export interface Pack {
  name: string;
  /** The highest of its slots'. */
  rank: number;
  /** By graph input name, of every model; slots that the LoRA does not touch are absent. */
  tensors: Map<string, Tensor>;
}

/**
 * Reads a pack for this bundle's base.
 *
 * @param slots the UNet's; what is for the text encoder is checked when that is first used
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
  const refuse = refusing(where);
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
  checkTensors(ofModel(tensors, "unet"), slots, rank, refuse);
  return { name: metadata.get("name") ?? where, rank, tensors };
}

/**
 * Holds the text encoder's part of a pack to the slots.
 *
 * @throws EngineProblem `damaged`
 */
export function checkTextPart(pack: Pack, slots: readonly Slot[]): void {
  checkTensors(ofModel(pack.tensors, "text_encoder"), slots, pack.rank, refusing(pack.name));
}

function refusing(where: string) {
  return (what: string) =>
    new EngineProblem("damaged", `The style ${where} ${what}; export its LoRA again.`, where);
}

/** A model's own tensors (SlotTable says how they are named). */
function ofModel(
  tensors: ReadonlyMap<string, Tensor>,
  model: NonNullable<SlotTable["model"]>,
): Map<string, Tensor> {
  const isText = (name: string) => name.startsWith("text_encoder.");
  return new Map([...tensors].filter(([name]) => isText(name) === (model === "text_encoder")));
}

/** Every tensor is half of a slot's pair, of at most the pack's rank, and its other half is there. */
function checkTensors(
  tensors: ReadonlyMap<string, Tensor>,
  slots: readonly Slot[],
  rank: number,
  refuse: (what: string) => EngineProblem,
): void {
  const expected = new Map<string, string>();
  for (const slot of slots) {
    if (!tensors.has(slot.input_a) && !tensors.has(slot.input_b)) continue;
    const columns = tensors.get(slot.input_a)?.shape[1] ?? 0;
    const own = columns >= 1 && columns <= rank ? columns : rank;
    expected.set(slot.input_a, `${[slot.in_width, own]}`);
    expected.set(slot.input_b, `${[own, slot.out_width]}`);
  }
  for (const name of new Set([...expected.keys(), ...tensors.keys()])) {
    const wanted = expected.get(name) ?? "none";
    const found = tensors.get(name)?.shape.join() ?? "none";
    if (wanted !== found) {
      throw refuse(`does not fit the slots: ${name} has the shape ${found} instead of ${wanted}`);
    }
  }
}

/** A style and how strongly it is used. */
export interface Used {
  pack: Pack;
  strength: number;
}

/** LoRA inputs and what they were made of. */
export interface Stacked {
  styles: readonly Used[];
  rank: number;
  inputs: ReadonlyMap<string, Tensor>;
}

/** Ranks that GPU graphs are run with: each compiles its own shaders and has its own buffers. */
export function rankBucket(rank: number): number {
  return Math.max(4, 2 ** Math.ceil(Math.log2(rank)));
}

/** The rank of several styles at once; 1 without any, as not every provider multiplies over 0. */
export function totalRank(styles: readonly Used[]): number {
  return styles.reduce((sum, { pack }) => sum + pack.rank, 0) || 1;
}

/** Those at strength 0 change nothing. */
export function inUse(styles: readonly Used[]): Used[] {
  return styles.filter(({ strength }) => strength !== 0);
}

/**
 * The LoRA inputs of the graph for several styles at once. Per slot A = [A_1 | A_2 | ...] and
 * B = [s_1 B_1; s_2 B_2; ...], so that A @ B is the sum of s_i A_i @ B_i. Without styles, or with all
 * at strength 0, zeros.
 *
 * @param rank at least `totalRank` of those in use; what is beyond it is zeros
 * @param before whose A's are taken again when only strengths differ
 * @returns graph input name -> `A [in, rank]` or `B [rank, out]`, for every slot
 */
export function stack(
  styles: readonly Used[],
  slots: readonly Slot[],
  rank = totalRank(inUse(styles)),
  before?: Stacked,
): Map<string, Tensor> {
  const used = inUse(styles);
  const sameA = before?.rank === rank && samePacks(inUse(before.styles), used);
  const inputs = new Map<string, Tensor>();
  for (const slot of slots) {
    const A = sameA ? before.inputs.get(slot.input_a) : undefined;
    inputs.set(slot.input_a, A ?? stackA(used, slot, rank));
    inputs.set(slot.input_b, stackB(used, slot, rank));
  }
  return inputs;
}

function samePacks(some: readonly Used[], others: readonly Used[]): boolean {
  return some.length === others.length && some.every(({ pack }, i) => pack === others[i]?.pack);
}

function stackA(used: readonly Used[], slot: Slot, rank: number): Tensor {
  const shape = [slot.in_width, rank];
  const [first, ...others] = used.map(({ pack }) => pack.tensors.get(slot.input_a)?.data);
  // Nobody changes these arrays, so a style that fills the rank alone needs no copy.
  if (first?.length === slot.in_width * rank && others.length === 0) return { data: first, shape };
  const A = new Float32Array(slot.in_width * rank);
  let start = 0;
  for (const { pack } of used) {
    const own = pack.tensors.get(slot.input_a)?.data ?? [];
    const columns = own.length / slot.in_width; // a slot's rank may be below its pack's
    for (let row = 0; row < slot.in_width; row++) {
      for (let column = 0; column < columns; column++) {
        A[row * rank + start + column] = own[row * columns + column] as number;
      }
    }
    start += pack.rank;
  }
  return { data: A, shape };
}

function stackB(used: readonly Used[], slot: Slot, rank: number): Tensor {
  const B = new Float32Array(rank * slot.out_width);
  let start = 0;
  for (const { pack, strength } of used) {
    const own = pack.tensors.get(slot.input_b)?.data ?? [];
    const scale = Math.fround(strength);
    const begin = start * slot.out_width;
    for (let i = 0; i < own.length; i++) B[begin + i] = (own[i] as number) * scale;
    start += pack.rank;
  }
  return { data: B, shape: [rank, slot.out_width] };
}
