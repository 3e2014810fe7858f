import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { type Builder, channelsFirst, channelsLast, foldedNorm } from '../convnets.ts';
import { EPS } from '../workload.ts';
import type { Contender, Peer } from './peer.ts';
import { numbersOf, reorder } from './training.ts';

interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

type Pad = readonly (readonly [number, number])[];

interface FusedConvolution {
  x: TfTensor;
  filter: TfTensor;
  bias: TfTensor;
  strides: number;
  pad: Pad;
  activation: 'linear' | 'relu' | 'relu6';
}

/** A value, or a convolution that waits for its activation. */
type Pending = (activation: 'linear' | 'relu' | 'relu6') => TfTensor;

interface Tf {
  getBackend(): string;
  setBackend(name: string): Promise<boolean>;
  add(a: TfTensor, b: TfTensor): TfTensor;
  tanh(x: TfTensor): TfTensor;
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  batchNorm(x: TfTensor, mean: TfTensor, variance: TfTensor, offset: TfTensor, scale: TfTensor, eps: number): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA: boolean, transposeB: boolean): TfTensor;
  tidy<T>(work: () => T): T;
  fused: {
    conv2d(convolution: FusedConvolution): TfTensor;
    depthwiseConv2d(convolution: FusedConvolution): TfTensor;
  };
  relu(x: TfTensor): TfTensor;
  maxPool(x: TfTensor, size: number, strides: number, pad: Pad | 'valid'): TfTensor;
  mean(x: TfTensor, axis?: readonly number[]): TfTensor;
  conv2d(x: TfTensor, filter: TfTensor, strides: number, pad: 'same'): TfTensor;
  moments(x: TfTensor, axis: readonly number[]): { mean: TfTensor; variance: TfTensor };
  reshape(x: TfTensor, shape: readonly number[]): TfTensor;
  neg(x: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor): TfTensor;
  sum(x: TfTensor, axis: number): TfTensor;
  logSoftmax(x: TfTensor): TfTensor;
  variable(x: TfTensor): TfTensor;
  train: { sgd(rate: number): { minimize(loss: () => TfTensor, returnCost: true): TfTensor } };
  version_core: string;
}

const require = createRequire(import.meta.url);

let registered: Promise<unknown> | undefined;

/**
 * Gradients, which its package registers in modules that Node cannot load as they are: bundled. The
 * registry and the engine are global.
 */
async function registerGradients(): Promise<unknown> {
  const entry = require.resolve('@tensorflow/tfjs-core/dist/register_all_gradients.js');
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
    logLevel: 'error',
    define: { require: 'undefined' },
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}

/**
 * TensorFlow.js on its WebAssembly or its plain JavaScript backend. Channels last only, and norms
 * in evaluation only: elsewhere it is wrong or slower.
 */
export async function tfjs(backend: 'wasm' | 'cpu'): Promise<Peer> {
  const tf = require('@tensorflow/tfjs-core') as Tf;
  const plugin = require(`@tensorflow/tfjs-backend-${backend}`);
  if (backend === 'wasm') {
    plugin.setWasmPaths(`${join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist')}/`);
  }
  const select = async () => tf.getBackend() === backend || (await tf.setBackend(backend));
  const contender = (run: () => TfTensor, held: TfTensor[]): Contender => ({
    async work() {
      await select();
      run().dispose();
    },
    async output() {
      await select();
      return run().dataSync();
    },
    dispose: () => {
      for (const tensor of held) tensor.dispose();
    },
  });
  return {
    name: `tfjs-${backend}`,
    version: tf.version_core,
    async norm(op, workload) {
      if (op !== 'eval' || workload.extent.kernel !== 'nxc') return undefined;
      await select();
      const { x, stored, runningMean, runningVar, beta, gamma } = workload;
      const vectors = [runningMean, runningVar, beta, gamma].map((data) => tf.tensor(data, [data.length]));
      const [mean, variance, offset, scale] = vectors;
      const input = tf.tensor(x, stored);
      return contender(() => tf.batchNorm(input, mean, variance, offset, scale, EPS), [input, ...vectors]);
    },
    async network(rows, data, state) {
      await select();
      const tensors = Object.fromEntries(
        Object.entries(state).map(([name, entry]) => [name, tf.tensor(Float32Array.from(entry.data), entry.shape)]),
      );
      const input = tf.tensor(data, [rows, 784]);
      const weights = Object.keys(state).filter((name) => name.endsWith('.weight'));
      const run = () =>
        tf.tidy(() => {
          let x = input;
          for (const weight of weights) {
            const layer = Number(weight.split('.')[0]);
            const t = (name: string) => tensors[`${layer + 1}.${name}`];
            x = tf.add(tf.matMul(x, tensors[weight], false, true), tensors[`${layer}.bias`]);
            if (weight === weights.at(-1)) break;
            x = tf.tanh(tf.batchNorm(x, t('runningMean'), t('runningVar'), t('beta'), t('gamma'), EPS));
          }
          return x;
        });
      return contender(run, [input, ...Object.values(tensors)]);
    },
    async training(spec) {
      await (registered ??= registerGradients());
      await select();
      const { images, labels, batch, side, rate, eps } = spec;
      const x = tf.tensor(images, [batch, side, side, 1]);
      const wanted = tf.tensor(
        Float32Array.from({ length: batch * 10 }, (_, i) => +(labels[Math.floor(i / 10)] === i % 10)),
        [batch, 10],
      );
      const vector = (size: number, value: number) =>
        tf.variable(tf.tensor(new Float32Array(size).fill(value), [size]));
      const layers = spec.convolutions.map(({ weight, shape: [out, inChannels] }) => {
        // [k, k, in, out]
        const filter = weight.map((_, i) => {
          const [o, c, tap] = [i % out, Math.floor(i / out) % inChannels, Math.floor(i / (out * inChannels))];
          return weight[(o * inChannels + c) * 9 + tap];
        });
        return {
          filter: tf.variable(tf.tensor(filter, [3, 3, inChannels, out])),
          gamma: vector(out, 1),
          beta: vector(out, 0),
        };
      });
      const linear = tf.variable(tf.tensor(reorder(spec.linear, 'channels-last'), [10, spec.linear.length / 10]));
      const bias = vector(10, 0);
      const variables = [...layers.flatMap(({ filter, gamma, beta }) => [filter, gamma, beta]), linear, bias];
      const loss = () => {
        let y = x;
        for (const { filter, gamma, beta } of layers) {
          y = tf.conv2d(y, filter, 1, 'same');
          const { mean, variance } = tf.moments(y, [0, 1, 2]);
          y = tf.maxPool(tf.relu(tf.batchNorm(y, mean, variance, beta, gamma, eps)), 2, 2, 'valid');
        }
        const logits = tf.add(tf.matMul(tf.reshape(y, [batch, -1]), linear, false, true), bias);
        return tf.neg(tf.mean(tf.sum(tf.mul(wanted, tf.logSoftmax(logits)), -1)));
      };
      const descent = tf.train.sgd(rate);
      const step = () =>
        tf.tidy(() => {
          const cost = descent.minimize(loss, true);
          return cost.dataSync()[0];
        });
      // says here which gradient is missing
      const losses = Array.from({ length: spec.compared }, step);
      const [first] = layers;
      const [out] = spec.convolutions[0].shape;
      const filter = first.filter.dataSync();
      const weight = filter.map((_, i) => filter[(i % 9) * out + Math.floor(i / 9)]);
      return {
        async work() {
          await select();
          step();
        },
        output: () => numbersOf(losses, weight),
        slow: true,
        dispose: () => {
          for (const held of [x, wanted, ...variables]) held.dispose();
        },
      };
    },
    // norms folded and activations fused, as its converter leaves a network
    async convnet(net, batch, images) {
      await select();
      const held: TfTensor[] = [];
      const hold = (data: Float32Array, shape: readonly number[]) => {
        held.push(tf.tensor(data, shape));
        return held[held.length - 1];
      };
      const [channels, height, width] = net.input;
      const input = hold(channelsLast(images, net.input), [batch, height, width, channels]);
      const around = (padding: number): Pad => [
        [0, 0],
        [padding, padding],
        [padding, padding],
        [0, 0],
      ];
      const steps: ((values: Pending[]) => Pending)[] = [];
      // a value is the number of the step that makes it; 0 the input
      const step = (make: (of: (value: number) => Pending) => Pending) => {
        steps.push((values) => make((value) => values[value]));
        return steps.length;
      };
      const builder: Builder<number> = {
        convNorm(from, conv) {
          const { inChannels, outChannels, kernel, stride, padding, groups } = conv;
          const { weight, bias } = foldedNorm(conv, EPS);
          const [own, taps] = [inChannels / groups, kernel * kernel];
          // [k, k, in, out], and of a depthwise one [k, k, in, 1]
          const filter = weight.map((_, i) => {
            const o = groups > 1 ? i % inChannels : i % outChannels;
            const c = groups > 1 ? 0 : Math.floor(i / outChannels) % own;
            const tap = Math.floor(i / (groups > 1 ? inChannels : own * outChannels));
            return weight[(o * own + c) * taps + tap];
          });
          const shape = groups > 1 ? [kernel, kernel, inChannels, 1] : [kernel, kernel, inChannels, outChannels];
          const operands = { filter: hold(filter, shape), bias: hold(bias, [outChannels]) };
          const options = { ...operands, strides: stride, pad: around(padding) };
          const run = groups > 1 ? tf.fused.depthwiseConv2d : tf.fused.conv2d;
          return step((of) => (activation) => run({ ...options, x: of(from)('linear'), activation }));
        },
        activate: (from, name) => step((of) => () => of(from)(name)),
        add: (a, b) =>
          step((of) => (activation) => {
            const sum = tf.add(of(a)('linear'), of(b)('linear'));
            return activation === 'relu' ? tf.relu(sum) : sum;
          }),
        maxPool: (from) => step((of) => () => tf.maxPool(of(from)('linear'), 3, 2, around(1))),
        classify(from, { inFeatures, outFeatures, weight, bias }) {
          const [w, b] = [hold(weight, [outFeatures, inFeatures]), hold(bias, [outFeatures])];
          return step((of) => () => tf.add(tf.matMul(tf.mean(of(from)('linear'), [1, 2]), w, false, true), b));
        },
      };
      const last = net.build(builder, 0);
      const run = () =>
        tf.tidy(() => {
          const values: Pending[] = [() => input];
          for (const make of steps) {
            const pending = make(values);
            let done: TfTensor | undefined;
            // worked out when it is first asked for: by then it is known which activation follows
            values.push((activation) => (done ??= pending(activation)));
          }
          return values[last]('linear');
        });
      const { output, ...rest } = contender(run, held);
      return { ...rest, output: async () => channelsFirst((await output()) as Float32Array, net) };
    },
  };
}
