import { RELU } from '../activations';
import { finish, isFused, PIECE, sweep } from '../epilogue';
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
  for (let n: u32 = 0; n < outer; n++) {
    let offset = ((<usize>n) * stride) << 2;
    for (let c: u32 = 0; c < channels; c++, offset += (<usize>inner) << 2) {
      const at = (<usize>c) << 2;
      const h = v128.load32_splat(hi + at);
      const l = v128.load32_splat(lo + at);
      const a = v128.load32_splat(scale + at);
      const b = v128.load32_splat(beta + at);
      const step = isFused(kind) ? inner : PIECE;
      for (let i: u32 = 0; i < inner; i += step) {
        const from = offset + ((<usize>i) << 2);
        const size = min(step, inner - i);
        plane(x + from, residual, residual + from, y + from, h, l, a, b, kind, size);
        sweep(y + from, kind, alpha, size);
      }
    }
  }
}

function plane(
  x: usize, residual: usize, r: usize, y: usize, h: v128, l: v128, a: v128, b: v128, kind: i32, size: u32,
): void {
  if (residual) {
    if (kind == RELU) run(x, r, y, h, l, a, b, size, true, true);
    else run(x, r, y, h, l, a, b, size, true, false);
  } else {
    if (kind == RELU) run(x, r, y, h, l, a, b, size, false, true);
    else run(x, r, y, h, l, a, b, size, false, false);
  }
}

// @ts-ignore: decorator
@inline
function normal(x: v128, h: v128, l: v128, a: v128, b: v128): v128 {
  return madd(f32x4.sub(f32x4.sub(x, h), l), a, b);
}

// @ts-ignore: decorator
@inline
function run(
  x: usize, r: usize, y: usize, h: v128, l: v128, a: v128, b: v128, size: u32, residual: bool, relu: bool,
): void {
  const zero = f32x4.splat(0);
  const end = x + ((<usize>size & ~3) << 2);
  const unrolled = x + ((<usize>size & ~15) << 2);
  while (x < unrolled) {
    const v0 = finish(normal(v128.load(x, 0), h, l, a, b), residual ? v128.load(r, 0) : zero, residual, relu);
    const v1 = finish(normal(v128.load(x, 16), h, l, a, b), residual ? v128.load(r, 16) : zero, residual, relu);
    const v2 = finish(normal(v128.load(x, 32), h, l, a, b), residual ? v128.load(r, 32) : zero, residual, relu);
    const v3 = finish(normal(v128.load(x, 48), h, l, a, b), residual ? v128.load(r, 48) : zero, residual, relu);
    v128.store(y, v0, 0);
    v128.store(y, v1, 16);
    v128.store(y, v2, 32);
    v128.store(y, v3, 48);
    x += 64;
    y += 64;
    if (residual) r += 64;
  }
  while (x < end) {
    v128.store(y, finish(normal(v128.load(x), h, l, a, b), residual ? v128.load(r) : zero, residual, relu));
    x += 16;
    y += 16;
    if (residual) r += 16;
  }
  const rest = size & 3;
  if (rest) {
    const v = normal(loadTail(x, rest), h, l, a, b);
    storeTail(y, finish(v, residual ? loadTail(r, rest) : zero, residual, relu), rest);
  }
}
