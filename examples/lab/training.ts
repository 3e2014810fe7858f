// What the experiments train with.

import {
  BatchNorm1d,
  BatchRenorm,
  crossEntropy,
  GroupNorm,
  type Layer,
  LayerNorm,
  Linear,
  normal,
  Random,
  ReLU,
  Sequential,
  SGD,
  Sigmoid,
  Tanh,
  type TensorLike,
} from 'evenkeel';
import type { Series } from '../digits/chart.ts';
import { type Digits, PIXELS } from '../digits/digits.ts';
import type { Activation, Norm } from './experiment.ts';

/** For whoever looks on while nets train: the page. */
export const live: {
  /** Told of every step; answers whether it was looked at. */
  step?: (net: Sequential, step: number, loss: number) => boolean;
  /** Awaited now and then. */
  rest?: () => Promise<void>;
  /** The outputs of a net's layers on the batch of its last forward. */
  outputs(net: Sequential): { layer: Layer; data: Float32Array; units: number }[];
} = {
  outputs(net) {
    const before = net.stateDict();
    let values = lastBatch;
    const found = net.layers.map((layer) => {
      values = layer.forward(values);
      return { layer, data: values.data, units: (values as { shape: readonly number[] }).shape[1] };
    });
    net.loadStateDict(before);
    return found;
  },
};

/** Shows a step to whoever looks on. */
export function lookOn(net: Sequential, x: TensorLike, step: number, loss: number): void {
  lastBatch = x;
  live.step?.(net, step, loss);
}

/** Milliseconds between two rests. */
const REST = 30;
let lastBatch: TensorLike;
let rested = 0;

/** Lets whoever looks on have a turn, if it is time for one. */
export async function restNow(): Promise<void> {
  if (!live.rest || performance.now() - rested < REST) return;
  await live.rest();
  rested = performance.now();
}

/** Batches of digits in an order that the seed alone decides. */
export function* batchesOf(
  { images, labels, count }: Digits,
  size: number,
  seed: number,
): Generator<{ x: TensorLike; labels: Uint8Array; rows: number[] }> {
  if (!(size >= 1 && size <= count)) throw new RangeError(`batchesOf: size expected 1 to ${count}, got ${size}`);
  const random = new Random(seed);
  for (;;) {
    const order = random.permutation(count);
    for (let at = 0; at + size <= count; at += size) {
      const rows = Array.from(order.subarray(at, at + size));
      const data = new Float32Array(size * PIXELS);
      rows.forEach((row, i) => {
        data.set(images.subarray(row * PIXELS, (row + 1) * PIXELS), i * PIXELS);
      });
      yield { x: { data, shape: [size, PIXELS] }, labels: Uint8Array.from(rows, (row) => labels[row]), rows };
    }
  }
}

/** One step; one whose loss is not finite is not taken. Returns the loss. */
export function stepOn(net: Sequential, optimizer: SGD, logits: TensorLike, labels: Uint8Array): number {
  const { loss, grad } = crossEntropy(logits, labels);
  if (!Number.isFinite(loss)) return loss;
  net.zeroGrad();
  net.backward(grad, { inputGradient: false });
  optimizer.step();
  return loss;
}

/** Trains on digits for so many steps. `lr` falls linearly to 0, unless it is to stay. */
export async function trainOn(
  net: Sequential,
  train: Digits,
  { steps, size, lr, seed, stays = false }: { steps: number; size: number; lr: number; seed: number; stays?: boolean },
  visit: (step: number, loss: number, x: TensorLike) => void | Promise<void> = () => {},
): Promise<void> {
  const optimizer = new SGD(net.parameters(), { lr });
  const batches = batchesOf(train, size, seed);
  for (let step = 1; step <= steps; step++) {
    const { x, labels } = batches.next().value!;
    if (!stays) optimizer.lr = lr * (1 - (step - 1) / steps);
    const loss = stepOn(net, optimizer, net.forward(x), labels);
    lookOn(net, x, step, loss);
    const waits = visit(step, loss, x);
    if (waits) await waits;
    if (live.rest) await restNow();
  }
}

/** Some `many` points of a run, evenly apart: every how many steps, and which. */
export function pointsOf(steps: number, many: number): { every: number; points: number[] } {
  const every = Math.ceil(steps / many);
  return { every, points: Array.from({ length: Math.floor(steps / every) }, (_, i) => (i + 1) * every) };
}

/** The first so many digits. */
export function firstOf({ images, labels }: Digits, count: number): Digits {
  return { images: images.subarray(0, count * PIXELS), labels: labels.subarray(0, count), count };
}

/** Mean cross entropy and accuracy in evaluation mode. */
export function evaluate(net: Layer, { images, labels, count }: Digits): { loss: number; accuracy: number } {
  net.eval();
  const logits = net.forward({ data: images, shape: [count, PIXELS] });
  net.train();
  return score(logits.data, labels);
}

export function score(logits: Float32Array, labels: Uint8Array): { loss: number; accuracy: number } {
  const count = labels.length;
  const { loss } = crossEntropy({ data: logits, shape: [count, 10] }, labels);
  let right = 0;
  for (let n = 0; n < count; n++) {
    const row = Array.from(logits.subarray(n * 10, n * 10 + 10));
    if (row.every((value) => value <= row[labels[n]])) right++;
  }
  return { loss, accuracy: right / count };
}

/** Median of the seeds, and all of them as a band. */
export function acrossSeeds(
  x: readonly number[],
  runs: readonly (readonly number[])[],
): Pick<Series, 'x' | 'y' | 'band'> {
  const at = (i: number) => runs.map((run) => run[i]).sort((a, b) => a - b);
  return {
    x,
    y: x.map((_, i) => median(at(i))),
    band: { low: x.map((_, i) => at(i)[0]), high: x.map((_, i) => at(i)[runs.length - 1]) },
  };
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

/** Median, and the middle half of values, in three digits. */
export function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round((sorted.length - 1) * share)].toPrecision(3);
  return `${at(0.5)} (${at(0.25)}–${at(0.75)})`;
}

export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const NORMS: Record<Norm, (units: number) => Layer[]> = {
  none: () => [],
  batch: (units) => [new BatchNorm1d(units)],
  renorm: (units) => [new BatchRenorm(units, { momentum: 0.02, rMax: 3, dMax: 5 })],
  layer: (units) => [new LayerNorm(units)],
  group: (units) => [new GroupNorm(units % 8 ? 1 : 8, units)],
};

const ACTIVATIONS: Record<Activation, () => Layer> = {
  tanh: () => new Tanh(),
  sigmoid: () => new Sigmoid(),
  relu: () => new ReLU(),
};

export interface NetOptions {
  readonly seed: number;
  readonly norm: Norm;
  /** Standard deviation of the first weights, over 1/√inputs. Default 1. */
  readonly scale?: number;
  readonly activation?: Activation;
  readonly depth?: number;
  readonly units?: number;
}

/** Hidden layers of linear, norm, activation, and a linear layer to the ten classes. */
export function buildNet({
  seed,
  norm,
  scale = 1,
  activation = 'tanh',
  depth = 3,
  units = 64,
}: NetOptions): Sequential {
  const layers: Layer[] = [];
  const linear = (inputs: number, outputs: number, at: number) =>
    new Linear(inputs, outputs, { init: normal(scale / Math.sqrt(inputs)), seed: 1000 * seed + at });
  for (let at = 0, inputs = PIXELS; at < depth; at++, inputs = units) {
    layers.push(linear(inputs, units, at), ...NORMS[norm](units), ACTIVATIONS[activation]());
  }
  return new Sequential(...layers, linear(units, 10, depth));
}
