// Batch norm of an ONNX model, folded into the layers beside it. Fields of the file that do not change are carried over byte for byte.

import type { EvenkeelError } from '../errors.ts';
import type { ConvWeights } from '../fold/geometry.ts';
import type { Statistics } from '../fold/norm.ts';
import { type Bytes, bytesFrom, concat } from '../formats/bytes.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import { type OnnxModel, type OnnxNode, readOnnx } from '../formats/onnx.ts';
import { tensorField, valueField } from '../formats/onnx-write.ts';
import { bytesIn, type Field, fieldsOf, lengthField, textIn } from '../formats/protobuf.ts';
import { type FileFold, type FoldedNorm, type StoredFold, storedFold } from './fold-report.ts';
import { constantsOf, normsOf, type OnnxNorm } from './onnx.ts';

const FORMAT = 'ONNX';
const LAYERS = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'];

/** A model, and what in it is constant. */
interface Model extends OnnxModel {
  readonly constants: ReadonlyMap<string, StoredTensor>;
}

/** Changes to a graph: what is written in the place of a node or an initializer. */
interface Changes {
  readonly nodes: Map<OnnxNode, Uint8Array | null>;
  readonly initializers: Map<string, Uint8Array | null>;
  readonly added: Uint8Array[];
  /** Values that nobody gives any more. */
  readonly values: Set<string>;
}

/**
 * Folds every BatchNormalization in inference mode into the Conv, ConvTranspose, Gemm or MatMul before it, or else the one behind it, where
 * that changes nothing but rounding. Models keep their names, versions and metadata.
 *
 * @throws ERR_FORMAT for bytes that are no model
 */
export function foldOnnx(file: Bytes): FileFold {
  let current = bytesFrom(FORMAT, file);
  const folded: FoldedNorm[] = [];
  const kept = new Map<string, string>();
  // one at a time: what has been folded may be folded into again
  for (;;) {
    const parsed = readOnnx(current);
    const model: Model = { ...parsed, constants: constantsOf(parsed) };
    const norms = normsOf(model);
    const norm = norms.find(({ node }) => !kept.has(node.outputs[0]));
    if (!norm) {
      const names = new Map(norms.map(({ node, name }) => [node.outputs[0], name]));
      const left = [...kept].map(([output, reason]) => ({ norm: names.get(output) ?? output, reason }));
      return { file: Uint8Array.from(current), folded, kept: left, assumed: [] };
    }
    const result = foldNorm(model, norm);
    if ('reason' in result) kept.set(norm.node.outputs[0], result.reason);
    else {
      folded.push(result.report);
      current = rewritten(model, result.changes);
      kept.clear(); // what stood in the way may be gone
    }
  }
}

/** A norm scales axis 1, a product's output is the last: the same in rank 2 alone. */
const OTHER_AXIS = 'a MatMul before it whose output is not known to have rank 2';
/** Operators that give as many axes as they take. */
const KEEP_RANK = [
  'Relu',
  'LeakyRelu',
  'Elu',
  'Sigmoid',
  'Tanh',
  'Softplus',
  'HardSigmoid',
  'HardSwish',
  'Gelu',
  'Mish',
  'Clip',
  'Dropout',
  'Identity',
  'Cast',
  'BatchNormalization',
];

/** Axes of a value: as the model says, or as follows from what it is made of. */
function rankOf(model: Model, value: string): number | undefined {
  let at = value;
  for (let steps = 0; steps <= model.nodes.length; steps++) {
    const known = model.shapes.get(at);
    if (known) return known.length;
    const node = model.nodes.find(({ outputs }) => outputs[0] === at);
    if (node?.domain !== '') return undefined;
    if (node.op === 'Gemm' || node.op === 'Flatten') return 2;
    const [first, second] = node.inputs.map((name) => model.initializers.get(name)?.shape.length);
    if (node.op === 'MatMul' && second === 2) at = node.inputs[0];
    else if (node.op === 'Add' && first === 1) at = node.inputs[1];
    else if (KEEP_RANK.includes(node.op) || (node.op === 'Add' && second === 1)) at = node.inputs[0];
    else return undefined;
  }
  return undefined;
}

type Attempt = { report: FoldedNorm; changes: Changes } | { reason: string };

function foldNorm(model: Model, norm: OnnxNorm): Attempt {
  if (norm.training) return { reason: 'it is in training mode' };
  const { constants } = model;
  const { inputs, options } = norm;
  for (const name of Object.values(inputs)) if (!constants.has(name)) return { reason: `${name} is no constant` };
  const statistics = {
    mean: constants.get(inputs.runningMean)!.data,
    variance: constants.get(inputs.runningVar)!.data,
    gamma: constants.get(inputs.gamma)!.data,
    beta: constants.get(inputs.beta)!.data,
    eps: options.eps!,
  };
  const back = foldBack(model, norm, statistics);
  if (!('reason' in back)) return back;
  const forward = foldForward(model, norm, statistics);
  return 'reason' in forward ? { reason: `${back.reason}; ${forward.reason}` } : forward;
}

/** How many nodes and outputs take a value. */
function uses(model: Model, value: string): number {
  const inNodes = model.nodes.reduce(
    (sum, { inputs, captured }) => sum + [...inputs, ...captured].filter((name) => name === value).length,
    0,
  );
  return inNodes + model.outputs.filter((name) => name === value).length;
}

function foldBack(model: Model, norm: OnnxNorm, statistics: Statistics): Attempt {
  const [value] = norm.node.inputs;
  const layer = model.nodes.find(({ outputs }) => outputs[0] === value);
  if (!layer) return { reason: 'no node before it' };
  if (uses(model, value) !== 1) return { reason: 'its input is used elsewhere' };
  if (layer.op === 'Add' && layer.domain === '') return foldIntoSum(model, norm, statistics, layer);
  if (!LAYERS.includes(layer.op) || layer.domain !== '') return { reason: `${layer.op} before it` };
  // MatMul has no bias: the norm's place is taken by an addition
  if (layer.op === 'MatMul') {
    if (rankOf(model, value) !== 2) return { reason: OTHER_AXIS };
    return attempt(model, norm, layer, statistics, false, (changes, biasName) => {
      changes.nodes.set(
        norm.node,
        rename(norm.node, { op: 'Add', inputs: [value, biasName], outputs: [norm.node.outputs[0]] }),
      );
    });
  }
  return attempt(model, norm, layer, statistics, false, (changes, biasName, weightName) => {
    changes.nodes.set(
      layer,
      rename(layer, { inputs: [layer.inputs[0], weightName, biasName], outputs: [norm.node.outputs[0]] }),
    );
    changes.nodes.set(norm.node, null);
    changes.values.add(value);
  });
}

/** MatMul and Add, as TensorFlow's exporter writes a linear layer. */
function foldIntoSum(model: Model, norm: OnnxNorm, statistics: Statistics, sum: OnnxNode): Attempt {
  const { constants } = model;
  if (sum.inputs.length !== 2) return { reason: 'Add before it' };
  const [product, bias] = constants.has(sum.inputs[0]) ? [sum.inputs[1], sum.inputs[0]] : sum.inputs;
  const layer = model.nodes.find(({ outputs }) => outputs[0] === product);
  if (layer?.op !== 'MatMul' || layer.domain !== '' || !constants.has(bias)) return { reason: 'Add before it' };
  if (uses(model, product) !== 1) return { reason: 'the product before it is used elsewhere' };
  if (rankOf(model, product) !== 2) return { reason: OTHER_AXIS };
  const place = (changes: Changes, biasName: string) => {
    changes.nodes.set(sum, rename(sum, { inputs: [product, biasName], outputs: [norm.node.outputs[0]] }));
    changes.nodes.set(norm.node, null);
    changes.values.add(sum.outputs[0]);
  };
  return attempt(model, norm, layer, statistics, false, place, bias);
}

function foldForward(model: Model, norm: OnnxNorm, statistics: Statistics): Attempt {
  const [value] = norm.node.outputs;
  const layer = model.nodes.find(({ inputs }) => inputs[0] === value);
  if (uses(model, value) !== 1) return { reason: 'its output is used elsewhere' };
  if (!layer || !LAYERS.includes(layer.op) || layer.domain !== '') return { reason: 'no layer behind it' };
  if (layer.op === 'MatMul') return { reason: 'a MatMul behind it, which has no bias' };
  return attempt(model, norm, layer, statistics, true, (changes, biasName, weightName) => {
    changes.nodes.set(
      layer,
      rename(layer, { inputs: [norm.node.inputs[0], weightName, biasName], outputs: layer.outputs }),
    );
    changes.nodes.set(norm.node, null);
    changes.values.add(value);
  });
}

/** Folds one pair; `place` says what becomes of the nodes. */
function attempt(
  model: Model,
  norm: OnnxNorm,
  layer: OnnxNode,
  statistics: Statistics,
  before: boolean,
  place: (changes: Changes, biasName: string, weightName: string) => void,
  biasName: string | undefined = layer.inputs[2],
): Attempt {
  const { constants } = model;
  const [, weightName] = layer.inputs;
  const weight = constants.get(weightName);
  const bias = biasName ? constants.get(biasName) : undefined;
  if (!weight || (biasName && !bias)) return { reason: `the weights of ${layer.op} are no constants` };
  const number = (name: string, standard: number) => (layer.attributes.get(name) as number | undefined) ?? standard;
  if (layer.op === 'Gemm' && (number('beta', 1) !== 1 || number('alpha', 1) !== 1 || number('transA', 0) !== 0)) {
    return { reason: 'a Gemm with alpha, beta or transA' };
  }
  const isLinear = layer.op === 'Gemm' || layer.op === 'MatMul';
  const oneRow = bias === undefined || bias.shape.slice(0, -1).every((length) => length === 1);
  if (weight.shape.length < 2 || (isLinear && weight.shape.length !== 2) || !oneRow) {
    return { reason: `weights of ${layer.op} of another rank` };
  }
  const pads = layer.attributes.get('pads') as readonly number[] | undefined;
  const automatic = layer.attributes.get('auto_pad');
  const padded = automatic === 'SAME_UPPER' || automatic === 'SAME_LOWER' || pads?.some((pad) => pad !== 0);
  const plain: ConvWeights = {
    weight: weight.data,
    bias: bias?.data,
    shape: weight.shape,
    ...(isLinear
      ? { layout: layer.op === 'Gemm' && number('transB', 0) === 1 ? 'torch' : 'keras' }
      : { transposed: layer.op === 'ConvTranspose', groups: number('group', 1), padding: padded ? 1 : 0 }),
  };
  const dtype = ['F64', 'F16', 'BF16'].includes(weight.dtype) ? weight.dtype : 'F32';
  let result: StoredFold;
  try {
    result = storedFold(FORMAT, plain, statistics, before, { weight: dtype, bias: dtype });
  } catch (error) {
    if (!['ERR_FOLD', 'ERR_SHAPE'].includes((error as EvenkeelError).code)) throw error;
    return { reason: (error as Error).message };
  }
  const changes: Changes = { nodes: new Map(), initializers: new Map(), added: [], values: new Set() };
  const put = (name: string | undefined, bytes: Uint8Array, shape: readonly number[], suffix: string): string => {
    if (name && model.initializers.has(name) && uses(model, name) === 1) {
      changes.initializers.set(name, tensorField(5, name, bytes, shape, dtype));
      return name;
    }
    const fresh = unused(model, name && constants.has(name) ? `${name}.folded` : `${weightName}.${suffix}`);
    changes.added.push(tensorField(5, fresh, bytes, shape, dtype));
    // before version 4 of the format an initializer is an input as well
    if (model.irVersion < 4) changes.added.push(valueField(11, fresh, shape, dtype));
    return fresh;
  };
  const newWeight = put(weightName, result.weight, weight.shape, 'folded');
  const newBias = put(biasName, result.bias, [result.outChannels], 'folded_bias');
  if (layer.op === 'MatMul' && newWeight !== weightName) {
    changes.nodes.set(layer, rename(layer, { inputs: [layer.inputs[0], newWeight], outputs: layer.outputs }));
  }
  place(changes, newBias, newWeight);
  for (const name of new Set(Object.values(norm.inputs))) {
    const own = norm.node.inputs.filter((input) => input === name).length;
    if (model.initializers.has(name) && uses(model, name) === own) changes.initializers.set(name, null);
  }
  const { name, options } = norm;
  return {
    changes,
    report: {
      norm: name,
      into: layer.name || layer.outputs[0],
      side: before ? 'before' : 'behind',
      channels: statistics.mean.length,
      eps: options.eps!,
      rounding: result.rounding,
    },
  };
}

function unused(model: Model, name: string): string {
  const names = new Set([
    ...model.initializers.keys(),
    ...model.nodes.flatMap(({ inputs, outputs, captured }) => [...inputs, ...outputs, ...captured]),
  ]);
  let free = name;
  for (let i = 1; names.has(free); i++) free = `${name}.${i}`;
  return free;
}

/** A node with other inputs and outputs; all its other fields as they were. With `op` it is another operator, without attributes. */
function rename(
  node: OnnxNode,
  change: { op?: string; inputs: readonly string[]; outputs: readonly string[] },
): Uint8Array {
  const [{ value }] = fieldsOf(FORMAT, 'node', node.raw, 0);
  const rest = [...fieldsOf(FORMAT, 'node', value as Uint8Array, 0)]
    .filter(({ number }) => number > 2 && !(change.op && (number === 4 || number === 5)))
    .map(({ raw }) => raw);
  return lengthField(1, [
    ...change.inputs.map((name) => lengthField(1, name)),
    ...change.outputs.map((name) => lengthField(2, name)),
    ...(change.op ? [lengthField(4, change.op)] : []),
    ...rest,
  ]);
}

/** The model with changes, field by field. */
function rewritten(model: Model, { nodes, initializers, added, values }: Changes): Uint8Array<ArrayBuffer> {
  let node = 0;
  const names = [...model.initializers.keys()];
  let initializer = 0;
  const graph: Uint8Array[] = [];
  for (const field of model.graphFields) {
    let change: Uint8Array | null | undefined;
    if (field.number === 1) change = nodes.get(model.nodes[node++]);
    else if (field.number === 5) change = initializers.get(names[initializer++]);
    else if (field.number === 11 && initializers.get(nameIn(field)) === null) change = null;
    else if (field.number === 13 && values.has(nameIn(field))) change = null;
    if (change !== null) graph.push(change ?? field.raw);
  }
  return concat(model.fields.map((field) => (field.number === 7 ? lengthField(7, [...graph, ...added]) : field.raw)));
}

/** The name of a value_info. */
function nameIn(field: Field): string {
  for (const inner of fieldsOf(FORMAT, 'value_info', bytesIn(FORMAT, 'value_info', field), field.offset)) {
    if (inner.number === 1) return textIn(FORMAT, 'value_info name', inner);
  }
  return '';
}
