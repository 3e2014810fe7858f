// Mutations of files: what bytes may have become on their way here, or been made to be.

/** A small generator whose whole state is its seed. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x9e3779b9) >>> 0;
    let h = state;
    h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
    h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
    return ((h ^ (h >>> 15)) >>> 0) % below;
  };
}

/** Numbers that lengths and offsets like to be wrong by. */
const NUMBERS = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 53n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];

export function mutate(bytes: Uint8Array, seed: number): Uint8Array {
  const below = generator(seed);
  let out = Uint8Array.from(bytes);
  for (let rounds = 1 + below(4); rounds > 0 && out.length > 0; rounds--) {
    const at = below(out.length);
    const length = 1 + below(Math.min(32, out.length - at));
    switch (below(9)) {
      case 0:
        out[at] ^= 1 << below(8);
        break;
      case 1:
        out[at] = below(256);
        break;
      case 2:
        out = out.slice(0, at);
        break;
      case 3: {
        const width = [1, 2, 4, 8][below(4)];
        const value = NUMBERS[below(NUMBERS.length)];
        for (let k = 0; k < width && at + k < out.length; k++) out[at + k] = Number((value >> BigInt(8 * k)) & 255n);
        break;
      }
      case 4: // a piece twice
        out = joined(out.subarray(0, at + length), out.subarray(at));
        break;
      case 5: // a piece gone
        out = joined(out.subarray(0, at), out.subarray(at + length));
        break;
      case 6: // a piece from elsewhere
        out.copyWithin(at, below(out.length), below(out.length));
        break;
      case 7: // digits and brackets, for text
        out[at] = '0123456789-.e[]{}",:'.charCodeAt(below(20));
        break;
      default:
        out.fill([0, 255, 128][below(3)], at, at + length);
    }
  }
  return out;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
