/** Where the service worker lies, and whether this page may have one. */

import { hosted } from "./hosting";

/** A host that wants no isolation has one that adds none: it keeps the page for offline alone. */
export function scriptUrl(): string {
  const name = hosted("isolate") === "off" ? "sw.js?isolate=off" : "sw.js";
  return new URL(name, document.baseURI).href;
}

/** Whether a registered worker is of the kind that adds no isolation. */
export function isolatesNothing({
  active,
  waiting,
  installing,
}: ServiceWorkerRegistration): boolean {
  return [active, waiting, installing].some((worker) => worker?.scriptURL.endsWith("isolate=off"));
}

/** What can register one: not in insecure contexts, some private windows, and with `?isolate=0`. */
export function workersHere(): ServiceWorkerContainer | undefined {
  const wanted = new URLSearchParams(location.search).get("isolate") !== "0";
  return isSecureContext && wanted ? navigator.serviceWorker : undefined;
}
