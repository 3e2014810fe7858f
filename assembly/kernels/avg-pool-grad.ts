import { few } from '../lanes';
import { addTo, countOf, divisorOf, Every2, First, firstOf, paceOf, Whole, WINDOW } from '../windows';

/**
 * avg_pool_grad — the gradient of avg_pool: each window's over its divisor, to every place in it.
 *
 *   dx[i] = Σ dy[o] / divisor(o) over the windows o with place i
 *
 * layout    dx [outer, inDepth, inHeight, inWidth, channels] f32, dy [outer, outDepth, outHeight,
 *           outWidth, channels] f32; windows as avg_pool has them
 * sizes     all ≥ 1, outer any; channels need not be a multiple of 4
 * alias     none
 * align     4 bytes required, 16 preferred
 * numerics  one division, f32 sums in the order of windows
 * traffic   12 bytes per value of dx and 4 per value of dy, where windows do not overlap
 */
export function avg_pool_grad_f32(
  dy: usize, windows: usize, dx: usize, outer: u32, channels: u32,
  inDepth: u32, inHeight: u32, inWidth: u32, outDepth: u32, outHeight: u32, outWidth: u32,
): void {
  const pixel = (<usize>channels) << 2;
  const line = (<usize>inWidth) * pixel;
  const plane = (<usize>inHeight) * line;
  const rows = windows + (<usize>outDepth) * WINDOW;
  const columns = rows + (<usize>outHeight) * WINDOW;
  const end = columns + (<usize>outWidth) * WINDOW;
  const sample = (<usize>inDepth) * plane;
  for (; outer; outer--, dx += sample) {
    memory.fill(dx, 0, sample);
    for (let a = windows; a < rows; a += WINDOW) {
      const d = countOf(a);
      for (let b = rows; b < columns; b += WINDOW) {
        const h = countOf(b);
        const part = <f64>divisorOf(a) * <f64>divisorOf(b);
        const from = dx + firstOf(a) * plane + firstOf(b) * line;
        for (let c = columns; c < end; c += WINDOW) {
          const w = countOf(c);
          const divisor = f32x4.splat(<f32>(part * <f64>divisorOf(c)));
          let p = from + firstOf(c) * pixel;
          if (channels == 1) {
            const pace = paceOf(c);
            if (pace == 0) {
              raise(p, f32x4.div(f32x4.splat(load<f32>(dy)), divisor), d, h, w, plane, line);
              dy += 4;
            } else {
              const v = f32x4.div(v128.load(dy), divisor);
              if (pace == 1) spread<Whole>(p, v, 4, d, h, w, plane, line, pixel);
              else spread<Every2>(p, v, 4, d, h, w, plane, line, pixel);
              dy += 16;
              c += 3 * WINDOW;
            }
            continue;
          }
          let left = channels;
          for (; left >= 4; left -= 4, p += 16, dy += 16) {
            spread<Whole>(p, f32x4.div(v128.load(dy), divisor), 4, d, h, w, plane, line, pixel);
          }
          if (left) {
            spread<First>(p, f32x4.div(few(dy, left), divisor), left, d, h, w, plane, line, pixel);
            dy += (<usize>left) << 2;
          }
        }
      }
    }
  }
}

/** Adds to every place of a window. */
// @ts-ignore: decorator
@inline
function spread<K>(p: usize, v: v128, n: u32, d: u32, h: u32, w: u32, deep: usize, down: usize, right: usize): void {
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let j = w; j; j--, at += right) addTo<K>(at, v, n);
    }
  }
}

/** The same in one plane, four places at a time: all lanes are the same. */
// @ts-ignore: decorator
@inline
function raise(p: usize, v: v128, d: u32, h: u32, w: u32, deep: usize, down: usize): void {
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let left = w; left; at += 16) {
        const n = min(left, 4);
        addTo<First>(at, v, n);
        left -= n;
      }
    }
  }
}
