/** Starts WebAssembly ahead of a bundle: its code is compiled while files are still on their way. */

import type { WarmUpRequest } from "../worker/protocol";
import { type Device, firstOnWasm, probeDevice } from "./providers";
import { startWasm } from "./runtimes";

/** What the device offers, as soon as that is known; WebAssembly goes on starting, where it will be used. */
export async function warmUp({ runtimeUrl, providers }: WarmUpRequest): Promise<Device> {
  const device = await probeDevice();
  const threads = firstOnWasm(device, providers);
  // What fails here fails again, and is told, with the first session.
  if (threads) void startWasm(threads, runtimeUrl).catch(() => {});
  return device;
}
