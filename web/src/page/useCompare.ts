/** The same picture without its styles, to be held beside the one on the wall. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { latestWins } from "../library/latest";
import { draw } from "./draw";
import { baseOrder, isStyled, type Order } from "./order";
import { type PageProblem, problemIn } from "./problem";
import type { Engine } from "./useEngine";
import type { Painter } from "./usePainter";

/** Base pictures that are kept; one serves all strengths of the same words and seed. */
const kept = 8;

export interface Compare {
  /** Whether the picture on the wall has styles that can be taken away. */
  possible: boolean;
  /** Whether the base is what should be seen. */
  held: boolean;
  /** Whether it is being painted for that. */
  painting: boolean;
  /** Object URL of the base picture, once it is there. */
  url: string | undefined;
  problem: PageProblem | undefined;
  hold(held: boolean): void;
}

type Ended = { key: string; png: Blob } | { problem: PageProblem };

export function useCompare({ ready }: Engine, painter: Painter): Compare {
  const { shown, phase } = painter;
  const [held, setHeld] = useState(false);
  const [running, setRunning] = useState<string>();
  const [problem, setProblem] = useState<PageProblem>();
  const [bases, setBases] = useState<readonly { key: string; url: string }[]>([]);
  const all = useRef(bases);

  const order = useMemo(() => shown && baseOrder(shown.order, shown.settings), [shown]);
  const key = JSON.stringify(order);
  const url = bases.find((base) => base.key === key)?.url;
  const possible = shown !== undefined && isStyled(shown.order) && ready !== undefined;

  const queue = useMemo(() => {
    if (!ready) return undefined;
    return latestWins<Order, Ended>(async (order, signal) => {
      try {
        const { png } = await draw(order, ready.engine, () => {}, signal);
        return { key: JSON.stringify(order), png };
      } catch (thrown) {
        return { problem: problemIn(signal.aborted ? signal.reason : thrown) };
      }
    });
  }, [ready]);

  useEffect(() => () => queue?.cancel(), [queue]);
  useEffect(() => () => all.current.forEach(({ url }) => void URL.revokeObjectURL(url)), []);

  // A new picture is what was asked for: it goes first, and is seen when it comes.
  const busy = phase !== undefined;
  useEffect(() => {
    if (!busy) return;
    setHeld(false);
    queue?.cancel();
  }, [busy, queue]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another picture is what ends it
  useEffect(() => {
    setHeld(false);
    setProblem(undefined);
  }, [key]);

  const paint = useCallback(async () => {
    if (!order || !queue || running === key) return;
    setRunning(key);
    setProblem(undefined);
    const ended = await queue.start(order);
    if (!ended) return; // another picture's base was asked for
    setRunning(undefined);
    if ("problem" in ended) {
      if (ended.problem.code !== "cancelled") setProblem(ended.problem);
      setHeld(false);
      return;
    }
    const fresh = [{ key: ended.key, url: URL.createObjectURL(ended.png) }, ...all.current];
    for (const { url } of fresh.slice(kept)) URL.revokeObjectURL(url);
    all.current = fresh.slice(0, kept);
    setBases(all.current);
  }, [order, queue, running, key]);

  const hold = useCallback(
    (next: boolean) => {
      if (next && (!possible || busy)) return;
      setHeld(next);
      if (next && !url) void paint();
    },
    [possible, busy, url, paint],
  );

  const painting = held && running === key;
  return { possible: possible && !busy, held, painting, url, problem, hold };
}
