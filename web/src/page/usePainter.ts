/** Runs orders one at a time and keeps what came of them. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { StepReport } from "../worker/protocol";
import { draw, type Memory, type Painted, type Phase } from "./draw";
import { hang, type Picture } from "./gallery";
import { latestWins } from "./latest";
import type { Order } from "./order";
import { type PageProblem, problemIn } from "./problem";
import type { Services } from "./services";
import type { Settings } from "./settings";
import type { Engine } from "./useEngine";

export type Preview = NonNullable<StepReport["preview"]> & { progress: number };

type Ended = { painted: Painted } | { problem: PageProblem };

export interface Painter {
  /** Where the running order is; undefined when none runs. */
  phase: Phase | undefined;
  /** The running order's latest look, and how far it is, 0 to 1. */
  preview: Preview | undefined;
  /** How the last order ended. */
  ended: "done" | "cancelled" | undefined;
  pictures: Picture[];
  /** The picture on the wall. */
  shown: Picture | undefined;
  problem: PageProblem | undefined;
  start(order: Order, settings: Settings): void;
  cancel(): void;
  show(picture: Picture): void;
  dismiss(): void;
}

export function usePainter(services: Services, { manifest, ready }: Engine): Painter {
  const [phase, setPhase] = useState<Phase>();
  const [preview, setPreview] = useState<Preview>();
  const [ended, setEnded] = useState<Painter["ended"]>();
  const [pictures, setPictures] = useState<Picture[]>([]);
  const [shownNumber, setShownNumber] = useState<number>();
  const [problem, setProblem] = useState<PageProblem>();
  const memory = useRef<Memory>({});
  const running = useRef<string | undefined>(undefined);
  const count = useRef(0);
  const wall = useRef<Picture[]>([]);

  const queue = useMemo(() => {
    if (!manifest || !ready) return undefined;
    return latestWins<Order, Ended>(async (order, signal) => {
      const tools = {
        worker: ready.worker,
        server: services.server,
        model: manifest.model,
        memory: memory.current,
      };
      const report = (next: Phase) => {
        if (signal.aborted) return;
        setPhase(next);
        if (next.name === "drawing" && next.preview) {
          setPreview({ ...next.preview, progress: next.step / next.steps });
        }
      };
      try {
        return { painted: await draw(order, tools, report, signal) };
      } catch (thrown) {
        return { problem: signal.aborted ? problemIn(signal.reason) : problemIn(thrown) };
      }
    });
  }, [services, manifest, ready]);

  useEffect(() => () => queue?.cancel(), [queue]);
  useEffect(() => () => wall.current.forEach(({ url }) => void URL.revokeObjectURL(url)), []);

  const start = useCallback(
    async (order: Order, settings: Settings) => {
      const key = JSON.stringify(order);
      if (!queue || running.current === key) return; // a double click asks for nothing new
      running.current = key;
      setProblem(undefined);
      setPhase({ name: "reading" });
      const result = await queue.start(order);
      if (!result) return; // a newer order has taken over
      running.current = undefined;
      setPhase(undefined);
      setPreview(undefined);
      if ("problem" in result) {
        const cancelled = result.problem.code === "cancelled";
        setEnded(cancelled ? "cancelled" : undefined);
        if (!cancelled) setProblem(result.problem);
        return;
      }
      setEnded("done");
      count.current += 1;
      const { png, ...rest } = result.painted;
      const url = URL.createObjectURL(png);
      const picture = { number: count.current, url, order, settings, ...rest };
      const hung = hang(wall.current, picture);
      for (const { url } of hung.dropped) URL.revokeObjectURL(url);
      wall.current = hung.pictures;
      setPictures(hung.pictures);
      setShownNumber(picture.number);
    },
    [queue],
  );

  const cancel = useCallback(() => queue?.cancel(), [queue]);
  const show = useCallback((picture: Picture) => setShownNumber(picture.number), []);
  const dismiss = useCallback(() => setProblem(undefined), []);
  const shown = pictures.find(({ number }) => number === shownNumber) ?? pictures[0];

  return { phase, preview, ended, pictures, shown, problem, start, cancel, show, dismiss };
}
