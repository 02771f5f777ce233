/**
 * The service worker: the page of one version, whole, with and without a network; isolation on hosts
 * that send no headers for it. A new version waits until its visitor asks for it.
 */

import { cleanupOutdatedCaches, matchPrecache, precache } from "workbox-precaching";
import { isolated, isSame, type Kind, kindOf, wantsIsolation } from "./answers";

declare const self: ServiceWorkerGlobalScope & {
  __WB_MANIFEST: Parameters<typeof precache>[0];
};

/** What a version uses of files that not every visitor needs. */
const used = "brushlet-used";
/** Old files are let go when there are more than this many of a kind. */
const kept: Partial<Record<Kind, number>> = { build: 16, picture: 400 };

const scope = new URL(self.registration.scope);
/** `sw.js?isolate=off` is what a host registers that wants none (`make dist`, --no-isolate). */
const mayIsolate = new URL(self.location.href).searchParams.get("isolate") !== "off";

precache(self.__WB_MANIFEST);
cleanupOutdatedCaches();

self.addEventListener("install", () => {
  // Nobody is disturbed the first time; later the page asks its visitor.
  if (!self.registration.active) void self.skipWaiting();
});
self.addEventListener("activate", (event) => {
  event.waitUntil(Promise.all([self.clients.claim(), prune()]));
});

self.addEventListener("message", (event) => {
  const { type, urls } = event.data as { type: string; urls?: string[] };
  if (type === "SKIP_WAITING") void self.skipWaiting();
  if (type === "keep" && urls) event.waitUntil(keep(urls));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== scope.origin) return;
  const kind = kindOf(url, scope);
  const isolate = wantsIsolation(request, mayIsolate);
  if (!kind && !isolate) return;
  const answer = kind ? answerOf(kind, request) : fetch(request);
  event.respondWith(isolate ? answer.then(isolated) : answer);
});

async function answerOf(kind: Kind, request: Request): Promise<Response> {
  if (kind === "page") {
    if (request.mode !== "navigate") return fetch(request);
    return (await matchPrecache("index.html")) ?? fetch(request);
  }
  const own = kind === "build" ? await matchPrecache(request) : undefined;
  if (own) return own;
  const cache = await caches.open(used);
  const known = await cache.match(request.url);
  if (kind !== "loose") return known ?? stored(cache, request, await fetch(request));
  try {
    const fresh = await fetch(request);
    return known && isSame(known, fresh) ? fresh : stored(cache, request, fresh);
  } catch (thrown) {
    if (known) return known; // no network
    throw thrown;
  }
}

/** Keeps a copy of a whole answer; one that cannot be kept (no room) is an answer all the same. */
function stored(cache: Cache, { url }: Request, response: Response): Response {
  if (response.status === 200) cache.put(url, response.clone()).catch(() => {});
  return response;
}

/** What a page loaded before this worker came to be asked. */
async function keep(urls: readonly string[]): Promise<void> {
  const cache = await caches.open(used);
  for (const url of urls) {
    const kind = kindOf(new URL(url), scope);
    if (!kind || kind === "page" || (await matchPrecache(url)) || (await cache.match(url)))
      continue;
    // The browser's own cache has it; without it and a network the next visit tries again.
    await cache.add(url).catch(() => {});
  }
  await prune();
}

/** Lets go of what older versions used. */
async function prune(): Promise<void> {
  const cache = await caches.open(used);
  const page = await (await matchPrecache("index.html"))?.text();
  const counts: Partial<Record<Kind, number>> = {};
  for (const request of (await cache.keys()).reverse()) {
    const kind = kindOf(new URL(request.url), scope);
    if (!kind) continue;
    const count = (counts[kind] ?? 0) + 1;
    counts[kind] = count;
    const folder = /\/(ort-[0-9a-f]{16}\/)/.exec(request.url)?.[1];
    const foreign = folder !== undefined && page !== undefined && !page.includes(folder);
    if (foreign || count > (kept[kind] ?? Number.POSITIVE_INFINITY)) await cache.delete(request);
  }
}
