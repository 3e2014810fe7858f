import { highF64, loadTail, lowF64, madd } from '../lanes';

/** Rows summed in f32 before they join the f64 sums. */
// @ts-ignore: decorator
@inline const BLOCK: u32 = 32;

/**
 * grad_stats_nxc — the two sums of the backward pass, channels innermost.
 *
 *   dbeta[c] = Σ dy[r,c]     dgamma[c] = Σ dy[r,c]·x̂[r,c]     x̂ = ((x − hi[c]) − lo[c])·invStd[c]
 *
 * layout      x, dy [rows, channels] f32, rows `stride` elements apart; hi, lo, invStd [channels] f32; dbeta, dgamma [channels] f64
 * sizes       all ≥ 1; channels need not be a multiple of 4
 * alias       none
 * align       x, dy 4 bytes; dbeta, dgamma 8
 * accumulate  f32 over 32 rows; blocks in f64, in order. In f64 throughout where the f32 sums are not finite.
 *             The order depends on rows alone.
 * traffic     8 bytes per element
 */
export function grad_stats_nxc_f32(
  x: usize, dy: usize, hi: usize, lo: usize, invStd: usize, dbeta: usize, dgamma: usize,
  rows: u32, channels: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const rest = channels & 3;
  memory.fill(dbeta, 0, (<usize>channels) << 3);
  memory.fill(dgamma, 0, (<usize>channels) << 3);
  for (let first: u32 = 0; first < rows; first += BLOCK) {
    const offset = (<usize>first) * row;
    const count = min(BLOCK, rows - first);
    let c: u32 = 0;
    for (; c + 8 <= channels; c += 8) sum8(x + offset, dy + offset, count, row, c, hi, lo, invStd, dbeta, dgamma);
    for (; c + 4 <= channels; c += 4) sumUpTo4(x + offset, dy + offset, count, row, c, 4, hi, lo, invStd, dbeta, dgamma);
    if (rest) sumUpTo4(x + offset, dy + offset, count, row, c, rest, hi, lo, invStd, dbeta, dgamma);
  }
  for (let c: u32 = 0; c < channels; c++) {
    const at = (<usize>c) << 3;
    const b = load<f64>(dbeta + at);
    const d = load<f64>(dgamma + at);
    if (b - b != 0 || d - d != 0) exact(x, dy, rows, row, c, hi, lo, invStd, dbeta + at, dgamma + at);
  }
}

// @ts-ignore: decorator
@inline
function hat(x: v128, h: v128, l: v128, s: v128): v128 {
  return f32x4.mul(f32x4.sub(f32x4.sub(x, h), l), s);
}

/** Adds the first `lanes` lanes to as many f64 sums. */
// @ts-ignore: decorator
@inline
function addF64(at: usize, v: v128, lanes: u32): void {
  if (lanes == 4) {
    v128.store(at, f64x2.add(v128.load(at), lowF64(v)), 0);
    v128.store(at, f64x2.add(v128.load(at, 16), highF64(v)), 16);
    return;
  }
  store<f64>(at, load<f64>(at) + <f64>f32x4.extract_lane(v, 0));
  if (lanes > 1) store<f64>(at, load<f64>(at, 8) + <f64>f32x4.extract_lane(v, 1), 8);
  if (lanes > 2) store<f64>(at, load<f64>(at, 16) + <f64>f32x4.extract_lane(v, 2), 16);
}

function sum8(
  x: usize, dy: usize, count: u32, row: usize, c: u32, hi: usize, lo: usize, invStd: usize, dbeta: usize, dgamma: usize,
): void {
  const offset = (<usize>c) << 2;
  const h0 = v128.load(hi + offset, 0);
  const h1 = v128.load(hi + offset, 16);
  const l0 = v128.load(lo + offset, 0);
  const l1 = v128.load(lo + offset, 16);
  const s0 = v128.load(invStd + offset, 0);
  const s1 = v128.load(invStd + offset, 16);
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let p = x + offset;
  let g = dy + offset;
  for (let n: u32 = 0; n < count; n++, p += row, g += row) {
    const d0 = v128.load(g, 0);
    a0 = f32x4.add(a0, d0);
    b0 = madd(d0, hat(v128.load(p, 0), h0, l0, s0), b0);
    const d1 = v128.load(g, 16);
    a1 = f32x4.add(a1, d1);
    b1 = madd(d1, hat(v128.load(p, 16), h1, l1, s1), b1);
  }
  const out = (<usize>c) << 3;
  addF64(dbeta + out, a0, 4);
  addF64(dbeta + out + 32, a1, 4);
  addF64(dgamma + out, b0, 4);
  addF64(dgamma + out + 32, b1, 4);
}

function sumUpTo4(
  x: usize, dy: usize, count: u32, row: usize, c: u32, lanes: u32,
  hi: usize, lo: usize, invStd: usize, dbeta: usize, dgamma: usize,
): void {
  const offset = (<usize>c) << 2;
  const h = few(hi + offset, lanes);
  const l = few(lo + offset, lanes);
  const s = few(invStd + offset, lanes);
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let p = x + offset;
  let g = dy + offset;
  for (let n: u32 = 0; n < count; n++, p += row, g += row) {
    const d = few(g, lanes);
    a = f32x4.add(a, d);
    b = madd(d, hat(few(p, lanes), h, l, s), b);
  }
  const out = (<usize>c) << 3;
  addF64(dbeta + out, a, lanes);
  addF64(dgamma + out, b, lanes);
}

// @ts-ignore: decorator
@inline
function few(p: usize, lanes: u32): v128 {
  return lanes == 4 ? v128.load(p) : loadTail(p, lanes);
}

/** One channel in f64: for sums that leave the range of f32 on their way. */
function exact(
  x: usize, dy: usize, rows: u32, row: usize, c: u32, hi: usize, lo: usize, invStd: usize, dbeta: usize, dgamma: usize,
): void {
  const offset = (<usize>c) << 2;
  const mean = <f64>load<f32>(hi + offset) + <f64>load<f32>(lo + offset);
  const s = <f64>load<f32>(invStd + offset);
  let sum: f64 = 0;
  let dot: f64 = 0;
  let at = offset;
  for (let n: u32 = 0; n < rows; n++, at += row) {
    const g = <f64>load<f32>(dy + at);
    sum += g;
    dot += g * ((<f64>load<f32>(x + at) - mean) * s);
  }
  store<f64>(dbeta, sum);
  store<f64>(dgamma, dot);
}
