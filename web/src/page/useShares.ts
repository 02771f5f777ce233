import { useEffect, useState } from "react";
import type { CallRequest, Contribution } from "../worker/protocol";
import type { Engine } from "./useEngine";

/** A slider that still moves is not measured. */
const restMs = 120;

type Choices = CallRequest<"contributions">;

const none: readonly Contribution[] = [];

/** How much each style changes the model, measured in the worker; empty for one, which has it all. */
export function useShares(ready: Engine["ready"], choices: Choices): readonly Contribution[] {
  const [shares, setShares] = useState(none);
  const mixed = choices.filter(({ strength, te }) => strength !== 0 || te);
  const asked = mixed.length > 1 ? JSON.stringify(mixed) : undefined;
  useEffect(() => {
    if (!ready || !asked) {
      setShares(none);
      return;
    }
    const controller = new AbortController();
    const { signal } = controller;
    const timer = setTimeout(async () => {
      const choices = JSON.parse(asked) as Choices;
      const outcome = await ready.worker.call("contributions", choices, { signal });
      // What goes wrong here comes up again, with its message, when these styles are painted with.
      if (!signal.aborted) setShares(outcome.ok ? outcome.value : none);
    }, restMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [ready, asked]);
  return shares;
}
