// Other last layers for a network from a file: the one that says whether a digit stands or lies
// learns to say which digit it is. Its batch norms are frozen, and of its convolutions the last one
// alone learns on.
//
//   npx tsx examples/direction/fine-tune.ts

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { Adam, crossEntropy, Graph, Linear, Random } from 'evenkeel';
import { loadNetwork } from 'evenkeel/weights';
import { loadDigits } from '../digits/data.ts';
import { type Digits, PIXELS } from '../digits/digits.ts';
import { SMALL } from './model.ts';
import { digitAt, SIDE } from './turned.ts';

const BATCH = 50;

export interface Tuned {
  readonly network: Graph;
  /** Of the digits that are held out. */
  readonly accuracy: number;
  /** As many parameters as learned. */
  readonly learned: number;
}

/** Puts ten outputs on the features of `small.onnx`, and trains them and the last convolution. */
export async function fineTune({ train, test }: { train: Digits; test: Digits }, epochs = 4): Promise<Tuned> {
  const trunk = await loadNetwork(readFileSync(SMALL.path), { outputs: ['features'] });
  if (!trunk.report.trainable) throw new Error(trunk.report.reason!);
  // batch norms keep their statistics, and gamma and beta are given to no optimiser
  for (const layer of trunk.layers.values()) (layer as { freeze?(): void }).freeze?.();
  const [, channels] = trunk.outputs[0].shape;
  const head = new Linear(channels!, 10, { seed: 4 });
  const network = new Graph({ image: [1, SIDE, SIDE] }, (g, { image }) =>
    g.apply('head', head, g.apply('trunk', trunk, image)),
  );
  network.train(); // frozen batch norms go on with the statistics of the file
  const learning = [...trunk.layers.get('conv3')!.parameters(), ...head.parameters()];
  const optimizer = new Adam(learning, { lr: 0.01 });
  const random = new Random(6);
  for (let epoch = 0; epoch < epochs; epoch++) {
    optimizer.lr = 0.01 * 0.5 ** epoch;
    const order = random.permutation(train.count);
    for (let at = 0; at + BATCH <= train.count; at += BATCH) {
      const rows = order.subarray(at, at + BATCH);
      const { grad } = crossEntropy(
        network.forward(batchOf(train, rows)),
        Array.from(rows, (row) => train.labels[row]),
      );
      network.zeroGrad();
      network.backward(grad, { inputGradient: false });
      optimizer.step();
    }
  }
  const run = network.eval().compile();
  const rows = Uint32Array.from({ length: test.count }, (_, i) => i);
  const { data } = run(batchOf(test, rows)) as { data: Float32Array };
  let right = 0;
  for (let i = 0; i < test.count; i++) {
    const row = data.subarray(10 * i, 10 * i + 10);
    if (row.indexOf(Math.max(...row)) === test.labels[i]) right++;
  }
  const learned = learning.reduce((sum, { data }) => sum + data.length, 0);
  return { network, accuracy: right / test.count, learned };
}

function batchOf(digits: Digits, rows: Uint32Array) {
  const data = new Float32Array(rows.length * PIXELS);
  rows.forEach((row, i) => {
    data.set(
      digitAt(digits, row, false).map((value) => 2 * value - 1),
      i * PIXELS,
    );
  });
  return { data, shape: [rows.length, 1, SIDE, SIDE] };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { accuracy, learned } = await fineTune(loadDigits());
  console.log(`${(100 * accuracy).toFixed(1)} % of the held-out digits right, with ${learned} numbers learned`);
}
