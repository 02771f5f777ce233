import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import type { Settings } from "../settings";
import { applyIdea, type Idea, isChosen, titleOf } from "../templates";
import type { ChangeSettings } from "../useSettings";

/** Templates in one click. */
export function Ideas({
  ideas,
  settings,
  styles,
  change,
}: {
  ideas: readonly Idea[];
  settings: Settings;
  styles: readonly Style[];
  change: ChangeSettings;
}) {
  const { t, i18n } = useTranslation();
  if (ideas.length === 0) return null;
  return (
    <div className="chips ideas">
      <span className="hint">{t("prompt.examples")}</span>
      {ideas.map((idea) => {
        const { template, style } = idea;
        return (
          <button
            type="button"
            key={`${style?.name ?? ""} ${template.title} ${template.prompt}`}
            className="example"
            data-testid="example"
            title={template.prompt}
            aria-label={`${titleOf(idea, i18n.language)}: ${template.prompt}`}
            aria-pressed={isChosen(settings, styles, idea)}
            onClick={() => change((now) => applyIdea(now, styles, idea))}
          >
            {titleOf(idea, i18n.language)}
          </button>
        );
      })}
    </div>
  );
}
