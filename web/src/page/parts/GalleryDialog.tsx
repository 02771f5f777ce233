import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import { formatBytes } from "../format";
import { found } from "../gallery";
import type { GalleryEntry } from "../gallerystore";
import type { Gallery } from "../useGallery";
import { ConfirmButton } from "./ConfirmButton";
import { GalleryGrid } from "./GalleryGrid";
import { HeaderButton } from "./HeaderButton";
import { GalleryIcon } from "./icons";
import { Sheet } from "./Sheet";

/** All pictures that are kept, to be searched, hung and removed. */
export function GalleryDialog({
  gallery,
  bring,
  manifest,
}: {
  gallery: Gallery;
  bring: (entry: GalleryEntry) => Promise<void>;
  manifest: Manifest | undefined;
}) {
  const { t, i18n } = useTranslation();
  const [open, setOpen] = useState(false);
  const [search, setSearch] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const { entries = [], removed, problem } = gallery;
  const shown = found(entries, search, manifest);
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  return (
    <Sheet
      testId="gallery-dialog"
      title={t("gallery.title")}
      hint={t("gallery.hint")}
      open={open}
      onOpenChange={(next) => {
        setOpen(next);
        if (next) void gallery.refresh();
      }}
      trigger={
        <HeaderButton
          icon={<GalleryIcon />}
          label={t("gallery.title")}
          testId="gallery"
          title={t("gallery.hint")}
        />
      }
    >
      {entries.length > 0 && (
        <input
          ref={field}
          type="search"
          className="search"
          data-testid="gallery-search"
          aria-label={t("gallery.search")}
          placeholder={t("gallery.search")}
          value={search}
          onChange={({ target }) => setSearch(target.value)}
        />
      )}
      <p className="hint gallery-count" role="status" data-testid="gallery-count">
        {entries.length === 0
          ? t("gallery.empty")
          : shown.length === entries.length
            ? t("gallery.count", {
                count: entries.length,
                bytes: formatBytes(bytes, i18n.language),
              })
            : t("gallery.found", { count: shown.length, all: entries.length })}
      </p>
      {problem && <p className="note">{t(`gallery.${problem.kind}`)}</p>}
      <GalleryGrid
        entries={shown}
        thumb={gallery.thumb}
        open={async (entry) => {
          setOpen(false);
          await bring(entry);
        }}
        remove={(entry) => void gallery.remove(entry)}
        leave={() => field.current?.focus()}
      />
      <div className="sheet-foot">
        <span role="status" className="gallery-undo">
          {removed && (
            <>
              {t("gallery.removed")}
              <button
                type="button"
                className="plain"
                data-testid="gallery-undo"
                onClick={() => void gallery.undo()}
              >
                {t("gallery.undo")}
              </button>
            </>
          )}
        </span>
        {entries.length > 0 && (
          <ConfirmButton
            testId="gallery-clear"
            label={t("gallery.clear")}
            question={t("gallery.clearAsk", { count: entries.length })}
            yes={t("gallery.clearYes")}
            confirm={() => void gallery.clear()}
          />
        )}
      </div>
    </Sheet>
  );
}
