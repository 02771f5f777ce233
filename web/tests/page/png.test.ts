// @vitest-environment node
import { deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { crc32, isPng, readText, withText } from "../../src/page/png";

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

function chunk(type: string, data: Uint8Array = new Uint8Array(), crc?: number): Uint8Array {
  const made = new Uint8Array(12 + data.length);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(bytesOf(type), 4);
  made.set(data, 8);
  view.setUint32(8 + data.length, crc ?? crc32(made.subarray(4, 8 + data.length)));
  return made;
}

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const header = chunk("IHDR", Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0));
const pixels = chunk("IDAT", Uint8Array.from(deflateSync(Uint8Array.of(0, 1, 2, 3))));
const end = chunk("IEND");

function png(...chunks: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.concat([signature, ...chunks]));
}

const plain = png(header, pixels, end);
const joined = (...parts: (string | Uint8Array)[]) =>
  Uint8Array.from(
    Buffer.concat(parts.map((part) => (typeof part === "string" ? bytesOf(part) : part))),
  );

test("the CRC is that of the standard", () => {
  expect(crc32(bytesOf("123456789"))).toBe(0xcbf4_3926);
  expect(end).toEqual(Uint8Array.of(0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82));
});

describe("a text that is written", () => {
  test.each([
    ["tEXt", "a castle\nSteps: 20, café"],
    ["iTXt", "一座城堡 🏰\nSteps: 20"],
    ["iTXt", "a line with \0 in it"],
  ])("lies in %s and is read again: %j", async (type, text) => {
    const written = withText(plain, "parameters", text);
    expect(Buffer.from(written.subarray(37, 41)).toString()).toBe(type); // behind IHDR
    expect(await readText(written, "parameters")).toBe(text);
    expect(await readText(written, "other")).toBeUndefined();
  });

  test("takes the place of what stood there, and leaves the rest alone", async () => {
    const once = withText(withText(plain, "Comment", "mine"), "parameters", "first");
    const twice = withText(once, "parameters", "second");
    expect(await readText(twice, "parameters")).toBe("second");
    expect(await readText(twice, "Comment")).toBe("mine");
    const text = Buffer.from(twice).toString("latin1");
    expect(text).not.toContain("first");
    expect(text).toContain(Buffer.from(pixels).toString("latin1"));
  });
});

describe("texts of others are read", () => {
  const text = "a castle";
  const packed = Uint8Array.from(deflateSync(Buffer.from(text)));
  test.each<[string, Uint8Array]>([
    ["zTXt", chunk("zTXt", joined("parameters\0\0", packed))],
    ["compressed iTXt", chunk("iTXt", joined("parameters\0\u0001\0en\0Einstellungen\0", packed))],
    ["iTXt with a language", chunk("iTXt", joined("parameters\0\0\0zh-CN\0x\0", text))],
    ["tEXt behind the pixels", chunk("tEXt", joined("parameters\0", text))],
  ])("%s", async (_, text) => {
    expect(await readText(png(header, pixels, text, end), "parameters")).toBe("a castle");
  });
});

describe("hostile files", () => {
  const text = (type: string, data: Uint8Array) => png(header, chunk(type, data), end);
  const bomb = Uint8Array.from(deflateSync(Buffer.alloc(64 << 20)));
  test.each<[string, Uint8Array<ArrayBuffer>, RegExp]>([
    ["no PNG", bytesOf("GIF89a") as Uint8Array<ArrayBuffer>, /no PNG/],
    ["nothing", new Uint8Array(), /no PNG/],
    ["only a signature", png(), /cut short.*byte 8/],
    ["no IEND", png(header, pixels), /cut short/],
    ["cut within a chunk", plain.slice(0, 40), /cut short.*byte 33/],
    [
      "a length beyond the file",
      png(header, Uint8Array.of(0xff, 0xff, 0xff, 0xff, ...bytesOf("tEXtabcdefgh"))),
      /cut short.*byte 33/,
    ],
    ["a wrong CRC", png(header, chunk("tEXt", joined("parameters\0x"), 7), end), /CRC is wrong/],
    ["a text of 2 MiB", text("tEXt", joined("parameters\0", "x".repeat(2 << 20))), /longer than/],
    ["a bomb", text("zTXt", joined("parameters\0\0", bomb)), /longer than 1 MiB/],
    ["a bomb in iTXt", text("iTXt", joined("parameters\0\u0001\0\0\0", bomb)), /longer than 1 MiB/],
    ["rubbish for zlib", text("zTXt", joined("parameters\0\0", "rubbish")), /damaged/],
    ["an unknown compression", text("zTXt", joined("parameters\0\u0009", "x")), /compression/],
    ["no language in iTXt", text("iTXt", joined("parameters\0\0\0en")), /not of this form/],
    ["no UTF-8", text("iTXt", joined("parameters\0\0\0\0\0", "\xff\xfe")), /not UTF-8/],
  ])("%s", async (_, file, reason) => {
    await expect(readText(file, "parameters")).rejects.toThrow(reason);
  });

  test("chunks without an end in sight end", async () => {
    const many = Buffer.concat(Array.from({ length: 100_001 }, () => chunk("aaAa")));
    await expect(readText(png(header, many, end), "parameters")).rejects.toThrow(/100000 chunks/);
  });

  test("a keyword without an end is none of ours", async () => {
    const file = text("tEXt", joined("parameters".repeat(20)));
    expect(await readText(file, "parameters")).toBeUndefined();
    expect(isPng(file)).toBe(true);
  });

  test("a PNG that does not begin with IHDR takes no text", () => {
    expect(() => withText(png(pixels, end), "parameters", "x")).toThrow(/IHDR/);
  });
});
