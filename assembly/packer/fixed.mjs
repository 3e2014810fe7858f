// The fixed build out of the relaxed one: each fused multiply-add becomes a multiplication and an
// addition, in a form that one glance at the bytes can turn back. A local holds what comes after
// the product; compilers see through it, so the code is that of `add(mul(a, b), c)`.
// unpack.ts turns the form back, so that one text holds both builds.

const SECTION = { type: 1, import: 2, function: 3, code: 10 };
const V128 = 0x7b;
const FUSED = 0xfd;
const MADD = 0x85;
const NMADD = 0x86;

/**
 * @param {Uint8Array} relaxed
 * @returns {{ fixed: Buffer, back: Buffer }} the fixed build, and what it must become when it is
 *   turned back: fused, and as long as it
 */
export function fixedOf(relaxed) {
  return { fixed: rebuilt(relaxed, FIXED), back: rebuilt(relaxed, BACK) };
}

/** A module with a custom section `evenkeel` that says what it is. */
export function labelled(module, label) {
  const named = (text) => [...leb(text.length), ...Buffer.from(text)];
  const content = [...named('evenkeel'), ...Buffer.from(label)];
  return Buffer.concat([module, Buffer.from([0, ...leb(content.length), ...content])]);
}

const [GET, SET, NOP] = [0x20, 0x21, 0x01];
const [MUL, ADD, SUB] = [0xe6, 0xe4, 0xe5].map((op) => [FUSED, op, 1]);

/** What stands for a fused instruction, with locals t and u. */
const FIXED = {
  [MADD]: (t) => [SET, ...t, ...MUL, GET, ...t, ...ADD],
  [NMADD]: (t, u) => [SET, ...t, ...MUL, SET, ...u, GET, ...t, GET, ...u, ...SUB],
};
const back = (op) => (t, u) => [FUSED, op, 2, ...new Array(FIXED[op](t, u).length - 3).fill(NOP)];
const BACK = { [MADD]: back(MADD), [NMADD]: back(NMADD) };

function rebuilt(relaxed, forms) {
  const reader = readerOf(relaxed);
  const out = [...relaxed.subarray(0, 8)];
  let parametersOf = [];
  let types = [];
  reader.at = 8;
  while (reader.at < relaxed.length) {
    const id = relaxed[reader.at++];
    const size = reader.leb();
    const start = reader.at;
    const end = start + size;
    if (id === SECTION.type) types = readTypes(reader);
    if (id === SECTION.function) parametersOf = reader.list(() => types[reader.leb()]);
    const content =
      id === SECTION.code
        ? codeSection(
            reader.list(() => body(reader)),
            parametersOf,
            forms,
          )
        : relaxed.subarray(start, end);
    out.push(id, ...leb(content.length));
    for (const byte of content) out.push(byte);
    reader.at = end;
  }
  return Buffer.from(out);
}

function readTypes(reader) {
  return reader.list(() => {
    reader.at++; // func
    const parameters = reader.list(() => reader.at++);
    reader.list(() => reader.at++); // results
    return parameters.length;
  });
}

function body(reader) {
  const size = reader.leb();
  const end = reader.at + size;
  const groups = reader.list(() => [reader.leb(), reader.bytes[reader.at++]]);
  const code = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  return { groups, code };
}

function codeSection(bodies, parametersOf, forms) {
  const out = leb(bodies.length);
  bodies.forEach(({ groups, code }, i) => {
    const locals = groups.reduce((sum, [count]) => sum + count, parametersOf[i]);
    const expanded = expand(code, locals, forms);
    const uses = expanded.length > code.length;
    const declared = uses ? [...groups, [2, V128]] : groups;
    const bytes = [...leb(declared.length), ...declared.flatMap(([count, type]) => [...leb(count), type]), ...expanded];
    out.push(...leb(bytes.length));
    for (const byte of bytes) out.push(byte);
  });
  return out;
}

/** Locals `first` and the one behind it are free. */
function expand(code, first, forms) {
  const [t, u] = [leb(first), leb(first + 1)];
  const out = [];
  for (let i = 0; i < code.length; i++) {
    const form = code[i] === FUSED && code[i + 2] === 2 ? forms[code[i + 1]] : undefined;
    if (form) {
      out.push(...form(t, u));
      i += 2;
    } else out.push(code[i]);
  }
  return out;
}

function leb(value) {
  const out = [];
  for (; value > 127; value >>>= 7) out.push((value & 127) | 128);
  return [...out, value];
}

function readerOf(bytes) {
  return {
    bytes,
    at: 0,
    leb() {
      let value = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = bytes[this.at++];
        value |= (byte & 127) << shift;
        if (byte < 128) return value;
      }
    },
    list(read) {
      return Array.from({ length: this.leb() }, read);
    },
  };
}
