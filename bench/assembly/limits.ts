/**
 * limits — what a processor reaches in instructions of one kind, as WebAssembly has them.
 *
 *   cycles             a ← (a + i) ⊕ k, 8 times a step: 16 cycles, as each waits for the one before
 *   integers           aᵢ ← aᵢ + m, integers in 12 chains: 12 a step, of any execution unit
 *   additions          aᵢ ← aᵢ + m in 12 chains: 12 a step
 *   multiplications    aᵢ ← aᵢ · m in 12 chains: 12 a step
 *   loads              8 a step, each with a logical operation, from 4 kB
 *   stores             8 a step, to 4 kB
 *
 * layout    p [1024 + 4] f32: 4 kB of values, and a vector of what was worked out
 */
export function cycles(p: usize, steps: u32): void {
  let a: u32 = 1;
  const k: u32 = load<u32>(p);
  for (; steps; steps--) {
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
    a = (a + steps) ^ k;
  }
  store<u32>(p, a, 4096);
}

class Integer {}
class Addition {}
class Multiplication {}

export function integers(p: usize, steps: u32): void {
  chains<Integer>(p, steps);
}

export function additions(p: usize, steps: u32): void {
  chains<Addition>(p, steps);
}

export function multiplications(p: usize, steps: u32): void {
  chains<Multiplication>(p, steps);
}

// @ts-ignore: decorator
@inline
function step<K>(a: v128, m: v128): v128 {
  if (idof<K>() == idof<Addition>()) return f32x4.add(a, m);
  if (idof<K>() == idof<Multiplication>()) return f32x4.mul(a, m);
  return i32x4.add(a, m);
}

// @ts-ignore: decorator
@inline
function chains<K>(p: usize, steps: u32): void {
  const m = v128.load(p, 0);
  let a0 = v128.load(p, 16);
  let a1 = v128.load(p, 32);
  let a2 = v128.load(p, 48);
  let a3 = v128.load(p, 64);
  let a4 = v128.load(p, 80);
  let a5 = v128.load(p, 96);
  let a6 = v128.load(p, 112);
  let a7 = v128.load(p, 128);
  let a8 = v128.load(p, 144);
  let a9 = v128.load(p, 160);
  let a10 = v128.load(p, 176);
  let a11 = v128.load(p, 192);
  for (; steps; steps--) {
    a0 = step<K>(a0, m);
    a1 = step<K>(a1, m);
    a2 = step<K>(a2, m);
    a3 = step<K>(a3, m);
    a4 = step<K>(a4, m);
    a5 = step<K>(a5, m);
    a6 = step<K>(a6, m);
    a7 = step<K>(a7, m);
    a8 = step<K>(a8, m);
    a9 = step<K>(a9, m);
    a10 = step<K>(a10, m);
    a11 = step<K>(a11, m);
  }
  const b0 = v128.xor(v128.xor(v128.xor(a0, a1), v128.xor(a2, a3)), v128.xor(a4, a5));
  const b1 = v128.xor(v128.xor(v128.xor(a6, a7), v128.xor(a8, a9)), v128.xor(a10, a11));
  v128.store(p, v128.xor(b0, b1), 4096);
}

export function loads(p: usize, steps: u32): void {
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  for (; steps; steps--) {
    const q = p + ((steps & 31) << 7);
    a0 = v128.xor(a0, v128.load(q, 0));
    a1 = v128.xor(a1, v128.load(q, 16));
    a2 = v128.xor(a2, v128.load(q, 32));
    a3 = v128.xor(a3, v128.load(q, 48));
    a0 = v128.xor(a0, v128.load(q, 64));
    a1 = v128.xor(a1, v128.load(q, 80));
    a2 = v128.xor(a2, v128.load(q, 96));
    a3 = v128.xor(a3, v128.load(q, 112));
  }
  v128.store(p, v128.xor(v128.xor(a0, a1), v128.xor(a2, a3)), 4096);
}

export function stores(p: usize, steps: u32): void {
  const a = f32x4.splat(1);
  for (; steps; steps--) {
    const q = p + ((steps & 31) << 7);
    v128.store(q, a, 0);
    v128.store(q, a, 16);
    v128.store(q, a, 32);
    v128.store(q, a, 48);
    v128.store(q, a, 64);
    v128.store(q, a, 80);
    v128.store(q, a, 96);
    v128.store(q, a, 112);
  }
}

/** memory.copy of so many bytes. */
export function copy(from: usize, to: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}
