import { useTranslation } from "react-i18next";
import type { ModeChoice } from "../../library/mode";

/** Who does what: this device, the server, or both; and why. */
export function ModeLine({ choice: { mode, why } }: { choice: ModeChoice }) {
  const { t } = useTranslation();
  return (
    <p className="mode hint" data-testid="mode" data-mode={mode}>
      {t(`mode.${mode}`)} {t(`why.${why}`)}
    </p>
  );
}
