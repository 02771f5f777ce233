import { useTranslation } from "react-i18next";
import type { Painter } from "../usePainter";

/** Pictures of this visit, newest first. */
export function Filmstrip({ painter }: { painter: Painter }) {
  const { t } = useTranslation();
  const { pictures, shown } = painter;
  if (pictures.length < 2) return null;
  return (
    <nav className="filmstrip" aria-label={t("filmstrip.title")}>
      {pictures.map((picture) => (
        <button
          key={picture.number}
          type="button"
          className="thumb"
          aria-current={picture === shown}
          aria-label={t("filmstrip.show", {
            number: picture.number,
            prompt: picture.order.prompt,
          })}
          onClick={() => painter.show(picture)}
        >
          <img src={picture.url} alt="" />
        </button>
      ))}
    </nav>
  );
}
