/**
 * How much each of several styles changes the model: the Frobenius norm of ||s A B|| over all slots,
 * exactly, without ever making A B: ||A B||^2 = tr((A^T A)(B B^T)), in O(rank^2) per row. As
 * runtime/shares.py.
 */

import type { Slot, Style } from "../bundle/manifest.gen";
import type { Contribution } from "../worker/protocol";
import type { Work } from "./downloads";
import { changes, loadJson } from "./manifest";
import { EngineProblem } from "./problems";
import { parseSafetensors, type Tensor } from "./safetensors";
import type { BundleParts } from "./variants";

/** Of a pack at strength 1, on each model. */
export interface Norms {
  unet: number;
  textEncoder: number;
}

/** A chosen style; without `norms` it is merged, and the only one. */
export interface Chosen {
  name: string;
  strength: number;
  te: number;
  norms?: Norms;
}

/**
 * Each style's share of the change. A style counts with its change to UNet and text encoder together,
 * as one long vector: sqrt(unet^2 + textEncoder^2).
 */
export function shares(styles: readonly Chosen[]): Contribution[] {
  const measured = styles.map(({ name, strength, te, norms }) => {
    if (!norms) return { name, unet: null, textEncoder: null, norm: strength === 0 ? 0 : 1 };
    const unet = Math.abs(strength) * norms.unet;
    const textEncoder = Math.abs(te) * norms.textEncoder;
    return { name, unet, textEncoder, norm: Math.hypot(unet, textEncoder) };
  });
  const total = measured.reduce((sum, { norm }) => sum + norm, 0);
  return measured.map(({ norm, ...style }) => ({ ...style, share: total ? norm / total : 0 }));
}

/**
 * What an external style's pack changes.
 *
 * @throws EngineProblem as `Files.get`
 */
export async function measureNorms(
  { files, manifest, slots }: BundleParts,
  style: Style,
  work: Work,
): Promise<Norms> {
  if (!style.pack) {
    const message = `The style ${style.name} has no pack. Export it again.`;
    throw new EngineProblem("manifest", message, style.name);
  }
  const { tensors } = parseSafetensors(await files.get(style.pack, "style", work), style.name);
  files.drop(style.pack);
  const text = changes(style, "text_encoder")
    ? (await loadJson(files, manifest.text_encoder.slots, "SlotTable", work)).slots
    : [];
  const breathe = breather();
  return {
    unet: await changeNorm(tensors, slots, breathe),
    textEncoder: await changeNorm(tensors, text, breathe),
  };
}

/**
 * ||A B|| over the slots of a table, at strength 1.
 *
 * @param breathe awaited between slots, so that a large pack holds nobody up
 */
export async function changeNorm(
  tensors: ReadonlyMap<string, Tensor>,
  slots: readonly Slot[],
  breathe: () => Promise<void>,
): Promise<number> {
  let squares = 0;
  for (const slot of slots) {
    const A = tensors.get(slot.input_a);
    const B = tensors.get(slot.input_b);
    if (!A || !B) continue;
    squares += squaredNorm(A, B);
    await breathe();
  }
  return Math.sqrt(squares);
}

/** Lets other work in when 50 ms have passed since it last did. */
function breather(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < 50) return;
    await new Promise<void>((resolve) => setTimeout(resolve));
    last = performance.now();
  };
}

/** ||A B||^2 of `A [ins, rank]`, `B [rank, outs]`, in float64. */
function squaredNorm(A: Tensor, B: Tensor): number {
  const [ins = 0, rank = 0] = A.shape;
  const outs = B.shape[1] ?? 0;
  const gram = new Float64Array(rank * rank); // the upper triangle of A^T A
  for (let row = 0; row < ins; row++) {
    const values = A.data.subarray(row * rank, (row + 1) * rank);
    for (let j = 0; j < rank; j++) {
      const factor = values[j] as number;
      if (factor === 0) continue;
      for (let k = j; k < rank; k++) {
        (gram[j * rank + k] as number) += factor * (values[k] as number);
      }
    }
  }
  let sum = 0;
  for (let j = 0; j < rank; j++) {
    const left = B.data.subarray(j * outs, (j + 1) * outs);
    for (let k = j; k < rank; k++) {
      const weight = gram[j * rank + k] as number;
      if (weight === 0) continue;
      const right = B.data.subarray(k * outs, (k + 1) * outs);
      let dot = 0;
      for (let i = 0; i < outs; i++) dot += (left[i] as number) * (right[i] as number);
      sum += (j === k ? 1 : 2) * weight * dot;
    }
  }
  return Math.max(sum, 0);
}
