import { describe, expect, test } from "vitest";
import type { Manifest, Slot } from "../../src/bundle/manifest.gen";
import { checkTextPart, rankBucket, readPack, stack, totalRank } from "../../src/engine/packs";
import type { Tensor } from "../../src/engine/safetensors";
import vectors from "../vectors/packs.json";
import { floatFile, fromBase64 } from "./bytes";

const manifest = { name: "tiny", base_hash: "a".repeat(64) } as Manifest;
const slots = vectors.slots as Slot[];
const packs = vectors.files.map((file) => readPack(fromBase64(file), manifest, slots, "style"));

test("two stacked styles equal runtime.packs.stack", () => {
  const styles = packs.map((pack, i) => ({ pack, strength: vectors.strengths[i] ?? 0 }));
  const inputs = stack(styles, slots);
  expect([...inputs.keys()].sort()).toEqual(Object.keys(vectors.stacked).sort());
  for (const [name, { shape, data }] of Object.entries(vectors.stacked)) {
    expect(inputs.get(name)?.shape).toEqual(shape);
    expect([...(inputs.get(name)?.data ?? [])]).toEqual(data);
  }
});

test("no style, or all at strength 0, is zeros of rank 1 for every slot", () => {
  for (const styles of [[], packs.map((pack) => ({ pack, strength: 0 }))]) {
    const inputs = stack(styles, slots);
    expect([...inputs].map(([name, { shape }]) => [name, shape])).toEqual([
      ["one.lora_A", [3, 1]],
      ["one.lora_B", [1, 5]],
      ["two.lora_A", [4, 1]],
      ["two.lora_B", [1, 2]],
    ]);
    expect([...inputs.values()].every(({ data }) => data.every((value) => value === 0))).toBe(true);
  }
});

describe("for a GPU", () => {
  const styles = (strength: number) => packs.map((pack) => ({ pack, strength }));

  test("ranks go up in a few steps, so that shapes stay the same", () => {
    expect([1, 4, 5, 8, 9, 16, 100].map(rankBucket)).toEqual([4, 4, 8, 8, 16, 16, 128]);
  });

  test("a padded stack multiplies to exactly the same", () => {
    const product = (inputs: ReadonlyMap<string, Tensor>) => {
      const [A, B] = [inputs.get("one.lora_A"), inputs.get("one.lora_B")] as [Tensor, Tensor];
      const [rows, rank, columns] = [A.shape[0], A.shape[1], B.shape[1]] as [
        number,
        number,
        number,
      ];
      return Array.from({ length: rows * columns }, (_, i) => {
        const [row, column] = [Math.floor(i / columns), i % columns];
        let sum = 0;
        for (let r = 0; r < rank; r++) {
          sum += (A.data[row * rank + r] as number) * (B.data[r * columns + column] as number);
        }
        return sum;
      });
    };
    const own = totalRank(styles(0.5));
    const padded = stack(styles(0.5), slots, 16);
    expect(own).toBeLessThan(16);
    expect(padded.get("one.lora_A")?.shape).toEqual([3, 16]);
    expect(product(padded)).toEqual(product(stack(styles(0.5), slots)));
  });

  test("a moved slider leaves every A as it is; another choice of styles does not", () => {
    const before = { styles: styles(0.5), rank: 8, inputs: stack(styles(0.5), slots, 8) };
    const moved = stack(styles(0.6), slots, 8, before);
    expect(moved.get("one.lora_A")).toBe(before.inputs.get("one.lora_A"));
    expect(moved.get("one.lora_B")?.data).not.toEqual(before.inputs.get("one.lora_B")?.data);
    const fewer = stack(styles(0.5).slice(1), slots, 8, before);
    expect(fewer.get("one.lora_A")?.data).not.toEqual(before.inputs.get("one.lora_A")?.data);
  });
});

describe("a pack that does not fit is refused", () => {
  const metadata = {
    format: "brushlet-pack/1",
    base_hash: "a".repeat(64),
    base_name: "x",
    rank: "1",
  };
  const A = { shape: [3, 1], data: [1, 2, 3] };
  const B = { shape: [1, 5], data: [1, 2, 3, 4, 5] };
  const pair = { "one.lora_A": A, "one.lora_B": B };
  const read = (tensors: Parameters<typeof floatFile>[0], changes: Record<string, string> = {}) =>
    readPack(floatFile(tensors, { ...metadata, ...changes }), manifest, slots, "mine");

  const wide = {
    "one.lora_A": { shape: [3, 2], data: [1, 2, 3, 4, 5, 6] },
    "one.lora_B": { shape: [2, 5], data: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
  };

  test("slots of a lower rank than the pack's are filled up with zeros", () => {
    const pack = read(wide, { rank: "3" });
    const inputs = stack([{ pack, strength: 2 }], slots);
    expect([...(inputs.get("one.lora_A")?.data ?? [])]).toEqual([1, 2, 0, 3, 4, 0, 5, 6, 0]);
    const B = [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 0, 0, 0, 0, 0];
    expect([...(inputs.get("one.lora_B")?.data ?? [])]).toEqual(B);
  });

  test("a right one is read", () => expect(read(pair).rank).toBe(1));

  test("what is for the text encoder is kept, and held to its own slots", () => {
    const text = { "text_encoder.one.lora_A": A, "text_encoder.one.lora_B": B };
    const pack = read({ ...pair, ...text });
    expect([...pack.tensors.keys()].sort()).toEqual(Object.keys({ ...pair, ...text }).sort());
    const [input_a, input_b] = Object.keys(text);
    checkTextPart(pack, [{ ...slots[0], input_a, input_b } as Slot]);
    const without = () => checkTextPart(pack, []);
    expect(without).toThrow(/text_encoder.one.lora_A has the shape 3,1 instead of none/);
  });

  test("of another base, with both names", () => {
    const other = () => read(pair, { base_hash: "c".repeat(64), base_name: "SD 1.5" });
    expect(other).toThrow(/made for the base SD 1.5 .* base is tiny/);
    expect(other).toThrow(expect.objectContaining({ code: "wrong-base" }) as Error);
  });

  test.each([
    ["of another format", pair, { format: "lora" }, /not a style pack/],
    ["without a rank", pair, { rank: "" }, /names no rank/],
    ["above its rank", wide, {}, /one.lora_A has the shape 3,2 instead of 3,1/],
    ["with half a pair", { "one.lora_A": A }, {}, /one.lora_B has the shape none/],
    ["with an unknown slot", { ...pair, "six.lora_A": A }, {}, /six.lora_A .* instead of none/],
    ["of another width", { ...pair, "one.lora_A": B }, {}, /1,5 instead of 3,1/],
  ])("%s", (_, tensors, changes, message) => {
    expect(() => read(tensors, changes)).toThrow(message);
  });
});
