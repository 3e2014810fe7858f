// Calls that must fail, of every kind that a program can get wrong: each throws an error with a
// code, and changes nothing.

import {
  type BatchNorm,
  crossEntropy,
  SGD,
  setThreads,
  Tensor,
  type TensorLike,
  tensor,
  zeros,
} from '../../../src/index.ts';
import { Dice } from '../dice.ts';
import { channelAxis, countOf, type Kind, tracks } from './calls.ts';
import { type Instance, shapeOf } from './instance.ts';
import { build, isCell, isNetwork, isNorm, type Subject, settingsOf } from './subjects.ts';

// biome-ignore lint/suspicious/noExplicitAny: what must be refused is of no type
type Anything = any;

interface Scene {
  readonly instance: Instance;
  readonly layer: Anything;
  readonly subject: Subject;
  readonly dice: Dice;
  /** An input that is right, and one of another kind. */
  readonly x: TensorLike;
  readonly shape: number[];
  /** A gradient that is right, where there was a forward. */
  readonly dy: TensorLike | undefined;
}

/** What must fail; undefined where it would not, or would not be a mistake. */
type Mistake = (scene: Scene) => (() => unknown) | undefined;

/** An error that is not the library's, thrown by what it was given. */
class Foreign extends Error {
  readonly code = 'FOREIGN';
}

const NONSENSE = [null, undefined, 3, 'x', {}, [], { data: [1, 2], shape: [2] }, { shape: [2, 2] }, true, () => 0];

const MISTAKES: Record<string, Mistake> = {
  'x of another rank': ({ layer, shape, subject }) =>
    hasRank(subject)
      ? () => layer.forward(zeroed([...shape, 1, 1, 1, 1].slice(0, shape.length === 2 ? 1 : 9)))
      : undefined,
  'x of other channels': ({ layer, shape, subject }) =>
    constrains(subject) ? () => layer.forward(zeroed(withChannels(subject, shape, subject.channels + 1))) : undefined,
  'x of another length':
    ({ layer, shape }) =>
    () =>
      layer.forward({ data: new Float32Array(countOf(shape) + 1), shape }),
  'x of doubles':
    ({ layer, shape }) =>
    () =>
      layer.forward({ data: new Float64Array(countOf(shape)), shape }),
  'x that is nonsense': ({ layer, dice }) => {
    const x = dice.of(NONSENSE);
    return () => layer.forward(x);
  },
  'x with sizes of another kind': ({ layer, shape, dice }) => {
    const wrong = shape.map((length) => dice.of([BigInt(length), length + 0.5, -length, `${length}`]));
    return () => layer.forward({ data: new Float32Array(countOf(shape)), shape: wrong });
  },
  'x that was disposed': ({ layer, shape }) => {
    const x = zeros(shape);
    x.dispose();
    return () => layer.forward(x);
  },
  'options that are nonsense': ({ layer, x, dice }) => {
    const options = dice.of([null, 3, 'out', true, x instanceof Tensor ? x : 0, new Float32Array(2)]);
    return () => layer.forward(x, options);
  },
  'an option that there is not': ({ layer, x, dice }) => {
    const options = { [dice.of(['residula', 'Out', 'training', 'epsilon'])]: undefined };
    return () => layer.forward(x, options);
  },
  'out of another shape':
    ({ layer, x, shape }) =>
    () =>
      layer.forward(x, { out: zeroed([...layer.outputShape(shape), 2]) }),
  'out that is nonsense': ({ layer, x, dice }) => {
    const out = dice.of(NONSENSE.filter((value) => value !== undefined));
    return () => layer.forward(x, { out });
  },
  'out that was disposed': ({ layer, x, shape }) => {
    const out = zeros(layer.outputShape(shape));
    out.dispose();
    return () => layer.forward(x, { out });
  },
  'out that overlaps x': ({ layer, shape }) => {
    const size = countOf(shape);
    if (countOf(layer.outputShape(shape)) !== size || size < 3) return undefined;
    const data = new Float32Array(size + 1);
    const out = { data: data.subarray(1), shape: [...layer.outputShape(shape)] };
    return () => layer.forward({ data: data.subarray(0, size), shape }, { out });
  },
  'a residual of another shape': ({ layer, x, shape, subject }) =>
    isNorm(subject) ? () => layer.forward(x, { residual: zeroed([...shape, 1]) }) : undefined,
  'a residual that is nonsense': ({ layer, x, subject, dice }) => {
    const residual = dice.of(NONSENSE.filter((value) => value !== undefined));
    return isNorm(subject) ? () => layer.forward(x, { residual }) : undefined;
  },
  'a mask of another shape': ({ layer, x, shape, subject }) =>
    takesMask(subject) ? () => layer.forward(x, { mask: zeroed([...shape, 2, 2]) }) : undefined,
  'a mask of other values': ({ layer, x, shape, subject, dice }) => {
    const mask = { data: new Float32Array(countOf(shape)).fill(1), shape };
    mask.data[dice.below(mask.data.length)] = dice.of([0.5, 2, -1, Number.NaN]);
    return takesMask(subject) ? () => layer.forward(x, { mask }) : undefined;
  },
  'a mask that is nonsense': ({ layer, x, subject, dice }) => {
    const mask = dice.of([null, 3, 'x', {}, [1, 0], { data: 3, shape: [1] }]);
    return takesMask(subject) ? () => layer.forward(x, { mask }) : undefined;
  },
  'weights below 0': ({ layer, x, shape, subject, dice }) => {
    const weights = { data: new Float32Array(countOf(shape)).fill(1), shape };
    weights.data[dice.below(weights.data.length)] = dice.of([-1, Number.NaN, Number.POSITIVE_INFINITY]);
    return takesMask(subject) ? () => layer.forward(x, { weights }) : undefined;
  },
  'lengths that are wrong': ({ layer, x, shape, subject, dice }) => {
    const good = Array.from({ length: shape[0] }, () => 1);
    const lengths = dice.of([null, 3, 'x', [...good, 1], good.map(() => 99), good.map(() => -1), good.map(() => 0.5)]);
    return takesMask(subject) || isCell(subject) ? () => layer.forward(x, { lengths }) : undefined;
  },
  'a state that is wrong': ({ layer, x, shape, subject, dice }) => {
    const h = new Float32Array(shape[0] * (subject.args[1] as number));
    const state = dice.of([
      null,
      3,
      { h: h.slice(1), c: h, step: 0 },
      { h, c: h, step: -1 },
      { h: [...h], c: h, step: 0 },
    ]);
    return isCell(subject) ? () => layer.forward(x, { state }) : undefined;
  },
  'values that are not finite': ({ layer, subject, shape }) => {
    if (!refusesNonFinite(subject, layer)) return undefined;
    return () => layer.forward({ data: new Float32Array(countOf(shape)).fill(Number.NaN), shape });
  },
  'one value per channel': ({ layer, subject }) => {
    if (!refusesSingle(subject, layer)) return undefined;
    const shape = subject.kind === 'RecurrentBatchNorm1d' ? [1, 1, subject.channels] : singleShape(subject);
    return () => layer.forward(zeroed(shape));
  },
  'dy of another shape': ({ layer, dy }) => dy && (() => layer.backward(zeroed([...shapeOf(dy), 2]))),
  'dy that is nonsense': ({ layer, dice }) => {
    const dy = dice.of(NONSENSE);
    return () => layer.backward(dy);
  },
  'dy of doubles': ({ layer, dy }) =>
    dy && (() => layer.backward({ data: new Float64Array(dy.data.length), shape: shapeOf(dy) })),
  'dy that was disposed': ({ layer, dy }) => {
    if (!dy) return undefined;
    const gone = zeros(shapeOf(dy));
    gone.dispose();
    return () => layer.backward(gone);
  },
  'options of backward that are nonsense': ({ layer, dy, dice }) => {
    const options = dice.of([null, 3, 'x', { residual: 1 }, { oops: 1 }]);
    return dy && (() => layer.backward(dy, options));
  },
  'out of backward of another shape': ({ layer, dy, instance }) =>
    dy && (() => layer.backward(dy, { out: zeroed([...shapeOf(instance.last!.x), 2]) })),
  'out of backward that overlaps dy': ({ layer, dy, instance }) => {
    if (!dy || countOf(shapeOf(instance.last!.x)) !== dy.data.length || dy.data.length < 3) return undefined;
    const data = new Float32Array(dy.data.length + 1);
    const out = { data: data.subarray(1), shape: [...shapeOf(instance.last!.x)] };
    return () => layer.backward({ data: data.subarray(0, dy.data.length), shape: shapeOf(dy) }, { out });
  },
  'micro-batches that are none': ({ layer, dice }) => {
    const xs = dice.of([null, undefined, 3, 'x', {}, [null], [3]]);
    return () => layer.forwardMicroBatches(xs);
  },
  'a second micro-batch that is wrong': ({ layer, x, dice, shape }) => {
    const wrong = dice.of([
      null,
      3,
      { data: new Float64Array(countOf(shape)), shape },
      { data: new Float32Array(3), shape: [4] },
    ]);
    return () => layer.forwardMicroBatches([x, wrong]);
  },
  'a second micro-batch that was disposed': ({ layer, x, shape }) => {
    const gone = zeros(shape);
    gone.dispose();
    return () => layer.forwardMicroBatches([x, gone]);
  },
  'gradients of micro-batches that are none': ({ layer, dice }) => {
    const dys = dice.of([null, undefined, 3, 'x', {}]);
    return () => layer.backwardMicroBatches(dys);
  },
  'a last gradient of micro-batches that is wrong': ({ layer, instance, dice }) => {
    const dys: Anything[] = instance.micro.map((shape) => zeroed(layer.outputShape(shape), 0.5));
    if (dys.length < 2) return undefined;
    dys[dys.length - 1] = dice.of([null, 3, zeroed([9, 9, 9]), { data: new Float64Array(2), shape: [1, 2] }]);
    return () => layer.backwardMicroBatches(dys);
  },
  'a state dict that is nonsense': ({ layer, dice }) => {
    const state = dice.of([null, undefined, 3, 'x']);
    return () => layer.loadStateDict(state);
  },
  'a state dict that is no good': ({ layer, dice }) => {
    const state = moved(layer.stateDict());
    const names = Object.keys(state);
    if (!names.length) return () => layer.loadStateDict({ oops: { data: [1], shape: [1] } });
    const name = names[dice.of([0, names.length - 1])];
    const entry = state[name];
    switch (dice.below(6)) {
      case 0:
        delete state[name];
        break;
      case 1:
        state.oops = entry;
        break;
      case 2:
        state[name] = { ...entry, shape: [...entry.shape, 2] };
        break;
      case 3:
        state[name] = { ...entry, data: Array.from(entry.data, String) };
        break;
      case 4:
        state[name] = dice.of<Anything>([
          null,
          3,
          'x',
          { data: null, shape: entry.shape },
          { ...entry, data: entry.data.slice(1) },
        ]);
        break;
      default: {
        const variance = names.findLast((key) => /Var$/.test(key));
        if (variance) state[variance].data[0] = -1;
        else state[name] = { ...entry, data: entry.data.slice(1) };
      }
    }
    return () => layer.loadStateDict(state);
  },
  'a state dict that throws': ({ layer }) => {
    const state = moved(layer.stateDict());
    const last = Object.keys(state).at(-1);
    if (!last) return undefined;
    const data = new Proxy([...state[last].data], {
      get(target, key) {
        if (key === '0') throw new Foreign('a state dict that throws');
        return Reflect.get(target, key);
      },
    });
    state[last] = { ...state[last], data };
    return () => layer.loadStateDict(state);
  },
  'freezing what has no statistics': ({ layer, subject }) =>
    tracks(subject) && !layer.runningMean ? () => layer.freeze() : undefined,
  'a domain that there is not': ({ layer, subject }) =>
    subject.kind === 'DomainBatchNorm'
      ? () => {
          layer.domain = 'c';
        }
      : undefined,
  'options of a constructor that are wrong': ({ subject, dice }) => {
    if (isNetwork(subject) || subject.kind === 'ActivationLayer') return undefined;
    const bad = dice.of<Anything>([null, 3, 'x', { oops: 1 }, { eps: -1, seed: 'x' }, { eps: 'x', seed: Number.NaN }]);
    const settings = typeof bad === 'object' && bad ? { ...settingsOf(subject), ...bad } : bad;
    if (
      typeof settings === 'object' &&
      settings &&
      /^(Linear|Dropout|BN)/.test(subject.kind) &&
      'eps' in settings &&
      !isCell(subject)
    )
      settings.eps = undefined;
    return () => build({ ...subject, args: [...subject.args.slice(0, -1), settings] });
  },
  'sizes of a constructor that are wrong': ({ subject, dice }) => {
    if (isNetwork(subject) || subject.kind === 'ActivationLayer') return undefined;
    // without a number of features layers are built for their first input; group norm begins with
    // its groups
    const none = subject.kind === 'GroupNorm' ? null : undefined;
    const size = dice.of<Anything>([0, -1, 1.5, Number.NaN, none, 'x', 2 ** 30, 1n]);
    const first = subject.kind === 'Dropout' ? dice.of<Anything>([-1, 2, Number.NaN, 'x', null]) : size;
    return () => build({ ...subject, args: [first, ...subject.args.slice(1)] });
  },
  'elsewhere: a tensor': ({ dice }) =>
    dice.of<() => unknown>([() => tensor([1, 2], [3]), () => zeros([-1]), () => tensor(3 as Anything, [1])]),
  'elsewhere: labels': ({ dice }) => {
    const labels = dice.of<Anything>([null, [5, 0], [0], [0.5, 0], 'xx']);
    return () => crossEntropy({ data: new Float32Array(6), shape: [2, 3] }, labels);
  },
  'elsewhere: an optimizer': ({ layer, dice }) => {
    const args = dice.of<Anything>([
      [null],
      [3],
      [layer.parameters(), { lr: -1 }],
      [layer.parameters(), { oops: 1 }],
      [layer.parameters(), 3],
    ]);
    return () => new SGD(...(args as [never]));
  },
  'elsewhere: threads': ({ dice }) => {
    const count = dice.of<Anything>([0, -1, 1.5, 65, null, 'x']);
    return () => setThreads(count);
  },
};

export const MISTAKE_NAMES = [...Object.keys(MISTAKES), 'memory'];

/** Makes a mistake on purpose. Returns what is wrong with how it was taken. */
export function mistake(what: string, seed: number, instance: Instance): string | undefined {
  const { subject, layer, last } = instance;
  const dice = new Dice(seed);
  const shape = plainShape(subject);
  const like: Kind = dice.of(['tensor', 'array']);
  const x = instance.make(like, dice.normals(countOf(shape)), shape);
  let dy: TensorLike | undefined;
  if (last && instance.hasForward) {
    const outShape = layer.outputShape(shapeOf(last.x));
    if (countOf(outShape)) dy = instance.make(like, dice.normals(countOf(outShape)), outShape);
  }
  const call = MISTAKES[what]({ instance, layer, subject, dice, x, shape, dy });
  if (!call) return undefined;
  try {
    call();
  } catch (error) {
    const { code, stack } = error as { code?: string; stack?: string };
    return code?.startsWith('ERR_') || code === 'FOREIGN'
      ? undefined
      : `${what}: an error without a code: ${stack?.split('\n').slice(0, 4).join(' ')}`;
  }
  return `${what}: no error`;
}

/** A plain array, all of whose values are the same. */
function zeroed(shape: readonly number[], value = 0): { data: Float32Array; shape: number[] } {
  return { data: new Float32Array(countOf(shape)).fill(value), shape: [...shape] };
}

/** A shape that the subject takes. */
function plainShape(subject: Subject): number[] {
  const { kind, ranks, args, channels } = subject;
  if (isCell(subject) || kind === 'RecurrentBatchNorm1d') return [3, 2, channels];
  const rank = ranks[0];
  const shape = [3, ...Array.from({ length: rank - 1 }, () => 2)];
  if (kind === 'LayerNorm' || kind === 'RMSNorm') {
    const normalized = (Array.isArray(args[0]) ? args[0] : [args[0]]) as number[];
    return [3, ...normalized];
  }
  return channels ? withChannels(subject, shape, channels) : shape;
}

function withChannels(subject: Subject, shape: readonly number[], channels: number): number[] {
  return shape.map((length, i) => (i === channelAxis(subject, shape.length) ? channels : length));
}

function singleShape(subject: Subject): number[] {
  return withChannels(
    subject,
    Array.from({ length: subject.ranks[0] }, () => 1),
    subject.channels,
  );
}

/** Does it refuse other ranks? Norms of rows, activations and dropout do not. */
function hasRank({ kind, layers }: Subject): boolean {
  return layers ? layers.some(hasRank) : !/^(Layer|RMS|Activation|Dropout)/.test(kind);
}

/** Does it refuse shapes at all? */
function constrains({ kind, layers }: Subject): boolean {
  return layers ? layers.some(constrains) : kind !== 'ActivationLayer' && kind !== 'Dropout';
}

const takesMask = ({ kind }: Subject) => /^(Batch|Domain|Group|Instance|Recurrent)/.test(kind);

/** Does a batch of one value per channel have to throw? */
function refusesSingle(subject: Subject, layer: BatchNorm): boolean {
  if (subject.kind === 'Sequential') {
    return layer.training && subject.layers!.some((inner) => /^Batch/.test(inner.kind) && isThrow(inner));
  }
  return /^(Batch|Domain)/.test(subject.kind) && layer.training && !layer.frozen && isThrow(subject);
}

const isThrow = (subject: Subject) => (settingsOf(subject).onSingleValue ?? 'throw') === 'throw';

/** Does a batch of NaN have to throw? */
function refusesNonFinite(subject: Subject, layer: BatchNorm): boolean {
  const { onNonFinite, virtualBatchSize } = settingsOf(subject);
  return tracks(subject) && layer.training && !layer.frozen && onNonFinite === 'throw' && !virtualBatchSize;
}

/** Other values, so that what was taken from them shows. */
function moved(state: Record<string, Anything>): Record<string, Anything> {
  return Object.fromEntries(
    Object.entries(state).map(([name, { data, shape }]) => [
      name,
      { data: data.map((value: number) => value + 1), shape },
    ]),
  );
}
