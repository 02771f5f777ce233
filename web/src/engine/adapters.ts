/**
 * What one layer's part of a LoRA file is made of, and what all kinds have in common; the kinds are in
 * kinds.ts and products.ts. Shapes are looked at first; values are read when a low-rank form is made.
 */

import { type LowRank, type Matrix, matrix, transposed, withCore } from "./lowrank";
import type { Floats, StoredTensor } from "./tensorfile";

/** Part name -> the tensor of one module. */
export type Parts = ReadonlyMap<string, StoredTensor>;
export type Numbers = ReadonlyMap<string, number>;
export type Read = (tensor: StoredTensor) => Promise<Floats>;

/** One layer's part of a LoRA file. */
export interface Adapter {
  kind: string;
  /** As alpha / rank counts it; undefined where there is none. */
  rank?: number | undefined;
  alpha?: number | undefined;
  /** LyCORIS' `scalar`. */
  scalar: number;
  /** Its widths, for people. */
  size: string;
  /** Whether it is for a layer of these channels; `area` is kh * kw. */
  fits(ins: number, area: number, outs: number): boolean;
  /** The rank of its exact low-rank form; undefined where there is none below the layer's own. */
  form?: number | undefined;
  /** Why there may be none. */
  obstacle: string;
  /** @param scale alpha / rank, times `scalar` */
  lowRank?(scale: number, read: Read): Promise<LowRank>;
}

/** A kind whose change does not depend on the weight. */
export interface Sum extends Adapter {
  ins: number;
  outs: number;
}

/** The adapter that parts of a whole set make; undefined where their shapes do not fit. */
export type Build = (part: Parts, numbers: Numbers) => Adapter | undefined;

type Shape = readonly number[];
export type Kernel = readonly number[];

/** What the low-rank form of a sum needs: its matrices are read when they are wanted. */
export interface Factor {
  rows: number;
  columns: number;
  load(read: Read): Promise<Matrix>;
}

export const area = (kernel: Kernel) => kernel.reduce((product, side) => product * side, 1);
export const kernelOf = (shape: Shape): Kernel => shape.slice(2);
export const hasKernel = (shape: Shape) =>
  shape.length >= 2 && ["", "1,1", "3,3"].includes(kernelOf(shape).join());
export const isMatrix = (shape: Shape) =>
  shape.length === 2 || (shape.length === 4 && kernelOf(shape).join() === "1,1");
export const dim = (shape: Shape, axis: number) => shape[axis] as number;

function sizeOf(ins: number, outs: number, kernel: Kernel): string {
  const suffix = area(kernel) === 1 ? "" : ` (${kernel.join("x")})`;
  return `${ins / area(kernel)} -> ${outs}${suffix}`;
}

/** A tensor as a matrix of its first axis and the rest. */
export function flat(tensor: StoredTensor): Factor {
  const rows = dim(tensor.shape, 0);
  const columns = area(tensor.shape.slice(1));
  return {
    rows,
    columns,
    load: async (read) => matrix(rows, columns, await read(tensor)),
  };
}

export function turned({ rows, columns, load }: Factor): Factor {
  return { rows: columns, columns: rows, load: async (read) => transposed(await load(read)) };
}

/** `down [rank, in, ...]`, with a Tucker core `[rank, rank, kh, kw]` folded in if there is one. */
export function cored(core: StoredTensor | undefined, down: StoredTensor) {
  if (!core) return hasKernel(down.shape) ? { ...flat(down), kernel: kernelOf(down.shape) } : null;
  if (!isMatrix(down.shape)) return null;
  const rank = dim(down.shape, 0);
  const kernel = kernelOf(core.shape);
  const isSquare = core.shape[0] === rank && core.shape[1] === rank;
  if (!isSquare || kernel.length === 0 || !hasKernel(core.shape)) return null;
  const channels = flat(down);
  return {
    rows: rank,
    columns: channels.columns * area(kernel),
    kernel,
    load: async (read: Read) => withCore(await read(core), await channels.load(read), area(kernel)),
  };
}

export function sum(
  of: Pick<Sum, "kind" | "ins" | "outs" | "rank" | "form" | "obstacle" | "lowRank">,
  kernel: Kernel,
  numbers: Numbers,
): Sum {
  return {
    ...of,
    alpha: numbers.get("alpha"),
    scalar: numbers.get("scalar") ?? 1,
    size: sizeOf(of.ins, of.outs, kernel),
    fits: (ins, layerArea, outs) =>
      of.ins === ins * layerArea &&
      of.outs === outs &&
      (kernel.length === 0 || area(kernel) === layerArea),
  };
}

/** DoRA, where there are magnitudes; undefined where these are no vector of one of the widths. */
export function decomposed(change: Sum, part: Parts): Adapter | undefined {
  const magnitude = part.get("magnitude");
  const scale = part.get("dora_scale");
  if (magnitude && scale) return undefined;
  // PEFT: [out], of convolutions [1, out, 1, 1]
  if (magnitude) {
    const count = area(magnitude.shape);
    return count === change.outs ? dora(change, count, "out") : undefined;
  }
  if (!scale) return change;
  // LyCORIS: [out, 1...] or [1, in...]
  const axes = [...scale.shape.keys()].filter((axis) => dim(scale.shape, axis) > 1);
  const [axis = 0, another] = axes;
  const count = area(scale.shape);
  if (another !== undefined || axis > 1) return undefined;
  // Whether the inputs are as many is seen at the slot: the kernel's area may be unknown.
  if (axis === 0 && count !== change.outs) return undefined;
  return dora(change, count, axis === 0 ? "out" : "in");
}

function dora(change: Sum, count: number, axis: "in" | "out"): Adapter {
  return {
    kind: "DoRA",
    scalar: 1,
    size: `${change.size} with ${count} magnitudes over ${axis}puts`,
    fits: (ins, layerArea, outs) =>
      change.fits(ins, layerArea, outs) && count === (axis === "out" ? outs : ins),
    obstacle: "it rescales the base weight",
  };
}
