import { is, No, Yes } from '../flags';
import { exactSums } from '../gradient';
import { loadTail, loadTailOver, madd } from '../lanes';
import { BLOCK, clear, firstSum, join, secondSum, SHORT } from '../plane-sums';

/**
 * grad_stats_ncx — the two sums of the backward pass, channel planes.
 *
 *   dbeta[c] = Σ dy[n,c,i]     dot[c] = Σ dy[n,c,i]·((x[n,c,i] − center[c])·invStd[c])
 *
 * layout      x, dy [outer, channels, inner] f32, inner contiguous, samples `stride` elements
 *             apart; center, invStd [channels] f32; sums [channels, 4] f64, overwritten; dbeta, dot
 *             [channels] f64
 * sizes       all ≥ 1; inner need not be a multiple of 4
 * alias       none
 * align       x, dy 4 bytes; sums, dbeta, dot 8
 * accumulate  f32 by pairs, in two pairs of accumulators over 512 elements, then f64. Samples in
 *             order, all their channels before the next. In f64 throughout where the f32 sums are
 *             not finite. The order of additions depends on outer and inner alone.
 * numerics    scaled by invStd before it meets dy, so that products stay in range whatever the
 *             spread of x
 * traffic     8 bytes per element
 */
export function grad_stats_ncx_f32(
  x: usize, dy: usize, center: usize, invStd: usize, sums: usize, dbeta: usize, dot: usize,
  outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const plane = (<usize>inner) << 2;
  const end = (<usize>channels) << 2;
  clear(sums, channels);
  for (let n: u32 = 0; n < outer; n++) {
    let at = (<usize>n) * row;
    for (let c: usize = 0; c < end; c += 4, at += plane) {
      const h = load<f32>(center + c);
      const s = v128.load32_splat(invStd + c);
      if (h == 0 && inner >= SHORT) sumPlane<No>(x + at, dy + at, f32x4.splat(h), s, inner, sums + (c << 3));
      else sumPlane<Yes>(x + at, dy + at, f32x4.splat(h), s, inner, sums + (c << 3));
    }
  }
  for (let c: usize = 0, at: usize = 0; c < end; c += 4, at += plane) {
    const b = firstSum(sums + (c << 3));
    const d = secondSum(sums + (c << 3));
    if (b - b == 0 && d - d == 0) {
      store<f64>(dbeta + (c << 1), b);
      store<f64>(dot + (c << 1), d);
    } else {
      exactSums(x + at, dy + at, center + c, invStd + c, dbeta + (c << 1), dot + (c << 1), outer, inner, row);
    }
  }
}

/** Adds a plane to the sums of dy and of dy·(x − center)·invStd (C: the centre is not 0). */
// @ts-ignore: decorator
@inline
function sumPlane<C>(p: usize, g: usize, h: v128, s: v128, inner: u32, sums: usize): void {
  let sum = v128.load(sums, 0);
  let dot = v128.load(sums, 16);
  while (inner) {
    const size = min(inner, BLOCK);
    inner -= size;
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    for (const end = p + ((<usize>size & ~15) << 2); p < end; p += 64, g += 64) {
      const d0 = v128.load(g, 0);
      const d1 = v128.load(g, 16);
      a0 = f32x4.add(a0, f32x4.add(d0, d1));
      b0 = f32x4.add(b0, madd(d1, hat<C>(v128.load(p, 16), h, s), f32x4.mul(d0, hat<C>(v128.load(p, 0), h, s))));
      const d2 = v128.load(g, 32);
      const d3 = v128.load(g, 48);
      a1 = f32x4.add(a1, f32x4.add(d2, d3));
      b1 = f32x4.add(b1, madd(d3, hat<C>(v128.load(p, 48), h, s), f32x4.mul(d2, hat<C>(v128.load(p, 32), h, s))));
    }
    if (size & 8) {
      const d0 = v128.load(g, 0);
      const d1 = v128.load(g, 16);
      a0 = f32x4.add(a0, f32x4.add(d0, d1));
      b0 = f32x4.add(b0, madd(d1, hat<C>(v128.load(p, 16), h, s), f32x4.mul(d0, hat<C>(v128.load(p, 0), h, s))));
      p += 32;
      g += 32;
    }
    if (size & 4) {
      const d = v128.load(g);
      a1 = f32x4.add(a1, d);
      b1 = madd(d, hat<C>(v128.load(p), h, s), b1);
      p += 16;
      g += 16;
    }
    if (size & 3) {
      const d = loadTail(g, size & 3);
      a0 = f32x4.add(a0, d);
      b0 = madd(d, hat<Yes>(loadTailOver(p, size & 3, h), h, s), b0);
    }
    sum = join(sum, a0, a1);
    dot = join(dot, b0, b1);
  }
  v128.store(sums, sum, 0);
  v128.store(sums, dot, 16);
}

// @ts-ignore: decorator
@inline
function hat<C>(x: v128, h: v128, s: v128): v128 {
  return f32x4.mul(is<C, Yes>() ? f32x4.sub(x, h) : x, s);
}
