/**
 * designs — the orders in which a training forward may walk through memory: statistics and map of
 * channel planes, in loops of nothing else.
 *
 *   mean[c] = Σ x / n    var[c] = Σ x² / n − mean[c]²    y = (x − mean[c]) / √(var[c] + 1e-5)
 *
 * layout    x, y [outer, channels, inner] f32; sums [channels, 2] f64
 * sizes     inner a multiple of 256; channels a multiple of the slab
 * numerics  four f32 lanes of four accumulators for 256 values, then f64: for values near 1
 */

const PIECE: usize = 256;

/** The sums and squares of n values, a multiple of 16, added to those at `at`. */
// @ts-ignore: decorator
@inline
function sum(x: usize, n: usize, at: usize): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let q0 = s0;
  let q1 = s0;
  let q2 = s0;
  let q3 = s0;
  for (const end = x + (n << 2); x < end; x += 64) {
    const a = v128.load(x, 0);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
    s2 = f32x4.add(s2, c);
    s3 = f32x4.add(s3, d);
    q0 = f32x4.add(q0, f32x4.mul(a, a));
    q1 = f32x4.add(q1, f32x4.mul(b, b));
    q2 = f32x4.add(q2, f32x4.mul(c, c));
    q3 = f32x4.add(q3, f32x4.mul(d, d));
  }
  keep(s0, s1, s2, s3, at);
  keep(q0, q1, q2, q3, at + 8);
}

// @ts-ignore: decorator
@inline
function keep(a: v128, b: v128, c: v128, d: v128, at: usize): void {
  const s = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
  const low = f64x2.promote_low_f32x4(s);
  const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(s, s, 2, 3, 2, 3));
  const both = f64x2.add(low, high);
  store<f64>(at, load<f64>(at) + f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1));
}

// @ts-ignore: decorator
@inline
function map(x: usize, y: usize, n: usize, scale: v128, shift: v128): void {
  for (const end = x + (n << 2); x < end; x += 64, y += 64) {
    const a = v128.load(x, 0);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    v128.store(y, f32x4.add(f32x4.mul(a, scale), shift), 0);
    v128.store(y, f32x4.add(f32x4.mul(b, scale), shift), 16);
    v128.store(y, f32x4.add(f32x4.mul(c, scale), shift), 32);
    v128.store(y, f32x4.add(f32x4.mul(d, scale), shift), 48);
  }
}

// @ts-ignore: decorator
@inline
function scaleOf(at: usize, count: f64): f64 {
  const mean = load<f64>(at) / count;
  return 1 / sqrt(load<f64>(at, 8) / count - mean * mean + 1e-5);
}

// @ts-ignore: decorator
@inline
function shiftOf(at: usize, count: f64): f64 {
  return (-load<f64>(at) / count) * scaleOf(at, count);
}

/** Statistics of a slab of channels, then its map; a slab of all channels is one pass each. */
export function slabs(x: usize, y: usize, sums: usize, outer: usize, channels: usize, inner: usize, slab: usize): void {
  memory.fill(sums, 0, channels * 16);
  const count = <f64>(outer * inner);
  for (let first: usize = 0; first < channels; first += slab) {
    for (let n: usize = 0; n < outer; n++) {
      for (let c = first; c < first + slab; c++) sum(x + (((n * channels + c) * inner) << 2), inner, sums + c * 16);
    }
    for (let n: usize = 0; n < outer; n++) {
      for (let c = first; c < first + slab; c++) mapPlane(x, y, sums, n * channels + c, c, inner, count);
    }
  }
}

/** Statistics of everything, then the map from the last plane to the first. */
export function backwards(x: usize, y: usize, sums: usize, outer: usize, channels: usize, inner: usize, slab: usize): void {
  memory.fill(sums, 0, channels * 16);
  const count = <f64>(outer * inner);
  for (let i: usize = 0; i < outer * channels; i++) sum(x + ((i * inner) << 2), inner, sums + (i % channels) * 16);
  for (let i = outer * channels; i; i--) mapPlane(x, y, sums, i - 1, (i - 1) % channels, inner, count);
}

// @ts-ignore: decorator
@inline
function mapPlane(x: usize, y: usize, sums: usize, plane: usize, c: usize, inner: usize, count: f64): void {
  const at = sums + c * 16;
  const offset = (plane * inner) << 2;
  map(x + offset, y + offset, inner, f32x4.splat(<f32>scaleOf(at, count)), f32x4.splat(<f32>shiftOf(at, count)));
}

/** Statistics of a slab and the map of the one before it, in turns of 1 kB. */
export function turns(x: usize, y: usize, sums: usize, outer: usize, channels: usize, inner: usize, slab: usize): void {
  memory.fill(sums, 0, channels * 16);
  const count = <f64>(outer * inner);
  for (let first: usize = 0; first <= channels; first += slab) {
    for (let n: usize = 0; n < outer; n++) {
      for (let i: usize = 0; i < slab; i++) {
        const now = ((n * channels + first + i) * inner) << 2;
        const before = now - ((slab * inner) << 2);
        const at = sums + (first + i) * 16;
        if (first == 0) sum(x + now, inner, at);
        else {
          const scale = f32x4.splat(<f32>scaleOf(at - slab * 16, count));
          const shift = f32x4.splat(<f32>shiftOf(at - slab * 16, count));
          for (let piece: usize = 0; piece < inner << 2; piece += PIECE << 2) {
            if (first < channels) sum(x + now + piece, PIECE, at);
            map(x + before + piece, y + before + piece, PIECE, scale, shift);
          }
        }
      }
    }
  }
}

/** Statistics of a slab and the map of the one before it, instruction by instruction. */
export function interleaved(x: usize, y: usize, sums: usize, outer: usize, channels: usize, inner: usize, slab: usize): void {
  memory.fill(sums, 0, channels * 16);
  const count = <f64>(outer * inner);
  for (let first: usize = 0; first <= channels; first += slab) {
    for (let n: usize = 0; n < outer; n++) {
      for (let i: usize = 0; i < slab; i++) {
        const now = ((n * channels + first + i) * inner) << 2;
        const before = now - ((slab * inner) << 2);
        const at = sums + (first + i) * 16;
        if (first == 0) sum(x + now, inner, at);
        else {
          const scale = f32x4.splat(<f32>scaleOf(at - slab * 16, count));
          const shift = f32x4.splat(<f32>shiftOf(at - slab * 16, count));
          if (first == channels) map(x + before, y + before, inner, scale, shift);
          else both(x + now, x + before, y + before, inner, at, scale, shift);
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function both(x: usize, from: usize, to: usize, n: usize, at: usize, scale: v128, shift: v128): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let q0 = s0;
  let q1 = s0;
  let q2 = s0;
  let q3 = s0;
  for (const end = x + (n << 2); x < end; x += 64, from += 64, to += 64) {
    const a = v128.load(x, 0);
    const e = v128.load(from, 0);
    s0 = f32x4.add(s0, a);
    q0 = f32x4.add(q0, f32x4.mul(a, a));
    v128.store(to, f32x4.add(f32x4.mul(e, scale), shift), 0);
    const b = v128.load(x, 16);
    const f = v128.load(from, 16);
    s1 = f32x4.add(s1, b);
    q1 = f32x4.add(q1, f32x4.mul(b, b));
    v128.store(to, f32x4.add(f32x4.mul(f, scale), shift), 16);
    const c = v128.load(x, 32);
    const g = v128.load(from, 32);
    s2 = f32x4.add(s2, c);
    q2 = f32x4.add(q2, f32x4.mul(c, c));
    v128.store(to, f32x4.add(f32x4.mul(g, scale), shift), 32);
    const d = v128.load(x, 48);
    const h = v128.load(from, 48);
    s3 = f32x4.add(s3, d);
    q3 = f32x4.add(q3, f32x4.mul(d, d));
    v128.store(to, f32x4.add(f32x4.mul(h, scale), shift), 48);
  }
  keep(s0, s1, s2, s3, at);
  keep(q0, q1, q2, q3, at + 8);
}
