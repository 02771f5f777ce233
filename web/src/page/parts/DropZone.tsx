import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";

const hasFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes("Files") === true;

/** The whole page takes files; while some are held over it, it says which. */
export function DropZone({ open }: { open: (files: readonly File[]) => void }) {
  const { t } = useTranslation();
  const [over, setOver] = useState(false);
  const latest = useRef(open);
  useEffect(() => {
    latest.current = open;
  });
  useEffect(() => {
    let depth = 0; // each element on the way is entered and left
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth += 1;
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      if (depth <= 0) setOver(false);
    };
    const hover = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault(); // or the browser leaves the page for the file
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      setOver(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length) latest.current(files);
    };
    addEventListener("dragenter", enter);
    addEventListener("dragleave", leave);
    addEventListener("dragover", hover);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragenter", enter);
      removeEventListener("dragleave", leave);
      removeEventListener("dragover", hover);
      removeEventListener("drop", drop);
    };
  }, []);
  if (!over) return null;
  return (
    <div className="drop" data-testid="drop">
      <div className="drop-sheet">
        <p className="invite">{t("drop.title")}</p>
        <ul>
          <li>{t("drop.lora")}</li>
          <li>{t("drop.recipe")}</li>
          <li>{t("drop.picture")}</li>
        </ul>
        <p className="hint">{t("drop.private")}</p>
      </div>
    </div>
  );
}
