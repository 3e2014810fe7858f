import { is, RELU } from '../activations';
import { finish, isFused, No, PIECE, residualAt, residualTail, sweep, Yes } from '../epilogue';
import { loadTail, madd, storeTail } from '../lanes';

/**
 * normalize_nxc — the training map, channels innermost: centred before it is scaled, with the mean in two floats.
 *
 *   y[r,c] = f(((x[r,c] − hi[c]) − lo[c])·scale[c] + beta[c] + residual[r,c])
 *
 * layout    x, residual, y [rows, channels] f32, contiguous; hi, lo, scale, beta [channels] f32; residual may be 0: none
 * sizes     all ≥ 1; channels need not be a multiple of 4
 * alias     y may be x or residual; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32; a constant channel gives exactly beta
 * traffic   8 bytes per element, 12 with a residual
 */
export function normalize_nxc_f32(
  x: usize, hi: usize, lo: usize, scale: usize, beta: usize, residual: usize, y: usize,
  kind: i32, alpha: f32, rows: u32, channels: u32,
): void {
  const pieceRows = isFused(kind) ? rows : max(PIECE / channels, 1);
  const row = (<usize>channels) << 2;
  for (let first: u32 = 0; first < rows; first += pieceRows) {
    const count = min(pieceRows, rows - first);
    const offset = (<usize>first) * row;
    piece(x + offset, hi, lo, scale, beta, residual, residual + offset, y + offset, kind, count, channels);
    sweep(y + offset, kind, alpha, count * channels);
  }
}

function piece(
  x: usize, hi: usize, lo: usize, scale: usize, beta: usize, residual: usize, r: usize, y: usize,
  kind: i32, rows: u32, channels: u32,
): void {
  if (residual) {
    if (kind == RELU) run<Yes, Yes>(x, hi, lo, scale, beta, r, y, rows, channels);
    else run<Yes, No>(x, hi, lo, scale, beta, r, y, rows, channels);
  } else {
    if (kind == RELU) run<No, Yes>(x, hi, lo, scale, beta, r, y, rows, channels);
    else run<No, No>(x, hi, lo, scale, beta, r, y, rows, channels);
  }
}

// @ts-ignore: decorator
@inline
function normal(x: v128, h: v128, l: v128, a: v128, b: v128): v128 {
  return madd(f32x4.sub(f32x4.sub(x, h), l), a, b);
}

// @ts-ignore: decorator
@inline
function run<R, A>(
  x: usize, hi: usize, lo: usize, scale: usize, beta: usize, r: usize, y: usize,
  rows: u32, channels: u32,
): void {
  const whole = (<usize>channels & ~3) << 2;
  const rest = channels & 3;
  for (let n: u32 = 0; n < rows; n++) {
    let c: usize = 0;
    for (; c < whole; c += 16) {
      const v = normal(v128.load(x), v128.load(hi + c), v128.load(lo + c), v128.load(scale + c), v128.load(beta + c));
      v128.store(y, finish<R, A>(v, residualAt<R>(r, 0)));
      x += 16;
      y += 16;
      if (is<R, Yes>()) r += 16;
    }
    if (rest) {
      const v = normal(
        loadTail(x, rest), loadTail(hi + c, rest), loadTail(lo + c, rest), loadTail(scale + c, rest), loadTail(beta + c, rest),
      );
      storeTail(y, finish<R, A>(v, residualTail<R>(r, rest)), rest);
      x += (<usize>rest) << 2;
      y += (<usize>rest) << 2;
      if (is<R, Yes>()) r += (<usize>rest) << 2;
    }
  }
}
