import { useCallback, useMemo, useState } from "react";
import type { Manifest } from "../bundle/manifest.gen";
import { firstSettings, type Settings } from "./settings";

export type ChangeSettings = (edit: (settings: Settings) => Settings) => void;

/** The artist's settings; undefined until the manifest says what there is to choose. */
export function useSettings(
  manifest: Manifest | undefined,
): [Settings | undefined, ChangeSettings] {
  const initial = useMemo(() => manifest && firstSettings(manifest), [manifest]);
  const [chosen, setChosen] = useState<Settings>();
  const change = useCallback<ChangeSettings>(
    (edit) =>
      setChosen((before) => {
        const settings = before ?? initial;
        return settings && edit(settings);
      }),
    [initial],
  );
  return [chosen ?? initial, change];
}
