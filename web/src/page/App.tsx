import { useCallback, useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { orderFor } from "./order";
import { Announcer } from "./parts/Announcer";
import { Controls } from "./parts/Controls";
import { Header } from "./parts/Header";
import { Stage } from "./parts/Stage";
import type { Services } from "./services";
import { styleChoices } from "./settings";
import { useEngine, usePrefetch } from "./useEngine";
import { useLive } from "./useLive";
import { usePainter } from "./usePainter";
import { useSettings } from "./useSettings";

const noStyles: never[] = [];

/** The page: controls at the left, the picture at the right. */
export function App({ services }: { services: Services }) {
  const { t } = useTranslation();
  const engine = useEngine(services);
  const painter = usePainter(services, engine);
  const [settings, change] = useSettings(engine.manifest);
  const [live, setLive] = useState(false);

  const styles = engine.manifest?.styles ?? noStyles;
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

  const generate = useCallback(() => {
    if (ready && settings) start(orderFor(settings, styles), settings);
  }, [ready, settings, styles, start]);

  useLive(live && ready, settings && JSON.stringify(choices), generate);

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
      <Header />
      <main className="studio">
        <section className="controls">
          {engine.manifest && settings && (
            <Controls
              manifest={engine.manifest}
              bundleUrl={services.bundleUrl}
              settings={settings}
              change={change}
              ready={ready}
              painter={painter}
              generate={generate}
              live={live}
              setLive={setLive}
            />
          )}
        </section>
        <Stage
          engine={engine}
          painter={painter}
          settings={settings}
          change={change}
          generate={generate}
        />
      </main>
      <Announcer ready={ready} painter={painter} />
    </>
  );
}
