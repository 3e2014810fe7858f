import { bandOf } from '../bands';
import { Yes } from '../flags';
import { gradient } from '../gradient';
import { few, storeFew } from '../lanes';

/**
 * grad_input_nxc — gradient with respect to the input, channels innermost.
 *
 *   dx[r,c] = a[c]·((dy[r,c] − k[c]) − b[c]·(x[r,c] − center[c]))
 *
 * layout    x, dy, dx [rows, channels] f32, contiguous; center, a, b, k [channels] f32
 * sizes     all ≥ 1; channels need not be a multiple of 4. bands as in affine_nxc
 * alias     dx may be dy or x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  as grad_input_ncx
 * traffic   12 bytes per element; coefficients once for each band of rows (bands.ts)
 */
export function grad_input_nxc_f32(
  x: usize, dy: usize, center: usize, a: usize, b: usize, k: usize, dx: usize, bands: u32, rows: u32, channels: u32,
): void {
  const row = (<usize>channels) << 2;
  const band = bandOf(bands, channels);
  while (rows) {
    const count = min(rows, band);
    const size = row * count;
    if (count > 1) bandRows(x, dy, center, a, b, k, dx, count, row);
    else oneRow(x, dy, center, a, b, k, dx, row);
    x += size;
    dy += size;
    dx += size;
    rows -= count;
  }
}

/** A few rows, eight channels at a time, whose coefficients stay in registers. */
// @ts-ignore: decorator
@inline
function bandRows(
  x: usize, dy: usize, center: usize, a: usize, b: usize, k: usize, dx: usize, rows: u32, row: usize,
): void {
  let c: usize = 0;
  for (; c + 32 <= row; c += 32) {
    const h0 = v128.load(center + c, 0);
    const h1 = v128.load(center + c, 16);
    const a0 = v128.load(a + c, 0);
    const a1 = v128.load(a + c, 16);
    const b0 = v128.load(b + c, 0);
    const b1 = v128.load(b + c, 16);
    const k0 = v128.load(k + c, 0);
    const k1 = v128.load(k + c, 16);
    for (let n = rows, p = x + c, g = dy + c, q = dx + c; n; n--, p += row, g += row, q += row) {
      v128.store(q, gradient<Yes>(v128.load(p, 0), v128.load(g, 0), h0, a0, b0, k0), 0);
      v128.store(q, gradient<Yes>(v128.load(p, 16), v128.load(g, 16), h1, a1, b1, k1), 16);
    }
  }
  for (; c < row; c += 16) {
    const lanes = <u32>min<usize>((row - c) >> 2, 4);
    const h = few(center + c, lanes);
    const va = few(a + c, lanes);
    const vb = few(b + c, lanes);
    const vk = few(k + c, lanes);
    for (let n = rows, p = x + c, g = dy + c, q = dx + c; n; n--, p += row, g += row, q += row) {
      storeFew(q, gradient<Yes>(few(p, lanes), few(g, lanes), h, va, vb, vk), lanes);
    }
  }
}

// @ts-ignore: decorator
@inline
function oneRow(x: usize, dy: usize, center: usize, a: usize, b: usize, k: usize, dx: usize, row: usize): void {
  let c: usize = 0;
  for (; c + 32 <= row; c += 32) {
    const v0 = gradient<Yes>(v128.load(x + c, 0), v128.load(dy + c, 0), v128.load(center + c, 0), v128.load(a + c, 0), v128.load(b + c, 0), v128.load(k + c, 0));
    const v1 = gradient<Yes>(v128.load(x + c, 16), v128.load(dy + c, 16), v128.load(center + c, 16), v128.load(a + c, 16), v128.load(b + c, 16), v128.load(k + c, 16));
    v128.store(dx + c, v0, 0);
    v128.store(dx + c, v1, 16);
  }
  for (; c < row; c += 16) {
    const lanes = <u32>min<usize>((row - c) >> 2, 4);
    const v = gradient<Yes>(few(x + c, lanes), few(dy + c, lanes), few(center + c, lanes), few(a + c, lanes), few(b + c, lanes), few(k + c, lanes));
    storeFew(dx + c, v, lanes);
  }
}
