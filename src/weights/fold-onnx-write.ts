// A folded model as bytes: fields that do not change as they are, the others anew, everything into
// one buffer.

import { malformed } from '../errors.ts';
import { fileFinder, messageIn, type OnnxNode, type OnnxReadOptions } from '../formats/onnx.ts';
import { OnnxTensor } from '../formats/onnx-tensor.ts';
import { tensorHeader, valueField } from '../formats/onnx-write.ts';
import { type Field, fieldsOf, innerFields, lengthField, lengthHeader, textIn } from '../formats/protobuf.ts';
import type { FoldGraph, Live, Stored } from './fold-onnx-graph.ts';

const FORMAT = 'ONNX';

/** Protocol buffers have no longer messages. */
const MOST_BYTES = 0x7fff_ffff;

/** Bytes, or a promise of so many. */
type Part = Uint8Array | { readonly length: number; write(target: Uint8Array): void };

/** The model with its changes. Throws ERR_FORMAT where it is too long for one file. */
export function writeFolded(bytes: Uint8Array, graph: FoldGraph, options: OnnxReadOptions): Uint8Array<ArrayBuffer> {
  const { model } = graph.base;
  const inliner = model.files.length ? new Inliner(options) : undefined;
  // everything is gone through twice, first for its length: parts of a model are many, and never
  // stand in memory together
  const inner = new Parts(bytes);
  addGraph(inner, graph, inliner);
  const addAll = (parts: Parts) => {
    for (const field of model.fields) {
      if (field.number === 25 && inliner) parts.add(inliner.message('function', field));
      else if (field.number !== 7) parts.keep(field);
      else {
        parts.add(lengthHeader(7, inner.length));
        if (parts.target) addGraph(parts, graph, inliner);
        else parts.length += inner.length;
      }
    }
    return parts.end();
  };
  const length = addAll(new Parts(bytes));
  if (length > MOST_BYTES)
    throw malformed(
      FORMAT,
      'the folded model',
      'fewer than 2 GiB, with its external data inside',
      `${length} bytes`,
      0,
    );
  const out = new Uint8Array(length);
  addAll(new Parts(bytes, out));
  return out;
}

/**
 * Parts one after another: they are counted, or written where they go. Fields that lie side by side
 * in the file are one.
 */
class Parts {
  readonly target: Uint8Array | undefined;
  length = 0;
  readonly #bytes: Uint8Array;
  /** What of the file comes behind all others. */
  #start = 0;
  #end = 0;

  constructor(bytes: Uint8Array, target?: Uint8Array) {
    this.#bytes = bytes;
    this.target = target;
  }

  keep({ start, end }: Field): void {
    if (this.#end !== start) {
      this.end();
      this.#start = start;
    }
    this.#end = end;
  }

  add(...parts: readonly Part[]): void {
    this.end();
    for (const part of parts) {
      const target = this.target?.subarray(this.length, this.length + part.length);
      if (target && part instanceof Uint8Array) target.set(part);
      else if (target) (part as Exclude<Part, Uint8Array>).write(target);
      this.length += part.length;
    }
  }

  /** Adds what of the file comes behind all others. Returns the length of all. */
  end(): number {
    const [start, end] = [this.#start, this.#end];
    this.#start = this.#end = 0;
    if (end > start) this.add(this.#bytes.subarray(start, end));
    return this.length;
  }
}

function addGraph(parts: Parts, graph: FoldGraph, inliner: Inliner | undefined): void {
  const { model } = graph.base;
  let node = 0;
  const names = model.initializers.keys();
  const isGone = (name: string) => graph.goneTensors.has(name) || graph.goneValues.has(name);
  for (const field of model.graphFields) {
    const { number } = field;
    if (number === 1) {
      const current = model.nodes[node++];
      const live = graph.changeOf(current);
      if (live?.gone) continue;
      if (live?.changed) parts.add(nodeBytes(live));
      else if (inliner && reachesOut(current)) parts.add(inliner.message('node', field));
      else parts.keep(field);
    } else if (number === 5) {
      const name = names.next().value!;
      const stored = graph.replaced.get(name);
      if (graph.goneTensors.has(name)) continue;
      if (stored) parts.add(...storedParts(name, stored, field));
      else if (inliner) parts.add(...inliner.tensor(field));
      else parts.keep(field);
    } else if ((number === 11 || number === 13 || number === 14) && isGone(nameIn(field))) continue;
    else parts.keep(field);
  }
  for (const [name, stored] of graph.added) {
    parts.add(...storedParts(name, stored));
    // before version 4 of the format an initializer is an input as well
    if (model.irVersion < 4) parts.add(valueField(11, name, stored.shape, stored.layer.dtype));
  }
  parts.end();
}

/** An initializer with new values; its notes stay. */
function storedParts(name: string, stored: Stored, old?: Field): Part[] {
  const { layer, isBias } = stored;
  const notes = old
    ? [...innerFields(FORMAT, 'initializer', old)].filter(({ number }) => number === 12 || number === 16)
    : [];
  const values: Part = isBias
    ? layer.biasBytes()
    : { length: layer.byteLength, write: (target: Uint8Array) => layer.write(target) };
  const header = tensorHeader(
    5,
    name,
    stored.shape,
    layer.dtype,
    values.length,
    notes.map(({ raw }) => raw),
  );
  return [header, values];
}

/**
 * A node with other inputs and outputs; all its other fields as they were. One of another operator
 * has no attributes.
 */
function nodeBytes({ node, op, inputs, outputs }: Live): Uint8Array {
  const [outer] = fieldsOf(FORMAT, 'node', node.raw);
  const isOther = op !== node.op;
  const rest = [...innerFields(FORMAT, 'node', outer)]
    .filter(({ number }) => number > 2 && !(isOther && (number === 4 || number === 5)))
    .map(({ raw }) => raw);
  return lengthField(1, [
    ...inputs.map((name) => lengthField(1, name)),
    ...outputs.map((name) => lengthField(2, name)),
    ...(isOther ? [lengthField(4, op)] : []),
    ...rest,
  ]);
}

/** The name of a value_info (1), or of the tensor that an annotation is for (1). */
function nameIn(field: Field): string {
  for (const inner of innerFields(FORMAT, 'value_info', field)) {
    if (inner.number === 1) return textIn(FORMAT, 'value_info name', inner);
  }
  return '';
}

/** Does a node hold a tensor whose values lie in another file? */
function reachesOut({ attributes, graphs }: OnnxNode): boolean {
  return (
    [...attributes.values()].some((value) => value instanceof OnnxTensor && value.outside > 0) ||
    graphs.some(
      ({ graph: { nodes, initializers } }) =>
        [...initializers.values()].some((tensor) => tensor instanceof OnnxTensor && tensor.outside > 0) ||
        nodes.some(reachesOut),
    )
  );
}

/** Puts data of other files into the model. */
class Inliner {
  readonly #find: ReturnType<typeof fileFinder>;

  constructor({ files }: OnnxReadOptions) {
    this.#find = fileFinder(files);
  }

  /** A tensor with its values. */
  tensor(field: Field): Part[] {
    const tensor = new OnnxTensor('initializer', field, this.#find);
    if (!tensor.outside || !tensor.bytes) return [field.raw];
    const keep = [...innerFields(FORMAT, 'initializer', field)].filter(({ number }) => number !== 13 && number !== 14);
    const inner = keep.map(({ raw }) => raw);
    const values = lengthHeader(9, tensor.bytes.length);
    const length = inner.reduce((sum, part) => sum + part.length, values.length + tensor.bytes.length);
    return [lengthHeader(field.number, length), ...inner, values, tensor.bytes];
  }

  message(kind: Parameters<typeof messageIn>[0], field: Field): Uint8Array {
    const parts = [...innerFields(FORMAT, kind, field)].flatMap((inner): Uint8Array[] => {
      const what = messageIn(kind, inner.number);
      if (what === undefined) return [inner.raw];
      return what === 'tensor' ? (this.tensor(inner) as Uint8Array[]) : [this.message(what, inner)];
    });
    return lengthField(field.number, parts);
  }
}
