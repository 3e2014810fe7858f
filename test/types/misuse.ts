// What must not compile. Each line would be an error at run time too.

import {
  AdamW,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  batches,
  CosineLR,
  crossEntropy,
  Graph,
  Linear,
  namedParameters,
  ReLU,
  Sequential,
  SGD,
  StepLR,
  saveCheckpoint,
  tensor,
  WarmUp,
} from 'evenkeel';

const data = new Float32Array(6);

// @ts-expect-error a misspelt layout
new BatchNorm2d(3, { layout: 'channel-last' });
// @ts-expect-error momentum is a number, or null
new BatchNorm2d(3, { momentum: '0.1' });
// @ts-expect-error no such option
new BatchNorm2d(3, { epsilon: 1e-3 });
// @ts-expect-error no such activation
new BatchNorm2d(3, { activation: 'swish' });
// @ts-expect-error a slope is leaky-relu's
new BatchNorm2d(3, { activation: { name: 'elu', slope: 0.1 } });
// @ts-expect-error no such framework
BatchNorm.preset('pytorch');
// @ts-expect-error rank 2 for a layer of rank 5
new BatchNorm3d(3).forward({ data, shape: [2, 3] });
// @ts-expect-error the same by its other name
new BatchNorm3d(3).forward({ data, dims: [2, 3] });
// @ts-expect-error rank 4 for a layer of rank 2 or 3
new BatchNorm1d(3).forward({ data, shape: [1, 3, 2, 1] });
// @ts-expect-error a Float64Array
new BatchNorm1d(3).forward({ data: new Float64Array(6), shape: [2, 3] });
// @ts-expect-error no shape
new BatchNorm1d(3).forward({ data });
// @ts-expect-error a function is no layer
new Sequential(new Linear(3, 3), Math.tanh);
// @ts-expect-error an input that the graph does not have
new Graph({ x: [3] }, (g, { y }) => g.apply('act', new ReLU(), y));
// @ts-expect-error a layer in place of a value
new Graph({ x: [3] }, (g) => g.apply('act', new ReLU(), new ReLU()));
// @ts-expect-error a number in place of an output
new Graph({ x: [3] }, () => 3);
// @ts-expect-error betas are Adam's
new SGD([], { betas: [0.9, 0.99] });
// @ts-expect-error a group has parameters
new AdamW([{ lr: 0.1 }]);
// @ts-expect-error a schedule has steps
new CosineLR(new SGD([]), {});
// @ts-expect-error no such reduction
crossEntropy({ data, shape: [2, 3] }, [0, 1], { reduction: 'average' });
// @ts-expect-error batches have a size
batches([1, 2], {});
// @ts-expect-error numbers have no state
saveCheckpoint('file', { epoch: 3 });

// What must.
const bn = new BatchNorm1d(3, { momentum: null, layout: 'channels-last', activation: { name: 'elu', alpha: 0.5 } });
const plain: { data: Float32Array; shape: number[] } = bn.forward({ data, shape: [2, 3] });
const named: { data: Float32Array; dims: number[] } = bn.forward({ data, dims: [2, 3] });
const shape: readonly number[] = [2, 3];
new BatchNorm3d(3).forward({ data, shape }); // a rank that is not known is found out at run time
new BatchNorm(3).forward({ data, shape: [2, 3] });
const t = tensor(data, [2, 3]);
const y: typeof t = bn.forward(t, { out: t });
const layer: BatchNorm = bn; // the name is a type as well
new Sequential(new Linear(3, 3), layer, new ReLU());
const chain = new Graph({ x: [3] }, (g, { x }) => g.apply('fc', new Linear(3, 3), x));
const fromChain: { data: Float32Array; shape: number[] } = chain.forward({ data, shape: [2, 3] });
const split = new Graph({ a: [3], b: [null] }, (g, { a, b }) => ({ sum: g.add(a, b), last: g.concat([a, b], -1) }));
const parts: { sum: typeof t; last: typeof t } = split.forward({ a: t, b: t });
split.backward({ sum: parts.sum });
new Sequential(chain, new ReLU());
const nested = new Graph({ x: [3] }, (g, { x }) => {
  const { sum, last } = g.apply('split', split, { a: x, b: x });
  return g.concat([sum, last], 1);
});
const adamw = new AdamW([{ parameters: namedParameters(chain), lr: 0.1 }, { parameters: bn.parameters() }], {
  decayNorms: false,
});
adamw.groups[1].betas = [0.9, 0.95];
const schedule = new WarmUp(new StepLR(adamw, { stepSize: 3 }), { steps: 2 });
const mean: number = crossEntropy({ data, shape: [2, 3] }, [0, 1]).loss;
const each: Float64Array = crossEntropy({ data, shape: [2, 3] }, [0, 1], { reduction: 'none' }).loss;
const grad: typeof t = crossEntropy(t, t).grad;
for (const pair of batches([1, 2], { size: 2 })) pair.map((item: number) => item + mean + each[0]);
async function* lines() {
  yield 'a';
}
export async function train() {
  for await (const batch of batches(lines(), { size: 2 })) batch.map((line: string) => line.length);
  await saveCheckpoint('file', { net: chain, optimizer: adamw, schedule });
}

export { fromChain, grad, named, nested, plain, y };
