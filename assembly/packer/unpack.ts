// The module that unpacks the others (src/wasm/packed.ts says why): references to what came before,
// and each bit coded by how likely it has been (LZ77 and a range coder, as LZMA has them).
// pack.mjs writes what this reads, with the same arithmetic to the last digit.

/** Where the contexts of each kind begin. */
// @ts-ignore: decorator
@inline const REPEAT: u32 = 4;
// @ts-ignore: decorator
@inline const WHICH: u32 = 8;
// @ts-ignore: decorator
@inline const LENGTH: u32 = 1024;
// @ts-ignore: decorator
@inline const REPEATED_LENGTH: u32 = 2048;
// @ts-ignore: decorator
@inline const DISTANCE: u32 = 3072;
// @ts-ignore: decorator
@inline const LITERAL: u32 = 8192;
// @ts-ignore: decorator
@inline const EXPECTED: u32 = 10240;
// @ts-ignore: decorator
@inline const CONTEXTS: u32 = 16384;

// @ts-ignore: decorator
@inline const GET: u32 = 0x20;
// @ts-ignore: decorator
@inline const SET: u32 = 0x21;
// Three bytes of an instruction on lanes, read as one word.
// @ts-ignore: decorator
@inline const ADD: u32 = 0x01e4fd;
// @ts-ignore: decorator
@inline const SUB: u32 = 0x01e5fd;
// @ts-ignore: decorator
@inline const MUL: u32 = 0x01e6fd;
// @ts-ignore: decorator
@inline const MADD: u32 = 0x0285fd;
// @ts-ignore: decorator
@inline const NMADD: u32 = 0x0286fd;

let next: usize = 0;
let odds: usize = 0;
let range: u32 = 0;
let code: u32 = 0;

/** Bits of the text that have been read, and not yet used: the last `bits` of `held`. */
let held: u32 = 0;
let bits: u32 = 0;

/** The digit to base 91 that a character stands for: all that print are digits but " ' \\ `. */
// @ts-ignore: decorator
@inline
function digit(p: usize): u32 {
  const c: u32 = load<u8>(p);
  return c - 32 - u32(c > 34) - u32(c > 39) - u32(c > 92) - u32(c > 96);
}

/**
 * Takes the next eight bits of the code. Two characters hold thirteen bits, the lower digit first.
 */
function byte(): void {
  if (bits < 8) {
    held = (held << 13) | (digit(next) + 91 * digit(next + 1));
    next += 2;
    bits += 13;
  }
  bits -= 8;
  code = (code << 8) | ((held >>> bits) & 255);
  range <<= 8;
}

function bit(context: u32): u32 {
  const p = odds + (<usize>context << 2);
  const odd: u32 = load<u16>(p);
  const bound = (range >>> 16) * odd;
  const one = code < bound;
  if (one) range = bound;
  else {
    code -= bound;
    range -= bound;
  }
  const seen = min<u32>(load<u16>(p, 2) + 1, 100);
  store<u16>(p, <u32>(<f64>odd + (<f64>(one ? 65500 : 35) - <f64>odd) / (<f64>seen + 0.6)));
  store<u16>(p, seen, 2);
  while (range < 1 << 24) byte();
  return <u32>one;
}

/** Digits of a number at the most: no module is larger, and contexts of more belong to others. */
// @ts-ignore: decorator
@inline const MOST_DIGITS: u32 = 24;

/** A number of 1 or more: how many digits, then the digits. */
function number(base: u32): u32 {
  let n: u32 = 0;
  while (bit(base + n)) if (++n > MOST_DIGITS) unreachable();
  let value: u32 = 1;
  for (let k = n; k--; ) value = (value << 1) | bit(base + (value < 8 ? 32 + n * 8 + value : 256 + n * 16 + k));
  return value;
}

/**
 * Unpacks `size` bytes to `out` from the text at `packed`. `scratch` are 64 kB. A text that leads
 * to bytes before or behind those is a trap.
 *
 * @returns the rest of the arithmetic code; another text leaves another rest, and the packer knows
 *   its own
 */
export function unpack(packed: usize, out: usize, size: u32, scratch: usize): u32 {
  next = packed;
  const start = out;
  bits = 0;
  odds = scratch;
  for (let i: u32 = 0; i < CONTEXTS; i++) store<u32>(scratch + (<usize>i << 2), 0x8000);
  range = 0;
  code = 0;
  for (let i = 0; i < 4; i++) byte();
  range = 0xffffffff;
  let d0: u32 = 1;
  let d1: u32 = 2;
  let d2: u32 = 3;
  let history: u32 = 0;
  for (const end = out + size; out < end; ) {
    if (bit(history)) {
      let count: u32;
      let distance: u32 = d0;
      if (bit(REPEAT + history)) {
        if (bit(WHICH)) {
          distance = d1;
          if (bit(WHICH + 1)) {
            distance = d2;
            d2 = d1;
          }
          d1 = d0;
        }
        count = number(REPEATED_LENGTH);
      } else {
        count = number(LENGTH) + 1;
        distance = number(DISTANCE + min(count - 2, 3) * 1024);
        d2 = d1;
        d1 = d0;
      }
      d0 = distance;
      if (distance > <u32>(out - start) || count > <u32>(end - out)) unreachable();
      for (; count--; out++) store<u8>(out, load<u8>(out - distance));
      history = ((history << 1) & 2) | 1;
    } else {
      // behind a copy, the byte that would have come next is a good guess until a bit of it is
      // wrong
      const guess: u32 = load<u8>(out - d0);
      const context = LITERAL + (load<u8>(out - 1) >>> 5) * 256;
      let guessing = history & 1;
      let value: u32 = 1;
      for (let k = 8; k--; ) {
        const expected = (guess >>> k) & 1;
        const one = bit(value + (guessing ? EXPECTED + expected * 256 : context));
        if (one != expected) guessing = 0;
        value = (value << 1) | one;
      }
      store<u8>(out++, value);
      history = (history << 1) & 2;
    }
  }
  return code;
}

/**
 * Makes the relaxed build of the fixed one, in place. Where that has a product and a sum, it has
 * (fixed.mjs)
 *
 *   local.set t   f32x4.mul   local.get t   f32x4.add                                a·b + c
 *   local.set t   f32x4.mul   local.set u   local.get t   local.get u   f32x4.sub    c − a·b
 *
 * and nothing else has that form; the fused instruction takes its place, and nops what is left of
 * it.
 */
export function relax(at: usize, size: u32): void {
  for (const end = at + size; at < end; at++) {
    let to = local(SET, at);
    if (!to || !is(MUL, to)) continue;
    let fused = MADD;
    const u = local(SET, to + 3);
    if (u) {
      fused = NMADD;
      to = local(GET, u);
      if (!to) continue;
      to = local(GET, to);
    } else to = local(GET, to + 3);
    if (!to || !is(u ? SUB : ADD, to)) continue;
    store<u8>(at, fused);
    store<u16>(at + 1, fused >>> 8);
    at += 3;
    memory.fill(at, 1, to + 3 - at); // nops
    at = to + 2;
  }
}

/** Behind an access to a local that begins at `p`; 0 where there is another instruction. */
function local(access: u32, p: usize): usize {
  if (load<u8>(p) != access) return 0;
  while (load<i8>(++p) < 0) {}
  return p + 1;
}

// @ts-ignore: decorator
@inline
function is(instruction: u32, p: usize): bool {
  return (load<u32>(p) & 0xffffff) == instruction;
}
