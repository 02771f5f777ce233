import { beforeEach, describe, expect, test } from "vitest";
import type { Manifest } from "../../src/bundle/manifest.gen";
import { EngineProblem } from "../../src/engine/problems";
import { type OpenHooks, openWith, type Parts } from "../../src/library/open";
import type { GenerateRequest } from "../../src/library/paintengine";
import type { Server } from "../../src/library/server";
import type { LoadProgress } from "../../src/worker/protocol";
import { fakeManifest, mergedStyle, style } from "../manifest";
import { type Fake, fakeServices } from "../page/fake/services";

let fake: Fake;
beforeEach(() => {
  fake = fakeServices(
    fakeManifest([style("ink", { models: ["unet", "text_encoder"] }), style("oil")]),
  );
});

/** Lets everything that can go on go on. */
const turn = () => new Promise((resolve) => setTimeout(resolve));

async function opened(parts: Partial<Parts> = {}, hooks: OpenHooks = {}) {
  const opening = openWith({ ...fake, ...parts }, hooks);
  await turn();
  fake.finishLoad();
  return opening;
}

/** Gives every denoise of a request its end, as it comes. */
async function painted(engine: Awaited<ReturnType<typeof opened>>, request: GenerateRequest) {
  const before = fake.asked.length;
  const pictures = engine.generate(request);
  pictures.catch(() => {});
  for (let index = 0; index < (request.count ?? 1); index += 1) {
    await turn();
    fake.asked[before + index]?.finish();
  }
  return pictures;
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "no problem",
    (thrown: unknown) => (thrown instanceof EngineProblem ? thrown.code : String(thrown)),
  );

describe("generate", () => {
  test("takes from the bundle what is not said", async () => {
    const engine = await opened();
    const [picture] = await painted(engine, { prompt: "a lake", styles: [{ name: "ink" }] });
    expect(fake.words).toEqual([
      { prompt: "a lake", negativePrompt: "", styles: [{ name: "ink", te: 0.8 }] },
    ]);
    const { seed, ...asked } = fake.asked[0]?.request ?? { seed: -1 };
    expect(asked).toMatchObject({
      styles: [{ name: "ink", strength: 0.8 }],
      steps: 25,
      guidanceScale: 4,
      sampler: "ddim",
      width: 16,
      height: 16,
    });
    expect(picture).toMatchObject({ seed, width: 128, height: 128, milliseconds: 1500 });
    expect(picture?.provider?.provider).toBe("wasm");
    expect((await picture?.toBlob())?.type).toBe("image/png");
  });

  test("a batch counts seeds up and reads the words once", async () => {
    const engine = await opened();
    const seen: number[] = [];
    const pictures = await painted(engine, {
      prompt: "a lake",
      seed: 7,
      count: 3,
      onPicture: ({ seed }, index) => seen.push(seed, index),
    });
    expect(pictures.map(({ seed }) => seed)).toEqual([7, 8, 9]);
    expect(fake.asked.map(({ request }) => request.seed)).toEqual([7, 8, 9]);
    expect(seen).toEqual([7, 0, 8, 1, 9, 2]);
    expect(fake.words).toHaveLength(1);
  });

  test("tags in the prompt are styles, with those beside them", async () => {
    const engine = await opened();
    await painted(engine, {
      prompt: "a lake<lora:oil:0.5><lora:ink:0.1:0.2>",
      styles: [{ name: "ink", strength: 1 }],
    });
    expect(fake.words).toMatchObject([{ prompt: "a lake", styles: [{ name: "ink", te: 1.1 }] }]);
    expect(fake.asked[0]?.request.styles).toEqual([
      { name: "ink", strength: 1.2 },
      { name: "oil", strength: 0.5 },
    ]);
    await expect(engine.generate({ prompt: "<lora:chalk:1>" })).rejects.toMatchObject({
      code: "request",
      where: "chalk",
    });
  });

  test("embeddings need no words read", async () => {
    const engine = await opened();
    const embeds = () => ({ data: Float32Array.of(1, 2), shape: [1, 1, 2] });
    const embeddings = { promptEmbeds: embeds(), negativePromptEmbeds: embeds() };
    await painted(engine, { embeddings });
    expect(fake.words).toEqual([]);
    expect(fake.asked[0]?.request.promptEmbeds).toEqual(embeds());
    expect(embeddings.promptEmbeds.data).toHaveLength(2); // still the caller's
  });

  test("a size is in pixels, and must be one that the model has", async () => {
    const engine = await opened();
    const [picture] = await painted(engine, { prompt: "", width: 256, height: 128 });
    expect(fake.asked[0]?.request).toMatchObject({ width: 32, height: 16 });
    expect(picture).toMatchObject({ width: 256, height: 128 });
    const refused = engine.generate({ prompt: "", width: 100 });
    await expect(refused).rejects.toMatchObject({ code: "request", where: "width" });
  });

  test.each([
    [{}, "prompt"],
    [{ prompt: "", styles: [{ name: "chalk" }] }, "chalk"],
    [{ prompt: "", count: 0 }, "count"],
  ])("%o is refused by name", async (request, where) => {
    const engine = await opened();
    await expect(engine.generate(request)).rejects.toMatchObject({ code: "request", where });
  });

  test("steps say which picture they are of, with a preview only where one is wanted", async () => {
    const engine = await opened();
    const steps: unknown[] = [];
    const painting = engine.generate({ prompt: "", onStep: (step) => steps.push(step) });
    await turn();
    fake.asked[0]?.hooks.onStep?.({ step: 1, steps: 25, milliseconds: 5 });
    fake.asked[0]?.finish();
    await painting;
    expect(steps).toEqual([{ step: 1, steps: 25, milliseconds: 5, picture: 0, count: 1 }]);
    expect(fake.asked[0]?.request.preview).toBe(true);
    await painted(engine, { prompt: "" });
    expect(fake.asked[1]?.request.preview).toBe(false);
  });
});

describe("requests wait for each other", () => {
  test("one after another, until they are not wanted any more", async () => {
    const engine = await opened();
    const first = engine.generate({ prompt: "one" });
    const controller = new AbortController();
    const second = codeOf(engine.generate({ prompt: "two", signal: controller.signal }));
    const third = engine.generate({ prompt: "three" });
    await turn();
    expect(fake.asked).toHaveLength(1);
    controller.abort();
    expect(await second).toBe("cancelled");
    fake.asked[0]?.finish();
    await first;
    await turn();
    fake.asked[1]?.finish();
    await third;
    expect(fake.words.map(({ prompt }) => prompt)).toEqual(["one", "three"]);
  });

  test("the newest wins among those that ask for it", async () => {
    const engine = await opened();
    const kept = engine.generate({ prompt: "kept" });
    const old = codeOf(engine.generate({ prompt: "old", latest: true }));
    const newest = engine.generate({ prompt: "newest", latest: true });
    expect(await old).toBe("cancelled");
    await turn();
    fake.asked[0]?.finish();
    await kept;
    await turn();
    fake.asked[1]?.finish();
    await newest;
    expect(fake.words.map(({ prompt }) => prompt)).toEqual(["kept", "newest"]);
  });

  test("close ends what runs and what waits, and the worker", async () => {
    const engine = await opened();
    const running = codeOf(engine.generate({ prompt: "one" }));
    const waiting = codeOf(engine.generate({ prompt: "two" }));
    await turn();
    engine.close();
    expect(await Promise.all([running, waiting])).toEqual(["cancelled", "cancelled"]);
    expect(fake.terminated).toBe(true);
    expect(await codeOf(engine.generate({ prompt: "three" }))).toBe("cancelled");
  });
});

describe("opening", () => {
  test("says what is fetched, and ends when it is not wanted any more", async () => {
    const seen: LoadProgress[] = [];
    const controller = new AbortController();
    const { signal } = controller;
    const opening = codeOf(openWith(fake, { signal, onProgress: (part) => seen.push(part) }));
    await turn();
    const progress = {
      stage: "shards",
      file: "w.bin",
      loadedBytes: 1,
      storedBytes: 0,
      totalBytes: 2,
    } as const;
    fake.loads[0]?.onProgress?.(progress);
    expect(seen).toEqual([progress]);
    controller.abort();
    expect(fake.terminated).toBe(true);
    fake.finishLoad({ ok: false, problem: { code: "cancelled", message: "Cancelled." } });
    expect(await opening).toBe("cancelled");
  });

  test("reports what runs where, and why", async () => {
    expect((await opened()).report()).toMatchObject({
      mode: "server",
      why: "parts",
      provider: { provider: "wasm", error: 1.1e-6 },
      isolated: false,
    });
  });

  test("where nothing computes it correctly, the server draws", async () => {
    const opening = openWith(fake);
    await turn();
    fake.finishLoad({ ok: false, problem: { code: "no-provider", message: "None passed." } });
    const engine = await opening;
    expect(fake.terminated).toBe(true);
    const report = engine.report();
    expect(report).toMatchObject({ mode: "remote", why: "no-provider", refused: "None passed." });
    expect(report.provider).toBeUndefined();
    const styles = [{ name: "ink" }, { name: "oil", strength: 0.5 }];
    const [picture] = await engine.generate({ prompt: "a lake", seed: 3, styles });
    expect(fake.remote).toMatchObject([
      {
        prompt: "a lake",
        styles: [
          { name: "ink", strength: 0.8, te: 0.8 },
          { name: "oil", strength: 0.5 },
        ],
        seed: 3,
        width: 128,
      },
    ]);
    expect(picture).toMatchObject({ seed: 3, width: 128 });
    expect(picture?.latents).toBeUndefined();
    expect(await codeOf(engine.addStyle(new Blob(["x"])))).toBe("request");
  });

  test("a manifest that does not come ends the worker that was started for it", async () => {
    const openManifest = () => Promise.reject(new EngineProblem("network", "Gone."));
    expect(await codeOf(openWith({ ...fake, openManifest }))).toBe("network");
    expect(fake.terminated).toBe(true);
  });

  test("a picture that is cancelled while it is developed ends so at once", async () => {
    const decode = () => new Promise<Blob>(() => {}); // neither worker nor server can be stopped
    const engine = await opened({ server: { ...(fake.server as Server), decode } });
    const controller = new AbortController();
    const { signal } = controller;
    const painting = codeOf(engine.generate({ prompt: "a lake", signal }));
    await turn();
    fake.asked[0]?.finish();
    await turn();
    controller.abort();
    expect(await painting).toBe("cancelled");
  });

  test("where no server is, and nobody asked for one, this device does it all", async () => {
    const manifest = fakeManifest([style("ink")]);
    for (const part of [manifest.text_encoder, manifest.vae_decoder, manifest.vae_encoder]) {
      part.graph = { ...part.graph, providers: ["wasm"] };
    }
    const heavy = { url: "heavy.bin", bytes: 2 ** 30, sha256: "e".repeat(64) };
    manifest.shards = { ...manifest.shards, "heavy.bin": heavy };
    manifest.vae_decoder.graph.shards = ["heavy.bin"];
    const openManifest = async () => ({ manifest, offline: false });
    fake.serverThrows = new EngineProblem("no-server", "This is a static host.");
    const engine = await opened({ openManifest });
    expect(engine.report()).toMatchObject({ mode: "here", why: "alone" });
    const asked = openWith({ ...fake, openManifest, mode: "server" });
    expect(await codeOf(asked)).toBe("no-server");
  });

  test("without a server, nothing that computes it correctly is a problem", async () => {
    const opening = openWith({ ...fake, server: undefined });
    await turn();
    fake.finishLoad({ ok: false, problem: { code: "no-provider", message: "None passed." } });
    expect(await codeOf(opening)).toBe("no-provider");
  });

  test("a mode that needs a server needs one", async () => {
    expect(await codeOf(openWith({ ...fake, server: undefined, mode: "remote" }))).toBe("request");
  });

  test("words that were read ahead are not read again; a server is not asked for them", async () => {
    const engine = await opened({ mode: "here" });
    const embeds = { data: new Float32Array(8), shape: [1, 1, 8] };
    fake.answers["encode-text"] = { promptEmbeds: embeds, negativePromptEmbeds: embeds };
    fake.answers["decode-latents"] = { rgba: new Uint8ClampedArray(4), width: 1, height: 1 };
    const request = { prompt: "a lake", styles: [{ name: "ink" }] };
    await engine.readAhead(request);
    await painted(engine, request);
    const calls = ["local-styles", "encode-text", "decode-latents"];
    expect(fake.calls.map(({ type }) => type)).toEqual(calls);
    const withServer = await opened({ mode: "server" });
    await withServer.readAhead(request);
    expect(fake.words).toEqual([]);
  });

  test("here, words and pictures are the worker's", async () => {
    const engine = await opened({ mode: "here" });
    const embeds = { data: new Float32Array(8), shape: [1, 1, 8] };
    fake.answers["encode-text"] = { promptEmbeds: embeds, negativePromptEmbeds: embeds };
    fake.answers["decode-latents"] = { rgba: new Uint8ClampedArray(4), width: 1, height: 1 };
    const [picture] = await painted(engine, {
      prompt: "a lake",
      clipSkip: 1,
      styles: [{ name: "ink", te: 0.5 }],
    });
    expect(fake.words).toEqual([]);
    expect(fake.calls.shift()?.type).toBe("local-styles");
    expect(fake.calls.map(({ type }) => type)).toEqual(["encode-text", "decode-latents"]);
    expect(fake.calls[0]?.request).toEqual({
      prompt: "a lake",
      negativePrompt: "",
      clipSkip: 1,
      styles: [{ name: "ink", te: 0.5 }],
    });
    expect(picture).toMatchObject({ width: 1, height: 1 });
    expect(picture?.latents?.data).toHaveLength(1024); // a copy was developed
  });
});

describe("styles of one's own", () => {
  test("are in the manifest while they are there", async () => {
    const engine = await opened();
    fake.answers["add-style"] = { ...style("chalk"), kept: "device", notes: [] };
    fake.answers["remove-style"] = null;
    const file = new File(["lora"], "chalk.safetensors");
    expect((await engine.addStyle(file)).name).toBe("chalk");
    const asked = fake.calls.find(({ type }) => type === "add-style");
    expect(asked?.request).toEqual({ name: "chalk.safetensors", bytes: file, beside: [] });
    expect(engine.styles.map(({ name }) => name)).toEqual(["ink", "oil", "chalk"]);
    await painted(engine, { prompt: "", styles: [{ name: "chalk" }] });
    await engine.removeStyle("chalk");
    expect(engine.styles.map(({ name }) => name)).toEqual(["ink", "oil"]);
  });

  test("beside a server, words that one of them reads are read here", async () => {
    const engine = await opened({ mode: "server" });
    const chalk = { ...style("chalk", { models: ["unet", "text_encoder"] }), notes: [] };
    fake.answers["add-style"] = { ...chalk, kept: "device" };
    const { notes } = await engine.addStyle(new File(["lora"], "chalk.safetensors"));
    expect(notes).toMatchObject([{ code: "read-here" }]);
    fake.answers["local-styles"] = [{ ...chalk, kept: "device" }];
    const embeds = { data: new Float32Array(8), shape: [1, 1, 8] };
    fake.answers["encode-text"] = { promptEmbeds: embeds, negativePromptEmbeds: embeds };
    const both = [{ name: "ink" }, { name: "chalk" }];
    await painted(engine, { prompt: "a lake", styles: both });
    expect(fake.words).toEqual([]);
    expect(fake.calls.at(-1)?.type).toBe("encode-text");
    await painted(engine, { prompt: "a lake", styles: [{ name: "ink" }] });
    expect(fake.words).toHaveLength(1);
    fake.answers["add-style"] = { ...chalk, kept: "bundle" }; // which the server has, too
    expect((await engine.addStyle(new File(["lora"], "chalk.safetensors"))).notes).toEqual([]);
  });

  test("are there again on the next visit", async () => {
    fake.answers["local-styles"] = [{ ...style("chalk"), kept: "device", notes: [] }];
    const told: number[] = [];
    const onManifest = ({ styles }: Manifest) => void told.push(styles?.length ?? 0);
    const engine = await opened({}, { onManifest });
    expect(engine.styles.map(({ name }) => name)).toEqual(["ink", "oil", "chalk"]);
    expect(engine.styles[2]).not.toHaveProperty("kept"); // the manifest's schema knows none
    expect(told).toEqual([2, 3]);
  });

  test("a merged one goes at the strength it was merged at", async () => {
    fake = fakeServices(fakeManifest([mergedStyle("ukiyo", 0.9)]));
    const engine = await opened();
    await painted(engine, { prompt: "", styles: [{ name: "ukiyo" }] });
    expect(fake.asked[0]?.request.styles).toEqual([{ name: "ukiyo", strength: 0.9 }]);
  });
});
