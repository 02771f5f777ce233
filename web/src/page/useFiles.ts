/** Files that come to the page, by drop or by button, and what becomes of them. */

import { useCallback } from "react";
import type { Manifest } from "../bundle/manifest.gen";
import { keyword, longestInfotext, parseInfotext } from "./infotext";
import { sayMissed } from "./missed";
import { openInfotext } from "./openinfotext";
import { isPng, readText } from "./png";
import { openRecipe } from "./recipes";
import type { Settings } from "./settings";
import { sourcePicture } from "./source";
import type { LocalStyles } from "./useLocalStyles";
import type { Saying } from "./useNote";
import type { ChangeSettings } from "./useSettings";

/** Bytes; a larger JSON is no recipe. */
const longestRecipe = 1 << 20;

const suffix = ".safetensors";
const isLora = ({ name }: File) => name.toLowerCase().endsWith(suffix);
const stemOf = (name: string) => name.slice(0, -suffix.length);
const messageIn = (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown));

/** Whether `file` was dropped to describe `lora`: its sidecar, its picture, or PEFT's config. */
const belongs = (file: File, lora: File) =>
  file.name.startsWith(`${stemOf(lora.name)}.`) || file.name === "adapter_config.json";

interface Studio {
  manifest: Manifest | undefined;
  /** Whether the worker is there, which reads LoRA files. */
  ready: boolean;
  settings: Settings | undefined;
  change: ChangeSettings;
  local: LocalStyles;
  /** Turns a style on as soon as the settings know it. */
  choose: (style: string) => void;
  /** Is given what is worth knowing. */
  tell: (say?: Saying) => void;
}

/** Takes files; `source` leaves a picture's settings alone, and begins from it. */
export type OpenFiles = (files: readonly File[], as?: "source") => void;

/**
 * A LoRA becomes a style that is on, a recipe the settings; so does a picture that has its settings
 * in it. Any other picture is what the next one begins from.
 */
export function useFiles(studio: Studio): OpenFiles {
  const { manifest, ready, settings, change, local, choose, tell } = studio;
  const { add, dismiss } = local;

  const openLora = useCallback(
    async (file: File, beside: readonly File[]) => {
      if (!ready) return tell((t) => t("drop.early"));
      const style = await add(file, beside);
      if (!style) return;
      choose(style.name);
      if (style.kept === "bundle") tell((t) => t("styles.known", { title: style.title }));
      else if (style.notes.length) {
        tell((t) =>
          style.notes.map(({ code }) => t(`styles.notes.${code}`)).join(t("missed.between")),
        );
      }
    },
    [ready, add, choose, tell],
  );

  const openJson = useCallback(
    async (file: File) => {
      if (!manifest || !settings) return;
      const refuse = (reason: Saying) =>
        tell((t) => t("recipe.broken", { file: file.name, reason: reason(t) }));
      if (file.size > longestRecipe) return refuse((t) => t("recipe.long"));
      try {
        const text = await file.text();
        const { name, missed } = openRecipe(text, manifest, settings);
        change((now) => openRecipe(text, manifest, now).settings);
        tell((t) => sayMissed(missed, t, t("recipe.opened", { name })));
      } catch (thrown) {
        refuse(() => messageIn(thrown));
      }
    },
    [manifest, settings, change, tell],
  );

  /** Whether the picture had settings in it, sound or not. */
  const openSettings = useCallback(
    async (file: File): Promise<boolean> => {
      if (!manifest) return false;
      const refuse = (reason: Saying) =>
        tell((t) => t("infotext.broken", { file: file.name, reason: reason(t) }));
      try {
        const bytes = new Uint8Array(await file.arrayBuffer());
        const text = isPng(bytes) ? await readText(bytes, keyword) : undefined;
        if (!text?.trim()) return false;
        if (text.length > longestInfotext) {
          refuse((t) => t("infotext.long"));
          return true;
        }
        const { settings, missed } = openInfotext(parseInfotext(text), manifest);
        change(() => settings);
        tell((t) => sayMissed(missed, t, t("infotext.opened", { file: file.name })));
      } catch (thrown) {
        refuse(() => messageIn(thrown));
      }
      return true;
    },
    [manifest, change, tell],
  );

  const openPicture = useCallback(
    async (file: File) => {
      try {
        const image = await sourcePicture(file);
        change((now) => ({ ...now, image }));
      } catch {
        tell((t) => t("source.broken", { file: file.name }));
      }
    },
    [change, tell],
  );

  return useCallback(
    async (files, as) => {
      tell(); // what was said of files before
      dismiss();
      const loras = files.filter(isLora);
      for (const lora of loras)
        await openLora(
          lora,
          files.filter((file) => belongs(file, lora) && file !== lora),
        );
      for (const file of files) {
        if (loras.some((lora) => belongs(file, lora))) continue;
        if (file.name.toLowerCase().endsWith(".json")) await openJson(file);
        else if (file.type.startsWith("image/")) {
          if (as === "source" || !(await openSettings(file))) await openPicture(file);
        } else tell((t) => t("drop.strange", { file: file.name }));
      }
    },
    [openLora, openJson, openSettings, openPicture, dismiss, tell],
  );
}
