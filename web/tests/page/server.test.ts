import { expect, test, vi } from "vitest";
import { parseSafetensors } from "../../src/engine/safetensors";
import { Trouble } from "../../src/page/problem";
import { createServer } from "../../src/page/server";
import { dumpSafetensors } from "../../src/page/tensors";

const signal = new AbortController().signal;
const words = { prompt: "a lake", negativePrompt: "fog" };
const tensor = { data: Float32Array.of(1, -2, 3.5, 0), shape: [1, 2, 2] };

function serverThat(answer: () => Response | Promise<Response>) {
  const fetcher = vi.fn<typeof fetch>(async () => answer());
  return { fetcher, server: createServer("http://brushlet.test/", fetcher) };
}

const problemOf = async (promise: Promise<unknown>) => {
  const thrown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(thrown).toBeInstanceOf(Trouble);
  return (thrown as Trouble).problem;
};

test("a written file is read back as it was", () => {
  const file = dumpSafetensors({ latents: tensor, more: { data: Float32Array.of(9), shape: [1] } });
  expect(new DataView(file.buffer).getUint32(0, true) % 8).toBe(0);
  const { tensors } = parseSafetensors(file, "test");
  expect(tensors.get("latents")).toEqual(tensor);
  expect(tensors.get("more")?.data).toEqual(Float32Array.of(9));
});

test("encode sends the words and takes the embeddings", async () => {
  const body = dumpSafetensors({ prompt_embeds: tensor, negative_prompt_embeds: tensor });
  const { server, fetcher } = serverThat(() => new Response(body));
  expect((await server.encode(words, signal)).promptEmbeds).toEqual(tensor);
  const [url, init] = fetcher.mock.calls[0] as [string, RequestInit];
  expect(url).toBe("http://brushlet.test/v1/encode");
  expect(JSON.parse(init.body as string)).toEqual({ prompt: "a lake", negative_prompt: "fog" });
});

test("decode sends the latents and takes the picture", async () => {
  const png = new Response("png", { headers: { "Content-Type": "image/png" } });
  const { server, fetcher } = serverThat(() => png);
  expect((await server.decode(tensor, signal)).type).toBe("image/png");
  const [url, init] = fetcher.mock.calls[0] as [string, RequestInit];
  expect(url).toBe("http://brushlet.test/v1/decode?format=png");
  expect(parseSafetensors(init.body as Uint8Array, "test").tensors.get("latents")).toEqual(tensor);
});

test("a server that is down is named with its address", async () => {
  const { server } = serverThat(() => Promise.reject(new TypeError("Failed to fetch")));
  const where = "http://brushlet.test/v1/encode";
  expect(await problemOf(server.encode(words, signal))).toEqual({
    code: "server-down",
    message: "",
    where,
  });
});

const problemJson = (status: number, body: object) =>
  new Response(JSON.stringify(body), {
    status,
    headers: { "Content-Type": "application/problem+json" },
  });

test.each([
  [502, "a proxy in front of a server that is down"],
  [405, "a static host without a server"],
])("%i from %s means that it is down", async (status) => {
  const { server } = serverThat(() => new Response("<h1>", { status, statusText: "No" }));
  expect(await problemOf(server.encode(words, signal))).toMatchObject({
    code: "server-down",
    message: `${status} No`,
  });
});

test("a refusal brings the server's own words", async () => {
  const body = {
    title: "Bad Request",
    detail: "prompt is too long",
    where: "prompt",
    todo: "shorten it",
  };
  const { server } = serverThat(() => problemJson(422, body));
  expect(await problemOf(server.encode(words, signal))).toEqual({
    code: "server-refused",
    message: "prompt is too long; shorten it",
    where: "prompt",
  });
});

test.each([
  [503, "server-busy"],
  [500, "server-failed"],
])("problem JSON with %i is %s", async (status, code) => {
  const { server } = serverThat(() => problemJson(status, { title: "Oh" }));
  expect(await problemOf(server.ready(signal))).toMatchObject({ code, message: "Oh" });
});

test("a host that knows no readyz may still be a server", async () => {
  const { server } = serverThat(() => new Response("", { status: 404 }));
  await server.ready(signal);
});

test("words that found no room are counted", async () => {
  const body = dumpSafetensors({ prompt_embeds: tensor, negative_prompt_embeds: tensor });
  const header = new TextDecoder().decode(
    body.subarray(8, 8 + (body[0] ?? 0) + (body[1] ?? 0) * 256),
  );
  const metadata = { prompt_tokens_cut: "3", negative_prompt_tokens_cut: "0" };
  const text = JSON.stringify({ ...JSON.parse(header), __metadata__: metadata });
  const file = new Blob([
    BigUint64Array.of(BigInt(text.length)),
    text,
    body.subarray(8 + header.length),
  ]);
  const { server } = serverThat(() => new Response(file));
  expect((await server.encode(words, signal)).cut).toBe(3);
});

test.each([
  ["no tensors", new Uint8Array(4)],
  ["other tensors", dumpSafetensors({ latents: tensor })],
])("an answer with %s is not believed", async (_, body) => {
  const { server } = serverThat(() => new Response(body));
  expect((await problemOf(server.encode(words, signal))).code).toBe("server-reply");
});

test("a page in place of a picture is not believed", async () => {
  const html = new Response("<p>", { headers: { "Content-Type": "text/html" } });
  const { server } = serverThat(() => html);
  expect(await problemOf(server.decode(tensor, signal))).toMatchObject({
    code: "server-reply",
    message: expect.stringContaining("text/html"),
  });
});

test("a cancelled call is no trouble", async () => {
  const controller = new AbortController();
  controller.abort();
  const aborted = new DOMException("Aborted", "AbortError");
  const { server } = serverThat(() => Promise.reject(aborted));
  await expect(server.encode(words, controller.signal)).rejects.toBe(aborted);
});
