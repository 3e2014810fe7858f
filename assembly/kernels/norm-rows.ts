import { RELU } from '../activations';
import { sweep } from '../epilogue';
import { is, No, Yes } from '../flags';
import { few, foldF64, loadTailOver, madd, storeFew, sumF64 } from '../lanes';
import { isTrusted, median, pivotNear, varianceOf } from '../moments';
import { BLOCK } from '../plane-sums';
import { exact } from './stats-ncx';

/**
 * norm_rows — each row by its own statistics, then scale and shift by column.
 *
 *   y[r,j] = f(x̂[r,j]·gamma[j] + beta[j] + residual[r,j])
 *   x̂[r,j] = (x[r,j] − center[r])·invStd[r] + left[r]
 *
 *   centred   center = fl(mean), left = −(mean − center)·invStd, invStd = 1/√(variance + eps)
 *   not       center = left = 0, invStd = 1/√(mean square + eps)
 *
 * layout      x, residual, y [rows, cols] f32, contiguous; gamma, beta [cols] f32; residual may be
 *             0: none; center, invStd and left [rows] f32, written; moments [rows, 2] f64, of which
 *             the first two are overwritten
 * sizes       all ≥ 1; cols need not be a multiple of 4
 * alias       y may be x or residual; no other overlap
 * align       4 bytes required, 16 preferred; moments 8
 * accumulate  as stats_ncx, with rows for channels
 * numerics    the mean in two floats; 1/√ in f64, 0 for a variance + eps of 0
 * traffic     8 bytes per element, 12 with a residual. One loop sums a row, which comes from
 *             memory, and maps the row before it, which lies in L1
 */
export function norm_rows_f32(
  x: usize, gamma: usize, beta: usize, residual: usize, y: usize,
  center: usize, invStd: usize, left: usize, moments: usize,
  kind: i32, alpha: f32, eps: f64, centred: u32, rows: u32, cols: u32,
): void {
  if (residual) {
    if (kind == RELU) run<Yes, Yes>(x, gamma, beta, residual, y, center, invStd, left, moments, kind, alpha, eps, centred, rows, cols);
    else run<Yes, No>(x, gamma, beta, residual, y, center, invStd, left, moments, kind, alpha, eps, centred, rows, cols);
  } else {
    if (kind == RELU) run<No, Yes>(x, gamma, beta, 0, y, center, invStd, left, moments, kind, alpha, eps, centred, rows, cols);
    else run<No, No>(x, gamma, beta, 0, y, center, invStd, left, moments, kind, alpha, eps, centred, rows, cols);
  }
}

function run<R, A>(
  x: usize, gamma: usize, beta: usize, residual: usize, y: usize,
  center: usize, invStd: usize, left: usize, moments: usize,
  kind: i32, alpha: f32, eps: f64, centred: u32, rows: u32, cols: u32,
): void {
  const row = (<usize>cols) << 2;
  // the first row has none before it to be mapped meanwhile: it is summed by itself, in the same
  // order
  const first = pivotOf(x, centred, cols);
  const sums = mapAndSum<No, No, No>(x, gamma, beta, 0, y, center, invStd, left, x, f32x4.splat(first), cols);
  settle(x, first, sums, center, invStd, left, moments, eps, centred, cols);
  for (; rows; rows--, x += row, y += row, residual += row) {
    // behind the last row there is none: it is summed again
    const next = rows > 1 ? x + row : x;
    const pivot = pivotOf(next, centred, cols);
    const sums = mapAndSum<Yes, R, A>(x, gamma, beta, residual, y, center, invStd, left, next, f32x4.splat(pivot), cols);
    if (!is<A, Yes>()) sweep(y, kind, alpha, cols);
    if (rows == 1) return;
    center += 4;
    invStd += 4;
    left += 4;
    settle(next, pivot, sums, center, invStd, left, moments, eps, centred, cols);
  }
}

/** A middle value of a row, as in stats_ncx; 0 where there is no centre. */
// @ts-ignore: decorator
@inline
function pivotOf(x: usize, centred: u32, cols: u32): f32 {
  if (!centred) return 0;
  if (cols < 4) return load<f32>(x);
  const span = cols - 4;
  const v = median(v128.load(x), v128.load(x + ((<usize>(span / 3)) << 2)), v128.load(x + ((<usize>((2 * span) / 3)) << 2)));
  const high = f32x4.pmax(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmin(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2)), 0);
}

/** From Σd and Σd² to what a row is mapped by. */
function settle(
  x: usize, pivot: f32, sums: v128, center: usize, invStd: usize, left: usize, moments: usize, eps: f64, centred: u32, cols: u32,
): void {
  const shift = f64x2.extract_lane(sums, 0) / <f64>cols;
  let square = f64x2.extract_lane(sums, 1) / <f64>cols;
  let mean: f64 = 0;
  if (!centred) {
    if (!isTrusted(0, square)) square = meanSquare(x, cols);
  } else if (isTrusted(shift, square)) {
    mean = <f64>pivot + shift;
    square = varianceOf(shift, square);
  } else {
    exact(x, pivotNear(<f64>pivot, shift), moments, moments + 8, 1, cols, 0);
    mean = load<f64>(moments);
    square = load<f64>(moments, 8);
  }
  square += eps;
  const s: f64 = square == 0 ? 0 : 1 / Math.sqrt(square);
  const h = <f32>mean;
  store<f32>(center, h);
  store<f32>(invStd, <f32>s);
  store<f32>(left, centred ? <f32>((<f64>h - mean) * s) : 0);
}

function meanSquare(x: usize, cols: u32): f64 {
  let sum: f64 = 0;
  for (const end = x + ((<usize>cols) << 2); x < end; x += 4) {
    const v = <f64>load<f32>(x);
    sum += v * v;
  }
  return sum / <f64>cols;
}

/** Bytes of columns summed in f32 before they join the f64 sums. */
// @ts-ignore: decorator
@inline const SPAN: usize = (<usize>BLOCK) << 2;

/**
 * Maps one row (M), and returns Σd and Σd² of another, d = next − pivot. The sums are the same with
 * and without the map.
 */
// @ts-ignore: decorator
@inline
function mapAndSum<M, R, A>(
  x: usize, gamma: usize, beta: usize, residual: usize, y: usize,
  center: usize, invStd: usize, left: usize, next: usize, pivot: v128, cols: u32,
): v128 {
  const h = v128.load32_splat(center);
  const s = v128.load32_splat(invStd);
  const t = v128.load32_splat(left);
  const whole = (<usize>cols & ~3) << 2;
  const rest = cols & 3;
  let sum: f64 = 0;
  let square: f64 = 0;
  let c: usize = 0;
  while (c < whole) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    const end = min(c + SPAN, whole);
    for (; c + 32 <= end; c += 32) {
      const d0 = f32x4.sub(v128.load(next + c, 0), pivot);
      const d1 = f32x4.sub(v128.load(next + c, 16), pivot);
      let v0 = d0;
      let v1 = d1;
      if (is<M, Yes>()) {
        v0 = mapped<R, A>(v128.load(x + c, 0), h, s, t, v128.load(gamma + c, 0), v128.load(beta + c, 0), at<R>(residual + c, 0));
        v1 = mapped<R, A>(v128.load(x + c, 16), h, s, t, v128.load(gamma + c, 16), v128.load(beta + c, 16), at<R>(residual + c, 16));
      }
      a0 = f32x4.add(a0, d0);
      b0 = madd(d0, d0, b0);
      a1 = f32x4.add(a1, d1);
      b1 = madd(d1, d1, b1);
      if (is<M, Yes>()) {
        v128.store(y + c, v0, 0);
        v128.store(y + c, v1, 16);
      }
    }
    if (c < end) {
      const d = f32x4.sub(v128.load(next + c), pivot);
      a0 = f32x4.add(a0, d);
      b0 = madd(d, d, b0);
      if (is<M, Yes>()) {
        v128.store(y + c, mapped<R, A>(v128.load(x + c), h, s, t, v128.load(gamma + c), v128.load(beta + c), at<R>(residual + c, 0)));
      }
      c += 16;
    }
    sum += sumF64(foldF64(f32x4.add(a0, a1)));
    square += sumF64(foldF64(f32x4.add(b0, b1)));
  }
  if (rest) {
    const d = f32x4.sub(loadTailOver(next + c, rest, pivot), pivot);
    sum += sumF64(foldF64(d));
    square += sumF64(foldF64(f32x4.mul(d, d)));
    if (is<M, Yes>()) {
      const r = is<R, Yes>() ? few(residual + c, rest) : f32x4.splat(0);
      storeFew(y + c, mapped<R, A>(few(x + c, rest), h, s, t, few(gamma + c, rest), few(beta + c, rest), r), rest);
    }
  }
  return f64x2.replace_lane(f64x2.splat(sum), 1, square);
}

// @ts-ignore: decorator
@inline
function at<R>(residual: usize, offset: usize): v128 {
  return is<R, Yes>() ? v128.load(residual + offset) : f32x4.splat(0);
}

// @ts-ignore: decorator
@inline
function mapped<R, A>(x: v128, h: v128, s: v128, t: v128, gamma: v128, beta: v128, residual: v128): v128 {
  let v = madd(madd(f32x4.sub(x, h), s, t), gamma, beta);
  if (is<R, Yes>()) v = f32x4.add(v, residual);
  if (is<A, Yes>()) v = f32x4.pmax(v, f32x4.splat(0));
  return v;
}
