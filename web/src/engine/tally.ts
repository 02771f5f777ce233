/** Counts the bytes of one piece of work over all its files, and tells who waits for it. */

import type { FileRef } from "../bundle/manifest.gen";
import type { LoadProgress } from "../worker/protocol";
import { PaceMeter } from "./pace";

type Stage = LoadProgress["stage"];

/** One file's part: what of it is here, and what of that was here before. */
interface Share {
  loaded: number;
  stored: number;
}

export class Tally {
  /** Where files are kept; told with everything once it is known. */
  storage: LoadProgress["storage"];
  private totalBytes = 0;
  private readonly shares = new Map<string, Share>();
  private readonly pace = new PaceMeter();

  constructor(private readonly onProgress: ((progress: LoadProgress) => void) | undefined) {}

  /** Whether a file is among what is to come. */
  knows({ sha256 }: FileRef): boolean {
    return this.shares.has(sha256);
  }

  /** Adds a file to what is to come, once; `stored` bytes of it are here already. */
  plan({ sha256, bytes }: FileRef, stored: number): void {
    if (this.shares.has(sha256)) return;
    this.totalBytes += bytes;
    this.shares.set(sha256, { loaded: stored, stored });
  }

  report(stage: Stage, file: string, waiting?: LoadProgress["waiting"]): void {
    const { storage, totalBytes } = this;
    const loadedBytes = this.sum("loaded");
    const storedBytes = this.sum("stored");
    const { rate, left } = this.pace.measure(
      loadedBytes - storedBytes,
      totalBytes - storedBytes,
      performance.now(),
    );
    this.onProgress?.({
      stage,
      file,
      loadedBytes,
      totalBytes,
      storedBytes,
      ...(waiting ? { waiting } : rate && { bytesPerSecond: rate }),
      ...(!waiting && left !== undefined && { secondsLeft: left }),
      ...(storage && { storage }),
    });
  }

  /** What of a file is here; `stored`: it did not come over this tab's network. */
  count({ sha256 }: FileRef, loaded: number, stored = false): void {
    const share = this.shares.get(sha256) ?? { loaded: 0, stored: 0 };
    // A file that begins anew keeps nothing of what was stored.
    const kept = stored ? loaded : Math.min(share.stored, loaded);
    this.shares.set(sha256, { loaded, stored: kept });
  }

  private sum(part: keyof Share): number {
    let sum = 0;
    for (const share of this.shares.values()) sum += share[part];
    return sum;
  }
}
