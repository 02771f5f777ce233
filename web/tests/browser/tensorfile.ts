import { parseSafetensors, type Tensor } from "../../src/engine/safetensors";
import { places } from "./jobs";

/** Safetensors bytes of float32 tensors. */
export function dumpSafetensors(tensors: Record<string, Tensor>): Blob {
  let position = 0;
  const header = Object.entries(tensors).map(([name, { data, shape }]) => {
    const begin = position;
    position += data.byteLength;
    return [name, { dtype: "F32", shape, data_offsets: [begin, position] }];
  });
  const text = JSON.stringify(Object.fromEntries(header));
  const padded = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = new BigUint64Array([BigInt(padded.length)]);
  return new Blob([size, padded, ...Object.values(tensors).map(({ data }) => data)]);
}

/** The tensors of an input file of the job. */
export async function fetchInputs(name: string): Promise<Map<string, Tensor>> {
  const response = await fetch(places.inputs + encodeURIComponent(name));
  if (!response.ok) throw new Error(`input ${name}: ${await response.text()}`);
  return parseSafetensors(await response.bytes(), name).tensors;
}

/** Has the server write `<id>.safetensors`, and gives its name. */
export async function sendOutput(id: string, tensors: Record<string, Tensor>): Promise<string> {
  const name = `${id}.safetensors`;
  const body = dumpSafetensors(tensors);
  const response = await fetch(places.outputs + name, { method: "POST", body });
  if (!response.ok) throw new Error(`output ${name}: ${await response.text()}`);
  return name;
}
