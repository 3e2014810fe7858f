// garbage.mjs [convolutions]
//
// Bytes of garbage per run of a compiled network, on tensors and on plain arrays, printed as JSON.
// Needs --expose-gc and --min-semi-space-size=64: no collection may come between two measurements,
// which a kilobyte per run, 20 MB, does not fill.

import {
  BatchNorm1d,
  BatchNorm2d,
  Conv2d,
  Flatten,
  GlobalAvgPool,
  Linear,
  MaxPool2d,
  ReLU,
  Residual,
  Sequential,
  Tanh,
  tensor,
  zeros,
} from 'evenkeel';

const small = () =>
  new Sequential(
    new Linear(16, 16),
    new BatchNorm1d(16),
    new Tanh(),
    new Residual(new Linear(16, 16)),
    new Linear(16, 4),
  );

/** Every kind of product of convolutions: by tables, 3 × 3 on whole images, depthwise. */
const same = { padding: 1, bias: false };
const convnet = () =>
  new Sequential(
    new Conv2d(3, 32, 3, { ...same, stride: 2 }),
    new BatchNorm2d(32),
    new ReLU(),
    new Residual(new Conv2d(32, 32, 3, same), new BatchNorm2d(32)),
    new Conv2d(32, 32, 3, { ...same, groups: 32 }),
    new Conv2d(32, 8, 1),
    new MaxPool2d(2),
    new GlobalAvgPool(),
    new Flatten(),
    new Linear(8, 4),
  );

const [make, shape] = process.argv[2] === 'convolutions' ? [convnet, [8, 3, 8, 8]] : [small, [8, 16]];
const run = make()
  .eval()
  .compile({ maxBatch: 8, inputShape: shape.slice(1) });
const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i / 1000);
const calls = {
  tensors: [tensor(values, shape), { out: zeros([8, 4]) }],
  arrays: [{ data: values, shape }, { out: { data: new Float32Array(32), shape: [8, 4] } }],
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
