// Bytes of garbage per run of a compiled network, on tensors and on plain arrays, printed as JSON.
// Needs --expose-gc and --min-semi-space-size=64: no collection may come between two measurements,
// which a kilobyte per run, 20 MB, does not fill.

import { BatchNorm1d, Linear, Residual, Sequential, Tanh, tensor, zeros } from 'evenkeel';

const net = new Sequential(
  new Linear(16, 16),
  new BatchNorm1d(16),
  new Tanh(),
  new Residual(new Linear(16, 16)),
  new Linear(16, 4),
).eval();
const run = net.compile({ maxBatch: 8 });
const values = Float32Array.from({ length: 128 }, (_, i) => i / 100);
const calls = {
  tensors: [tensor(values, [8, 16]), { out: zeros([8, 4]) }],
  arrays: [{ data: values, shape: [8, 16] }, { out: { data: new Float32Array(32), shape: [8, 4] } }],
};
const result = {};
for (const [name, [x, options]] of Object.entries(calls)) {
  for (let i = 0; i < 20_000; i++) run(x, options);
  const rounds = 20_000;
  let least = Number.POSITIVE_INFINITY;
  for (let k = 0; k < 5; k++) {
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < rounds; i++) run(x, options);
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / rounds);
  }
  result[name] = Math.max(least, 0);
}
console.log(JSON.stringify(result));
