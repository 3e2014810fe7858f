import { is, RELU } from '../activations';
import { finish, isFused, No, PIECE, residualAt, residualTail, sweep, Yes } from '../epilogue';
import { loadTail, madd, storeTail } from '../lanes';

/**
 * affine_nxc — the evaluation map, channels innermost.
 *
 *   y[r,c] = f(x[r,c]·scale[c] + shift[c] + residual[r,c])
 *
 * layout    x, residual, y [rows, channels] f32, contiguous; scale, shift [channels] f32; residual may be 0: none
 * sizes     all ≥ 1; channels need not be a multiple of 4
 * alias     y may be x or residual; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  one multiply and one add, f32; fused in the relaxed build
 * traffic   8 bytes per element, 12 with a residual
 */
export function affine_nxc_f32(
  x: usize, scale: usize, shift: usize, residual: usize, y: usize,
  kind: i32, alpha: f32, rows: u32, channels: u32,
): void {
  const pieceRows = isFused(kind) ? rows : max(PIECE / channels, 1);
  const row = (<usize>channels) << 2;
  for (let first: u32 = 0; first < rows; first += pieceRows) {
    const count = min(pieceRows, rows - first);
    const offset = (<usize>first) * row;
    piece(x + offset, scale, shift, residual, residual + offset, y + offset, kind, count, channels);
    sweep(y + offset, kind, alpha, count * channels);
  }
}

function piece(
  x: usize, scale: usize, shift: usize, residual: usize, r: usize, y: usize, kind: i32, rows: u32, channels: u32,
): void {
  if (residual) {
    if (kind == RELU) run<Yes, Yes>(x, scale, shift, r, y, rows, channels);
    else run<Yes, No>(x, scale, shift, r, y, rows, channels);
  } else {
    if (kind == RELU) run<No, Yes>(x, scale, shift, r, y, rows, channels);
    else run<No, No>(x, scale, shift, r, y, rows, channels);
  }
}

// @ts-ignore: decorator
@inline
function run<R, A>(
  x: usize, scale: usize, shift: usize, r: usize, y: usize, rows: u32, channels: u32,
): void {
  const whole = scale + ((<usize>channels & ~3) << 2);
  const unrolled = scale + ((<usize>channels & ~15) << 2);
  const rest = channels & 3;
  for (let n: u32 = 0; n < rows; n++) {
    let a = scale;
    let b = shift;
    while (a < unrolled) {
      const v0 = finish<R, A>(madd(v128.load(x, 0), v128.load(a, 0), v128.load(b, 0)), residualAt<R>(r, 0));
      const v1 = finish<R, A>(madd(v128.load(x, 16), v128.load(a, 16), v128.load(b, 16)), residualAt<R>(r, 16));
      const v2 = finish<R, A>(madd(v128.load(x, 32), v128.load(a, 32), v128.load(b, 32)), residualAt<R>(r, 32));
      const v3 = finish<R, A>(madd(v128.load(x, 48), v128.load(a, 48), v128.load(b, 48)), residualAt<R>(r, 48));
      v128.store(y, v0, 0);
      v128.store(y, v1, 16);
      v128.store(y, v2, 32);
      v128.store(y, v3, 48);
      x += 64;
      y += 64;
      a += 64;
      b += 64;
      if (is<R, Yes>()) r += 64;
    }
    while (a < whole) {
      v128.store(y, finish<R, A>(madd(v128.load(x), v128.load(a), v128.load(b)), residualAt<R>(r, 0)));
      x += 16;
      y += 16;
      a += 16;
      b += 16;
      if (is<R, Yes>()) r += 16;
    }
    if (rest) {
      const v = madd(loadTail(x, rest), loadTail(a, rest), loadTail(b, rest));
      storeTail(y, finish<R, A>(v, residualTail<R>(r, rest)), rest);
      x += (<usize>rest) << 2;
      y += (<usize>rest) << 2;
      if (is<R, Yes>()) r += (<usize>rest) << 2;
    }
  }
}
