/**
 * LoHa and LoKr: adapters whose change is an elementwise or a Kronecker product of two products. Their
 * exact low-rank form has the product of the two ranks; it is offered where that is below the layer's
 * own (runtime/products.py).
 */

import {
  type Adapter,
  cored,
  decomposed,
  type Factor,
  flat,
  hasKernel,
  type Kernel,
  kernelOf,
  type Numbers,
  type Parts,
  type Read,
  sum,
  turned,
} from "./adapters";
import {
  identity,
  kronecker,
  type LowRank,
  lowRankOf,
  type Matrix,
  product,
  rowwise,
  scaledBy,
  times,
  transposed,
  wide,
} from "./lowrank";
import type { StoredTensor } from "./tensorfile";

export function loha(part: Parts, numbers: Numbers): Adapter | undefined {
  const halves = ["1", "2"].map((half) => {
    const core = part.get(`hada_t${half}`);
    const tensor = part.get(`hada_w${half}_a`) as StoredTensor;
    const down = cored(core, part.get(`hada_w${half}_b`) as StoredTensor);
    if (!down || tensor.shape.length !== 2) return undefined;
    return { up: core ? turned(flat(tensor)) : flat(tensor), down };
  });
  const [first, second] = halves;
  if (!first || !second) return undefined;
  const same =
    first.up.rows === second.up.rows &&
    first.up.columns === second.up.columns &&
    first.down.rows === second.down.rows &&
    first.down.columns === second.down.columns &&
    first.down.kernel.join() === second.down.kernel.join();
  const rank = first.down.rows;
  if (!same || first.up.columns !== rank) return undefined;
  const ins = first.down.columns;
  const outs = first.up.rows;
  const load = async (read: Read) => ({
    up1: wide(await first.up.load(read)),
    down1: wide(await first.down.load(read)),
    up2: wide(await second.up.load(read)),
    down2: wide(await second.down.load(read)),
  });
  const isLow = rank ** 2 < Math.min(ins, outs);
  const change = sum(
    {
      kind: "LoHa",
      ins,
      outs,
      rank,
      form: isLow ? rank ** 2 : narrowRank(ins, outs),
      obstacle: "of rank^2 not below the layer's own rank",
      async lowRank(scale, read) {
        const { up1, down1, up2, down2 } = await load(read);
        if (!isLow) {
          const delta = times(scaledBy(scale, product(up1, down1)), product(up2, down2));
          return matrixOfNarrow(delta);
        }
        // (U V) * (X Y) = (U khatri-rao X) (V khatri-rao Y), by rows and by columns
        const down = transposed(rowwise(transposed(down1), transposed(down2)));
        return lowRankOf(rowwise(up1, up2), down, scale);
      },
    },
    first.down.kernel,
    numbers,
  );
  return decomposed(change, part);
}

/** A matrix that is `left`, or `left @ right`. */
class Factors {
  constructor(
    readonly left: Factor,
    readonly right?: Factor,
  ) {}

  get rows(): number {
    return this.left.rows;
  }

  get columns(): number {
    return (this.right ?? this.left).columns;
  }

  /** The highest rank that the matrix can have. */
  get rank(): number {
    return Math.min(this.rows, this.columns, this.right ? this.left.columns : Infinity);
  }

  async matrix(read: Read): Promise<Matrix> {
    const left = wide(await this.left.load(read));
    return this.right ? product(left, wide(await this.right.load(read))) : left;
  }

  /** Two factors whose product it is, of inner width `rank`. */
  async shortest(read: Read): Promise<[Matrix, Matrix]> {
    if (this.right && this.left.columns === this.rank) {
      return [wide(await this.left.load(read)), wide(await this.right.load(read))];
    }
    const whole = await this.matrix(read);
    const one = identity(this.rank);
    return this.columns <= this.rows ? [whole, one] : [one, whole];
  }
}

export function lokr(part: Parts, numbers: Numbers): Adapter | undefined {
  const core = part.get("lokr_t2");
  let kernel: Kernel;
  let w2: Factors;
  const whole = part.get("lokr_w2");
  if (whole) {
    if (!hasKernel(whole.shape)) return undefined;
    kernel = kernelOf(whole.shape);
    w2 = new Factors(flat(whole));
  } else {
    const left = part.get("lokr_w2_a") as StoredTensor;
    const right = cored(core, part.get("lokr_w2_b") as StoredTensor);
    if (!right || left.shape.length !== 2) return undefined;
    kernel = right.kernel;
    w2 = new Factors(core ? turned(flat(left)) : flat(left), right);
  }
  const left = part.get("lokr_w1") ?? (part.get("lokr_w1_a") as StoredTensor);
  const right = part.get("lokr_w1_b");
  if (left.shape.length !== 2 || (right && right.shape.length !== 2)) return undefined;
  const w1 = new Factors(flat(left), right && flat(right));
  for (const factors of [w1, w2]) {
    if (factors.right && factors.left.columns !== factors.right.rows) return undefined;
  }
  // alpha / rank would be anybody's guess
  if (w1.right && w2.right && w1.right.rows !== w2.right.rows) return undefined;
  const ins = w1.columns * w2.columns;
  const outs = w1.rows * w2.rows;
  const formRank = w1.rank * w2.rank;
  const isLow = formRank < Math.min(ins, outs);
  const change = sum(
    {
      kind: "LoKr",
      ins,
      outs,
      rank: (w2.right ?? w1.right)?.rows,
      form: isLow ? formRank : narrowRank(ins, outs),
      obstacle: "of w1's times w2's rank not below the layer's own",
      async lowRank(scale, read) {
        if (!isLow) {
          const scaledW1 = scaledBy(scale, await w1.matrix(read));
          return matrixOfNarrow(kronecker(scaledW1, await w2.matrix(read)));
        }
        // (U V) kron (X Y) = (U kron X) (V kron Y)
        const [left1, right1] = await w1.shortest(read);
        const [left2, right2] = await w2.shortest(read);
        return lowRankOf(kronecker(left1, left2), kronecker(right1, right2), scale);
      },
    },
    kernel,
    numbers,
  );
  return decomposed(change, part);
}

/** The rank of the layer itself, where dW beside an identity is at most a quarter more than dW. */
function narrowRank(ins: number, outs: number): number | undefined {
  const full = Math.min(ins, outs);
  return 4 * full > Math.max(ins, outs) ? undefined : full;
}

/** @param delta `[outs, ins]` */
function matrixOfNarrow(delta: Matrix): LowRank {
  const one = identity(Math.min(delta.rows, delta.columns));
  return delta.rows <= delta.columns ? lowRankOf(one, delta, 1) : lowRankOf(delta, one, 1);
}
