// ONNX' norms beside batch norm: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html, …GroupNormalization, …InstanceNormalization, …RMSNormalization,
// …MeanVarianceNormalization.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { OnnxModel, OnnxNode } from '../formats/onnx.ts';
import { layerName, shortest } from './onnx-names.ts';

const FORMAT = 'ONNX';

/** A norm whose statistics are not running ones: which values it takes, and what it does with them. */
export interface OnnxKin {
  /** Its name in an import. */
  readonly name: string;
  readonly node: OnnxNode;
  readonly kind: 'LayerNorm' | 'RMSNorm' | 'GroupNorm' | 'InstanceNorm' | 'MeanVariance';
  readonly eps: number;
  /** Names of scale and bias, where it has them. */
  readonly inputs: Readonly<Partial<Record<'gamma' | 'beta', string>>>;
  /** The first normalised axis of LayerNorm and RMSNorm, from the end where negative. */
  readonly axis?: number;
  /** Of GroupNorm. */
  readonly numGroups?: number;
  /** Are scale and bias those of groups, as GroupNorm's were before version 21? Otherwise they are those of channels. */
  readonly byGroup?: boolean;
  /** Axes that MeanVarianceNormalization takes together. */
  readonly axes?: readonly number[];
}

/**
 * The norms of a model beside BatchNormalization, in the order of its nodes.
 *
 * @throws ERR_FORMAT where inputs or attributes are missing
 */
export function kinOf(model: OnnxModel): OnnxKin[] {
  return model.nodes.flatMap((node) => {
    const kin = node.domain === '' ? kinFor(model, node) : undefined;
    return kin ? [kin] : [];
  });
}

function kinFor({ opset }: OnnxModel, node: OnnxNode): OnnxKin | undefined {
  const { op, attributes, inputs, outputs } = node;
  const label = `node ${quote(node.name || outputs[0] || op)}`;
  const number = (name: string, standard: number) => shortest(attributes.get(name), standard);
  const [, gamma, beta] = inputs;
  const base = (names: OnnxKin['inputs']) => ({
    name: layerName(gamma ?? '') ?? (node.name || outputs[0]),
    node,
    eps: number('epsilon', 1e-5),
    inputs: names,
  });
  const need = (count: number) => {
    if (inputs.length < count) throw malformed(FORMAT, label, `${count} inputs`, `${inputs.length}`, node.offset);
  };
  switch (op) {
    case 'LayerNormalization':
    case 'RMSNormalization': {
      need(2);
      const kind = op === 'LayerNormalization' ? 'LayerNorm' : 'RMSNorm';
      return { ...base({ gamma, ...(beta && { beta }) }), kind, axis: number('axis', -1) };
    }
    case 'InstanceNormalization':
      need(3);
      return { ...base({ gamma, beta }), kind: 'InstanceNorm' };
    case 'GroupNormalization': {
      need(3);
      const numGroups = attributes.get('num_groups');
      if (typeof numGroups !== 'number') throw malformed(FORMAT, label, 'num_groups', 'none', node.offset);
      return { ...base({ gamma, beta }), kind: 'GroupNorm', numGroups, byGroup: opset < 21 };
    }
    case 'MeanVarianceNormalization':
      // the formula adds 1e-9 to the deviation: nothing to f32
      return { ...base({}), eps: 0, kind: 'MeanVariance', axes: (attributes.get('axes') as number[]) ?? [0, 2, 3] };
    default:
      return undefined;
  }
}

/** Values of groups as those of their channels. */
export function spreadGroups(values: ArrayLike<number>, channels: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: channels }, (_, c) => values[Math.floor((c * values.length) / channels)]);
}
