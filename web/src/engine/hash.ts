import { createSHA256 } from "hash-wasm";

/**
 * A SHA-256 that takes its input in pieces, which Web Crypto's does not, and that works on pages
 * without a secure context, where Web Crypto is absent.
 */
export async function sha256(): Promise<{ update(piece: Uint8Array): void; hex(): string }> {
  const hasher = await createSHA256();
  hasher.init();
  return {
    update: (piece) => void hasher.update(piece),
    hex: () => hasher.digest("hex"),
  };
}
