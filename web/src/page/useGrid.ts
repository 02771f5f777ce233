/** Paints a grid, cell by cell; it goes on while its dialog is closed. */

import { useCallback, useEffect, useRef, useState } from "react";
import type { Style } from "../bundle/manifest.gen";
import { draw } from "./draw";
import type { PictureFacts } from "./gallerystore";
import { type Cell, cellsOf, type GridPlan } from "./grid";
import { orderFor } from "./order";
import { type PageProblem, problemIn } from "./problem";
import type { Settings } from "./settings";
import { signed } from "./signing";
import type { Engine } from "./useEngine";
import type { Wall } from "./useWall";

/** A cell's picture. */
export interface PaintedCell extends Cell {
  facts: PictureFacts;
  png: Uint8Array<ArrayBuffer>;
  /** Object URL of the PNG. */
  url: string;
}

export interface Grid {
  plan: GridPlan | undefined;
  /** The settings that all cells share. */
  settings: Settings | undefined;
  painted: readonly PaintedCell[];
  /** Of the whole grid. */
  total: number;
  running: boolean;
  problem: PageProblem | undefined;
  start(plan: GridPlan): void;
  cancel(): void;
  /** Forgets the grid, for another one. */
  clear(): void;
  /** Hangs a cell on the wall, where it is a picture like any other. */
  open(cell: PaintedCell): void;
}

export function useGrid(
  { ready }: Engine,
  settings: Settings | undefined,
  styles: readonly Style[],
  wall: Wall,
): Grid {
  const [shown, setShown] = useState<{ plan: GridPlan; settings: Settings; total: number }>();
  const [painted, setPainted] = useState<readonly PaintedCell[]>([]);
  const [running, setRunning] = useState(false);
  const [problem, setProblem] = useState<PageProblem>();
  const controller = useRef<AbortController | undefined>(undefined);
  const urls = useRef<string[]>([]);
  const { add } = wall;

  const clear = useCallback(() => {
    controller.current?.abort();
    for (const url of urls.current) URL.revokeObjectURL(url);
    urls.current = [];
    setPainted([]);
    setShown(undefined);
    setProblem(undefined);
    setRunning(false);
  }, []);
  useEffect(() => clear, [clear]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another engine cannot go on with it
  useEffect(() => () => controller.current?.abort(), [ready]);

  const start = useCallback(
    async (plan: GridPlan) => {
      if (!ready || !settings) return;
      clear();
      const mine = new AbortController();
      controller.current = mine;
      const { signal } = mine;
      const cells = cellsOf(plan, settings, styles);
      setShown({ plan, settings, total: cells.length });
      setRunning(true);
      try {
        for (const cell of cells) {
          const order = orderFor(cell.settings, styles);
          const { png: plain, ...rest } = await draw(order, ready.engine, () => {}, signal);
          const png = await signed(plain, order, ready.engine.manifest);
          if (signal.aborted) return;
          const url = URL.createObjectURL(new Blob([png], { type: "image/png" }));
          urls.current.push(url);
          const facts = { order, settings: cell.settings, ...rest };
          setPainted((before) => [...before, { ...cell, facts, png, url }]);
        }
      } catch (thrown) {
        if (!signal.aborted) setProblem(problemIn(thrown));
      } finally {
        if (controller.current === mine) setRunning(false);
      }
    },
    [ready, settings, styles, clear],
  );
  const cancel = useCallback(() => controller.current?.abort(), []);
  const open = useCallback(({ facts, png }: PaintedCell) => add(facts, png), [add]);

  return {
    plan: shown?.plan,
    settings: shown?.settings,
    total: shown?.total ?? 0,
    ...{ painted, running, problem, start, cancel, clear, open },
  };
}
