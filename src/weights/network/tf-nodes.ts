// A graph of TensorFlow (GraphDef) as TF.js writes it: nodes as JSON, with attributes that say their
// type, texts in base64, and inputs by the name of a node and the number of its output.

import { malformed, wrongValue } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import { bytesPerValue, decode, type StoredTensor } from '../../formats/dtypes.ts';
import { asRecord, type Json } from '../../formats/json.ts';
import { showPart } from '../../formats/show-json.ts';

export const FORMAT = 'TF.js';

/** More are nothing that anybody runs. */
const MOST_NODES = 1 << 17;
/** Of a node that packs or adds thousands of values nothing else is known. */
const MOST_INPUTS = 1 << 16;
const MOST_RANK = 32;

/** Types by their names and numbers in types.proto, in the words of safetensors. */
const TYPES: Readonly<Record<string, string>> = {
  DT_FLOAT: 'F32',
  DT_DOUBLE: 'F64',
  DT_INT32: 'I32',
  DT_UINT8: 'U8',
  DT_INT16: 'I16',
  DT_INT8: 'I8',
  DT_STRING: 'STRING',
  DT_COMPLEX64: 'C64',
  DT_INT64: 'I64',
  DT_BOOL: 'BOOL',
  DT_BFLOAT16: 'BF16',
  DT_UINT16: 'U16',
  DT_HALF: 'F16',
  DT_UINT32: 'U32',
  DT_UINT64: 'U64',
};
const NUMBERS: Readonly<Record<number, string>> = {
  1: 'DT_FLOAT',
  2: 'DT_DOUBLE',
  3: 'DT_INT32',
  4: 'DT_UINT8',
  5: 'DT_INT16',
  6: 'DT_INT8',
  7: 'DT_STRING',
  8: 'DT_COMPLEX64',
  9: 'DT_INT64',
  10: 'DT_BOOL',
  14: 'DT_BFLOAT16',
  17: 'DT_UINT16',
  19: 'DT_HALF',
  22: 'DT_UINT32',
  23: 'DT_UINT64',
};

/** A type in the words of safetensors; undefined for one that has none. */
export function typeOf(value: Json | undefined): string | undefined {
  const name = typeof value === 'number' ? NUMBERS[value] : value;
  return typeof name === 'string' && Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
}

const BASE64 = /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/;
/** Texts of attributes that are looked at are words. */
const LONGEST_TEXT = 4096;

/** Texts are base64, lists of bytes, or as they are. */
function textOf(value: Json | undefined): string | undefined {
  if (Array.isArray(value)) {
    return String.fromCharCode(...value.slice(0, 256).map((byte) => (typeof byte === 'number' ? byte : 0)));
  }
  if (typeof value !== 'string') return undefined;
  if (value.length > LONGEST_TEXT || !BASE64.test(value)) return value;
  const text = atob(value);
  // SAME and Relu could be base64 as well, of bytes that are no letters
  return /^[\x20-\x7e]*$/.test(text) ? text : value;
}

/** Whole numbers are texts, as JSON's own do not hold 64 bits. */
function wholeOf(value: Json | undefined): number | undefined {
  const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined;
}

function floatOf(value: Json | undefined): number | undefined {
  if (value === 'NaN') return Number.NaN;
  if (value === 'Infinity') return Number.POSITIVE_INFINITY;
  if (value === '-Infinity') return Number.NEGATIVE_INFINITY;
  return typeof value === 'number' ? value : undefined;
}

/** Lengths of a shape; null where not even their number is known. A length of −1 is not known. */
export function lengthsIn(value: Json | undefined): (number | undefined)[] | null | undefined {
  const shape = asRecord(value);
  if (!shape) return undefined;
  if (shape.unknownRank === true || shape.unknown_rank === true) return null;
  if (shape.dim === undefined) return [];
  if (!Array.isArray(shape.dim) || shape.dim.length > MOST_RANK) return undefined;
  const lengths = shape.dim.map((dim) => wholeOf(asRecord(dim)?.size ?? 0));
  if (lengths.some((length) => length === undefined || length < -1)) return undefined;
  return lengths.map((length) => (length === -1 ? undefined : length));
}

/** A node, its inputs as names of values: `a` is the first output of a node, `a:1` the second. */
export class TfNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly #attributes: { readonly [name: string]: Json };

  constructor(name: string, op: string, inputs: readonly string[], attributes: { readonly [name: string]: Json }) {
    this.name = name;
    this.op = op;
    this.inputs = inputs;
    this.#attributes = attributes;
  }

  fail(expected: string, got: string): Error {
    return malformed(FORMAT, `node ${clean(this.op)} ${quote(this.name)}`, expected, got, 0);
  }

  #value<T>(name: string, kind: string, what: string, read: (value: Json | undefined) => T | undefined): T | undefined {
    if (!Object.hasOwn(this.#attributes, name)) return undefined;
    const attribute = asRecord(this.#attributes[name]);
    // what is left out has its type's own default
    if (attribute && Object.keys(attribute).length === 0) return undefined;
    const found = read(attribute?.[kind]);
    if (found === undefined) throw this.fail(`${what} as ${name}`, showPart(this.#attributes[name]));
    return found;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#attributes, name);
  }

  flag(name: string, standard = false): boolean {
    return this.#value(name, 'b', 'true or false', (b) => (typeof b === 'boolean' ? b : undefined)) ?? standard;
  }

  /** A whole number from `least` to `most`. */
  whole(name: string, standard: number, least = -(2 ** 31), most = 2 ** 31): number {
    const found = this.#value(name, 'i', 'a whole number', wholeOf) ?? standard;
    if (found >= least && found <= most) return found;
    throw this.fail(`a whole number from ${least} to ${most} as ${name}`, `${found}`);
  }

  number(name: string): number | undefined {
    return this.#value(name, 'f', 'a number', floatOf);
  }

  text(name: string, standard: string): string {
    return this.#value(name, 's', 'a text', textOf) ?? standard;
  }

  choice<const T extends readonly string[]>(name: string, standard: T[number], choices: T): T[number] {
    const found = this.text(name, standard);
    if (choices.includes(found)) return found;
    throw this.fail(`${name} among ${choices.join(', ')}`, quote(found));
  }

  type(name: string): string | undefined {
    return this.#value(name, 'type', 'a type', typeOf);
  }

  /** Lengths of a shape; undefined where it is not known, or not there. */
  shape(name: string): readonly (number | undefined)[] | undefined {
    return this.#value(name, 'shape', 'a shape', lengthsIn) ?? undefined;
  }

  #list<T>(name: string, kind: string, what: string, read: (value: Json | undefined) => T | undefined): T[] {
    const list = this.#value(name, 'list', 'a list', asRecord)?.[kind] ?? [];
    const found = Array.isArray(list) && list.length <= MOST_INPUTS ? list.map(read) : [undefined];
    if (found.includes(undefined)) throw this.fail(`${what} as ${name}`, showPart(this.#attributes[name]));
    return found as T[];
  }

  wholes(name: string): number[] {
    return this.#list(name, 'i', 'whole numbers', wholeOf);
  }

  texts(name: string): string[] {
    return this.#list(name, 's', 'texts', textOf);
  }

  /** A tensor that stands in the node itself. */
  tensor(name: string): StoredTensor | undefined {
    const proto = asRecord(asRecord(this.#attributes[name])?.tensor);
    const dtype = typeOf(proto?.dtype);
    const shape = lengthsIn(proto?.tensorShape ?? proto?.tensor_shape ?? {});
    if (!proto || !dtype || !shape || shape.includes(undefined)) return undefined;
    const lengths = shape as number[];
    const size = lengths.reduce((product, length) => product * length, 1);
    const content = proto.tensorContent ?? proto.tensor_content;
    if (typeof content === 'string' && content !== '') return contentOf(this, dtype, lengths, content);
    const values = [proto.floatVal, proto.doubleVal, proto.intVal, proto.int64Val, proto.boolVal].find(Array.isArray);
    const numbers = values?.map((value) =>
      typeof value === 'boolean' ? Number(value) : (floatOf(value) ?? Number(value)),
    );
    // one value stands for all; more of them are no more than the file has
    if (!numbers?.length || numbers.some((one) => typeof one !== 'number') || size > Math.max(numbers.length, 4096)) {
      return undefined;
    }
    const data = Float64Array.from({ length: size }, (_, i) => numbers[Math.min(i, numbers.length - 1)]);
    return { dtype, shape: lengths, data: dtype === 'F32' ? Float32Array.from(data) : data };
  }
}

/** A tensor whose bytes are base64. */
function contentOf(node: TfNode, dtype: string, shape: readonly number[], content: string): StoredTensor {
  const width = bytesPerValue(dtype);
  const size = shape.reduce((product, length) => product * length, width ?? 0);
  if (!width || !BASE64.test(content)) throw node.fail('numbers in base64 as tensorContent', `type ${dtype}`);
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  if (bytes.length !== size) throw node.fail(`${size} bytes as tensorContent`, `${bytes.length}`);
  const values = decode(FORMAT, node.name, dtype, bytes, 0);
  return { dtype, shape, data: values };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a file may say anything
export const clean = (text: string) => text.slice(0, 80).replace(/[\u0000-\u001f\u007f]/g, '?');

/** `a:0` is `a`. */
export const valueName = (input: string) => input.replace(/:0$/, '');
/** The node that gives a value. */
export const nodeOf = (value: string) => value.replace(/:\d+$/, '');

/** The nodes by name. Throws ERR_FORMAT. */
export function nodesOf(topology: Json): Map<string, TfNode> {
  const list = asRecord(topology)?.node;
  const part = 'modelTopology';
  if (!Array.isArray(list)) throw malformed(FORMAT, part, 'a list of nodes', showPart(list), 0);
  if (list.length > MOST_NODES) throw malformed(FORMAT, part, `at most ${MOST_NODES} nodes`, `${list.length}`, 0);
  const nodes = new Map<string, TfNode>();
  list.forEach((item, i) => {
    const { name, op, input = [], attr = {} } = asRecord(item) ?? {};
    const attributes = asRecord(attr);
    if (typeof name !== 'string' || typeof op !== 'string' || !attributes) {
      throw malformed(FORMAT, `${part}.node[${i}]`, 'a node with name and op', showPart(item), 0);
    }
    if (name.includes(':') || name.startsWith('^') || name === '') {
      throw malformed(FORMAT, `${part}.node[${i}]`, 'a name without : and ^', quote(name), 0);
    }
    if (nodes.has(name))
      throw malformed(FORMAT, `node ${clean(op)} ${quote(name)}`, 'a name of its own', 'it again', 0);
    if (!Array.isArray(input) || input.length > MOST_INPUTS || !input.every((from) => typeof from === 'string')) {
      throw malformed(FORMAT, `node ${clean(op)} ${quote(name)}`, 'names as input', showPart(input), 0);
    }
    // ^name says what runs before, and gives no value
    const values = (input as string[]).filter((from) => !from.startsWith('^')).map(valueName);
    nodes.set(name, new TfNode(name, op, values, attributes));
  });
  return nodes;
}

/**
 * The nodes that some values need, each behind those whose values it takes. Throws ERR_FORMAT for a
 * cycle, and for inputs that no node gives.
 */
export function neededNodes(nodes: ReadonlyMap<string, TfNode>, values: readonly string[]): TfNode[] {
  const order: TfNode[] = [];
  const done = new Set<TfNode>();
  const open = new Set<TfNode>();
  const stack: { node: TfNode; at: number }[] = [];
  const enter = (value: string, taker?: TfNode) => {
    const node = nodes.get(nodeOf(value));
    if (!node) {
      const got = `${quote(value)}, which no node gives`;
      throw taker?.fail('inputs that are there', got) ?? malformed(FORMAT, 'outputs', 'nodes of the graph', got, 0);
    }
    if (done.has(node)) return;
    if (open.has(node)) throw node.fail('inputs that do not come of it', `a cycle through ${quote(value)}`);
    open.add(node);
    stack.push({ node, at: 0 });
  };
  for (const value of values) {
    enter(value);
    while (stack.length) {
      const top = stack[stack.length - 1];
      if (top.at < top.node.inputs.length) enter(top.node.inputs[top.at++], top.node);
      else {
        stack.pop();
        open.delete(top.node);
        done.add(top.node);
        order.push(top.node);
      }
    }
  }
  return order;
}

/** Throws ERR_FORMAT with all operators that are not there: how often, and where first. */
export function checkOperators(nodes: readonly TfNode[], isThere: (op: string) => boolean): void {
  const missing = new Map<string, { count: number; first: string }>();
  for (const { op, name } of nodes) {
    if (isThere(op)) continue;
    const found = missing.get(op);
    if (found) found.count++;
    else missing.set(op, { count: 1, first: name });
  }
  if (missing.size === 0) return;
  const shown = [...missing].slice(0, 64).map(([op, { count, first }]) => {
    return `${clean(op)} (${count} node${count === 1 ? '' : 's'}, the first '${clean(first)}')`;
  });
  const more = missing.size > 64 ? ` and ${missing.size - 64} more` : '';
  const way = 'outputs: [name of a node] cuts the graph before them';
  const expected = 'operators that there are here';
  throw wrongValue('ERR_FORMAT', FORMAT, 'modelTopology', expected, shown.join(', ') + more, way);
}
