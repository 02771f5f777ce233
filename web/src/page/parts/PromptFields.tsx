import { useId, useLayoutEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import type { Settings } from "../settings";
import { followTags, strangeTags } from "../tags";
import type { Idea } from "../templates";
import { slot, triggerWords } from "../triggers";
import type { ChangeSettings } from "../useSettings";
import { Ideas } from "./Ideas";

export function PromptFields({
  settings,
  styles,
  ideas,
  change,
  onTags,
}: {
  settings: Settings;
  styles: readonly Style[];
  ideas: readonly Idea[];
  change: ChangeSettings;
  /** Told of the styles whose sliders a tag in the prompt has set. */
  onTags: (moved: readonly Style[], settings: Settings) => void;
}) {
  const { t } = useTranslation();
  const [prompt, negative, added] = [useId(), useId(), useId()];
  const field = useRef<HTMLTextAreaElement>(null);
  /** Where the caret belongs after a tag was taken out of the words before it. */
  const caret = useRef<number | undefined>(undefined);
  const words = triggerWords(settings, styles);
  const slotted = settings.prompt.includes(slot);
  const strange = strangeTags(settings.prompt);

  useLayoutEffect(() => {
    if (caret.current === undefined) return;
    field.current?.setSelectionRange(caret.current, caret.current);
    caret.current = undefined;
  });

  const write = ({ value, selectionStart }: HTMLTextAreaElement) => {
    const followed = followTags({ ...settings, prompt: value }, styles);
    change((now) => followTags({ ...now, prompt: value }, styles).settings);
    if (followed.moved.length === 0) return;
    const shorter = value.length - followed.settings.prompt.length;
    caret.current = Math.max(0, selectionStart - shorter);
    onTags(followed.moved, followed.settings);
  };

  const slotWords = slotted ? "prompt.filled" : "prompt.added";
  return (
    <div className="group">
      <label className="title" htmlFor={prompt}>
        {t("prompt.label")}
      </label>
      <div className="prompt-box">
        <textarea
          id={prompt}
          ref={field}
          className="prompt"
          data-testid="prompt"
          rows={3}
          value={settings.prompt}
          placeholder={t("prompt.placeholder")}
          aria-describedby={words.length || slotted || strange.length ? added : undefined}
          onChange={({ target }) => write(target)}
        />
        <div id={added}>
          {words.length > 0 && (
            <p className="chips" data-testid="triggers">
              <span className="hint">{t(slotWords, { count: words.length, slot })}</span>{" "}
              {words.map((word) => (
                <span className="chip" key={word}>
                  {word}
                </span>
              ))}
            </p>
          )}
          {slotted && words.length === 0 && (
            <p className="chips hint">{t("prompt.unfilled", { slot })}</p>
          )}
          {strange.length > 0 && (
            <p className="chips hint" data-testid="strange-tags">
              {t("prompt.strange", { count: strange.length, tags: strange.join(" ") })}
            </p>
          )}
        </div>
      </div>
      <Ideas ideas={ideas} settings={settings} styles={styles} change={change} />
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
