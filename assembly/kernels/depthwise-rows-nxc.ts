import { few, madd, storeFew } from '../lanes';

/**
 * depthwise_rows_nxc — convolution of each channel by itself on whole images, channels innermost.
 *
 *   y[n, i, j, c] = clamp(Σ x[n, i·strideHeight + k − top, j·strideWidth + l − left, c]·w[k, l, c]
 *                         + bias[c] + residual[n, i, j, c], low, high)
 *
 * layout      x [samples, height, width, cols]; w [kernelHeight, kernelWidth, cols]; y, residual
 *             [samples, outHeight, outWidth, cols]; bias [cols] f32 or 0; residual may be 0; order
 *             [rows] u32: which rows of y to write, n·outHeight + i. Places outside x are left out
 * sizes       all ≥ 1, top and left ≥ 0; rows ≤ samples·outHeight
 * alias       y may be residual; no other overlap
 * align       4 bytes required, 16 preferred
 * accumulate  f32, in order of k and l: a pixel's result does not depend on the pixels beside it
 * numerics    a NaN passes the clamp
 * traffic     2·samples·outHeight·outWidth·kernelHeight·kernelWidth·cols flops. Kernels of 3 and 5
 *             columns at strides 1 and 2: four pixels × 4 channels, a row of weights in registers,
 *             what neighbours share loaded once
 */
export function depthwise_rows_nxc_f32(
  x: usize, w: usize, bias: usize, residual: usize, y: usize, order: usize, low: f32, high: f32,
  rows: u32, samples: u32, height: u32, width: u32, outHeight: u32, outWidth: u32, cols: u32,
  kernelHeight: u32, kernelWidth: u32, strideHeight: u32, strideWidth: u32, top: u32, left: u32,
): void {
  const least = f32x4.splat(low);
  const most = f32x4.splat(high);
  const onto = residual ? (residual - y) | 1 : 0;
  const pixel = (<usize>cols) << 2;
  const across = (<usize>width) * pixel;
  const isFast = (kernelWidth == 3 || kernelWidth == 5) && strideWidth <= 2;
  for (const until = order + ((<usize>rows) << 2); order < until; order += 4) {
    const row = load<u32>(order);
    const i = <i32>((row % outHeight) * strideHeight) - <i32>top;
    const first = max(0, -i);
    const count = max(0, min(<i32>kernelHeight, <i32>height - i) - first);
    const from = x + (<usize>((row / outHeight) * height + <u32>(i + first))) * across;
    const by = w + (<usize>first) * kernelWidth * pixel;
    const to = y + (<usize>row) * outWidth * pixel;
    for (let c: u32 = 0; c < cols; c += 4) {
      const byte = (<usize>c) << 2;
      const b = bias ? bias + byte : 0;
      const n = min(4, cols - c);
      let p = from + byte;
      let q = to + byte;
      if (isFast && n == 4) {
        if (kernelWidth == 3) {
          if (strideWidth == 1) tiles31(p, by + byte, q, b, onto, least, most, count, across, pixel, left, width, outWidth);
          else tiles32(p, by + byte, q, b, onto, least, most, count, across, pixel, left, width, outWidth);
        } else if (strideWidth == 1) tiles51(p, by + byte, q, b, onto, least, most, count, across, pixel, left, width, outWidth);
        else tiles52(p, by + byte, q, b, onto, least, most, count, across, pixel, left, width, outWidth);
      } else {
        for (let j: u32 = 0; j < outWidth; j++, q += pixel) {
          single(p, by + byte, q, b, onto, least, most, count, across, pixel, kernelWidth, j * strideWidth - left, width, n);
        }
      }
    }
  }
}

/** Up to four channels of one pixel, whose window begins at a column that may lie outside. */
function single(
  x: usize, w: usize, y: usize, bias: usize, onto: usize, least: v128, most: v128,
  rows: i32, across: usize, pixel: usize, kernelWidth: u32, col: i32, width: u32, n: u32,
): void {
  const first = max(0, -col);
  const last = min(<i32>kernelWidth, <i32>width - col);
  let v = f32x4.splat(0);
  x += (<isize>(col + first)) * pixel;
  w += (<usize>first) * pixel;
  for (; rows > 0; rows--, x += across, w += (<usize>kernelWidth) * pixel) {
    let p = x;
    let q = w;
    for (let l = first; l < last; l++, p += pixel, q += pixel) v = madd(few(p, n), few(q, n), v);
  }
  if (bias) v = f32x4.add(v, few(bias, n));
  if (onto) v = f32x4.add(v, few(y + (onto & ~3), n));
  storeFew(y, f32x4.pmin(f32x4.pmax(v, least), most), n);
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

/** Pixels four by four, of kernels of 3 columns at stride 1; columns outside are left out. */
function tiles31(
  x: usize, w: usize, y: usize, bias: usize, onto: usize, least: v128, most: v128,
  rows: i32, across: usize, pixel: usize, left: u32, width: u32, outWidth: u32,
): void {
  const shift = bias ? v128.load(bias) : f32x4.splat(0);
  x -= (<usize>left) * pixel;
  for (let j: u32 = 0; j < outWidth; j += 4, x += pixel * 4, y += pixel << 2) {
    // which columns lie inside: one bit each
    const col = <i32>(j * 1) - <i32>left;
    let bits: u32 = 63;
    if (col < 0) bits &= col > -32 ? -1 << -col : 0;
    const inside = <i32>width - col;
    if (inside < 6) bits &= inside > 0 ? (1 << inside) - 1 : 0;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    let f = w;
    for (let row = x, still = rows; still > 0; still--, row += across) {
      const w0 = v128.load(f);
      f += pixel;
      const w1 = v128.load(f);
      f += pixel;
      const w2 = v128.load(f);
      f += pixel;
      let p = row;
      if (bits & 1) {
        const v = v128.load(p);
        a = madd(v, w0, a);
      }
      p += pixel;
      if (bits & 2) {
        const v = v128.load(p);
        a = madd(v, w1, a);
        b = madd(v, w0, b);
      }
      p += pixel;
      if (bits & 4) {
        const v = v128.load(p);
        a = madd(v, w2, a);
        b = madd(v, w1, b);
        c = madd(v, w0, c);
      }
      p += pixel;
      if (bits & 8) {
        const v = v128.load(p);
        b = madd(v, w2, b);
        c = madd(v, w1, c);
        d = madd(v, w0, d);
      }
      p += pixel;
      if (bits & 16) {
        const v = v128.load(p);
        c = madd(v, w2, c);
        d = madd(v, w1, d);
      }
      p += pixel;
      if (bits & 32) {
        const v = v128.load(p);
        d = madd(v, w2, d);
      }
    }
    const n = outWidth - j;
    put(y, a, shift, onto, least, most);
    if (n > 1) put(y + pixel, b, shift, onto, least, most);
    if (n > 2) put(y + (pixel << 1), c, shift, onto, least, most);
    if (n > 3) put(y + (pixel << 1) + pixel, d, shift, onto, least, most);
  }
}

/** Pixels four by four, of kernels of 3 columns at stride 2; columns outside are left out. */
function tiles32(
  x: usize, w: usize, y: usize, bias: usize, onto: usize, least: v128, most: v128,
  rows: i32, across: usize, pixel: usize, left: u32, width: u32, outWidth: u32,
): void {
  const shift = bias ? v128.load(bias) : f32x4.splat(0);
  x -= (<usize>left) * pixel;
  for (let j: u32 = 0; j < outWidth; j += 4, x += pixel * 8, y += pixel << 2) {
    // which columns lie inside: one bit each
    const col = <i32>(j * 2) - <i32>left;
    let bits: u32 = 511;
    if (col < 0) bits &= col > -32 ? -1 << -col : 0;
    const inside = <i32>width - col;
    if (inside < 9) bits &= inside > 0 ? (1 << inside) - 1 : 0;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    let f = w;
    for (let row = x, still = rows; still > 0; still--, row += across) {
      const w0 = v128.load(f);
      f += pixel;
      const w1 = v128.load(f);
      f += pixel;
      const w2 = v128.load(f);
      f += pixel;
      let p = row;
      if (bits & 1) {
        const v = v128.load(p);
        a = madd(v, w0, a);
      }
      p += pixel;
      if (bits & 2) {
        const v = v128.load(p);
        a = madd(v, w1, a);
      }
      p += pixel;
      if (bits & 4) {
        const v = v128.load(p);
        a = madd(v, w2, a);
        b = madd(v, w0, b);
      }
      p += pixel;
      if (bits & 8) {
        const v = v128.load(p);
        b = madd(v, w1, b);
      }
      p += pixel;
      if (bits & 16) {
        const v = v128.load(p);
        b = madd(v, w2, b);
        c = madd(v, w0, c);
      }
      p += pixel;
      if (bits & 32) {
        const v = v128.load(p);
        c = madd(v, w1, c);
      }
      p += pixel;
      if (bits & 64) {
        const v = v128.load(p);
        c = madd(v, w2, c);
        d = madd(v, w0, d);
      }
      p += pixel;
      if (bits & 128) {
        const v = v128.load(p);
        d = madd(v, w1, d);
      }
      p += pixel;
      if (bits & 256) {
        const v = v128.load(p);
        d = madd(v, w2, d);
      }
    }
    const n = outWidth - j;
    put(y, a, shift, onto, least, most);
    if (n > 1) put(y + pixel, b, shift, onto, least, most);
    if (n > 2) put(y + (pixel << 1), c, shift, onto, least, most);
    if (n > 3) put(y + (pixel << 1) + pixel, d, shift, onto, least, most);
  }
}

/** Pixels four by four, of kernels of 5 columns at stride 1; columns outside are left out. */
function tiles51(
  x: usize, w: usize, y: usize, bias: usize, onto: usize, least: v128, most: v128,
  rows: i32, across: usize, pixel: usize, left: u32, width: u32, outWidth: u32,
): void {
  const shift = bias ? v128.load(bias) : f32x4.splat(0);
  x -= (<usize>left) * pixel;
  for (let j: u32 = 0; j < outWidth; j += 4, x += pixel * 4, y += pixel << 2) {
    // which columns lie inside: one bit each
    const col = <i32>(j * 1) - <i32>left;
    let bits: u32 = 255;
    if (col < 0) bits &= col > -32 ? -1 << -col : 0;
    const inside = <i32>width - col;
    if (inside < 8) bits &= inside > 0 ? (1 << inside) - 1 : 0;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    let f = w;
    for (let row = x, still = rows; still > 0; still--, row += across) {
      const w0 = v128.load(f);
      f += pixel;
      const w1 = v128.load(f);
      f += pixel;
      const w2 = v128.load(f);
      f += pixel;
      const w3 = v128.load(f);
      f += pixel;
      const w4 = v128.load(f);
      f += pixel;
      let p = row;
      if (bits & 1) {
        const v = v128.load(p);
        a = madd(v, w0, a);
      }
      p += pixel;
      if (bits & 2) {
        const v = v128.load(p);
        a = madd(v, w1, a);
        b = madd(v, w0, b);
      }
      p += pixel;
      if (bits & 4) {
        const v = v128.load(p);
        a = madd(v, w2, a);
        b = madd(v, w1, b);
        c = madd(v, w0, c);
      }
      p += pixel;
      if (bits & 8) {
        const v = v128.load(p);
        a = madd(v, w3, a);
        b = madd(v, w2, b);
        c = madd(v, w1, c);
        d = madd(v, w0, d);
      }
      p += pixel;
      if (bits & 16) {
        const v = v128.load(p);
        a = madd(v, w4, a);
        b = madd(v, w3, b);
        c = madd(v, w2, c);
        d = madd(v, w1, d);
      }
      p += pixel;
      if (bits & 32) {
        const v = v128.load(p);
        b = madd(v, w4, b);
        c = madd(v, w3, c);
        d = madd(v, w2, d);
      }
      p += pixel;
      if (bits & 64) {
        const v = v128.load(p);
        c = madd(v, w4, c);
        d = madd(v, w3, d);
      }
      p += pixel;
      if (bits & 128) {
        const v = v128.load(p);
        d = madd(v, w4, d);
      }
    }
    const n = outWidth - j;
    put(y, a, shift, onto, least, most);
    if (n > 1) put(y + pixel, b, shift, onto, least, most);
    if (n > 2) put(y + (pixel << 1), c, shift, onto, least, most);
    if (n > 3) put(y + (pixel << 1) + pixel, d, shift, onto, least, most);
  }
}

/** Pixels four by four, of kernels of 5 columns at stride 2; columns outside are left out. */
function tiles52(
  x: usize, w: usize, y: usize, bias: usize, onto: usize, least: v128, most: v128,
  rows: i32, across: usize, pixel: usize, left: u32, width: u32, outWidth: u32,
): void {
  const shift = bias ? v128.load(bias) : f32x4.splat(0);
  x -= (<usize>left) * pixel;
  for (let j: u32 = 0; j < outWidth; j += 4, x += pixel * 8, y += pixel << 2) {
    // which columns lie inside: one bit each
    const col = <i32>(j * 2) - <i32>left;
    let bits: u32 = 2047;
    if (col < 0) bits &= col > -32 ? -1 << -col : 0;
    const inside = <i32>width - col;
    if (inside < 11) bits &= inside > 0 ? (1 << inside) - 1 : 0;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    let f = w;
    for (let row = x, still = rows; still > 0; still--, row += across) {
      const w0 = v128.load(f);
      f += pixel;
      const w1 = v128.load(f);
      f += pixel;
      const w2 = v128.load(f);
      f += pixel;
      const w3 = v128.load(f);
      f += pixel;
      const w4 = v128.load(f);
      f += pixel;
      let p = row;
      if (bits & 1) {
        const v = v128.load(p);
        a = madd(v, w0, a);
      }
      p += pixel;
      if (bits & 2) {
        const v = v128.load(p);
        a = madd(v, w1, a);
      }
      p += pixel;
      if (bits & 4) {
        const v = v128.load(p);
        a = madd(v, w2, a);
        b = madd(v, w0, b);
      }
      p += pixel;
      if (bits & 8) {
        const v = v128.load(p);
        a = madd(v, w3, a);
        b = madd(v, w1, b);
      }
      p += pixel;
      if (bits & 16) {
        const v = v128.load(p);
        a = madd(v, w4, a);
        b = madd(v, w2, b);
        c = madd(v, w0, c);
      }
      p += pixel;
      if (bits & 32) {
        const v = v128.load(p);
        b = madd(v, w3, b);
        c = madd(v, w1, c);
      }
      p += pixel;
      if (bits & 64) {
        const v = v128.load(p);
        b = madd(v, w4, b);
        c = madd(v, w2, c);
        d = madd(v, w0, d);
      }
      p += pixel;
      if (bits & 128) {
        const v = v128.load(p);
        c = madd(v, w3, c);
        d = madd(v, w1, d);
      }
      p += pixel;
      if (bits & 256) {
        const v = v128.load(p);
        c = madd(v, w4, c);
        d = madd(v, w2, d);
      }
      p += pixel;
      if (bits & 512) {
        const v = v128.load(p);
        d = madd(v, w3, d);
      }
      p += pixel;
      if (bits & 1024) {
        const v = v128.load(p);
        d = madd(v, w4, d);
      }
    }
    const n = outWidth - j;
    put(y, a, shift, onto, least, most);
    if (n > 1) put(y + pixel, b, shift, onto, least, most);
    if (n > 2) put(y + (pixel << 1), c, shift, onto, least, most);
    if (n > 3) put(y + (pixel << 1) + pixel, d, shift, onto, least, most);
  }
}
