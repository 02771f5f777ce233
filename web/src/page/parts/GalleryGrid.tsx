import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { GalleryEntry } from "../gallerystore";
import type { Gallery } from "../useGallery";
import { TrashIcon } from "./icons";

/**
 * Pictures side by side. One of them is in the tab order; arrows, Home and End go to the others, Enter
 * hangs one on the wall, Delete removes it.
 */
export function GalleryGrid({
  entries,
  thumb,
  open,
  remove,
  leave,
}: {
  entries: readonly GalleryEntry[];
  thumb: Gallery["thumb"];
  open: (entry: GalleryEntry) => void;
  remove: (entry: GalleryEntry) => void;
  /** Takes the focus when no picture is left. */
  leave: () => void;
}) {
  const { t, i18n } = useTranslation();
  const [active, setActive] = useState<number>();
  const list = useRef<HTMLUListElement>(null);
  const at = Math.max(
    0,
    entries.findIndex(({ id }) => id === active),
  );
  const day = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium", timeStyle: "short" });

  const focus = (index: number) => {
    const inside = Math.min(entries.length - 1, Math.max(0, index));
    const entry = entries[inside];
    if (!entry) return;
    setActive(entry.id);
    list.current?.querySelectorAll<HTMLElement>(".gallery-open")[inside]?.focus();
  };
  const drop = (entry: GalleryEntry, index: number) => {
    // The next one, or the one before the last, takes its place.
    if (entries.length > 1) focus(index + 1 < entries.length ? index + 1 : index - 1);
    else leave();
    remove(entry);
  };
  const onKey = (event: KeyboardEvent, entry: GalleryEntry, index: number) => {
    const columns = columnsOf(list.current);
    const moves: Record<string, number> = {
      ArrowRight: index + 1,
      ArrowLeft: index - 1,
      ArrowDown: index + columns,
      ArrowUp: index - columns,
      Home: 0,
      End: entries.length - 1,
    };
    const to = moves[event.key];
    if (to === undefined && event.key !== "Delete") return;
    event.preventDefault();
    if (to === undefined) drop(entry, index);
    else focus(to);
  };

  return (
    <ul className="gallery-grid" ref={list} aria-label={t("gallery.title")}>
      {entries.map((entry, index) => {
        const prompt = entry.settings.prompt.trim() || t("stage.untitled");
        const made = day.format(entry.created);
        return (
          <li key={entry.id} className="gallery-place">
            <button
              type="button"
              className="gallery-open"
              data-testid="gallery-picture"
              tabIndex={index === at ? 0 : -1}
              aria-label={t("gallery.open", { prompt, seed: entry.order.seed, date: made })}
              aria-keyshortcuts="Delete"
              title={`${prompt}\n${made}`}
              onFocus={() => setActive(entry.id)}
              onKeyDown={(event) => onKey(event, entry, index)}
              onClick={() => open(entry)}
            >
              <LazyThumb id={entry.id} thumb={thumb} />
            </button>
            <button
              type="button"
              className="gallery-remove"
              data-testid="gallery-remove"
              tabIndex={index === at ? 0 : -1}
              aria-label={t("gallery.remove", { prompt })}
              title={t("gallery.remove", { prompt })}
              onClick={() => drop(entry, index)}
            >
              <TrashIcon />
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** As many as stand in the first row. */
function columnsOf(list: HTMLUListElement | null): number {
  const places = [...(list?.children ?? [])] as HTMLElement[];
  const top = places[0]?.offsetTop;
  return Math.max(1, places.filter(({ offsetTop }) => offsetTop === top).length);
}

/** Read from the store when it comes into sight, and let go with its place. */
function LazyThumb({ id, thumb }: { id: number; thumb: Gallery["thumb"] }) {
  const place = useRef<HTMLSpanElement>(null);
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    let made: string | undefined;
    let gone = false;
    const load = async () => {
      const bytes = await thumb(id);
      if (gone || !bytes) return;
      made = URL.createObjectURL(new Blob([bytes]));
      setUrl(made);
    };
    const watch = new IntersectionObserver(
      (seen) => {
        if (!seen.some(({ isIntersecting }) => isIntersecting)) return;
        watch.disconnect();
        void load();
      },
      { rootMargin: "300px" },
    );
    if (place.current) watch.observe(place.current);
    return () => {
      gone = true;
      watch.disconnect();
      if (made) URL.revokeObjectURL(made);
    };
  }, [id, thumb]);
  return (
    <span ref={place} className="gallery-thumb">
      {url && <img src={url} alt="" />}
    </span>
  );
}
