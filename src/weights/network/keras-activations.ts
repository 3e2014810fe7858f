// Activations of Keras: as names, as layers in the place of names, as layers of their own.

import { quote } from '../../formats/bytes.ts';
import { asRecord, type Json } from '../../formats/json.ts';
import { showJson } from '../../formats/show-json.ts';
import type { Activation } from '../../kernels/activations.ts';
import type { Layer } from '../../layers/layer.ts';
import { ActivationLayer } from '../../nn/activations.ts';
import { HardSigmoid, HardTanh, SELU, Softsign } from '../../nn/curves.ts';
import { PReLU } from '../../nn/prelu.ts';
import { LogSoftmax, Softmax } from '../../nn/softmax.ts';
import { countOf } from '../../tensors/shape.ts';
import { kindOf } from '../keras-config.ts';
import type { Flow } from './draft.ts';
import { floats, type KerasCall, type KerasConverter, shown } from './keras-call.ts';
import { maskedScores } from './keras-masks.ts';
import { binary, reduce, scalar, unary } from './onnx-layers.ts';

type Curve = (call: KerasCall, x: Flow) => Flow;

const layer =
  (make: () => Layer): Curve =>
  (call, x) =>
    call.draft.keep(make(), x);
const plain = (activation: Activation): Curve => layer(() => new ActivationLayer(activation));
const one =
  (of: string, a = 0, b = 0): Curve =>
  (call, x) =>
    unary(call, x, of, a, b);

/** Names that a layer's `activation` may have. Keras 3 changed what `hard_sigmoid` is. */
const CURVES = (): Readonly<Record<string, Curve>> => ({
  linear: (_, x) => x,
  relu: plain('relu'),
  relu6: plain('relu6'),
  elu: plain('elu'),
  selu: layer(() => new SELU()),
  sigmoid: plain('sigmoid'),
  tanh: plain('tanh'),
  softplus: plain('softplus'),
  softsign: layer(() => new Softsign()),
  swish: plain('silu'),
  silu: plain('silu'),
  gelu: plain('gelu'),
  gelu_new: plain('gelu-tanh'),
  mish: plain('mish'),
  exponential: one('exp'),
  leaky_relu: plain({ name: 'leaky-relu', slope: 0.2 }),
  hard_sigmoid: (call, x) =>
    call.draft.keep(call.isNew ? new ActivationLayer('hard-sigmoid') : new HardSigmoid({ slope: 0.2 }), x),
  sparse_sigmoid: layer(() => new HardSigmoid({ slope: 0.5 })),
  hard_silu: plain('hard-swish'),
  hard_swish: plain('hard-swish'),
  hard_tanh: layer(() => new HardTanh(-1, 1)),
  celu: one('celu', 1),
  hard_shrink: one('shrink', 0.5, 0),
  soft_shrink: one('shrink', 0.5, 0.5),
  tanh_shrink: (call, x) => binary(call, 'sub', x, call.draft.keep(new ActivationLayer('tanh'), x)),
  log_sigmoid: (call, x) => negative(call, plain('softplus')(call, negative(call, x))),
  softmax: layer(() => new Softmax()),
  log_softmax: layer(() => new LogSoftmax()),
});

export const negative = (call: KerasCall, x: Flow) => call.draft.multiply(x, scalar(call, -1));

let table: Readonly<Record<string, Curve>> | undefined;

/** A curve by name; undefined where there is none. */
function curveOf(name: string): Curve | undefined {
  table ??= CURVES();
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Layers that stand in the place of a name. */
const AS_LAYERS = ['re_lu', 'leaky_re_lu', 'elu', 'softmax', 'thresholded_re_lu'];

/** What a setting says: a name, or a layer of this kind. */
function read(given: Json | undefined): { name: string } | { kind: string; config: Record<string, Json> } | undefined {
  if (given === undefined || given === null) return { name: 'linear' };
  if (typeof given === 'string') return { name: given };
  const record = asRecord(given);
  // a function by its name, as Keras 3 and packages write it
  if (record?.class_name === 'function' || record?.class_name === 'Function') {
    if (typeof record.config === 'string') return { name: record.config };
    return typeof asRecord(record.config)?.name === 'string'
      ? { name: asRecord(record.config)!.name as string }
      : undefined;
  }
  if (typeof record?.class_name !== 'string') return undefined;
  const config = (asRecord(record.config) ?? {}) as Record<string, Json>;
  const kind = kindOf(record.class_name);
  if (kind === 'activation') return read(config.activation);
  return AS_LAYERS.includes(kind) ? { kind, config } : undefined;
}

/** What of a setting there is not here, in words; undefined where it is all there. */
export function missingActivation(given: Json | undefined): string | undefined {
  const found = read(given);
  if (found && (!('name' in found) || curveOf(found.name))) return undefined;
  return found ? `activation ${quote((found as { name: string }).name)}` : `activation ${showJson(given)}`;
}

/** The activation that a setting says. */
export function activated(call: KerasCall, x: Flow, given: Json | undefined): Flow {
  const found = read(given);
  if (!found) throw call.fail('an activation that there is here', showJson(given));
  if (!('name' in found)) {
    const settings = { name: call.settings.name, className: call.settings.className, config: found.config };
    return activationLayers()[found.kind](call.on([x], settings)) as Flow;
  }
  const curve = curveOf(found.name);
  if (!curve) throw call.fail('an activation that there is here', quote(found.name));
  return curve(call, x);
}

/** max_value, negative_slope and threshold of ReLU. */
const relu: KerasConverter = (call) => {
  const { x } = call;
  const slope = call.number('negative_slope', 0);
  const threshold = call.number('threshold', 0);
  const most = call.config.max_value == null ? Number.POSITIVE_INFINITY : call.number('max_value', 0);
  if (most < 0) throw call.fail('a max_value of 0 or more', `${most}`);
  const isBounded = most !== Number.POSITIVE_INFINITY;
  if (threshold === 0) {
    if (slope === 0 && most === 6) return call.draft.keep(new ActivationLayer('relu6'), x);
    if (slope === 0 && isBounded && most > 0) return call.draft.keep(new HardTanh(0, most), x);
    const low: Activation = slope === 0 ? 'relu' : { name: 'leaky-relu', slope };
    const y = call.draft.keep(new ActivationLayer(low), x);
    return isBounded ? unary(call, y, 'clip', Number.NEGATIVE_INFINITY, most) : y;
  }
  // x from the threshold on, slope·(x − threshold) below, max_value at most
  const above = binary(call, 'greater-equal', x, scalar(call, threshold), 'BOOL');
  const below = call.draft.multiply(call.draft.add(x, scalar(call, -threshold)), scalar(call, slope));
  const y = call.draft.operate({ kind: 'where' }, [above, x, below], x.dims, 'F32');
  return isBounded ? unary(call, y, 'clip', Number.NEGATIVE_INFINITY, most) : y;
};

const softmax: KerasConverter = (call) => {
  const x = maskedScores(call, call.x);
  const axes = call.axes('axis', -1, x.shape.length);
  if (axes.length === 1) return call.draft.keep(new Softmax({ axis: axes[0] }), x, call.name);
  const e = unary(call, binary(call, 'sub', x, reduce(call, x, 'max', axes, true)), 'exp');
  return binary(call, 'div', e, reduce(call, e, 'sum', axes, true));
};

const prelu: KerasConverter = (call) => {
  const { x } = call;
  const rank = x.shape.length;
  const shape = x.shape.slice(1);
  const shared = call.config.shared_axes;
  for (const axis of Array.isArray(shared) ? shared : []) shape[call.axisOf(axis, rank, 'shared_axes') - 1] = 1;
  if (shape.some((length) => Number.isNaN(length)))
    throw call.fail('known lengths of axes that are not shared', `shape [${shown(x.shape)}]`);
  const alpha = call.weight('alpha', shape);
  const size = countOf(alpha.shape);
  const isLast = alpha.shape.at(-1) === size;
  if (size === 1 || (isLast && x.shape.at(-1) === size)) {
    const weight = { data: floats(alpha.data), shape: [size] };
    return call.draft.keep(call.loaded(new PReLU(size, { layout: 'channels-last' }), { weight }), x, call.name);
  }
  return binary(call, 'prelu', x, call.constant(floats(alpha.data), alpha.shape));
};

let layers: Readonly<Record<string, KerasConverter>> | undefined;

export function activationLayers(): Readonly<Record<string, KerasConverter>> {
  layers ??= {
    activation: (call) => activated(call, call.x, call.config.activation),
    re_lu: relu,
    leaky_re_lu: (call) => {
      const slope = call.number('negative_slope', call.number('alpha', 0.3));
      return call.draft.keep(new ActivationLayer({ name: 'leaky-relu', slope }), call.x, call.name);
    },
    elu: (call) =>
      call.draft.keep(new ActivationLayer({ name: 'elu', alpha: call.number('alpha', 1) }), call.x, call.name),
    thresholded_re_lu: (call) => unary(call, call.x, 'threshold', call.number('theta', 1)),
    softmax,
    p_re_lu: prelu,
  };
  return layers;
}
