import { useState } from "react";
import { useTranslation } from "react-i18next";

/** A new version of the page waits: it comes when its visitor wants it. */
export function UpdateNotice({ update }: { update: (() => void) | undefined }) {
  const { t } = useTranslation();
  const [later, setLater] = useState(false);
  return (
    <div className="update" aria-live="polite">
      {update && !later && (
        <p className="update-text" data-testid="update">
          {t("update.waiting")}
          <button type="button" className="quiet" data-testid="reload" onClick={update}>
            {t("update.reload")}
          </button>
          <button type="button" className="plain" onClick={() => setLater(true)}>
            {t("update.later")}
          </button>
        </p>
      )}
    </div>
  );
}
