import { useTranslation } from "react-i18next";
import { CloseIcon } from "./icons";

/** A line about what has just happened to the controls. */
export function Note({ text, dismiss }: { text: string | undefined; dismiss: () => void }) {
  const { t } = useTranslation();
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
