import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { FileRef, Manifest, Slot, Style } from "../../src/bundle/manifest.gen";
import { Files, startWork } from "../../src/engine/downloads";
import { readPack } from "../../src/engine/packs";
import { TextEncoders } from "../../src/engine/text";
import type { BundleParts } from "../../src/engine/variants";
import type { TextRequest } from "../../src/worker/protocol";
import { fakeManifest, mergedStyle, style } from "../manifest";
import { floatFile } from "./bytes";

/** A "text encoder" whose state is the token id plus all LoRA values, and 100 for each skip. */
const sessions: { file: string; released: boolean }[] = [];
let refusedThreads: number | undefined;
let broken = 0;

vi.mock("../../src/engine/runtimes", () => ({
  loadRuntime: async (_provider: string, threads: number) => ({
    Tensor: class {
      constructor(
        readonly type: string,
        readonly data: ArrayLike<number | bigint>,
        readonly dims: number[],
      ) {}
    },
    InferenceSession: {
      async create(graph: Uint8Array) {
        if (threads === refusedThreads) throw new Error("no threads here");
        const own = { file: new TextDecoder().decode(graph), released: false };
        sessions.push(own);
        return {
          async run(feeds: Record<string, { data: ArrayLike<number | bigint> }>, [name]: string[]) {
            const { input_ids, ...lora } = feeds;
            const values = Object.values(lora).flatMap(({ data }) => [...(data as Float32Array)]);
            const added = values.reduce((sum, value) => sum + value, broken);
            const skip = 100 * Number(/\d*$/.exec(name as string)?.[0] || 0);
            const ids = Array.from(input_ids?.data ?? [], Number);
            const states = Float32Array.from(ids.flatMap((id) => [id + added + skip, -1]));
            return { [name as string]: { getData: async () => states } };
          },
          release: async () => {
            own.released = true;
          },
        };
      },
    },
  }),
}));

const letters = [..."abcdefghijklmnopqrstuvwxyz,"];
const vocab = Object.fromEntries(
  [...letters.flatMap((letter) => [letter, `${letter}</w>`]), "<s>", "</s>"].map((t, i) => [t, i]),
);
const id = (token: string) => vocab[token] as number;
const tokenizerJson = {
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: {
    type: "Split",
    pattern: { Regex: "[a-z]+|,|[^\\sa-z,]+" },
    behavior: "Removed",
    invert: true,
  },
  post_processor: null,
  decoder: null,
  model: { type: "BPE", vocab, merges: [], end_of_word_suffix: "</w>", unk_token: "</s>" },
};

const textSlot = {
  name: "text_encoder.one",
  kind: "linear",
  in_width: 1,
  out_width: 1,
  input_a: "text_encoder.one.lora_A",
  input_b: "text_encoder.one.lora_B",
  aliases: [],
  weight: { shard: "x", offset: 0, shape: [1, 1], dtype: "float16", transposed: true },
} satisfies Slot;

let manifest: Manifest;
let asked: string[];
let contents: Map<string, Uint8Array<ArrayBuffer>>;

function put(url: string, content: string | Uint8Array<ArrayBuffer>): FileRef {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  contents.set(url, bytes);
  return { url, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

beforeEach(() => {
  sessions.length = 0;
  asked = [];
  contents = new Map();
  refusedThreads = undefined;
  broken = 0;
  const spoken = { models: ["unet", "text_encoder"] } satisfies Partial<Style>;
  manifest = fakeManifest([
    style("accent", spoken),
    style("ink"),
    { ...mergedStyle("dialect"), ...spoken },
    mergedStyle("oil"),
  ]);
  const rest = put("weights.bin", "w");
  manifest.shards = { rest };
  const graph = (name: string) => ({
    ...manifest.text_encoder.graph,
    file: put(`${name}.onnx`, name),
    shards: ["rest"],
  });
  const table = { model: "text_encoder", slot_set: "transformer", slots: [textSlot] };
  manifest.text_encoder = {
    graph: graph("base"),
    slots: put("text-slots.json", JSON.stringify(table)),
    skipped: ["skipped_1", "skipped_2"],
  };
  const dialect = manifest.unet.find(({ name }) => name === "dialect");
  if (dialect) dialect.text_encoder = { graph: graph("dialect") };
  manifest.tokenizer = {
    tokenizer_json: put("tokenizer.json", JSON.stringify(tokenizerJson)),
    tokenizer_config: put("tokenizer_config.json", "{}"),
    max_length: 6,
    bos_token_id: id("<s>"),
    eos_token_id: id("</s>"),
    pad_token_id: id("</s>"),
  };
  vi.stubGlobal("fetch", async (url: string) => {
    const name = url.replace("http://host/", "");
    asked.push(name);
    return new Response(contents.get(name)?.slice() ?? null, {
      status: contents.has(name) ? 200 : 404,
    });
  });
});

const pack = () =>
  readPack(
    floatFile(
      {
        "text_encoder.one.lora_A": { shape: [1, 1], data: [2] },
        "text_encoder.one.lora_B": { shape: [1, 1], data: [10] },
      },
      { format: "brushlet-pack/1", base_hash: "a".repeat(64), base_name: "x", rank: "1" },
    ),
    manifest,
    [],
    "accent",
  );

function made(severalFit = true, threads = 2): TextEncoders {
  const files = new Files("http://host/manifest.json");
  const parts = { manifest, slots: [], files, runtimeUrl: "http://host/" } as BundleParts;
  return new TextEncoders(parts, threads, severalFit);
}

const request = (prompt: string, rest: Partial<TextRequest> = {}): TextRequest => ({
  prompt,
  negativePrompt: "",
  styles: [],
  ...rest,
});
const read = (encoders: TextEncoders, asked: TextRequest) =>
  encoders.encode(asked, async () => pack(), startWork({}));

/** The first number of each token's state. */
const firsts = ({ data }: { data: Float32Array }) => [...data].filter((_, i) => i % 2 === 0);
const [start, end] = [id("<s>"), id("</s>")];

describe("words become states", () => {
  test("between start and end, padded, of both prompts", async () => {
    const found = await read(made(), request("a b", { negativePrompt: "c" }));
    expect(found.promptEmbeds.shape).toEqual([1, 6, 2]);
    expect(firsts(found.promptEmbeds)).toEqual([start, id("a</w>"), id("b</w>"), end, end, end]);
    expect(firsts(found.negativePromptEmbeds)).toEqual([start, id("c</w>"), end, end, end, end]);
    expect(found.promptEmbeds.data.buffer).not.toBe(found.negativePromptEmbeds.data.buffer);
  });

  test("in chunks, the shorter prompt filled up with empty ones", async () => {
    const found = await read(made(), request("a b, c d e"));
    expect(found.promptEmbeds.shape).toEqual([1, 12, 2]);
    const comma = id(",</w>");
    expect(firsts(found.promptEmbeds)).toEqual([
      ...[start, id("a</w>"), id("b</w>"), comma, end, end],
      ...[start, id("c</w>"), id("d</w>"), id("e</w>"), end, end],
    ]);
    const empty = [start, end, end, end, end, end];
    expect(firsts(found.negativePromptEmbeds)).toEqual([...empty, ...empty]);
  });

  test("multiplied by their weights, with the mean restored", async () => {
    const [plain, weighted] = [
      await read(made(), request("a b")),
      await read(made(), request("a (b:3)")),
    ];
    const mean = (values: Iterable<number>) => [...values].reduce((sum, value) => sum + value) / 12;
    const before = mean(plain.promptEmbeds.data);
    expect(mean(weighted.promptEmbeds.data)).toBeCloseTo(before, 4);
    const [first = 0, , third = 0] = firsts(weighted.promptEmbeds);
    expect(third / first).toBeCloseTo((3 * id("b</w>")) / start, 4);
  });

  test("of earlier layers", async () => {
    const found = await read(made(), request("a", { clipSkip: 2 }));
    expect(firsts(found.promptEmbeds)[0]).toBe(start + 200);
    for (const clipSkip of [3, -1, 0.5]) {
      await expect(read(made(), request("a", { clipSkip }))).rejects.toMatchObject({
        code: "request",
        message: expect.stringContaining("choose a whole number from 0 to 2"),
      });
    }
  });
});

describe("styles", () => {
  test("of the text encoder are stacked at their own strength; others change nothing", async () => {
    const styles = [
      { name: "accent", te: 0.5 },
      { name: "ink", te: 1 },
    ];
    const found = await read(made(), request("a", { styles }));
    expect(firsts(found.promptEmbeds)[0]).toBe(start + 2 + 0.5 * 10);
  });

  test("that are merged bring their own encoder, if they change it", async () => {
    const encoders = made();
    await read(encoders, request("a", { styles: [{ name: "dialect", te: 0.8 }] }));
    await read(encoders, request("a", { styles: [{ name: "oil", te: 0.8 }] }));
    await read(encoders, request("b", { styles: [{ name: "dialect", te: 0.8 }] }));
    expect(sessions.map(({ file }) => file)).toEqual(["dialect", "base"]);
    expect(asked.filter((name) => name === "weights.bin")).toHaveLength(1);
  });

  test("one encoder at a time where memory is short", async () => {
    const encoders = made(false);
    await read(encoders, request("a"));
    await read(encoders, request("a", { styles: [{ name: "dialect", te: 0.8 }] }));
    expect(sessions).toEqual([
      { file: "base", released: true },
      { file: "dialect", released: false },
    ]);
  });

  test.each([
    ["unknown", { name: "nobody", te: 1 }, "There is no style nobody"],
    ["merged at another strength", { name: "dialect", te: 0.3 }, "choose 0.8 or 0"],
  ])("%s", async (_, one, message) => {
    const wrong = read(made(), request("a", { styles: [one] }));
    await expect(wrong).rejects.toMatchObject({
      code: "request",
      message: expect.stringContaining(message),
    });
  });
});

test("a tag that is left in the words is told", async () => {
  await expect(read(made(), request("a <lora:ink:1>"))).rejects.toMatchObject({
    code: "request",
    where: "<lora:ink:1>",
  });
});

test("numbers beyond float32 are told", async () => {
  broken = Number.POSITIVE_INFINITY;
  await expect(read(made(), request("a"))).rejects.toMatchObject({ code: "numbers" });
});

test("one thread runs where more do not start; a session is opened once", async () => {
  refusedThreads = 2;
  const encoders = made();
  await read(encoders, request("a"));
  await read(encoders, request("b"));
  expect(sessions).toHaveLength(1);
  expect(asked.filter((name) => name === "tokenizer.json")).toHaveLength(1);
  await encoders.release();
  expect(sessions[0]?.released).toBe(true);
  refusedThreads = 1;
  await expect(read(made(true, 1), request("a"))).rejects.toMatchObject({
    code: "no-provider",
    message: expect.stringContaining("no threads here"),
  });
});

test("a tokenizer that is none is told", async () => {
  manifest.tokenizer.tokenizer_json = put("tokenizer.json", "[");
  await expect(read(made(), request("a"))).rejects.toMatchObject({
    code: "damaged",
    where: "tokenizer.json",
  });
});
