import { few, highF64, lowF64, storeFew, sumF64 } from '../lanes';
import { countOf, divisorOf, Every2, First, firstOf, lanesAt, paceOf, Whole, WINDOW } from '../windows';

/**
 * avg_pool — the sum of each window over its divisor, over one to three axes.
 *
 *   y[n,a,b,c,k] = Σ x[n, first(a) + i, first(b) + j, first(c) + l, k]
 *                  / (divisor(a)·divisor(b)·divisor(c))
 *   i, j, l < count of the axis
 *
 * layout      x [outer, inDepth, inHeight, inWidth, channels] f32, y [outer, outDepth, outHeight,
 *             outWidth, channels] f32; with channels first, the planes are samples of one channel;
 *             windows [outDepth + outHeight + outWidth, 4] f32 (assembly/windows.ts)
 * sizes       all ≥ 1, outer any; channels need not be a multiple of 4
 * alias       none
 * align       4 bytes required, 16 preferred
 * accumulate  f64: one sum per value; of one plane's row two pairs of lanes, added at the end
 * numerics    one division in f64, rounded once
 * traffic     4 bytes per value of x and of y, where windows do not overlap
 */
export function avg_pool_f32(
  x: usize, windows: usize, y: usize, outer: u32, channels: u32,
  inDepth: u32, inHeight: u32, inWidth: u32, outDepth: u32, outHeight: u32, outWidth: u32,
): void {
  const pixel = (<usize>channels) << 2;
  const line = (<usize>inWidth) * pixel;
  const plane = (<usize>inHeight) * line;
  const rows = windows + (<usize>outDepth) * WINDOW;
  const columns = rows + (<usize>outHeight) * WINDOW;
  const end = columns + (<usize>outWidth) * WINDOW;
  for (; outer; outer--, x += (<usize>inDepth) * plane) {
    for (let a = windows; a < rows; a += WINDOW) {
      const d = countOf(a);
      for (let b = rows; b < columns; b += WINDOW) {
        const h = countOf(b);
        const part = <f64>divisorOf(a) * <f64>divisorOf(b);
        const from = x + firstOf(a) * plane + firstOf(b) * line;
        for (let c = columns; c < end; c += WINDOW) {
          const w = countOf(c);
          const divisor = part * <f64>divisorOf(c);
          let p = from + firstOf(c) * pixel;
          if (channels == 1) {
            const pace = paceOf(c);
            if (pace == 0) {
              store<f32>(y, <f32>(sumOf(p, d, h, w, plane, line) / divisor));
              y += 4;
            } else {
              if (pace == 1) v128.store(y, average<Whole>(p, 4, d, h, w, plane, line, pixel, divisor));
              else v128.store(y, average<Every2>(p, 4, d, h, w, plane, line, pixel, divisor));
              y += 16;
              c += 3 * WINDOW;
            }
            continue;
          }
          let left = channels;
          for (; left >= 4; left -= 4, p += 16, y += 16) v128.store(y, average<Whole>(p, 4, d, h, w, plane, line, pixel, divisor));
          if (left) {
            storeFew(y, average<First>(p, left, d, h, w, plane, line, pixel, divisor), left);
            y += (<usize>left) << 2;
          }
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function average<K>(
  p: usize, n: u32, d: u32, h: u32, w: u32, deep: usize, down: usize, right: usize, divisor: f64,
): v128 {
  let low = f64x2.splat(0);
  let high = low;
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let j = w; j; j--, at += right) {
        const v = lanesAt<K>(at, n);
        low = f64x2.add(low, lowF64(v));
        high = f64x2.add(high, highF64(v));
      }
    }
  }
  const by = f64x2.splat(divisor);
  return v128.shuffle<i32>(
    f32x4.demote_f64x2_zero(f64x2.div(low, by)), f32x4.demote_f64x2_zero(f64x2.div(high, by)), 0, 1, 4, 5,
  );
}

/** The sum of a window of one plane, four places at a time. */
// @ts-ignore: decorator
@inline
function sumOf(p: usize, d: u32, h: u32, w: u32, deep: usize, down: usize): f64 {
  let low = f64x2.splat(0);
  let high = low;
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let left = w; left; at += 16) {
        const n = min(left, 4);
        const v = few(at, n);
        low = f64x2.add(low, lowF64(v));
        high = f64x2.add(high, highF64(v));
        left -= n;
      }
    }
  }
  return sumF64(low) + sumF64(high);
}
