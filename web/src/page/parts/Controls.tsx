import { useCallback, useMemo } from "react";
import type { Manifest, Style } from "../../bundle/manifest.gen";
import type { Contribution } from "../../worker/protocol";
import { formatStrength } from "../format";
import type { Settings } from "../settings";
import { ideasOf } from "../templates";
import type { OpenFiles } from "../useFiles";
import type { Grid } from "../useGrid";
import type { LocalStyles } from "../useLocalStyles";
import type { Saying } from "../useNote";
import type { Painter } from "../usePainter";
import type { ChangeSettings } from "../useSettings";
import { Actions } from "./Actions";
import { GridDialog } from "./GridDialog";
import { Note } from "./Note";
import { PromptFields } from "./PromptFields";
import { SettingsRow } from "./SettingsRow";
import { SourceField } from "./SourceField";
import { StylePicker } from "./StylePicker";

/** Everything that is put together for a model that is known. */
export function Controls(props: {
  manifest: Manifest;
  bundleUrl: string;
  settings: Settings;
  change: ChangeSettings;
  ready: boolean;
  painter: Painter;
  generate: () => void;
  live: boolean;
  setLive: (live: boolean) => void;
  count: number;
  setCount: (count: number) => void;
  grid: Grid;
  shares: readonly Contribution[];
  local: LocalStyles;
  /** Takes files as if they were dropped on the page. */
  open: OpenFiles;
  note: Saying | undefined;
  tell: (say?: Saying) => void;
}) {
  const { manifest, settings, change, ready, tell } = props;
  const styles = manifest.styles ?? [];
  const ideas = useMemo(() => ideasOf(manifest.styles ?? [], manifest.hints), [manifest]);
  const onTags = useCallback(
    (moved: readonly Style[], after: Settings) => {
      const said = moved.map(
        ({ name, title }) => `${title} ${formatStrength(after.styles[name]?.strength ?? 0)}`,
      );
      tell((t) => t("styles.tagged", { styles: said.join(", ") }));
    },
    [tell],
  );
  return (
    <form
      className="stack"
      noValidate // NumberField keeps its own rules: a guidance of 4.3 is no mistake
      onSubmit={(event) => {
        event.preventDefault();
        props.generate();
      }}
    >
      <PromptFields
        settings={settings}
        styles={styles}
        ideas={ideas}
        change={change}
        onTags={onTags}
      />
      <StylePicker
        settings={settings}
        styles={styles}
        bundleUrl={props.bundleUrl}
        change={change}
        ready={ready}
        shares={props.shares}
        local={props.local}
        open={props.open}
        more={
          <GridDialog
            grid={props.grid}
            settings={settings}
            manifest={manifest}
            bundleUrl={props.bundleUrl}
            ready={ready}
          />
        }
      />
      <SourceField settings={settings} change={change} />
      <SettingsRow manifest={manifest} settings={settings} change={change} />
      <Note say={props.note} dismiss={() => tell()} />
      <Actions
        ready={ready}
        painter={props.painter}
        live={props.live}
        setLive={props.setLive}
        count={props.count}
        setCount={props.setCount}
      />
    </form>
  );
}
