import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EPS } from '../workload.ts';
import type { Contender, Peer } from './peer.ts';

interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

interface Tf {
  getBackend(): string;
  setBackend(name: string): Promise<boolean>;
  add(a: TfTensor, b: TfTensor): TfTensor;
  tanh(x: TfTensor): TfTensor;
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  batchNorm(x: TfTensor, mean: TfTensor, variance: TfTensor, offset: TfTensor, scale: TfTensor, eps: number): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA: boolean, transposeB: boolean): TfTensor;
  tidy<T>(work: () => T): T;
  version_core: string;
}

const require = createRequire(import.meta.url);

/**
 * TensorFlow.js on its WebAssembly or its plain JavaScript backend. Evaluation only, channels last
 * only: elsewhere it is wrong or slower.
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
  };
}
