import { type KeyboardEvent, useId, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Services } from "../services";
import type { Engine } from "../useEngine";
import type { Gallery } from "../useGallery";
import type { LocalStyles } from "../useLocalStyles";
import { useMeasuring } from "../useMeasuring";
import { DevicePanel } from "./DevicePanel";
import { HeaderButton } from "./HeaderButton";
import { DeviceIcon } from "./icons";
import { Sheet } from "./Sheet";
import { StoragePanel } from "./StoragePanel";

const tabs = ["speed", "storage"] as const;
type Tab = (typeof tabs)[number];

/** What there is to know of this device: how well it paints, and what it keeps. */
export function DeviceDialog({
  services,
  engine,
  local,
  gallery,
}: {
  services: Services;
  engine: Engine;
  local: LocalStyles;
  gallery: Gallery;
}) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [tab, setTab] = useState<Tab>("speed");
  const measuring = useMeasuring(services, engine);
  const id = useId();
  const onKey = (event: KeyboardEvent<HTMLButtonElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length] as Tab;
    setTab(next);
    document.getElementById(`${id}${next}`)?.focus();
  };
  return (
    <Sheet
      testId="device-dialog"
      title={t("device.title")}
      hint={t("device.hint")}
      open={open}
      onOpenChange={setOpen}
      trigger={
        <HeaderButton
          icon={<DeviceIcon />}
          label={t("device.title")}
          testId="device"
          title={t("device.hint")}
        />
      }
    >
      <div className="tabs" role="tablist" aria-label={t("device.title")}>
        {tabs.map((name) => (
          <button
            key={name}
            id={`${id}${name}`}
            type="button"
            role="tab"
            className="tab"
            data-testid={`tab-${name}`}
            aria-selected={tab === name}
            aria-controls={`${id}panel`}
            tabIndex={tab === name ? 0 : -1}
            onClick={() => setTab(name)}
            onKeyDown={onKey}
          >
            {t(`device.tabs.${name}`)}
          </button>
        ))}
      </div>
      <div id={`${id}panel`} role="tabpanel" aria-labelledby={`${id}${tab}`}>
        {tab === "speed" ? (
          <DevicePanel measuring={measuring} ready={engine.ready !== undefined} />
        ) : (
          <StoragePanel local={local} gallery={gallery} baseHash={engine.manifest?.base_hash} />
        )}
      </div>
    </Sheet>
  );
}
