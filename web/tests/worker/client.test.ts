import { beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { createWorkerClient, type WorkerClient, type WorkerLike } from "../../src/worker/client";
import type {
  CallResult,
  DenoiseRequest,
  DenoiseResult,
  LoadRequest,
  LoadResult,
  Notice,
  Outcome,
  Reply,
  Request,
} from "../../src/worker/protocol";

/** A worker that answers nothing by itself. */
class FakeWorker implements WorkerLike {
  readonly sent: { message: Request; transfer: Transferable[] }[] = [];
  terminated = false;
  private readonly listeners = new Map<string, (event: never) => void>();

  postMessage(message: Request, transfer: Transferable[] = []): void {
    this.sent.push({ message, transfer });
  }
  terminate(): void {
    this.terminated = true;
  }
  addEventListener(type: string, listener: (event: never) => void): void {
    this.listeners.set(type, listener);
  }
  reply(data: Reply): void {
    this.listeners.get("message")?.({ data } as never);
  }
  crash(message: string): void {
    this.listeners.get("error")?.({ message } as never);
  }
}

let worker: FakeWorker;
let client: WorkerClient;
beforeEach(() => {
  worker = new FakeWorker();
  client = createWorkerClient(worker);
});

const loadRequest: LoadRequest = { manifestUrl: "http://h/m.json", runtimeUrl: "http://h/ort/" };
const embeds = () => ({ data: new Float32Array(3), shape: [1, 1, 3] });
const denoiseRequest = (): DenoiseRequest => ({
  promptEmbeds: embeds(),
  negativePromptEmbeds: embeds(),
  styles: [],
  seed: 1,
  steps: 1,
  guidanceScale: 1,
  sampler: "ddim",
  height: 1,
  width: 1,
  preview: false,
});

describe("requests", () => {
  test("replies reach the request they belong to", async () => {
    const seen: string[] = [];
    const first = client.prefetchStyle("ink", { onProgress: ({ file }) => seen.push(file) });
    const second = client.prefetchStyle("oil");
    const bytes = { loadedBytes: 1, totalBytes: 2, storedBytes: 0 };
    const progress = { stage: "style", file: "ink.bin", ...bytes } as const;
    worker.reply({ type: "progress", id: 1, progress });
    worker.reply({ type: "progress", id: 2, progress: { ...progress, file: "oil.bin" } });
    worker.reply({ type: "done", id: 2, outcome: { ok: true, value: null } });
    worker.reply({ type: "done", id: 1, outcome: { ok: true, value: null } });
    expect(await first).toEqual({ ok: true, value: null });
    expect(await second).toEqual({ ok: true, value: null });
    expect(seen).toEqual(["ink.bin"]);
  });

  test("a failed provider is told while the request goes on", async () => {
    const seen: Notice[] = [];
    void client.denoise(denoiseRequest(), { onNotice: (notice) => seen.push(notice) });
    const notice: Notice = {
      kind: "lost",
      from: { provider: "webgpu", compute: "fp16", threads: 1 },
      to: { provider: "wasm", compute: "fp32", threads: 2 },
      reason: "driver reset",
    };
    worker.reply({ type: "notice", id: 1, notice });
    expect(seen).toEqual([notice]);
  });

  test("embeddings are transferred, a buffer that serves twice only once", () => {
    const request = denoiseRequest();
    void client.denoise(request);
    void client.denoise({ ...request, negativePromptEmbeds: request.promptEmbeds });
    expect(worker.sent.map(({ transfer }) => transfer.length)).toEqual([2, 1]);
  });
});

describe("ends", () => {
  test("an abort is sent on, and the outcome is the worker's", async () => {
    const controller = new AbortController();
    const denoised = client.denoise(denoiseRequest(), { signal: controller.signal });
    controller.abort();
    expect(worker.sent.at(-1)?.message).toEqual({ type: "cancel", id: 1 });
    const problem = { code: "cancelled", message: "Cancelled." } as const;
    worker.reply({ type: "done", id: 1, outcome: { ok: false, problem } });
    expect(await denoised).toEqual({ ok: false, problem });
  });

  test("an abort before the start sends nothing; one after the end neither", async () => {
    expect(await client.load(loadRequest, { signal: AbortSignal.abort() })).toMatchObject({
      problem: { code: "cancelled" },
    });
    const controller = new AbortController();
    const ready = client.prefetchStyle("ink", { signal: controller.signal });
    worker.reply({ type: "done", id: 1, outcome: { ok: true, value: null } });
    await ready;
    controller.abort();
    expect(worker.sent).toHaveLength(1);
  });

  test("a crash is an internal problem of all that waits and all that follows", async () => {
    const loaded = client.load(loadRequest);
    worker.crash("out of memory");
    expect(await loaded).toMatchObject({ ok: false, problem: { code: "internal" } });
    expect(await client.prefetchStyle("ink")).toMatchObject({
      problem: { message: expect.stringContaining("out of memory") },
    });
    expect(worker.terminated).toBe(true);
  });

  test("terminate cancels what waits", async () => {
    const loaded = client.load(loadRequest);
    client.terminate();
    expect(await loaded).toMatchObject({ ok: false, problem: { code: "cancelled" } });
    expect(worker.terminated).toBe(true);
  });
});

test("the protocol's types say what each request ends with", () => {
  expectTypeOf<WorkerClient["load"]>().returns.resolves.toEqualTypeOf<Outcome<LoadResult>>();
  expectTypeOf<WorkerClient["denoise"]>().returns.resolves.toEqualTypeOf<Outcome<DenoiseResult>>();
  expectTypeOf<CallResult<"load">>().toEqualTypeOf<LoadResult>();
  expectTypeOf<Extract<Request, { type: "load" }>["request"]>().toEqualTypeOf<LoadRequest>();
  // Every message names the request it belongs to.
  expectTypeOf<Request["id"]>().toEqualTypeOf<number>();
  expectTypeOf<Reply["id"]>().toEqualTypeOf<number>();
  // A value is there only after `ok` was looked at.
  expectTypeOf<Outcome<null>>().not.toHaveProperty("value");
});
