/** Measures this device when it is asked to; what was measured stays while the page does. */

import { useCallback, useEffect, useRef, useState } from "react";
import { type DeviceReport, describeDevice, type Measured, measure, measureOn } from "./measuring";
import { type PageProblem, problemIn } from "./problem";
import type { Services } from "./services";
import type { Engine } from "./useEngine";

export interface Measuring {
  report: DeviceReport | undefined;
  /** What is being measured, and how far it is, from 0 to 1. */
  running: { provider: string; fraction: number } | undefined;
  problem: PageProblem | undefined;
  /** Measures the provider that paints here; `others` too, if wanted, one after another. */
  start(others: boolean): void;
  cancel(): void;
}

const all = ["webgpu", "jsep", "wasm"] as const;

export function useMeasuring(services: Services, { ready }: Engine): Measuring {
  const [report, setReport] = useState<DeviceReport>();
  const [running, setRunning] = useState<Measuring["running"]>();
  const [problem, setProblem] = useState<PageProblem>();
  const controller = useRef<AbortController | undefined>(undefined);
  const cancel = useCallback(() => controller.current?.abort(), []);
  useEffect(() => cancel, [cancel]);

  const start = useCallback(
    async (others: boolean) => {
      if (!ready) return;
      const { engine } = ready;
      const mine = new AbortController();
      const { signal } = mine;
      controller.current?.abort();
      controller.current = mine;
      setProblem(undefined);
      const measured: Measured[] = [];
      const refused: DeviceReport["refused"] = [];
      const at = (provider: string) => (fraction: number) => setRunning({ provider, fraction });
      try {
        const report = engine.report();
        const own = report.provider?.provider ?? "server";
        const mode = report.mode === "server" ? "server" : "here"; // the device's part
        at(own)(0);
        measured.push(await measure(engine, at(own), signal));
        for (const provider of others ? all.filter((name) => name !== own) : []) {
          at(provider)(0);
          try {
            measured.push(await measureOn(provider, services, mode, at(provider), signal));
          } catch (thrown) {
            signal.throwIfAborted();
            refused.push({ provider, reason: problemIn(thrown).message });
          }
        }
        setReport(await describeDevice(engine, measured, refused));
      } catch (thrown) {
        if (!signal.aborted) setProblem(problemIn(thrown));
      } finally {
        if (controller.current === mine) setRunning(undefined);
      }
    },
    [ready, services],
  );
  return { report, running, problem, start, cancel };
}
