/** The files of one bundle: what is fetched, what is kept, and the bytes counted on the way. */

import type { FileRef } from "../bundle/manifest.gen";
import type { LoadProgress } from "../worker/protocol";
import { fetchFile } from "./fetching";

export interface DownloadHooks {
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
}

/** A piece of work that may fetch files: what counts their bytes, and what ends it. */
export interface Work {
  tally: Tally;
  signal: AbortSignal | undefined;
}

export function startWork({ onProgress, signal }: DownloadHooks): Work {
  return { tally: new Tally(onProgress), signal };
}

type Stage = LoadProgress["stage"];

/** Counts the bytes of one piece of work over all its files. */
export class Tally {
  private totalBytes = 0;
  private finishedBytes = 0;
  private readonly planned = new Set<string>();

  constructor(private readonly onProgress: DownloadHooks["onProgress"] | undefined) {}

  /** Adds files to what is to come, each once. */
  plan(files: readonly FileRef[]): void {
    for (const { url, bytes } of files) {
      if (!this.planned.has(url)) this.totalBytes += bytes;
      this.planned.add(url);
    }
  }

  report(stage: Stage, file: string, bytesOfFile = 0): void {
    const loadedBytes = this.finishedBytes + bytesOfFile;
    this.onProgress?.({ stage, file, loadedBytes, totalBytes: this.totalBytes });
  }

  finish({ bytes }: FileRef): void {
    this.finishedBytes += bytes;
  }
}

/** Files that were fetched and checked, kept in memory by name. */
export class Files {
  private readonly kept = new Map<string, Uint8Array>();

  /** @param base URL of manifest.json */
  constructor(readonly base: string) {}

  missing(files: readonly FileRef[]): FileRef[] {
    return files.filter(({ url }) => !this.kept.has(url));
  }

  /**
   * A file from memory, or fetched, counted and kept.
   *
   * @throws EngineProblem as `fetchFile`
   */
  async get(file: FileRef, stage: Stage, { tally, signal }: Work): Promise<Uint8Array> {
    const kept = this.kept.get(file.url);
    if (kept) return kept;
    tally.plan([file]);
    const onBytes = (bytes: number) => tally.report(stage, file.url, bytes);
    const bytes = await fetchFile(this.base, file, { onBytes, signal });
    tally.finish(file);
    this.kept.set(file.url, bytes);
    return bytes;
  }

  /** Frees a file's memory; asking for it again takes it from the browser's cache. */
  drop({ url }: FileRef): void {
    this.kept.delete(url);
  }
}
