// Runs over a broker with workers in processes of their own, as a user would start them.

import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const LIBRARY = new URL('../../dist/', import.meta.url).href;

/**
 * A module with the statistics of the trials' shards, slowed down so that faults meet them at work.
 */
export function writeTask(folder: string, { version = '1', delay = 0 } = {}): string {
  const path = join(folder, `task-${version}-${delay}.mjs`);
  writeFileSync(
    path,
    `import { BatchNorm1d, Random, Sequential } from '${LIBRARY}index.js';
import { statisticsTask } from '${LIBRARY}shards/index.js';
const [channels, rows, batch] = [16, 4000, 500];
function* batchesOf(seed) {
  const random = new Random(seed);
  for (let from = 0; from < rows; from += batch) {
    const data = Float32Array.from({ length: batch * channels }, (_, i) => {
      const c = i % channels;
      return 1e4 * (c + 1) + ((c + 1) / 2) * random.normal();
    });
    yield { data, shape: [batch, channels] };
  }
}
const block = (time) => { for (const end = performance.now() + time; performance.now() < end; ); };
export default statisticsTask({
  version: '${version}',
  net: () => new Sequential(new BatchNorm1d(channels)),
  *batches({ seed, fail }) {
    block(${delay});
    if (fail) throw new Error(fail);
    yield* batchesOf(seed);
  },
});
`,
  );
  return path;
}

/** A worker of the command line. */
export interface WorkerProcess {
  readonly child: ChildProcess;
  kill(signal: NodeJS.Signals): void;
  ended: Promise<void>;
}

/** Resolves once the worker serves the queue. */
export async function startWorker(task: string, connection: string, ...options: string[]): Promise<WorkerProcess> {
  const child = spawn(process.execPath, [CLI, 'worker', task, '--connection', connection, ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr!.on('data', (text) => {
      said += text;
      if (said.includes('serving')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`the worker ended with ${code}: ${said}`)));
  });
  return { child, ended, kill: (signal) => void child.kill(signal) };
}
