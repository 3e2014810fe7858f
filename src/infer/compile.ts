import { wrongMoment } from '../errors.ts';
import { type ActivationCode, activationName, NO_ACTIVATION } from '../kernels/activations.ts';
import { type Backend, backend } from '../kernels/backend.ts';
import { activate, affine, linear } from '../kernels/inference/calls.ts';
import type { AffineStage, LinearStage, Stage } from '../layers/layer.ts';
import { planOf } from '../layers/plan.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, locate, produce } from '../tensors/call.ts';
import { countOf, linearShape, sameShape, shapeOf } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';

const SUBJECT = 'compiled network';

/** A compiled network: evaluation of the network it was made from, within rounding, and independent of it from then on. */
export interface Compiled {
  /**
   * @param x what the network takes
   * @param options.out where to write the output: memory apart from x
   * @returns the network's output, where x lives: `out`, or new memory
   * @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY
   */
  <X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options?: { out?: O }): O;
  /** What it does, step by step. */
  readonly steps: readonly string[];
  /** Gives its linear memory back. */
  dispose(): void;
}

/** A step of the plan: one kernel call. */
interface Step {
  readonly name: string;
  shape(shape: readonly number[]): readonly number[];
  run(backend: Backend, x: number, y: number, shape: readonly number[]): void;
}

/** The steps for inputs of rank 2, or of any other rank, over weights in memory of their own. */
interface Program {
  readonly steps: readonly Step[];
  readonly memory: Region;
}

/** What a run on one shape does: its steps, the shapes between them, and the values of the largest in between. */
interface Course {
  readonly steps: readonly Step[];
  readonly shapes: readonly (readonly number[])[];
  readonly inner: number;
}

// stages, with the activation that has joined them
type Linear = Omit<LinearStage, 'weight' | 'bias'> & {
  weight: Float64Array;
  bias: Float64Array | null;
  activation: ActivationCode;
};
type Affine = AffineStage & { activation: ActivationCode };
type Node = Linear | Affine | { kind: 'activation'; activation: ActivationCode };

/**
 * Turns what layers do in evaluation into as few passes as possible: an affine map (batch norm) after a linear layer is folded into its
 * weights, in f64; affine maps in a row become one; an activation joins the step before it.
 *
 * Channels first are the axis that a linear layer writes in rank 2 alone, so inputs of other ranks have a program of their own, made when
 * the first one comes.
 */
export function compile(stages: readonly Stage[]): Compiled {
  const current = backend();
  const frozen = stages.map(copyOf);
  const flat = assemble(current, fuse(frozen, true));
  let general: Program | undefined;
  const buffers = [new Region(current.heap), new Region(current.heap)];
  let disposed = false;
  /** Of the last run: programs repeat themselves. */
  let course: Course | undefined;
  const courseOf = (shape: readonly number[]): Course => {
    if (shape.length !== 2) general ??= assemble(current, fuse(frozen, false));
    const { steps } = shape.length === 2 ? flat : general!;
    const shapes = [Array.from(shape)];
    for (const step of steps) shapes.push(Array.from(step.shape(shapes[shapes.length - 1])));
    return { steps, shapes, inner: Math.max(0, ...shapes.slice(1, -1).map(countOf)) };
  };

  const run = <X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O => {
    if (disposed) {
      throw wrongMoment('ERR_DISPOSED', {
        subject: SUBJECT,
        argument: 'a run',
        expected: 'a live network',
        got: 'one that was disposed',
      });
    }
    checkCallOptions(SUBJECT, options, ['out']);
    const input = locate(SUBJECT, 'x', x);
    const shape = shapeOf(input);
    if (!course || !sameShape(course.shapes[0], shape)) course = courseOf(shape);
    const { steps, shapes, inner } = course;
    const product = {
      subject: SUBJECT,
      like: x,
      shape: shapes[shapes.length - 1],
      out: options.out,
      inputs: { x: input },
      aliasing: 'apart',
    } as const;
    return produce<O>(product, (call, result) => {
      if (countOf(shapes[0]) === 0) return;
      let at = call.input(input);
      const last = call.output(result);
      if (steps.length === 0) {
        activate(current, at, last, NO_ACTIVATION, countOf(shapes[0]));
        return;
      }
      steps.forEach((step, i) => {
        const to = i === steps.length - 1 ? last : buffers[i % 2].atLeast(inner * 4);
        step.run(current, at, to, shapes[i]);
        at = to;
      });
    });
  };
  const dispose = () => {
    disposed = true;
    for (const region of [flat.memory, general?.memory, ...buffers]) region?.release();
  };
  return Object.assign(run, { steps: flat.steps.map((step) => step.name), dispose });
}

/** A stage that later changes of the network do not reach. */
function copyOf(stage: Stage): Stage {
  if (stage.kind !== 'linear') return stage;
  return { ...stage, weight: Float64Array.from(stage.weight), bias: stage.bias && Float64Array.from(stage.bias) };
}

/** Folds and fuses neighbours. `flat`: for inputs of rank 2. */
function fuse(stages: readonly Stage[], flat: boolean): Node[] {
  const nodes: Node[] = [];
  for (const stage of stages) {
    const last = nodes.at(-1);
    const open = last?.activation === NO_ACTIVATION ? last : undefined;
    if (stage.kind === 'activation') {
      if (open) open.activation = stage.activation;
      else nodes.push({ ...stage });
    } else if (stage.kind === 'linear') {
      nodes.push({
        ...stage,
        weight: Float64Array.from(stage.weight),
        bias: stage.bias && Float64Array.from(stage.bias),
        activation: NO_ACTIVATION,
      });
    } else if (open?.kind === 'linear' && flat && stage.ranks[0] <= 2 && open.outFeatures === stage.scale.length) {
      fold(open, stage);
    } else if (open?.kind === 'affine' && open.layout === stage.layout && open.scale.length === stage.scale.length) {
      nodes[nodes.length - 1] = chain(open, stage);
    } else {
      nodes.push({ ...stage, activation: NO_ACTIVATION });
    }
  }
  return nodes;
}

/** y = (W·x + b)·scale + shift */
function fold(linear: Linear, { scale, shift }: AffineStage): void {
  const { weight, inFeatures, outFeatures } = linear;
  const bias = linear.bias ?? new Float64Array(outFeatures);
  for (let o = 0; o < outFeatures; o++) {
    for (let i = o * inFeatures; i < (o + 1) * inFeatures; i++) weight[i] *= scale[o];
    bias[o] = bias[o] * scale[o] + shift[o];
  }
  linear.bias = bias;
}

/** y = (x·scale₁ + shift₁)·scale₂ + shift₂ */
function chain(first: Affine, second: AffineStage): Affine {
  const scale = Float64Array.from(first.scale, (value, c) => value * second.scale[c]);
  const shift = Float64Array.from(first.shift, (value, c) => value * second.scale[c] + second.shift[c]);
  const ranks = [Math.max(first.ranks[0], second.ranks[0]), Math.min(first.ranks[1], second.ranks[1])] as const;
  return { ...first, scale, shift, ranks };
}

/** Puts the vectors and packed weights of all steps into one piece of memory. */
function assemble(current: Backend, nodes: readonly Node[]): Program {
  const memory = new Region(current.heap);
  const sizes = nodes.map(bytesOf);
  let at = memory.atLeast(sizes.reduce((sum, bytes) => sum + bytes, 0));
  const steps = nodes.map((node, i) => {
    const step =
      node.kind === 'linear'
        ? linearStep(current, node, at)
        : node.kind === 'affine'
          ? affineStep(current, node, at)
          : activationStep(node.activation);
    at += sizes[i];
    return step;
  });
  return { steps, memory };
}

function bytesOf(node: Node): number {
  if (node.kind === 'activation') return 0;
  if (node.kind === 'affine') return Math.ceil(node.scale.length / 4) * 32;
  return Math.ceil(node.outFeatures / 8) * 32 * (node.inFeatures + 1);
}

function named(name: string, activation: ActivationCode): string {
  return activation === NO_ACTIVATION ? name : `${name}, ${activationName(activation)}`;
}

function linearStep({ heap, kernels }: Backend, node: Linear, at: number): Step {
  const { inFeatures, outFeatures, activation } = node;
  const subject = `${SUBJECT}: linear ${inFeatures} → ${outFeatures}`;
  const bias = node.bias ? at + Math.ceil(outFeatures / 8) * 32 * inFeatures : 0;
  const weight = heap.alloc(inFeatures * outFeatures * 4);
  heap.f32.set(node.weight, weight >>> 2);
  kernels.pack_f32(weight, at, inFeatures, outFeatures, 1, inFeatures);
  heap.free(weight);
  if (node.bias) heap.f32.set(node.bias, bias >>> 2);
  return {
    name: named(`linear ${inFeatures} → ${outFeatures}`, activation),
    shape: (shape) => linearShape(subject, shape, inFeatures, outFeatures),
    run: (current, x, y, shape) => {
      const rows = countOf(shape) / inFeatures;
      linear(current, x, at, bias, y, activation, rows, inFeatures, outFeatures);
    },
  };
}

function affineStep({ heap }: Backend, { scale, shift, layout, ranks, activation }: Affine, at: number): Step {
  const channels = scale.length;
  const v = { center: 0, scale: at, shift: at + Math.ceil(channels / 4) * 16 };
  heap.f32.set(Float32Array.from(scale), v.scale >>> 2);
  heap.f32.set(Float32Array.from(shift), v.shift >>> 2);
  const plan = (shape: readonly number[]) => planOf(`${SUBJECT}: affine ${channels}`, shape, channels, layout, ranks);
  return {
    name: named(`affine ${channels}`, activation),
    shape: (shape) => plan(shape).shape,
    run: (current, x, y, shape) => affine(current, plan(shape), x, v, 0, y, activation),
  };
}

function activationStep(activation: ActivationCode): Step {
  return {
    name: named('elementwise', activation),
    shape: (shape) => shape,
    run: (current, x, y, shape) => activate(current, x, y, activation, countOf(shape)),
  };
}
