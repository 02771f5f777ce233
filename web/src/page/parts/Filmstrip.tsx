import { useTranslation } from "react-i18next";
import type { Painter } from "../usePainter";

/** The newest pictures, of this visit and of earlier ones. */
export function Filmstrip({ painter }: { painter: Painter }) {
  const { t } = useTranslation();
  const { pictures, shown } = painter;
  if (pictures.length < 2) return null;
  return (
    <nav className="filmstrip" aria-label={t("filmstrip.title")}>
      {pictures.map((picture, index) => (
        <button
          key={picture.number}
          type="button"
          className="thumb"
          aria-current={picture === shown}
          aria-label={t("filmstrip.show", {
            number: pictures.length - index,
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
