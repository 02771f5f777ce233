import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fetchFile } from "../../src/engine/fetching";

const whole = new Uint8Array(300_000).map((_, i) => i % 251);
const file = {
  url: "weights-1.bin",
  bytes: whole.length,
  sha256: createHash("sha256").update(whole).digest("hex"),
};
const altered = whole.with(7, 1);

let answers: ((request: IncomingMessage, response: ServerResponse) => void)[];
let asked: IncomingMessage[];
let base: string;
const server = createServer((request, response) => {
  asked.push(request);
  (answers.shift() ?? sending(whole))(request, response);
});
const sending = (bytes: Uint8Array) => (_: IncomingMessage, response: ServerResponse) => {
  response.end(bytes);
};

beforeEach(async () => {
  answers = [];
  asked = [];
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/bundle/manifest.json`;
});
afterEach(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

test("a whole file comes with every byte counted", async () => {
  const counts: number[] = [];
  const bytes = await fetchFile(base, file, { onBytes: (loaded) => counts.push(loaded) });
  expect(Buffer.compare(bytes, whole)).toBe(0);
  expect(asked[0]?.url).toBe("/bundle/weights-1.bin");
  expect(counts[0]).toBe(0);
  expect(counts.at(-1)).toBe(whole.length);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
});

test("a damaged copy in a cache is asked again past the cache, once", async () => {
  answers = [sending(altered)];
  expect(Buffer.compare(await fetchFile(base, file), whole)).toBe(0);
  expect(asked).toHaveLength(2);
  expect(asked[1]?.headers["cache-control"]).toBe("no-cache");
});

test.each([
  ["altered", altered, /weights-1.bin is damaged: its SHA-256/],
  ["truncated", whole.subarray(0, 1000), /ends after 1000 of 300000 bytes/],
  ["longer", new Uint8Array(300_001), /longer than 300000 bytes/],
])("a file that stays %s is a problem with its name", async (_, bytes, message) => {
  answers = [sending(bytes), sending(bytes)];
  const fetched = fetchFile(base, file);
  await expect(fetched).rejects.toThrow(message);
  await expect(fetched).rejects.toMatchObject({ code: "damaged", where: "weights-1.bin" });
  expect(asked).toHaveLength(2);
});

test("a missing file and a broken connection are problems of the network", async () => {
  answers = [(_, response) => response.writeHead(404).end()];
  await expect(fetchFile(base, file)).rejects.toThrow(/answered 404 for weights-1.bin/);
  answers = [
    (_, response) => {
      response.writeHead(200, { "Content-Length": whole.length });
      response.write(whole.subarray(0, 5000), () => response.destroy());
    },
  ];
  await expect(fetchFile(base, file)).rejects.toMatchObject({
    code: "network",
    where: "weights-1.bin",
  });
});

test("an abort ends the transfer", async () => {
  const controller = new AbortController();
  answers = [
    (_, response) => {
      response.writeHead(200, { "Content-Length": whole.length });
      response.write(whole.subarray(0, 5000));
    },
  ];
  const onBytes = (loaded: number) => loaded && controller.abort();
  const fetched = fetchFile(base, file, { onBytes, signal: controller.signal });
  await expect(fetched).rejects.toMatchObject({ code: "cancelled" });
});
