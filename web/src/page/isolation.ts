/**
 * Cross-origin isolation on hosts without header control: a service worker adds the headers. It
 * takes one reload, and where that does not help the page goes on without threads.
 */

import { hosted } from "./hosting";
import { isolatesNothing, scriptUrl } from "./serviceworker";

const triedKey = "brushlet-isolation-tried";
const patienceMs = 5_000;

/** What of the browser is used here; tests put their own in. */
export interface Surroundings {
  isolated: boolean;
  /** Not with `?isolate=0`, which the service worker sees too. */
  wanted: boolean;
  /** The host wants none, of those who had it either. */
  forbidden: boolean;
  /** Undefined in insecure contexts and some private windows. */
  workers: ServiceWorkerContainer | undefined;
  /** Lives as long as the tab: what keeps a failed isolation from reloading again and again. */
  storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | undefined;
  reload(): void;
}

function surroundings(): Surroundings {
  const query = new URLSearchParams(location.search);
  return {
    isolated: crossOriginIsolated,
    wanted: query.get("isolate") !== "0",
    forbidden: hosted("isolate") === "off",
    workers: isSecureContext ? navigator.serviceWorker : undefined,
    storage: tabStorage(),
    reload: () => location.reload(),
  };
}

function tabStorage(): Storage | undefined {
  try {
    return sessionStorage;
  } catch {
    return undefined; // site data is blocked
  }
}

/**
 * Isolates the page if it is not. Resolves to false when the page is about to be loaded again, and
 * to true when it shall go on as it is; never rejects.
 */
export async function isolate(around: Surroundings = surroundings()): Promise<boolean> {
  const { isolated, wanted, forbidden, workers, storage } = around;
  try {
    if (forbidden) {
      const registration = await workers?.getRegistration();
      if (registration && !isolatesNothing(registration)) await registration.unregister();
      return true;
    }
    if (isolated) storage?.removeItem(triedKey);
    if (isolated || !wanted || !workers || !storage || storage.getItem(triedKey)) return true;
    storage.setItem(triedKey, "1");
    const registration = await within(workers.register(scriptUrl(), { updateViaCache: "none" }));
    await within(activeIn(registration));
    around.reload();
    return false;
  } catch {
    return true; // no such file, no permission, no answer: threads are all that is lost
  }
}

function activeIn(registration: ServiceWorkerRegistration): Promise<void> {
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  return new Promise((resolve, reject) => {
    const look = () => {
      if (worker?.state === "activated") resolve();
      else if (!worker || worker.state === "redundant") reject(new Error("not installed"));
    };
    worker?.addEventListener("statechange", look);
    look();
  });
}

function within<T>(promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("too slow")), patienceMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
