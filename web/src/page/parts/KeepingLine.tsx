import { useTranslation } from "react-i18next";
import type { GalleryProblem } from "../useGallery";

/** Why pictures are not kept, once there is one to lose. */
export function KeepingLine({
  problem,
  painted,
}: {
  problem: GalleryProblem | undefined;
  painted: boolean;
}) {
  const { t } = useTranslation();
  return (
    <p className="keeping hint" aria-live="polite" data-testid="keeping">
      {problem && painted && <span title={problem.detail}>{t(`gallery.${problem.kind}`)}</span>}
    </p>
  );
}
