// Trains the small network of this example, which says whether a digit stands or lies, and writes
// it as PyTorch's exporter would: small.onnx. The same seed, the same network.
//
//   npx tsx examples/direction/train.ts

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Flatten,
  GlobalAvgPool,
  Linear,
  Random,
  ReLU,
  Sequential,
  SGD,
} from 'evenkeel';
import { nodeField, tensorField, valueField, writeModel } from '../../src/formats/onnx-write.ts';
import { lengthField } from '../../src/formats/protobuf.ts';
import { loadDigits } from '../digits/data.ts';
import { PIXELS } from '../digits/digits.ts';
import { digitAt, SIDE } from './turned.ts';

const CHANNELS = [1, 8, 16, 32];
const EPOCHS = 4;
const BATCH = 50;

const conv = (i: number) =>
  new Conv2d(CHANNELS[i], CHANNELS[i + 1], 3, { stride: 2, padding: 1, bias: false, seed: i + 1 });
const convs = [conv(0), conv(1), conv(2)];
const norms = convs.map((_, i) => new BatchNorm2d(CHANNELS[i + 1]));
const head = new Linear(CHANNELS[3], 2, { seed: 9 });
const blocks = convs.flatMap((layer, i) => [layer, norms[i], new ReLU()]);
const net = new Sequential(...blocks, new GlobalAvgPool(), new Flatten(), head);

const { train, test } = loadDigits();
const batch = (digits: typeof train, rows: ArrayLike<number>, isTurned: (row: number) => boolean) => {
  const data = new Float32Array(rows.length * PIXELS);
  Array.from(rows).forEach((row, i) => {
    data.set(
      digitAt(digits, row, isTurned(row)).map((value) => 2 * value - 1),
      i * PIXELS,
    );
  });
  return { data, shape: [rows.length, 1, SIDE, SIDE] };
};
const optimizer = new SGD(net.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
const random = new Random(5);
for (let epoch = 0; epoch < EPOCHS; epoch++) {
  optimizer.lr = 0.1 * 0.4 ** epoch;
  const order = random.permutation(train.count);
  for (let at = 0; at + BATCH <= train.count; at += BATCH) {
    const rows = order.subarray(at, at + BATCH);
    const turned = new Set(Array.from(rows).filter(() => random.uniform() < 0.5));
    const x = batch(train, rows, (row) => turned.has(row));
    const { grad } = crossEntropy(
      net.forward(x),
      Array.from(rows, (row) => Number(turned.has(row))),
    );
    net.zeroGrad();
    net.backward(grad, { inputGradient: false });
    optimizer.step();
  }
}
const run = net.eval().compile();
let right = 0;
for (const isTurned of [false, true]) {
  const { data } = run(
    batch(
      test,
      Array.from({ length: test.count }, (_, i) => i),
      () => isTurned,
    ),
  );
  for (let i = 0; i < test.count; i++) right += Number(data[2 * i + 1] > data[2 * i] === isTurned);
}

const weights: Uint8Array[] = [];
const store = (name: string, { data, shape }: { data: ArrayLike<number>; shape: readonly number[] }) => {
  weights.push(tensorField(5, name, Float32Array.from(data), shape));
  return name;
};
const nodes = convs.flatMap((layer, i) => {
  const name = `conv${i + 1}`;
  const norm = norms[i].stateDict();
  const weight = store(`${name}.weight`, layer.stateDict().weight);
  const own = { gamma: 'weight', beta: 'bias', runningMean: 'running_mean', runningVar: 'running_var' };
  const given = Object.entries(own).map(([key, leaf]) => store(`bn${i + 1}.${leaf}`, norm[key]));
  const x = i === 0 ? 'image' : `relu${i}`;
  return [
    nodeField('Conv', name, [x, weight], [name], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
    nodeField('BatchNormalization', `bn${i + 1}`, [name, ...given], [`bn${i + 1}`], { epsilon: { float: 1e-5 } }),
    nodeField('Relu', `relu${i + 1}`, [`bn${i + 1}`], [`relu${i + 1}`]),
  ];
});
const { weight, bias } = head.stateDict();
const file = writeModel(
  [
    ...nodes,
    nodeField('GlobalAveragePool', 'pool', ['relu3'], ['pool']),
    nodeField('Flatten', 'features', ['pool'], ['features'], { axis: 1 }),
    nodeField('Gemm', 'head', ['features', store('head.weight', weight), store('head.bias', bias)], ['logits'], {
      transB: 1,
    }),
    nodeField('Softmax', 'softmax', ['logits'], ['probabilities'], { axis: 1 }),
    lengthField(2, 'direction'),
    ...weights,
    valueField(11, 'image', ['n', 1, SIDE, SIDE]),
    valueField(12, 'probabilities', ['n', 2]),
  ],
  13,
);
writeFileSync(fileURLToPath(new URL('./small.onnx', import.meta.url)), file);
console.log(`${file.length} bytes: ${((100 * right) / (2 * test.count)).toFixed(1)} % of ${2 * test.count} right`);
