// The same through TF.js on WebAssembly.

import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { dispose, setBackend, tensor } from '@tensorflow/tfjs-core';
import { loadLayersModel } from '@tensorflow/tfjs-layers';

/** What a script of the package gives. */
async function scriptAt(address) {
  const module = { exports: {} };
  const text = await (await fetch(address)).text();
  new Function('module', 'exports', text)(module, module.exports);
  return module.exports;
}

export async function open(address) {
  setWasmPaths(new URL('./', location.href).href);
  await setBackend('wasm');
  const { modelTopology, weightsManifest } = await scriptAt(address);
  const [{ paths, weights }] = weightsManifest;
  const texts = await Promise.all(paths.map((name) => scriptAt(new URL(`${name}.min.js`, address).href)));
  const bytes = Uint8Array.from(atob(texts.join('')), (letter) => letter.charCodeAt(0));
  const artifacts = { modelTopology, weightSpecs: weights, weightData: bytes.buffer };
  const network = await loadLayersModel({ load: async () => artifacts });
  return async (image) => {
    const x = tensor(image, [1, 224, 224, 3]);
    const y = network.predict(x);
    const data = await y.data();
    dispose([x, y]);
    return data;
  };
}
