import * as Dialog from "@radix-ui/react-dialog";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { CloseIcon } from "./icons";

/** A large dialog over the page. Escape closes it, and the focus goes back to what opened it. */
export function Sheet({
  trigger,
  title,
  hint,
  testId,
  open,
  onOpenChange,
  children,
}: {
  trigger: ReactNode;
  title: string;
  /** What it is for, in a sentence. */
  hint: string;
  testId: string;
  open: boolean;
  onOpenChange: (open: boolean) => void;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Trigger asChild>{trigger}</Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Overlay className="veil" />
        <Dialog.Content
          className="dialog sheet"
          data-testid={testId}
          onEscapeKeyDown={(event) => {
            // It answers a question that is being asked, and no more (ConfirmButton).
            if (document.activeElement?.closest(".confirm")) event.preventDefault();
          }}
          onSubmit={(event) => event.stopPropagation()} // a portal's events go up to the page's form
        >
          <div className="sheet-head">
            <Dialog.Title className="dialog-title">{title}</Dialog.Title>
            <Dialog.Close asChild>
              <button type="button" className="icon-button" aria-label={t("problem.dismiss")}>
                <CloseIcon />
              </button>
            </Dialog.Close>
          </div>
          <Dialog.Description className="hint">{hint}</Dialog.Description>
          {children}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
