// A network as an ONNX model.

import { show, wrongValue } from '../errors.ts';
import type { Values } from '../formats/dtypes.ts';
import { nodeField, tensorField, valueField, type WritableAttribute, writeModel } from '../formats/onnx-write.ts';
import { lengthField } from '../formats/protobuf.ts';
import { type Activation, activationCode, FOREIGN } from '../kernels/activations.ts';
import type { Layer } from '../layers/layer.ts';
import { checkNames } from '../named-options.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { HardSigmoid, HardTanh, SELU, Softsign } from '../nn/curves.ts';
import { Dropout } from '../nn/dropout.ts';
import { Graph } from '../nn/graph.ts';
import { Linear } from '../nn/linear.ts';
import { Network } from '../nn/network.ts';
import type { Operation } from '../nn/operations.ts';
import { PReLU } from '../nn/prelu.ts';
import { Flatten } from '../nn/reshape.ts';
import { LogSoftmax, Softmax } from '../nn/softmax.ts';
import { BatchNorm } from '../norms/batch-norm.ts';
import { BatchNorm1d } from '../norms/batch-norm-ranks.ts';
import { toKernel } from './axes.ts';

const SUBJECT = 'toOnnx';
const LEAST_OPSET = 15;

/** Options of `toOnnx`. */
export interface OnnxExportOptions {
  /**
   * One row's shape, for a network that is no Graph. Default: the features of the first Linear, or
   * of a first normalization.
   */
  inputShape?: readonly number[];
}

type Attributes = Readonly<Record<string, WritableAttribute>>;

/** A value of the model: its name and its shape, NaN for a length that is not known. */
interface Written {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Nodes and initializers of a model, as they are written. */
class Writer {
  readonly nodes: Uint8Array[] = [];
  readonly initializers: Uint8Array[] = [];
  opset = LEAST_OPSET;
  /** Names of values and initializers. */
  readonly #taken: Set<string>;
  #count = 0;

  /** @param names of inputs and outputs */
  constructor(names: readonly string[]) {
    this.#taken = new Set(names);
  }

  /** The name itself, or one made from it that nothing else has. */
  #unique(name: string): string {
    let result = name;
    while (this.#taken.has(result)) result = `${result}_`;
    this.#taken.add(result);
    return result;
  }

  append(op: string, name: string, inputs: readonly string[], attributes?: Attributes): string {
    const output = this.#unique(`value_${++this.#count}`);
    this.nodes.push(nodeField(op, name, inputs, [output], attributes));
    return output;
  }

  store(name: string, data: ArrayLike<number>, shape: readonly number[]): string {
    const unique = this.#unique(name);
    this.initializers.push(tensorField(5, unique, Float32Array.from(data), shape));
    return unique;
  }

  activate(activation: Activation | undefined, name: string, x: string): string {
    if (activation === undefined) return x;
    const steps = FOREIGN[typeof activation === 'string' ? activation : activation.name].onnx;
    let value = x;
    steps.forEach(({ op, opset: since = 0, attributes, parameter: own, inputs = {} }, i) => {
      this.opset = Math.max(this.opset, since);
      const label = i === steps.length - 1 ? name : `${name}.${op.toLowerCase()}`;
      const further =
        inputs === 'x'
          ? [x]
          : Object.entries(inputs).map(([input, fill]) => this.store(`${name}.${input}`, [fill], []));
      const numbers = { ...attributes, ...(own && { [own]: activationCode(SUBJECT, activation).alpha }) };
      value = this.append(op, label, [value, ...further], writable(numbers));
    });
    return value;
  }

  linear(layer: Linear, name: string, { name: value, shape }: Written): string {
    const { weight, bias } = layer.stateDict();
    if (shape.length === 2) {
      const inputs = [value, this.store(`${name}.weight`, weight.data, weight.shape)];
      if (bias) inputs.push(this.store(`${name}.bias`, bias.data, bias.shape));
      return this.append('Gemm', name, inputs, { transB: 1 });
    }
    const kernel = toKernel(weight.data as Values, weight.shape);
    const product = this.append('MatMul', name, [value, this.store(`${name}.weight`, kernel.data, kernel.shape)]);
    if (!bias) return product;
    return this.append('Add', `${name}.add`, [product, this.store(`${name}.bias`, bias.data, bias.shape)]);
  }

  norm(bn: BatchNorm, name: string, { name: value, shape }: Written): string {
    const { eps, momentum, layout, axis, activation } = bn.options;
    const { gamma, beta, runningMean, runningVar } = bn.stateDict();
    if (!runningMean) throw refusal(bn.subject, 'running statistics', 'none');
    if (axis !== null) throw refusal(bn.subject, 'channels first', `channels on axis ${axis}`);
    if (layout === 'channels-last' && shape.length > 2) throw refusal(bn.subject, 'channels first', 'channels last');
    const channels = [bn.numFeatures];
    const filled = (fill: number) => new Float32Array(bn.numFeatures).fill(fill);
    const output = this.append(
      'BatchNormalization',
      name,
      [
        value,
        this.store(`${name}.weight`, gamma?.data ?? filled(1), channels),
        this.store(`${name}.bias`, beta?.data ?? filled(0), channels),
        this.store(`${name}.running_mean`, runningMean.data, channels),
        this.store(`${name}.running_var`, runningVar.data, channels),
      ],
      { epsilon: { float: eps }, momentum: { float: momentum === null ? 1 : 1 - momentum } },
    );
    return this.activate(activation, `${name}.activation`, output);
  }

  curve({ curve: of }: SELU | Softsign | HardTanh | HardSigmoid, name: string, x: string): string {
    if (of.curve === 'selu') return this.append('Selu', name, [x]);
    if (of.curve !== 'clamp') return this.append('Softsign', name, [x]);
    if (of.shift !== 0) return this.append('HardSigmoid', name, [x], writable({ alpha: of.slope, beta: of.shift }));
    const bounds = [this.store(`${name}.min`, [of.low], []), this.store(`${name}.max`, [of.high], [])];
    return this.append('Clip', name, [x, ...bounds]);
  }

  layer(layer: Layer, name: string, x: Written): string {
    if (layer instanceof Linear) return this.linear(layer, name, x);
    if (layer instanceof BatchNorm) return this.norm(layer, name, x);
    if (layer instanceof ActivationLayer) return this.activate(layer.activation, name, x.name);
    if (layer instanceof SELU || layer instanceof Softsign || layer instanceof HardTanh || layer instanceof HardSigmoid)
      return this.curve(layer, name, x.name);
    // slopes of channels lie on the axis that is the last one of rows
    if (layer instanceof PReLU && (layer.channels === 1 || x.shape.length === 2)) {
      const { data, shape } = layer.stateDict().weight;
      return this.append('PRelu', name, [x.name, this.store(`${name}.weight`, data, shape)]);
    }
    if (layer instanceof Dropout) {
      return this.append('Dropout', name, [x.name, this.store(`${name}.ratio`, [layer.p], [])]);
    }
    if (layer instanceof Softmax || layer instanceof LogSoftmax) {
      const op = layer instanceof Softmax ? 'Softmax' : 'LogSoftmax';
      return this.append(op, name, [x.name], { axis: layer.axis });
    }
    if (
      layer instanceof Flatten &&
      layer.startAxis === 1 &&
      (layer.endAxis === -1 || layer.endAxis === x.shape.length - 1)
    )
      return this.append('Flatten', name, [x.name], { axis: 1 });
    throw refusal('a layer', 'Linear, BatchNorm, an activation, Softmax, Flatten or Dropout', layer.subject);
  }

  /** A network's nodes; its outputs. */
  network(net: Network, prefix: string, inputs: readonly Written[]): Written[] {
    const { nodes, outputs } = net.wiring;
    const values = [...inputs];
    for (const { name, layer, operation, inputs: own } of nodes) {
      const given = own.map((value) => values[value]);
      if (operation) {
        const shape = operation.shape(
          net.subject,
          name,
          given.map((one) => one.shape),
        );
        const { op, attributes } = operatorOf(operation, shape.length);
        const names = given.map((one) => one.name);
        values.push({ name: this.append(op, `${prefix}${operation.name}_${this.#count}`, names, attributes), shape });
      } else if (layer instanceof Network) values.push(...this.network(layer, `${prefix}${name}.`, given));
      else {
        const shape = layer!.outputShape(given[0].shape);
        values.push({ name: this.layer(layer!, `${prefix}${name}`, given[0]), shape });
      }
    }
    return outputs.map((value) => values[value]);
  }
}

/** The operator of an operation on values of a rank. */
function operatorOf({ name, axis = 0 }: Operation, rank: number): { op: string; attributes?: Attributes } {
  if (name === 'concat') return { op: 'Concat', attributes: { axis: axis < 0 ? axis + rank : axis } };
  return { op: name === 'add' ? 'Add' : 'Mul' };
}

/**
 * A network as an ONNX model for inference: Linear as Gemm (MatMul and Add where rows have several
 * axes), batch norm as BatchNormalization, activations, dropout, Flatten; sums, products and
 * concatenations as Add, Mul and Concat. Inputs and outputs have the names of a Graph, else `input`
 * and `output`, and the shape `[batch, ...]`; initializers carry PyTorch's names.
 *
 *     await writeFile('net.onnx', toOnnx(net.eval()));
 *
 * @param net a Sequential, a Residual or a Graph
 * @throws ERR_OPTION for layers that have no operator, for normalizations without statistics or
 *   with channels last, and for an unknown row
 */
export function toOnnx(net: Network, options: OnnxExportOptions = {}): Uint8Array<ArrayBuffer> {
  if (!(net instanceof Network)) throw refusal('net', 'a Sequential, a Residual or a Graph', show(net));
  checkNames(SUBJECT, options, ['inputShape']);
  const { inputs, outputs } = portsOf(net, options);
  const writer = new Writer([...inputs.map(({ name }) => name), ...outputs]);
  const written = writer.network(net, '', inputs);
  const { nodes, initializers, opset } = writer;
  outputs.forEach((name, i) => {
    nodes.push(nodeField('Identity', name, [written[i].name], [name]));
  });
  const lengthsOf = (name: string, shape: readonly number[]) =>
    shape.map((length, axis) => (Number.isNaN(length) ? (axis ? `${name}_${axis}` : 'batch') : length));
  return writeModel(
    [
      ...nodes,
      lengthField(2, 'evenkeel'),
      ...initializers,
      ...inputs.map(({ name, shape }) => valueField(11, name, lengthsOf(name, shape))),
      ...outputs.map((name, i) => valueField(12, name, lengthsOf(name, written[i].shape))),
    ],
    opset,
  );
}

/** Inputs of a model, and names of its outputs. */
function portsOf(net: Network, { inputShape }: OnnxExportOptions): { inputs: Written[]; outputs: string[] } {
  if (net instanceof Graph) {
    if (inputShape) throw refusal('inputShape', 'none, as a Graph has shapes of its own', show(inputShape));
    const inputs = net.inputs.map(({ name, shape }) => ({ name, shape: shape.map((length) => length ?? Number.NaN) }));
    const taken = new Set(inputs.map(({ name }) => name));
    const double = net.outputs.find(({ name }) => taken.has(name));
    if (double) throw refusal('outputs', 'other names than those of inputs', `'${double.name}'`);
    return { inputs, outputs: net.outputs.map(({ name }) => name) };
  }
  const row = inputShape ?? rowOf(net.named().map(([, layer]) => ({ layer })));
  if (!row) throw refusal('inputShape', "one row's shape, as the network does not say it", 'none');
  return { inputs: [{ name: 'input', shape: [Number.NaN, ...row] }], outputs: ['output'] };
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
  return wrongValue('ERR_OPTION', 'toOnnx', argument, expected, got);
}

function writable(attributes: Readonly<Record<string, number | string>>): Record<string, WritableAttribute> {
  const each = Object.entries(attributes).map(([name, value]) => [
    name,
    typeof value === 'number' ? { float: value } : value,
  ]);
  return Object.fromEntries(each);
}
