import { useTranslation } from "react-i18next";
import type { Painter } from "../usePainter";

/** Tells a screen reader what the eye sees happen: few words, none of them per step. */
export function Announcer({ ready, painter }: { ready: boolean; painter: Painter }) {
  const { t } = useTranslation();
  let message = ready ? t("announce.ready") : "";
  if (painter.phase) message = t("announce.drawing");
  else if (painter.ended) message = t(`announce.${painter.ended}`);
  return (
    <p className="unseen" role="status">
      {message}
    </p>
  );
}
