import { few } from '../lanes';
import { addTo, countOf, Every2, First, firstOf, lanesAt, largest, paceOf, Whole, WINDOW } from '../windows';

/**
 * max_pool_grad — the gradient of max_pool: each window's goes to its first largest value, or to
 * its first NaN.
 *
 *   dx[i] = Σ dy[o] over the windows o whose first largest value is x[i]
 *
 * layout    x, dx [outer, inDepth, inHeight, inWidth, channels] f32, dy [outer, outDepth,
 *           outHeight, outWidth, channels] f32; windows as max_pool has them
 * sizes     all ≥ 1, outer any; channels need not be a multiple of 4
 * alias     none
 * align     4 bytes required, 16 preferred
 * numerics  f32 sums, in the order of windows; exact where they do not overlap
 * traffic   16 bytes per value of x and 4 per value of y, where windows do not overlap
 */
export function max_pool_grad_f32(
  x: usize, windows: usize, dy: usize, dx: usize, outer: u32, channels: u32,
  inDepth: u32, inHeight: u32, inWidth: u32, outDepth: u32, outHeight: u32, outWidth: u32,
  dilationDepth: u32, dilationHeight: u32, dilationWidth: u32,
): void {
  const pixel = (<usize>channels) << 2;
  const line = (<usize>inWidth) * pixel;
  const plane = (<usize>inHeight) * line;
  const deep = (<usize>dilationDepth) * plane;
  const down = (<usize>dilationHeight) * line;
  const right = (<usize>dilationWidth) * pixel;
  const rows = windows + (<usize>outDepth) * WINDOW;
  const columns = rows + (<usize>outHeight) * WINDOW;
  const end = columns + (<usize>outWidth) * WINDOW;
  const sample = (<usize>inDepth) * plane;
  const away = dx - x;
  for (; outer; outer--, x += sample) {
    memory.fill(x + away, 0, sample);
    for (let a = windows; a < rows; a += WINDOW) {
      const d = countOf(a);
      for (let b = rows; b < columns; b += WINDOW) {
        const h = countOf(b);
        const from = x + firstOf(a) * plane + firstOf(b) * line;
        for (let c = columns; c < end; c += WINDOW) {
          const w = countOf(c);
          let p = from + firstOf(c) * pixel;
          if (channels == 1) {
            const pace = paceOf(c);
            if (pace == 0) {
              give<First>(p, away, few(dy, 1), 1, d, h, w, deep, down, right);
              dy += 4;
            } else {
              if (pace == 1) give<Whole>(p, away, v128.load(dy), 4, d, h, w, deep, down, right);
              else give<Every2>(p, away, v128.load(dy), 4, d, h, w, deep, down, right);
              dy += 16;
              c += 3 * WINDOW;
            }
            continue;
          }
          let left = channels;
          for (; left >= 4; left -= 4, p += 16, dy += 16) give<Whole>(p, away, v128.load(dy), 4, d, h, w, deep, down, right);
          if (left) {
            give<First>(p, away, few(dy, left), left, d, h, w, deep, down, right);
            dy += (<usize>left) << 2;
          }
        }
      }
    }
  }
}

/** Adds `dy` at the first largest value of each lane. */
// @ts-ignore: decorator
@inline
function give<K>(
  p: usize, away: usize, dy: v128, n: u32, d: u32, h: u32, w: u32, deep: usize, down: usize, right: usize,
): void {
  const most = largest<K>(p, n, d, h, w, deep, down, right);
  let free = f32x4.eq(f32x4.splat(0), f32x4.splat(0));
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let j = w; j; j--, at += right) {
        const v = lanesAt<K>(at, n);
        const taken = v128.and(free, v128.or(f32x4.eq(v, most), f32x4.ne(v, v)));
        free = v128.andnot(free, taken);
        addTo<K>(at + away, v128.and(dy, taken), n);
      }
    }
  }
}
