/** The page's order, painted by the engine. */

import type { GenerateRequest, PaintEngine } from "../library/paintengine";
import type { Phase } from "../library/painting";
import type { Notice, ProviderReport } from "../worker/protocol";
import type { Order } from "./order";

export type { Phase } from "../library/painting";

export interface Painted {
  png: Blob;
  milliseconds: number;
  /** What computed it; undefined when the server did. */
  provider: ProviderReport | undefined;
  /** Providers that failed on the way. */
  notices: readonly Notice[];
}

/** Paints `order`. @throws EngineProblem as `PaintEngine.generate` */
export async function draw(
  order: Order,
  engine: PaintEngine,
  onPhase: (phase: Phase) => void,
  signal: AbortSignal,
): Promise<Painted> {
  let painted: Painted | undefined;
  const keep = (picture: Painted) => {
    painted = picture;
  };
  await drawAll(order, 1, engine, onPhase, keep, signal);
  if (!painted) throw new Error("The engine gave no picture for one.");
  return painted;
}

/**
 * Paints `count` pictures of `order`, picture i with seed + i.
 *
 * @param onPainted each as soon as it is there, in order
 * @throws EngineProblem as `PaintEngine.generate`
 */
export async function drawAll(
  order: Order,
  count: number,
  engine: PaintEngine,
  onPhase: (phase: Phase) => void,
  onPainted: (painted: Painted, index: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let told = Promise.resolve();
  await engine.generate({
    ...requestFor(order),
    count,
    onPhase,
    signal,
    onPicture(picture, index) {
      const { milliseconds, provider, notices } = picture;
      const png = picture.toBlob();
      told = told.then(async () => {
        const painted = { png: await png, milliseconds, provider, notices };
        if (!signal.aborted) onPainted(painted, index);
      });
    },
  });
  await told;
}

/** What the engine is asked for an order. */
export function requestFor({ styles, textStyles, ...rest }: Order): GenerateRequest {
  const te = new Map(textStyles.map((style) => [style.name, style.te]));
  return { ...rest, styles: styles.map((style) => ({ ...style, te: te.get(style.name) ?? 0 })) };
}
