// Two builds of a module as one text that compresses well: the fixed build whole, the relaxed one as what differs from it, and every byte as
// one or two characters. Base64 shifts repeated code by a third of a character and hides it from gzip: 12 kB for what is 6.8 kB so.
// src/wasm/packed.ts unpacks it.

const ALPHABET = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).filter(
  (c) => !'"\\`\'$'.includes(c),
);
/** Characters that begin a pair. */
const LEADS = 2;

/** @returns {readonly [frequent: string, size: number, text: string]} */
export function pack(simd, relaxed) {
  const bytes = [...simd, ...difference(simd, relaxed)];
  const count = new Uint32Array(256);
  for (const byte of bytes) count[byte]++;
  const all = Array.from(count.keys());
  const frequent = all.toSorted((a, b) => count[b] - count[a] || a - b).slice(0, ALPHABET.length - LEADS);
  const rare = all.filter((byte) => !frequent.includes(byte));
  const code = [];
  frequent.forEach((byte, i) => {
    code[byte] = ALPHABET[i];
  });
  rare.forEach((byte, i) => {
    code[byte] = ALPHABET[frequent.length + Math.floor(i / ALPHABET.length)] + ALPHABET[i % ALPHABET.length];
  });
  const hex = frequent.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex, simd.length, bytes.map((byte) => code[byte]).join('')];
}

/** `to` as steps over `from`: literals, how far to skip after as many, and how much to copy from there. */
function difference(from, to) {
  const places = new Map();
  for (let i = 0; i + 4 <= from.length; i++) {
    const key = from.readUInt32LE(i);
    if (!places.has(key)) places.set(key, []);
    places.get(key).push(i);
  }
  const matchAt = (i, j) => {
    let n = 0;
    while (i + n < from.length && j + n < to.length && from[i + n] === to[j + n]) n++;
    return n;
  };
  const out = [];
  const number = (value) => {
    for (; value > 127; value >>>= 7) out.push((value & 127) | 128);
    out.push(value);
  };
  let literals = [];
  let expected = 0;
  for (let j = 0; j < to.length; ) {
    // near where it should be, a copy costs little; farther away it must be long
    let best = { gain: 0, at: 0, length: 0 };
    const consider = (at, cost) => {
      const length = at < 0 ? 0 : matchAt(at, j);
      if (length >= 3 && length - cost > best.gain) best = { gain: length - cost, at, length };
    };
    consider(expected, 0);
    for (let d = 1; d <= 12; d++) for (const at of [expected + d, expected - d]) consider(at, 1);
    if (best.gain < 8 && j + 4 <= to.length) for (const at of places.get(to.readUInt32LE(j)) ?? []) consider(at, 3);
    if (best.length === 0) {
      literals.push(to[j++]);
      expected++;
      continue;
    }
    const skip = best.at - expected;
    number(literals.length);
    number(skip < 0 ? -2 * skip - 1 : 2 * skip);
    number(best.length);
    out.push(...literals);
    literals = [];
    expected = best.at + best.length;
    j += best.length;
  }
  number(literals.length);
  number(0);
  number(0);
  out.push(...literals);
  return out;
}
