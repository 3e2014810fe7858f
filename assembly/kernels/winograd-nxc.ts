import { is, No, Yes } from '../flags';
import { madd } from '../lanes';

/**
 * winograd_nxc — convolution of 3 × 3 windows, stride 1, channels innermost, in four ninths of the
 * multiplications.
 *
 *   y[n, i, j, o] = clamp(Σ x[n, i + k − top, j + l − left, c]·w[k, l, c, o]
 *                         + bias[o] + residual[n, i, j, o], low, high)
 *
 * for 2 × 2 outputs at a time as Aᵀ[(G·w·Gᵀ) ∘ (Bᵀ·x·B)]A (Winograd's F(2×2, 3×3); Lavin & Gray
 * 2015): 16 products of tiles × depth and depth × cols.
 *
 * layout      x [samples, height, width, depth]; packed as conv_nxc reads it, [⌈cols/8⌉, 9, depth,
 *             8]; y, residual [samples, outHeight, outWidth, pixel], of which the first cols; bias
 *             [cols] f32 or 0; residual may be 0. Places outside x count as 0. work:
 *             16·block·(depth + 8) + 128·depth + 512 values for every `share` columns
 * sizes       depth a multiple of 4; cols, share of 8; block of 4; top, left ≤ 2; all others ≥ 1
 * alias       y may be residual; no other overlap
 * align       4 bytes required, 16 preferred
 * accumulate  f32, in order of c; a pixel's result depends on where it lies in its 2 × 2, and on
 *             nothing beside it
 * numerics    a NaN passes the clamp. Tiles in which something is not finite are summed window by
 *             window, as conv_nxc does
 * traffic     2·16/4·samples·outHeight·outWidth·depth·cols flops, and the transforms
 */
export function winograd_nxc_f32(
  x: usize, packed: usize, bias: usize, residual: usize, y: usize, work: usize,
  low: f32, high: f32, samples: u32, height: u32, width: u32, depth: u32, outHeight: u32, outWidth: u32,
  cols: u32, pixel: u32, top: u32, left: u32, share: u32, block: u32,
): void {
  const least = f32x4.splat(low);
  const most = f32x4.splat(high);
  const down = (outHeight + 1) >> 1;
  const across = (outWidth + 1) >> 1;
  const tiles = samples * down * across;
  const bytes = (<usize>depth) << 2;
  // 64 bytes more, so that 16 streams do not fall on each other in cache
  const step = (<usize>block) * bytes + 64;
  const u = work + (step << 4);
  const by = (bytes << 3) + 64;
  const m = u + (by << 4);
  const onto = residual ? (residual - y) | 1 : 0;
  for (let first: u32 = 0; first < tiles; first += block) {
    const n = min(block, tiles - first);
    for (let t: u32 = 0; t < n; t++) {
      const at = first + t;
      const sample = at / (down * across);
      const i = <i32>(((at / across) % down) << 1) - <i32>top;
      const j = <i32>((at % across) << 1) - <i32>left;
      const from = x + (((<isize>(<i32>(sample * height) + i)) * width + j) * depth << 2);
      const to = work + (<usize>t) * bytes;
      if (i >= 0 && j >= 0 && i + 4 <= <i32>height && j + 4 <= <i32>width) {
        spread<No>(from, to, (<usize>width) * bytes, bytes, step, 0xffff);
      } else spread<Yes>(from, to, (<usize>width) * bytes, bytes, step, inside(i, j, height, width));
    }
    let w = packed;
    for (let o: u32 = 0; o < cols; o += 8, w += bytes * 72) {
      weights(w, u, bytes, by);
      for (let k: usize = 0; k < 16; k++) multiply(work + k * step, u + k * by, m + (k << 5), bytes, n);
      const b = bias ? bias + ((<usize>o) << 2) : 0;
      for (let t: u32 = 0; t < n; t++) {
        const at = first + t;
        const sample = at / (down * across);
        const i = ((at / across) % down) << 1;
        const j = (at % across) << 1;
        const to = y + ((((<usize>(sample * outHeight + i)) * outWidth + j) * pixel + o) << 2);
        const right = j + 1 < outWidth ? (<usize>pixel) << 2 : 0;
        const below = i + 1 < outHeight ? ((<usize>outWidth) * pixel) << 2 : 0;
        const tile = m + ((<usize>t) << 9);
        for (let half: usize = 0; half < 32; half += 16) {
          const h = b ? b + half : 0;
          if (join(tile + half, to + half, right, below, h, onto, least, most)) continue;
          // what the transforms make of infinities, or of sums beyond f32, the sums by themselves
          // need not be
          const from = x + ((<usize>(sample * height)) * width) * bytes;
          for (let q: u32 = 0; q < 4; q++) {
            if (((q & 1) && !right) || ((q & 2) && !below)) continue;
            const place = to + half + (q & 1 ? right : 0) + (q & 2 ? below : 0);
            const k = <i32>(i + (q >> 1)) - <i32>top;
            const l = <i32>(j + (q & 1)) - <i32>left;
            direct(from, w + half, h, place, onto, least, most, k, l, height, width, bytes);
          }
        }
      }
    }
  }
}

/** Which of 4 × 4 places from (i, j) on lie in the image: one bit each. */
function inside(i: i32, j: i32, height: u32, width: u32): u32 {
  let bits: u32 = 0;
  for (let k: u32 = 0; k < 16; k++) {
    if (<u32>(i + (k >> 2)) < height && <u32>(j + (k & 3)) < width) bits |= 1 << k;
  }
  return bits;
}

/** A value of the window; 0 outside, where it may reach there (E). */
// @ts-ignore: decorator
@inline
function at<E>(p: usize, bits: u32, k: u32): v128 {
  if (is<E, Yes>()) return bits & (1 << k) ? v128.load(p) : f32x4.splat(0);
  return v128.load(p);
}

/** Bᵀ·x·B of one window, channel by channel: 16 values, `step` bytes apart. */
function spread<E>(x: usize, v: usize, row: usize, pixel: usize, step: usize, bits: u32): void {
  const v4 = v + (step << 2);
  const v8 = v4 + (step << 2);
  const v12 = v8 + (step << 2);
  const x1 = x + row;
  const x2 = x1 + row;
  const x3 = x2 + row;
  for (let c: usize = 0; c < pixel; c += 16) {
    const d00 = at<E>(x + c, bits, 0);
    const d01 = at<E>(x + c + pixel, bits, 1);
    const d02 = at<E>(x + c + (pixel << 1), bits, 2);
    const d03 = at<E>(x + c + (pixel << 1) + pixel, bits, 3);
    const d10 = at<E>(x1 + c, bits, 4);
    const d11 = at<E>(x1 + c + pixel, bits, 5);
    const d12 = at<E>(x1 + c + (pixel << 1), bits, 6);
    const d13 = at<E>(x1 + c + (pixel << 1) + pixel, bits, 7);
    const d20 = at<E>(x2 + c, bits, 8);
    const d21 = at<E>(x2 + c + pixel, bits, 9);
    const d22 = at<E>(x2 + c + (pixel << 1), bits, 10);
    const d23 = at<E>(x2 + c + (pixel << 1) + pixel, bits, 11);
    const d30 = at<E>(x3 + c, bits, 12);
    const d31 = at<E>(x3 + c + pixel, bits, 13);
    const d32 = at<E>(x3 + c + (pixel << 1), bits, 14);
    const d33 = at<E>(x3 + c + (pixel << 1) + pixel, bits, 15);
    const t00 = f32x4.sub(d00, d20);
    const t01 = f32x4.sub(d01, d21);
    const t02 = f32x4.sub(d02, d22);
    const t03 = f32x4.sub(d03, d23);
    v128.store(v + c, f32x4.sub(t00, t02));
    v128.store(v + c + step, f32x4.add(t01, t02));
    v128.store(v + c + (step << 1), f32x4.sub(t02, t01));
    v128.store(v + c + (step << 1) + step, f32x4.sub(t01, t03));
    const t10 = f32x4.add(d10, d20);
    const t11 = f32x4.add(d11, d21);
    const t12 = f32x4.add(d12, d22);
    const t13 = f32x4.add(d13, d23);
    v128.store(v4 + c, f32x4.sub(t10, t12));
    v128.store(v4 + c + step, f32x4.add(t11, t12));
    v128.store(v4 + c + (step << 1), f32x4.sub(t12, t11));
    v128.store(v4 + c + (step << 1) + step, f32x4.sub(t11, t13));
    const t20 = f32x4.sub(d20, d10);
    const t21 = f32x4.sub(d21, d11);
    const t22 = f32x4.sub(d22, d12);
    const t23 = f32x4.sub(d23, d13);
    v128.store(v8 + c, f32x4.sub(t20, t22));
    v128.store(v8 + c + step, f32x4.add(t21, t22));
    v128.store(v8 + c + (step << 1), f32x4.sub(t22, t21));
    v128.store(v8 + c + (step << 1) + step, f32x4.sub(t21, t23));
    const t30 = f32x4.sub(d10, d30);
    const t31 = f32x4.sub(d11, d31);
    const t32 = f32x4.sub(d12, d32);
    const t33 = f32x4.sub(d13, d33);
    v128.store(v12 + c, f32x4.sub(t30, t32));
    v128.store(v12 + c + step, f32x4.add(t31, t32));
    v128.store(v12 + c + (step << 1), f32x4.sub(t32, t31));
    v128.store(v12 + c + (step << 1) + step, f32x4.sub(t31, t33));
  }
}

/** G·w·Gᵀ of one panel: [9, depth, 8] as 16 times [depth, 8], `by` bytes apart. */
function weights(w: usize, u: usize, bytes: usize, by: usize): void {
  const tap = bytes << 3;
  const half = f32x4.splat(0.5);
  const w3 = w + tap * 3;
  const w6 = w3 + tap * 3;
  const u4 = u + (by << 2);
  const u8 = u4 + (by << 2);
  const u12 = u8 + (by << 2);
  for (let c: usize = 0; c < tap; c += 16) {
    const g00 = v128.load(w + c);
    const g01 = v128.load(w + c + tap);
    const g02 = v128.load(w + c + (tap << 1));
    const g10 = v128.load(w3 + c);
    const g11 = v128.load(w3 + c + tap);
    const g12 = v128.load(w3 + c + (tap << 1));
    const g20 = v128.load(w6 + c);
    const g21 = v128.load(w6 + c + tap);
    const g22 = v128.load(w6 + c + (tap << 1));
    const s0 = f32x4.add(g00, g20);
    const a0 = f32x4.mul(f32x4.add(s0, g10), half);
    const b0 = f32x4.mul(f32x4.sub(s0, g10), half);
    const s1 = f32x4.add(g01, g21);
    const a1 = f32x4.mul(f32x4.add(s1, g11), half);
    const b1 = f32x4.mul(f32x4.sub(s1, g11), half);
    const s2 = f32x4.add(g02, g22);
    const a2 = f32x4.mul(f32x4.add(s2, g12), half);
    const b2 = f32x4.mul(f32x4.sub(s2, g12), half);
    row(u + c, by, g00, g01, g02, half);
    row(u4 + c, by, a0, a1, a2, half);
    row(u8 + c, by, b0, b1, b2, half);
    row(u12 + c, by, g20, g21, g22, half);
  }
}

// @ts-ignore: decorator
@inline
function row(u: usize, by: usize, g0: v128, g1: v128, g2: v128, half: v128): void {
  const s = f32x4.add(g0, g2);
  v128.store(u, g0);
  v128.store(u + by, f32x4.mul(f32x4.add(s, g1), half));
  v128.store(u + (by << 1), f32x4.mul(f32x4.sub(s, g1), half));
  v128.store(u + (by << 1) + by, g2);
}

/** One of the 16 products: [n, depth] by [depth, 8], rows of the result 512 bytes apart. */
function multiply(v: usize, u: usize, m: usize, bytes: usize, n: u32): void {
  for (let t: u32 = 0; t < n; t += 4, v += bytes << 2, m += 2048) {
    const left = n - t - 1;
    let x0 = v;
    let x1 = v + (left > 0 ? bytes : 0);
    let x2 = v + (left > 1 ? bytes << 1 : 0);
    let x3 = v + (left > 2 ? (bytes << 1) + bytes : 0);
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let c0 = f32x4.splat(0);
    let c1 = f32x4.splat(0);
    let d0 = f32x4.splat(0);
    let d1 = f32x4.splat(0);
    let w = u;
    for (const until = x0 + bytes; x0 < until; ) {
      const w0 = v128.load(w, 0);
      const w1 = v128.load(w, 16);
      const v0 = v128.load32_splat(x0);
      a0 = madd(v0, w0, a0);
      a1 = madd(v0, w1, a1);
      const v1 = v128.load32_splat(x1);
      b0 = madd(v1, w0, b0);
      b1 = madd(v1, w1, b1);
      const v2 = v128.load32_splat(x2);
      c0 = madd(v2, w0, c0);
      c1 = madd(v2, w1, c1);
      const v3 = v128.load32_splat(x3);
      d0 = madd(v3, w0, d0);
      d1 = madd(v3, w1, d1);
      x0 += 4;
      x1 += 4;
      x2 += 4;
      x3 += 4;
      w += 32;
    }
    v128.store(m, a0, 0);
    v128.store(m, a1, 16);
    v128.store(m, b0, 512);
    v128.store(m, b1, 528);
    v128.store(m, c0, 1024);
    v128.store(m, c1, 1040);
    v128.store(m, d0, 1536);
    v128.store(m, d1, 1552);
  }
}

/**
 * Aᵀ·m·A, four channels of a tile: 2 × 2 outputs, of which those that lie in the image are stored
 * (`right`, `below`: bytes, or 0). Is everything finite? Where it is not, nothing is stored.
 */
function join(
  m: usize, y: usize, right: usize, below: usize, bias: usize, onto: usize, least: v128, most: v128,
): bool {
  const m10 = v128.load(m, 128);
  const m20 = v128.load(m, 256);
  const s0 = f32x4.add(f32x4.add(v128.load(m, 0), m10), m20);
  const r0 = f32x4.sub(f32x4.sub(m10, m20), v128.load(m, 384));
  const m11 = v128.load(m, 160);
  const m21 = v128.load(m, 288);
  const s1 = f32x4.add(f32x4.add(v128.load(m, 32), m11), m21);
  const r1 = f32x4.sub(f32x4.sub(m11, m21), v128.load(m, 416));
  const m12 = v128.load(m, 192);
  const m22 = v128.load(m, 320);
  const s2 = f32x4.add(f32x4.add(v128.load(m, 64), m12), m22);
  const r2 = f32x4.sub(f32x4.sub(m12, m22), v128.load(m, 448));
  const m13 = v128.load(m, 224);
  const m23 = v128.load(m, 352);
  const s3 = f32x4.add(f32x4.add(v128.load(m, 96), m13), m23);
  const r3 = f32x4.sub(f32x4.sub(m13, m23), v128.load(m, 480));
  let y0 = f32x4.add(f32x4.add(s0, s1), s2);
  let y1 = f32x4.sub(f32x4.sub(s1, s2), s3);
  let y2 = f32x4.add(f32x4.add(r0, r1), r2);
  let y3 = f32x4.sub(f32x4.sub(r1, r2), r3);
  const sum = f32x4.add(f32x4.add(f32x4.abs(y0), f32x4.abs(y1)), f32x4.add(f32x4.abs(y2), f32x4.abs(y3)));
  if (!i32x4.all_true(f32x4.le(sum, f32x4.splat(f32.MAX_VALUE)))) return false;
  const b = bias ? v128.load(bias) : f32x4.splat(0);
  put(y, y0, b, onto, least, most);
  if (right) put(y + right, y1, b, onto, least, most);
  if (below) put(y + below, y2, b, onto, least, most);
  if (right && below) put(y + right + below, y3, b, onto, least, most);
  return true;
}

/**
 * Stores a sum, plus bias and residual, clamped. `onto`: bytes from the output to the residual,
 * plus 1; 0: none.
 */
// @ts-ignore: decorator
@inline
function put(y: usize, v: v128, b: v128, onto: usize, least: v128, most: v128): void {
  v = f32x4.add(v, b);
  if (onto) v = f32x4.add(v, v128.load(y + (onto & ~3)));
  v128.store(y, f32x4.pmin(f32x4.pmax(v, least), most));
}

/** Four channels of one output, window place after window place. */
function direct(
  x: usize, w: usize, bias: usize, y: usize, onto: usize, least: v128, most: v128,
  i: i32, j: i32, height: u32, width: u32, bytes: usize,
): void {
  let sum = f32x4.splat(0);
  for (let k: i32 = 0; k < 9; k++) {
    const row = i + k / 3;
    const col = j + k % 3;
    if (<u32>row >= height || <u32>col >= width) continue;
    let p = x + ((<usize>row) * width + col) * bytes;
    let q = w + (<usize>k) * (bytes << 3);
    for (const until = p + bytes; p < until; p += 4, q += 32) sum = madd(v128.load32_splat(p), v128.load(q), sum);
  }
  put(y, sum, bias ? v128.load(bias) : f32x4.splat(0), onto, least, most);
}
