/** Styles from files that the artist brought: on this device alone, beside the bundle's. */

import { useCallback, useEffect, useMemo, useState } from "react";
import type { Manifest } from "../bundle/manifest.gen";
import type { LocalStyle } from "../worker/protocol";
import { type PageProblem, problemIn } from "./problem";
import type { Engine } from "./useEngine";

export interface LocalStyles {
  /** The bundle's manifest with these styles in it. */
  manifest: Manifest | undefined;
  names: ReadonlySet<string>;
  /** The name here of the style that was made from a file, by the file's SHA-256. */
  nameOf(source: string): string | undefined;
  /** Whether the worker has told which there are; until then a style may be missing that is not. */
  listed: boolean;
  /** The file that is being read. */
  adding: string | undefined;
  problem: PageProblem | undefined;
  /**
   * Makes a style of `file`, with the files of its stem that came along. Undefined where it cannot be
   * one, which `problem` explains.
   */
  add(file: File, beside?: readonly File[]): Promise<LocalStyle | undefined>;
  remove(name: string): Promise<void>;
  dismiss(): void;
}

const none: readonly LocalStyle[] = [];

export function useLocalStyles({ manifest, ready }: Engine): LocalStyles {
  const [styles, setStyles] = useState(none);
  const [listed, setListed] = useState(false);
  const [adding, setAdding] = useState<string>();
  const [problem, setProblem] = useState<PageProblem>();

  useEffect(() => {
    let current = true;
    setStyles(none);
    setListed(false);
    void ready?.worker.call("local-styles", null).then((outcome) => {
      // A list that does not come is an empty one: what is wrong with the store is said elsewhere.
      if (!current) return;
      if (outcome.ok) setStyles(outcome.value);
      setListed(true);
    });
    return () => {
      current = false;
    };
  }, [ready]);

  // What the bundle has too is the bundle's: it has a picture, and cannot be removed from it.
  const own = useMemo(() => styles.filter(({ kept }) => kept !== "bundle"), [styles]);
  const names = useMemo(() => new Set(own.map(({ name }) => name)), [own]);
  const whole = useMemo(() => {
    if (!manifest || own.length === 0) return manifest;
    const others = (manifest.styles ?? []).filter(({ name }) => !names.has(name));
    return { ...manifest, styles: [...others, ...own] };
  }, [manifest, own, names]);

  const add = useCallback<LocalStyles["add"]>(
    async (file, beside = []) => {
      if (!ready) return undefined;
      setProblem(undefined);
      setAdding(file.name);
      try {
        const style = await ready.engine.addStyle(file, beside);
        setStyles((before) => [...before.filter(({ name }) => name !== style.name), style]);
        return style;
      } catch (thrown) {
        setProblem({ where: file.name, ...problemIn(thrown) });
        return undefined;
      } finally {
        setAdding(undefined);
      }
    },
    [ready],
  );
  const remove = useCallback(
    async (name: string) => {
      try {
        await ready?.engine.removeStyle(name);
        setStyles((before) => before.filter((style) => style.name !== name));
      } catch (thrown) {
        setProblem(problemIn(thrown));
      }
    },
    [ready],
  );
  const nameOf = useCallback(
    (source: string) => own.find(({ source_sha256 }) => source_sha256 === source)?.name,
    [own],
  );
  const dismiss = useCallback(() => setProblem(undefined), []);
  return { manifest: whole, names, nameOf, listed, adding, problem, add, remove, dismiss };
}
