// Trains the network that the functions serve, compiles it, and writes it down as a module: a
// function has no files. The same seed, the same network.
//
//   npx tsx examples/serverless/shared/train.ts

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BatchNorm1d, crossEntropy, Linear, Random, Sequential, SGD } from 'evenkeel';
import { loadDigits } from '../../digits/data.ts';
import { type Digits, PIXELS } from '../../digits/digits.ts';

const HIDDEN = 24;
const EPOCHS = 12;
const BATCH = 50;

const { train, test } = loadDigits();
const net = new Sequential(
  new Linear(PIXELS, HIDDEN, { seed: 1 }),
  new BatchNorm1d(HIDDEN, { layout: 'channels-last', activation: 'relu' }),
  new Linear(HIDDEN, 10, { seed: 2 }),
);
const optimizer = new SGD(net.parameters(), { lr: 0.2, momentum: 0.9, weightDecay: 1e-4 });
const random = new Random(3);
for (let epoch = 0; epoch < EPOCHS; epoch++) {
  optimizer.lr = 0.2 * 0.7 ** epoch;
  const order = random.permutation(train.count);
  for (let at = 0; at + BATCH <= train.count; at += BATCH) {
    const rows = order.subarray(at, at + BATCH);
    const { grad } = crossEntropy(
      net.forward(imagesAt(train, rows)),
      Array.from(rows, (row) => train.labels[row]),
    );
    net.zeroGrad();
    net.backward(grad, { inputGradient: false });
    optimizer.step();
  }
}
const run = net.eval().compile();
const logits = run({ data: test.images, shape: [test.count, PIXELS] }).data;
let right = 0;
for (let i = 0; i < test.count; i++) {
  const row = logits.subarray(i * 10, i * 10 + 10);
  if (row.indexOf(Math.max(...row)) === test.labels[i]) right++;
}
const file = Buffer.from(run.save()).toString('base64');
const text = `// A compiled network, 784-${HIDDEN}-10: ${((100 * right) / test.count).toFixed(1)} % of ${test.count} held-out digits. train.ts made it.\nexport default '${file}';\n`;
writeFileSync(fileURLToPath(new URL('./network.js', import.meta.url)), text);
console.log(text.split('\n')[0]);

function imagesAt({ images }: Digits, rows: ArrayLike<number>) {
  const data = new Float32Array(rows.length * PIXELS);
  Array.from(rows).forEach((row, i) => {
    data.set(images.subarray(row * PIXELS, (row + 1) * PIXELS), i * PIXELS);
  });
  return { data, shape: [rows.length, PIXELS] };
}
