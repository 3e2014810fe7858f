// ONNX models: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html. Momentum there is the weight of the old value, the running variance the
// biased one, channels are axis 1.

import { malformed } from '../errors.ts';
import { type Bytes, quote } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import { type OnnxModel, type OnnxNode, readOnnx } from '../formats/onnx.ts';
import type { BatchNormOptions } from '../layers/options.ts';
import { fromKernel, permute } from './axes.ts';
import { Collector, type Imported, type ImportOptions } from './imported.ts';
import { newWeight } from './keras.ts';
import { kinOf, spreadGroups } from './onnx-kin.ts';
import { layerName, shortest } from './onnx-names.ts';

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

/**
 * An ONNX model's weights in our names: those of BatchNormalization and the other norms, Gemm and MatMul nodes, under the name of the layer where initializers carry one
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
    collector.norm(layer, norm.options, 'all');
    for (const [ours, tensor] of Object.entries(norm.inputs)) take(tensor, layer, ours);
  }
  for (const { name, node, inputs, byGroup } of kinOf(parsed)) {
    const layer = collector.rename(name);
    const channels = parsed.shapes.get(node.inputs[0])?.[1];
    for (const [ours, tensor] of Object.entries(inputs)) {
      take(tensor, layer, ours, (values, shape) =>
        byGroup && channels ? { data: spreadGroups(values, channels), shape: [channels] } : { data: values, shape },
      );
    }
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
