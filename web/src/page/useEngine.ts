/** The worker's life: loaded once, kept while prompts, styles and strengths come and go. */

import { useCallback, useEffect, useRef, useState } from "react";
import type { Manifest } from "../bundle/manifest.gen";
import { openWith } from "../library/open";
import type { PaintEngine } from "../library/paintengine";
import type { WorkerClient } from "../worker/client";
import type { LoadProgress, ProviderReport, StorageReport } from "../worker/protocol";
import { requestFor } from "./draw";
import type { Order } from "./order";
import { type PageProblem, problemIn } from "./problem";
import type { Services } from "./services";

export interface Engine {
  /** Known before the model is: the controls need no more than this. */
  manifest?: Manifest;
  /** Why the server is not ready yet, in its words. */
  waiting?: string;
  loading?: LoadProgress;
  /** Present when pictures can be painted. */
  ready?: {
    engine: PaintEngine;
    worker: WorkerClient;
    /** Of the base model on this device, and where files are kept; undefined where the server draws. */
    report: ProviderReport | undefined;
    storage: StorageReport | undefined;
  };
  problem?: PageProblem;
}

function open(
  services: Services,
  change: (part: Partial<Engine>) => void,
  signal: AbortSignal,
): Promise<PaintEngine> {
  return openWith(services, {
    signal,
    onManifest: (manifest) => change({ manifest }),
    onWait: (waiting) => change({ waiting }),
    onProgress: (loading) => change({ loading }),
  });
}

/** Opens the bundle; `retry` begins again after a problem. */
export function useEngine(services: Services): Engine & { retry: () => void } {
  const [engine, setEngine] = useState<Engine>({});
  const [attempt, setAttempt] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `attempt` is what starts it anew
  useEffect(() => {
    const controller = new AbortController();
    const change = (part: Partial<Engine>) => {
      if (!controller.signal.aborted) setEngine((before) => ({ ...before, ...part }));
    };
    const opening = open(services, change, controller.signal);
    opening.then(
      (engine) => {
        const { worker } = engine;
        const { provider, storage } = engine.report();
        change({ ready: { engine, worker, report: provider, storage } });
      },
      (thrown) => change({ problem: problemIn(thrown) }),
    );
    return () => {
      controller.abort();
      void opening.then(
        (engine) => engine.close(),
        () => {},
      );
    };
  }, [services, attempt]);

  const retry = useCallback(() => {
    setEngine(({ manifest }) => (manifest ? { manifest } : {}));
    setAttempt((count) => count + 1);
  }, []);

  return { ...engine, retry };
}

/**
 * Reads the words that the page begins with, so that the first Generate need not wait for them. A first
 * visit downloads nothing for it.
 */
export function useReadAhead({ ready, loading }: Engine, order: Order | undefined): void {
  const downloads = loading?.storedBytes !== loading?.totalBytes;
  const latest = useRef({ order, downloads });
  useEffect(() => {
    latest.current = { order, downloads };
  });
  useEffect(() => {
    const { order, downloads } = latest.current;
    if (!ready || !order || downloads) return;
    // What goes wrong here comes up again, with its message, when something is painted.
    ready.engine.readAhead(requestFor(order)).catch(() => {});
  }, [ready]);
}

/** Fetches styles as soon as they are on, so that Generate need not wait for them. */
export function usePrefetch(ready: Engine["ready"], names: readonly string[]): void {
  const wanted = names.join();
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    // What goes wrong here comes up again, with its message, when the style is painted with.
    for (const name of wanted.split(",").filter(Boolean)) {
      void ready?.worker.prefetchStyle(name, { signal });
    }
    return () => controller.abort();
  }, [ready, wanted]);
}
