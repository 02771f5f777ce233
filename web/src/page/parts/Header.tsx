import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { type Language, speak } from "../../i18n";
import { BrushMark } from "./icons";
import { ThemeSwitch } from "./ThemeSwitch";

/** The house's name at the left; at the right what is not needed for every picture. */
export function Header({ children }: { children: ReactNode }) {
  const { t, i18n } = useTranslation();
  const other: Language = i18n.language === "zh" ? "en" : "zh";
  return (
    <header className="header">
      <h1 className="wordmark">
        <BrushMark />
        {t("app.title")}
      </h1>
      <p className="tagline">{t("app.tagline")}</p>
      <span className="header-actions">
        {children}
        <ThemeSwitch />
        <button
          type="button"
          className="quiet language"
          data-testid="language"
          aria-label={`${t("language.other")} – ${t("language.switch")}`}
          onClick={() => void speak(other)}
        >
          <span lang={other}>{t("language.other")}</span>
        </button>
      </span>
    </header>
  );
}
