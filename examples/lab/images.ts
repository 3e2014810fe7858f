// Digits as images of half the height and width, and training on them.

import { crossEntropy, type Layer, Random, SGD, type TensorLike } from 'evenkeel';
import { type Digits, PIXELS } from '../digits/digits.ts';
import { restNow, score } from './training.ts';

/** Pixels of a side. */
export const SIDE = 14;
const AREA = SIDE * SIDE;

/**
 * Images `[count, 1, 14, 14]`, each pixel the average of four, over all pixels with mean 0 and
 * variance 1.
 */
export interface Images {
  readonly images: Float32Array;
  readonly labels: Uint8Array;
  readonly count: number;
}

const MEAN = 0.1307;
const DEVIATION = 0.28;

export function imagesOf({ images, labels }: Digits, count: number): Images {
  const small = new Float32Array(count * AREA);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < SIDE; i++) {
      for (let j = 0; j < SIDE; j++) {
        const at = n * PIXELS + 4 * SIDE * i + 2 * j;
        const sum = images[at] + images[at + 1] + images[at + 2 * SIDE] + images[at + 2 * SIDE + 1];
        small[n * AREA + SIDE * i + j] = (sum / 4 - MEAN) / DEVIATION;
      }
    }
  }
  return { images: small, labels: labels.subarray(0, count), count };
}

/** A batch of the rows given. */
function batchOf({ images, labels }: Images, rows: ArrayLike<number>): { x: TensorLike; labels: Uint8Array } {
  const data = new Float32Array(rows.length * AREA);
  for (let i = 0; i < rows.length; i++) data.set(images.subarray(rows[i] * AREA, (rows[i] + 1) * AREA), i * AREA);
  return {
    x: { data, shape: [rows.length, 1, SIDE, SIDE] },
    labels: Uint8Array.from({ length: rows.length }, (_, i) => labels[rows[i]]),
  };
}

/** How a net is trained. */
export interface Plan {
  /** Images that it sees, in batches of `size`. */
  readonly seen: number;
  readonly size: number;
  /** Learning rate at the beginning; it falls linearly to 0. */
  readonly lr: number;
  readonly seed: number;
}

/**
 * Trains by gradient descent with momentum 0.9; returns the mean loss of the last tenth, infinite
 * where a loss was not finite.
 */
export async function trainOnImages(net: Layer, train: Images, { seen, size, lr, seed }: Plan): Promise<number> {
  const optimizer = new SGD(net.parameters(), { lr, momentum: 0.9 });
  const random = new Random(seed);
  const steps = Math.ceil(seen / size);
  let order = random.permutation(train.count);
  let last = 0;
  let counted = 0;
  for (let step = 0, next = 0; step < steps; step++, next += size) {
    if (next + size > train.count) {
      order = random.permutation(train.count);
      next = 0;
    }
    const { x, labels } = batchOf(train, order.subarray(next, next + size));
    const { loss, grad } = crossEntropy(net.forward(x), labels);
    if (!Number.isFinite(loss)) return Number.POSITIVE_INFINITY;
    if (step >= 0.9 * steps - 1) {
      last += loss;
      counted++;
    }
    optimizer.zeroGrad();
    net.backward(grad);
    optimizer.lr = lr * (1 - step / steps);
    optimizer.step();
    await restNow();
  }
  return last / counted;
}

/** Share of images that a net recognises in evaluation mode. */
export function accuracyOn(net: Layer, { images, labels, count }: Images): number {
  net.eval();
  const logits = net.forward({ data: images, shape: [count, 1, SIDE, SIDE] });
  net.train();
  return score(logits.data, labels).accuracy;
}
