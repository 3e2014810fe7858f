import { NONE, RELU } from '../activations';
import { finish, isFused, No, PIECE, residualAt, residualTail, sweep, Yes } from '../epilogue';
import { loadTail, madd, storeTail } from '../lanes';

/**
 * affine_ncx — the evaluation map, channel planes.
 *
 *   y[n,c,i] = f(x[n,c,i]·scale[c] + shift[c] + residual[n,c,i])
 *
 * layout    x, residual, y [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *           scale, shift [channels] f32; residual may be 0: none
 * sizes     all ≥ 1; inner need not be a multiple of 4
 * alias     y may be x or residual; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  one multiply and one add, f32; fused in the relaxed build
 * traffic   8 bytes per element, 12 with a residual
 */
export function affine_ncx_f32(
  x: usize, scale: usize, shift: usize, residual: usize, y: usize,
  kind: i32, alpha: f32, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  if (isFused(kind)) {
    planes(x, scale, shift, residual, y, kind, outer, channels, inner, stride);
    return;
  }
  for (let n: u32 = 0; n < outer; n++) {
    let at = ((<usize>n) * stride) << 2;
    for (let c: usize = 0; c < channels; c++) {
      for (let i: u32 = 0; i < inner; i += PIECE) {
        const size = min(PIECE, inner - i);
        planes(x + at, scale + (c << 2), shift + (c << 2), residual ? residual + at : 0, y + at, NONE, 1, 1, size, size);
        sweep(y + at, kind, alpha, size);
        at += (<usize>size) << 2;
      }
    }
  }
}

function planes(
  x: usize, scale: usize, shift: usize, residual: usize, y: usize,
  kind: i32, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  if (residual) {
    if (kind == RELU) run<Yes, Yes>(x, scale, shift, residual, y, outer, channels, inner, stride);
    else run<Yes, No>(x, scale, shift, residual, y, outer, channels, inner, stride);
  } else {
    if (kind == RELU) run<No, Yes>(x, scale, shift, residual, y, outer, channels, inner, stride);
    else run<No, No>(x, scale, shift, residual, y, outer, channels, inner, stride);
  }
}

function run<R, A>(
  x: usize, scale: usize, shift: usize, residual: usize, y: usize,
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
      const a = v128.load32_splat(scale + c);
      const b = v128.load32_splat(shift + c);
      const end = p + whole;
      for (const stop = p + unrolled; p < stop; p += 64, q += 64, r += 64) {
        const v0 = finish<R, A>(madd(v128.load(p, 0), a, b), residualAt<R>(r, 0));
        const v1 = finish<R, A>(madd(v128.load(p, 16), a, b), residualAt<R>(r, 16));
        const v2 = finish<R, A>(madd(v128.load(p, 32), a, b), residualAt<R>(r, 32));
        const v3 = finish<R, A>(madd(v128.load(p, 48), a, b), residualAt<R>(r, 48));
        v128.store(q, v0, 0);
        v128.store(q, v1, 16);
        v128.store(q, v2, 32);
        v128.store(q, v3, 48);
      }
      for (; p < end; p += 16, q += 16, r += 16) {
        v128.store(q, finish<R, A>(madd(v128.load(p), a, b), residualAt<R>(r, 0)));
      }
      if (rest) {
        storeTail(q, finish<R, A>(madd(loadTail(p, rest), a, b), residualTail<R>(r, rest)), rest);
        p += (<usize>rest) << 2;
        q += (<usize>rest) << 2;
        r += (<usize>rest) << 2;
      }
    }
  }
}
