import type { Manifest } from "../../bundle/manifest.gen";
import type { Settings } from "../settings";
import type { Painter } from "../usePainter";
import type { ChangeSettings } from "../useSettings";
import { Actions } from "./Actions";
import { PromptFields } from "./PromptFields";
import { SettingsRow } from "./SettingsRow";
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
}) {
  const { manifest, settings, change } = props;
  const styles = manifest.styles ?? [];
  return (
    <form
      className="stack"
      noValidate // NumberField keeps its own rules: a guidance of 4.3 is no mistake
      onSubmit={(event) => {
        event.preventDefault();
        props.generate();
      }}
    >
      <PromptFields settings={settings} styles={styles} change={change} />
      <StylePicker
        settings={settings}
        styles={styles}
        bundleUrl={props.bundleUrl}
        change={change}
      />
      <SettingsRow manifest={manifest} settings={settings} change={change} />
      <Actions
        ready={props.ready}
        painter={props.painter}
        live={props.live}
        setLive={props.setLive}
      />
    </form>
  );
}
