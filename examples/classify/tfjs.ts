// The same network through TF.js on WebAssembly, where that is installed (npm run bench:peers).

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const peers = fileURLToPath(new URL('../../bench/peers/', import.meta.url));

/** Is TF.js there? */
export const hasTfjs = () => existsSync(join(peers, 'node_modules/@tensorflow/tfjs-layers/package.json'));

/** The folder with TF.js' WebAssembly. */
export function wasmFolder(): string {
  const require = createRequire(join(peers, 'package.json'));
  return join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist');
}

export type Predict = (image: Float32Array, shape: readonly number[]) => Promise<ArrayLike<number>>;

/** The model of a folder, whose files are scripts. */
export async function openTfjs(folder: string, model: string): Promise<Predict> {
  const require = createRequire(join(peers, 'package.json'));
  const tf = require('@tensorflow/tfjs-core');
  const layers = require('@tensorflow/tfjs-layers');
  require('@tensorflow/tfjs-backend-wasm').setWasmPaths(`${wasmFolder()}/`);
  await tf.setBackend('wasm');
  const files = createRequire(join(folder, model));
  const { modelTopology, weightsManifest } = files(join(folder, model));
  const shards = weightsManifest.flatMap(({ paths }: { paths: string[] }) =>
    paths.map((name) => Buffer.from(files(join(folder, `${name}.min.js`)), 'base64')),
  );
  const bytes = Uint8Array.from(Buffer.concat(shards));
  const weightSpecs = weightsManifest.flatMap(({ weights }: { weights: object[] }) => weights);
  const artifacts = { modelTopology, weightSpecs, weightData: bytes.buffer };
  const network = await layers.loadLayersModel({ load: async () => artifacts });
  return async (image, shape) => {
    const x = tf.tensor(image, shape);
    const y = network.predict(x);
    const data = await y.data();
    tf.dispose([x, y]);
    return data;
  };
}
