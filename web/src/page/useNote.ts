import type { TFunction } from "i18next";
import { useCallback, useState } from "react";

/** A note in any of the page's languages. */
export type Saying = (t: TFunction) => string;

export interface Told {
  note: Saying | undefined;
  /** Puts another note in the place of the last; without one takes that away. */
  tell: (say?: Saying) => void;
  /** Takes this note away, if it is still there. */
  withdraw: (say: Saying) => void;
}

/** What the page says of what has just happened to the controls. It follows a change of language. */
export function useNote(): Told {
  const [kept, keep] = useState<{ say: Saying }>();
  const tell = useCallback((say?: Saying) => keep(say && { say }), []);
  const withdraw = useCallback(
    (say: Saying) => keep((now) => (now?.say === say ? undefined : now)),
    [],
  );
  return { note: kept?.say, tell, withdraw };
}
