import { loadTail, nmadd, storeTail } from '../lanes';

/**
 * grad_input_nxc — gradient with respect to the input, channels innermost.
 *
 *   dx[r,c] = a[c]·((dy[r,c] − k[c]) − b[c]·x̂[r,c])     x̂ = ((x − hi[c]) − lo[c])·invStd[c]
 *
 * layout    x, dy, dx [rows, channels] f32, contiguous; hi, lo, invStd, a, b, k [channels] f32
 * sizes     all ≥ 1; channels need not be a multiple of 4
 * alias     dx may be dy or x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32, centred and scaled before b, so that terms stay in range whatever the spread of x; differences first, so that what
 *           cancels does so before it is scaled (one value per channel, or a constant dy, gives 0)
 * traffic   12 bytes per element
 */
export function grad_input_nxc_f32(
  x: usize, dy: usize, hi: usize, lo: usize, invStd: usize, a: usize, b: usize, k: usize, dx: usize,
  rows: u32, channels: u32,
): void {
  const whole = (<usize>channels & ~3) << 2;
  const rest = channels & 3;
  for (let n: u32 = 0; n < rows; n++) {
    let c: usize = 0;
    for (; c < whole; c += 16, x += 16, dy += 16, dx += 16) {
      v128.store(dx, gradient(
        v128.load(x), v128.load(dy), v128.load(hi + c), v128.load(lo + c), v128.load(invStd + c),
        v128.load(a + c), v128.load(b + c), v128.load(k + c),
      ));
    }
    if (rest) {
      storeTail(dx, gradient(
        loadTail(x, rest), loadTail(dy, rest), loadTail(hi + c, rest), loadTail(lo + c, rest), loadTail(invStd + c, rest),
        loadTail(a + c, rest), loadTail(b + c, rest), loadTail(k + c, rest),
      ), rest);
      x += (<usize>rest) << 2;
      dy += (<usize>rest) << 2;
      dx += (<usize>rest) << 2;
    }
  }
}

// @ts-ignore: decorator
@inline
function gradient(x: v128, dy: v128, h: v128, l: v128, s: v128, a: v128, b: v128, k: v128): v128 {
  return f32x4.mul(a, nmadd(b, f32x4.mul(f32x4.sub(f32x4.sub(x, h), l), s), f32x4.sub(dy, k)));
}
