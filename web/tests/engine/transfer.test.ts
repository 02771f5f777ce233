import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MemoryStore } from "../../src/engine/memorystore";
import { SpillingFile } from "../../src/engine/spilling";
import type { PartialFile } from "../../src/engine/store";
import { type TransferHooks, transfer } from "../../src/engine/transfer";

const whole = new Uint8Array(300_000).map((_, i) => i % 251);
const sha256 = createHash("sha256").update(whole).digest("hex");
const file = { url: "weights-1.bin", bytes: whole.length, sha256 };
const altered = whole.with(7, 1);
const ETAG = '"one"';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
let answers: Answer[];
let asked: IncomingMessage[];
let base: string;
const server = createServer((request, response) => {
  asked.push(request);
  (answers.shift() ?? sending(whole))(request, response);
});

/** All of it, without ranges. */
const sending =
  (bytes: Uint8Array, headers = {}): Answer =>
  (_, response) =>
    response.writeHead(200, { ETag: ETAG, ...headers }).end(bytes);
/** The first bytes, then the connection is cut. */
const cut =
  (at: number, from = 0): Answer =>
  (_, response) => {
    const headers = { ETag: ETAG, "Content-Length": whole.length - from };
    const range = { "Content-Range": `bytes ${from}-${whole.length - 1}/${whole.length}` };
    response.writeHead(from ? 206 : 200, from ? { ...headers, ...range } : headers);
    response.write(whole.subarray(from, at), () => setTimeout(() => response.destroy(), 20));
  };
/** What a server with ranges answers. */
const resuming =
  (headers = {}): Answer =>
  (request, response) => {
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1]);
    const range = `bytes ${from}-${whole.length - 1}/${whole.length}`;
    response
      .writeHead(206, { ETag: ETAG, "Content-Range": range, ...headers })
      .end(whole.subarray(from));
  };

let store: MemoryStore;
let partial: PartialFile;
beforeEach(async () => {
  answers = [];
  asked = [];
  store = new MemoryStore();
  partial = await store.open(sha256, whole.length);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  base = `http://127.0.0.1:${port}/bundle/manifest.json`;
  vi.stubGlobal("location", new URL(base));
});
afterEach(() => {
  vi.unstubAllGlobals();
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

const run = (hooks: TransferHooks = {}, into = partial) =>
  transfer(base, file, into, { pauses: [5, 5], ...hooks });

async function expectWhole(from = partial) {
  await from.close(true);
  expect(Buffer.compare((await store.read(sha256)) as Uint8Array, whole)).toBe(0);
}

/** Transfers what comes before the cut, and gives up. */
async function interrupted(at = 100_000) {
  answers = [cut(at)];
  await expect(run({ pauses: [] })).rejects.toMatchObject({ code: "network" });
  const kept = partial.bytes;
  expect(kept).toBe(at);
  asked = [];
}

test("a whole file comes with every byte counted", async () => {
  const counts: number[] = [];
  await run({ onBytes: (loaded) => counts.push(loaded) });
  await expectWhole();
  expect(asked[0]?.url).toBe("/bundle/weights-1.bin");
  expect(counts[0]).toBe(0);
  expect(counts.at(-1)).toBe(whole.length);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
});

describe("an interrupted file", () => {
  test("goes on from where it was, if it is still the same", async () => {
    await interrupted();
    const counts: number[] = [];
    answers = [resuming()];
    await run({ onBytes: (loaded) => counts.push(loaded) });
    expect(asked).toHaveLength(1);
    expect(asked[0]?.headers).toMatchObject({ range: "bytes=100000-", "if-range": ETAG });
    expect(counts[0]).toBe(100_000);
    await expectWhole();
  });

  test("is retried with pauses, which begin anew when it gets further", async () => {
    answers = [cut(1000), cut(2000, 1000), cut(3000, 2000), cut(4000, 3000), resuming()];
    let lost = 0;
    await run({ onLost: () => lost++ });
    expect(lost).toBe(4); // more than there are pauses
    expect(asked.map(({ headers }) => headers.range)).toEqual([
      undefined,
      "bytes=1000-",
      "bytes=2000-",
      "bytes=3000-",
      "bytes=4000-",
    ]);
    await expectWhole();
  });

  test("is given up when it gets no further; a busy server is asked again", async () => {
    const busy: Answer = (_, response) => response.writeHead(503).end();
    answers = [busy, busy, busy];
    const given = run();
    await expect(given).rejects.toMatchObject({ code: "network", where: "weights-1.bin" });
    await expect(given).rejects.toThrow(/answered 503/);
    expect(asked).toHaveLength(3);
  });

  test("begins anew when the server answers 200", async () => {
    await interrupted();
    const counts: number[] = [];
    await run({ onBytes: (loaded) => counts.push(loaded) });
    expect(counts.slice(0, 2)).toEqual([100_000, 0]);
    expect(asked).toHaveLength(1);
    await expectWhole();
  });

  test.each<[string, Answer]>([
    ["416", (_, response) => response.writeHead(416).end()],
    ["another ETag", resuming({ ETag: '"two"' })],
    ["another range", resuming({ "Content-Range": `bytes 5-${whole.length - 1}/${whole.length}` })],
    ["another length", resuming({ "Content-Range": "bytes 100000-199999/200000" })],
    ["no range", resuming({ "Content-Range": "all of it" })],
  ])("begins anew after %s", async (_, answer) => {
    await interrupted();
    answers = [answer];
    await run();
    expect(asked.map(({ headers }) => headers.range)).toEqual(["bytes=100000-", undefined]);
    await expectWhole();
  });

  test("whose first part is of another file is asked again from its beginning", async () => {
    await partial.restart(ETAG);
    await partial.write(new Uint8Array(100_000));
    answers = [resuming()];
    await run();
    expect(asked).toHaveLength(2);
    expect(asked[1]?.headers).toMatchObject({ "cache-control": "no-cache" });
    expect(asked[1]?.headers.range).toBeUndefined();
    await expectWhole();
  });

  test("from another origin is asked for without If-Range, which would need a preflight", async () => {
    await interrupted();
    vi.stubGlobal("location", new URL("http://elsewhere.test/"));
    answers = [resuming()];
    await run();
    expect(asked[0]?.headers.range).toBe("bytes=100000-");
    expect(asked[0]?.headers["if-range"]).toBeUndefined();
    await expectWhole();
  });
});

describe("a damaged file", () => {
  test("is asked again past the caches, once", async () => {
    answers = [sending(altered)];
    await run();
    expect(asked).toHaveLength(2);
    expect(asked[1]?.headers["cache-control"]).toBe("no-cache");
    await expectWhole();
  });

  test.each([
    ["altered", altered, /weights-1.bin is damaged: its SHA-256/],
    ["truncated", whole.subarray(0, 1000), /ends after 1000 of 300000 bytes/],
    ["longer", new Uint8Array(300_001), /longer than 300000 bytes/],
  ])(
    "that stays %s is a problem with its name, and nothing of it is kept",
    async (_, bytes, message) => {
      answers = [sending(bytes), sending(bytes)];
      const given = run();
      await expect(given).rejects.toThrow(message);
      await expect(given).rejects.toMatchObject({ code: "damaged", where: "weights-1.bin" });
      expect(asked).toHaveLength(2);
      expect(partial.bytes).toBe(0);
    },
  );
});

test("a missing file is a problem at once", async () => {
  answers = [(_, response) => response.writeHead(404).end()];
  await expect(run()).rejects.toThrow(/answered 404 for weights-1.bin/);
  expect(asked).toHaveLength(1);
});

test("an abort ends the transfer, and what came is kept", async () => {
  const controller = new AbortController();
  answers = [
    (_, response) => {
      response.writeHead(200, { "Content-Length": whole.length });
      response.write(whole.subarray(0, 5000));
    },
  ];
  const onBytes = (loaded: number) => loaded && controller.abort();
  const given = run({ onBytes, signal: controller.signal });
  await expect(given).rejects.toMatchObject({ code: "cancelled" });
  expect(partial.bytes).toBe(5000);
});

test("an abort ends the pause before the next try", async () => {
  const controller = new AbortController();
  answers = [cut(1000)];
  const onLost = () => controller.abort();
  const given = run({ onLost, pauses: [60_000], signal: controller.signal });
  await expect(given).rejects.toMatchObject({ code: "cancelled" });
});

test("a disk that is full half-way costs no byte twice: the rest goes to memory", async () => {
  const disk = await new MemoryStore().open(sha256, whole.length);
  const write = disk.write.bind(disk);
  disk.write = async (piece) => {
    if (disk.bytes + piece.length > 150_000) throw new DOMException("full", "QuotaExceededError");
    await write(piece);
  };
  const reasons: unknown[] = [];
  const spilling = new SpillingFile(
    disk,
    () => store.open(sha256, whole.length),
    async (thrown) => void reasons.push((thrown as DOMException).name),
  );
  await run({}, spilling);
  expect(asked).toHaveLength(1);
  expect(reasons).toEqual(["QuotaExceededError"]);
  await expectWhole(spilling);
});
