import { RELU } from '../activations';
import { bandOf } from '../bands';
import { isFused, mapped, PIECE, residualAt, residualFew, sweep } from '../epilogue';
import { is, No, Yes } from '../flags';
import { few, storeFew } from '../lanes';

/**
 * affine_nxc — the forward map, channels innermost.
 *
 *   y[r,c] = f((x[r,c] − center[c])·scale[c] + shift[c] + residual[r,c])
 *
 * layout    x, residual, y [rows, channels] f32, contiguous; center, scale, shift [channels] f32;
 *           center may be 0: none, as in evaluation; residual may be 0: none
 * sizes     all ≥ 1; channels need not be a multiple of 4. bands: 1 where rows lie in cache, 0
 *           where they come from memory
 * alias     y may be x or residual; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  one subtraction (none without center), one multiply and one add, f32; the latter two
 *           fused in the relaxed build
 * traffic   8 bytes per element, 12 with a residual; coefficients once for each band of rows
 *           (bands.ts)
 */
export function affine_nxc_f32(
  x: usize, center: usize, scale: usize, shift: usize, residual: usize, y: usize,
  kind: i32, alpha: f32, bands: u32, rows: u32, channels: u32,
): void {
  const pieceRows = isFused(kind) ? rows : max(PIECE / channels, 1);
  const row = (<usize>channels) << 2;
  for (let first: u32 = 0; first < rows; first += pieceRows) {
    const count = min(pieceRows, rows - first);
    const offset = (<usize>first) * row;
    if (center) piece<Yes>(x + offset, center, scale, shift, residual, residual + offset, y + offset, kind, bands, count, channels);
    else piece<No>(x + offset, center, scale, shift, residual, residual + offset, y + offset, kind, bands, count, channels);
    sweep(y + offset, kind, alpha, count * channels);
  }
}

function piece<C>(
  x: usize, center: usize, scale: usize, shift: usize, residual: usize, r: usize, y: usize,
  kind: i32, bands: u32, rows: u32, channels: u32,
): void {
  if (residual) {
    if (kind == RELU) run<C, Yes, Yes>(x, center, scale, shift, r, y, bands, rows, channels);
    else run<C, Yes, No>(x, center, scale, shift, r, y, bands, rows, channels);
  } else {
    if (kind == RELU) run<C, No, Yes>(x, center, scale, shift, r, y, bands, rows, channels);
    else run<C, No, No>(x, center, scale, shift, r, y, bands, rows, channels);
  }
}

function run<C, R, A>(
  x: usize, center: usize, scale: usize, shift: usize, r: usize, y: usize, bands: u32, rows: u32, channels: u32,
): void {
  const row = (<usize>channels) << 2;
  const band = bandOf(bands, channels);
  while (rows) {
    const count = min(rows, band);
    const size = row * count;
    bandRows<C, R, A>(x, center, scale, shift, r, y, count, row);
    x += size;
    y += size;
    r += size;
    rows -= count;
  }
}

/** A few rows, sixteen channels at a time, whose coefficients stay in registers. */
// @ts-ignore: decorator
@inline
function bandRows<C, R, A>(
  x: usize, center: usize, scale: usize, shift: usize, r: usize, y: usize, rows: u32, row: usize,
): void {
  let c: usize = 0;
  for (; c + 64 <= row; c += 64) {
    const h0 = centerAt<C>(center + c, 0);
    const h1 = centerAt<C>(center + c, 16);
    const h2 = centerAt<C>(center + c, 32);
    const h3 = centerAt<C>(center + c, 48);
    const a0 = v128.load(scale + c, 0);
    const a1 = v128.load(scale + c, 16);
    const a2 = v128.load(scale + c, 32);
    const a3 = v128.load(scale + c, 48);
    const b0 = v128.load(shift + c, 0);
    const b1 = v128.load(shift + c, 16);
    const b2 = v128.load(shift + c, 32);
    const b3 = v128.load(shift + c, 48);
    let q = y + c;
    let s = r + c;
    let p = x + c;
    for (let n = rows; n; n--, p += row, q += row) {
      v128.store(q, mapped<C, R, A>(v128.load(p, 0), h0, a0, b0, residualAt<R>(s, 0)), 0);
      v128.store(q, mapped<C, R, A>(v128.load(p, 16), h1, a1, b1, residualAt<R>(s, 16)), 16);
      v128.store(q, mapped<C, R, A>(v128.load(p, 32), h2, a2, b2, residualAt<R>(s, 32)), 32);
      v128.store(q, mapped<C, R, A>(v128.load(p, 48), h3, a3, b3, residualAt<R>(s, 48)), 48);
      if (is<R, Yes>()) s += row;
    }
  }
  for (; c < row; c += 16) {
    const lanes = <u32>min<usize>((row - c) >> 2, 4);
    const h = is<C, Yes>() ? few(center + c, lanes) : f32x4.splat(0);
    const a = few(scale + c, lanes);
    const b = few(shift + c, lanes);
    for (let n = rows, p = x + c, q = y + c, s = r + c; n; n--, p += row, q += row, s += row) {
      storeFew(q, mapped<C, R, A>(few(p, lanes), h, a, b, residualFew<R>(s, lanes)), lanes);
    }
  }
}

// @ts-ignore: decorator
@inline
function centerAt<C>(center: usize, offset: usize): v128 {
  return is<C, Yes>() ? v128.load(center + offset) : f32x4.splat(0);
}
