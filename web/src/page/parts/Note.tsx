import { useTranslation } from "react-i18next";
import type { Saying } from "../useNote";
import { CloseIcon } from "./icons";

/** A line about what has just happened to the controls. */
export function Note({ say, dismiss }: { say: Saying | undefined; dismiss: () => void }) {
  const { t } = useTranslation();
  const text = say?.(t);
  return (
    <div aria-live="polite" data-testid="note">
      {text && (
        <p className="note">
          <span>{text}</span>
          <button
            type="button"
            className="note-close"
            aria-label={t("problem.dismiss")}
            onClick={dismiss}
          >
            <CloseIcon />
          </button>
        </p>
      )}
    </div>
  );
}
