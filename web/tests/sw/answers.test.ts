import { expect, test } from "vitest";
import { isolated, isSame, kindOf, wantsIsolation } from "../../src/sw/answers";

const scope = new URL("https://site.test/paint/");
const hash = "0123456789abcdef";

test.each([
  ["", "page"],
  ["?provider=wasm", "page"],
  ["index.html", "page"],
  ["assets/index-Ab_-0123.js", "build"],
  ["favicon.svg", "build"],
  [`ort-${hash}/ort-wasm-simd-threaded.wasm`, "runtime"],
  ["ort/ort-wasm-simd-threaded.wasm", "loose"],
  [`bundle/styles/thumb-${hash}.png`, "picture"],
  ["bundle/manifest.json", undefined],
  [`bundle/weights-${hash}.bin`, undefined],
  ["v1/encode", undefined],
  ["about/index.html", undefined],
  ["https://site.test/assets/other.js", undefined],
  ["https://other.test/paint/assets/index-Ab_-0123.js", undefined],
])("%s is %s", (address, kind) => {
  expect(kindOf(new URL(address, scope), scope)).toBe(kind);
});

test.each([
  ["a page", { mode: "navigate", destination: "document" }, "", true, true],
  [
    "a page that wants none",
    { mode: "navigate", destination: "document" },
    "?isolate=0",
    true,
    false,
  ],
  ["a worker", { mode: "same-origin", destination: "worker" }, "", true, true],
  ["a script", { mode: "cors", destination: "script" }, "", true, false],
  [
    "a page on a host that wants none",
    { mode: "navigate", destination: "document" },
    "",
    false,
    false,
  ],
] as const)("%s", (_, request, query, allowed, wanted) => {
  const url = new URL(query, scope).href;
  expect(wantsIsolation({ ...request, url }, allowed)).toBe(wanted);
});

test("isolation is added to an answer that keeps everything else", async () => {
  const response = new Response("page", {
    status: 203,
    headers: { "Content-Type": "text/html", "Cross-Origin-Embedder-Policy": "unsafe-none" },
  });
  const { status, headers } = isolated(response);
  expect(status).toBe(203);
  expect(Object.fromEntries(headers)).toEqual({
    "content-type": "text/html",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
  });
});

test("files are the same where a validator says so", () => {
  const file = (headers: Record<string, string>) => new Response("", { headers });
  expect(isSame(file({ ETag: "1" }), file({ ETag: "1" }))).toBe(true);
  expect(isSame(file({ ETag: "1" }), file({ ETag: "2" }))).toBe(false);
  expect(isSame(file({}), file({}))).toBe(false);
});
