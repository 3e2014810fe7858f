// A compiled network in a bare loop, on a thread of its own: what a pool is compared with.

import { parentPort, workerData } from 'node:worker_threads';
import { activations, convolutions, load, merging } from 'evenkeel/infer';

const { file, shape, seconds } = workerData;
const run = load(file, { operations: [convolutions, merging, activations] });
const x = { data: new Float32Array(shape.reduce((size, length) => size * length, 1)).fill(0.5), shape };
const out = { ...run(x) };
// all threads begin at the same time
parentPort.postMessage('ready');
parentPort.once('message', () => {
  let rows = 0;
  const started = performance.now();
  while (performance.now() - started < seconds * 1000) {
    run(x, { out });
    rows += shape[0];
  }
  parentPort.postMessage((rows * 1000) / (performance.now() - started));
  parentPort.close();
});
