// What must not compile. Each line would be an error at run time too.

import {
  ActivationLayer,
  Adam,
  AdamW,
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveMaxPool2d,
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  batches,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose1d,
  ConvTranspose2d,
  CosineLR,
  crossEntropy,
  type Diagnosis,
  DomainBatchNorm,
  Dropout,
  Dropout1d,
  Dropout2d,
  Dropout3d,
  EMA,
  Flatten,
  GELU,
  GlobalAvgPool,
  Graph,
  type GraphBuilder,
  GroupNorm,
  HardSigmoid,
  HardSwish,
  HardTanh,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  Layer,
  LayerNorm,
  LeakyReLU,
  Linear,
  LogSoftmax,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
  Moments,
  Network,
  namedParameters,
  OneCycle,
  Optimizer,
  Pad,
  PReLU,
  Random,
  RecurrentBatchNorm1d,
  ReLU,
  ReLU6,
  Reshape,
  Residual,
  RMSNorm,
  RMSprop,
  SELU,
  Sequential,
  SGD,
  Sigmoid,
  SiLU,
  Softmax,
  Softsign,
  SpectralNorm,
  StepLR,
  saveCheckpoint,
  Tanh,
  type Tensor,
  tensor,
  Upsample,
  type Value,
  WarmUp,
  WeightStandardization,
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
// @ts-expect-error no noise shape where the layer has its own
new Dropout1d(0.5, { noiseShape: [null, 1, null] });
// @ts-expect-error rank 4
new Dropout2d().forward({ data, shape: [2, 3, 4] });
// @ts-expect-error not a layout
new Dropout3d(0.5, { layout: 'NCDHW' });
// @ts-expect-error no weight
new SpectralNorm(new ReLU());
// @ts-expect-error no options object
new WeightStandardization(new Linear(2, 2), 1e-5);
// @ts-expect-error not a boolean
new Linear(2, 2).loadStateDict({}, { strict: 'no' });
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
// @ts-expect-error a string is no layer, by name neither
new Sequential({ act: 'relu' });
// @ts-expect-error by name or one by one, not both
new Sequential(new ReLU(), { act: new ReLU() });
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

// @ts-expect-error a text in place of channels
new Conv1d('3', 4, 3);
// @ts-expect-error a text in place of channels
new Conv2d('3', 4, 3);
// @ts-expect-error a text in place of channels
new Conv3d('3', 4, 3);
// @ts-expect-error a text in place of channels
new ConvTranspose1d('3', 4, 3);
// @ts-expect-error a text in place of channels
new ConvTranspose2d('3', 4, 3);
// @ts-expect-error an option of averages
new MaxPool1d(2, { countIncludePad: true });
// @ts-expect-error an option of averages
new MaxPool2d(2, { countIncludePad: true });
// @ts-expect-error an option of averages
new MaxPool3d(2, { countIncludePad: true });
// @ts-expect-error an option of maxima
new AvgPool1d(2, { dilation: 2 });
// @ts-expect-error an option of maxima
new AvgPool2d(2, { dilation: 2 });
// @ts-expect-error an option of maxima
new AvgPool3d(2, { dilation: 2 });
// @ts-expect-error no output size
new AdaptiveAvgPool1d();
// @ts-expect-error no output size
new AdaptiveAvgPool2d();
// @ts-expect-error no output size
new AdaptiveMaxPool2d();
// @ts-expect-error a layout that is none
new GlobalAvgPool({ layout: 'first' });
// @ts-expect-error an axis that is a text
new Flatten({ startAxis: '1' });
// @ts-expect-error a length that is a text
new Reshape(['3']);
// @ts-expect-error a mode that is none
new Pad(1, { mode: 'wrap' });
// @ts-expect-error no scale
new Upsample({});
// @ts-expect-error a slope that is a text
new LeakyReLU('0.1');
// @ts-expect-error an approximation that is none
new GELU({ approximate: 'erf' });
// @ts-expect-error a slope that is a text
new HardSigmoid({ slope: '1' });
// @ts-expect-error a bound that is a text
new HardTanh('0', 1);
// @ts-expect-error an option that is none
new PReLU({ slope: 1 });
// @ts-expect-error no layer has such a method
new ReLU6().fit();
// @ts-expect-error no layer has such a method
new SiLU().fit();
// @ts-expect-error no layer has such a method
new HardSwish().fit();
// @ts-expect-error no layer has such a method
new SELU().fit();
// @ts-expect-error no layer has such a method
new Softsign().fit();
// @ts-expect-error no parameters
new RMSprop();
// @ts-expect-error no decay
new EMA(new Linear(2, 2), { decay: '1' });
// @ts-expect-error a number in place of an optimizer
new StepLR(3, {});
// @ts-expect-error a number in place of an optimizer
new WarmUp(3, {});
// @ts-expect-error a number in place of an optimizer
new OneCycle(3, {});
// @ts-expect-error an abstract class
new Schedule();
// @ts-expect-error only a type
new BatchIterable();
// @ts-expect-error only a type
new AsyncBatchIterable();

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
