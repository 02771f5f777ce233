import { afterEach, expect, test, vi } from "vitest";
import { problemIn } from "../../src/page/problem";
import { servicesHere } from "../../src/page/services";
import { fakeManifest } from "../manifest";

afterEach(() => vi.unstubAllGlobals());

const { signal } = new AbortController();
const services = servicesHere();

const problemWith = async (answer: () => Promise<Response>) => {
  vi.stubGlobal("fetch", answer);
  return services.openManifest(signal).then(() => undefined, problemIn);
};

test("a manifest that the page cannot show is refused before it is shown", async () => {
  const { samplers: _, ...rest } = fakeManifest();
  const problem = await problemWith(async () => new Response(JSON.stringify(rest)));
  expect(problem).toMatchObject({
    code: "manifest",
    message: expect.stringContaining("samplers is missing"),
    where: "manifest.json",
  });
});

test("the host may name another server and another folder for the runtime", async () => {
  document.head.innerHTML =
    '<meta name="brushlet-server" content="https://paint.test/a/">' +
    '<meta name="brushlet-runtime" content="ort-0123/">';
  const { request, server, openManifest } = servicesHere();
  expect(request.runtimeUrl).toBe(new URL("ort-0123/", document.baseURI).href);
  const fetcher = vi.fn(() => Promise.reject(new TypeError("Failed to fetch")));
  vi.stubGlobal("fetch", fetcher);
  const words = { prompt: "", negativePrompt: "", styles: [] };
  await expect(server?.encode(words, signal)).rejects.toMatchObject({
    code: "server-down",
    where: "https://paint.test/a/v1/encode",
  });
  await expect(openManifest(signal)).rejects.toMatchObject({ code: "network" });
  document.head.innerHTML = "";
});

test("a manifest that does not come means that the server is down", async () => {
  const problem = await problemWith(() => Promise.reject(new TypeError("Failed to fetch")));
  expect(problem).toMatchObject({
    code: "server-down",
    where: services.request.manifestUrl,
  });
});
