/**
 * The denoising worker with its GPU watched: it logs what is read, created and written, in order with
 * the steps it reports, and takes the GPU away when it is told to.
 */

import "../../src/worker/worker"; // listens at once; looks postMessage and the GPU up when it needs them
import type { Reply } from "../../src/worker/protocol";
import { type GpuEvent, type WatchOrder, watchChannel } from "./gpulog";

const channel = new BroadcastChannel(watchChannel);
const devices = new Set<GPUDevice>();
let log: GpuEvent[] = [];
let order: WatchOrder = {};

channel.onmessage = ({ data }: MessageEvent<WatchOrder>) => {
  order = data;
  channel.postMessage("ready");
};

if (globalThis.GPUAdapter) {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await requestDevice.apply(this, args);
    devices.add(device);
    return device;
  };
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    log.push({ kind: "create", label: descriptor.label ?? "" });
    return createBuffer.call(this, descriptor);
  };
  const { mapAsync } = GPUBuffer.prototype;
  GPUBuffer.prototype.mapAsync = function (mode, ...rest) {
    if (mode & GPUMapMode.READ) log.push({ kind: "read", label: this.label });
    return mapAsync.call(this, mode, ...rest);
  };
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (
    ...args: Parameters<GPUQueue["writeBuffer"]>
  ): undefined {
    log.push({ kind: "write", label: args[0].label });
    return writeBuffer.apply(this, args);
  };
}

/** What of the worker's scope is changed here; its library clashes with the page's. */
const scope = globalThis as unknown as {
  postMessage(message: Reply, transfer?: Transferable[]): void;
};
const post = scope.postMessage.bind(scope);
scope.postMessage = (message, transfer = []) => {
  if (message.type === "step") {
    log.push({ kind: "step", step: message.step.step });
    if (message.step.step === order.destroyAfterStep) {
      for (const device of devices) device.destroy();
    }
  }
  if (message.type === "done") {
    channel.postMessage(log);
    log = [];
  }
  post(message, transfer);
};
