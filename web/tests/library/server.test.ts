import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { EngineProblem } from "../../src/engine/problems";
import { parseSafetensors } from "../../src/engine/safetensors";
import { createServer } from "../../src/library/server";
import { dumpSafetensors } from "../../src/library/tensors";

const signal = new AbortController().signal;
const words = { prompt: "a lake", negativePrompt: "fog", styles: [{ name: "ink", te: 0.5 }] };
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
  expect(thrown).toBeInstanceOf(EngineProblem);
  return (thrown as EngineProblem).toWire();
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
  expect(JSON.parse(init.body as string)).toEqual({
    prompt: "a lake",
    negative_prompt: "fog",
    styles: [{ name: "ink", te: 0.5 }],
    clip_skip: 0,
  });
  await server.encode({ ...words, clipSkip: 2 }, signal);
  const again = fetcher.mock.calls[1] as unknown as [string, RequestInit];
  expect(JSON.parse(again[1].body as string)).toMatchObject({ clip_skip: 2 });
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
    message: expect.stringContaining("make serve"),
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
    message: expect.stringContaining(`answers ${status} No`),
  });
});

test("what to do is said once", async () => {
  const body = { detail: "latents: is empty - save it again", todo: "save it again" };
  const { server } = serverThat(() => problemJson(422, body));
  const problem = await problemOf(server.encode(words, signal));
  expect(problem.message).toBe("latents: is empty - save it again");
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

const noWait = () => expect.unreachable("waits");

test.each([
  [503, "server-busy"],
  [500, "server-failed"],
])("problem JSON with %i is %s", async (status, code) => {
  const { server } = serverThat(() => problemJson(status, { title: "Oh" }));
  expect(await problemOf(server.ready(signal, noWait))).toMatchObject({ code, message: "Oh" });
});

test("a host that knows no readyz may still be a server", async () => {
  const answers = [new Response("", { status: 404 }), Response.json([])];
  const { server, fetcher } = serverThat(() => answers.shift() as Response);
  await server.ready(signal, noWait);
  expect(fetcher.mock.lastCall?.[0]).toBe("http://brushlet.test/v1/styles");
});

test.each([
  [404, "a static host"],
  [200, "a static host that shows its front page instead"],
])("%i with a page, from %s, means that there is no server", async (status) => {
  const page = () => new Response("<p>", { status, headers: { "Content-Type": "text/html" } });
  const { server } = serverThat(page);
  expect(await problemOf(server.ready(signal, noWait))).toEqual({
    code: "no-server",
    message: expect.stringContaining("static host"),
    where: "http://brushlet.test/",
  });
});

describe("a server that says when to come back", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const opening = (seconds: string) => {
    const response = problemJson(503, { detail: "the bundle is being verified" });
    response.headers.set("Retry-After", seconds);
    return response;
  };

  test("is asked again then, after ten seconds at the latest", async () => {
    const answers = [opening("2"), opening("600"), Response.json({})];
    const { server, fetcher } = serverThat(() => answers.shift() as Response);
    const onWait = vi.fn();
    const ready = server.ready(signal, onWait);
    await vi.advanceTimersByTimeAsync(1_900);
    expect(fetcher).toHaveBeenCalledTimes(1);
    expect(onWait).toHaveBeenCalledExactlyOnceWith("the bundle is being verified");
    await vi.advanceTimersByTimeAsync(200);
    expect(fetcher).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(10_000);
    await ready;
  });

  test("is a problem when it never gets ready", async () => {
    const { server } = serverThat(() => opening("2"));
    const problem = problemOf(server.ready(signal, () => {}));
    await vi.advanceTimersByTimeAsync(130_000);
    expect(await problem).toMatchObject({ code: "server-busy" });
  });

  test("is not asked again by a visitor who has left", async () => {
    const controller = new AbortController();
    const { server, fetcher } = serverThat(() => opening("2"));
    const ready = server.ready(controller.signal, () => controller.abort());
    await expect(ready).rejects.toMatchObject({ code: "cancelled" });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(fetcher).toHaveBeenCalledTimes(1);
  });
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
