/**
 * Where the files of bundles lie between visits. Files are known by their SHA-256, so that bundles of
 * one origin share what they have in common; a record for each bundle says which files are its own.
 */

import type { StorageReport } from "../worker/protocol";
import type { BundleRecord } from "./records";

/** A file's bytes: on disk, or in memory. */
export type Content = Blob | Uint8Array<ArrayBuffer>;

export interface Kept {
  bytes: number;
  /** Not so: the transfer was interrupted. */
  whole: boolean;
}

/** A file while it is transferred. One at a time may be open for a hash. */
export interface PartialFile {
  /** How much is kept. */
  readonly bytes: number;
  /** ETag or Last-Modified of the answer that it came from. */
  readonly validator: string | undefined;
  /** What is kept, from the first byte on; before the next `write`. */
  content(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Forgets what is kept, because another answer begins. */
  restart(validator?: string): Promise<void>;
  /** Appends. @throws DOMException `QuotaExceededError` where there is no room */
  write(piece: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Keeps what is there for later; `whole`: nothing is missing. */
  close(whole: boolean): Promise<void>;
}

/** A file that is open for reading, without waiting. */
export interface ReadHandle {
  read(into: Uint8Array, options: { at: number }): number;
  close(): undefined | Promise<void>;
}

export interface Store {
  readonly kind: StorageReport["kind"];
  stat(sha256: string): Promise<Kept | undefined>;
  /** A whole file. */
  read(sha256: string): Promise<Content | undefined>;
  /** A whole file opened, where the store can; undefined when another tab has it alone. */
  handle?(sha256: string): Promise<ReadHandle | undefined>;
  /** Goes on with a file, or begins it. */
  open(sha256: string, bytes: number): Promise<PartialFile>;
  remove(sha256: string): Promise<void>;
  /** Hashes of all files, whole or not. */
  list(): Promise<string[]>;
  records(): Promise<BundleRecord[]>;
  writeRecord(record: BundleRecord): Promise<void>;
  removeRecord(manifestUrl: string): Promise<void>;
  /** Everything. */
  clear(): Promise<void>;
}
