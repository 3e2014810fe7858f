import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EPS } from '../workload.ts';
import { batchNormModel, convnetModel, networkModel } from './onnx.ts';
import type { Contender, Peer } from './peer.ts';

interface Ort {
  InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{
      run(feeds: object): Promise<Record<string, { data: Float32Array }>>;
      release(): Promise<void>;
    }>;
  };
  Tensor: new (type: string, data: Float32Array, dims: readonly number[]) => object;
  env: { wasm: { numThreads: number }; versions: { common: string } };
}

const require = createRequire(import.meta.url);

/**
 * onnxruntime-node (native) or onnxruntime-web (WebAssembly), one thread. Inference only: its
 * training mode gives wrong results.
 */
export async function onnxruntime(name: 'onnxruntime-node' | 'onnxruntime-web'): Promise<Peer> {
  const ort = require(name) as Ort;
  ort.env.wasm.numThreads = 1;
  // they share one list of what there is
  const provider = name === 'onnxruntime-node' ? 'cpu' : 'wasm';
  // not among what the package exports
  const manifest = join(dirname(require.resolve(name)), '..', 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  const contender = async (model: Uint8Array, data: Float32Array, dims: readonly number[]): Promise<Contender> => {
    const session = await ort.InferenceSession.create(model, {
      executionProviders: [provider],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
    });
    const feeds = { x: new ort.Tensor('float32', data, dims) };
    return {
      work: () => session.run(feeds),
      output: async () => (await session.run(feeds)).y.data,
      dispose: () => void session.release(),
    };
  };
  return {
    name,
    version,
    async norm(op, workload) {
      if (op !== 'eval' || workload.layout === 'channels-last') return undefined;
      return contender(batchNormModel(workload.stored, workload, EPS), workload.x, workload.stored);
    },
    network: (rows, input, state) => contender(networkModel(rows, state, EPS), input, [rows, 784]),
    convnet: (net, batch, images) => contender(convnetModel(net, batch, EPS), images, [batch, ...net.input]),
  };
}
