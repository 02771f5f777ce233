/** The pictures at hand, newest first: those of this visit, and the latest ones of earlier visits. */

import { useCallback, useEffect, useRef, useState } from "react";
import { hang, type Picture, shownAtMost } from "./gallery";
import type { GalleryEntry, PictureFacts } from "./gallerystore";
import type { Gallery } from "./useGallery";

export interface Wall {
  pictures: Picture[];
  /** The picture on the wall. */
  shown: Picture | undefined;
  /**
   * Hangs a picture that has just been painted, and keeps it in the gallery. A `live` one is kept when
   * the hand has rested for a while: until then the next live one takes its place.
   */
  add(facts: PictureFacts, png: Uint8Array<ArrayBuffer>, live?: boolean): void;
  show(picture: Picture): void;
  /** Hangs a picture of the gallery. */
  bring(entry: GalleryEntry): Promise<void>;
}

/** A live picture that is looked at this long is worth keeping. */
const settleMs = 3000;

const urlOf = (png: Uint8Array<ArrayBuffer>) =>
  URL.createObjectURL(new Blob([png], { type: "image/png" }));

export function useWall(gallery: Gallery): Wall {
  const [pictures, setPictures] = useState<Picture[]>([]);
  const [shownNumber, setShownNumber] = useState<number>();
  const wall = useRef<Picture[]>([]);
  const count = useRef(0);
  const { entries, keep, png: pngOf, facts: factsOf } = gallery;

  const change = useCallback((next: Picture[], dropped: readonly Picture[]) => {
    for (const { url } of dropped) URL.revokeObjectURL(url);
    wall.current = next;
    setPictures(next);
  }, []);
  useEffect(() => () => wall.current.forEach(({ url }) => void URL.revokeObjectURL(url)), []);

  const put = useCallback(
    (picture: Omit<Picture, "number">) => {
      count.current += 1;
      const hung = hang(wall.current, { ...picture, number: count.current });
      change(hung.pictures, hung.dropped);
      setShownNumber(count.current);
      return count.current;
    },
    [change],
  );

  /** The live picture that the next one would take the place of. */
  const passing = useRef<{ number: number; timer: number; settle: () => void } | undefined>(
    undefined,
  );
  const add = useCallback<Wall["add"]>(
    (facts, png, live = false) => {
      const before = passing.current;
      passing.current = undefined;
      clearTimeout(before?.timer);
      if (before && live) {
        const isBefore = ({ number }: Picture) => number === before.number;
        const rest = wall.current.filter((picture) => !isBefore(picture));
        change(rest, wall.current.filter(isBefore));
      } else before?.settle();
      const number = put({ ...facts, url: urlOf(png) });
      const settle = async () => {
        passing.current = undefined;
        const entry = await keep(facts, png);
        if (!entry) return;
        const named = (picture: Picture) =>
          picture.number === number ? { ...picture, id: entry.id } : picture;
        change(wall.current.map(named), []);
      };
      if (!live) return void settle();
      passing.current = { number, settle, timer: window.setTimeout(settle, settleMs) };
    },
    [put, keep, change],
  );
  useEffect(() => {
    const leave = () => {
      if (document.visibilityState !== "hidden" || !passing.current) return;
      clearTimeout(passing.current.timer);
      passing.current.settle(); // the page may be closed now
    };
    document.addEventListener("visibilitychange", leave);
    return () => {
      document.removeEventListener("visibilitychange", leave);
      clearTimeout(passing.current?.timer);
    };
  }, []);

  const show = useCallback(({ number }: Picture) => setShownNumber(number), []);
  const bring = useCallback<Wall["bring"]>(
    async (entry) => {
      const here = wall.current.find(({ id }) => id === entry.id);
      if (here) return setShownNumber(here.number);
      const [png, facts] = await Promise.all([pngOf(entry.id), factsOf(entry)]);
      if (png) put({ ...facts, id: entry.id, url: urlOf(png) });
    },
    [pngOf, factsOf, put],
  );

  // Those of earlier visits hang behind what has been painted meanwhile.
  const restored = useRef(false);
  useEffect(() => {
    if (!entries || restored.current) return;
    restored.current = true;
    void (async () => {
      const before: Picture[] = [];
      for (const entry of entries.slice(0, shownAtMost)) {
        const [png, facts] = await Promise.all([pngOf(entry.id), factsOf(entry)]);
        if (!png) continue;
        before.push({ ...facts, id: entry.id, number: -1 - before.length, url: urlOf(png) });
      }
      const here = new Set(wall.current.map(({ id }) => id));
      const missing = before.filter(({ id }) => !here.has(id));
      const all = [...wall.current, ...missing];
      change(all.slice(0, shownAtMost), all.slice(shownAtMost));
    })();
  }, [entries, pngOf, factsOf, change]);

  // What is removed from the gallery comes off the wall.
  useEffect(() => {
    if (!entries) return;
    const kept = new Set(entries.map(({ id }) => id));
    const isGone = ({ id }: Picture) => id !== undefined && !kept.has(id);
    const gone = wall.current.filter(isGone);
    if (gone.length)
      change(
        wall.current.filter((picture) => !isGone(picture)),
        gone,
      );
  }, [entries, change]);

  const shown = pictures.find(({ number }) => number === shownNumber) ?? pictures[0];
  return { pictures, shown, add, show, bring };
}
