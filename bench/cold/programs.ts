// The programs that are timed from start to end: each imports a library and normalises one batch of
// 1×1024 in evaluation form; one loads a small convnet from its file and runs it on an image. What
// a program computes is checked in the program itself, so that nothing fast and wrong is timed.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { digitConvnet } from 'evenkeel/models';
import { batchNormModel } from '../peers/onnx.ts';

export const CHANNELS = 1024;

export interface Program {
  readonly name: string;
  readonly file: string;
  /**
   * Bytes that have to be deployed: JavaScript in one bundle, and what it loads besides; raw and
   * gzipped.
   */
  readonly bytes?: { raw: number; gzip: number; with: string };
}

const peersFolder = fileURLToPath(new URL('../peers/', import.meta.url));
const packageFolder = (name: string) => `${peersFolder}node_modules/${name}/`;

/**
 * x = 0.25 but for one value, mean 0.1, variance 4, gamma 3, beta −1. Results are checked in a run
 * that is not timed.
 */
const DATA = `const n = ${CHANNELS};
const fill = (value) => new Float32Array(n).fill(value);
const x = fill(0.25);
x[7] = -3;
const check = (y) => {
  if (process.env.CHECK) for (let i = 0; i < n; i++) {
    const expected = ((x[i] - 0.1) * 3) / Math.sqrt(4 + 1e-5) - 1;
    if (!(Math.abs(y[i] - expected) < 1e-5)) throw new Error('wrong at ' + i + ': ' + y[i] + ', expected ' + expected);
  }
};
`;

const OURS = `import { batchNorm } from 'evenkeel/infer';
${DATA}check(batchNorm({ data: x, shape: [1, n] }, { mean: fill(0.1), variance: fill(4), gamma: fill(3), beta: fill(-1) }).data);
`;

const CONVNET = `import { convolutions, load } from 'evenkeel/infer';
import { readFileSync } from 'node:fs';
const run = load(readFileSync(new URL('./convnet.evenkeel', import.meta.url)), { operations: [convolutions] });
const { data } = run({ data: new Float32Array(784).fill(0.25), shape: [1, 1, 28, 28] });
if (process.env.CHECK) {
  const expected = JSON.parse(readFileSync(new URL('./convnet.json', import.meta.url), 'utf8'));
  if (data.length !== 10 || !data.every((value, i) => value === expected[i])) throw new Error('wrong logits: ' + data);
}
`;

const session = (library: string, setup = '') => `import * as ort from '${library}';
import { readFileSync } from 'node:fs';
${DATA}${setup}const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(new URL('./model.onnx', import.meta.url))));
const { y } = await session.run({ x: new ort.Tensor('float32', x, [1, n]) });
check(y.data);
`;

const tfjs = (paths: string) => `import { createRequire } from 'node:module';
const require = createRequire('${peersFolder}');
const tf = require('@tensorflow/tfjs-core');
require('@tensorflow/tfjs-backend-wasm').setWasmPaths('${paths}');
${DATA}await tf.setBackend('wasm');
const vector = (value) => tf.tensor1d(fill(value));
check(tf.batchNorm(tf.tensor2d(x, [1, n]), vector(0.1), vector(4), vector(-1), vector(3), 1e-5).dataSync());
`;

/** Writes them all into a folder. */
export async function writePrograms(folder: string): Promise<Program[]> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'node_modules/evenkeel'), { recursive: true });
  const root = fileURLToPath(new URL('../../', import.meta.url));
  for (const part of ['dist', 'package.json'])
    cpSync(join(root, part), join(folder, 'node_modules/evenkeel', part), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{}');
  const write = (name: string, text: string | Uint8Array) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const vectors = { gamma: 3, beta: -1, runningMean: 0.1, runningVar: 4 };
  const parameters = Object.fromEntries(
    Object.entries(vectors).map(([name, value]) => [name, new Float32Array(CHANNELS).fill(value)]),
  ) as Record<keyof typeof vectors, Float32Array>;
  write('model.onnx', batchNormModel([1, CHANNELS], parameters, 1e-5));

  const bundled = async (name: string, text: string) => {
    const { outputFiles } = await build({
      stdin: { contents: text, resolveDir: folder },
      bundle: true,
      minify: true,
      platform: 'node',
      format: 'esm',
      tsconfigRaw: {},
      logLevel: 'silent',
      write: false,
    });
    const [{ contents }] = outputFiles;
    return { file: write(name, contents), raw: contents.length, gzip: gzipSync(contents, { level: 9 }).length };
  };
  const ours = await bundled('evenkeel-bundle.mjs', OURS);
  // the file holds what the network that wrote it gives
  using network = digitConvnet({ width: 8, seed: 1 }).eval().compile();
  write('convnet.evenkeel', network.save());
  const logits = network({ data: new Float32Array(784).fill(0.25), shape: [1, 1, 28, 28] }).data;
  write('convnet.json', JSON.stringify([...logits]));
  const convnet = await bundled('convnet-bundle.mjs', CONVNET);
  const wasmFolder = `${packageFolder('@tensorflow/tfjs-backend-wasm')}dist/`;
  const scripts = [
    '@tensorflow/tfjs-core/dist/tf-core.node.js',
    '@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.node.js',
  ];
  const tfScripts = scripts.map((path) => readFileSync(`${peersFolder}node_modules/${path}`));
  const tfWasm = statSync(`${wasmFolder}tfjs-backend-wasm-simd.wasm`).size;
  const native = readSize(`${packageFolder('onnxruntime-node')}bin/napi-v6/linux/x64`);
  const web = `${packageFolder('onnxruntime-web')}dist/`;
  const webWasm = statSync(`${web}ort-wasm-simd-threaded.wasm`).size;
  return [
    { name: 'an empty script', file: write('empty.mjs', '') },
    { name: 'evenkeel, bundled', file: ours.file, bytes: { raw: ours.raw, gzip: ours.gzip, with: 'all in one file' } },
    { name: 'evenkeel, installed', file: write('evenkeel.mjs', OURS) },
    {
      name: 'evenkeel, a convnet',
      file: convnet.file,
      bytes: { raw: convnet.raw, gzip: convnet.gzip, with: 'the bundle, beside the network' },
    },
    {
      name: 'onnxruntime-node',
      file: write(
        'ort-node.mjs',
        session(pathToFile(createRequire(packageFolder('onnxruntime-node')).resolve('onnxruntime-node'))),
      ),
      bytes: { raw: native, gzip: 0, with: 'its native library' },
    },
    {
      name: 'onnxruntime-web',
      file: write('ort-web.mjs', session(pathToFile(`${web}ort.node.min.mjs`), 'ort.env.wasm.numThreads = 1;\n')),
      bytes: { raw: webWasm, gzip: 0, with: 'its wasm file' },
    },
    {
      name: 'tfjs-wasm',
      file: write('tfjs.mjs', tfjs(wasmFolder)),
      bytes: {
        raw: tfWasm + tfScripts.reduce((sum, { length }) => sum + length, 0),
        gzip: tfScripts.reduce((sum, script) => sum + gzipSync(script, { level: 9 }).length, 0),
        with: 'its scripts and one wasm file',
      },
    },
  ];
}

const pathToFile = (path: string) => `file://${path}`;

function readSize(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
