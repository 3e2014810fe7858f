// npm run test:faults [-- --count 20] [--seed 1] [--only redis|postgresql|parts]
//
// Runs of 24 shards with a fault in each, drawn by a seed: every run has to end with the bytes of
// the run in this process.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  directoryStore,
  mergeShards,
  runIdOf,
  runOnBullMQ,
  runShards,
  type ShardStatistics,
  type ShardTask,
} from 'evenkeel/shards';
import { readArguments } from '../../scripts/arguments.ts';
import { Random } from '../../src/nn/random.ts';
import { type Broker, missing, startPostgres, startRedis } from '../support/brokers.ts';
import { startWorker, type WorkerProcess, writeTask } from '../support/shard-run.ts';
import { manifestOf } from '../support/shards.ts';

const options = readArguments({
  options: {
    count: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});
const random = new Random(Number(options.seed));
const between = (low: number, high: number) => low + random.uniform() * (high - low);
const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time));

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-faults-'));
const path = writeTask(folder, { delay: 100 });
const { default: task } = (await import(pathToFileURL(path).href)) as { default: ShardTask<ShardStatistics> };
const manifest = manifestOf(24, path);
const expected = task.encode(await runShards(manifest, task));
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A coordinator in a process of its own. */
function coordinate(connection: string, queue: string): ChildProcess {
  const library = new URL('../../dist/shards/index.js', import.meta.url).href;
  const file = join(folder, `coordinator-${queue}.mjs`);
  writeFileSync(
    file,
    `import { runOnBullMQ } from '${library}';
import task from '${pathToFileURL(path).href}';
await runOnBullMQ({ ...${JSON.stringify({ connection, queue, manifest })}, task });`,
  );
  return spawn(process.execPath, [file], { stdio: 'ignore' });
}

interface Fault {
  readonly name: string;
  run(broker: Broker, queue: string): Promise<Uint8Array[]>;
}

/** Asks for the run with workers that a fault meets, and ends them. */
async function withWorkers(
  broker: Broker,
  queue: string,
  fault: (first: WorkerProcess, more: () => Promise<WorkerProcess>) => Promise<unknown>,
  coordinators = 1,
): Promise<Uint8Array[]> {
  const workers: WorkerProcess[] = [];
  const more = async () => {
    const worker = await startWorker(path, broker.connection, '--queue', queue, '--lock', '2000');
    workers.push(worker);
    return worker;
  };
  try {
    const first = await more();
    const ask = () => runOnBullMQ({ connection: broker.connection, queue, manifest, task, deadline: 180_000 });
    const asked = Promise.all(Array.from({ length: coordinators }, ask));
    asked.catch(() => {});
    await fault(first, more);
    return (await asked).map((found) => task.encode(found));
  } finally {
    for (const worker of workers) {
      worker.kill('SIGCONT');
      worker.kill('SIGKILL');
      await worker.ended;
    }
  }
}

const FAULTS: readonly Fault[] = [
  {
    name: 'kill −9 of a worker',
    run: (broker, queue) =>
      withWorkers(broker, queue, async (first, more) => {
        await pause(between(0, 2500));
        first.kill('SIGKILL');
        await more();
      }),
  },
  {
    name: 'SIGSTOP of a worker past its lock, then SIGCONT',
    run: (broker, queue) =>
      withWorkers(broker, queue, async (first, more) => {
        await pause(between(100, 2000));
        first.kill('SIGSTOP');
        await more();
        await pause(between(2500, 4000));
        first.kill('SIGCONT');
      }),
  },
  {
    name: 'the broker killed and started anew',
    run: (broker, queue) =>
      withWorkers(broker, queue, async () => {
        await pause(between(0, 2500));
        await broker.kill();
        await pause(between(100, 1500));
        await broker.start();
      }),
  },
  {
    name: 'the coordinator killed, and the run asked for again',
    run: async (broker, queue) => {
      const lost = coordinate(broker.connection, queue);
      const found = await withWorkers(broker, queue, async () => {
        await pause(between(500, 2000));
        lost.kill('SIGKILL');
      });
      lost.kill('SIGKILL');
      return found;
    },
  },
  {
    name: 'two coordinators at once',
    run: (broker, queue) => withWorkers(broker, queue, () => pause(0), 2),
  },
];

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Array jobs over a folder, some of which are killed, stopped, repeated or damaged. */
async function parts(name: string): Promise<Uint8Array[]> {
  const place = join(folder, name);
  const file = `${place}.json`;
  writeFileSync(file, JSON.stringify(manifest));
  const store = directoryStore(place);
  const shard = (i: number) =>
    spawn(process.execPath, [CLI, 'shard', file, `${i}`, '--store', place], { stdio: 'ignore' });
  const ended = (child: ChildProcess) => new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const all = manifest.shards.map((_, i) => i);
  const run = await runIdOf(manifest, task);
  for (let from = 0; from < all.length; from += 4) {
    const children = all.slice(from, from + 4).map(shard);
    const waiting = Promise.all(children.map(ended));
    const [victim] = children;
    if (random.uniform() < 0.5) {
      await pause(between(50, 600));
      victim.kill('SIGKILL');
    } else {
      await pause(between(50, 600));
      victim.kill('SIGSTOP');
      await ended(shard(from));
      victim.kill('SIGCONT');
    }
    await waiting;
  }
  await mergeShards(manifest, task, store).catch(() => {});
  for (const i of all) {
    const part = `${run}/${manifest.shards[i].key}.part`;
    if (random.uniform() < 0.1 && (await store.has(part))) truncateSync(join(place, part), Math.floor(between(0, 300)));
  }
  // as a scheduler does: whatever is not there or not whole
  for (const i of all) await ended(shard(i));
  return [task.encode(await mergeShards(manifest, task, store))];
}

const engines = ['redis', 'postgresql', 'parts'].filter((name) => !options.only || options.only === name);
const brokers = new Map<string, Broker>();
let wrong = 0;
try {
  for (const [name, start, of] of [
    ['redis', startRedis, 'Redis'],
    ['postgresql', startPostgres, 'PostgreSQL'],
  ] as const) {
    if (!engines.includes(name)) continue;
    const why = missing(of);
    if (why) throw new Error(why);
    brokers.set(name, await start());
  }
  console.log(`expected ${digest(expected).slice(0, 16)}`);
  for (let i = 0; i < Number(options.count); i++) {
    const engine = engines[i % engines.length];
    const broker = brokers.get(engine);
    const fault = FAULTS[Math.floor(random.uniform() * FAULTS.length)];
    const started = performance.now();
    let said: string;
    try {
      const found = broker ? await fault.run(broker, `fault-${i}`) : await parts(`fault-${i}`);
      const same = found.every((bytes) => digest(bytes) === digest(expected));
      if (!same) wrong++;
      said = same ? 'the same bytes' : `OTHER BYTES: ${found.map((bytes) => digest(bytes).slice(0, 16))}`;
    } catch (error) {
      wrong++;
      said = `FAILED: ${(error as Error).message}`;
    }
    const what = broker ? fault.name : 'kills, stops, repeats and damaged parts';
    console.log(
      `${`${i + 1}`.padStart(3)}  ${engine.padEnd(11)}${what.padEnd(52)}${said}, ${((performance.now() - started) / 1000).toFixed(1)} s`,
    );
  }
} finally {
  for (const broker of brokers.values()) await broker.stop();
  rmSync(folder, { recursive: true });
}
console.log(wrong ? `${wrong} went wrong` : 'every run gave the same bytes');
process.exitCode = wrong ? 1 : 0;
