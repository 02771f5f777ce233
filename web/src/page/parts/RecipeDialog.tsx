import * as Dialog from "@radix-ui/react-dialog";
import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import { nameFor, recipeFor } from "../recipes";
import { saveFile } from "../savefile";
import type { Settings } from "../settings";

/** Saves the mix of styles, and all that is set beside it, as a recipe. */
export function RecipeDialog({
  settings,
  styles,
}: {
  settings: Settings;
  styles: readonly Style[];
}) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const [nameId, descriptionId] = [useId(), useId()];
  const called = name.trim() || nameFor(settings, styles);
  return (
    <Dialog.Root open={open} onOpenChange={setOpen}>
      <Dialog.Trigger asChild>
        <button type="button" className="plain" data-testid="save-recipe">
          {t("recipe.save")}
        </button>
      </Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Overlay className="veil" />
        <Dialog.Content className="dialog" data-testid="recipe-dialog">
          <Dialog.Title className="dialog-title">{t("recipe.title")}</Dialog.Title>
          <Dialog.Description className="hint">{t("recipe.explain")}</Dialog.Description>
          <form
            className="dialog-form"
            onSubmit={(event) => {
              event.preventDefault();
              event.stopPropagation(); // a portal's events go up to the form that it stands in
              const recipe = recipeFor(settings, styles, { name: called, description });
              const text = `${JSON.stringify(recipe, null, 2)}\n`;
              saveFile(new Blob([text], { type: "application/json" }), `${fileStem(called)}.json`);
              setOpen(false);
            }}
          >
            <div className="field">
              <label className="hint" htmlFor={nameId}>
                {t("recipe.name")}
              </label>
              <input
                id={nameId}
                type="text"
                data-testid="recipe-name"
                value={name}
                placeholder={called}
                onChange={({ target }) => setName(target.value)}
              />
            </div>
            <div className="field">
              <label className="hint" htmlFor={descriptionId}>
                {t("recipe.description")}
              </label>
              <input
                id={descriptionId}
                type="text"
                value={description}
                onChange={({ target }) => setDescription(target.value)}
              />
            </div>
            <div className="dialog-actions">
              <Dialog.Close asChild>
                <button type="button" className="quiet">
                  {t("actions.cancel")}
                </button>
              </Dialog.Close>
              <button type="submit" className="primary" data-testid="recipe-download">
                {t("recipe.download")}
              </button>
            </div>
          </form>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** What file systems everywhere take; letters of all scripts stay. */
const fileStem = (name: string) => name.replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, "");
