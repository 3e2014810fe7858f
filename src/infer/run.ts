// Runs a program: weights packed once, values in as few buffers as their lives allow, and for each shape a list of calls that is worked out once.

import { show, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { activate, affine, sum } from '../kernels/inference/calls.ts';
import { linear } from '../kernels/linear/calls.ts';
import { type Plan, planOf } from '../layers/plan.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, locate, produce, targetOf } from '../tensors/call.ts';
import { Route } from '../tensors/route.ts';
import { checkShape, countOf, linearShape, sameShape, shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import { type Loaded, load, padded } from './load-steps.ts';
import { type AffineOperation, type Program, type Step, stepName } from './program.ts';

const SUBJECT = 'compiled network';

/** A compiled network: evaluation of the network it was made from, within rounding, and independent of it from then on. */
export interface Compiled extends Disposable {
  /**
   * Synchronous. With `out`, and a batch no larger than what has been planned for, it allocates nothing.
   *
   * @param x what the network takes
   * @param options.out where to write the output: memory apart from x
   * @returns the network's output, where x lives: `out`, or new memory
   * @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY
   */
  <X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options?: { out?: O }): O;
  /** What it takes, and what it gives: lengths by axis, null where they are as the batch has them; a null shape where the network does not say. */
  readonly inputs: readonly [Port];
  readonly outputs: readonly [Port];
  /** What it does, step by step. */
  readonly steps: readonly string[];
  /** Gives its linear memory back. */
  dispose(): void;
}

/** A value that goes in or comes out. */
export interface Port {
  readonly name: string;
  readonly shape: readonly (number | null)[] | null;
}

/** What memory is planned for, before the first run. */
export interface RunOptions {
  /** Rows for which buffers are reserved; a larger batch makes them larger. Default: as the batches come. */
  maxBatch?: number;
  /** One row's shape, where the network does not say: `[C, H, W]` before a BatchNorm2d. Default: the features of the first linear layer, or of a first normalization of rank 2. */
  inputShape?: readonly number[];
}

/** The calls of one shape. */
interface Course {
  readonly shapes: readonly (readonly number[])[];
  /** Values of the input, and of the output. */
  readonly size: number;
  readonly outSize: number;
  readonly calls: readonly (() => void)[];
}

/** How many shapes are remembered. */
const MOST_COURSES = 8;

export function instantiate(program: Program, options: RunOptions = {}): Compiled {
  const current = backend();
  const flat = load(current, program.flat);
  let general: Loaded | undefined;
  const loadedFor = (rank: number): Loaded => {
    if (rank !== 2 && program.rowsOnly) {
      throw wrongValue('ERR_SHAPE', SUBJECT, 'x', 'rank 2, for which it was saved', `rank ${rank}`);
    }
    if (rank === 2 || !program.general) return flat;
    general ??= load(current, program.general);
    return general;
  };
  const buffers: Region[] = [];
  /** Where a plain input is copied to, and a plain output from. */
  const [entry, exit] = [new Region(current.heap), new Region(current.heap)];
  /** The caller's memory in this run. */
  const io = { x: 0, y: 0 };
  let courses: Course[] = [];
  let disposed = false;
  let route: Route<Course> | undefined;

  const shapesFor = (steps: readonly Step[], shape: readonly number[]) => {
    const shapes: (readonly number[])[] = [Array.from(shape)];
    for (const { operation, x, add } of steps) {
      const given = shapes[x];
      if (operation.kind === 'linear') {
        const { inFeatures, outFeatures } = operation;
        shapes.push(linearShape(`${SUBJECT}: linear ${inFeatures} → ${outFeatures}`, given, inFeatures, outFeatures));
      } else {
        if (operation.kind === 'affine') planFor(operation, given);
        shapes.push(given);
      }
      if (add >= 0) checkShape(SUBJECT, 'a residual', shapes[add], shapes[shapes.length - 1], 'shape');
    }
    return shapes;
  };

  const courseFor = (shape: readonly number[]): Course => {
    const known = courses.find(({ shapes }) => sameShape(shapes[0], shape));
    if (known) return known;
    const loaded = loadedFor(shape.length);
    const shapes = shapesFor(loaded.steps, shape);
    reserve(buffers, current, loaded.slots, shapes, () => {
      courses = [];
      route = undefined;
    });
    const place = (value: number): (() => number) => {
      const slot = loaded.slots[value];
      if (value === 0) return () => io.x;
      if (slot < 0) return () => io.y;
      const at = buffers[slot].atLeast(0);
      return () => at;
    };
    const calls = loaded.steps.map((step, i) => callOf(current, step, loaded.at[i], shapes[step.x], place, i + 1));
    if (calls.length === 0) calls.push(() => activate(current, io.x, io.y, NO_ACTIVATION, countOf(shapes[0])));
    const course = { shapes, size: countOf(shapes[0]), outSize: countOf(shapes[shapes.length - 1]), calls };
    courses = [course, ...courses.slice(0, MOST_COURSES - 1)];
    return course;
  };

  const execute = ({ calls }: Course) => {
    for (let i = 0; i < calls.length; i++) calls[i]();
  };

  /** A run on what an earlier one was given: nothing to check, and nothing to allocate. */
  const again = (course: Course, x: TensorLike, out: TensorLike) => {
    const { heap } = current;
    if (x instanceof Tensor) io.x = x.ptr;
    else {
      io.x = entry.atLeast(x.data.length * 4);
      copy(x.data, 0, heap.f32, io.x >>> 2, x.data.length);
    }
    io.y = out instanceof Tensor ? out.ptr : exit.atLeast(out.data.length * 4);
    execute(course);
    if (out instanceof Tensor) return;
    copy(heap.f32, io.y >>> 2, out.data, 0, out.data.length);
  };

  const run = <X extends TensorLike, O extends TensorLike = Result<X>>(x: X, given: { out?: O } = NONE): O => {
    if (disposed) {
      throw wrongMoment('ERR_DISPOSED', SUBJECT, 'a run', 'a live network', 'one that was disposed');
    }
    if (route?.takes(x, given)) {
      again(route.plan, x, given.out!);
      return given.out as O;
    }
    checkCallOptions(SUBJECT, given, ['out']);
    const { out } = given;
    const input = locate(SUBJECT, 'x', x);
    const course = courseFor(shapeOf(input));
    const product = {
      subject: SUBJECT,
      like: x,
      shape: course.shapes[course.shapes.length - 1],
      out,
      inputs: { x: input },
      aliasing: 'apart',
    } as const;
    const target = targetOf(product);
    const y = produce<O>(product, target, (call, result) => {
      if (course.size === 0) return;
      io.x = call.input(input);
      io.y = call.output(result);
      execute(course);
    });
    route = Route.of(x, { out }, course, { x: input, residual: undefined }, target);
    return y;
  };

  const dispose = () => {
    disposed = true;
    for (const region of [flat.memory, general?.memory, entry, exit, ...buffers]) region?.release();
  };
  if (options.maxBatch !== undefined) {
    try {
      planFirst(program, options, (shape) => {
        const loaded = loadedFor(shape.length);
        const shapes = shapesFor(loaded.steps, shape);
        reserve(buffers, current, loaded.slots, shapes, () => {});
        entry.atLeast(countOf(shape) * 4);
        exit.atLeast(countOf(shapes[shapes.length - 1]) * 4);
      });
    } catch (error) {
      dispose();
      throw error;
    }
  }
  return Object.assign(run, {
    ...portsOf(program),
    steps: flat.steps.map(stepName),
    dispose,
    [Symbol.dispose]: dispose,
  });
}

const NONE = {};

/** Values from which on the library's copy is faster than a loop; it makes an object or two. */
const LARGE = 2048;

function copy(from: Float32Array, at: number, to: Float32Array, start: number, count: number): void {
  if (count >= LARGE) to.set(from.subarray(at, at + count), start);
  else for (let i = 0; i < count; i++) to[start + i] = from[at + i];
}

/** Checks the options, and reserves memory for the batch they name. */
function planFirst(
  program: Program,
  { maxBatch, inputShape }: RunOptions,
  plan: (shape: readonly number[]) => void,
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
  const row = inputShape ?? rowOf(program);
  if (!row) {
    throw wrongValue('ERR_OPTION', SUBJECT, 'inputShape', "one row's shape, as the network does not say it", 'none');
  }
  plan([maxBatch!, ...row]);
}

/** What the first step that knows takes for a row. */
function rowOf({ flat }: Program): readonly number[] | undefined {
  for (const { operation } of flat) {
    if (operation.kind === 'linear') return [operation.inFeatures];
    if (operation.kind === 'affine') return operation.ranks[0] <= 2 ? [operation.scale.length] : undefined;
  }
  return undefined;
}

/** Shapes of the input and the output, as far as the steps show them: of rank 2, or of the ranks that the first norm takes. */
function portsOf({ flat }: Program): Pick<Compiled, 'inputs' | 'outputs'> {
  let shape: (number | null)[] | null = null;
  let inputs: Port['shape'] = null;
  for (const { operation } of flat) {
    if (operation.kind === 'linear') {
      inputs ??= [null, operation.inFeatures];
      shape = [...(shape ?? inputs).slice(0, -1), operation.outFeatures];
    } else if (operation.kind === 'affine' && !inputs) {
      shape = new Array<null>(Math.max(operation.ranks[0], 2)).fill(null);
      shape[operation.layout === 'channels-last' ? shape.length - 1 : 1] = operation.scale.length;
      inputs = shape;
    }
  }
  return { inputs: [{ name: 'x', shape: inputs }], outputs: [{ name: 'output', shape }] };
}

function planFor({ scale, layout, ranks }: AffineOperation, shape: readonly number[]): Plan {
  return planOf(`${SUBJECT}: affine ${scale.length}`, shape, scale.length, layout, ranks);
}

/** Makes the buffers large enough for values of these shapes. `moved` is told when one had to move. */
function reserve(
  buffers: Region[],
  { heap }: Backend,
  slots: readonly number[],
  shapes: readonly (readonly number[])[],
  moved: () => void,
): void {
  const sizes: number[] = [];
  slots.forEach((slot, value) => {
    if (value > 0 && slot >= 0) sizes[slot] = Math.max(sizes[slot] ?? 4, countOf(shapes[value]) * 4);
  });
  sizes.forEach((bytes, slot) => {
    buffers[slot] ??= new Region(heap);
    if (buffers[slot].bytes >= bytes) return;
    buffers[slot].atLeast(bytes);
    moved();
  });
}

/** One step's kernel call on values of these shapes. */
function callOf(
  current: Backend,
  { operation, x, add, activation }: Step,
  at: number,
  shape: readonly number[],
  place: (value: number) => () => number,
  y: number,
): () => void {
  const [from, to] = [place(x), place(y)];
  const residual = add >= 0 ? place(add) : () => 0;
  if (operation.kind === 'linear') {
    const { inFeatures, outFeatures } = operation;
    const rows = countOf(shape) / inFeatures;
    const bias = operation.bias ? at + padded(outFeatures) * inFeatures : 0;
    const onto = add >= 0 ? 1 : 0;
    return () => {
      const result = to();
      if (onto && residual() !== result) activate(current, residual(), result, NO_ACTIVATION, rows * outFeatures);
      linear(current, from(), at, bias, result, activation, rows, inFeatures, outFeatures, inFeatures, 1, onto);
    };
  }
  if (operation.kind === 'affine') {
    const plan = planFor(operation, shape);
    const length = padded(operation.scale.length);
    const vectors = { center: operation.center ? at + 2 * length : 0, scale: at, shift: at + length };
    return () => affine(current, plan, from(), vectors, residual(), to(), activation);
  }
  const size = countOf(shape);
  if (add < 0) return () => activate(current, from(), to(), activation, size);
  return () => sum(current, from(), at, residual(), to(), activation, size);
}
