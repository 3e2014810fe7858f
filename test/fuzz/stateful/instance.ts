// A layer under test and what belongs to it from call to call. Carries out calls, and says what
// came of each.

import {
  Adam,
  type BatchNorm,
  type DomainBatchNorm,
  info,
  type Layer,
  type RecurrentState,
  Sequential,
  SGD,
  type StateDict,
  setThreads,
  Tensor,
  type TensorLike,
  tensor,
  zeros,
} from '../../../src/index.ts';
import { Dice } from '../dice.ts';
import { type BackwardCall, type Call, countOf, type ForwardCall, type Kind, valuesOf } from './calls.ts';
import { placesOf } from './places.ts';
import { build, type Subject } from './subjects.ts';

/** What a call gave, in arrays of its own; or the code of what it threw. */
export interface Outcome {
  readonly outputs?: readonly Float32Array[];
  /** Of a compiled network: what its output may be off by, channel by channel. */
  readonly bound?: Float64Array;
  /** `'none'` where an error has no code. */
  readonly code?: string;
  readonly error?: Error;
  /** What the call did that it must not. */
  readonly wrong?: string;
}

/** The objects of a forward. */
interface Objects {
  readonly x: TensorLike;
  readonly options: { out?: TensorLike; residual?: TensorLike };
}

/** Linear memory may grow to so much for the sake of growing. */
const MOST_MEMORY = 96 << 20;

export class Instance {
  readonly layer: Layer;
  readonly subject: Subject;
  last: Objects | undefined;
  #lastCall: ForwardCall | undefined;
  /** Where a cell's sequences ended. */
  state: RecurrentState | undefined;
  #xs: TensorLike[] = [];
  #optimizers = new Map<string, SGD | Adam>();
  readonly #held: Tensor[] = [];

  constructor(subject: Subject) {
    this.subject = subject;
    this.layer = build(subject);
  }

  make(like: Kind, values: Float32Array, shape: readonly number[]): TensorLike {
    if (like === 'array') return { data: values.slice(), shape: [...shape] };
    if (like === 'dims') return { data: values.slice(), dims: [...shape] };
    return this.hold(tensor(values, shape));
  }

  hold<T extends TensorLike>(x: T): T {
    if (x instanceof Tensor) this.#held.push(x);
    return x;
  }

  /** Shapes of the micro-batches of the last forward of several. */
  get micro(): (readonly number[])[] {
    return this.#xs.map(shapeOf);
  }

  /** Was there a forward that may have a backward? */
  get hasForward(): boolean {
    return !!this.last && !('disposed' in this.last.x && this.last.x.disposed);
  }

  /** The call, and what came of it. */
  perform(call: Call): Outcome {
    try {
      return this.#carryOut(call);
    } catch (error) {
      return { code: (error as { code?: string }).code ?? 'none', error: error as Error };
    }
  }

  #carryOut(call: Call): Outcome {
    const { layer } = this;
    switch (call.do) {
      case 'forward':
        return this.#forward(call);
      case 'backward':
        return this.#backward(call);
      case 'micro': {
        const given = call.shapes.map((shape, i) => valuesOf(this.subject, shape, 'lopsided', call.seed + i));
        const xs = given.map((values, i) => this.make(call.like, values, call.shapes[i]));
        const ys = layer.forwardMicroBatches(xs).map((y) => this.hold(y));
        this.#xs = xs;
        this.last = undefined;
        return { outputs: ys.map(({ data }) => data.slice()), wrong: changed(xs, given) };
      }
      case 'microBack': {
        const shapes = this.#xs.map((x) => layer.outputShape(shapeOf(x)));
        const dice = new Dice(call.seed);
        const dys = shapes.map((shape) => this.make(call.like, dice.normals(countOf(shape)), shape));
        return { outputs: layer.backwardMicroBatches(dys).map((dx) => this.hold(dx).data.slice()) };
      }
      case 'load':
        layer.loadStateDict(otherState(layer.stateDict(), call.seed));
        return {};
      case 'write':
        this.#write(call.seed);
        return {};
      case 'compile':
        return this.#compile(call.seed);
      case 'step':
        // an optimizer takes no layer that has no parameters
        if (layer.parameters().length) this.#optimizer(call.with, call.options).step();
        return {};
      case 'domain':
        (layer as DomainBatchNorm).domain = call.name;
        return {};
      case 'threads':
        setThreads(call.count);
        return {};
      case 'train':
      case 'eval':
        layer[call.do]();
        return {};
      case 'freeze':
      case 'unfreeze':
        (layer as BatchNorm)[call.do]();
        return {};
      case 'reset':
        (layer as BatchNorm).resetRunningStats();
        return {};
      case 'zeroGrad':
        layer.zeroGrad();
        return {};
      case 'dispose':
        layer.dispose();
        return {};
      case 'grow':
        if (info().memory < MOST_MEMORY) zeros([info().memory / 4 + 1000]).dispose();
        return {};
      case 'disposeX':
        if (this.last?.x instanceof Tensor) this.last.x.dispose();
        return {};
      default:
        throw new Error(`no such call: ${call.do}`);
    }
  }

  #forward(call: ForwardCall): Outcome {
    const { subject, layer } = this;
    const values = valuesOf(subject, call.shape, call.values, call.seed);
    const added = call.residual && new Dice(call.seed + 1).normals(values.length);
    const { x, options } = this.#objects(call, values, added);
    const places = placesOf(subject, call);
    const given = { ...options, ...places, ...(call.state && this.state && { state: this.state }) };
    // a call without places is given the same options object again, as programs do
    const y = layer.forward(x, Object.keys(places).length || call.state ? given : options);
    this.last = { x, options };
    this.#lastCall = call;
    if (!(layer instanceof Sequential) && y !== options.out) this.hold(y);
    if ('state' in layer) this.state = layer.state as RecurrentState;
    const inputs = [x, options.residual].filter((input): input is TensorLike => !!input && input !== options.out);
    const wrong = options.out && y !== options.out ? 'the result is not out' : changed(inputs, [values, added!]);
    const isX = options.out === x;
    return { outputs: [y.data.slice()], wrong: isX || options.out === options.residual ? undefined : wrong };
  }

  /** Is a forward given the objects of the one before? */
  repeats(call: ForwardCall): boolean {
    const before = this.#lastCall;
    if (!call.again || !this.last || !before || `${call.shape}` !== `${before.shape}`) return false;
    return (
      call.like === before.like &&
      call.out === before.out &&
      call.outLike === before.outLike &&
      call.residual === before.residual
    );
  }

  #objects(call: ForwardCall, values: Float32Array, added: Float32Array | undefined): Objects {
    if (this.repeats(call)) {
      const { x, options } = this.last!;
      x.data.set(values);
      options.residual?.data.set(added!);
      return { x, options };
    }
    const { like, shape, out, outLike = like } = call;
    const x = this.make(like, values, shape);
    const options: Objects['options'] = {};
    if (call.residual) options.residual = this.make(call.residual, added!, shape);
    if (out === 'x') options.out = x;
    else if (out === 'residual') options.out = options.residual;
    else if (out) {
      const outShape = this.layer.outputShape(shape);
      options.out = this.make(outLike, new Float32Array(countOf(outShape)), outShape);
    }
    return { x, options };
  }

  #backward(call: BackwardCall): Outcome {
    const { layer, last } = this;
    const shape = last ? layer.outputShape(shapeOf(last.x)) : [2, 3];
    const values = new Dice(call.seed).normals(countOf(shape));
    const dy = this.make(call.like, values, shape);
    if (call.parametersOnly) {
      (layer as Sequential).backward(dy, { inputGradient: false });
      return { outputs: [], wrong: changed([dy], [values]) };
    }
    const options: { out?: TensorLike } = {};
    if (call.out === 'dy') options.out = dy;
    else if (call.out === 'x' && last) options.out = last.x;
    else if (call.out) {
      const inShape = last ? shapeOf(last.x) : shape;
      options.out = this.make(call.like, new Float32Array(countOf(inShape)), inShape);
    }
    const dx = layer.backward(dy, options);
    if (!(layer instanceof Sequential) && dx !== options.out) this.hold(dx);
    const { residualGrad } = layer as BatchNorm;
    return {
      outputs: [dx.data.slice(), ...(residualGrad ? [residualGrad.data.slice()] : [])],
      wrong: call.out === 'dy' ? undefined : changed([dy], [values]),
    };
  }

  #write(seed: number): void {
    const dice = new Dice(seed);
    const norm = this.layer as BatchNorm;
    for (const { data } of norm.parameters()) data.set(dice.normals(data.length, 0.5, 0.7));
    norm.runningMean?.set(dice.normals(norm.runningMean.length));
    norm.runningVar?.set(dice.normals(norm.runningVar.length).map((value) => value * value + 0.1));
  }

  #optimizer(name: 'SGD' | 'Adam', options: object): SGD | Adam {
    const key = name + JSON.stringify(options);
    const known = this.#optimizers.get(key) ?? new { SGD, Adam }[name](this.layer.parameters(), options);
    this.#optimizers.set(key, known);
    return known;
  }

  /** Compiled, run, saved and disposed of; the mode is as before. */
  #compile(seed: number): Outcome {
    const net = this.layer as Sequential;
    const { training } = net;
    const modes = net.named().map(([, layer]) => layer.training);
    let compiled: ReturnType<Sequential['compile']> | undefined;
    try {
      net.eval();
      const values = new Dice(seed).normals(3 * this.subject.channels);
      const shape = [3, this.subject.channels];
      compiled = net.compile({ samples: { data: values, shape } });
      const x = this.make('tensor', values, shape);
      const y = this.hold(compiled(x) as Tensor).data.slice();
      const again = compiled({ data: values, shape }).data.slice();
      return {
        outputs: [y],
        bound: compiled.certificate!.bound,
        wrong: y.every((value, i) => Object.is(value, again[i])) ? undefined : 'a second run gives others',
      };
    } finally {
      compiled?.dispose();
      net.train(training);
      for (const [i, [, layer]] of net.named().entries()) layer.train(modes[i]);
    }
  }

  /** Everything that later calls depend on and that can be seen. */
  seen(): { name: string; values: ArrayLike<number> }[] {
    const { layer } = this;
    const state = Object.entries(layer.stateDict()).map(([name, { data }]) => ({
      name,
      values: data as ArrayLike<number>,
    }));
    const grads = layer.parameters().map(({ grad }, i) => ({ name: `gradient ${i}`, values: grad }));
    return [...state, ...grads];
  }

  dispose(): void {
    for (const held of this.#held) held.dispose();
    this.layer.dispose();
  }
}

export const shapeOf = (x: TensorLike): readonly number[] => ('shape' in x ? x.shape : x.dims);

/** Another state dict with the same names. */
function otherState(state: StateDict, seed: number): StateDict {
  const dice = new Dice(seed);
  return Object.fromEntries(
    Object.entries(state).map(([name, { data, shape }]) => {
      const values = Array.from(data as ArrayLike<number>, () => dice.normal());
      const counts = /batchesTracked|stepCounts/.test(name);
      const numbers = values.map((value) =>
        counts ? dice.between(0, 9) : /Var$/.test(name) ? value * value + 0.1 : value,
      );
      return [name, { data: Float32Array.from(numbers), shape }];
    }),
  );
}

function changed(given: readonly TensorLike[], values: readonly Float32Array[]): string | undefined {
  const at = given.findIndex(({ data }, i) => data.some((value, k) => !Object.is(value, values[i][k])));
  return at < 0 ? undefined : `input ${at} has changed`;
}
