import { type ReactNode, useId } from "react";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import type { Contribution } from "../../worker/protocol";
import { shareColour } from "../format";
import { type Settings, setStrength, stylesOn, toggleStyle } from "../settings";
import type { LocalStyles } from "../useLocalStyles";
import { usePeek } from "../usePeek";
import type { ChangeSettings } from "../useSettings";
import { FileButton } from "./FileButton";
import { PlusIcon } from "./icons";
import { ProblemNotice } from "./ProblemNotice";
import { RecipeDialog } from "./RecipeDialog";
import { ShareBar } from "./ShareBar";
import { SourceButton } from "./SourceField";
import { StrengthRow } from "./StrengthRow";
import { StyleCard } from "./StyleCard";
import { StylePeek } from "./StylePeek";

/** Cards like filters in a camera; below them a slider for each one that is on. */
export function StylePicker({
  settings,
  styles,
  bundleUrl,
  change,
  ready,
  shares,
  local,
  open,
  more,
}: {
  settings: Settings;
  styles: readonly Style[];
  bundleUrl: string;
  change: ChangeSettings;
  ready: boolean;
  shares: readonly Contribution[];
  local: LocalStyles;
  /** Takes a LoRA file or a recipe. */
  open: (files: readonly File[]) => void;
  /** What else can be done with the mix. */
  more: ReactNode;
}) {
  const { t } = useTranslation();
  const peek = usePeek();
  const described = useId();
  const on = stylesOn(settings, styles);
  const peeked = styles.find(({ name }) => name === peek.name);
  const colour = (name: string) =>
    on.length > 1 ? shareColour(on.findIndex((style) => style.name === name)) : undefined;
  return (
    <fieldset className="group">
      <legend className="title">{t("styles.title")}</legend>
      {styles.length === 0 && <p className="hint">{t("styles.none")}</p>}
      <div className="cards">
        {styles.map((style) => (
          <StyleCard
            key={style.name}
            style={style}
            bundleUrl={bundleUrl}
            on={settings.styles[style.name]?.on ?? false}
            described={style === peeked ? described : undefined}
            toggle={() => change((now) => toggleStyle(now, styles, style.name))}
            peek={(when) => peek.at(style.name, when)}
            remove={local.names.has(style.name) ? () => void local.remove(style.name) : undefined}
          />
        ))}
        <FileButton
          accept=".safetensors,.json,image/*"
          multiple // with what describes it: sidecar, picture, PEFT's config
          testId="add-style"
          className="card card-add"
          disabled={!ready || local.adding !== undefined}
          onFiles={open}
        >
          <PlusIcon />
          <span className="card-name">{t("styles.add")}</span>
        </FileButton>
        {peeked && (
          <StylePeek
            id={described}
            style={peeked}
            bundleUrl={bundleUrl}
            stay={peek.stay}
            leave={peek.leave}
          />
        )}
      </div>
      {local.adding && (
        <p className="hint" aria-live="polite">
          {t("styles.adding", { file: local.adding })}
        </p>
      )}
      {local.problem && (
        <ProblemNotice problem={local.problem} retry={undefined} dismiss={local.dismiss} />
      )}
      {on.length > 0 && (
        <div className="mixer">
          {on.map((style) => (
            <StrengthRow
              key={style.name}
              style={style}
              colour={colour(style.name)}
              setting={settings.styles[style.name] ?? { on: true, strength: 0 }}
              onChange={(part) => change((now) => setStrength(now, style.name, part))}
            />
          ))}
          <ShareBar shares={shares} styles={styles} />
        </div>
      )}
      <p className="under-styles">
        {on.length > 0 && <RecipeDialog settings={settings} styles={styles} />}
        <FileButton
          accept=".json,application/json,image/png"
          testId="open-recipe"
          className="plain"
          onFiles={open}
        >
          {t("recipe.open")}
        </FileButton>
        {!settings.image && <SourceButton open={open} />}
        {more}
      </p>
    </fieldset>
  );
}
