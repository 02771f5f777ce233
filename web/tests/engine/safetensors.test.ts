import { describe, expect, test } from "vitest";
import { bfloat16ToFloat32 } from "../../src/engine/half";
import { parseSafetensors } from "../../src/engine/safetensors";
import vectors from "../vectors/tensors.json";
import { floatFile, fromBase64, safetensors } from "./bytes";

test("reads what Python wrote: half with subnormals, single, metadata", () => {
  const { tensors, metadata } = parseSafetensors(fromBase64(vectors.file), "file");
  for (const [name, values] of Object.entries(vectors.values)) {
    expect([...(tensors.get(name)?.data ?? [])]).toEqual(values);
  }
  expect(tensors.get("single")?.shape).toEqual([2, 2]);
  expect(Object.fromEntries(metadata)).toEqual({ name: "Städte", rank: "4" });
});

test("reads a file that lies unaligned in its buffer", () => {
  const file = fromBase64(vectors.file);
  const shifted = new Uint8Array(file.length + 1);
  shifted.set(file, 1);
  const { tensors } = parseSafetensors(shifted.subarray(1), "file");
  expect([...(tensors.get("half")?.data ?? [])]).toEqual(vectors.values.half);
});

test("widens bfloat16", () => {
  expect([...bfloat16ToFloat32(Uint16Array.from(vectors.bfloat16_bits))]).toEqual(vectors.bfloat16);
});

const entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';
const other = (change: string) => `{"a":{${change}}}`;
const four = new Uint8Array(4);
const eight = new Uint8Array(8);
const hostile: [string, Uint8Array, RegExp][] = [
  ["empty", new Uint8Array(), /cut short/],
  ["a header length beyond the file", safetensors("{}").fill(200, 0, 1), /cut short within/],
  ["a header length of 2^63", safetensors("{}   ").fill(255, 7, 8), /header is too long/],
  ["a header that is no JSON", safetensors("{]  "), /not JSON/],
  ["a header that is no object", safetensors("[1] "), /not a JSON object/],
  ["a header that is no UTF-8", safetensors("{}  ").fill(0xff, 9, 10), /not JSON/],
  ["a name twice", safetensors(`{"a":${entry},"a":${entry}}`, four), /"a" twice/],
  ["a name twice by escapes", safetensors(`{"a":${entry},"\\u0061":${entry}}`, four), /"a" twice/],
  ["a field twice", safetensors(other('"dtype":"F16","dtype":"F32"')), /"dtype" twice/],
  ["a name like a path", safetensors(`{"../a":${entry}}`, four), /looks like a path/],
  ["a prototype's name as no table", safetensors('{"__proto__":1}'), /not described by/],
  ["a dtype of ints", withEntry('"I64","shape":[1],"data_offsets":[0,8]', eight), /I64/],
  [
    "a prototype's name as dtype",
    withEntry('"toString","shape":[1],"data_offsets":[0,4]', four),
    /toString/,
  ],
  ["a negative size", withEntry('"F32","shape":[-1],"data_offsets":[0,4]', four), /list of sizes/],
  [
    "a fractional size",
    withEntry('"F32","shape":[1.5],"data_offsets":[0,6]', eight),
    /list of sizes/,
  ],
  [
    "a huge shape",
    withEntry('"F32","shape":[9007199254740991,4],"data_offsets":[0,4]', four),
    /should be/,
  ],
  ["an empty tensor", withEntry('"F32","shape":[0],"data_offsets":[0,0]'), /is empty/],
  [
    "a shape of other bytes",
    withEntry('"F32","shape":[2],"data_offsets":[0,4]', four),
    /should be 8/,
  ],
  ["offsets backwards", withEntry('"F32","shape":[1],"data_offsets":[4,0]', four), /should be 4/],
  ["offsets past the end", withEntry('"F32","shape":[2],"data_offsets":[0,8]', four), /cut short/],
  ["a hole", withEntry('"F32","shape":[1],"data_offsets":[4,8]', eight), /gap or an overlap/],
  ["an overlap", safetensors(`{"a":${entry},"b":${entry}}`, four), /gap or an overlap/],
  ["bytes behind", withEntry('"F32","shape":[1],"data_offsets":[0,4]', eight), /4 bytes behind/],
  ["one more field", safetensors(`{"a":{"x":1,${entry.slice(1)}}`, four), /not described by/],
  ["metadata of numbers", safetensors('{"__metadata__":{"rank":4}}'), /table of texts/],
  ["NaN", floatFile({ a: { shape: [1], data: [Number.NaN] } }), /NaN or infinity/],
  ["infinity", floatFile({ a: { shape: [1], data: [-Infinity] } }), /NaN or infinity/],
];

function withEntry(afterDtype: string, body?: Uint8Array): Uint8Array {
  return safetensors(`{"a":{"dtype":${afterDtype}}}`, body);
}

describe("a hostile file ends in one clear line", () => {
  test.each(hostile)("%s", (_, file, message) => {
    const parse = () => parseSafetensors(file, "evil.safetensors");
    expect(parse).toThrow(message);
    expect(parse).toThrow(
      expect.objectContaining({ code: "damaged", where: "evil.safetensors" }) as Error,
    );
  });
});
