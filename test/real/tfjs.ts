// TF.js on models of packages: graph models and layers models, with shards as they are or as base64
// in scripts.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface TfTensor {
  readonly shape: readonly number[];
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
}

interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(data: ArrayLike<number>, shape: readonly number[], dtype?: string): TfTensor;
  version_core: string;
}

/** A model, its inputs in their order. */
export interface TfModel {
  readonly outputs: readonly string[];
  run(inputs: readonly { readonly data: ArrayLike<number>; readonly shape: readonly number[] }[]): Promise<Output[]>;
}

export interface Output {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface TfRuntime {
  readonly version: string;
  use(backend: 'wasm' | 'cpu'): Promise<void>;
  load(path: string): Promise<TfModel>;
}

const peers = new URL('../../bench/peers/package.json', import.meta.url);

/** TF.js, where it is installed. */
export function tfjs(): TfRuntime {
  const require = createRequire(peers);
  const tf = require('@tensorflow/tfjs-core') as Tf;
  const layers = require('@tensorflow/tfjs-layers');
  const converter = require('@tensorflow/tfjs-converter');
  require('@tensorflow/tfjs-backend-cpu');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(`${join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist')}/`);
  return {
    version: tf.version_core,
    async use(backend) {
      await tf.setBackend(backend);
      await tf.ready();
    },
    async load(path) {
      const artifacts = artifactsOf(path);
      const isGraph = Array.isArray((artifacts.modelTopology as { node?: unknown }).node);
      const handler = { load: async () => artifacts };
      const model = isGraph ? await converter.loadGraphModel(handler) : await layers.loadLayersModel(handler);
      const outputs: string[] = isGraph ? model.outputNodes : model.outputs.map(({ name }: { name: string }) => name);
      const dtypes: string[] = model.inputs.map(({ dtype }: { dtype: string }) => dtype);
      return {
        outputs,
        async run(inputs) {
          const given = inputs.map(({ data, shape }, i) => tf.tensor(data, shape, dtypes[i]));
          const x = given.length === 1 ? given[0] : given;
          const found = isGraph ? await model.executeAsync(x, outputs) : model.predict(x);
          const all: TfTensor[] = [found].flat();
          const results = await Promise.all(all.map(async (y) => ({ shape: y.shape, data: await y.data() })));
          for (const y of [...all, ...given]) y.dispose();
          return results;
        },
      };
    },
  };
}

interface Artifacts {
  readonly modelTopology: unknown;
  readonly weightSpecs: readonly object[];
  readonly weightData: ArrayBuffer;
}

interface ModelJson {
  readonly modelTopology: unknown;
  readonly weightsManifest: readonly { readonly paths: readonly string[]; readonly weights: readonly object[] }[];
}

/** The files of a model as TF.js takes them. */
function artifactsOf(path: string): Artifacts {
  const isScript = /\.js$/.test(path);
  const require = createRequire(path);
  const model = (isScript ? require(path) : JSON.parse(readFileSync(path, 'utf8'))) as ModelJson;
  const shards = model.weightsManifest.flatMap(({ paths }) =>
    paths.map((name) => {
      const place = join(dirname(path), name);
      return isScript ? Buffer.from(require(`${place}.min.js`) as string, 'base64') : readFileSync(place);
    }),
  );
  const bytes = Buffer.concat(shards);
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const weightSpecs = model.weightsManifest.flatMap(({ weights }) => weights);
  return { ...model, weightSpecs, weightData };
}
