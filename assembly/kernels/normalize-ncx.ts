import { NONE, RELU } from '../activations';
import { finish, isFused, No, PIECE, residualAt, residualTail, sweep, Yes } from '../epilogue';
import { loadTail, madd, storeTail } from '../lanes';

/**
 * normalize_ncx — the training map, channel planes: centred before it is scaled, with the mean in two floats.
 *
 *   y[n,c,i] = f(((x[n,c,i] − hi[c]) − lo[c])·scale[c] + beta[c] + residual[n,c,i])
 *
 * layout    x, residual, y [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *           hi, lo, scale, beta [channels] f32; residual may be 0: none
 * sizes     all ≥ 1; inner need not be a multiple of 4
 * alias     y may be x or residual; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32; a constant channel gives exactly beta
 * traffic   8 bytes per element, 12 with a residual
 */
export function normalize_ncx_f32(
  x: usize, hi: usize, lo: usize, scale: usize, beta: usize, residual: usize, y: usize,
  kind: i32, alpha: f32, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  if (isFused(kind)) {
    planes(x, hi, lo, scale, beta, residual, y, kind, outer, channels, inner, stride);
    return;
  }
  for (let n: u32 = 0; n < outer; n++) {
    let at = ((<usize>n) * stride) << 2;
    for (let c: usize = 0; c < channels; c++) {
      for (let i: u32 = 0; i < inner; i += PIECE) {
        const size = min(PIECE, inner - i);
        planes(x + at, hi + (c << 2), lo + (c << 2), scale + (c << 2), beta + (c << 2), residual ? residual + at : 0, y + at, NONE, 1, 1, size, size);
        sweep(y + at, kind, alpha, size);
        at += (<usize>size) << 2;
      }
    }
  }
}

function planes(
  x: usize, hi: usize, lo: usize, scale: usize, beta: usize, residual: usize, y: usize,
  kind: i32, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  if (residual) {
    if (kind == RELU) run<Yes, Yes>(x, hi, lo, scale, beta, residual, y, outer, channels, inner, stride);
    else run<Yes, No>(x, hi, lo, scale, beta, residual, y, outer, channels, inner, stride);
  } else {
    if (kind == RELU) run<No, Yes>(x, hi, lo, scale, beta, residual, y, outer, channels, inner, stride);
    else run<No, No>(x, hi, lo, scale, beta, residual, y, outer, channels, inner, stride);
  }
}

// @ts-ignore: decorator
@inline
function normal(x: v128, h: v128, l: v128, a: v128, b: v128): v128 {
  return madd(f32x4.sub(f32x4.sub(x, h), l), a, b);
}

function run<R, A>(
  x: usize, hi: usize, lo: usize, scale: usize, beta: usize, residual: usize, y: usize,
  outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const rest = inner & 3;
  const whole = (<usize>(inner - rest)) << 2;
  const unrolled = (<usize>inner & ~15) << 2;
  const last = (<usize>channels) << 2;
  for (let n: u32 = 0; n < outer; n++) {
    const offset = ((<usize>n) * stride) << 2;
    let p = x + offset;
    let q = y + offset;
    let r = residual + offset;
    for (let c: usize = 0; c < last; c += 4) {
      const h = v128.load32_splat(hi + c);
      const l = v128.load32_splat(lo + c);
      const a = v128.load32_splat(scale + c);
      const b = v128.load32_splat(beta + c);
      const end = p + whole;
      for (const stop = p + unrolled; p < stop; p += 64, q += 64, r += 64) {
        const v0 = finish<R, A>(normal(v128.load(p, 0), h, l, a, b), residualAt<R>(r, 0));
        const v1 = finish<R, A>(normal(v128.load(p, 16), h, l, a, b), residualAt<R>(r, 16));
        const v2 = finish<R, A>(normal(v128.load(p, 32), h, l, a, b), residualAt<R>(r, 32));
        const v3 = finish<R, A>(normal(v128.load(p, 48), h, l, a, b), residualAt<R>(r, 48));
        v128.store(q, v0, 0);
        v128.store(q, v1, 16);
        v128.store(q, v2, 32);
        v128.store(q, v3, 48);
      }
      for (; p < end; p += 16, q += 16, r += 16) {
        v128.store(q, finish<R, A>(normal(v128.load(p), h, l, a, b), residualAt<R>(r, 0)));
      }
      if (rest) {
        storeTail(q, finish<R, A>(normal(loadTail(p, rest), h, l, a, b), residualTail<R>(r, rest)), rest);
        p += (<usize>rest) << 2;
        q += (<usize>rest) << 2;
        r += (<usize>rest) << 2;
      }
    }
  }
}
