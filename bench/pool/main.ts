// npm run bench:pool [-- --seconds 5] [--clients 64] [--workers N]
//
// A pool under load: delay of the event loop, beside onnxruntime-node's run on the same work;
// throughput beside bare loops on as many threads; and what batching brings.

import { cpus } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { pool } from 'evenkeel/pool';
import { loadCompiled } from '../../examples/serve/model.ts';
import { readArguments } from '../../scripts/arguments.ts';
import { NETWORKS } from '../convnets.ts';
import { ownConvnet } from '../own-convnet.ts';
import { convnetModel } from '../peers/onnx.ts';
import { EPS } from '../workload.ts';

const options = readArguments({
  options: {
    seconds: { type: 'string', default: '5' },
    clients: { type: 'string', default: '64' },
    workers: { type: 'string', default: `${Math.max(1, cpus().length - 1)}` },
  },
});
const [seconds, clients, workers] = [Number(options.seconds), Number(options.clients), Number(options.workers)];

interface Load {
  readonly perSecond: number;
  /** Delay of the event loop in ms. */
  readonly delay: { p50: number; p99: number; max: number };
}

/** Clients that ask again as soon as they are answered. */
async function load(ask: () => Promise<unknown>): Promise<Load> {
  await ask();
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  let answered = 0;
  const started = performance.now();
  const until = started + seconds * 1000;
  histogram.enable();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < until) {
        await ask();
        answered++;
      }
    }),
  );
  histogram.disable();
  const perSecond = (answered * 1000) / (performance.now() - started);
  const [p50, p99, max] = [histogram.percentile(50), histogram.percentile(99), histogram.max].map((ns) => ns / 1e6);
  return { perSecond, delay: { p50, p99, max } };
}

/** Rows per second of bare loops on so many threads. */
async function bare(file: Uint8Array, shape: readonly number[]): Promise<number> {
  const threads = Array.from({ length: workers }, () => {
    return new Worker(new URL('./bare.mjs', import.meta.url), { workerData: { file, shape, seconds }, execArgv: [] });
  });
  const messages = () =>
    Promise.all(
      threads.map(
        (thread) =>
          new Promise<unknown>((resolve, reject) => {
            thread.once('message', resolve);
            thread.once('error', reject);
          }),
      ),
    );
  await messages();
  const done = messages();
  for (const thread of threads) thread.postMessage('begin');
  return ((await done) as number[]).reduce((sum, rate) => sum + rate, 0);
}

const show = ({ perSecond, delay }: Load) =>
  `${perSecond.toFixed(1).padStart(9)} requests/s   event loop p50 ${delay.p50.toFixed(2)} ms, p99 ${delay.p99.toFixed(2)} ms, longest ${delay.max.toFixed(1)} ms`;

async function pooled(file: Uint8Array, shape: readonly number[], maxBatch: number): Promise<Load> {
  await using p = await pool(file, { workers, maxBatch });
  const data = new Float32Array(shape.reduce((size, length) => size * length, 1)).fill(0.5);
  return await load(() => p.run({ data, shape }));
}

async function onnxruntime(model: Uint8Array, shape: readonly number[]): Promise<Load | undefined> {
  const ort = await import('../peers/node_modules/onnxruntime-node/dist/index.js' as string).catch(() => undefined);
  if (!ort) return undefined;
  const { InferenceSession, Tensor } = ort.default ?? ort;
  const session = await InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: workers,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const x = new Tensor('float32', new Float32Array(3 * 224 * 224).fill(0.5), shape);
  const result = await load(() => session.run({ x }));
  await session.release();
  return result;
}

const [cpu] = cpus();
console.log(
  `${clients} clients, ${workers} workers, ${seconds} s each; ${cpu?.model.trim()}, ${cpus().length} cores, Node ${process.versions.node}\n`,
);
const network = NETWORKS[0]();
const image = [1, ...network.input];
const graph = ownConvnet(network, 'channels-first');
const compiled = graph.eval().compile();
const resnet = compiled.save();
compiled.dispose();
console.log(network.name);
const alone = await bare(resnet, image);
const served = await pooled(resnet, image, 1);
console.log(`  pool, one by one      ${show(served)}`);
console.log(
  `  bare loops            ${alone.toFixed(1).padStart(9)} requests/s   the pool has ${(served.perSecond / alone).toFixed(3)} of it`,
);
const peer = await onnxruntime(convnetModel(network, 1, EPS), image);
console.log(
  peer ? `  onnxruntime-node run  ${show(peer)}` : '  onnxruntime-node is not there: npm run bench:peers installs it',
);

console.log('784-768-768-10');
const digits = loadCompiled(1);
const file = digits.save();
digits.dispose();
const one = await pooled(file, [1, 784], 1);
console.log(`  pool, one by one      ${show(one)}`);
const many = await pooled(file, [1, 784], 32);
console.log(`  pool, batches of 32   ${show(many)}   ${(many.perSecond / one.perSecond).toFixed(2)} times as many`);
const [row, rows] = [await bare(file, [1, 784]), await bare(file, [32, 784])];
console.log(
  `  bare loops            ${row.toFixed(1).padStart(9)} rows/s one by one, ${rows.toFixed(1)} in batches of 32`,
);
