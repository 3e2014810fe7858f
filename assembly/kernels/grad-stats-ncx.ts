import { foldF64, loadTail, madd, sumF64, tailMask } from '../lanes';
import { BLOCK, clear, gather, MOST_ADDITIONS } from '../plane-sums';

/**
 * grad_stats_ncx — the two sums of the backward pass, channel planes.
 *
 *   dbeta[c] = Σ dy[n,c,i]     dgamma[c] = Σ dy[n,c,i]·x̂[n,c,i]     x̂ = ((x − hi[c]) − lo[c])·invStd[c]
 *
 * layout      x, dy [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *             hi, lo, invStd [channels] f32; lanes [channels, 8] f32, overwritten; dbeta, dgamma [channels] f64
 * sizes       all ≥ 1; inner need not be a multiple of 4
 * alias       none
 * align       x, dy, lanes 4 bytes; dbeta, dgamma 8
 * accumulate  f32 in four pairs of accumulators over 256 elements, then f64; what is left of a plane in one pair of the channel's own,
 *             which joins the f64 sums after 16 additions. Samples in order, all their channels before the next. In f64 throughout where
 *             the f32 sums are not finite. The order of additions depends on outer and inner alone.
 * traffic     8 bytes per element
 */
export function grad_stats_ncx_f32(
  x: usize, dy: usize, hi: usize, lo: usize, invStd: usize, lanes: usize, dbeta: usize, dgamma: usize,
  outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const plane = (<usize>inner) << 2;
  const end = (<usize>channels) << 2;
  const rest = inner % BLOCK;
  const whole = (<usize>(inner - rest)) << 2;
  const additions = (rest + 3) >> 2;
  const mostPlanes = additions ? max(MOST_ADDITIONS / additions, 1) : outer;
  clear(lanes, dbeta, dgamma, channels);
  let pending: u32 = 0;
  for (let n: u32 = 0; n < outer; n++) {
    let at = (<usize>n) * row;
    for (let c: usize = 0; c < end; c += 4, at += plane) {
      const h = v128.load32_splat(hi + c);
      const l = v128.load32_splat(lo + c);
      const s = v128.load32_splat(invStd + c);
      if (whole) sumBlocks(x + at, dy + at, whole, h, l, s, dbeta + (c << 1), dgamma + (c << 1));
      if (rest) sumRest(x + at + whole, dy + at + whole, h, l, s, rest, lanes + (c << 3));
    }
    if (++pending == mostPlanes || n + 1 == outer) {
      if (rest) gather(lanes, dbeta, dgamma, channels);
      pending = 0;
    }
  }
  for (let c: usize = 0, at: usize = 0; c < end; c += 4, at += plane) {
    const b = load<f64>(dbeta + (c << 1));
    const d = load<f64>(dgamma + (c << 1));
    if (b - b == 0 && d - d == 0) continue;
    exact(x + at, dy + at, hi + c, lo + c, invStd + c, dbeta + (c << 1), dgamma + (c << 1), outer, inner, row);
  }
}

// @ts-ignore: decorator
@inline
function hat(x: v128, h: v128, l: v128, s: v128): v128 {
  return f32x4.mul(f32x4.sub(f32x4.sub(x, h), l), s);
}

/** Adds the whole blocks of a plane to the f64 sums. */
function sumBlocks(p: usize, g: usize, whole: usize, h: v128, l: v128, s: v128, dbeta: usize, dgamma: usize): void {
  let sum = f64x2.splat(0);
  let dot = f64x2.splat(0);
  for (const stop = p + whole; p < stop; ) {
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
  store<f64>(dbeta, load<f64>(dbeta) + sumF64(sum));
  store<f64>(dgamma, load<f64>(dgamma) + sumF64(dot));
}

/** Adds fewer elements than a block to a channel's lanes: to two pairs of accumulators, which become one. */
function sumRest(p: usize, g: usize, h: v128, l: v128, s: v128, left: u32, lanes: usize): void {
  let a0 = v128.load(lanes, 0);
  let b0 = v128.load(lanes, 16);
  let a1 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  for (; left >= 8; left -= 8, p += 32, g += 32) {
    const d0 = v128.load(g, 0);
    a0 = f32x4.add(a0, d0);
    b0 = madd(d0, hat(v128.load(p, 0), h, l, s), b0);
    const d1 = v128.load(g, 16);
    a1 = f32x4.add(a1, d1);
    b1 = madd(d1, hat(v128.load(p, 16), h, l, s), b1);
  }
  if (left >= 4) {
    const d = v128.load(g);
    a0 = f32x4.add(a0, d);
    b0 = madd(d, hat(v128.load(p), h, l, s), b0);
    p += 16;
    g += 16;
    left -= 4;
  }
  if (left) {
    const d = loadTail(g, left);
    a1 = f32x4.add(a1, d);
    b1 = madd(d, v128.and(hat(loadTail(p, left), h, l, s), tailMask(left)), b1);
  }
  v128.store(lanes, f32x4.add(a0, a1), 0);
  v128.store(lanes, f32x4.add(b0, b1), 16);
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
