import { showShape, wrongValue } from '../errors.ts';
import { type ActivationCode, activationName, NO_ACTIVATION } from '../kernels/activations.ts';
import { type Backend, backend } from '../kernels/backend.ts';
import { affine } from '../kernels/calls.ts';
import type { AffineStage, LinearStage, Stage } from '../layers/layer.ts';
import { planOf, type Ranks } from '../layers/plan.ts';
import { Region } from '../tensors/block.ts';
import { locate, produce } from '../tensors/call.ts';
import { shapeOf } from '../tensors/shape.ts';
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

// stages, with the activation that has joined them
type Linear = Omit<LinearStage, 'weight' | 'bias'> & {
  weight: Float64Array;
  bias: Float64Array | null;
  ranks: Ranks;
  activation: ActivationCode;
};
type Affine = AffineStage & { activation: ActivationCode };
type Node = Linear | Affine | { kind: 'activation'; activation: ActivationCode };

/**
 * Turns what layers do in evaluation into as few passes as possible: an affine map (batch norm) after a linear layer is folded into its
 * weights, in f64; affine maps in a row become one; an activation joins the step before it.
 */
export function compile(stages: readonly Stage[]): Compiled {
  const current = backend();
  const memory = new Region(current.heap);
  const nodes = fuse(stages);
  const steps = layOut(current, memory, nodes);
  const buffers = [new Region(current.heap), new Region(current.heap)];

  const run = <X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O => {
    const input = locate(SUBJECT, 'x', x);
    const shapes = [shapeOf(input)];
    for (const step of steps) shapes.push(step.shape(shapes[shapes.length - 1]));
    const inner = shapes.slice(1, -1).reduce((most, shape) => Math.max(most, count(shape)), 0);
    const product = {
      subject: SUBJECT,
      like: x,
      shape: shapes[shapes.length - 1],
      out: options.out,
      inputs: { x: input },
      aliasing: 'apart',
    } as const;
    return produce<O>(product, (call, result) => {
      if (count(shapes[0]) === 0) return;
      let at = call.input(input);
      const last = call.output(result);
      if (steps.length === 0) {
        current.kernels.activate_f32(at, last, NO_ACTIVATION.kind, NO_ACTIVATION.alpha, count(shapes[0]));
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
    memory.release();
    for (const buffer of buffers) buffer.release();
  };
  return Object.assign(run, { steps: steps.map((step) => step.name), dispose });
}

function count(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/** Folds and fuses neighbours. */
function fuse(stages: readonly Stage[]): Node[] {
  const nodes: Node[] = [];
  for (const stage of stages) {
    const last = nodes.at(-1);
    if (stage.kind === 'activation') {
      if (last && last.activation === NO_ACTIVATION) last.activation = stage.activation;
      else nodes.push({ ...stage });
    } else if (stage.kind === 'linear') {
      nodes.push({
        ...stage,
        weight: Float64Array.from(stage.weight),
        bias: stage.bias && Float64Array.from(stage.bias),
        ranks: [2, Number.POSITIVE_INFINITY],
        activation: NO_ACTIVATION,
      });
    } else if (
      last?.kind === 'linear' &&
      last.activation === NO_ACTIVATION &&
      last.outFeatures === stage.scale.length &&
      foldsByRow(stage)
    ) {
      fold(last, stage);
    } else if (
      last?.kind === 'affine' &&
      last.activation === NO_ACTIVATION &&
      last.layout === stage.layout &&
      last.scale.length === stage.scale.length
    ) {
      nodes[nodes.length - 1] = chain(last, stage);
    } else {
      nodes.push({ ...stage, activation: NO_ACTIVATION });
    }
  }
  return nodes;
}

/** Does the map work on the axis that a linear layer writes? With channels first that is so in rank 2 alone. */
function foldsByRow({ layout, ranks }: AffineStage): boolean {
  return layout === 'channels-last' || ranks[0] === 2;
}

/** y = (W·x + b)·scale + shift */
function fold(linear: Linear, { scale, shift, layout, ranks }: AffineStage): void {
  const { weight, inFeatures, outFeatures } = linear;
  const bias = linear.bias ?? new Float64Array(outFeatures);
  for (let o = 0; o < outFeatures; o++) {
    for (let i = o * inFeatures; i < (o + 1) * inFeatures; i++) weight[i] *= scale[o];
    bias[o] = bias[o] * scale[o] + shift[o];
  }
  linear.bias = bias;
  linear.ranks =
    layout === 'channels-first' ? [2, 2] : [Math.max(ranks[0], linear.ranks[0]), Math.min(ranks[1], linear.ranks[1])];
}

/** y = (x·scale₁ + shift₁)·scale₂ + shift₂ */
function chain(first: Affine, second: AffineStage): Affine {
  const scale = Float64Array.from(first.scale, (value, c) => value * second.scale[c]);
  const shift = Float64Array.from(first.shift, (value, c) => value * second.scale[c] + second.shift[c]);
  const ranks = [Math.max(first.ranks[0], second.ranks[0]), Math.min(first.ranks[1], second.ranks[1])] as const;
  return { ...first, scale, shift, ranks };
}

/** Puts the vectors and packed weights of all steps into one piece of memory. */
function layOut(current: Backend, memory: Region, nodes: readonly Node[]): Step[] {
  const sizes = nodes.map(bytesOf);
  let at = memory.atLeast(sizes.reduce((sum, bytes) => sum + bytes, 0));
  return nodes.map((node, i) => {
    const step =
      node.kind === 'linear'
        ? linearStep(current, node, at)
        : node.kind === 'affine'
          ? affineStep(current, node, at)
          : activationStep(node.activation);
    at += sizes[i];
    return step;
  });
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
  const { inFeatures, outFeatures, ranks, activation } = node;
  const subject = `${SUBJECT}: linear ${inFeatures} → ${outFeatures}`;
  const bias = node.bias ? at + Math.ceil(outFeatures / 8) * 32 * inFeatures : 0;
  const weight = heap.alloc(inFeatures * outFeatures * 4);
  heap.f32.set(node.weight, weight >> 2);
  kernels.pack_f32(weight, at, inFeatures, outFeatures, 1, inFeatures);
  heap.free(weight);
  if (node.bias) heap.f32.set(node.bias, bias >> 2);
  return {
    name: named(`linear ${inFeatures} → ${outFeatures}`, activation),
    shape(shape) {
      const last = shape.length - 1;
      if (shape.length < ranks[0] || shape.length > ranks[1]) {
        const expected = ranks[1] === ranks[0] ? `rank ${ranks[0]}` : `rank ${ranks[0]} to ${ranks[1]}`;
        throw wrongValue('ERR_SHAPE', {
          subject,
          argument: 'x',
          expected,
          got: `rank ${shape.length}`,
          context: `shape ${showShape(shape)}`,
        });
      }
      if (shape[last] !== inFeatures) {
        throw wrongValue('ERR_SHAPE', {
          subject,
          argument: 'x',
          expected: `${inFeatures} features on axis ${last}`,
          got: `${shape[last]}`,
          context: `shape ${showShape(shape)}`,
        });
      }
      return [...shape.slice(0, last), outFeatures];
    },
    run({ kernels: k }, x, y, shape) {
      const rows = count(shape) / inFeatures;
      k.linear_f32(x, at, bias, y, activation.kind, activation.alpha, rows, inFeatures, outFeatures, inFeatures, 1, 0);
    },
  };
}

function affineStep({ heap }: Backend, { scale, shift, layout, ranks, activation }: Affine, at: number): Step {
  const channels = scale.length;
  const v = { scale: at, shift: at + Math.ceil(channels / 4) * 16 };
  heap.f32.set(Float32Array.from(scale), v.scale >> 2);
  heap.f32.set(Float32Array.from(shift), v.shift >> 2);
  const plan = (shape: readonly number[]) => planOf(`${SUBJECT}: affine ${channels}`, shape, channels, layout, ranks);
  return {
    name: named(`affine ${channels}`, activation),
    shape: (shape) => plan(shape).shape,
    run: ({ kernels }, x, y, shape) => affine(kernels, plan(shape), x, v, 0, y, activation),
  };
}

function activationStep(activation: ActivationCode): Step {
  return {
    name: named('elementwise', activation),
    shape: (shape) => shape,
    run: ({ kernels }, x, y, shape) => kernels.activate_f32(x, y, activation.kind, activation.alpha, count(shape)),
  };
}
