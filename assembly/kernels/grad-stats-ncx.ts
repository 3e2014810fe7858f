import { foldF64, loadTail, madd, sumF64, tailMask } from '../lanes';

/** Elements summed in f32 before they join the f64 sums: 16 additions in each of 16 lanes. */
// @ts-ignore: decorator
@inline const BLOCK: u32 = 256;

/**
 * grad_stats_ncx — the two sums of the backward pass, channel planes.
 *
 *   dbeta[c] = Σ dy[n,c,i]     dgamma[c] = Σ dy[n,c,i]·x̂[n,c,i]     x̂ = ((x − hi[c]) − lo[c])·invStd[c]
 *
 * layout      x, dy [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *             hi, lo, invStd [channels] f32; dbeta, dgamma [channels] f64
 * sizes       all ≥ 1; inner need not be a multiple of 4
 * alias       none
 * align       x, dy 4 bytes; dbeta, dgamma 8
 * accumulate  f32 in four pairs of accumulators over 256 elements, planes' remainders in one pair; each in f64 then, in order.
 *             In f64 throughout where the f32 sums are not finite. The order depends on outer and inner alone.
 * traffic     8 bytes per element
 */
export function grad_stats_ncx_f32(
  x: usize, dy: usize, hi: usize, lo: usize, invStd: usize, dbeta: usize, dgamma: usize,
  outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  for (let c: u32 = 0; c < channels; c++) {
    const at = (<usize>c) << 2;
    const h = v128.load32_splat(hi + at);
    const l = v128.load32_splat(lo + at);
    const s = v128.load32_splat(invStd + at);
    const base = (<usize>c * inner) << 2;
    let sum = f64x2.splat(0);
    let dot = f64x2.splat(0);
    for (let n: u32 = 0; n < outer; n++) {
      const offset = base + (<usize>n) * row;
      let p = x + offset;
      let g = dy + offset;
      let left = inner;
      for (; left >= BLOCK; left -= BLOCK) {
        let a0 = f32x4.splat(0);
        let a1 = f32x4.splat(0);
        let a2 = f32x4.splat(0);
        let a3 = f32x4.splat(0);
        let b0 = f32x4.splat(0);
        let b1 = f32x4.splat(0);
        let b2 = f32x4.splat(0);
        let b3 = f32x4.splat(0);
        const end = p + (BLOCK << 2);
        for (; p < end; p += 64, g += 64) {
          const d0 = v128.load(g, 0);
          a0 = f32x4.add(a0, d0);
          b0 = madd(d0, hat(v128.load(p, 0), h, l, s), b0);
          const d1 = v128.load(g, 16);
          a1 = f32x4.add(a1, d1);
          b1 = madd(d1, hat(v128.load(p, 16), h, l, s), b1);
          const d2 = v128.load(g, 32);
          a2 = f32x4.add(a2, d2);
          b2 = madd(d2, hat(v128.load(p, 32), h, l, s), b2);
          const d3 = v128.load(g, 48);
          a3 = f32x4.add(a3, d3);
          b3 = madd(d3, hat(v128.load(p, 48), h, l, s), b3);
        }
        sum = f64x2.add(sum, foldF64(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3))));
        dot = f64x2.add(dot, foldF64(f32x4.add(f32x4.add(b0, b1), f32x4.add(b2, b3))));
      }
      if (left) {
        let a = f32x4.splat(0);
        let b = f32x4.splat(0);
        let a1 = f32x4.splat(0);
        let b1 = f32x4.splat(0);
        for (; left >= 8; left -= 8, p += 32, g += 32) {
          const d0 = v128.load(g, 0);
          a = f32x4.add(a, d0);
          b = madd(d0, hat(v128.load(p, 0), h, l, s), b);
          const d1 = v128.load(g, 16);
          a1 = f32x4.add(a1, d1);
          b1 = madd(d1, hat(v128.load(p, 16), h, l, s), b1);
        }
        if (left >= 4) {
          const d = v128.load(g);
          a = f32x4.add(a, d);
          b = madd(d, hat(v128.load(p), h, l, s), b);
          p += 16;
          g += 16;
          left -= 4;
        }
        if (left) {
          const d = loadTail(g, left);
          a1 = f32x4.add(a1, d);
          b1 = madd(d, v128.and(hat(loadTail(p, left), h, l, s), tailMask(left)), b1);
        }
        sum = f64x2.add(sum, foldF64(f32x4.add(a, a1)));
        dot = f64x2.add(dot, foldF64(f32x4.add(b, b1)));
      }
    }
    let b = sumF64(sum);
    let d = sumF64(dot);
    const out = (<usize>c) << 3;
    if (b - b != 0 || d - d != 0) exact(x + base, dy + base, hi + at, lo + at, invStd + at, dbeta + out, dgamma + out, outer, inner, row);
    else {
      store<f64>(dbeta + out, b);
      store<f64>(dgamma + out, d);
    }
  }
}

// @ts-ignore: decorator
@inline
function hat(x: v128, h: v128, l: v128, s: v128): v128 {
  return f32x4.mul(f32x4.sub(f32x4.sub(x, h), l), s);
}

/** One channel in f64: for sums that leave the range of f32 on their way. */
function exact(
  x: usize, dy: usize, hi: usize, lo: usize, invStd: usize, dbeta: usize, dgamma: usize, outer: u32, inner: u32, row: usize,
): void {
  const mean = <f64>load<f32>(hi) + <f64>load<f32>(lo);
  const s = <f64>load<f32>(invStd);
  let sum: f64 = 0;
  let dot: f64 = 0;
  for (let n: u32 = 0; n < outer; n++) {
    for (let i: u32 = 0; i < inner; i++) {
      const at = (<usize>n) * row + ((<usize>i) << 2);
      const g = <f64>load<f32>(dy + at);
      sum += g;
      dot += g * ((<f64>load<f32>(x + at) - mean) * s);
    }
  }
  store<f64>(dbeta, sum);
  store<f64>(dgamma, dot);
}
