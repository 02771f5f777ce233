/** The page without a network: what the service worker keeps, and new versions of the page. */

import { useEffect, useState } from "react";
import { Workbox } from "workbox-window";
import type { WorkerClient } from "../worker/client";
import { scriptUrl, workersHere } from "./serviceworker";
import type { Engine } from "./useEngine";

const hour = 3_600_000;
/** The first things that a visitor does go before. */
const restMs = 1500;

/** Addresses that page and worker have loaded; the service worker picks those that are its own. */
async function usedFiles(worker: WorkerClient): Promise<string[]> {
  const own = performance.getEntriesByType("resource").map(({ name }) => name);
  const outcome = await worker.call("used-files", null);
  return [...new Set(outcome.ok ? [...own, ...outcome.value] : own)];
}

/**
 * Keeps all that a visit without a network needs. Registers the service worker once the bundle is open, or cannot be: it does not compete with the
 * model for the network, and a page that is too old for its bundle hears of a newer one.
 *
 * @returns replaces the page by the version that waits; undefined while there is none
 */
export function useOffline({ ready, problem }: Engine): (() => void) | undefined {
  const [update, setUpdate] = useState<() => void>();
  const settled = ready !== undefined || problem !== undefined;
  const worker = ready?.worker;

  useEffect(() => {
    if (!settled || !import.meta.env.PROD || !workersHere()) return;
    const workbox = new Workbox(scriptUrl(), { updateViaCache: "none" });
    workbox.addEventListener("waiting", () => {
      setUpdate(() => () => {
        workbox.addEventListener("controlling", () => location.reload());
        workbox.messageSkipWaiting();
      });
    });
    const look = () => {
      if (document.visibilityState === "visible") void workbox.update().catch(() => {}); // offline
    };
    const clock = setInterval(look, hour);
    document.addEventListener("visibilitychange", look);
    workbox.register({ immediate: true }).catch((thrown: unknown) => {
      console.warn("This page will not work offline:", thrown);
    });
    return () => {
      clearInterval(clock);
      document.removeEventListener("visibilitychange", look);
    };
  }, [settled]);

  useEffect(() => {
    if (!worker || !import.meta.env.PROD) return;
    void workersHere()?.ready.then(async ({ active }) => {
      active?.postMessage({ type: "keep", urls: await usedFiles(worker) });
    });
  }, [worker]);

  useEffect(() => {
    // What the model still lacks comes when nobody waits for anything; not to those who save data.
    const { connection } = navigator as { connection?: { saveData?: boolean } };
    if (!import.meta.env.PROD || connection?.saveData) return;
    if (ready?.engine.report().mode !== "here") return;
    const controller = new AbortController();
    const { signal } = controller;
    const timer = setTimeout(() => void ready.worker.call("keep-parts", null, { signal }), restMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [ready]);

  return update;
}
