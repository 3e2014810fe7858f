// npm run test:soak [-- --requests 1000000] [--kills 100] [--clients 256] [--seed 1]
//
// A pool under load whose workers are killed at random: no answer is lost, none is another's, and
// memory stays where it is.

import { readArguments } from '../../scripts/arguments.ts';
import { BatchNorm1d, Linear, ReLU, Sequential } from '../../src/index.ts';
import { Random } from '../../src/nn/random.ts';
import { pools } from '../support/pool.ts';
import { soak } from './soak.ts';

const values = readArguments({
  options: {
    requests: { type: 'string', default: '1000000' },
    kills: { type: 'string', default: '100' },
    clients: { type: 'string', default: '256' },
    seed: { type: 'string', default: '1' },
  },
});
const random = new Random(Number(values.seed));
const net = new Sequential(
  new Linear(784, 100, { seed: 1 }),
  new BatchNorm1d(100),
  new ReLU(),
  new Linear(100, 10, { seed: 2 }),
);
net.eval();
const workers = await pools();
try {
  const started = performance.now();
  const found = await soak({
    workers,
    net,
    features: 784,
    requests: Number(values.requests),
    kills: Number(values.kills),
    clients: Number(values.clients),
    random: () => random.uniform(),
    progress: (line) => console.log(line),
  });
  console.log(
    `${found.answered} of ${found.asked} answered, ${found.wrong} wrong, ${found.failed} failed; ${found.kills} kills, ${found.restarts} workers replaced; ${((performance.now() - started) / 1000).toFixed(0)} s`,
  );
  console.log(`resident memory: ${found.memory.map((bytes) => (bytes / 2 ** 20).toFixed(0)).join(', ')} MiB`);
  if (found.answered !== found.asked || found.wrong || found.failed) process.exitCode = 1;
} finally {
  workers.remove();
}
