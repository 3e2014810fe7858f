// A small convnet on the same digits, with batch norm and without: how far each gets in how many
// images, and the one with batch norm compiled.

import { AdamW, accuracy, batches, CosineLR, crossEntropy, namedParameters, tensor } from 'evenkeel';
import { type Convnet, digitConvnet } from 'evenkeel/models';
import { type Digits, PIXELS } from './digits.ts';
import { percent } from './report.ts';
import { gain } from './summary.ts';

const SIZE = 50;
const WIDTH = 8;
const RATE = 4e-3;
/** Held-out digits that the curves are measured on; all of them at the end. */
const PROBES = 500;

const shapeOf = (count: number) => [count, 1, 28, 28];

/** Accuracy over images seen. */
export interface Curve {
  readonly images: number[];
  readonly accuracy: number[];
}

/** What `npm start` says of the convnet. */
export interface ConvnetSummary {
  readonly with: Curve;
  readonly without: Curve;
  /** At the end, on all held-out digits. */
  readonly accuracy: { readonly with: number; readonly without: number };
  /**
   * The compiled net: steps, largest difference from evaluation mode, images per second of each.
   */
  readonly steps: readonly string[];
  readonly difference: number;
  readonly imagesPerSecond: number;
  readonly evalImagesPerSecond: number;
  readonly sentence: string;
}

/** Trains on so many images; both nets see the same in the same order. */
function train(net: Convnet, { train, test }: { train: Digits; test: Digits }, seen: number): Curve {
  const steps = Math.ceil(seen / SIZE);
  const every = Math.max(1, Math.round(steps / 20));
  const optimizer = new AdamW(namedParameters(net), { lr: RATE, decayNorms: false });
  const schedule = new CosineLR(optimizer, { steps });
  const rows = batches(Array.from(train.labels.keys()), { size: SIZE, shuffle: true, dropLast: true, seed: 1 });
  const curve: Curve = { images: [], accuracy: [] };
  for (let step = 0; step < steps; ) {
    for (const batch of rows) {
      const data = new Float32Array(SIZE * PIXELS);
      batch.forEach((row, i) => {
        data.set(train.images.subarray(row * PIXELS, (row + 1) * PIXELS), i * PIXELS);
      });
      const labels = Uint8Array.from(batch, (row) => train.labels[row]);
      const { grad } = crossEntropy(net.forward({ data, shape: shapeOf(SIZE) }), labels);
      optimizer.zeroGrad();
      net.backward(grad, { inputGradient: false });
      optimizer.step();
      schedule.step();
      if (++step % every === 0 || step === steps) {
        curve.images.push(step * SIZE);
        curve.accuracy.push(measure(net, test, PROBES));
      }
      if (step === steps) break;
    }
  }
  return curve;
}

/** Accuracy in evaluation mode on the first digits. */
function measure(net: Convnet, { images, labels, count }: Digits, most = count): number {
  net.eval();
  const logits = net.forward({ data: images.subarray(0, most * PIXELS), shape: shapeOf(most) });
  net.train();
  return accuracy(logits, labels.subarray(0, most));
}

/**
 * Trains both nets on so many images, then compiles the one with batch norm, checks it and measures
 * it.
 */
export function convnet(digits: { train: Digits; test: Digits }, seen: number): ConvnetSummary {
  const nets = {
    with: digitConvnet({ width: WIDTH, seed: 1 }),
    without: digitConvnet({ width: WIDTH, norm: null, seed: 1 }),
  };
  const curves = { with: train(nets.with, digits, seen), without: train(nets.without, digits, seen) };
  const { test } = digits;
  const reached = { with: measure(nets.with, test), without: measure(nets.without, test) };
  const run = nets.with.eval().compile();
  const x = tensor(test.images.subarray(0, 64 * PIXELS), shapeOf(64));
  const out = tensor(new Float32Array(640), [64, 10]);
  const expected = nets.with.forward(x).data.slice();
  const logits = run(x, { out }).data;
  const difference = expected.reduce((worst, value, i) => Math.max(worst, Math.abs(value - logits[i])), 0);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!(difference <= 1e-4 * scale)) {
    throw new Error(`the compiled convnet differs from evaluation mode by ${difference} of ${scale}`);
  }
  const works = [() => nets.with.forward(x), () => run(x, { out })];
  const rates: number[][] = [[], []];
  for (let round = 0; round < 11; round++) {
    works.forEach((work, i) => {
      const start = performance.now();
      for (let k = 0; k < 4; k++) work();
      rates[i].push((4 * 64 * 1000) / (performance.now() - start));
    });
  }
  const [evalImagesPerSecond, imagesPerSecond] = rates.map((all) => all.sort((a, b) => a - b)[5]);
  const { steps } = run;
  for (const t of [x, out]) t.dispose();
  run.dispose();
  for (const net of Object.values(nets)) net.dispose();
  const target = curves.without.accuracy.at(-1)!;
  const [on, off] = [curves.with, curves.without].map(({ images, accuracy }) => {
    const at = accuracy.findIndex((share) => share >= target);
    return at < 0 ? undefined : images[at];
  });
  const sentence = `A convnet of four layers ends with ${percent(reached.with)} with batch norm and ${percent(reached.without)} without, after ${seen} images. ${
    on === undefined
      ? 'What the net without batch norm ends with, the net with it does not reach'
      : `To what the net without batch norm ends with (on ${PROBES} digits), the net without it takes ${off} images and the net with it ${on}: ${gain(off! / on)}`
  }.`;
  return {
    with: curves.with,
    without: curves.without,
    accuracy: reached,
    steps,
    difference,
    imagesPerSecond,
    evalImagesPerSecond,
    sentence,
  };
}
