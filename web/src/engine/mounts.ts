/**
 * Shards that onnxruntime-web reads from disk, tensor by tensor, while it creates a session.
 *
 * Release 1.30 (pinned) takes external data as a Uint8Array, keeps it by name until the session is
 * there, and copies each tensor out of `subarray(begin, end)` into the WASM heap or onto the GPU
 * (`mountExternalData` and `LoadWebAssemblyExternalData`; it looks at nothing but `byteLength` and
 * `subarray`). So a Uint8Array that reads in `subarray` keeps all but the tensor in hand out of memory,
 * where a given Blob would be read whole, for each session again.
 */

import type { Content, ReadHandle } from "./store";

/** FileReaderSync: the worker library has it, which clashes with the page's. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** Bytes `begin` to `end` of a file, good until the next read. */
type Read = (begin: number, end: number) => Uint8Array<ArrayBuffer>;

/** A file's bytes, read when they are asked for. Of Uint8Array it has `byteLength` and `subarray` only. */
class MountedFile extends Uint8Array<ArrayBuffer> {
  /** Why the browser could not read it any more. */
  failure: unknown;

  constructor(
    private readonly size: number,
    private readonly read: Read,
  ) {
    super(new ArrayBuffer(0));
    Object.defineProperty(this, "byteLength", { value: size });
  }

  override subarray(begin = 0, end = this.size): Uint8Array<ArrayBuffer> {
    try {
      return this.read(begin, end);
    } catch (thrown) {
      this.failure = thrown;
      throw thrown; // onnxruntime-web ends the session's creation
    }
  }
}

/** The files that a session is created from: open until then. */
export class Mounts {
  private readonly handles: ReadHandle[] = [];
  /** Holds the tensor in hand. One for all, because the browser collects such buffers too late. */
  private tensor = new Uint8Array(0);

  /**
   * The content as onnxruntime-web takes it, without reading it where the browser allows.
   *
   * @param handle of the same content; it is closed with the mounts
   */
  async add(content: Content, handle: ReadHandle | undefined): Promise<Uint8Array<ArrayBuffer>> {
    if (content instanceof Uint8Array) return content;
    if (handle) {
      this.handles.push(handle);
      return new MountedFile(content.size, (begin, end) => this.readHandle(handle, begin, end));
    }
    if (!("FileReaderSync" in globalThis)) return new Uint8Array(await content.arrayBuffer());
    const reader = new FileReaderSync();
    return new MountedFile(
      content.size,
      (begin, end) => new Uint8Array(reader.readAsArrayBuffer(content.slice(begin, end))),
    );
  }

  close(): void {
    for (const handle of this.handles.splice(0)) void handle.close();
    this.tensor = new Uint8Array(0);
  }

  private readHandle(handle: ReadHandle, begin: number, end: number): Uint8Array<ArrayBuffer> {
    const bytes = end - begin;
    if (this.tensor.length < bytes) this.tensor = new Uint8Array(bytes);
    const into = this.tensor.subarray(0, bytes);
    for (let at = 0; at < bytes; ) {
      const read = handle.read(into.subarray(at), { at: begin + at });
      if (read === 0) throw new Error("the stored file is shorter than it was");
      at += read;
    }
    return into;
  }
}

/** Whether a session failed because of this file, which has been removed or cannot be read. */
export function isLost(file: Uint8Array): boolean {
  return file instanceof MountedFile && file.failure !== undefined;
}
