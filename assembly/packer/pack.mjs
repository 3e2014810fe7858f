// A module as text, for src/wasm/packed.ts and unpack.ts, which says what the code is.
// Parsing is optimal for the prices of the parse before it.

const DIGITS = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).filter((c) => !'"\'\\`'.includes(c));
const REPEAT = 4;
const WHICH = 8;
const LENGTH = 1024;
const REPEATED_LENGTH = 2048;
const DISTANCE = 3072;
const LITERAL = 8192;
const EXPECTED = 10240;

const PASSES = 4;
/** Longest copy of which every shorter one is considered as well. */
const LONG = 300;
/** Places considered for each copy. */
const DEEP = 2000;

/** @param {Uint8Array} data @returns {readonly [size: number, text: string]} */
export function pack(data) {
  const matches = matchesOf(data);
  let odds = new Odds();
  let coder = new Coder(odds);
  for (let pass = 0; pass < PASSES; pass++) {
    const ops = parse(data, matches, odds);
    odds = new Odds();
    coder = new Coder(odds);
    write(data, ops, (context, one) => coder.bit(context, one));
  }
  return [data.length, textOf(coder.finish())];
}

/**
 * Does the unpacker make of the text what it was made of, in both builds? A parse that it reads
 * otherwise must not be shipped. Returns what the unpacker leaves of the text, by which it knows it
 * again.
 */
export function checkPacked(unpacker, [size, text], { fixed, back }) {
  const memory = new WebAssembly.Memory({ initial: 8, maximum: 65535 });
  const { unpack, relax } = new WebAssembly.Instance(new WebAssembly.Module(unpacker), { env: { memory } }).exports;
  const output = 1 << 17;
  const packed = output + size;
  Buffer.from(memory.buffer).write(text, packed, 'latin1');
  const unpacked = () => Buffer.from(memory.buffer, output, size);
  const left = unpack(packed, output, size, 1 << 16);
  if (!unpacked().equals(fixed)) throw new Error('the unpacker makes another fixed build of the text');
  relax(output, size);
  if (!unpacked().equals(back)) throw new Error('the unpacker makes another relaxed build of the fixed one');
  return left;
}

/** What is known of each bit so far: the decoder's arithmetic, to the last digit. */
class Odds {
  of = new Uint16Array(1 << 14).fill(1 << 15);
  seen = new Uint8Array(1 << 14);

  learn(context, one) {
    const odd = this.of[context];
    if (this.seen[context] < 100) this.seen[context]++;
    this.of[context] = odd + ((one ? 65500 : 35) - odd) / (this.seen[context] + 0.6);
  }

  /** Bits that a bit costs. */
  price(context, one) {
    const odd = this.of[context] / 65536;
    return -Math.log2(one ? odd : 1 - odd);
  }
}

class Coder {
  #odds;
  #low = 0;
  #range = 2 ** 32 - 1;
  #out = [];

  constructor(odds) {
    this.#odds = odds;
  }

  bit(context, one) {
    const bound = (this.#range >>> 16) * this.#odds.of[context];
    if (one) this.#range = bound;
    else {
      this.#low += bound;
      this.#range -= bound;
    }
    this.#odds.learn(context, one);
    if (this.#low >= 2 ** 32) {
      this.#low -= 2 ** 32;
      let k = this.#out.length - 1;
      while (++this.#out[k] === 256) this.#out[k--] = 0;
    }
    while (this.#range < 1 << 24) {
      this.#range *= 256;
      this.#shift();
    }
  }

  finish() {
    // a middle of what is left, as few bytes as say it
    this.#low += 1 << 24;
    if (this.#low >= 2 ** 32) {
      this.#low -= 2 ** 32;
      let k = this.#out.length - 1;
      while (++this.#out[k] === 256) this.#out[k--] = 0;
    }
    this.#shift();
    return [...this.#out, 0, 0, 0, 0]; // as many as the unpacker looks ahead
  }

  #shift() {
    this.#out.push(Math.floor(this.#low / 2 ** 24));
    this.#low = (this.#low % 2 ** 24) * 256;
  }
}

function number(base, value, bit) {
  const n = 31 - Math.clz32(value);
  for (let i = 0; i < n; i++) bit(base + i, 1);
  bit(base + n, 0);
  for (let k = n, seen = 1; k--; ) {
    const one = (value >> k) & 1;
    bit(base + (seen < 8 ? 32 + n * 8 + seen : 256 + n * 16 + k), one);
    seen = (seen << 1) | one;
  }
}

function literal(data, i, history, distance, bit) {
  const guess = data[i - distance];
  let guessing = history & 1;
  for (let k = 8, seen = 1; k--; ) {
    const expected = (guess >> k) & 1;
    const one = (data[i] >> k) & 1;
    bit(seen + (guessing ? EXPECTED + expected * 256 : LITERAL + (data[i - 1] >> 5) * 256), one);
    if (one !== expected) guessing = 0;
    seen = (seen << 1) | one;
  }
}

function which(index, bit) {
  bit(WHICH, index > 0 ? 1 : 0);
  if (index > 0) bit(WHICH + 1, index - 1);
}

const distanceBase = (length) => DISTANCE + Math.min(length - 2, 3) * 1024;
const moved = (distances, distance) => [distance, ...distances.filter((d) => d !== distance)].slice(0, 3);
const FIRST = [1, 2, 3];

/** Every operation, literal (distance 0) or copy, bit by bit. */
function write(data, ops, bit) {
  let i = 0;
  let history = 0;
  let distances = FIRST;
  for (const [length, distance] of ops) {
    bit(history, distance ? 1 : 0);
    if (distance) {
      const index = distances.indexOf(distance);
      bit(REPEAT + history, index < 0 ? 0 : 1);
      if (index < 0) {
        number(LENGTH, length - 1, bit);
        number(distanceBase(length), distance, bit);
      } else {
        which(index, bit);
        number(REPEATED_LENGTH, length, bit);
      }
      distances = moved(distances, distance);
    } else literal(data, i, history, distances[0], bit);
    history = ((history << 1) & 2) | (distance ? 1 : 0);
    i += length;
  }
}

/** For each place the nearest copies of every length. */
function matchesOf(data) {
  const chains = new Map();
  return Array.from(data, (_, i) => {
    const found = [];
    const key = data[i] | (data[i + 1] << 8);
    const chain = chains.get(key) ?? [];
    let longest = 1;
    for (let j = chain.length - 1; j >= 0 && chain.length - j < DEEP; j--) {
      const length = matchAt(data, chain[j], i);
      if (length > longest) found.push([(longest = length), i - chain[j]]);
    }
    chain.push(i);
    chains.set(key, chain);
    return found;
  });
}

function matchAt(data, from, to) {
  let n = 0;
  while (to + n < data.length && data[from + n] === data[to + n]) n++;
  return n;
}

/** The cheapest way through, at prices as `odds` left them. */
function parse(data, matches, odds) {
  const priced = (say) => {
    let sum = 0;
    say((context, one) => {
      sum += odds.price(context, one);
    });
    return sum;
  };
  const remember = (make) => {
    const known = new Map();
    return (a, b = 0) => {
      const key = a * 2 ** 20 + b;
      if (!known.has(key)) known.set(key, make(a, b));
      return known.get(key);
    };
  };
  const newLength = remember((length) => priced((bit) => number(LENGTH, length - 1, bit)));
  const oldLength = remember((length) => priced((bit) => number(REPEATED_LENGTH, length, bit)));
  const far = remember((base, distance) => priced((bit) => number(base, distance, bit)));
  const whichOf = remember((index) => priced((bit) => which(index, bit)));

  const best = new Array(data.length + 1);
  best[0] = { cost: 0, history: 0, distances: FIRST };
  for (let i = 0; i < data.length; i++) {
    const { cost, history, distances } = best[i];
    const reach = (length, distance, price, after) => {
      const to = i + length;
      if (best[to] && best[to].cost <= cost + price) return;
      const now = ((history << 1) & 2) | (distance ? 1 : 0);
      best[to] = { cost: cost + price, history: now, distances: after, op: [length, distance] };
    };
    const one = odds.price(history, 1);
    reach(1, 0, odds.price(history, 0) + priced((bit) => literal(data, i, history, distances[0], bit)), distances);
    distances.forEach((distance, index) => {
      if (distance > i) return;
      const longest = matchAt(data, i - distance, i);
      const base = one + odds.price(REPEAT + history, 1) + whichOf(index);
      const after = moved(distances, distance);
      for (let n = 1; n <= Math.min(longest, LONG); n++) reach(n, distance, base + oldLength(n), after);
      if (longest > LONG) reach(longest, distance, base + oldLength(longest), after);
    });
    let shortest = 2;
    for (const [longest, distance] of matches[i]) {
      if (distances.includes(distance)) continue;
      const after = moved(distances, distance);
      const copy = (n) =>
        reach(
          n,
          distance,
          one + odds.price(REPEAT + history, 0) + newLength(n) + far(distanceBase(n), distance),
          after,
        );
      for (let n = shortest; n <= Math.min(longest, LONG); n++) copy(n);
      if (longest > LONG) copy(longest);
      shortest = longest + 1;
    }
  }
  const ops = [];
  for (let i = data.length; i > 0; i -= best[i].op[0]) ops.push(best[i].op);
  return ops.reverse();
}

/**
 * 13 bits in two characters, the lower digit to base 91 first; as unpack.ts reads them.
 */
function textOf(bytes) {
  let text = '';
  let held = 0;
  let bits = 0;
  const flush = () => {
    const value = (held >>> (bits - 13)) & 8191;
    text += DIGITS[value % 91] + DIGITS[Math.floor(value / 91)];
    bits -= 13;
  };
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0x3fffff;
    bits += 8;
    if (bits >= 13) flush();
  }
  if (bits > 0) {
    held <<= 13 - bits;
    bits = 13;
    flush();
  }
  return text;
}
