/** The worker in a browser that lacks what its name lists: `opfs`, `caches`, `locks`, `room`. */

const lacking = self.name.split(",");
if (lacking.includes("opfs")) {
  Object.defineProperty(StorageManager.prototype, "getDirectory", { value: undefined });
}
if (lacking.includes("caches")) {
  Object.defineProperty(globalThis, "caches", { value: undefined });
}
if (lacking.includes("locks")) {
  Object.defineProperty(Object.getPrototypeOf(navigator), "locks", { value: undefined });
}
if (lacking.includes("room")) {
  // Chromium tells every page of the same room, whatever there is.
  Object.defineProperty(StorageManager.prototype, "estimate", {
    value: async () => ({ quota: 500_000, usage: 0 }),
  });
}

/** What comes while the worker is fetched waits for it. */
const early: MessageEvent[] = [];
self.onmessage = (event) => early.push(event);
void import("../../src/worker/worker").then(() => {
  for (const event of early) self.onmessage?.(event);
});

export {};
