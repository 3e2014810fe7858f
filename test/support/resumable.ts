// A training run that can be stopped and resumed, here and in a process of its own:
// tsx test/support/resumable.ts OPTIMIZER FROM TO CHECKPOINT prints the hash of where it ends.

import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import {
  Adam,
  AdamW,
  BatchNorm1d,
  BatchRenorm,
  batches,
  CosineLR,
  checkpointBytes,
  clipGradNorm,
  crossEntropy,
  Dropout,
  EMA,
  Linear,
  loadCheckpoint,
  namedParameters,
  OneCycle,
  Random,
  ReLU,
  Residual,
  RMSprop,
  type Schedule,
  Sequential,
  SGD,
  StepLR,
  saveCheckpoint,
  stack,
  WarmUp,
} from '../../src/index.ts';

const STEPS = 200;

/** Optimizers, each with another schedule around it. */
const KINDS = {
  sgd: (net: Sequential) => {
    const optimizer = new SGD(net.parameters(), { lr: 0.05, momentum: 0.9, dampening: 0.1, weightDecay: 1e-3 });
    return { optimizer, schedule: new StepLR(optimizer, { stepSize: 60, factor: 0.5 }) };
  },
  nesterov: (net: Sequential) => {
    const optimizer = new SGD(namedParameters(net), { lr: 0.05, momentum: 0.9, nesterov: true });
    return { optimizer, schedule: new OneCycle(optimizer, { max: 0.1, steps: STEPS, momentum: [0.85, 0.95] }) };
  },
  adam: (net: Sequential) => {
    const optimizer = new Adam(namedParameters(net), { lr: 0.01, amsgrad: true });
    return { optimizer, schedule: new CosineLR(optimizer, { steps: STEPS }) };
  },
  adamw: (net: Sequential) => {
    const optimizer = new AdamW(namedParameters(net), { lr: 0.01, weightDecay: 0.05, decayNorms: false });
    return { optimizer, schedule: new WarmUp(new CosineLR(optimizer, { steps: 180 }), { steps: 20 }) };
  },
  rmsprop: (net: Sequential) => {
    const optimizer = new RMSprop(net.parameters(), { lr: 0.003, centered: true, momentum: 0.5 });
    return { optimizer, schedule: new StepLR(new CosineLR(optimizer, { steps: 300 }), { stepSize: 50 }) };
  },
};

export type Kind = keyof typeof KINDS;
export const KIND_NAMES = Object.keys(KINDS) as Kind[];

/**
 * Everything of a run, made anew; seeds differ where the checkpoint has to bring the generators.
 */
function build(kind: Kind, seed: number) {
  const samples = new Random(3);
  const items = Array.from({ length: 50 }, () => {
    const x = Array.from({ length: 6 }, () => samples.normal());
    return { x, label: x[0] * x[1] > 0 ? 1 : x[2] > 0.5 ? 2 : 0 };
  });
  const net = new Sequential(
    new Linear(6, 12, { seed: 1 }),
    new BatchNorm1d(12),
    new ReLU(),
    new Dropout(0.2, { seed }),
    new Residual(new Linear(12, 12, { seed: 2 }), new BatchRenorm(12), new Dropout(0.1, { seed: seed + 1 })),
    new Linear(12, 3, { seed: 4 }),
  );
  const { optimizer, schedule }: { optimizer: SGD | Adam | AdamW | RMSprop; schedule: Schedule } = KINDS[kind](net);
  const ema = new EMA(namedParameters(net), { decay: 0.95, warmUp: true });
  // 13 batches an epoch: step 73 lies inside one
  const data = batches(items, { size: 4, shuffle: true, seed });
  const random = new Random(seed + 2);
  return { net, optimizer, schedule, ema, data, random };
}

/**
 * Steps `from` to `to`; from a checkpoint where `from` is not 0, and to one where there is a file.
 */
export async function run(kind: Kind, from: number, to: number, file?: string): Promise<string> {
  const all = build(kind, from === 0 ? 10 : 77);
  if (from > 0) await loadCheckpoint(file!, all);
  const { net, optimizer, schedule, ema, data, random } = all;
  let step = from;
  while (step < to) {
    for (const batch of data) {
      const x = stack(batch.map(({ x }) => x));
      for (let i = 0; i < x.data.length; i++) x.data[i] += 0.05 * random.normal();
      const labels = batch.map(({ label }) => label);
      net.zeroGrad();
      net.backward(crossEntropy(net.forward(x), labels, { labelSmoothing: 0.1 }).grad);
      clipGradNorm(net.parameters(), 1);
      optimizer.step();
      schedule.step();
      ema.update();
      if (++step >= to) break;
    }
  }
  if (from === 0 && file) await saveCheckpoint(file, all);
  return createHash('sha256').update(checkpointBytes(all)).digest('hex');
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [kind, from, to, file] = process.argv.slice(2);
  console.log(await run(kind as Kind, Number(from), Number(to), file));
}
