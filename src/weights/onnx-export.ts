// A network as an ONNX model.

import { show, wrongValue } from '../errors.ts';
import type { Values } from '../formats/dtypes.ts';
import { nodeField, tensorField, valueField, type WritableAttribute, writeModel } from '../formats/onnx-write.ts';
import { lengthField } from '../formats/protobuf.ts';
import { type Activation, activationCode, FOREIGN } from '../kernels/activations.ts';
import { BatchNorm } from '../layers/batch-norm.ts';
import { BatchNorm1d } from '../layers/batch-norm-ranks.ts';
import type { Layer } from '../layers/layer.ts';
import { checkNames } from '../named-options.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Linear } from '../nn/linear.ts';
import { Residual } from '../nn/residual.ts';
import { Sequential } from '../nn/sequential.ts';
import { toKernel } from './axes.ts';

const SUBJECT = 'toOnnx';
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
  checkNames(SUBJECT, options, ['inputShape']);
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
    const kind = typeof activation === 'string' ? activation : activation.name;
    const steps = FOREIGN[kind].onnx;
    const given = value;
    steps.forEach(({ op, opset: since = 0, attributes, parameter: own, inputs = {} }, i) => {
      opset = Math.max(opset, since);
      const label = i === steps.length - 1 ? name : `${name}.${op.toLowerCase()}`;
      const further =
        inputs === 'x' ? [given] : Object.entries(inputs).map(([input, fill]) => store(`${name}.${input}`, [fill], []));
      const numbers = { ...attributes, ...(own && { [own]: activationCode(SUBJECT, activation).alpha }) };
      append(op, label, further, writable(numbers));
    });
  };
  for (const { layer, name } of leaves) {
    if (layer instanceof Linear) {
      const { weight, bias } = layer.stateDict();
      if (row.length === 1) {
        const inputs = [store(`${name}.weight`, weight.data, weight.shape)];
        if (bias) inputs.push(store(`${name}.bias`, bias.data, bias.shape));
        append('Gemm', name, inputs, { transB: 1 });
      } else {
        const { data, shape } = toKernel(weight.data as Values, weight.shape);
        append('MatMul', name, [store(`${name}.weight`, data, shape)]);
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
    activate(activation, `${name}.activation`);
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

function writable(attributes: Readonly<Record<string, number | string>>): Record<string, WritableAttribute> {
  const each = Object.entries(attributes).map(([name, value]) => [
    name,
    typeof value === 'number' ? { float: value } : value,
  ]);
  return Object.fromEntries(each);
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
  return wrongValue('ERR_OPTION', SUBJECT, argument, expected, got);
}
