// Runs a program: weights packed once, values in as little memory as their lives allow, and for
// each shape a list of calls that is worked out once.

import { isList, show, showChoices, showShape, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { checkRecord } from '../named-options.ts';
import { wrongRank } from '../passes/plan.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, locate, targetOf } from '../tensors/call.ts';
import { Route } from '../tensors/route.ts';
import { produceAll } from '../tensors/several.ts';
import { agree, countOf, sameShape, shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import { indexOf } from '../wasm/views.ts';
import { arrange, type Loaded, load } from './load-steps.ts';
import { labelOf, type Port, type Program, shapesOf, stepName } from './program.ts';

const SUBJECT = 'compiled network';

/** Tensors by the names of a network's inputs or outputs. */
export type Named<X> = Readonly<Record<string, X>>;

/**
 * A compiled network: evaluation of the network it was made from, within rounding, and independent
 * of it from then on.
 */
export interface Compiled extends Disposable {
  /**
   * Synchronous. With `out`, and a batch no larger than what has been planned for, it allocates
   * nothing.
   *
   * @param x what the network takes; a record of tensors by their names where it has several inputs
   * @param options.out where to write the output: memory apart from x; a record where there are
   *   several outputs
   * @returns the network's output, where x lives: `out`, or new memory; a record where there are
   *   several
   * @throws ERR_SHAPE, ERR_TYPE, ERR_OPTION, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY, ERR_SINGLE_VALUE
   */
  <X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options?: { out?: O }): O;
  <X extends TensorLike>(x: Named<X>, options?: { out?: TensorLike | Named<TensorLike> }): Record<string, Result<X>>;
  /**
   * What it takes, and what it gives: lengths by axis, null where they are as the batch has them; a
   * null shape where the network does not say.
   */
  readonly inputs: readonly Port[];
  /** What it gives: names and lengths by axis, null where they are as the batch has them. */
  readonly outputs: readonly Port[];
  /** What it does, step by step. */
  readonly steps: readonly string[];
  /** Gives its linear memory back. */
  dispose(): void;
}

/** What memory is planned for, before the first run. */
export interface RunOptions {
  /**
   * Rows for which buffers are reserved; a larger batch makes them larger. Default: as the batches
   * come.
   */
  maxBatch?: number;
  /**
   * One row's shape, where the network does not say: `[C, H, W]` before a BatchNorm2d. Default: the
   * features of the first linear layer, or of a first normalization of rank 2.
   */
  inputShape?: readonly number[];
}

/** The calls for inputs of some shapes. */
interface CallPlan {
  readonly shapes: readonly (readonly number[])[];
  /** Values of the first input, and of the first output. */
  readonly size: number;
  readonly outSize: number;
  /** Nothing is put out. */
  readonly isEmpty: boolean;
  readonly outShapes: readonly (readonly number[])[];
  readonly calls: readonly (() => void)[];
}

/** Names in a message. */
const MOST_SHOWN = 16;
/** How many shapes are remembered. */
const MOST_PLANS = 8;

/** Who watches runs step by step: it is given each call, and makes it. */
export interface Watch {
  each?: ((step: number, call: () => void) => void) | undefined;
}

export function instantiate(program: Program, options: RunOptions = {}, watch: Watch = NONE): Compiled {
  const current = backend();
  const { inputs, outputs } = program;
  const flat = load(current, program.flat, inputs.length);
  let general: Loaded | undefined;
  const loadedFor = (rank: number): Loaded => {
    if (rank !== 2 && program.rowsOnly) {
      throw wrongValue('ERR_SHAPE', SUBJECT, 'x', 'rank 2, for which it was saved', `rank ${rank}`);
    }
    if (rank === 2 || !program.general) return flat;
    general ??= load(current, program.general, inputs.length);
    return general;
  };
  /** Where plain inputs are copied to, and plain outputs from. */
  const [entries, exits] = [inputs, outputs].map((ports) => ports.map(() => new Region(current.heap)));
  /** Values between the steps, and what steps work in. */
  const arena = new Region(current.heap);
  /** The caller's memory in this run, inputs and outputs. */
  const given = { inputs: inputs.map(() => 0), outputs: outputs.map(() => 0) };
  let plans: CallPlan[] = [];
  let disposed = false;
  let route: Route<CallPlan> | undefined;

  /** Places for values and for what steps work in, as offsets by value and by step. */
  const reserve = (loaded: Loaded, shapes: readonly (readonly number[])[]) => {
    const { lives, steps } = loaded;
    const values = lives.map(({ values, from, to }) => ({
      bytes: Math.max(...values.map((value) => countOf(shapes[value]) * 4)),
      from,
      to,
    }));
    const work = steps.map(({ runner, operation, inputs }, i) => {
      const given = inputs.map((value) => shapes[value]);
      return { bytes: runner.scratch?.(operation, given) ?? 0, from: i, to: i };
    });
    const { offsets, bytes } = arrange([...values, ...work]);
    if (arena.bytes < bytes) {
      arena.atLeast(bytes);
      plans = [];
      route = undefined;
    }
    const places: number[] = [];
    lives.forEach((life, i) => {
      for (const value of life.values) places[value] = offsets[i];
    });
    return { places, work: offsets.slice(lives.length) };
  };

  const planFor = (shapes: readonly (readonly number[])[]): CallPlan => {
    const known = plans.find((plan) => shapes.every((shape, i) => sameShape(plan.shapes[i], shape)));
    if (known) return known;
    const { ranks } = program;
    shapes.forEach((shape, i) => {
      if (ranks && (shape.length < ranks[0] || shape.length > ranks[1])) throw wrongRank(SUBJECT, shape, ranks);
      const { shape: declared } = inputs[i];
      const expected = ranks === null && declared?.map((length) => length ?? Number.NaN);
      if (expected && !agree(shape, expected)) {
        throw wrongValue('ERR_SHAPE', SUBJECT, labelOf(inputs[i]), `shape ${show(declared)}`, showShape(shape));
      }
    });
    const loaded = loadedFor(shapes[0].length);
    const values = shapesOf(SUBJECT, loaded, shapes);
    const { places, work } = reserve(loaded, values);
    const base = arena.atLeast(0);
    /** Where a value is put out first. */
    const firsts = new Map<number, number>();
    loaded.outputs.forEach((value, k) => {
      if (!firsts.has(value)) firsts.set(value, k);
    });
    const place = (value: number): (() => number) => {
      if (value < inputs.length) return () => given.inputs[value];
      const output = firsts.get(value);
      if (output !== undefined) return () => given.outputs[output];
      const maker = value - inputs.length;
      if (loaded.steps[maker].runner.isStored) return () => loaded.at[maker];
      const at = base + places[value];
      return () => at;
    };
    const calls = loaded.steps.map(({ runner, operation, inputs: from, activation }, i) => {
      const own = from.slice(0, runner.arity);
      const scratch = base + work[i];
      return runner.call({
        backend: current,
        operation,
        weights: loaded.at[i],
        shapes: from.map((value) => values[value]),
        inputs: own.map(place),
        residual: from.length > own.length ? place(from[own.length]) : () => 0,
        output: place(inputs.length + i),
        scratch: () => scratch,
        activation,
      });
    });
    const outShapes = loaded.outputs.map((value) => values[value]);
    loaded.outputs.forEach((value, k) => {
      // an output that is an input, or one that came before it
      if (value >= inputs.length && firsts.get(value) === k) return;
      const from = place(value);
      calls.push(() => activate(current, from(), given.outputs[k], NO_ACTIVATION, countOf(values[value])));
    });
    const size = countOf(shapes[0]);
    const isEmpty = outShapes.every((shape) => countOf(shape) === 0);
    const plan = {
      shapes: values.slice(0, inputs.length),
      size,
      outSize: countOf(outShapes[0]),
      isEmpty,
      outShapes,
      calls,
    };
    plans = [plan, ...plans.slice(0, MOST_PLANS - 1)];
    return plan;
  };

  const execute = ({ calls }: CallPlan) => {
    const { each } = watch;
    for (let i = 0; i < calls.length; i++) {
      if (each) each(i, calls[i]);
      else calls[i]();
    }
  };

  /** A run on what an earlier one was given: nothing to check, and nothing to allocate. */
  const repeat = (plan: CallPlan, x: TensorLike, out: TensorLike) => {
    const { heap } = current;
    if (x instanceof Tensor) given.inputs[0] = x.ptr;
    else {
      const at = entries[0].atLeast(x.data.length * 4);
      given.inputs[0] = at;
      copy(x.data, 0, heap.f32, indexOf(at), x.data.length);
    }
    const to = out instanceof Tensor ? out.ptr : exits[0].atLeast(out.data.length * 4);
    given.outputs[0] = to;
    execute(plan);
    if (out instanceof Tensor) return;
    copy(heap.f32, indexOf(to), out.data, 0, out.data.length);
  };

  const run = (x: TensorLike | Named<TensorLike>, options: { out?: unknown } = NONE): unknown => {
    if (disposed) {
      throw wrongMoment('ERR_DISPOSED', SUBJECT, 'a run', 'a live network', 'one that was disposed');
    }
    if (route?.takes(x as TensorLike, options as { out?: TensorLike })) {
      repeat(route.plan, x as TensorLike, options.out as TensorLike);
      return options.out;
    }
    checkCallOptions(SUBJECT, options, ['out']);
    const located = tensorsOf('x', inputs, x).map((tensor, i) => locate(SUBJECT, labelOf(inputs[i]), tensor));
    const outs = tensorsOf('out', outputs, options.out ?? {}, true);
    const plan = planFor(located.map(shapeOf));
    // names may be any: none of an object's own, and no input gives way to an output
    const apart: Record<string, TensorLike> = Object.create(null);
    const lieApart = (label: string, tensor: TensorLike) => {
      let name = label;
      while (name in apart) name += '′';
      apart[name] = tensor;
    };
    located.forEach((tensor, i) => {
      lieApart(labelOf(inputs[i]), tensor);
    });
    const products = outs.map((out, i) => ({
      subject: SUBJECT,
      like: located[0],
      shape: plan.outShapes[i],
      out,
      inputs: apart,
      aliasing: 'apart' as const,
    }));
    const targets = products.map((product, i) => {
      const target = targetOf(product);
      // what is found later must lie apart from it
      if (target) lieApart(`out.${labelOf(outputs[i])}`, target);
      return target;
    });
    const ys = produceAll(products, targets, (call, results) => {
      if (plan.isEmpty) return;
      given.inputs = located.map((tensor) => call.input(tensor));
      given.outputs = results.map((tensor) => call.output(tensor));
      execute(plan);
    });
    const isOne = inputs.length + outputs.length === 2;
    route = isOne
      ? Route.of(x as TensorLike, { out: outs[0] }, plan, { x: located[0], residual: undefined }, targets[0])
      : undefined;
    return ys.length === 1 ? ys[0] : Object.fromEntries(ys.map((y, i) => [outputs[i].name, y]));
  };

  const dispose = () => {
    disposed = true;
    for (const region of [flat.memory, general?.memory, arena, ...entries, ...exits]) region?.release();
  };
  if (options.maxBatch !== undefined) {
    try {
      planFirst(program, options, (shapes) => {
        const loaded = loadedFor(shapes[0].length);
        const values = shapesOf(SUBJECT, loaded, shapes);
        reserve(loaded, values);
        entries.forEach((region, i) => {
          region.atLeast(countOf(shapes[i]) * 4);
        });
        exits.forEach((region, i) => {
          region.atLeast(countOf(values[loaded.outputs[i]]) * 4);
        });
      });
    } catch (error) {
      dispose();
      throw error;
    }
  }
  return Object.assign(run as unknown as Compiled, {
    inputs,
    outputs,
    ranks: program.ranks,
    steps: flat.steps.map(stepName),
    dispose,
    [Symbol.dispose]: dispose,
  });
}

const NONE = {};

/**
 * Tensors of a record in the order of the ports they are for; a lone tensor is that of the only
 * one.
 *
 * @param some whether the record may leave some out
 * @throws ERR_OPTION for names that are missing or unknown
 */
export function tensorsOf(argument: string, ports: readonly Port[], given: unknown, some = false): TensorLike[] {
  const names = ports.map(({ name }) => name);
  // an input may be called data
  const isTensor = (one: unknown): boolean =>
    typeof one === 'object' && one !== null && 'data' in one && (ArrayBuffer.isView(one.data) || !isTensor(one.data));
  const isRecord =
    typeof given === 'object' && given && !isList(given) && !(given instanceof Tensor) && !isTensor(given);
  if (!isRecord && ports.length === 1) return [given as TensorLike];
  const subject = `${SUBJECT}, ${argument}`;
  checkRecord(subject, given);
  for (const name in given as object) {
    if (names.includes(name)) continue;
    const choices = showChoices(ports.slice(0, MOST_SHOWN).map(labelOf));
    throw wrongKind('ERR_OPTION', subject, 'names', choices + (ports.length > MOST_SHOWN ? ', …' : ''), show(name));
  }
  return ports.map((port) => {
    const tensor = (given as Named<TensorLike>)[port.name];
    if (!tensor && !some) throw wrongKind('ERR_OPTION', SUBJECT, argument, `a tensor '${labelOf(port)}'`, show(tensor));
    return tensor;
  });
}

/** Values from which on the library's copy is faster than a loop; it makes an object or two. */
const LARGE = 2048;

function copy(from: Float32Array, at: number, to: Float32Array, start: number, count: number): void {
  if (count >= LARGE) to.set(from.subarray(at, at + count), start);
  else for (let i = 0; i < count; i++) to[start + i] = from[at + i];
}

/** Checks the options, and reserves memory for the batch they name. */
function planFirst(
  { inputs }: Program,
  { maxBatch, inputShape }: RunOptions,
  plan: (shapes: readonly (readonly number[])[]) => void,
): void {
  if (!Number.isInteger(maxBatch) || maxBatch! < 1) {
    throw wrongValue('ERR_OPTION', SUBJECT, 'maxBatch', 'an integer of 1 or more', show(maxBatch));
  }
  if (
    inputShape !== undefined &&
    !(Array.isArray(inputShape) && inputShape.every((n) => Number.isInteger(n) && n >= 1))
  ) {
    throw wrongKind('ERR_OPTION', SUBJECT, 'inputShape', 'lengths of 1 or more', show(inputShape));
  }
  const rows = inputShape ? inputs.map(() => inputShape) : inputs.map(({ shape }) => shape?.slice(1));
  const isKnown = (row: (typeof rows)[number]): row is number[] => !!row && !row.includes(null as never);
  if (!rows.every(isKnown)) {
    throw wrongValue('ERR_OPTION', SUBJECT, 'inputShape', "one row's shape, as the network does not say it", 'none');
  }
  plan(rows.map((row) => [maxBatch!, ...(row as number[])]));
}
