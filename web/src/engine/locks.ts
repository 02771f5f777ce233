/** Web Locks between the tabs of an origin. Where the browser has none, nobody is waited for. */

import { cancelled } from "./problems";

/** What of LockManager is used here. */
const manager = (): LockManager | undefined => globalThis.navigator?.locks;

/** Whoever transfers or checks a file. */
export const fileLock = (sha256: string) => `brushlet file ${sha256}`;
/** Shared by those who load a bundle; taken alone to remove its files. */
export const bundleLock = (manifestUrl: string) => `brushlet bundle ${manifestUrl}`;

/**
 * Does `work` while nobody else holds the lock.
 *
 * @param onWait called when another tab has it; ends the waiting's signs when the lock is there
 * @throws EngineProblem `cancelled` when the signal aborts the wait
 */
export async function withLock<T>(
  name: string,
  work: () => Promise<T>,
  { signal, onWait }: { signal?: AbortSignal | undefined; onWait?: () => () => void } = {},
): Promise<T> {
  const locks = manager();
  if (!locks) return work();
  const atOnce = await locks.request(name, { ifAvailable: true }, async (lock) =>
    lock ? { value: await work() } : undefined,
  );
  if (atOnce) return atOnce.value;
  const arrived = onWait?.();
  try {
    return await locks.request(name, signal ? { signal } : {}, () => {
      arrived?.();
      return work();
    });
  } catch (thrown) {
    if (signal?.aborted) throw cancelled();
    throw thrown;
  } finally {
    arrived?.();
  }
}

/** Does `work` beside others who share the lock. */
export async function withShared<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = manager();
  return locks ? locks.request(name, { mode: "shared" }, work) : work();
}

/** Does `work` if nobody holds any of the locks. @returns whether */
export async function ifFree(names: string[], work: () => Promise<void>): Promise<boolean> {
  const [name, ...others] = names;
  const locks = manager();
  if (!locks || name === undefined) {
    await work();
    return true;
  }
  return locks.request(name, { ifAvailable: true }, async (lock) =>
    lock ? ifFree(others, work) : false,
  );
}
