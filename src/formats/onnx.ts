// ONNX models (onnx.proto3, github.com/onnx/onnx): the graph, its nodes and its initializers. Data
// in other files is taken from `files` alone: names in models have been used to read whatever there
// was (CVE-2022-25882 and its successors).

import { malformed, show, wrongKind } from '../errors.ts';
import { checkNames } from '../named-options.ts';
import { type Bytes, bytesFrom, quote } from './bytes.ts';
import type { StoredTensor } from './dtypes.ts';
import { locationOf, OnnxTensor, type TensorFiles, TYPES } from './onnx-tensor.ts';
import { type Field, fieldsOf, floatOf, innerFields, numberIn, numbersIn, textIn } from './protobuf.ts';

const FORMAT = 'ONNX';

/** An attribute of a node, in its own type; undefined for a type that is not read. */
export type OnnxAttribute = number | string | readonly number[] | StoredTensor | undefined;

/** A node of an ONNX graph. */
export interface OnnxNode {
  /** The operator: `'Conv'`. */
  readonly op: string;
  /** The operator's domain. `''` is ONNX's own. */
  readonly domain: string;
  /** The node's name; `''` where it has none. */
  readonly name: string;
  /** Names of the values that it takes; `''` for an optional input that is left out. */
  readonly inputs: readonly string[];
  /** Names of the values that it gives. */
  readonly outputs: readonly string[];
  /** Numbers, texts, lists of numbers, tensors; undefined where an attribute is something else. */
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
  /** Attributes that are lists of texts. */
  readonly texts: ReadonlyMap<string, readonly string[]>;
  /** Of nodes in functions: attributes that are attributes of the function, by their names there. */
  readonly references: ReadonlyMap<string, string>;
  /** Graphs inside the node, the branches of an If, by the name of their attribute. */
  readonly graphs: readonly {
    /** The attribute: `'then_branch'`. */
    readonly name: string;
    /** The graph in it. */
    readonly graph: OnnxGraph;
  }[];
  /** Names that graphs inside the node use, those of values outside of them included. */
  readonly captured: readonly string[];
  /** Where the node lies in the file. */
  readonly offset: number;
  /** The node as it stands in the file: the whole field of its graph. */
  readonly raw: Uint8Array;
}

/** A constant of a graph: a weight, a bias, statistics. */
export interface OnnxInitializer extends StoredTensor {
  /** The tensor as it stands in the file: the whole field of its graph. */
  readonly raw: Uint8Array;
  /** The values as they are stored, where that is one after another. */
  readonly bytes: Uint8Array | undefined;
}

/** A graph of an ONNX model. */
export interface OnnxGraph {
  /** Nodes, in the order of the file. */
  readonly nodes: readonly OnnxNode[];
  /** Constants by name. */
  readonly initializers: ReadonlyMap<string, OnnxInitializer>;
  /** Shapes of the graph's inputs by name; undefined for a length that is not given. */
  readonly inputs: ReadonlyMap<string, readonly (number | undefined)[]>;
  /**
   * Initializers that are inputs as well: from version 4 of the format on a caller may give others.
   */
  readonly defaults: ReadonlySet<string>;
  /** Names of the graph's outputs. */
  readonly outputs: readonly string[];
  /** Shapes of values, as far as the model says them. */
  readonly shapes: ReadonlyMap<string, readonly (number | undefined)[]>;
  /**
   * Types of values, in the words of safetensors, as far as the model says them; `'other'` for what
   * is no tensor.
   */
  readonly types: ReadonlyMap<string, string>;
}

/** A function that a model brings along: an operator made of others. */
export interface OnnxFunction {
  /** Name of the operator. */
  readonly name: string;
  /** The operator's domain. */
  readonly domain: string;
  /** Names of its inputs. */
  readonly inputs: readonly string[];
  /** Names of its outputs. */
  readonly outputs: readonly string[];
  /** Attributes that calls may leave out, and what they are then. */
  readonly defaults: ReadonlyMap<string, OnnxAttribute>;
  /** Version of ONNX's own operators in it; undefined where it does not say. */
  readonly opset: number | undefined;
  /** The nodes that it is made of. */
  readonly nodes: readonly OnnxNode[];
}

/** An ONNX model: its main graph, and what the file says of itself. */
export interface OnnxModel extends OnnxGraph {
  /** Version of the operators of ONNX's own domain. */
  readonly opset: number;
  /** Version of the file format. */
  readonly irVersion: number;
  /** The program that wrote the model; `''` where it does not say. */
  readonly producer: string;
  /** Functions that the model brings along. */
  readonly functions: readonly OnnxFunction[];
  /** Other files that tensors lie in, in the order of the model. */
  readonly files: readonly string[];
  /** The file's length, and that of the parts of other files that belong to it. */
  readonly size: number;
  /** The model's fields in order, each time anew: what a changed model is written from. */
  readonly fields: Iterable<Field>;
  /** The main graph's fields in order, each time anew. */
  readonly graphFields: Iterable<Field>;
}

/** Options of `readOnnx` and `foldOnnx`. */
export interface OnnxReadOptions {
  /**
   * The files beside the model that its tensors lie in (external data): by location, or a function
   * of the location. A location that does not stay in the model's folder is refused before anybody
   * is asked.
   */
  files?: TensorFiles | undefined;
}

const MOST_DEPTH = 16;

/**
 * What reading may take in memory: a model is more objects than bytes where its nodes are small. An
 * ordinary graph takes four to six times its bytes, weights nothing.
 */
class Meter {
  #left: number;

  constructor(bytes: number) {
    this.#left = Math.max(7 * bytes, 20e6);
  }

  spend(cost: number, field: Field): void {
    this.#left -= cost;
    if (this.#left < 0)
      throw malformed(FORMAT, 'model', 'fewer parts for its size', 'more than fit in memory', field.offset);
  }
}

/** What parts of a model are read with. */
interface Reading {
  readonly meter: Meter;
  readonly files: Files;
}

/** Files beside the model, each asked for once. */
class Files {
  readonly #find: (location: string) => Uint8Array | undefined;
  readonly #found = new Map<string, Uint8Array>();
  /** Bytes that tensors take of them. */
  taken = 0;

  constructor(given: TensorFiles | undefined) {
    this.#find = fileFinder(given);
  }

  get names(): string[] {
    return [...this.#found.keys()];
  }

  find = (location: string): Uint8Array | undefined => {
    const found = this.#found.get(location) ?? this.#find(location);
    if (found) this.#found.set(location, found);
    return found;
  };
}

/** Files by their location, in whatever form they were given. Throws ERR_OPTION. */
export function fileFinder(given: TensorFiles | undefined): (location: string) => Uint8Array | undefined {
  if (given !== undefined && typeof given !== 'function' && (typeof given !== 'object' || given === null))
    throw wrongKind('ERR_OPTION', 'readOnnx', 'files', 'a Map, a record or a function', show(given));
  return (location) => {
    const bytes =
      given instanceof Map
        ? given.get(location)
        : typeof given === 'function'
          ? given(location)
          : given && Object.hasOwn(given, location)
            ? (given as Record<string, Bytes>)[location]
            : undefined;
    return bytes === undefined || bytes === null ? undefined : bytesFrom(FORMAT, bytes);
  };
}

/**
 * Reads an ONNX model.
 *
 *     const model = readOnnx(await readFile('model.onnx'));
 *     model.nodes.map(({ op }) => op);
 *
 * @param file bytes of the model
 * @throws ERR_FORMAT for bytes that are no model, for data in other files that are not among
 *   `files`, and for sparse initializers: which part, and at which offset
 */
export function readOnnx(file: Bytes, options: OnnxReadOptions = {}): OnnxModel {
  checkNames('readOnnx', options, ['files']);
  const bytes = bytesFrom(FORMAT, file);
  const reading: Reading = { meter: new Meter(bytes.length), files: new Files(options.files) };
  let opset: number | undefined;
  let irVersion = 0;
  let producer = '';
  let graph: Field | undefined;
  const functions: OnnxFunction[] = [];
  for (const field of fieldsOf(FORMAT, 'model', bytes)) {
    if (field.number === 1) irVersion = numberIn(FORMAT, 'ir_version', field);
    else if (field.number === 2) producer = textIn(FORMAT, 'producer_name', field);
    else if (field.number === 7) {
      if (graph) throw malformed(FORMAT, 'graph', 'one', 'a second', field.offset);
      graph = field;
    } else if (field.number === 8) {
      const { domain, version } = opsetOf(field);
      if (domain === '' || domain === 'ai.onnx') opset = version;
    } else if (field.number === 25) functions.push(functionOf(field, reading));
  }
  if (!graph) throw malformed(FORMAT, 'model', 'a graph', 'none', bytes.length);
  if (opset === undefined)
    throw malformed(FORMAT, 'opset_import', "a version of ONNX's own operators", 'none', bytes.length);
  const found = graph;
  const content = graphOf(found, reading, 0);
  return {
    opset,
    irVersion,
    producer,
    functions,
    ...content,
    files: reading.files.names,
    size: bytes.length + reading.files.taken,
    fields: { [Symbol.iterator]: () => fieldsOf(FORMAT, 'model', bytes) },
    graphFields: { [Symbol.iterator]: () => innerFields(FORMAT, 'graph', found) },
  };
}

/** Which fields of a message are messages with tensors in them. */
const INSIDE = {
  model: { 7: 'graph', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 10: 'tensor', 6: 'graph', 11: 'graph' },
  function: { 7: 'node' },
} as const;

type Message = keyof typeof INSIDE;

/** What a field of a message is, where it has tensors in it. */
export function messageIn(kind: Message, number: number): Message | 'tensor' | undefined {
  return (INSIDE[kind] as Readonly<Record<number, Message | 'tensor'>>)[number];
}

/**
 * The files beside a model that its tensors lie in, each once: `model.onnx.data`.
 *
 *     onnxFiles(await readFile('model.onnx'));   // ['model.onnx.data']
 *
 * @param file bytes of the model
 * @throws ERR_FORMAT for bytes that are no model, and for a location out of the model's folder
 */
export function onnxFiles(file: Bytes): string[] {
  const found = new Set<string>();
  const search = (kind: Message, fields: Iterable<Field>, depth: number) => {
    if (depth > 3 * MOST_DEPTH) return; // readOnnx says so
    for (const field of fields) {
      const what = messageIn(kind, field.number);
      if (what === undefined) continue;
      const inner = innerFields(FORMAT, what, field);
      if (what !== 'tensor') search(what, inner, depth + 1);
      else {
        const location = locationOf('tensor', field);
        if (location !== undefined) found.add(location);
      }
    }
  };
  search('model', fieldsOf(FORMAT, 'model', bytesFrom(FORMAT, file)), 0);
  return [...found];
}

function opsetOf(field: Field): { domain: string; version: number } {
  let domain = '';
  let version = 0;
  for (const inner of innerFields(FORMAT, 'opset_import', field)) {
    if (inner.number === 1) domain = textIn(FORMAT, 'opset_import', inner);
    else if (inner.number === 2) version = numberIn(FORMAT, 'opset_import', inner);
  }
  return { domain, version };
}

function functionOf(field: Field, reading: Reading): OnnxFunction {
  reading.meter.spend(400, field);
  const found = { name: '', domain: '', opset: undefined as number | undefined };
  const [inputs, outputs, nodes]: [string[], string[], OnnxNode[]] = [[], [], []];
  const defaults = new Map<string, OnnxAttribute>();
  const name = (part: string, inner: Field): string => {
    reading.meter.spend(60 + inner.end - inner.begin, inner);
    return textIn(FORMAT, part, inner);
  };
  for (const inner of innerFields(FORMAT, 'function', field)) {
    if (inner.number === 1) found.name = name('function name', inner);
    else if (inner.number === 4) inputs.push(name('function input', inner));
    else if (inner.number === 5) outputs.push(name('function output', inner));
    else if (inner.number === 7) nodes.push(nodeOf(inner, reading, 0));
    else if (inner.number === 9) {
      const { domain, version } = opsetOf(inner);
      if (domain === '' || domain === 'ai.onnx') found.opset = version;
    } else if (inner.number === 10) found.domain = name('function domain', inner).replace(/^ai\.onnx$/, '');
    else if (inner.number === 11) {
      const { name: key, value } = attributeOf(inner, reading, 0);
      defaults.set(key, value);
    }
  }
  return { ...found, inputs, outputs, defaults, nodes };
}

function graphOf(graph: Field, reading: Reading, depth: number): OnnxGraph {
  if (depth > MOST_DEPTH)
    throw malformed(FORMAT, 'graph in a node', `at most ${MOST_DEPTH} levels`, 'more', graph.offset);
  if (depth > 0) reading.meter.spend(900, graph);
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, OnnxInitializer>();
  const inputs = new Map<string, readonly (number | undefined)[]>();
  const outputs: string[] = [];
  const shapes = new Map<string, readonly (number | undefined)[]>();
  const types = new Map<string, string>();
  const given = new Set<string>();
  for (const field of innerFields(FORMAT, 'graph', graph)) {
    if (field.number === 1) {
      const node = nodeOf(field, reading, depth);
      nodes.push(node);
      for (const name of node.outputs) {
        if (given.has(name))
          throw malformed(FORMAT, `value ${quote(name)}`, 'one node that gives it', 'a second', field.offset);
        if (name !== '') given.add(name);
      }
    } else if (field.number === 5) {
      reading.meter.spend(700, field);
      const tensor = new OnnxTensor('initializer', field, reading.files.find);
      const { name } = tensor;
      if (initializers.has(name))
        throw malformed(FORMAT, `initializer ${quote(name)}`, 'each name once', 'it again', field.offset);
      reading.files.taken += tensor.outside;
      initializers.set(name, tensor);
    } else if (field.number === 11 || field.number === 12 || field.number === 13) {
      const { name, shape, type } = valueInfoOf(field, reading);
      if (shape) shapes.set(name, shape);
      if (type) types.set(name, type);
      if (field.number === 11) inputs.set(name, shape ?? []);
      else if (field.number === 12) outputs.push(name);
    } else if (field.number === 15)
      throw malformed(FORMAT, 'sparse_initializer', 'dense tensors', 'a sparse one', field.offset);
  }
  const defaults = new Set<string>();
  for (const name of initializers.keys()) {
    // before version 4 of the format all initializers were inputs as well
    if (inputs.delete(name)) defaults.add(name);
    if (given.has(name))
      throw malformed(FORMAT, `value ${quote(name)}`, 'an initializer or a node that gives it', 'both', graph.offset);
  }
  return { nodes, initializers, inputs, defaults, outputs, shapes, types };
}

const NO_ATTRIBUTES: ReadonlyMap<string, OnnxAttribute> = /* @__PURE__ */ new Map();
const NO_TEXTS: ReadonlyMap<string, readonly string[]> = /* @__PURE__ */ new Map();
const NO_REFERENCES: ReadonlyMap<string, string> = /* @__PURE__ */ new Map();
const NONE: readonly never[] = [];

class Node implements OnnxNode {
  op = '';
  domain = '';
  name = '';
  inputs: readonly string[] = NONE;
  outputs: readonly string[] = NONE;
  attributes = NO_ATTRIBUTES;
  texts = NO_TEXTS;
  references = NO_REFERENCES;
  graphs: OnnxNode['graphs'] = NONE;
  captured: readonly string[] = NONE;
  readonly #field: Field;

  constructor(field: Field) {
    this.#field = field;
  }

  get offset(): number {
    return this.#field.offset;
  }

  get raw(): Uint8Array {
    return this.#field.raw;
  }
}

function nodeOf(field: Field, reading: Reading, depth: number): OnnxNode {
  reading.meter.spend(450, field);
  const node = new Node(field);
  const inputs: string[] = [];
  const outputs: string[] = [];
  const captured: string[] = [];
  const graphs: { name: string; graph: OnnxGraph }[] = [];
  const unlike: Unlike[] = [];
  const name = (part: string, inner: Field): string => {
    reading.meter.spend(60 + inner.end - inner.begin, inner);
    return textIn(FORMAT, part, inner);
  };
  for (const inner of innerFields(FORMAT, 'node', field)) {
    if (inner.number === 1) inputs.push(name('node input', inner));
    else if (inner.number === 2) outputs.push(name('node output', inner));
    else if (inner.number === 3) node.name = name('node name', inner);
    else if (inner.number === 4) node.op = name('node op_type', inner);
    else if (inner.number === 5) {
      if (node.attributes === NO_ATTRIBUTES) node.attributes = new Map();
      const { name: key, value, type, graphs: own, texts, reference } = attributeOf(inner, reading, depth);
      if (texts) node.texts = new Map([...node.texts, [key, texts]]);
      if (reference !== undefined) {
        node.references = new Map([...node.references, [key, reference]]);
        continue;
      }
      const kinds = kindsOf(key);
      // the domain of the node may stand behind its attributes
      if (kinds && type !== 0 && !kinds.some((kind) => (TYPES_OF[kind] as readonly number[]).includes(type)))
        unlike.push({ key, kinds, type, offset: inner.offset });
      if (node.attributes.has(key))
        throw malformed(FORMAT, `attribute ${quote(key)}`, 'each name once', 'it again', inner.offset);
      (node.attributes as Map<string, OnnxAttribute>).set(key, value);
      for (const graph of own) {
        graphs.push({ name: key, graph });
        capture(graph, captured, reading, inner);
      }
    } else if (inner.number === 7) node.domain = name('node domain', inner).replace(/^ai\.onnx$/, '');
  }
  if (node.op === '') throw malformed(FORMAT, 'node', 'an op_type', 'none', field.offset);
  if (unlike.length && node.domain === '' && OPERATORS.test(node.op)) throw wrongAttribute(node, outputs[0], unlike[0]);
  // a copy has no room for more
  if (inputs.length) node.inputs = inputs.slice();
  if (outputs.length) node.outputs = outputs.slice();
  if (captured.length) node.captured = captured;
  if (graphs.length) node.graphs = graphs;
  return node;
}

/** Names that a graph inside a node uses. */
function capture({ nodes, outputs }: OnnxGraph, captured: string[], { meter }: Reading, field: Field): void {
  for (const { inputs, captured: inner } of nodes) {
    meter.spend(8 * (inputs.length + inner.length), field);
    for (const name of inputs) captured.push(name);
    for (const name of inner) captured.push(name);
  }
  for (const name of outputs) captured.push(name);
}

/** Numbers of AttributeProto.AttributeType. */
const TYPE = { float: 1, int: 2, text: 3, tensor: 4, graph: 5, floats: 6, ints: 7, texts: 8, graphs: 10 } as const;

const TYPES_OF = {
  'a number': [TYPE.float, TYPE.int],
  'a text': [TYPE.text],
  'a list of integers': [TYPE.ints],
  'a list of floats': [TYPE.floats],
} as const satisfies Readonly<Record<string, readonly number[]>>;

type AttributeKind = keyof typeof TYPES_OF;

/** Attributes that are of one type in all operators of ONNX's own domain that have them. */
const KINDS: Readonly<Record<AttributeKind, string>> = {
  'a number':
    'across_channels allowzero alpha axis batch_axis beta blocksize broadcast ceil_mode center_point_box ' +
    'count_include_pad cubic_coeff_a dtype epsilon exclude_outside exclusive extrapolation_value gamma group hidden_size ' +
    'input_forget is_causal is_test keep_aspect_ratio keepdims kv_num_heads lambd largest layout linear_before_reset ' +
    'max min momentum noop_with_empty_axes num_groups num_outputs q_num_heads ratio reverse select_last_index softcap ' +
    'sorted spatial stash_type storage_order time_axis to training_mode transA transB value_float value_int',
  'a text':
    'approximate auto_pad coordinate_transformation_mode direction equation mode nearest_mode padding_mode reduction to',
  'a list of integers':
    'axes consumed_inputs dilations ends kernel_shape output_padding output_shape paddings pads perm pooled_shape shape ' +
    'split starts strides value_ints',
  'a list of floats': 'activation_alpha activation_beta scales value_floats',
};

/**
 * ONNX's operators that have such attributes. What else stands in its domain is a runtime's own:
 * plugins have no domain, and attributes as they like.
 */
const OPERATORS = /* @__PURE__ */ new RegExp(
  '^(?:Arg(?:Max|Min)|Attention|AveragePool|BatchNormalization|Bernoulli|Cast|Celu|Clip|Compress|Concat|Constant|Conv|' +
    'ConvInteger|ConvTranspose|CumSum|DeformConv|DepthToSpace|DequantizeLinear|Dropout|Einsum|Elu|EyeLike|Flatten|Gather|' +
    'GatherElements|Gelu|Gemm|Global(?:Average|Lp|Max)Pool|GridSample|GroupNormalization|GRU|Hardmax|HardSigmoid|' +
    'InstanceNormalization|LayerNormalization|LeakyRelu|LogSoftmax|LpNormalization|LpPool|LRN|LSTM|MaxPool|MaxRoiPool|' +
    'MaxUnpool|MeanVarianceNormalization|NonMaxSuppression|OneHot|Pad|QLinearConv|QuantizeLinear|' +
    'Reduce(?:L1|L2|LogSum|LogSumExp|Max|Mean|Min|Prod|Sum|SumSquare)|Reshape|Resize|ReverseSequence|RMSNormalization|' +
    'RNN|RoiAlign|Scatter(?:Elements|ND)?|Selu|Shrink|Slice|Softmax|SpaceToDepth|Split|Squeeze|ThresholdedRelu|TopK|' +
    'Transpose|Unsqueeze|Upsample|Add|Sub|Mul|Div|Pow|PRelu|Sum|Mean|Max|Min|And|Or|Xor|Equal|Greater|Less)$',
);

let kinds: ReadonlyMap<string, readonly AttributeKind[]> | undefined;

/** What an attribute of this name may be; undefined for names that say nothing. */
function kindsOf(name: string): readonly AttributeKind[] | undefined {
  if (!kinds) {
    const found = new Map<string, AttributeKind[]>();
    // Cast took the name of a type before version 6, and takes its number since: `to` stands in
    // both lists
    for (const [kind, names] of Object.entries(KINDS) as [AttributeKind, string][])
      for (const one of names.split(' ')) found.set(one, [...(found.get(one) ?? []), kind]);
    kinds = found;
  }
  return kinds.get(name);
}

/** An attribute of another type than its name has. */
interface Unlike {
  readonly key: string;
  readonly kinds: readonly AttributeKind[];
  readonly type: number;
  readonly offset: number;
}

function wrongAttribute(
  { name, op }: OnnxNode,
  output: string | undefined,
  { key, kinds, type, offset }: Unlike,
): Error {
  const known = (Object.keys(TYPES_OF) as AttributeKind[]).find((kind) =>
    (TYPES_OF[kind] as readonly number[]).includes(type),
  );
  const other = { [TYPE.tensor]: 'a tensor', [TYPE.graph]: 'a graph', [TYPE.texts]: 'a list of texts' }[type];
  const part = `node ${quote(name || output || op)} attribute ${quote(key)}`;
  return malformed(FORMAT, part, kinds.join(' or '), known ?? other ?? `type ${type}`, offset);
}

function attributeOf(
  field: Field,
  reading: Reading,
  depth: number,
): {
  name: string;
  value: OnnxAttribute;
  type: number;
  graphs: readonly OnnxGraph[];
  texts?: readonly string[];
  reference: string | undefined;
} {
  reading.meter.spend(120, field);
  let name = '';
  let type = 0;
  let reference: string | undefined;
  const graphs: OnnxGraph[] = [];
  const texts: string[] = [];
  const values = new Map<number, OnnxAttribute>();
  const list = (kind: number): number[] => {
    const found = (values.get(kind) as number[] | undefined) ?? [];
    values.set(kind, found);
    return found;
  };
  for (const inner of innerFields(FORMAT, 'attribute', field)) {
    if (inner.number === 1) name = textIn(FORMAT, 'attribute name', inner);
    else if (inner.number === 20) type = numberIn(FORMAT, 'attribute type', inner);
    else if (inner.number === 21) reference = textIn(FORMAT, 'attribute', inner);
    else if (inner.number === 2) values.set(TYPE.float, floatOf(numberIn(FORMAT, 'attribute', inner)));
    else if (inner.number === 3) values.set(TYPE.int, numberIn(FORMAT, 'attribute', inner));
    else if (inner.number === 4) values.set(TYPE.text, textOrNothing(inner));
    else if (inner.number === 5) {
      const tensor = new OnnxTensor('attribute tensor', inner, reading.files.find);
      reading.files.taken += tensor.outside;
      values.set(TYPE.tensor, tensor);
    } else if (inner.number === 6 || inner.number === 11) graphs.push(graphOf(inner, reading, depth + 1));
    else if (inner.number === 7) {
      reading.meter.spend(2 * (inner.end - inner.begin), inner);
      for (const item of floatsIn('attribute floats', inner)) list(TYPE.floats).push(item);
    } else if (inner.number === 8) {
      const items = list(TYPE.ints);
      reading.meter.spend(12 * (inner.end - inner.begin), inner);
      for (const item of numbersIn(FORMAT, 'attribute ints', inner)) items.push(item);
    } else if (inner.number === 9) {
      reading.meter.spend(60 + inner.end - inner.begin, inner);
      texts.push(textOrNothing(inner) ?? '');
    }
  }
  // without a type, as before version 2 of the format, there is one value; a 0 and a list without
  // numbers need no field
  if (type === 0) type = [...values.keys()].at(-1) ?? (graphs.length ? TYPE.graph : 0);
  const value = values.has(type) ? values.get(type) : standardOf(type);
  return { name, value, type, graphs, reference: reference || undefined, ...(texts.length && { texts }) };
}

function standardOf(type: number): OnnxAttribute {
  if (type === TYPE.float || type === TYPE.int) return 0;
  if (type === TYPE.floats || type === TYPE.ints) return [];
  return type === TYPE.text ? '' : undefined;
}

const utf8 = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true });

/** Attributes may be bytes that are no text. */
function textOrNothing(field: Field): string | undefined {
  if (field.isNumber) return textIn(FORMAT, 'attribute', field);
  try {
    return utf8.decode(field.value as Uint8Array);
  } catch {
    return undefined;
  }
}

function valueInfoOf(
  field: Field,
  { meter }: Reading,
): { name: string; shape: readonly (number | undefined)[] | undefined; type: string | undefined } {
  meter.spend(300, field);
  let name = '';
  let found: string | undefined;
  let shape: (number | undefined)[] | undefined;
  const into = function* (outer: Field, number: number): Generator<Field> {
    for (const inner of innerFields(FORMAT, 'value_info', outer)) if (inner.number === number) yield inner;
  };
  for (const inner of into(field, 1)) name = textIn(FORMAT, 'value_info name', inner);
  for (const type of into(field, 2)) {
    found ??= 'other';
    for (const tensor of into(type, 1)) {
      for (const element of into(tensor, 1)) found = TYPES[numberIn(FORMAT, 'value_info', element)] ?? 'other';
      for (const dims of into(tensor, 2)) {
        shape ??= [];
        for (const dim of into(dims, 1)) {
          meter.spend(16, dim);
          let length: number | undefined;
          for (const value of into(dim, 1)) length = numberIn(FORMAT, 'value_info', value);
          shape.push(length !== undefined && Number.isSafeInteger(length) && length >= 0 ? length : undefined);
        }
      }
    }
  }
  return { name, shape, type: found };
}

function* floatsIn(part: string, field: Field): Generator<number> {
  const { value, offset } = field;
  if (typeof value === 'number') {
    yield floatOf(value);
    return;
  }
  if (value.length % 4) throw malformed(FORMAT, part, 'a multiple of 4 bytes', `${value.length}`, offset);
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  for (let at = 0; at < value.length; at += 4) yield view.getFloat32(at, true);
}
