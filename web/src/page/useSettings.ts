import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Manifest } from "../bundle/manifest.gen";
import { type Address, addressFor, type Linked, settingsIn } from "./address";
import type { Missed } from "./missed";
import { type Settings, settingsFor } from "./settings";

export type ChangeSettings = (edit: (settings: Settings) => Settings) => void;

/** Browsers refuse an address that is replaced more than some hundred times in half a minute. */
const restMs = 400;

/**
 * The artist's settings; undefined until the manifest says what there is to choose. They outlive a
 * manifest, and are fitted to the next one. The first are those of the address, where it has any;
 * later ones are written into it.
 */
export function useSettings(
  manifest: Manifest | undefined,
  address?: Address,
): { settings: Settings | undefined; change: ChangeSettings; missed: Missed | undefined } {
  const [chosen, setChosen] = useState<Settings>();
  const [hash, setHash] = useState(() => address?.read() ?? "");
  const last = useRef(hash);
  const linked = useMemo<Linked | undefined>(
    () => manifest && settingsIn(hash, manifest),
    [manifest, hash],
  );
  const settings = useMemo(
    () => manifest && settingsFor(manifest, chosen ?? linked?.settings),
    [manifest, chosen, linked],
  );
  const change = useCallback<ChangeSettings>(
    (edit) =>
      setChosen((before) =>
        manifest ? edit(settingsFor(manifest, before ?? linked?.settings)) : before,
      ),
    [manifest, linked],
  );

  // Somebody pastes another link into the tab.
  useEffect(
    () =>
      address?.watch(() => {
        const next = address.read();
        if (next && !next.includes("=")) {
          address.replace(last.current); // a place on the page, such as the skip link's
          return;
        }
        last.current = next;
        setHash(next);
        setChosen(undefined);
      }),
    [address],
  );
  useEffect(() => {
    if (!address || !manifest || !chosen) return;
    const timer = setTimeout(() => {
      last.current = addressFor(chosen, manifest);
      address.replace(last.current);
    }, restMs);
    return () => clearTimeout(timer);
  }, [address, manifest, chosen]);

  return { settings, change, missed: linked?.missed };
}
