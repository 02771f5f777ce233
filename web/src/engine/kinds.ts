/**
 * The kinds of adapters in LoRA files, one function per kind: whether its parts fit one another, what
 * layer it is for, and its exact low-rank form where there is one (runtime/_lora_parts.py, adapters.py).
 */

import {
  type Adapter,
  area,
  type Build,
  cored,
  decomposed,
  dim,
  flat,
  hasKernel,
  isMatrix,
  kernelOf,
  type Numbers,
  type Parts,
  sum,
} from "./adapters";
import { lowRankOf } from "./lowrank";
import { loha, lokr } from "./products";
import type { StoredTensor } from "./tensorfile";

/** Kind, as the grammar names it -> how it is built. */
export const builders: Readonly<Record<string, Build>> = {
  LoRA: lora,
  LoHa: loha,
  LoKr: lokr,
  "(IA)^3": ia3,
  "PEFT (IA)^3": peftIa3,
  "full difference": full,
};

function lora(part: Parts, numbers: Numbers): Adapter | undefined {
  const upTensor = part.get("up") as StoredTensor;
  const down = cored(part.get("mid"), part.get("down") as StoredTensor);
  if (!down || !isMatrix(upTensor.shape) || dim(upTensor.shape, 1) !== down.rows) return undefined;
  const up = flat(upTensor);
  const change = sum(
    {
      kind: "LoRA",
      ins: down.columns,
      outs: up.rows,
      rank: down.rows,
      form: down.rows,
      obstacle: "",
      lowRank: async (scale, read) => lowRankOf(await up.load(read), await down.load(read), scale),
    },
    down.kernel,
    numbers,
  );
  return decomposed(change, part);
}

function ia3(part: Parts, numbers: Numbers): Adapter | undefined {
  const { shape } = part.get("weight") as StoredTensor;
  const count = area(shape);
  const onInput = numbers.get("on_input");
  // [n] of Linear layers, [1, n, 1, 1] of convolutions
  const isVector = shape.length === 1 || shape.join() === [1, count, 1, 1].join();
  if (!isVector || (onInput !== 0 && onInput !== 1)) return undefined;
  return scaling(count, onInput === 1);
}

/** Of Linear layers: `[out, 1]` scales what comes out, `[1, in]` what goes in. */
function peftIa3(part: Parts): Adapter | undefined {
  const { shape } = part.get("ia3_l") as StoredTensor;
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || (rows !== 1 && columns !== 1)) return undefined;
  return scaling(rows * columns, rows === 1);
}

function scaling(count: number, onInput: boolean): Adapter {
  return {
    kind: "(IA)^3",
    scalar: 1,
    size: `for ${count} ${onInput ? "inputs" : "outputs"}`,
    fits: (ins, _, outs) => count === (onInput ? ins : outs),
    obstacle: "it multiplies the base weight",
  };
}

/** Any kind with a difference of the bias beside it (LyCORIS' `full`). */
export function withBias(change: Adapter, { shape }: StoredTensor): Adapter {
  const count = area(shape);
  const { form: _form, lowRank: _lowRank, ...rest } = change;
  return {
    ...rest,
    kind: "weight and bias",
    size: `${change.size} with a bias of ${count}`,
    fits: (ins, area, outs) => change.fits(ins, area, outs) && count === outs,
    obstacle: "it changes the layer's bias, for which graphs have no input",
  };
}

function full(part: Parts): Adapter | undefined {
  const { shape } = part.get("diff") as StoredTensor;
  if (!hasKernel(shape)) return undefined;
  const of = {
    kind: "full difference",
    ins: area(shape.slice(1)),
    outs: dim(shape, 0),
    obstacle: "it is a full matrix",
  };
  return sum(of, kernelOf(shape), new Map());
}
