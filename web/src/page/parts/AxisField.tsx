import * as Slider from "@radix-ui/react-slider";
import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import { formatStrength } from "../format";
import { type AxisKind, mostValues, seedsFrom, spanOf, valuesOf } from "../grid";
import type { Settings } from "../settings";
import { StyleTile } from "./StyleTile";

/** What is chosen for an axis; a kind that is not shown keeps what it had. */
export interface AxisChoice {
  kind: AxisKind | "none";
  count: number;
  /** From and to, where somebody has moved them. */
  range?: [number, number] | undefined;
  styles: readonly string[];
}

/** The values that a choice comes to. */
export function axisOf(choice: AxisChoice, settings: Settings, manifest: Manifest) {
  const { kind, count, styles } = choice;
  if (kind === "none") return undefined;
  if (kind === "style") {
    const known = (manifest.styles ?? []).map(({ name }) => name);
    return { kind, values: known.filter((name) => styles.includes(name)).slice(0, mostValues) };
  }
  if (kind === "seed") return { kind, values: seedsFrom(settings.seed, count) };
  const span = spanOf(kind, settings, manifest);
  const [from, to] = choice.range ?? [span.from, span.to];
  return { kind, values: valuesOf({ ...span, from, to }, count) };
}

/** One axis: what it moves, and its values, seen rather than typed. */
export function AxisField({
  label,
  testId,
  choice,
  setChoice,
  kinds,
  settings,
  manifest,
  bundleUrl,
}: {
  label: string;
  testId: string;
  choice: AxisChoice;
  setChoice: (choice: AxisChoice) => void;
  /** What can be chosen; `none` for an axis that need not be. */
  kinds: readonly AxisChoice["kind"][];
  settings: Settings;
  manifest: Manifest;
  bundleUrl: string;
}) {
  const { t } = useTranslation();
  const id = useId();
  const { kind, count, range } = choice;
  const axis = axisOf(choice, settings, manifest);
  const span =
    kind === "none" || kind === "style" || kind === "seed"
      ? undefined
      : spanOf(kind, settings, manifest);
  const [from, to] = range ?? [span?.from ?? 0, span?.to ?? 0];
  return (
    <fieldset className="axis">
      <legend className="unseen">{label}</legend>
      <div className="axis-head">
        <div className="field">
          <label className="hint" htmlFor={id}>
            {label}
          </label>
          <select
            id={id}
            data-testid={testId}
            value={kind}
            onChange={({ target }) =>
              setChoice({ ...choice, kind: target.value as AxisChoice["kind"], range: undefined })
            }
          >
            {kinds.map((name) => (
              <option key={name} value={name}>
                {t(`grid.kinds.${name}`)}
              </option>
            ))}
          </select>
        </div>
        {kind !== "none" && kind !== "style" && (
          <div className="field axis-count">
            <label className="hint" htmlFor={`${id}count`}>
              {t("grid.values")}
            </label>
            <select
              id={`${id}count`}
              data-testid={`${testId}-count`}
              value={count}
              onChange={({ target }) => setChoice({ ...choice, count: Number(target.value) })}
            >
              {counts.map((number) => (
                <option key={number} value={number}>
                  {number}
                </option>
              ))}
            </select>
          </div>
        )}
      </div>
      {span && (
        <Slider.Root
          className="slider"
          value={[from, to]}
          min={span.min}
          max={span.max}
          step={span.step}
          onValueChange={([one = from, other = to]) =>
            setChoice({ ...choice, range: [one, other] })
          }
        >
          <Slider.Track className="slider-track">
            <Slider.Range className="slider-range" />
          </Slider.Track>
          {(["from", "to"] as const).map((end) => (
            <Slider.Thumb
              key={end}
              className="slider-thumb"
              aria-label={`${label}: ${t(`grid.${end}`)}`}
            />
          ))}
        </Slider.Root>
      )}
      {kind === "style" && (
        <div className="axis-styles">
          {manifest.styles?.map((style) => {
            const on = choice.styles.includes(style.name);
            const others = choice.styles.filter((name) => name !== style.name);
            return (
              <button
                key={style.name}
                type="button"
                className="card"
                aria-pressed={on}
                onClick={() =>
                  setChoice({ ...choice, styles: on ? others : [...others, style.name] })
                }
              >
                <StyleTile style={style} bundleUrl={bundleUrl} />
                <span className="card-name">{style.title}</span>
              </button>
            );
          })}
        </div>
      )}
      {axis && axis.kind !== "style" && (
        <ol className="axis-values" aria-label={t("grid.values")}>
          {axis.values.map((value) => (
            <li key={value}>
              {span && (
                <i
                  aria-hidden="true"
                  style={{ height: `${((value - span.min) / (span.max - span.min || 1)) * 100}%` }}
                />
              )}
              <span>{formatStrength(value)}</span>
            </li>
          ))}
        </ol>
      )}
    </fieldset>
  );
}

const counts = Array.from({ length: mostValues - 1 }, (_, index) => index + 2);
