import { No, Yes } from '../flags';
import { gradient } from '../gradient';
import { loadTail, storeTail } from '../lanes';

/**
 * grad_input_ncx — gradient with respect to the input, channel planes.
 *
 *   dx[n,c,i] = a[c]·((dy[n,c,i] − k[c]) − b[c]·(x[n,c,i] − center[c]))
 *
 * layout    x, dy, dx [outer, channels, inner] f32, inner contiguous, samples `stride` elements
 *           apart; center, a, b, k [channels] f32
 * sizes     all ≥ 1; inner need not be a multiple of 4
 * alias     dx may be dy or x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32; differences first, so that what cancels does so before it is scaled (one value per
 *           channel gives 0); no subtraction in channels whose center is 0: the same value
 * traffic   12 bytes per element
 */
export function grad_input_ncx_f32(
  x: usize, dy: usize, center: usize, a: usize, b: usize, k: usize, dx: usize,
  outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const last = (<usize>channels) << 2;
  const size = (<usize>inner) << 2;
  for (let n: u32 = 0; n < outer; n++) {
    let at = ((<usize>n) * stride) << 2;
    for (let c: usize = 0; c < last; c += 4, at += size) {
      const h = load<f32>(center + c);
      const va = v128.load32_splat(a + c);
      const vb = v128.load32_splat(b + c);
      const vk = v128.load32_splat(k + c);
      if (h == 0) plane<No>(x + at, dy + at, dx + at, inner, f32x4.splat(h), va, vb, vk);
      else plane<Yes>(x + at, dy + at, dx + at, inner, f32x4.splat(h), va, vb, vk);
    }
  }
}

// @ts-ignore: decorator
@inline
function plane<C>(p: usize, g: usize, q: usize, inner: u32, h: v128, a: v128, b: v128, k: v128): void {
  const end = p + ((<usize>inner & ~3) << 2);
  for (const stop = p + ((<usize>inner & ~15) << 2); p < stop; p += 64, g += 64, q += 64) {
    const v0 = gradient<C>(v128.load(p, 0), v128.load(g, 0), h, a, b, k);
    const v1 = gradient<C>(v128.load(p, 16), v128.load(g, 16), h, a, b, k);
    const v2 = gradient<C>(v128.load(p, 32), v128.load(g, 32), h, a, b, k);
    const v3 = gradient<C>(v128.load(p, 48), v128.load(g, 48), h, a, b, k);
    v128.store(q, v0, 0);
    v128.store(q, v1, 16);
    v128.store(q, v2, 32);
    v128.store(q, v3, 48);
  }
  if (inner & 8) {
    const v0 = gradient<C>(v128.load(p, 0), v128.load(g, 0), h, a, b, k);
    const v1 = gradient<C>(v128.load(p, 16), v128.load(g, 16), h, a, b, k);
    v128.store(q, v0, 0);
    v128.store(q, v1, 16);
    p += 32;
    g += 32;
    q += 32;
  }
  if (p < end) {
    v128.store(q, gradient<C>(v128.load(p), v128.load(g), h, a, b, k));
    p += 16;
    g += 16;
    q += 16;
  }
  const rest = inner & 3;
  if (rest) storeTail(q, gradient<C>(loadTail(p, rest), loadTail(g, rest), h, a, b, k), rest);
}
