import { few, foldF64, madd, nmadd, storeFew, sumF64 } from '../lanes';
import { BLOCK as COLUMNS } from '../plane-sums';
import { BLOCK, flush, reset } from '../row-sums';

/**
 * grad_rows — the backward pass of norm_rows, x̂ as there.
 *
 *   dx[r,j] = invStd[r]·((gamma[j]·dy[r,j] − k[r]) − b[r]·x̂[r,j])
 *   k = Σⱼ gamma·dy / cols (0 where not centred)     b = Σⱼ gamma·dy·x̂ / cols
 *   dbeta[s,j] = Σ dy[r,j]     dgamma[s,j] = Σ dy[r,j]·x̂[r,j]     over the rows r of segment s
 *
 * layout      x, dy, dx [rows, cols] f32, contiguous; gamma [cols], center, invStd, left [rows]
 *             f32; dbeta, dgamma [segments, cols] f64; lanes [segments, ⌈cols/4⌉, 8] f32,
 *             overwritten
 * sizes       all ≥ 1; cols need not be a multiple of 4; segment a multiple of 32
 * alias       dx may be dy or x; no other overlap
 * align       x, dy, vectors and lanes 4 bytes; dbeta, dgamma 8
 * accumulate  rows: f32 in two accumulators over 512 columns, then f64; again in f64 where that is
 *             not finite. Columns: as sums_nxc. The order of additions depends on cols and segment
 *             alone.
 * numerics    f32; differences before they are scaled, so that a row of one value gives 0
 * traffic     12 bytes per element: the gradient of a row is worked out while it lies in L1
 */
export function grad_rows_f32(
  x: usize, dy: usize, gamma: usize, center: usize, invStd: usize, left: usize, dx: usize,
  lanes: usize, dbeta: usize, dgamma: usize,
  centred: u32, rows: u32, cols: u32, segment: u32,
): void {
  const row = (<usize>cols) << 2;
  for (let rest = rows; rest; ) {
    const size = min(rest, segment);
    rest -= size;
    reset(lanes, dbeta, dgamma, cols);
    for (let n: u32 = 1; n <= size; n++) {
      one(x, dy, gamma, center, invStd, left, dx, lanes, centred, cols);
      x += row;
      dy += row;
      dx += row;
      center += 4;
      invStd += 4;
      left += 4;
      if (n % BLOCK == 0 || n == size) flush(lanes, dbeta, dgamma, cols);
    }
    lanes += ((<usize>cols + 3) & ~3) << 3;
    dbeta += (<usize>cols) << 3;
    dgamma += (<usize>cols) << 3;
  }
}

/** Bytes of columns whose terms are accumulated in f32. */
// @ts-ignore: decorator
@inline const SPAN: usize = (<usize>COLUMNS) << 2;

function one(
  x: usize, dy: usize, gamma: usize, center: usize, invStd: usize, left: usize, dx: usize, lanes: usize, centred: u32, cols: u32,
): void {
  const h = v128.load32_splat(center);
  const s = v128.load32_splat(invStd);
  const t = v128.load32_splat(left);
  const whole = (<usize>cols & ~3) << 2;
  const rest = cols & 3;
  let sum: f64 = 0;
  let dot: f64 = 0;
  let c: usize = 0;
  while (c < whole) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    const end = min(c + SPAN, whole);
    for (; c + 32 <= end; c += 32) {
      const v0 = hat(v128.load(x + c, 0), h, s, t);
      const d0 = v128.load(dy + c, 0);
      const g0 = f32x4.mul(d0, v128.load(gamma + c, 0));
      accumulate(lanes + (c << 1), d0, v0);
      a0 = f32x4.add(a0, g0);
      b0 = madd(g0, v0, b0);
      const v1 = hat(v128.load(x + c, 16), h, s, t);
      const d1 = v128.load(dy + c, 16);
      const g1 = f32x4.mul(d1, v128.load(gamma + c, 16));
      accumulate(lanes + (c << 1) + 32, d1, v1);
      a1 = f32x4.add(a1, g1);
      b1 = madd(g1, v1, b1);
    }
    if (c < end) {
      const v = hat(v128.load(x + c), h, s, t);
      const d = v128.load(dy + c);
      const g = f32x4.mul(d, v128.load(gamma + c));
      accumulate(lanes + (c << 1), d, v);
      a0 = f32x4.add(a0, g);
      b0 = madd(g, v, b0);
      c += 16;
    }
    sum += sumF64(foldF64(f32x4.add(a0, a1)));
    dot += sumF64(foldF64(f32x4.add(b0, b1)));
  }
  if (rest) {
    // beyond the row dy is 0, and x̂ what 0 gives
    const v = hat(few(x + c, rest), h, s, t);
    const d = few(dy + c, rest);
    const g = f32x4.mul(d, few(gamma + c, rest));
    const l = lanes + (c << 1);
    storeFew(l, f32x4.add(few(l, rest), d), rest);
    storeFew(l + 16, madd(d, v, few(l + 16, rest)), rest);
    sum += sumF64(foldF64(g));
    // select: 0·x̂ is NaN where that is infinite
    dot += sumF64(foldF64(v128.and(f32x4.mul(g, v), f32x4.ne(g, f32x4.splat(0)))));
  }
  if (sum - sum != 0 || dot - dot != 0) {
    sum = 0;
    dot = 0;
    for (c = 0; c < (<usize>cols) << 2; c += 4) {
      const g = <f64>load<f32>(dy + c) * load<f32>(gamma + c);
      sum += g;
      dot += g * ((<f64>load<f32>(x + c) - load<f32>(center)) * load<f32>(invStd) + load<f32>(left));
    }
  }
  const k = f32x4.splat(centred ? <f32>(sum / <f64>cols) : 0);
  const b = f32x4.splat(<f32>(dot / <f64>cols));
  c = 0;
  for (; c + 32 <= whole; c += 32) {
    const v0 = gradient(v128.load(x + c, 0), v128.load(dy + c, 0), v128.load(gamma + c, 0), h, s, t, k, b);
    const v1 = gradient(v128.load(x + c, 16), v128.load(dy + c, 16), v128.load(gamma + c, 16), h, s, t, k, b);
    v128.store(dx + c, v0, 0);
    v128.store(dx + c, v1, 16);
  }
  if (c < whole) {
    v128.store(dx + c, gradient(v128.load(x + c), v128.load(dy + c), v128.load(gamma + c), h, s, t, k, b));
    c += 16;
  }
  if (rest) storeFew(dx + c, gradient(few(x + c, rest), few(dy + c, rest), few(gamma + c, rest), h, s, t, k, b), rest);
}

// @ts-ignore: decorator
@inline
function hat(x: v128, h: v128, s: v128, t: v128): v128 {
  return madd(f32x4.sub(x, h), s, t);
}

// @ts-ignore: decorator
@inline
function accumulate(lanes: usize, dy: v128, hat: v128): void {
  v128.store(lanes, f32x4.add(v128.load(lanes, 0), dy), 0);
  v128.store(lanes, madd(dy, hat, v128.load(lanes, 16)), 16);
}

// @ts-ignore: decorator
@inline
function gradient(x: v128, dy: v128, gamma: v128, h: v128, s: v128, t: v128, k: v128, b: v128): v128 {
  return f32x4.mul(s, nmadd(b, hat(x, h, s, t), f32x4.sub(f32x4.mul(gamma, dy), k)));
}
