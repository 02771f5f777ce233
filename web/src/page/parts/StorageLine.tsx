import { useTranslation } from "react-i18next";
import type { StorageReport } from "../../worker/protocol";

/** What the visitor should know of where the model is kept: nothing, where it is kept well. */
export function StorageLine({ storage }: { storage: StorageReport }) {
  const { t } = useTranslation();
  const { kind, reason = "absent", detail, offline } = storage;
  if (kind !== "memory" && !offline) return null;
  return (
    <p className="hint" data-testid="storage">
      {kind === "memory" && <span title={detail}>{t(`storage.${reason}`)} </span>}
      {offline && <span>{t("storage.offline")}</span>}
    </p>
  );
}
