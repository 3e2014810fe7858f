// Masks of Keras: which steps count. Layers make them, hand them on, take them, or end them, as
// Keras' layers do.

import { broadcastDims, type Flow } from './draft.ts';
import type { KerasCall, KerasSurroundings, Operand } from './keras-call.ts';
import { binary, reduce, reshaped, scalar, unary } from './onnx-layers.ts';
import { expanded } from './onnx-shapes.ts';

/** Which steps count. */
export interface Mask {
  /**
   * A truth value for each sample and step; undefined for one that is not worked out here, which
   * nobody may need.
   */
  readonly flow: Flow | undefined;
  /** The layer that it comes of. */
  readonly of: string;
}

/** The masks of a network's values. */
export class Masks {
  readonly #of = new Map<Flow, Mask>();

  of(flow: Flow | undefined): Mask | undefined {
    return flow && this.#of.get(flow);
  }

  mark(flow: Flow, mask: Mask): void {
    this.#of.set(flow, mask);
  }
}

/** Layers that hand on the mask of their input. */
const PASSES = new Set([
  ...['dense', 'activation', 're_lu', 'leaky_re_lu', 'elu', 'thresholded_re_lu', 'p_re_lu', 'softmax', 'identity'],
  ...['dropout', 'spatial_dropout1d', 'spatial_dropout2d', 'spatial_dropout3d', 'activity_regularization'],
  ...['gaussian_noise', 'gaussian_dropout', 'alpha_dropout'],
  ...['batch_normalization', 'layer_normalization', 'group_normalization', 'unit_normalization'],
]);
/** The same since Keras 3. */
const PASSES_NOW = new Set(['normalization', 'rescaling']);
const RECURRENT = new Set(['simple_rnn', 'gru', 'lstm', 'rnn', 'bidirectional', 'cu_dnngru', 'cu_dnnlstm']);
const MERGES = new Set(['add', 'subtract', 'multiply', 'average', 'maximum', 'minimum']);
/** Layers that make a mask, or work out by themselves what becomes of one. */
const OWN = new Set(['masking', 'embedding', 'time_distributed', 'spectral_normalization']);
/** Layers that a call may give a mask. */
const TAKES = new Set([
  ...RECURRENT,
  ...['global_average_pooling1d', 'softmax', 'batch_normalization', 'time_distributed'],
]);

/** The mask that counts in a call: that which it says, or that of its input. Throws ERR_FORMAT. */
export function maskFor(call: KerasCall): Mask | undefined {
  const given = call.named.mask;
  const [flow] = call.kwargs.mask ?? [];
  const isNone = given === undefined || ('constant' in given && given.constant === null);
  if (!isNone) {
    if (!flow) throw call.fail('a value of the network as mask', 'a constant');
    if (!TAKES.has(call.kind)) throw call.fail('a call without a mask', 'one');
    return { flow, of: `${call.settings.name}, mask` };
  }
  return call.around.masks.of(call.inputs[0]);
}

const refusal = (call: KerasCall, { of }: Mask, expected: string) => call.fail(expected, `the mask of '${of}'`);

/** The mask of a sequence as a value, one for each sample and step. Throws ERR_FORMAT. */
export function stepsThatCount(call: KerasCall): Flow | undefined {
  const mask = maskFor(call);
  // Keras 3 gives a layer the mask of its input only where that is its one tensor
  const isAlone = call.inputs.length === 1 && !call.kwargs.initial_state;
  if (!mask || (call.isNew && !isAlone && !call.kwargs.mask)) return undefined;
  if (mask.flow?.shape.length !== 2) throw refusal(call, mask, 'a mask with a value for each sample and step');
  return mask.flow;
}

/** Inputs of a network with the masks that its call says, one or a list. Throws ERR_FORMAT. */
export function underMasks(
  { draft, masks }: KerasSurroundings,
  inputs: readonly Flow[],
  given: Operand | undefined,
  of: string,
): readonly Flow[] {
  const list = given && 'list' in given ? given.list : [given];
  return inputs.map((x, i) => {
    const one = list[i];
    if (!one || !('flow' in one)) return x;
    const own = draft.retyped(x, x.dtype);
    masks.mark(own, { flow: one.flow, of });
    return own;
  });
}

/** Outputs with the masks that Keras gives them. */
export function withMasks(call: KerasCall, flows: readonly Flow[]): Flow[] {
  const { masks } = call.around;
  if (OWN.has(call.kind)) return [...flows];
  const wanted = masksOf(call, flows.length);
  return flows.map((flow, i) => {
    if (masks.of(flow) === wanted[i]) return flow;
    // what a layer returns as it is has another mask before it
    const own = call.draft.retyped(flow, flow.dtype);
    if (wanted[i]) masks.mark(own, wanted[i]);
    return own;
  });
}

function masksOf(call: KerasCall, outputs: number): (Mask | undefined)[] {
  const none = new Array<Mask | undefined>(outputs).fill(undefined);
  const { kind } = call;
  if (MERGES.has(kind)) return [merged(call)];
  if (kind === 'concatenate') return [joined(call)];
  const mask = maskFor(call);
  if (!mask) return none;
  if (PASSES.has(kind) || (PASSES_NOW.has(kind) && call.isNew)) return none.fill(mask);
  if (!RECURRENT.has(kind)) return none;
  const inner = kind === 'bidirectional' ? call.inner('layer', call.settings.name).config : call.config;
  if (inner.return_sequences !== true) return none;
  const count = kind === 'bidirectional' && call.config.merge_mode === null ? 2 : 1;
  return none.map((_, i) => (i < count ? mask : undefined));
}

/** The mask of a sum: in Keras 3 any of them, where all have one; before it all of them. */
function merged(call: KerasCall): Mask | undefined {
  const found = call.inputs.map((flow) => call.around.masks.of(flow));
  const there = found.filter((one) => one !== undefined);
  if (there.length === 0 || (call.isNew && there.length < found.length)) return undefined;
  return together(call, there, call.isNew ? 'or' : 'and');
}

function together(call: KerasCall, all: readonly Mask[], by: 'or' | 'and'): Mask {
  const [{ of }] = all;
  const rank = all[0].flow?.shape.length;
  if (rank === undefined || all.some(({ flow }) => flow?.shape.length !== rank)) return { flow: undefined, of };
  const flows = [...new Set(all.map(({ flow }) => flow!))];
  return { flow: flows.reduce((a, b) => binary(call, by, a, b, 'BOOL')), of };
}

/**
 * Of features side by side a step counts where any of them does, before Keras 3 where all do; of
 * steps each by itself.
 */
function joined(call: KerasCall): Mask | undefined {
  const found = call.inputs.map((flow) => call.around.masks.of(flow));
  const there = found.filter((one) => one !== undefined);
  if (there.length === 0) return undefined;
  const rank = call.inputs[0].shape.length;
  const axis = call.axisOf(call.config.axis ?? -1, rank);
  if (axis === rank - 1) {
    if (call.isNew && there.length < found.length) return undefined;
    return together(call, there, call.isNew ? 'or' : 'and');
  }
  const [{ of }] = there;
  if (axis !== 1 || rank !== 3 || there.some(({ flow }) => flow?.shape.length !== 2)) return { flow: undefined, of };
  const flows = found.map((one, i) => one?.flow ?? everyStep(call, call.inputs[i]));
  return { flow: call.draft.concat(flows, 1), of };
}

const everyStep = (call: KerasCall, { dims }: Flow) => expanded(call, scalar(call, 1), dims.slice(0, 2));

/** A mask beside the features of a value. Throws ERR_FORMAT. */
function beside(call: KerasCall, mask: Mask, { shape }: Flow): Flow {
  if (mask.flow?.shape.length !== shape.length - 1)
    throw refusal(call, mask, `a mask of rank ${shape.length - 1} with values of rank ${shape.length}`);
  return reshaped(call, mask.flow, [...mask.flow.dims, 1]);
}

const choose = (call: KerasCall, mask: Flow, x: Flow, other: Flow) =>
  call.draft.operate({ kind: 'where' }, [mask, x, other], broadcastDims([mask, x, other]), 'F32');

/** Values with the masks that they have, of which Keras 3 makes what it merges. */
function withOwn(call: KerasCall, flows: readonly Flow[]): { x: Flow; mask: Flow | undefined }[] {
  const given = flows.map((x) => ({ x, mask: call.around.masks.of(x) }));
  const { className, name } = call.settings;
  if (given.some(({ mask }) => mask))
    call.assume(`layer ${className} '${name}' leaves out what masks leave out, as Keras 3.15 does`);
  return given.map(({ x, mask }) => ({ x, mask: mask && beside(call, mask, x) }));
}

/** A product: what a mask leaves out is 1, and 0 where all factors leave it out. */
export function maskedProduct(call: KerasCall, flows: readonly Flow[]): Flow {
  const own = withOwn(call, flows);
  const factors = own.map(({ x, mask }) => (mask ? choose(call, mask, x, scalar(call, 1)) : x));
  const product = factors.reduce((a, b) => call.draft.multiply(a, b));
  if (own.some(({ mask }) => !mask)) return product;
  const all = own.map(({ mask }) => mask!).reduce((a, b) => binary(call, 'or', a, b, 'BOOL'));
  return choose(call, all, product, scalar(call, 0));
}

/** The largest or the least: what a mask leaves out is what there is of the others. */
export function maskedExtreme(call: KerasCall, of: 'max' | 'min', flows: readonly Flow[]): Flow {
  const [first, ...others] = withOwn(call, flows);
  let { x: y, mask: kept } = first;
  for (const { x, mask } of others) {
    const other = mask ? choose(call, mask, x, y) : x;
    if (kept) y = choose(call, kept, y, other);
    y = binary(call, of, y, other);
    kept = mask && kept && binary(call, 'or', kept, mask, 'BOOL');
  }
  return y;
}

/** Scores of which those that a mask leaves out are as good as −∞. Throws ERR_FORMAT. */
export function maskedScores(call: KerasCall, x: Flow): Flow {
  const mask = maskFor(call);
  if (!mask) return x;
  const rank = x.shape.length;
  if (mask.flow?.shape.length !== rank) throw refusal(call, mask, `a mask of rank ${rank}, as its values are`);
  return choose(call, mask.flow, x, scalar(call, -1e9));
}

/** Steps whose values are not all this one: x is 0 at the others, which the mask leaves out. */
export function maskedBy(call: KerasCall, x: Flow, value: number): Flow {
  const other = unary(call, binary(call, 'equal', x, scalar(call, value), 'F32'), 'not');
  const counts = reduce(call, other, 'max', [x.shape.length - 1], true);
  const y = call.draft.multiply(x, counts);
  call.around.masks.mark(y, { flow: reshaped(call, counts, x.dims.slice(0, -1)), of: call.settings.name });
  return y;
}

/** Leaves out steps whose index is 0. */
export function leaveOutZero(call: KerasCall, indices: Flow, y: Flow): void {
  call.around.masks.mark(y, { flow: unary(call, indices, 'truth', 0, 0, 'BOOL'), of: call.settings.name });
}

/** The mean over steps that count. */
export function maskedMean(call: KerasCall, x: Flow, mask: Flow, keeps: boolean): Flow {
  const isLast = call.layout === 'channels-last';
  const axis = isLast ? 1 : 2;
  const [n, steps] = mask.dims;
  const counts = reshaped(call, mask, isLast ? [n, steps, 1] : [n, 1, steps]);
  const sum = reduce(call, choose(call, counts, x, scalar(call, 0)), 'sum', [axis], keeps);
  const how = reduce(call, unary(call, counts, 'truth', 0, 0, 'F32'), 'sum', [axis], keeps);
  return binary(call, 'div', sum, how);
}

/**
 * The mask of what a layer gives for each step: that of the steps. Before Keras 3 the layer's own,
 * where it has one, else where any of a step's values counts.
 */
export function overSteps(call: KerasCall, y: Flow, inner: Mask | undefined): void {
  const { masks } = call.around;
  const mask = maskFor(call);
  const [n, steps] = y.dims;
  if (!call.isNew && inner?.flow) {
    const { flow, of } = inner;
    masks.mark(y, { flow: reshaped(call, flow, [n, steps, ...flow.dims.slice(1)]), of });
    return;
  }
  if (!mask) return;
  const { flow, of } = mask;
  const rank = flow?.shape.length ?? 0;
  if (call.isNew || !flow || rank <= 2) masks.mark(y, mask);
  else {
    const axes = Array.from({ length: rank - 2 }, (_, i) => i + 2);
    masks.mark(y, { flow: reduce(call, flow, 'max', axes, false), of });
  }
}
