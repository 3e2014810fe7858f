// How much memory a training step of ResNet-18 takes, in a process of its own: tsx
// test/support/training-memory.ts prints JSON.

import { existsSync, readFileSync } from 'node:fs';
import { crossEntropy, SGD, tensor } from '../../src/index.ts';
import { resnet } from '../../src/models/index.ts';
import { noise } from './torchvision.ts';

const net = resnet(18, { seed: 1 });
const optimizer = new SGD(net.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
const x = tensor(noise(8 * 3 * 64 * 64, 1), [8, 3, 64, 64]);
const losses: number[] = [];
for (let step = 0; step < 3; step++) {
  const { loss, grad } = crossEntropy(net.forward(x), [0, 1, 2, 3, 4, 5, 6, 7]);
  net.zeroGrad();
  net.backward(grad, { inputGradient: false });
  optimizer.step();
  losses.push(loss);
}
// what the kernel counts from exec on; its resource usage counts the process that forked as well
const high = existsSync('/proc/self/status') && /VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
const peak = (high ? Number(high[1]) : process.resourceUsage().maxRSS) * 1024;
console.log(JSON.stringify({ losses, peak }));
