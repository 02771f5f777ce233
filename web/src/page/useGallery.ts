/** The gallery as the page has it: what is kept, what is wrong with keeping, and what was removed. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import {
  type GalleryEntry,
  GalleryStore,
  type PictureFacts,
  type RemovedPicture,
} from "./gallerystore";
import { thumbOf } from "./signing";

/** Why pictures are not kept: the browser keeps nothing, has no room, or failed. */
export interface GalleryProblem {
  kind: "absent" | "quota" | "failed";
  /** The browser's own words. */
  detail: string;
}

export interface Gallery {
  /** The newest first; undefined until they are read. */
  entries: readonly GalleryEntry[] | undefined;
  problem: GalleryProblem | undefined;
  /** The last one that was removed, until something else happens. */
  removed: RemovedPicture | undefined;
  /** Keeps a picture; undefined where it cannot be kept, which `problem` explains. */
  keep(facts: PictureFacts, png: Uint8Array<ArrayBuffer>): Promise<GalleryEntry | undefined>;
  png(id: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  thumb(id: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  facts(entry: GalleryEntry): Promise<PictureFacts>;
  remove(entry: GalleryEntry): Promise<void>;
  /** Brings back `removed`. */
  undo(): Promise<void>;
  clear(): Promise<void>;
  /** Reads it again: another tab may have painted. */
  refresh(): Promise<void>;
}

const messageIn = (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown));

function problemOf(thrown: unknown): GalleryProblem {
  const isFull = thrown instanceof DOMException && thrown.name === "QuotaExceededError";
  return { kind: isFull ? "quota" : "failed", detail: messageIn(thrown) };
}

export function useGallery(): Gallery {
  const [entries, setEntries] = useState<readonly GalleryEntry[]>();
  const [problem, setProblem] = useState<GalleryProblem>();
  const [removed, setRemoved] = useState<RemovedPicture>();
  const opening = useRef<Promise<GalleryStore | undefined> | undefined>(undefined);

  const actions = useMemo(() => {
    const store = async () => {
      opening.current ??= GalleryStore.open();
      return opening.current;
    };
    /** What goes wrong in the store is shown, and never ends a picture. */
    const tried = async <T>(work: (store: GalleryStore) => Promise<T>): Promise<T | undefined> => {
      const opened = await store();
      if (!opened) return undefined;
      try {
        return await work(opened);
      } catch (thrown) {
        setProblem(problemOf(thrown));
        return undefined;
      }
    };
    const refresh = async () => {
      const opened = await store();
      if (!opened) setProblem({ kind: "absent", detail: "" });
      const listed = await tried((opened) => opened.list());
      setEntries((before) => listed ?? before ?? []);
    };
    return { tried, refresh };
  }, []);
  const { tried, refresh } = actions;

  useEffect(() => void refresh(), [refresh]);

  const keep = useCallback<Gallery["keep"]>(
    async (facts, png) => {
      const thumb = await thumbOf(new Blob([png], { type: "image/png" })).catch(() => undefined);
      const entry = await tried((store) => store.add(facts, png, thumb));
      if (!entry) return undefined;
      setProblem(undefined); // there is room again
      setEntries((before = []) => [entry, ...before]);
      return entry;
    },
    [tried],
  );
  const remove = useCallback<Gallery["remove"]>(
    async (entry) => {
      const gone = await tried((store) => store.remove(entry));
      if (!gone) return;
      setRemoved(gone);
      setEntries((before) => before?.filter(({ id }) => id !== entry.id));
    },
    [tried],
  );
  const undo = useCallback(async () => {
    if (!removed) return;
    setRemoved(undefined);
    await tried((store) => store.restore(removed));
    await refresh();
  }, [removed, tried, refresh]);
  const clear = useCallback(async () => {
    await tried((store) => store.clear());
    setRemoved(undefined);
    await refresh();
  }, [tried, refresh]);
  const png = useCallback((id: number) => tried((store) => store.png(id)), [tried]);
  const thumb = useCallback((id: number) => tried((store) => store.thumb(id)), [tried]);
  const facts = useCallback(
    async (entry: GalleryEntry) => (await tried((store) => store.facts(entry))) ?? entry,
    [tried],
  );
  return useMemo(
    () => ({ entries, problem, removed, keep, png, thumb, facts, remove, undo, clear, refresh }),
    [entries, problem, removed, keep, png, thumb, facts, remove, undo, clear, refresh],
  );
}
