/** Runs orders one at a time, of one picture or several, and hangs what comes of them. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { latestWins } from "../library/latest";
import type { StepReport } from "../worker/protocol";
import { drawAll, type Phase } from "./draw";
import type { Picture } from "./gallery";
import type { Order } from "./order";
import { type PageProblem, problemIn } from "./problem";
import type { Settings } from "./settings";
import { signed } from "./signing";
import type { Engine } from "./useEngine";
import type { Wall } from "./useWall";

export type Preview = NonNullable<StepReport["preview"]> & { progress: number };

/** How an order ended; a problem `cancelled` is the artist's wish. */
type Ended = { problem?: PageProblem };

/** What is asked for: picture i of `count` has seed + i. */
interface Batch {
  order: Order;
  settings: Settings;
  count: number;
  /** Asked for by a hand that moves a slider, as `useLive` notices. */
  live: boolean;
}

export interface Painter {
  /** Where the running order is; undefined when none runs. */
  phase: Phase | undefined;
  /** Which picture of a batch that is, from 1. */
  batch: { picture: number; count: number } | undefined;
  /** The running order's latest look, and how far it is, 0 to 1. */
  preview: Preview | undefined;
  /** How the last order ended. */
  ended: "done" | "cancelled" | undefined;
  pictures: Picture[];
  /** The picture on the wall. */
  shown: Picture | undefined;
  problem: PageProblem | undefined;
  start(order: Order, settings: Settings, how?: { count?: number; live?: boolean }): void;
  cancel(): void;
  show(picture: Picture): void;
  dismiss(): void;
}

export function usePainter({ ready }: Engine, wall: Wall): Painter {
  const [phase, setPhase] = useState<Phase>();
  const [batch, setBatch] = useState<Painter["batch"]>();
  const [preview, setPreview] = useState<Preview>();
  const [ended, setEnded] = useState<Painter["ended"]>();
  const [problem, setProblem] = useState<PageProblem>();
  const running = useRef<string | undefined>(undefined);
  const { add } = wall;

  const queue = useMemo(() => {
    if (!ready) return undefined;
    return latestWins<Batch, Ended>(async (asked, signal) => {
      const { order, settings, count, live } = asked;
      const report = (next: Phase) => {
        if (signal.aborted) return;
        setPhase(next);
        if (next.name === "drawing" && next.preview) {
          setPreview({ ...next.preview, progress: next.step / next.steps });
        }
      };
      try {
        setBatch(count > 1 ? { picture: 1, count } : undefined);
        const { engine } = ready;
        let hanging = Promise.resolve();
        await drawAll(
          order,
          count,
          engine,
          report,
          ({ png, ...painted }, index) => {
            const seed = order.seed + index;
            const own = { ...order, seed };
            const facts = { order: own, settings: { ...settings, seed }, ...painted };
            hanging = hanging.then(async () =>
              add(facts, await signed(png, own, engine.manifest), live),
            );
            setPreview(undefined);
            if (index + 1 < count) setBatch({ picture: index + 2, count });
          },
          signal,
        );
        await hanging;
        return {};
      } catch (thrown) {
        return { problem: problemIn(signal.aborted ? signal.reason : thrown) };
      }
    });
  }, [ready, add]);

  useEffect(() => () => queue?.cancel(), [queue]);

  const start = useCallback(
    async (order: Order, settings: Settings, { count = 1, live = false } = {}) => {
      const key = JSON.stringify([order, count]);
      if (!queue || running.current === key) return; // a double click asks for nothing new
      running.current = key;
      setProblem(undefined);
      setPhase({ name: "reading" });
      const result = await queue.start({ order, settings, count, live });
      if (!result) return; // a newer order has taken over
      running.current = undefined;
      setPhase(undefined);
      setBatch(undefined);
      setPreview(undefined);
      const cancelled = result.problem?.code === "cancelled";
      setEnded(cancelled ? "cancelled" : result.problem ? undefined : "done");
      if (!cancelled) setProblem(result.problem);
    },
    [queue],
  );

  const cancel = useCallback(() => {
    running.current = undefined; // the same order may be given again before the worker has let go
    queue?.cancel();
  }, [queue]);
  const dismiss = useCallback(() => setProblem(undefined), []);
  const { pictures, shown, show } = wall;
  return { phase, batch, preview, ended, pictures, shown, problem, start, cancel, show, dismiss };
}
