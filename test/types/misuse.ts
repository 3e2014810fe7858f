// What must not compile. Each line would be an error at run time too.

import {
  ActivationLayer,
  Adam,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  type Diagnosis,
  DomainBatchNorm,
  Dropout,
  Graph,
  type GraphBuilder,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  Layer,
  LayerNorm,
  Linear,
  LogSoftmax,
  Moments,
  Network,
  Optimizer,
  Random,
  RecurrentBatchNorm1d,
  ReLU,
  Residual,
  RMSNorm,
  Sequential,
  SGD,
  Sigmoid,
  Softmax,
  Tanh,
  type Tensor,
  tensor,
  type Value,
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

// Norms
// @ts-expect-error runs of no layout
new BatchNorm1d(3).forward({ data, shape: [2, 3] }, { length: [1, 1] });
// @ts-expect-error a bound of r is a number or a function
new BatchRenorm(3, { rMax: '3' });
// @ts-expect-error no such framework's conventions
BatchRenorm.conventions('torch');
// @ts-expect-error domains are needed
new DomainBatchNorm(3);
// @ts-expect-error domains have names
new DomainBatchNorm(3, { domains: [0, 1] });
// @ts-expect-error group norm keeps no running statistics
new GroupNorm(2, 4, { momentum: 0.1 });
// @ts-expect-error and has none to use
new GroupNorm(2, 4, { onSingleValue: 'use-running' });
// @ts-expect-error the number of channels is needed
new GroupNorm(2);
// @ts-expect-error no virtual batches within one instance
new InstanceNorm1d(3, { virtualBatchSize: 2 });
// @ts-expect-error rank 4 for a layer of rank 3
new InstanceNorm1d(3).forward({ data, shape: [1, 3, 2, 1] });
// @ts-expect-error rank 3 for a layer of rank 4
new InstanceNorm2d(3).forward({ data, shape: [1, 3, 2] });
// @ts-expect-error rank 4 for a layer of rank 5
new InstanceNorm3d(3).forward({ data, shape: [1, 3, 2, 1] });
// @ts-expect-error rows have no channels axis
new LayerNorm(3, { layout: 'channels-last' });
// @ts-expect-error a shape is a list of numbers
new LayerNorm('3');
// @ts-expect-error no such option
new RMSNorm(3, { elementwiseAffine: true });
// @ts-expect-error the longest sequence is needed
new RecurrentBatchNorm1d(3, {});
// @ts-expect-error a layout of its own
new RecurrentBatchNorm1d(3, { maxSteps: 4, layout: 'channels-first' });
// @ts-expect-error no such policy
new RecurrentBatchNorm1d(3, { maxSteps: 4, beyond: 'first' });

// Other layers
// @ts-expect-error no such activation
new ActivationLayer('swish');
// @ts-expect-error ReLU has no options
new ReLU({ slope: 0.1 });
// @ts-expect-error sigmoid neither
new Sigmoid(1);
// @ts-expect-error tanh neither
new Tanh('tanh');
// @ts-expect-error the number of outputs is needed
new Linear(3);
// @ts-expect-error an initialiser is a function
new Linear(3, 4, { init: 'xavier' });
// @ts-expect-error a probability is a number
new Dropout('0.5');
// @ts-expect-error the option is a seed
new Dropout(0.5, { random: new Random(1) });
// @ts-expect-error one axis
new Softmax({ axis: [0, 1] });
// @ts-expect-error PyTorch's name
new LogSoftmax({ dim: 1 });
// @ts-expect-error no such output
new BNGRUCell(3, 4, { output: 'all' });
// @ts-expect-error a forget gate is LSTM's
new BNGRUCell(3, 4, { forgetBias: 1 });
// @ts-expect-error the layer's own activations are fixed
new BNLSTMCell(3, 4, { activation: 'relu' });

// Networks
// @ts-expect-error layers one by one, not a list
new Sequential([new ReLU()]);
// @ts-expect-error a string is no layer
new Residual(new ReLU(), 'relu');
// @ts-expect-error abstract
new Layer();
// @ts-expect-error abstract
new Network('net');
// @ts-expect-error a builder concatenates values, not tensors
new Graph({ x: [3] }, (g) => g.concat([tensor(data, [2, 3])], 0));
// @ts-expect-error a builder has no such operation
export const subtract = (g: GraphBuilder, v: Value): Value => g.subtract(v, v);
// @ts-expect-error a value has no data, only a shape
export const read = (v: Value): Float32Array => v.data;

// Optimisers
// @ts-expect-error abstract
new Optimizer('mine', [], 0.1);
// @ts-expect-error parameters, not a layer
new SGD(new Linear(3, 4));
// @ts-expect-error Adam's options
new SGD([], { betas: [0.9, 0.999] });
// @ts-expect-error two betas
new Adam([], { betas: [0.9] });
// @ts-expect-error a learning rate is a number
new Adam([], { lr: '1e-3' });

// Statistics and tensors
// @ts-expect-error how many channels
new Moments();
// @ts-expect-error an estimator is biased or unbiased
new Moments(3).variance('sample');
// @ts-expect-error moments are merged with moments
new Moments(3).merge({ mean: [0] });
// @ts-expect-error a seed is a number
new Random('seed');
// @ts-expect-error tensors come from tensor(), zeros() and layers
export const bare: Tensor = { data, shape: [2, 3] };
// @ts-expect-error norms by number, not by name
export const stem = (diagnosis: Diagnosis) => diagnosis.norms.stem;

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

export { fromChain, named, nested, plain, y };
