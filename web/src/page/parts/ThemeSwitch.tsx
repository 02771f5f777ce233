import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { switchTheme, themeNow, watchSystem } from "../theme";
import { MoonIcon, SunIcon } from "./icons";

/** From light to dark and back. */
export function ThemeSwitch() {
  const { t } = useTranslation();
  const [theme, setTheme] = useState(themeNow);
  useEffect(() => watchSystem(() => setTheme(themeNow())), []);
  const label = t(theme === "dark" ? "theme.light" : "theme.dark");
  return (
    <button
      type="button"
      className="icon-button"
      data-testid="theme"
      aria-label={label}
      title={label}
      onClick={() => setTheme(switchTheme())}
    >
      {theme === "dark" ? <SunIcon /> : <MoonIcon />}
    </button>
  );
}
