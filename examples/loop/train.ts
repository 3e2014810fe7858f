// A training loop as a first one is written: npx tsx examples/loop/train.ts [CHECKPOINT]

import {
  AdamW,
  accuracy,
  batches,
  CosineLR,
  clipGradNorm,
  crossEntropy,
  namedParameters,
  saveCheckpoint,
  stack,
  WarmUp,
} from 'evenkeel';
import { digitConvnet } from 'evenkeel/models';
import { held, source, test } from './source.ts';

const net = digitConvnet({ width: 8, seed: 1 });
const data = batches(source, { size: 50, shuffle: 1000, seed: 1 });
const optimizer = new AdamW(namedParameters(net), { lr: 4e-3, weightDecay: 0.05, decayNorms: false });
const schedule = new WarmUp(new CosineLR(optimizer, { steps: 1020 }), { steps: 100 });
let best = { epoch: 0, share: 0, state: net.stateDict() };
for (let epoch = 1; epoch <= 8 && epoch - best.epoch <= 3; epoch++) {
  net.train();
  for await (const batch of data) {
    const logits = net.forward(stack(batch.map(({ x }) => x)));
    const { grad } = crossEntropy(logits, Uint8Array.from(batch.map(({ label }) => label)));
    optimizer.zeroGrad();
    net.backward(grad, { inputGradient: false });
    clipGradNorm(net.parameters(), 1);
    optimizer.step();
    schedule.step();
  }
  const share = accuracy(net.eval().forward(held.x), held.labels);
  if (share > best.share) best = { epoch, share, state: net.stateDict() };
  const metadata = { epoch: `${epoch}`, accuracy: `${share}` };
  await saveCheckpoint(process.argv[2] ?? 'digits.safetensors', { net, optimizer, schedule, data }, { metadata });
  console.log(`epoch ${epoch}: ${(100 * share).toFixed(2)} % of 1000 held-out digits`);
}
net.loadStateDict(best.state);
const share = accuracy(net.eval().forward(test.x), test.labels);
console.log(`epoch ${best.epoch} kept: ${(100 * share).toFixed(2)} % of 2000 others`);
