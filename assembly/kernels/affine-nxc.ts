import { RELU } from '../activations';
import { finish, isFused, PIECE, sweep } from '../epilogue';
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
    if (kind == RELU) run(x, scale, shift, r, y, rows, channels, true, true);
    else run(x, scale, shift, r, y, rows, channels, true, false);
  } else {
    if (kind == RELU) run(x, scale, shift, r, y, rows, channels, false, true);
    else run(x, scale, shift, r, y, rows, channels, false, false);
  }
}

// @ts-ignore: decorator
@inline
function run(
  x: usize, scale: usize, shift: usize, r: usize, y: usize, rows: u32, channels: u32, residual: bool, relu: bool,
): void {
  const zero = f32x4.splat(0);
  const whole = scale + ((<usize>channels & ~3) << 2);
  const unrolled = scale + ((<usize>channels & ~15) << 2);
  const rest = channels & 3;
  for (let n: u32 = 0; n < rows; n++) {
    let a = scale;
    let b = shift;
    while (a < unrolled) {
      const v0 = finish(madd(v128.load(x, 0), v128.load(a, 0), v128.load(b, 0)), residual ? v128.load(r, 0) : zero, residual, relu);
      const v1 = finish(madd(v128.load(x, 16), v128.load(a, 16), v128.load(b, 16)), residual ? v128.load(r, 16) : zero, residual, relu);
      const v2 = finish(madd(v128.load(x, 32), v128.load(a, 32), v128.load(b, 32)), residual ? v128.load(r, 32) : zero, residual, relu);
      const v3 = finish(madd(v128.load(x, 48), v128.load(a, 48), v128.load(b, 48)), residual ? v128.load(r, 48) : zero, residual, relu);
      v128.store(y, v0, 0);
      v128.store(y, v1, 16);
      v128.store(y, v2, 32);
      v128.store(y, v3, 48);
      x += 64;
      y += 64;
      a += 64;
      b += 64;
      if (residual) r += 64;
    }
    while (a < whole) {
      v128.store(y, finish(madd(v128.load(x), v128.load(a), v128.load(b)), residual ? v128.load(r) : zero, residual, relu));
      x += 16;
      y += 16;
      a += 16;
      b += 16;
      if (residual) r += 16;
    }
    if (rest) {
      const v = madd(loadTail(x, rest), loadTail(a, rest), loadTail(b, rest));
      storeTail(y, finish(v, residual ? loadTail(r, rest) : zero, residual, relu), rest);
      x += (<usize>rest) << 2;
      y += (<usize>rest) << 2;
      if (residual) r += (<usize>rest) << 2;
    }
  }
}
