import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import type { Settings } from "../settings";
import { triggerWords } from "../triggers";
import type { ChangeSettings } from "../useSettings";

export function PromptFields({
  settings,
  styles,
  change,
}: {
  settings: Settings;
  styles: readonly Style[];
  change: ChangeSettings;
}) {
  const { t } = useTranslation();
  const [prompt, negative, added] = [useId(), useId(), useId()];
  const words = triggerWords(settings, styles);
  return (
    <div className="group">
      <label className="title" htmlFor={prompt}>
        {t("prompt.label")}
      </label>
      <div className="prompt-box">
        <textarea
          id={prompt}
          className="prompt"
          data-testid="prompt"
          rows={3}
          value={settings.prompt}
          placeholder={t("prompt.placeholder")}
          aria-describedby={words.length ? added : undefined}
          onChange={({ target }) => change((now) => ({ ...now, prompt: target.value }))}
        />
        {words.length > 0 && (
          <p className="chips" id={added}>
            <span className="hint">{t("prompt.added", { count: words.length })}</span>{" "}
            {words.map((word) => (
              <span className="chip" key={word}>
                {word}
              </span>
            ))}
          </p>
        )}
      </div>
      <div className="inline-field">
        <label className="hint" htmlFor={negative}>
          {t("prompt.negative")}
        </label>
        <input
          id={negative}
          type="text"
          data-testid="negative-prompt"
          value={settings.negativePrompt}
          placeholder={t("prompt.negativePlaceholder")}
          onChange={({ target }) => change((now) => ({ ...now, negativePrompt: target.value }))}
        />
      </div>
    </div>
  );
}
