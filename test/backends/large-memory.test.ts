// Half of the address space lies beyond 2 GiB, where an address is negative as an i32.

import { expect, test } from 'vitest';
import { BatchNorm2d, crossEntropy, Linear, Sequential, tensor } from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { lopsided, normals } from '../support/data.ts';

test('layers give the same results beyond 2 GiB', () => {
  const run = () => {
    const shape = [3, 5, 7, 6];
    const bn = new BatchNorm2d(5, { activation: 'tanh' });
    const x = tensor(lopsided(1, shape), shape);
    const dy = tensor(normals(2, 630), shape);
    const y = bn.forward(x);
    const dx = bn.backward(dy);
    const plain = bn.eval().forward({ data: x.data, shape }).data;
    const net = new Sequential(new Linear(4, 6, { seed: 1 }), new Linear(6, 3, { seed: 2 }));
    const { loss, grad } = crossEntropy(net.forward({ data: normals(3, 8), shape: [2, 4] }), [0, 2]);
    net.backward(grad);
    const compiled = net.compile()({ data: normals(3, 8), shape: [2, 4] }).data;
    const all = [y.data, dx.data, plain, compiled, bn.savedMean ?? [], bn.runningMean!, bn.runningVar!, bn.gamma!.grad];
    const parameters = net.parameters().flatMap(({ grad: values }) => [...values]);
    const result = [loss, ...all.flatMap((values) => [...values]), ...parameters];
    for (const held of [x, dy, y, dx, bn, net]) held.dispose();
    return result;
  };
  const below = run();
  const { heap } = backend();
  const block = heap.alloc(2 ** 31 + 2 ** 20); // reserved, never touched
  const fillers = [block]; // so that nothing fits below
  while (fillers[fillers.length - 1] < 2 ** 31) fillers.push(heap.alloc(64));
  expect(run()).toEqual(below);
  for (const at of fillers) heap.free(at);
});
