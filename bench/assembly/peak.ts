/**
 * peak — what a processor reaches in multiply-adds when nothing but registers is touched.
 *
 *   aᵢ ← aᵢ·m + n
 *   in 8, 10 or 12 chains: enough to hide the latency of both operations, and few enough to stay in
 *   registers
 *
 * layout    p [12] f32: m, n at first; a sum at the end
 */
export function peak8(p: usize, steps: u32): void {
  peak<Eight>(p, steps);
}

export function peak10(p: usize, steps: u32): void {
  peak<Ten>(p, steps);
}

export function peak12(p: usize, steps: u32): void {
  peak<Twelve>(p, steps);
}

class Eight {}
class Ten extends Eight {}
class Twelve extends Ten {}

// @ts-ignore: decorator
@inline
function peak<N>(p: usize, steps: u32): void {
  const m = v128.load(p, 0);
  const n = v128.load(p, 16);
  let a0 = f32x4.splat(0.25);
  let a1 = f32x4.splat(1.25);
  let a2 = f32x4.splat(2.25);
  let a3 = f32x4.splat(3.25);
  let a4 = f32x4.splat(4.25);
  let a5 = f32x4.splat(5.25);
  let a6 = f32x4.splat(6.25);
  let a7 = f32x4.splat(7.25);
  let a8 = f32x4.splat(8.25);
  let a9 = f32x4.splat(9.25);
  let a10 = f32x4.splat(10.25);
  let a11 = f32x4.splat(11.25);
  for (; steps; steps--) {
    a0 = madd(a0, m, n);
    a1 = madd(a1, m, n);
    a2 = madd(a2, m, n);
    a3 = madd(a3, m, n);
    a4 = madd(a4, m, n);
    a5 = madd(a5, m, n);
    a6 = madd(a6, m, n);
    a7 = madd(a7, m, n);
    if (idof<N>() != idof<Eight>()) {
      a8 = madd(a8, m, n);
      a9 = madd(a9, m, n);
    }
    if (idof<N>() == idof<Twelve>()) {
      a10 = madd(a10, m, n);
      a11 = madd(a11, m, n);
    }
  }
  const b0 = f32x4.add(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3)), f32x4.add(a4, a5));
  const b1 = f32x4.add(f32x4.add(f32x4.add(a6, a7), f32x4.add(a8, a9)), f32x4.add(a10, a11));
  v128.store(p, f32x4.add(b0, b1), 32);
}

// @ts-ignore: decorator
@inline
function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}
