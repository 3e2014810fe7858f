// ONNX models: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html. Momentum there is the weight of the old value, the running variance the
// biased one, channels are axis 1.

import { malformed, show, wrongValue } from '../errors.ts';
import { type Bytes, quote } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import {
  nodeField,
  type OnnxModel,
  type OnnxNode,
  readOnnx,
  tensorField,
  valueField,
  type WritableAttribute,
  writeModel,
} from '../formats/onnx.ts';
import { lengthField } from '../formats/protobuf.ts';
import { type Activation, activationOf } from '../kernels/activations.ts';
import { BatchNorm } from '../layers/batch-norm.ts';
import { BatchNorm1d } from '../layers/batch-norm-ranks.ts';
import type { Layer } from '../layers/layer.ts';
import type { BatchNormOptions } from '../layers/options.ts';
import { checkNames, checkRecord } from '../named-options.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Linear } from '../nn/linear.ts';
import { Residual } from '../nn/residual.ts';
import { Sequential } from '../nn/sequential.ts';
import { Collector, fromKernel, type Imported, type ImportOptions, permute } from './imported.ts';
import { newWeight } from './keras.ts';

const FORMAT = 'ONNX';

/** A BatchNormalization node: which values it takes, and what it does with them. */
export interface OnnxNorm {
  /** Its name in an import. */
  readonly name: string;
  readonly node: OnnxNode;
  readonly options: BatchNormOptions;
  /** Does it normalise by the batch (`training_mode`)? */
  readonly training: boolean;
  /** Names of scale, bias, mean and variance. */
  readonly inputs: Readonly<Record<'gamma' | 'beta' | 'runningMean' | 'runningVar', string>>;
}

/** Initializers, and what nodes make of constants alone, by the names under which nodes take them. */
export function constantsOf(model: OnnxModel): Map<string, StoredTensor> {
  const constants = new Map<string, StoredTensor>(model.initializers);
  for (const node of model.nodes) {
    if (node.domain !== '' || node.outputs.length !== 1) continue;
    const value = constantOf(node, constants);
    if (value) constants.set(node.outputs[0], value);
  }
  return constants;
}

function constantOf(
  { op, inputs, attributes }: OnnxNode,
  constants: Map<string, StoredTensor>,
): StoredTensor | undefined {
  const given = constants.get(inputs[0]);
  if (op === 'Identity') return given;
  if (op === 'Transpose' && given?.shape.length === 2) {
    const order = (attributes.get('perm') as readonly number[] | undefined) ?? [1, 0];
    if (order.join() !== '1,0') return order.join() === '0,1' ? given : undefined;
    const [rows, cols] = given.shape;
    return {
      dtype: given.dtype,
      shape: [cols, rows],
      get data() {
        return permute(given.data, given.shape, [1, 0]).data;
      },
    };
  }
  if (op !== 'Constant') return undefined;
  for (const [name, dtype] of [
    ['value_float', 'F32'],
    ['value_floats', 'F32'],
    ['value_int', 'I64'],
    ['value_ints', 'I64'],
  ]) {
    const value = attributes.get(name);
    if (value === undefined) continue;
    const list = [value as number | readonly number[]].flat();
    return {
      dtype,
      shape: Array.isArray(value) ? [list.length] : [],
      data: dtype === 'F32' ? Float32Array.from(list) : Float64Array.from(list),
    };
  }
  const value = attributes.get('value');
  return typeof value === 'object' && value !== null && 'dtype' in value ? value : undefined;
}

/**
 * The BatchNormalization nodes of a model, of operator versions 7 to 15 and later.
 *
 * @throws ERR_FORMAT for older versions, whose attributes mean something else, and for statistics of single values (`spatial` 0)
 */
export function normsOf(model: OnnxModel): OnnxNorm[] {
  return model.nodes
    .filter(({ op, domain }) => op === 'BatchNormalization' && domain === '')
    .map((node) => normOf(model, node));
}

function normOf({ opset }: OnnxModel, node: OnnxNode): OnnxNorm {
  const { attributes, inputs, outputs, offset } = node;
  const label = `node ${quote(node.name || outputs[0] || 'BatchNormalization')}`;
  if (opset < 7) throw malformed(FORMAT, label, 'version 7 or later of the operators', `${opset}`, offset);
  if (inputs.length < 5) throw malformed(FORMAT, label, '5 inputs', `${inputs.length}`, offset);
  if (outputs.length < 1) throw malformed(FORMAT, label, 'an output', 'none', offset);
  if (attributes.get('spatial') === 0) throw malformed(FORMAT, label, 'spatial 1', '0', offset);
  const [, gamma, beta, runningMean, runningVar] = inputs;
  // before version 14 training showed in the number of outputs
  const training =
    opset >= 14 ? attributes.get('training_mode') === 1 : outputs.filter((name) => name !== '').length > 1;
  return {
    name: layerName(gamma) ?? (node.name || outputs[0]),
    node,
    options: {
      eps: shortest(attributes.get('epsilon'), 1e-5),
      momentum: newWeight(shortest(attributes.get('momentum'), 0.9)),
      runningVariance: 'biased',
      layout: 'channels-first',
    },
    training,
    inputs: { gamma, beta, runningMean, runningVar },
  };
}

/** `bn1` for `bn1.weight`. */
function layerName(tensor: string): string | undefined {
  return /^(.+)[./](?:weight|gamma|scale)$/.exec(tensor)?.[1];
}

/** An attribute as the decimal that was meant: floats of 32 bits make 0.9 into 0.8999999761581421. */
export function shortest(value: unknown, standard: number): number {
  if (typeof value !== 'number') return standard;
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

/**
 * An ONNX model's weights in our names: those of BatchNormalization, Gemm and MatMul nodes, under the name of the layer where initializers carry one
 * (`bn1.weight`), else of the node. What a norm takes from the graph's inputs is listed as missing, initializers of other nodes as unused.
 *
 * @throws ERR_FORMAT for bytes that are no model; ERR_STATE as `fromTorch`
 */
export function fromOnnx(model: OnnxModel | Bytes, options: ImportOptions = {}): Imported {
  const isModel = typeof model === 'object' && model !== null && 'nodes' in model;
  const parsed = isModel ? (model as OnnxModel) : readOnnx(model as Bytes);
  const collector = new Collector('fromOnnx', options);
  const constants = constantsOf(parsed);
  const used = new Set<string>();
  const take = (tensor: string, layer: string, ours: string, change?: Parameters<Collector['take']>[4]) => {
    const found = constants.get(tensor);
    if (!found) return collector.missing(tensor);
    used.add(tensor);
    collector.take(tensor, found, layer, ours, change);
  };
  for (const norm of normsOf(parsed)) {
    const layer = collector.rename(norm.name);
    collector.norm(layer, norm.options);
    for (const [ours, tensor] of Object.entries(norm.inputs)) take(tensor, layer, ours);
  }
  const scaled = (by: number) => (values: Values, shape: readonly number[]) => ({
    data: by === 1 ? values : Float64Array.from(values, (value) => value * by),
    shape,
  });
  for (const node of parsed.nodes) {
    if (node.domain !== '' || (node.op !== 'Gemm' && node.op !== 'MatMul')) continue;
    const [, weight, own] = node.inputs;
    if (constants.get(weight)?.shape.length !== 2 || used.has(weight)) continue;
    const layer = collector.rename(layerName(weight) ?? (node.name || node.outputs[0]));
    const number = (name: string) => (node.op === 'Gemm' ? shortest(node.attributes.get(name), 1) : 1);
    take(weight, layer, 'weight', (values, shape) => {
      const ours = node.attributes.get('transB') === 1 ? { data: values, shape } : fromKernel(values, shape);
      return scaled(number('alpha'))(ours.data, ours.shape);
    });
    // MatMul has its bias in an addition
    const sum = parsed.nodes.find(({ op, inputs }) => op === 'Add' && inputs.includes(node.outputs[0]));
    const bias = node.op === 'Gemm' ? own : sum?.inputs.find((name) => constants.get(name)?.shape.length === 1);
    if (bias && constants.has(bias)) take(bias, layer, 'bias', scaled(number('beta')));
  }
  for (const name of parsed.initializers.keys()) if (!used.has(name)) collector.unused(name);
  return collector.finish();
}

/** Activations with an operator of their own, its attributes, and the version it came with. */
const OPERATORS: Readonly<
  Record<string, { op: string; opset?: number; attributes?: Readonly<Record<string, WritableAttribute>> }>
> = {
  relu: { op: 'Relu' },
  'leaky-relu': { op: 'LeakyRelu' },
  elu: { op: 'Elu' },
  sigmoid: { op: 'Sigmoid' },
  tanh: { op: 'Tanh' },
  softplus: { op: 'Softplus' },
  'hard-sigmoid': { op: 'HardSigmoid', attributes: { alpha: { float: 1 / 6 }, beta: { float: 0.5 } } },
  'hard-swish': { op: 'HardSwish', opset: 14 },
  mish: { op: 'Mish', opset: 18 },
  gelu: { op: 'Gelu', opset: 20 },
  'gelu-tanh': { op: 'Gelu', opset: 20, attributes: { approximate: 'tanh' } },
};

const LEAST_OPSET = 15;

export interface OnnxExportOptions {
  /** One row's shape. Default: the features of the first Linear, or of a first normalization. */
  inputShape?: readonly number[];
}

/**
 * A network as an ONNX model for inference: Linear as Gemm (MatMul and Add where rows have several axes), batch norm as BatchNormalization, activations,
 * dropout. The input is `input`, `[batch, ...]`, the output `output`; initializers carry PyTorch's names.
 *
 * @throws ERR_OPTION for layers that have no operator, for normalizations without statistics or with channels last, and for an unknown row
 */
export function toOnnx(net: Sequential, options: OnnxExportOptions = {}): Uint8Array<ArrayBuffer> {
  if (!(net instanceof Sequential)) throw refusal('net', 'a Sequential', show(net));
  checkRecord('toOnnx', options);
  checkNames('toOnnx', options, ['inputShape']);
  const leaves = net.named().map(([name, layer]) => ({ name, layer }));
  const residual = net.layers.find((layer) => layer instanceof Residual);
  if (residual) throw refusal('a layer', 'a chain', residual.subject);
  const row = options.inputShape ?? rowOf(leaves);
  if (!row) throw refusal('inputShape', "one row's shape, as the network does not say it", 'none');
  const nodes: Uint8Array[] = [];
  const initializers: Uint8Array[] = [];
  let opset = LEAST_OPSET;
  let value = 'input';
  let count = 0;
  const append = (
    op: string,
    name: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, WritableAttribute>>,
  ) => {
    const output = `value_${++count}`;
    nodes.push(nodeField(op, name, [value, ...inputs], [output], attributes));
    value = output;
  };
  const store = (name: string, data: ArrayLike<number>, shape: readonly number[]) => {
    initializers.push(tensorField(5, name, Float32Array.from(data), shape));
    return name;
  };
  const activate = (activation: Activation | undefined, name: string) => {
    if (activation === undefined) return;
    const { name: kind, ...parameter } = typeof activation === 'string' ? { name: activation } : activation;
    if (kind === 'relu6') {
      append('Clip', name, [store(`${name}.min`, [0], []), store(`${name}.max`, [6], [])]);
      return;
    }
    if (kind === 'silu') {
      const before = value;
      append('Sigmoid', `${name}.sigmoid`, []);
      append('Mul', name, [before]);
      return;
    }
    const operator = OPERATORS[kind];
    opset = Math.max(opset, operator.opset ?? 0);
    const { slope, alpha } = parameter as { slope?: number; alpha?: number };
    const own: Readonly<Record<string, WritableAttribute>> =
      kind === 'leaky-relu'
        ? { alpha: { float: slope ?? 0.01 } }
        : kind === 'elu'
          ? { alpha: { float: alpha ?? 1 } }
          : {};
    append(operator.op, name, [], { ...operator.attributes, ...own });
  };
  for (const { layer, name } of leaves) {
    if (layer instanceof Linear) {
      const { weight, bias } = layer.stateDict();
      const { inFeatures, outFeatures } = layer;
      if (row.length === 1) {
        const inputs = [store(`${name}.weight`, weight.data, weight.shape)];
        if (bias) inputs.push(store(`${name}.bias`, bias.data, bias.shape));
        append('Gemm', name, inputs, { transB: 1 });
      } else {
        const transposed = new Float32Array(weight.data.length);
        for (let o = 0; o < outFeatures; o++)
          for (let k = 0; k < inFeatures; k++) transposed[k * outFeatures + o] = weight.data[o * inFeatures + k];
        append('MatMul', name, [store(`${name}.weight`, transposed, [inFeatures, outFeatures])]);
        if (bias) append('Add', `${name}.add`, [store(`${name}.bias`, bias.data, bias.shape)]);
      }
    } else if (layer instanceof BatchNorm) appendNorm(layer, name);
    else if (layer instanceof ActivationLayer) activate(layer.activation, name);
    else if (layer instanceof Dropout) append('Dropout', name, [store(`${name}.ratio`, [layer.p], [])]);
    else throw refusal('a layer', 'Linear, BatchNorm, an activation or Dropout', layer.subject);
  }
  function appendNorm(bn: BatchNorm, name: string): void {
    const { eps, momentum, layout, activation } = bn.options;
    const { gamma, beta, runningMean, runningVar } = bn.stateDict();
    if (!runningMean) throw refusal(bn.subject, 'running statistics', 'none');
    if (layout === 'channels-last' && row!.length > 1) throw refusal(bn.subject, 'channels first', 'channels last');
    const channels = [bn.numFeatures];
    const filled = (fill: number) => new Float32Array(bn.numFeatures).fill(fill);
    append(
      'BatchNormalization',
      name,
      [
        store(`${name}.weight`, gamma?.data ?? filled(1), channels),
        store(`${name}.bias`, beta?.data ?? filled(0), channels),
        store(`${name}.running_mean`, runningMean.data, channels),
        store(`${name}.running_var`, runningVar.data, channels),
      ],
      { epsilon: { float: eps }, momentum: { float: momentum === null ? 1 : 1 - momentum } },
    );
    activate(activationOf(activation), `${name}.activation`);
  }
  nodes.push(nodeField('Identity', 'output', [value], ['output']));
  const outputShape = net.outputShape([1, ...row]).slice(1);
  return writeModel(
    [
      ...nodes,
      lengthField(2, 'evenkeel'),
      ...initializers,
      valueField(11, 'input', ['batch', ...row]),
      valueField(12, 'output', ['batch', ...outputShape]),
    ],
    opset,
  );
}

function rowOf(chain: readonly { layer: Layer }[]): readonly number[] | undefined {
  for (const { layer } of chain) {
    if (layer instanceof Linear) return [layer.inFeatures];
    // a norm of any rank does not say; the linear layer behind it does
    if (layer instanceof BatchNorm1d) return [layer.numFeatures];
  }
  return undefined;
}

function refusal(argument: string, expected: string, got: string): Error {
  return wrongValue('ERR_OPTION', { subject: 'toOnnx', argument, expected, got });
}
