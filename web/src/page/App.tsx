import { useCallback, useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Address } from "./address";
import { missesAny, sayMissed } from "./missed";
import { orderFor } from "./order";
import { Announcer } from "./parts/Announcer";
import { Controls } from "./parts/Controls";
import { DeviceDialog } from "./parts/DeviceDialog";
import { DropZone } from "./parts/DropZone";
import { GalleryDialog } from "./parts/GalleryDialog";
import { Header } from "./parts/Header";
import { Stage } from "./parts/Stage";
import { UpdateNotice } from "./parts/UpdateNotice";
import type { Services } from "./services";
import { chooseOnly, styleChoices, textStyles } from "./settings";
import { useCompare } from "./useCompare";
import { useEngine, usePrefetch, useReadAhead } from "./useEngine";
import { useFiles } from "./useFiles";
import { useGallery } from "./useGallery";
import { useGrid } from "./useGrid";
import { useLive } from "./useLive";
import { useLocalStyles } from "./useLocalStyles";
import { type Saying, useNote } from "./useNote";
import { useOffline } from "./useOffline";
import { usePainter } from "./usePainter";
import { useSettings } from "./useSettings";
import { useShares } from "./useShares";
import { useWall } from "./useWall";

const noStyles: never[] = [];

/**
 * The page: controls at the left, the picture at the right. `address` is where settings are read from
 * and written to; without it the page keeps them to itself.
 */
export function App({ services, address }: { services: Services; address?: Address }) {
  const { t } = useTranslation();
  const engine = useEngine(services);
  const gallery = useGallery();
  const wall = useWall(gallery);
  const painter = usePainter(engine, wall);
  const update = useOffline(engine);
  const compare = useCompare(engine, painter);
  const local = useLocalStyles(engine);
  const { manifest } = local;
  const { settings, change, missed } = useSettings(manifest, address);
  const [live, setLive] = useState(false);
  const [count, setCount] = useState(1);
  const { note, tell, withdraw } = useNote();
  /** A style that has just been added, to be chosen as soon as the settings know it. */
  const [added, choose] = useState<string>();

  const styles = manifest?.styles ?? noStyles;
  const ready = engine.ready !== undefined;
  const { start } = painter;

  const choices = useMemo(
    () => (settings ? styleChoices(settings, styles) : noStyles),
    [settings, styles],
  );
  usePrefetch(
    engine.ready,
    choices.map(({ name }) => name),
  );
  useReadAhead(engine, settings && orderFor(settings, styles));
  const mix = choices.map((choice) => {
    const te = settings?.styles[choice.name]?.te;
    return te === undefined ? choice : { ...choice, te };
  });
  const shares = useShares(engine.ready, mix);
  const grid = useGrid(engine, settings, styles, wall);
  const open = useFiles({ manifest, ready, settings, change, local, choose, tell });

  useEffect(() => {
    if (!added || !settings?.styles[added]) return;
    choose(undefined);
    change((now) => chooseOnly(now, styles, added));
  }, [added, settings, styles, change]);

  const lacking = local.listed && missed && missesAny(missed) ? JSON.stringify(missed) : "";
  useEffect(() => {
    if (!lacking) return;
    const say: Saying = (t) => sayMissed(JSON.parse(lacking), t);
    tell(say);
    return () => withdraw(say);
  }, [lacking, tell, withdraw]);

  const generate = useCallback(() => {
    if (ready && settings) start(orderFor(settings, styles), settings, { count });
  }, [ready, settings, styles, start, count]);
  const generateLive = useCallback(() => {
    if (ready && settings) start(orderFor(settings, styles), settings, { live: true });
  }, [ready, settings, styles, start]);

  const watched = settings && JSON.stringify([choices, textStyles(settings, styles)]);
  useLive(live && ready, watched, generateLive);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        generate();
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [generate]);

  useEffect(() => {
    document.title = `${t("app.title")} · ${t("app.tagline")}`;
  }, [t]);

  return (
    <>
      <a className="skip" href="#picture">
        {t("app.skip")}
      </a>
      <Header>
        <GalleryDialog gallery={gallery} bring={wall.bring} manifest={manifest} />
        <DeviceDialog services={services} engine={engine} local={local} gallery={gallery} />
      </Header>
      <main className="studio">
        <section className="controls">
          {manifest && settings && (
            <Controls
              manifest={manifest}
              bundleUrl={services.bundleUrl}
              settings={settings}
              change={change}
              ready={ready}
              painter={painter}
              generate={generate}
              live={live}
              setLive={setLive}
              count={count}
              setCount={setCount}
              grid={grid}
              shares={shares}
              local={local}
              open={open}
              note={note}
              tell={tell}
            />
          )}
        </section>
        <Stage
          engine={manifest ? { ...engine, manifest } : engine}
          painter={painter}
          compare={compare}
          settings={settings}
          change={change}
          generate={generate}
          gallery={gallery}
        />
      </main>
      <UpdateNotice update={update} />
      <DropZone open={open} />
      <Announcer ready={ready} painter={painter} />
    </>
  );
}
