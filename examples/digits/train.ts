import { crossEntropy, Random, type Sequential, SGD, tensor } from 'evenkeel';
import { type Digits, PIXELS } from './digits.ts';
import { type ActivationKind, beforeLastActivation, buildNet, type Setting } from './network.ts';

const BATCH = 60;
/** Held-out digits on which the distribution of activation inputs is taken. */
const PROBES = 500;
/**
 * The input beyond which the activation lies in the outer 3 % of its range on either side:
 * tanh(2.09) = 0.97.
 */
const SATURATION: Record<ActivationKind, number> = { tanh: Math.atanh(0.97), sigmoid: 2 * Math.atanh(0.97) };

export interface Run {
  setting: Setting;
  batchNorm: boolean;
  seed: number;
  /** After how many steps each of the following was measured. */
  steps: number[];
  accuracy: number[];
  loss: number[];
  /** Percentiles 15, 50 and 85 of a typical last hidden unit's activation input. */
  percentiles: [number, number, number][];
  /** Units of the last hidden layer that a digit saturates, on average over the digits. */
  saturatedUnits: number[];
  /** Training time per step, milliseconds. */
  millisecondsPerStep: number;
  net: Sequential;
}

export interface Report {
  step: number;
  loss: number;
  accuracy: number;
  imagesPerSecond: number;
}

/**
 * Trains one net. Mini-batches depend on the seed alone, so nets with the same seed see the same
 * images in the same order.
 */
export function train(
  setting: Setting,
  batchNorm: boolean,
  seed: number,
  steps: number,
  every: number,
  digits: { train: Digits; test: Digits },
  report: (progress: Report) => void,
): Run {
  const net = buildNet(setting, batchNorm, seed);
  const optimizer = new SGD(net.parameters(), { lr: setting.lr, weightDecay: setting.weightDecay });
  const random = new Random(seed);
  const { images, labels, count } = digits.train;
  const x = tensor(new Float32Array(BATCH * PIXELS), [BATCH, PIXELS]);
  const batchLabels = new Uint8Array(BATCH);
  const test = tensor(digits.test.images, [digits.test.count, PIXELS]);
  const probes = tensor(digits.test.images.subarray(0, PROBES * PIXELS), [PROBES, PIXELS]);
  const probe = beforeLastActivation(net);

  const run: Run = {
    setting,
    batchNorm,
    seed,
    steps: [],
    accuracy: [],
    loss: [],
    percentiles: [],
    saturatedUnits: [],
    millisecondsPerStep: 0,
    net,
  };
  const units: [number, number, number][][] = [];
  let order = random.permutation(count);
  let next = 0;
  let spent = 0;
  let recent = 0;
  let recentSteps = 0;
  for (let step = 1; step <= steps; step++) {
    const start = performance.now();
    if (next + BATCH > count) {
      order = random.permutation(count);
      next = 0;
    }
    const { data } = x;
    for (let i = 0; i < BATCH; i++, next++) {
      data.set(images.subarray(order[next] * PIXELS, (order[next] + 1) * PIXELS), i * PIXELS);
      batchLabels[i] = labels[order[next]];
    }
    const { loss, grad } = crossEntropy(net.forward(x), batchLabels);
    net.zeroGrad();
    net.backward(grad, { inputGradient: false });
    optimizer.lr = setting.lr * (1 - (step - 1) / steps);
    optimizer.step();
    spent += performance.now() - start;
    recent += loss;
    recentSteps++;

    if (step % every === 0 || step === steps) {
      net.eval();
      run.steps.push(step);
      run.loss.push(recent / recentSteps);
      run.accuracy.push(accuracyOf(net.forward(test).data, digits.test));
      probe.eval();
      const { data: inputs } = probe.forward(probes);
      units.push(percentilesByUnit(inputs));
      run.saturatedUnits.push(saturatedPerDigit(inputs, SATURATION[setting.activation]));
      net.train();
      recent = recentSteps = 0;
      report({
        step,
        loss: run.loss.at(-1)!,
        accuracy: run.accuracy.at(-1)!,
        imagesPerSecond: (step * BATCH * 1000) / spent,
      });
    }
  }
  run.millisecondsPerStep = spent / steps;
  const typical = typicalUnit(units.at(-1)!);
  run.percentiles = units.map((all) => all[typical]);
  for (const t of [x, test, probes]) t.dispose();
  return run;
}

/** Share of rows whose largest logit is the label's. */
export function accuracyOf(logits: Float32Array, { labels, count }: Digits): number {
  const classes = logits.length / count;
  let right = 0;
  for (let n = 0; n < count; n++) {
    let best = 0;
    for (let c = 1; c < classes; c++) if (logits[n * classes + c] > logits[n * classes + best]) best = c;
    if (best === labels[n]) right++;
  }
  return right / count;
}

function percentilesByUnit(values: Float32Array): [number, number, number][] {
  const units = values.length / PROBES;
  return Array.from({ length: units }, (_, unit) => {
    const sorted = Float32Array.from({ length: PROBES }, (_, n) => values[n * units + unit]).sort();
    return [0.15, 0.5, 0.85].map((share) => sorted[Math.round(share * (PROBES - 1))]) as [number, number, number];
  });
}

function saturatedPerDigit(values: Float32Array, limit: number): number {
  return values.reduce((sum, value) => sum + (Math.abs(value) > limit ? 1 : 0), 0) / PROBES;
}

/** The unit whose spread is the median of all spreads. */
function typicalUnit(units: readonly [number, number, number][]): number {
  const order = units.map((_, i) => i).sort((a, b) => units[a][2] - units[a][0] - (units[b][2] - units[b][0]));
  return order[order.length >> 1];
}
