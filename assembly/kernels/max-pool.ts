import { storeFew } from '../lanes';
import { countOf, Every2, First, firstOf, largest, paceOf, Whole, WINDOW } from '../windows';

/**
 * max_pool — the largest value of each window, over one to three axes.
 *
 *   y[n,a,b,c,k] = max x[n, first(a) + i·dilation, first(b) + j·dilation, first(c) + l·dilation, k]
 *   i, j, l < count of the axis
 *
 * layout    x [outer, inDepth, inHeight, inWidth, channels] f32, y [outer, outDepth, outHeight,
 *           outWidth, channels] f32; with channels first, the planes are samples of one channel;
 *           windows [outDepth + outHeight + outWidth, 4] f32 (assembly/windows.ts)
 * sizes     all ≥ 1, outer any; channels need not be a multiple of 4
 * alias     none
 * align     4 bytes required, 16 preferred
 * numerics  exact; NaN where a value is NaN, −Inf where a window is empty
 * traffic   4 bytes per value of x and of y, where windows do not overlap
 */
export function max_pool_f32(
  x: usize, windows: usize, y: usize, outer: u32, channels: u32,
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
  for (; outer; outer--, x += (<usize>inDepth) * plane) {
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
              storeFew(y, largest<First>(p, 1, d, h, w, deep, down, right), 1);
              y += 4;
            } else {
              if (pace == 1) v128.store(y, largest<Whole>(p, 4, d, h, w, deep, down, right));
              else v128.store(y, largest<Every2>(p, 4, d, h, w, deep, down, right));
              y += 16;
              c += 3 * WINDOW;
            }
            continue;
          }
          let left = channels;
          for (; left >= 16; left -= 16, p += 64, y += 64) largest16(p, y, d, h, w, deep, down, right);
          for (; left >= 4; left -= 4, p += 16, y += 16) v128.store(y, largest<Whole>(p, 4, d, h, w, deep, down, right));
          if (left) {
            storeFew(y, largest<First>(p, left, d, h, w, deep, down, right), left);
            y += (<usize>left) << 2;
          }
        }
      }
    }
  }
}

/** Sixteen channels of a window at once. */
// @ts-ignore: decorator
@inline
function largest16(p: usize, y: usize, d: u32, h: u32, w: u32, deep: usize, down: usize, right: usize): void {
  const least = f32x4.splat(-Infinity);
  let most0 = least, most1 = least, most2 = least, most3 = least;
  let odd0 = f32x4.splat(0);
  let odd1 = odd0, odd2 = odd0, odd3 = odd0;
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let j = w; j; j--, at += right) {
        const v0 = v128.load(at);
        const v1 = v128.load(at, 16);
        const v2 = v128.load(at, 32);
        const v3 = v128.load(at, 48);
        most0 = f32x4.pmax(most0, v0);
        most1 = f32x4.pmax(most1, v1);
        most2 = f32x4.pmax(most2, v2);
        most3 = f32x4.pmax(most3, v3);
        odd0 = v128.or(odd0, f32x4.ne(v0, v0));
        odd1 = v128.or(odd1, f32x4.ne(v1, v1));
        odd2 = v128.or(odd2, f32x4.ne(v2, v2));
        odd3 = v128.or(odd3, f32x4.ne(v3, v3));
      }
    }
  }
  v128.store(y, v128.or(most0, odd0));
  v128.store(y, v128.or(most1, odd1), 16);
  v128.store(y, v128.or(most2, odd2), 32);
  v128.store(y, v128.or(most3, odd3), 48);
}
