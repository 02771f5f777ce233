/** The picture that image-to-image begins from. It stays on this device, and out of addresses. */

import { sha256 } from "../engine/hash";

export interface SourcePicture {
  /** SHA-256 of its bytes: what tells it from others where blobs cannot be compared. */
  id: string;
  /** The file's. */
  name: string;
  blob: Blob;
}

/** @throws Error where the browser cannot read `file` as a picture */
export async function sourcePicture(file: File): Promise<SourcePicture> {
  const bitmap = await createImageBitmap(file);
  bitmap.close();
  const digest = await sha256();
  digest.update(new Uint8Array(await file.arrayBuffer()));
  return { id: digest.hex(), name: file.name, blob: file };
}
