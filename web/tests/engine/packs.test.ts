import { describe, expect, test } from "vitest";
import type { Manifest, Slot } from "../../src/bundle/manifest.gen";
import { readPack, stack } from "../../src/engine/packs";
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

  test("a right one is read", () => expect(read(pair).rank).toBe(1));

  test("of another base, with both names", () => {
    const other = () => read(pair, { base_hash: "c".repeat(64), base_name: "SD 1.5" });
    expect(other).toThrow(/made for the base SD 1.5 .* base is tiny/);
    expect(other).toThrow(expect.objectContaining({ code: "wrong-base" }) as Error);
  });

  test.each([
    ["of another format", pair, { format: "lora" }, /not a style pack/],
    ["without a rank", pair, { rank: "" }, /names no rank/],
    ["of another rank", pair, { rank: "2" }, /one.lora_A has the shape 3,1 instead of 3,2/],
    ["with half a pair", { "one.lora_A": A }, {}, /one.lora_B has the shape none/],
    ["with an unknown slot", { ...pair, "six.lora_A": A }, {}, /six.lora_A .* instead of none/],
    ["of another width", { ...pair, "one.lora_A": B }, {}, /1,5 instead of 3,1/],
  ])("%s", (_, tensors, changes, message) => {
    expect(() => read(tensors, changes)).toThrow(message);
  });
});
