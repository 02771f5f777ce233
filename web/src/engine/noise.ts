/**
 * `torch.randn` on a seeded CPU generator, number for number.
 *
 * Sources: Matsumoto and Nishimura 1998 (MT19937); ATen/core/TransformationHelper.h (uniforms of 24
 * and 53 bits) and ATen/native/cpu/DistributionTemplates.h (`normal_fill`: Box-Muller over blocks of 16).
 */

const N = 624;
const M = 397;

/** The Mersenne Twister of 32-bit words. */
class MT19937 {
  private readonly state = new Uint32Array(N);
  private next = N;

  constructor(seed: number) {
    this.state[0] = seed;
    for (let i = 1; i < N; i++) {
      const previous = this.state[i - 1] as number;
      this.state[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i;
    }
  }

  word(): number {
    if (this.next === N) this.twist();
    let y = this.state[this.next++] as number;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const s = this.state;
    for (let i = 0; i < N; i++) {
      const y = ((s[i] as number) & 0x80000000) | ((s[(i + 1) % N] as number) & 0x7fffffff);
      s[i] = (s[(i + M) % N] as number) ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
}

/** A `torch.Generator` on the CPU; successive draws continue one stream. */
export class NoiseGenerator {
  private readonly engine: MT19937;
  private secondNormal: number | undefined;

  /** @param seed integer in 0..2^53-1; as in torch, its low 32 bits count. */
  constructor(seed: number) {
    this.engine = new MT19937(seed % 2 ** 32);
  }

  /** `torch.randn(size, generator=self)`: float32, standard normal. */
  randn(size: number): Float32Array<ArrayBuffer> {
    const draw = new Float32Array(size);
    if (size < 16) {
      for (let i = 0; i < size; i++) draw[i] = this.normal53();
      return draw;
    }
    for (let i = 0; i < size; i++) draw[i] = this.uniform24();
    for (let i = 0; i + 16 <= size; i += 16) boxMuller16(draw.subarray(i, i + 16));
    if (size % 16) {
      // torch draws the last 16 afresh, over those that were already normal.
      const last = draw.subarray(size - 16);
      for (let i = 0; i < 16; i++) last[i] = this.uniform24();
      boxMuller16(last);
    }
    return draw;
  }

  private uniform24(): number {
    return (this.engine.word() & 0xffffff) / 2 ** 24;
  }

  private uniform53(): number {
    const high = this.engine.word() & 0x1fffff;
    return (high * 2 ** 32 + this.engine.word()) / 2 ** 53;
  }

  /** What torch does below 16 elements: Box-Muller in double, the sine kept for the next call. */
  private normal53(): number {
    const kept = this.secondNormal;
    if (kept !== undefined) {
      this.secondNormal = undefined;
      return kept;
    }
    const theta = 2 * Math.PI * this.uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-this.uniform53()));
    this.secondNormal = radius * Math.sin(theta);
    return radius * Math.cos(theta);
  }
}

const f32 = Math.fround;
const TWO_PI = f32(2 * Math.PI);

/**
 * Uniforms to normals in place: `u1 = 1 - u[0:8]`, `u2 = u[8:16]`; cosines first, then sines.
 *
 * Rounded to float32 where torch rounds: within 4.8e-7 of torch over 4 million values. In double it
 * would be 1.9e-6, nearly all of it the rounding of torch's angle.
 */
function boxMuller16(u: Float32Array): void {
  for (let i = 0; i < 8; i++) {
    const u1 = f32(1 - (u[i] as number));
    const radius = f32(Math.sqrt(f32(-2 * f32(Math.log(u1)))));
    const theta = f32(TWO_PI * (u[i + 8] as number));
    u[i] = radius * f32(Math.cos(theta));
    u[i + 8] = radius * f32(Math.sin(theta));
  }
}
