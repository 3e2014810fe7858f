// A chain of ONNX nodes as layers.

import { malformed } from '../errors.ts';
import { type Bytes, quote } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import { type OnnxNode, readOnnx } from '../formats/onnx.ts';
import type { Activation } from '../kernels/activations.ts';
import { BatchNorm } from '../layers/batch-norm.ts';
import { BatchNorm1d } from '../layers/batch-norm-ranks.ts';
import { GroupNorm } from '../layers/group-norm.ts';
import { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d } from '../layers/instance-norm.ts';
import type { Layer } from '../layers/layer.ts';
import { LayerNorm } from '../layers/layer-norm.ts';
import { RMSNorm } from '../layers/rms-norm.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Linear } from '../nn/linear.ts';
import { Sequential } from '../nn/sequential.ts';
import { fromKernel } from './axes.ts';
import type { LoadOptions } from './load-sequential.ts';
import { constantsOf, normsOf } from './onnx.ts';
import { kinOf, type OnnxKin, spreadGroups } from './onnx-kin.ts';
import { shortest } from './onnx-names.ts';

const FORMAT = 'ONNX';

/** ONNX' number for float32. */
const FLOAT = 1;

/** Builds the network. Throws ERR_FORMAT, by the node's name, where the graph is no chain of layers that there are here. */
export function sequentialFromOnnx(file: Bytes, { dropSoftmax = false }: LoadOptions): Sequential {
  const model = readOnnx(file);
  const constants = constantsOf(model);
  const norms = new Map(normsOf(model).map((norm) => [norm.node, norm]));
  const kin = new Map(kinOf(model).map((norm) => [norm.node, norm]));
  const layers: Layer[] = [];
  const inputs = [...model.inputs.keys()];
  if (inputs.length !== 1)
    throw malformed(FORMAT, 'graph', 'one input', `${inputs.length}: ${inputs.map(quote).join(', ')}`, 0);
  if (model.outputs.length !== 1) throw malformed(FORMAT, 'graph', 'one output', `${model.outputs.length}`, 0);
  let value = inputs[0];
  const skipped = new Set<OnnxNode>();
  const nodes = model.nodes.filter(({ outputs }) => !outputs.every((name) => constants.has(name)));

  nodes.forEach((node, i) => {
    const { op, attributes } = node;
    const label = `node ${i} ${op} ${quote(node.name || node.outputs[0] || '')}`;
    const fail = (expected: string, got: string) => malformed(FORMAT, label, expected, got, node.offset);
    const constant = (name: string | undefined, what: string): StoredTensor => {
      const found = name === undefined ? undefined : constants.get(name);
      if (!found) throw fail(`a constant as ${what}`, name ? quote(name) : 'none');
      return found;
    };
    const given = node.inputs.filter((name) => name !== '' && !constants.has(name));
    if (skipped.has(node)) return;
    if (given.length !== 1 || given[0] !== value)
      throw fail(`${quote(value)} as its one input: a chain`, given.map(quote).join(', ') || 'none');
    if (node.domain !== '') throw fail("an operator of ONNX's own", `domain ${quote(node.domain)}`);
    const from = value;
    value = node.outputs[0];
    const number = (name: string, standard: number) => shortest(attributes.get(name), standard);
    const add = (activation: Activation) => layers.push(new ActivationLayer(activation));

    if (op === 'Identity') return;
    if (op === 'Cast') {
      if (attributes.get('to') !== FLOAT) throw fail('a cast to float32', `type ${attributes.get('to')}`);
      return;
    }
    if (op === 'Flatten') {
      // of rows it does nothing; of what comes in, whoever calls the network has done it
      if (number('axis', 1) !== 1) throw fail('axis 1', `${number('axis', 1)}`);
      const rank = model.shapes.get(from)?.length ?? 2;
      if (layers.length && rank !== 2) throw fail('rows, or the beginning of the graph', `rank ${rank} behind a layer`);
      return;
    }
    if (op === 'Sigmoid') {
      // x·sigmoid(x), as SiLU is exported
      const next = nodes[i + 1];
      if (next?.op === 'Mul' && [...next.inputs].sort().join() === [from, value].sort().join()) {
        value = next.outputs[0];
        skipped.add(next);
        add('silu');
        return;
      }
    }
    if (op === 'Gemm' || op === 'MatMul') {
      if (attributes.get('transA') || node.inputs[0] !== from)
        throw fail('a constant on the right', 'the input there, or transposed');
      const weight = constant(node.inputs[1], 'weight');
      if (weight.shape.length !== 2) throw fail('a weight of rank 2', `rank ${weight.shape.length}`);
      const bias = op === 'Gemm' && node.inputs[2] ? constant(node.inputs[2], 'bias') : undefined;
      const { data, shape } =
        attributes.get('transB') === 1
          ? { data: weight.data, shape: weight.shape }
          : fromKernel(weight.data, weight.shape);
      const [alpha, beta] = op === 'Gemm' ? [number('alpha', 1), number('beta', 1)] : [1, 1];
      const linear = linearOf(data, shape, bias && spread(bias, shape[0], fail), alpha, beta);
      layers.push(linear);
    } else if (op === 'Add') {
      const last = layers.at(-1);
      const bias = constant(
        node.inputs.find((name) => constants.has(name)),
        'bias',
      );
      if (!(last instanceof Linear) || last.bias)
        throw fail('a linear layer without a bias before it', last?.subject ?? 'none');
      const state = last.stateDict();
      layers[layers.length - 1] = linearOf(
        state.weight.data as Values,
        state.weight.shape,
        spread(bias, last.outFeatures, fail),
        1,
        1,
      );
    } else if (op === 'BatchNormalization') {
      const { inputs: names, options } = norms.get(node)!;
      if (norms.get(node)!.training) throw fail('inference', 'training_mode 1');
      const read = (name: keyof typeof names) => {
        const { data, shape } = constant(names[name], name);
        return { data, shape };
      };
      const Norm = model.inputs.get(inputs[0])?.length === 2 ? BatchNorm1d : BatchNorm;
      const gamma = read('gamma');
      const bn = new Norm(gamma.data.length, options);
      const [beta, runningMean, runningVar] = [read('beta'), read('runningMean'), read('runningVar')];
      bn.loadStateDict({ ...bn.stateDict(), gamma, beta, runningMean, runningVar });
      layers.push(bn);
    } else if (kin.has(node) && kin.get(node)!.kind !== 'MeanVariance') {
      layers.push(kinLayer(kin.get(node)!, model.shapes.get(from), constant, fail));
    } else if (op === 'Dropout') {
      const ratio = node.inputs[1] ? constant(node.inputs[1], 'ratio').data[0] : number('ratio', 0.5);
      layers.push(new Dropout(shortest(ratio, 0.5)));
    } else if (op === 'Softmax' || op === 'LogSoftmax') {
      if (!dropSoftmax) throw fail('a layer that there is here (dropSoftmax: true leaves it out at the end)', op);
      if (i !== nodes.length - 1) throw fail('the end of the graph behind it', nodes[i + 1].op);
    } else if (op === 'Clip') {
      const bounds =
        node.inputs.length > 1
          ? node.inputs.slice(1).map((name) => constant(name, 'bound').data[0])
          : [attributes.get('min'), attributes.get('max')];
      if (bounds[0] !== 0 || bounds[1] !== 6) throw fail('bounds 0 and 6', bounds.join(' and '));
      add('relu6');
    } else {
      const activation = activationFor(node, number);
      if (!activation)
        throw fail('Gemm, MatMul, Add, a normalization, Dropout or an activation that there is here', op);
      add(activation);
    }
  });
  if (value !== model.outputs[0])
    throw malformed(FORMAT, 'graph', `the output ${quote(model.outputs[0])} at the end of the chain`, quote(value), 0);
  return new Sequential(...layers).eval();
}

/** A norm whose statistics are those of its input, with its weights. */
function kinLayer(
  { kind, inputs, eps, axis, numGroups = 1, byGroup }: OnnxKin,
  shape: readonly (number | undefined)[] | undefined,
  constant: (name: string | undefined, what: string) => StoredTensor,
  fail: (expected: string, got: string) => Error,
): Layer {
  const gamma = constant(inputs.gamma, 'scale');
  const beta = inputs.beta ? constant(inputs.beta, 'bias') : undefined;
  const affine = beta ? true : 'gamma';
  if (kind === 'LayerNorm' || kind === 'RMSNorm') {
    if (axis! >= 0 && shape?.length !== axis! + gamma.shape.length) throw fail('the last axes', `axis ${axis}`);
    const norm = new { LayerNorm, RMSNorm }[kind](gamma.shape, { eps, affine });
    norm.loadStateDict({ gamma, ...(beta && { beta }) });
    return norm;
  }
  const channels = byGroup ? shape?.[1] : gamma.data.length;
  if (!channels) throw fail('a known number of channels', 'none');
  const spread = ({ data }: StoredTensor) => ({ data: spreadGroups(data, channels), shape: [channels] });
  const state = { gamma: spread(gamma), beta: spread(beta!) };
  if (kind === 'GroupNorm') {
    const norm = new GroupNorm(numGroups, channels, { eps });
    norm.loadStateDict(state);
    return norm;
  }
  const Norm = [InstanceNorm1d, InstanceNorm2d, InstanceNorm3d][(shape?.length ?? 0) - 3];
  if (!Norm) throw fail('an input of known rank, 3 to 5', shape ? `rank ${shape.length}` : 'none');
  const norm = new Norm(channels, { eps, affine: true });
  norm.loadStateDict(state);
  return norm;
}

function activationFor(
  { op, attributes }: OnnxNode,
  number: (name: string, standard: number) => number,
): Activation | undefined {
  const near = (a: number, b: number) => Math.abs(a - b) < 1e-6;
  switch (op) {
    case 'Relu':
      return 'relu';
    case 'Sigmoid':
      return 'sigmoid';
    case 'Tanh':
      return 'tanh';
    case 'Softplus':
      return 'softplus';
    case 'Mish':
      return 'mish';
    case 'HardSwish':
      return 'hard-swish';
    case 'Gelu':
      return attributes.get('approximate') === 'tanh' ? 'gelu-tanh' : 'gelu';
    case 'LeakyRelu':
      return { name: 'leaky-relu', slope: number('alpha', 0.01) };
    case 'Elu':
      return { name: 'elu', alpha: number('alpha', 1) };
    case 'HardSigmoid': // PyTorch's: x/6 + 1/2. The operator's own default is another
      return near(number('alpha', 0.2), 1 / 6) && near(number('beta', 0.5), 0.5) ? 'hard-sigmoid' : undefined;
    default:
      return undefined;
  }
}

/** A bias as one value for each output, from whatever shape broadcasts to it. */
function spread(
  { data, shape }: StoredTensor,
  outFeatures: number,
  fail: (expected: string, got: string) => Error,
): Values {
  const size = shape.reduce((product, length) => product * length, 1);
  if (size === 1) return new Float32Array(outFeatures).fill(data[0]);
  if (size === outFeatures && (shape[shape.length - 1] ?? 1) === outFeatures) return data;
  throw fail(`a bias of ${outFeatures} values`, `shape [${shape.join(', ')}]`);
}

function linearOf(
  weight: Values,
  shape: readonly number[],
  bias: Values | undefined,
  alpha: number,
  beta: number,
): Linear {
  const linear = new Linear(shape[1], shape[0], { bias: bias !== undefined, init: () => {} });
  const scaled = (values: Values, by: number) => (by === 1 ? values : Float64Array.from(values, (value) => value * by));
  linear.loadStateDict({
    weight: { data: scaled(weight, alpha), shape: [...shape] },
    ...(bias && { bias: { data: scaled(bias, beta), shape: [shape[0]] } }),
  });
  return linear;
}
