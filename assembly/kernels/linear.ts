import { few, madd, storeFew } from '../lanes';

/** Rows that are taken together: their values stay in L1 for every panel. */
// @ts-ignore: decorator
@inline const BAND: u32 = 32;

/**
 * linear — rows times packed columns, with bias.
 *
 *   y[r,o] = Σₖ x[r,k]·w[k,o] + bias[o]
 *   accumulate = 1: … + y[r,o], a residual that lies where the result goes
 *
 * layout      x: element (r, k) lies at r·rowStride + k·depthStride; packed: w in panels of 8
 *             columns, as `pack` writes them; bias [cols] f32 or 0: none; y [rows, cols] f32,
 *             contiguous
 * sizes       rows, cols ≥ 1; depth ≥ 0
 * alias       none
 * align       4 bytes required, 16 preferred
 * accumulate  f32, in order of k: a row's result does not depend on the rows beside it
 * traffic     2·rows·depth·cols flops; tiles of 4 rows × 8 columns (one row: × 16 columns), one
 *             splat per row and step
 */
export function linear_f32(
  x: usize, packed: usize, bias: usize, y: usize,
  rows: u32, depth: u32, cols: u32, rowStride: u32, depthStride: u32, accumulate: u32,
): void {
  const row = (<usize>rowStride) << 2;
  const step = (<usize>depthStride) << 2;
  const out = (<usize>cols) << 2;
  const panel = (<usize>depth) << 5;
  for (let first: u32 = 0; first < rows; first += BAND) {
    const last = min(first + BAND, rows);
    const bandX = x + (<usize>first) * row;
    const bandY = y + (<usize>first) * out;
    const groups = first + ((last - first) & ~3);
    if (groups > first) {
      for (let o: u32 = 0; o < cols; o += 8) {
        const w = packed + (<usize>(o >> 3)) * panel;
        const width = min(8, cols - o);
        let p = bandX;
        let q = bandY + ((<usize>o) << 2);
        const b = bias ? bias + ((<usize>o) << 2) : 0;
        for (let r = first; r < groups; r += 4) {
          tile4(p, row, step, w, b, q, out, depth, width, accumulate);
          p += row << 2;
          q += out << 2;
        }
      }
    }
    for (let r = groups; r < last; r++) {
      single(x + (<usize>r) * row, step, packed, panel, bias, y + (<usize>r) * out, depth, cols, accumulate);
    }
  }
}

/** Four rows × one panel. */
function tile4(
  x: usize, row: usize, step: usize, w: usize, bias: usize, y: usize, out: usize, depth: u32, width: u32, accumulate: u32,
): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  let x1 = x + row;
  let x2 = x1 + row;
  let x3 = x2 + row;
  const end = w + ((<usize>depth) << 5);
  while (w < end) {
    const w0 = v128.load(w, 0);
    const w1 = v128.load(w, 16);
    const v0 = v128.load32_splat(x);
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
    w += 32;
    x += step;
    x1 += step;
    x2 += step;
    x3 += step;
  }
  emit(y, a0, a1, bias, width, accumulate);
  emit(y + out, b0, b1, bias, width, accumulate);
  emit(y + (out << 1), c0, c1, bias, width, accumulate);
  emit(y + (out << 1) + out, d0, d1, bias, width, accumulate);
}

/**
 * One row × all panels, two panels at a time: four accumulators hide the latency of the additions,
 * and with more the compiler runs out of registers (1x784x100: 17 GFLOP/s with four panels, 30 with
 * two; Node 20, AMD EPYC).
 */
function single(
  x: usize, step: usize, packed: usize, panel: usize, bias: usize, y: usize, depth: u32, cols: u32, accumulate: u32,
): void {
  let o: u32 = 0;
  for (; o + 8 < cols; o += 16) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let w = packed + (<usize>(o >> 3)) * panel;
    let u = w + panel;
    let p = x;
    for (const end = w + panel; w < end; ) {
      const v = v128.load32_splat(p);
      a0 = madd(v, v128.load(w, 0), a0);
      a1 = madd(v, v128.load(w, 16), a1);
      b0 = madd(v, v128.load(u, 0), b0);
      b1 = madd(v, v128.load(u, 16), b1);
      p += step;
      w += 32;
      u += 32;
    }
    const q = y + ((<usize>o) << 2);
    const b = bias ? bias + ((<usize>o) << 2) : 0;
    emit(q, a0, a1, b, 8, accumulate);
    emit(q + 32, b0, b1, b ? b + 32 : 0, min(8, cols - o - 8), accumulate);
  }
  if (o < cols) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let w = packed + (<usize>(o >> 3)) * panel;
    const end = w + panel;
    for (let p = x; w < end; w += 32, p += step) {
      const v = v128.load32_splat(p);
      a0 = madd(v, v128.load(w, 0), a0);
      a1 = madd(v, v128.load(w, 16), a1);
    }
    emit(y + ((<usize>o) << 2), a0, a1, bias ? bias + ((<usize>o) << 2) : 0, cols - o, accumulate);
  }
}

/** Stores up to eight sums, plus the bias, onto what is there if asked. */
function emit(y: usize, v0: v128, v1: v128, bias: usize, width: u32, accumulate: u32): void {
  if (bias) {
    v0 = f32x4.add(v0, few(bias, min(4, width)));
    if (width > 4) v1 = f32x4.add(v1, few(bias + 16, width - 4));
  }
  if (accumulate) {
    v0 = f32x4.add(v0, few(y, min(4, width)));
    if (width > 4) v1 = f32x4.add(v1, few(y + 16, width - 4));
  }
  storeFew(y, v0, min(4, width));
  if (width > 4) storeFew(y + 16, v1, width - 4);
}
