/** The worker's life: loaded once, kept while prompts, styles and strengths come and go. */

import { useCallback, useEffect, useState } from "react";
import type { Manifest } from "../bundle/manifest.gen";
import type { WorkerClient } from "../worker/client";
import type { LoadProgress, ProviderReport } from "../worker/protocol";
import { type Pace, PaceMeter } from "./pace";
import { type PageProblem, problemIn, Trouble } from "./problem";
import type { Services } from "./services";

export interface Loading extends LoadProgress {
  pace: Pace;
}

export interface Engine {
  /** Known before the model is: the controls need no more than this. */
  manifest?: Manifest;
  loading?: Loading;
  /** Present when pictures can be painted. */
  ready?: { worker: WorkerClient; report: ProviderReport };
  problem?: PageProblem;
}

async function open(
  services: Services,
  worker: WorkerClient,
  change: (part: Partial<Engine>) => void,
  signal: AbortSignal,
): Promise<void> {
  const manifest = await services.loadManifest(signal);
  change({ manifest });
  await services.server.ready(signal);
  const meter = new PaceMeter();
  const outcome = await worker.load(services.request, {
    signal,
    onProgress(progress) {
      const pace = meter.measure(progress.loadedBytes, progress.totalBytes, performance.now());
      change({ loading: { ...progress, pace } });
    },
  });
  if (!outcome.ok) throw new Trouble(outcome.problem);
  change({ ready: { worker, report: outcome.value } });
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
    const worker = services.connect();
    open(services, worker, change, controller.signal).catch((thrown) => {
      worker.terminate();
      change({ problem: problemIn(thrown) });
    });
    return () => {
      controller.abort();
      worker.terminate();
    };
  }, [services, attempt]);

  const retry = useCallback(() => {
    setEngine(({ manifest }) => (manifest ? { manifest } : {}));
    setAttempt((count) => count + 1);
  }, []);

  return { ...engine, retry };
}

/** Fetches styles as soon as they are on, so that Generate need not wait for them. */
export function usePrefetch(ready: Engine["ready"], names: readonly string[]): void {
  const wanted = names.join();
  useEffect(() => {
    // What goes wrong here comes up again, with its message, when the style is painted with.
    for (const name of wanted.split(",").filter(Boolean)) void ready?.worker.prefetchStyle(name);
  }, [ready, wanted]);
}
