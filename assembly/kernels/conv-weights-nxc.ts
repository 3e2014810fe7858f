import { few, madd, storeFew } from '../lanes';

/**
 * Pixels between two sums: their values stay in L1 and L2 for every tile, and no f32 sum has more
 * terms.
 */
// @ts-ignore: decorator
@inline const BLOCK: u32 = 128;

/**
 * conv_weights_nxc — gradient with respect to the weights of a convolution.
 *
 *   dw[r·run + j, o] = Σₜ x[at[t] + taps[r] + j]·dy[to[t] + o]
 *
 * layout      at, to, taps, reach, span as in conv_nxc; dw [runs·run, cols] in panels of 8 columns,
 *             those beyond cols 0
 * sizes       all ≥ 1
 * alias       none
 * align       4 bytes required, 16 preferred
 * accumulate  f32: 128 pixels in order, and the sums of these in order; a column's sums do not
 *             depend on the columns beside it
 * traffic     2·count·runs·run·cols flops; tiles of 4 weights × 8 columns
 */
export function conv_weights_nxc_f32(
  x: usize, dy: usize, at: usize, to: usize, taps: usize, dw: usize,
  count: u32, runs: u32, run: u32, cols: u32, reach: u32, span: u32,
): void {
  const panel = (<usize>(runs * run)) << 5;
  memory.fill(dw, 0, panel * ((cols + 7) >> 3));
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const n = min(BLOCK, count - first);
    const from = at + ((<usize>first) << 2);
    const given = to + ((<usize>first) << 2);
    let w = dw;
    for (let o: u32 = 0; o < cols; o += 8) {
      const width = min(8, cols - o);
      const d = dy + ((<usize>o) << 2);
      for (let r: u32 = 0; r < runs; r++) {
        let p = x + ((<usize>load<u32>(taps + ((<usize>r) << 2))) << 2);
        for (let j: u32 = 0; j < run; j += 4, p += 16) {
          const rest = min(4, run - j);
          if (width == 8) tile8(p, d, from, given, w, n, rest);
          else tileFew(p, d, from, given, w, n, rest, width);
          w += rest << 5;
        }
      }
    }
  }
}

/**
 * Adds the sums of up to four weights × eight columns; fewer than four repeat the last one, and add
 * nothing for it.
 */
function tile8(x: usize, dy: usize, at: usize, to: usize, w: usize, n: u32, rest: u32): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  const end = at + ((<usize>n) << 2);
  if (rest == 4) {
    for (; at < end; at += 4, to += 4) {
      const p = x + ((<usize>load<u32>(at)) << 2);
      const q = dy + ((<usize>load<u32>(to)) << 2);
      const g0 = v128.load(q);
      const g1 = v128.load(q, 16);
      const v0 = v128.load32_splat(p);
      a0 = madd(v0, g0, a0);
      a1 = madd(v0, g1, a1);
      const v1 = v128.load32_splat(p, 4);
      b0 = madd(v1, g0, b0);
      b1 = madd(v1, g1, b1);
      const v2 = v128.load32_splat(p, 8);
      c0 = madd(v2, g0, c0);
      c1 = madd(v2, g1, c1);
      const v3 = v128.load32_splat(p, 12);
      d0 = madd(v3, g0, d0);
      d1 = madd(v3, g1, d1);
    }
  } else {
    const second: usize = rest > 1 ? 4 : 0;
    const third: usize = rest > 2 ? 8 : 0;
    for (; at < end; at += 4, to += 4) {
      const p = x + ((<usize>load<u32>(at)) << 2);
      const q = dy + ((<usize>load<u32>(to)) << 2);
      const g0 = v128.load(q);
      const g1 = v128.load(q, 16);
      const v0 = v128.load32_splat(p);
      a0 = madd(v0, g0, a0);
      a1 = madd(v0, g1, a1);
      const v1 = v128.load32_splat(p + second);
      b0 = madd(v1, g0, b0);
      b1 = madd(v1, g1, b1);
      const v2 = v128.load32_splat(p + third);
      c0 = madd(v2, g0, c0);
      c1 = madd(v2, g1, c1);
    }
  }
  add(w, a0, a1);
  if (rest > 1) add(w + 32, b0, b1);
  if (rest > 2) add(w + 64, c0, c1);
  if (rest > 3) add(w + 96, d0, d1);
}

/** The same for fewer than eight columns. */
function tileFew(x: usize, dy: usize, at: usize, to: usize, w: usize, n: u32, rest: u32, width: u32): void {
  const end = at + ((<usize>n) << 2);
  for (let k: u32 = 0; k < rest; k++, x += 4, w += 32) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let given = to;
    for (let from = at; from < end; from += 4, given += 4) {
      const v = v128.load32_splat(x + ((<usize>load<u32>(from)) << 2));
      const q = dy + ((<usize>load<u32>(given)) << 2);
      a0 = madd(v, few(q, min(4, width)), a0);
      if (width > 4) a1 = madd(v, few(q + 16, width - 4), a1);
    }
    const lanes = min(4, width);
    storeFew(w, f32x4.add(few(w, lanes), a0), lanes);
    if (width > 4) storeFew(w + 16, f32x4.add(few(w + 16, width - 4), a1), width - 4);
  }
}

// @ts-ignore: decorator
@inline
function add(w: usize, v0: v128, v1: v128): void {
  v128.store(w, f32x4.add(v128.load(w), v0));
  v128.store(w, f32x4.add(v128.load(w, 16), v1), 16);
}
