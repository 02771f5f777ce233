/**
 * Makes style packs as runtime/packs.py makes them: safetensors, fp16, tensors named like graph inputs,
 * alpha / rank in B, each slot of its own rank. One buffer is the whole file, and each slot is written into it.
 */

import type { Slot, SlotTable } from "../bundle/manifest.gen";
import { float32ToHalf } from "./half";
import type { SlotAdapter } from "./lora";
import { EngineProblem, stopIfAborted } from "./problems";

/** Bytes of a pack that a browser can still stack, which doubles it in float32. */
export const MAX_PACK = 512 * 2 ** 20;

type Half = Uint16Array<ArrayBuffer>;
type Model = NonNullable<SlotTable["model"]>;

export interface PackPlan {
  /** The highest of its modules. */
  rank: number;
  /** Which of the models it changes, in the order of the tables. */
  models: Model[];
}

export function planPack(
  adapters: readonly SlotAdapter[],
  tables: readonly SlotTable[],
  where: string,
): PackPlan {
  const rank = adapters.reduce((highest, adapter) => Math.max(highest, adapter.rank), 1);
  const touched = new Set(adapters.map(({ slot }) => slot));
  const models = tables
    .filter(({ slots }) => slots.some((slot) => touched.has(slot)))
    .map(({ model = "unet" }) => model);
  const bytes = adapters.reduce(
    (sum, { slot, rank }) => sum + 2 * rank * (slot.in_width + slot.out_width),
    0,
  );
  if (bytes <= MAX_PACK) return { rank, models };
  const size = `${Math.round(bytes / 2 ** 20)} MiB`;
  throw new EngineProblem(
    "lora",
    `${where}: its exact low-rank form of rank ${rank} takes ${size}, more than a browser can hold ` +
      `(${MAX_PACK / 2 ** 20} MiB). Export it with MODE=merged.`,
    where,
  );
}

/**
 * The pack's file.
 *
 * @param metadata as runtime.packs.PackMetadata, every value a text
 * @throws EngineProblem `lora` for values that fp16 cannot hold; `cancelled`
 */
export async function writePack(
  adapters: readonly SlotAdapter[],
  metadata: Readonly<Record<string, string>>,
  where: string,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const { file, place } = layOut(adapters, metadata);
  for (const { slot, form } of adapters) {
    stopIfAborted(signal);
    const { A, B } = await form();
    place(slot.input_a).set(checkedHalf(A, slot, where));
    place(slot.input_b).set(checkedHalf(B, slot, where));
  }
  return file;
}

/** The file with its header, and where each tensor's zeros are. */
function layOut(
  adapters: readonly SlotAdapter[],
  metadata: Readonly<Record<string, string>>,
): { file: Uint8Array<ArrayBuffer>; place(name: string): Half } {
  const shapes = adapters.flatMap(({ slot, rank }): [string, [number, number]][] => [
    [slot.input_a, [slot.in_width, rank]],
    [slot.input_b, [rank, slot.out_width]],
  ]);
  shapes.sort(([a], [b]) => (a < b ? -1 : 1));
  const header: Record<string, unknown> = { __metadata__: metadata };
  const spans = new Map<string, [begin: number, count: number]>();
  let position = 0;
  for (const [name, shape] of shapes) {
    const count = shape[0] * shape[1];
    spans.set(name, [position, count]);
    header[name] = { dtype: "F16", shape, data_offsets: [position, position + 2 * count] };
    position += 2 * count;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const size = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + size + position);
  new DataView(file.buffer).setUint32(0, size, true);
  file.fill(" ".charCodeAt(0), 8, 8 + size);
  file.set(text, 8);
  return {
    file,
    place(name) {
      const [begin, count] = spans.get(name) as [number, number];
      return new Uint16Array(file.buffer, 8 + size + begin, count);
    },
  };
}

function checkedHalf(values: Float32Array<ArrayBuffer>, slot: Slot, where: string): Half {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const refuse = (what: string) => new EngineProblem("lora", `${where}: ${what}`, where);
  if (!Number.isFinite(largest)) {
    throw refuse(
      `${slot.name}: alpha times the weights is more than a float32 holds. Save the LoRA with a lower alpha.`,
    );
  }
  const half = float32ToHalf(values);
  // 65520 is the first value that rounds to infinity.
  if (largest < 65520) return half;
  throw refuse(
    `the LoRA of ${slot.name} reaches ${Number(largest.toPrecision(3))}, which fp16 cannot hold. ` +
      "Save it with a lower alpha, or train it again.",
  );
}
