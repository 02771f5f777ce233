import * as Slider from "@radix-ui/react-slider";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { formatStrength } from "../format";
import type { Settings } from "../settings";
import type { SourcePicture } from "../source";
import type { OpenFiles } from "../useFiles";
import type { ChangeSettings } from "../useSettings";
import { FileButton } from "./FileButton";
import { CloseIcon, PictureIcon } from "./icons";

/** Lets a picture be chosen to begin from. */
export function SourceButton({ open }: { open: OpenFiles }) {
  const { t } = useTranslation();
  return (
    <FileButton
      accept="image/*"
      testId="source"
      className="plain with-icon"
      onFiles={(files) => open(files, "source")}
    >
      <PictureIcon />
      {t("source.choose")}
    </FileButton>
  );
}

/** The picture that the next one begins from, and how far to leave it; nothing where it is noise. */
export function SourceField({ settings, change }: { settings: Settings; change: ChangeSettings }) {
  const { t } = useTranslation();
  const { image, imageStrength } = settings;
  if (!image) return null;
  const leave = () => change(({ image: _, ...now }) => now);
  return (
    <fieldset className="source" data-testid="source-picture">
      <legend className="unseen">{t("source.title")}</legend>
      <Thumb image={image} />
      <div className="source-strength">
        <span className="source-name" title={image.name}>
          {t("source.from", { name: image.name })}
        </span>
        <Slider.Root
          className="slider"
          value={[imageStrength]}
          min={0.05}
          max={1}
          step={0.05}
          onValueChange={([value]) =>
            value !== undefined && change((now) => ({ ...now, imageStrength: value }))
          }
        >
          <Slider.Track className="slider-track">
            <Slider.Range className="slider-range" />
          </Slider.Track>
          <Slider.Thumb
            className="slider-thumb"
            data-testid="source-strength"
            aria-label={t("source.strength")}
            aria-valuetext={formatStrength(imageStrength)}
          />
        </Slider.Root>
        <span className="slider-ends hint" aria-hidden="true">
          <span>{t("source.near")}</span>
          <span>{t("source.far")}</span>
        </span>
      </div>
      <button
        type="button"
        className="icon-button"
        data-testid="source-remove"
        aria-label={t("source.remove")}
        title={t("source.remove")}
        onClick={leave}
      >
        <CloseIcon />
      </button>
    </fieldset>
  );
}

function Thumb({ image }: { image: SourcePicture }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(image.blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [image]);
  return url ? <img className="source-thumb" src={url} alt="" /> : null;
}
