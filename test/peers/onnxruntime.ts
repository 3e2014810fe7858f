// Every ONNX fixture through onnxruntime-node and through this library: npm run test:peers. Not
// among the tests of every day, as the peer is 400 MB.

import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ActivationLayer, BatchNorm, BatchNorm1d, Dropout, Linear, Random, Sequential, Tanh } from '../../src/index.ts';
import { ACTIVATIONS } from '../../src/kernels/activations.ts';
import { foldOnnx, fromOnnx, loadSequential, normsOf, readOnnx, toOnnx } from '../../src/weights/index.ts';
import { goldenCases, goldenFile } from '../support/golden.ts';
import { fixture, fixturePath, relative } from '../support/weights.ts';

/** The network as a model, or why it is none: layers that have no operator there. */
function writtenAgain(net: Sequential, inputShape: readonly number[]): Uint8Array | string {
  try {
    return toOnnx(net, { inputShape });
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_OPTION') throw error;
    return (error as Error).message;
  }
}

const TOLERANCE = 1e-5;

interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: object): Promise<Record<string, { data: Float32Array; dims: readonly number[] }>>;
}
interface Runtime {
  readonly InferenceSession: { create(bytes: Uint8Array): Promise<Session> };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object;
}

const ort: Runtime = createRequire(new URL('../../bench/peers/package.json', import.meta.url))('onnxruntime-node');
const random = new Random(5);
let failures = 0;

async function peer(
  model: Uint8Array,
  ...inputs: { data: Float32Array; shape: readonly number[] }[]
): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(model);
  const feeds = session.inputNames.map((name, i) => [name, new ort.Tensor('float32', inputs[i].data, inputs[i].shape)]);
  return (await session.run(Object.fromEntries(feeds)))[session.outputNames[0]].data;
}

function normals(shape: readonly (number | undefined)[], batch = 3) {
  const sizes = shape.map((length) => length ?? batch);
  return {
    data: Float32Array.from({ length: sizes.reduce((product, size) => product * size, 1) }, () => random.normal()),
    shape: sizes,
  };
}

function report(name: string, difference: number): void {
  const ok = difference <= TOLERANCE;
  if (!ok) failures++;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(52)} ${difference.toExponential(1)}`);
}

async function main(): Promise<void> {
  const chains = [
    'torch/net.onnx',
    ...readdirSync(fixturePath('onnx'))
      .filter((name) => name.endsWith('.onnx'))
      .map((name) => `onnx/${name}`),
  ];
  const files = { 'outside.data': fixture('onnx/outside.data') };
  for (const name of chains) {
    const file = fixture(name);
    const [shape] = readOnnx(file, { files }).inputs.values();
    const x = normals(shape);
    // the peer has no versions before 7, and finds no files beside bytes: the same model with all
    // inside stands for it
    if (name === 'onnx/old6.onnx') continue;
    const whole = name === 'onnx/outside.onnx' ? fixture('onnx/inside.onnx') : file;
    let net: Sequential | undefined;
    try {
      net = await loadSequential(file);
    } catch {} // no chain: folded all the same
    if (net) {
      const want = await peer(file, x);
      report(`${name}: forward`, relative(net.forward(x).data, want));
      // norms of rows are not compiled, and have no operator of their own in what is written
      if (!net.layers.some(({ subject }) => /^(?:Layer|RMS|Instance)Norm/.test(subject))) {
        report(`${name}: compiled`, relative(net.compile()(x).data, want));
        const written = writtenAgain(net, x.shape.slice(1));
        if (typeof written === 'string') console.log(`${name}: not written, ${written}`);
        else report(`${name}: written again`, relative(await peer(written, x), want));
      }
    }
    const { file: folded, folded: norms } = foldOnnx(file, { files });
    if (norms.length)
      report(`${name}: folded (${norms.length})`, relative(await peer(folded, x), await peer(whole, x)));
  }
  for (const golden of goldenCases('onnx_model', 'eval_convnet')) {
    const file = goldenFile(golden, golden.op === 'onnx_model' ? 'model' : 'onnx');
    const model = readOnnx(file);
    const [norm] = normsOf(model);
    if (!norm || norm.training) continue; // another norm; its training mode gives wrong results
    const inputs = Object.values(golden.tensors).filter(
      ({ role, data }) => role === 'input' && data instanceof Float32Array,
    );
    const feeds = inputs.map(({ data, shape }) => ({ data: data as Float32Array, shape }));
    const want = await peer(file, ...feeds);
    if (golden.op === 'eval_convnet') {
      report(`${golden.id}: folded`, relative(await peer(foldOnnx(file).file, ...feeds), want));
      continue;
    }
    const { state } = fromOnnx(model);
    const bn = new BatchNorm(feeds[0].shape[1], norm.options);
    const own = bn.stateDict();
    Object.entries(norm.inputs).forEach(([ours], i) => {
      own[ours] = state[`${norm.name}.${ours}`] ?? feeds[i + 1];
    });
    bn.loadStateDict(own);
    report(golden.id, relative(bn.eval().forward(feeds[0]).data, want));
  }
  for (const kind of ACTIVATIONS) {
    const net = new Sequential(
      new Linear(5, 7, { seed: 1 }),
      new BatchNorm1d(7),
      new ActivationLayer(kind),
      new Dropout(0.3),
      new Linear(7, 3, { seed: 2 }),
      new Tanh(),
    );
    for (let k = 0; k < 3; k++) net.forward(normals([16, 5]));
    const x = normals([4, 5]);
    report(`a network with ${kind}, written`, relative(await peer(toOnnx(net.eval()), x), net.forward(x).data));
  }
  console.log(failures ? `${failures} beyond ${TOLERANCE}` : `all within ${TOLERANCE} of onnxruntime-node`);
  process.exitCode = failures ? 1 : 0;
}

void main();
