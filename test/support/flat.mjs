// A program of its own: 100,000 rounds in one synchronous loop, twice, after as many in which the collector finds the size of its heap. Prints resident bytes
// after the first fifth and at the end of each.

import { BatchNorm1d, BatchNorm2d, crossEntropy, Linear, Sequential, SGD, Tanh } from '../../dist/index.js';

const ROUNDS = 100_000;
const values = (length) => Float32Array.from({ length }, (_, i) => Math.sin(i * i));

function measure(round) {
  const resident = [];
  for (let i = -ROUNDS; i < ROUNDS; i++) {
    round(i + ROUNDS);
    if (i === ROUNDS / 5 || i === ROUNDS - 1) resident.push(process.memoryUsage().rss);
  }
  return resident;
}

const bn = new BatchNorm2d(3, { activation: 'relu' });
const sizes = [1, 2, 3, 5, 8].map((n) => {
  const shape = [n, 3, 2, 3];
  return { x: { data: values(n * 18), shape }, dy: { data: values(n * 18), shape } };
});
const layer = measure((i) => {
  const { x, dy } = sizes[i % 5];
  bn.forward(x);
  bn.backward(dy);
});

const net = new Sequential(
  new Linear(4, 8, { seed: 1 }),
  new BatchNorm1d(8),
  new Tanh(),
  new Linear(8, 3, { seed: 2 }),
);
const optimizer = new SGD(net.parameters(), { lr: 0.01, momentum: 0.9 });
const x = { data: values(24), shape: [6, 4] };
const network = measure(() => {
  const { grad } = crossEntropy(net.forward(x), [0, 1, 2, 0, 1, 2]);
  net.zeroGrad();
  net.backward(grad);
  optimizer.step();
});

console.log(JSON.stringify({ layer, network }));
