// A program of its own: one workload in one synchronous loop, where no finalizer runs. Prints what
// is kept after every 10,000 rounds: bytes on the heap and in buffers after a collection, bytes of
// linear memory, resident bytes. Needs --expose-gc, and --max-semi-space-size, so that the
// collector's room for new objects stays as it is and resident memory shows what is kept.

import { BatchNorm1d, BatchNorm2d, crossEntropy, info, Linear, Sequential, SGD, Tanh } from '../../dist/index.js';

const POINTS = 11;
const ROUNDS = 10_000;
/**
 * Warm-up ends when a point differs from the one before by fewer bytes, or after so many points.
 */
const STEADY = 32_768;
const MOST_WARM_UPS = 30;

const values = (length) => Float32Array.from({ length }, (_, i) => Math.sin(i * i));

const workloads = {
  layer() {
    const bn = new BatchNorm2d(3, { activation: 'relu' });
    const sizes = [1, 2, 3, 5, 8].map((n) => {
      const shape = [n, 3, 2, 3];
      return { x: { data: values(n * 18), shape }, dy: { data: values(n * 18), shape } };
    });
    return (i) => {
      const { x, dy } = sizes[i % 5];
      bn.forward(x);
      bn.backward(dy);
    };
  },
  network() {
    const net = new Sequential(
      new Linear(4, 8, { seed: 1 }),
      new BatchNorm1d(8),
      new Tanh(),
      new Linear(8, 3, { seed: 2 }),
    );
    const optimizer = new SGD(net.parameters(), { lr: 0.01, momentum: 0.9 });
    const x = { data: values(24), shape: [6, 4] };
    return () => {
      const { grad } = crossEntropy(net.forward(x), [0, 1, 2, 0, 1, 2]);
      net.zeroGrad();
      net.backward(grad);
      optimizer.step();
    };
  },
};

/**
 * What is kept now: the least that several collections leave, as compilers work beside the loop.
 */
function kept() {
  let live = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    live = Math.min(live, heapUsed + external);
  }
  return { live, linear: info().memory, resident: process.memoryUsage.rss() };
}

const round = workloads[process.argv[2]]();
function rounds() {
  for (let i = 0; i < ROUNDS; i++) round(i);
  return kept();
}

let before = rounds();
for (let i = 0; i < MOST_WARM_UPS; i++) {
  const now = rounds();
  const added = Math.abs(now.live - before.live);
  before = now;
  if (i >= 2 && added < STEADY) break;
}
const points = [before];
while (points.length < POINTS) points.push(rounds());
console.log(JSON.stringify(points));
