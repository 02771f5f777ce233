import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { LoraGrammar, Manifest, SlotTable } from "../../src/bundle/manifest.gen";
import { float32ToHalf, halfToFloat32 } from "../../src/engine/half";
import { hashOf, type LoraRules, MAX_FILE, makeStyle } from "../../src/engine/makestyle";
import { asProblem } from "../../src/engine/problems";
import { parseSafetensors } from "../../src/engine/safetensors";
import { changeNorm } from "../../src/engine/shares";
import vectors from "../vectors/lora.json";
import { floatFile, safetensors } from "./bytes";

interface Case {
  case: string;
  file: string;
  name?: string;
  beside?: Record<string, string>;
  refused?: string;
  pack?: string;
  metadata?: Record<string, unknown>;
  negative_prompt?: string;
  norms?: number[];
}

const unpacked = (text: string) => new Uint8Array(gunzipSync(Buffer.from(text, "base64")));
const manifest = { name: "toy", base_hash: "a".repeat(64) } as Manifest;
const grammar = vectors.grammar as LoraGrammar;
const tables = vectors.tables as SlotTable[];
const toy: LoraRules = { manifest, grammar, tables };

function made({ file, name = "evil.safetensors", beside = {} }: Case, rules = toy) {
  const texts = Object.entries(beside).map(([name, text]) => ({ name, bytes: new Blob([text]) }));
  const request = { name, bytes: unpacked(file), beside: texts };
  return hashOf(request, undefined).then((source) =>
    makeStyle(request, source, rules, (wanted) => wanted),
  );
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const problem = await work.then(() => undefined, asProblem);
  expect(problem).toMatchObject({ code: "lora" });
  const message = problem?.message ?? "";
  expect(message).not.toContain("\n");
  return message;
}

/** The bits of every tensor of a pack, as stored. */
function bitsOf(pack: Uint8Array): Map<string, Uint16Array> {
  const { tensors } = parseSafetensors(pack, "pack");
  return new Map([...tensors].map(([name, { data }]) => [name, float32ToHalf(data)]));
}

/** A pack's metadata; lists and records are JSON, spaced in Python's way or not. */
function saidBy(pack: Uint8Array): Record<string, unknown> {
  const records = ["trigger_words", "strength", "rank", "models"];
  const { metadata } = parseSafetensors(pack, "pack");
  return Object.fromEntries(
    [...metadata].map(([key, text]) => [key, records.includes(key) ? JSON.parse(text) : text]),
  );
}

const external = (vectors.good as Case[]).filter((one) => one.pack !== undefined);
const mergedOnly = (vectors.good as Case[]).filter((one) => one.refused !== undefined);
describe("a file becomes the pack that Python makes of it", () => {
  test.each(external.map((one) => [one.case, one] as const))("%s", async (_, one) => {
    const { style, pack } = await made(one);
    const found = bitsOf(pack);
    const expected = bitsOf(unpacked(one.pack as string));
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    // Also where Python has sums of products, in float32 and another order: the halves are the same.
    for (const [tensor, bits] of expected) expect(found.get(tensor), tensor).toEqual(bits);
    const { base_hash, base_name, format, ...details } = one.metadata ?? {};
    const { negative_prompt } = one;
    expect(style).toMatchObject({ ...details, kind: "external", negative_prompt });
    expect(saidBy(pack)).toEqual(saidBy(unpacked(one.pack as string)));
    const { tensors } = parseSafetensors(pack, "pack");
    for (const [i, table] of tables.entries()) {
      const norm = await changeNorm(tensors, table.slots, async () => {});
      const reference = one.norms?.[i] as number;
      expect(Math.abs(norm - reference)).toBeLessThanOrEqual(1e-12 * Math.max(reference, 1));
    }
  });
});

test("kinds without a low-rank form are refused, and every layer is named", async () => {
  expect(mergedOnly.length).toBeGreaterThanOrEqual(4);
  for (const one of mergedOnly) {
    const message = await refusal(made(one));
    expect(message).toContain(one.refused);
    expect(message).toContain("MODE=merged");
  }
});

describe("what Python refuses is refused with its words", () => {
  const rules: LoraRules = { ...toy, tables: [vectors.hostile_table as SlotTable] };
  const wording = (text: string) =>
    text
      .replace(/(?<=\] )float32/g, "F32")
      .replace(/(?<=\] )int8/g, "I8")
      .replace("5.24e+05", "524000")
      .replace(/^is no PEFT LoRA config.*/, "is no PEFT LoRA config");
  const cases = vectors.hostile as Case[];
  test.each(cases.map((one) => [one.case, one] as const))("%s", async (_, one) => {
    expect(one.refused).toBeDefined();
    expect(await refusal(made(one, rules))).toContain(wording(one.refused as string));
  });
});

describe("what is no LoRA file is told by how it begins", () => {
  const text = (value: string) => new Blob([value]);
  test.each([
    ["empty", text(""), /is empty/],
    ["a pickle", new Blob([Uint8Array.of(0x80, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1)]), /can run any code/],
    ["a zip of torch", text("PK\u0003\u0004 archive/data.pkl"), /can run any code/],
    ["a web page", text("\n<!DOCTYPE html><html></html>"), /saved as a file/],
    ["an error message", text('{"error": "not found"}'), /saved as a file/],
    ["a git-lfs pointer", text("version https://git-lfs.github.com/spec/v1"), /git lfs pull/],
    ["a GGUF", text("GGUF\u0003\0\0\0 and so on"), /GGUF/],
    ["something else", text("RIFF....WAVEfmt "), /not a safetensors file/],
    ["cut short", text("\u0008\0\0"), /cut short/],
    ["cut within its header", new Blob([safetensors("{}    ").slice(0, 12)]), /within its header/],
  ])("%s", async (_, bytes, message) => {
    const request = { name: "evil.safetensors", bytes };
    expect(await refusal(makeStyle(request, "", toy, (name) => name))).toMatch(message);
  });

  test("a file over the limit is refused without reading it", async () => {
    class Huge extends Blob {
      override get size() {
        return MAX_FILE + 1;
      }
      override slice(): Blob {
        throw new Error("read");
      }
    }
    const file = { name: "huge.safetensors", bytes: new Huge() };
    expect(await refusal(hashOf(file, undefined))).toMatch(/512 MiB.*python -m exporter/);
  });

  test("NaN names its tensor", async () => {
    const rules: LoraRules = { ...toy, tables: [vectors.hostile_table as SlotTable] };
    const tensors = {
      "lora_unet_x.lora_down.weight": { shape: [1, 3], data: [1, Number.NaN, 1] },
      "lora_unet_x.lora_up.weight": { shape: [4, 1], data: [1, 1, 1, 1] },
    };
    const request = { name: "nan.safetensors", bytes: new Blob([floatFile(tensors)]) };
    const message = await refusal(makeStyle(request, "", rules, (name) => name));
    expect(message).toMatch(/NaN or infinity in tensor "lora_unet_x.lora_down.weight"/);
  });
});

test("float32 rounds to half as NumPy rounds: to the nearest, ties to even", () => {
  const bits = Uint16Array.from({ length: 0x7c00 }, (_, i) => i);
  const exact = halfToFloat32(bits);
  expect(float32ToHalf(exact)).toEqual(bits);
  const between = exact.map((value, i) => (value + (exact[i + 1] ?? 65536)) / 2);
  expect(float32ToHalf(between)).toEqual(bits.map((half) => half + (half & 1)));
  const nudged = (by: number) => {
    const raw = new Uint32Array(between.slice().buffer).map((word) => word + by);
    return new Float32Array(raw.buffer);
  };
  expect(float32ToHalf(nudged(-1)).subarray(1)).toEqual(bits.subarray(1));
  expect(float32ToHalf(nudged(1))).toEqual(bits.map((half) => half + 1));
  expect([...float32ToHalf(Float32Array.of(-0, -1.5, 1e9, -Infinity, Number.NaN))]).toEqual([
    0x8000, 0xbe00, 0x7c00, 0xfc00, 0x7e00,
  ]);
});
