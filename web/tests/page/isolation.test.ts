import { expect, test, vi } from "vitest";
import { isolate, type Surroundings } from "../../src/page/isolation";

const unregister = vi.fn(async () => true);

function host({ state = "activated", ...rest }: Partial<Surroundings> & { state?: string } = {}) {
  const tab = new Map<string, string>();
  const worker = Object.assign(new EventTarget(), { state });
  const around = {
    isolated: false,
    wanted: true,
    forbidden: false,
    workers: {
      register: vi.fn(async () => ({ installing: null, waiting: null, active: worker })),
      getRegistration: async () => ({ unregister }),
    } as unknown as ServiceWorkerContainer,
    storage: {
      getItem: (key: string) => tab.get(key) ?? null,
      setItem: (key: string, value: string) => void tab.set(key, value),
      removeItem: (key: string) => void tab.delete(key),
    },
    reload: vi.fn(),
    ...rest,
  };
  return { around, worker, tab };
}

test("a page that is not isolated is loaded once more", async () => {
  const { around } = host();
  expect(await isolate(around)).toBe(false);
  expect(around.reload).toHaveBeenCalledOnce();
  expect(await isolate(around)).toBe(true); // it did not help
  expect(around.reload).toHaveBeenCalledOnce();
});

test("a page that is isolated goes on, and may be isolated again later", async () => {
  const { around, tab } = host();
  await isolate(around);
  expect(await isolate({ ...around, isolated: true })).toBe(true);
  expect(tab.size).toBe(0);
});

test("the service worker is waited for", async () => {
  const { around, worker } = host({ state: "installing" });
  const going = isolate(around);
  await Promise.resolve();
  expect(around.reload).not.toHaveBeenCalled();
  worker.state = "activated";
  worker.dispatchEvent(new Event("statechange"));
  expect(await going).toBe(false);
});

test.each([
  ["?isolate=0", { wanted: false }],
  ["a host that forbids it", { forbidden: true }],
  ["an insecure context", { workers: undefined }],
  ["blocked site data", { storage: undefined }],
  ["a service worker that cannot be installed", { state: "redundant" }],
  [
    "a service worker that is not there",
    {
      workers: {
        register: () => Promise.reject(new TypeError("404")),
      } as unknown as ServiceWorkerContainer,
    },
  ],
])("with %s the page goes on without", async (_, rest) => {
  const { around } = host(rest);
  expect(await isolate(around)).toBe(true);
  expect(around.reload).not.toHaveBeenCalled();
});

test("a host that forbids it takes the service worker away", async () => {
  unregister.mockClear();
  await isolate(host({ forbidden: true, isolated: true }).around);
  expect(unregister).toHaveBeenCalledOnce();
});

test("a service worker that never answers is not waited for long", async () => {
  vi.useFakeTimers();
  const { around } = host({ state: "installing" });
  const going = isolate(around);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(await going).toBe(true);
  expect(around.reload).not.toHaveBeenCalled();
  vi.useRealTimers();
});
