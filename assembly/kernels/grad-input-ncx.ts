import { loadTail, nmadd, storeTail } from '../lanes';

/**
 * grad_input_ncx — gradient with respect to the input, channel planes.
 *
 *   dx[n,c,i] = a[c]·((dy[n,c,i] − k[c]) − b[c]·x̂[n,c,i])     x̂ = ((x − hi[c]) − lo[c])·invStd[c]
 *
 * layout    x, dy, dx [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *           hi, lo, invStd, a, b, k [channels] f32
 * sizes     all ≥ 1; inner need not be a multiple of 4
 * alias     dx may be dy or x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32, centred and scaled before b, so that terms stay in range whatever the spread of x; differences first, so that what
 *           cancels does so before it is scaled (one value per channel, or a constant dy, gives 0)
 * traffic   12 bytes per element
 */
export function grad_input_ncx_f32(
  x: usize, dy: usize, hi: usize, lo: usize, invStd: usize, a: usize, b: usize, k: usize, dx: usize,
  outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const whole = (<usize>inner & ~3) << 2;
  const unrolled = (<usize>inner & ~7) << 2;
  const rest = inner & 3;
  for (let n: u32 = 0; n < outer; n++) {
    let offset = ((<usize>n) * stride) << 2;
    for (let c: u32 = 0; c < channels; c++, offset += (<usize>inner) << 2) {
      const at = (<usize>c) << 2;
      const h = v128.load32_splat(hi + at);
      const l = v128.load32_splat(lo + at);
      const s = v128.load32_splat(invStd + at);
      const va = v128.load32_splat(a + at);
      const vb = v128.load32_splat(b + at);
      const vk = v128.load32_splat(k + at);
      let p = x + offset;
      let g = dy + offset;
      let q = dx + offset;
      const end = p + whole;
      for (const stop = p + unrolled; p < stop; p += 32, g += 32, q += 32) {
        const v0 = gradient(v128.load(p, 0), v128.load(g, 0), h, l, s, va, vb, vk);
        const v1 = gradient(v128.load(p, 16), v128.load(g, 16), h, l, s, va, vb, vk);
        v128.store(q, v0, 0);
        v128.store(q, v1, 16);
      }
      for (; p < end; p += 16, g += 16, q += 16) {
        v128.store(q, gradient(v128.load(p), v128.load(g), h, l, s, va, vb, vk));
      }
      if (rest) storeTail(q, gradient(loadTail(p, rest), loadTail(g, rest), h, l, s, va, vb, vk), rest);
    }
  }
}

// @ts-ignore: decorator
@inline
function gradient(x: v128, dy: v128, h: v128, l: v128, s: v128, a: v128, b: v128, k: v128): v128 {
  return f32x4.mul(a, nmadd(b, f32x4.mul(f32x4.sub(f32x4.sub(x, h), l), s), f32x4.sub(dy, k)));
}
