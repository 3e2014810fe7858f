// A worker with one job.

import type { FromWorker, ToWorker } from './protocol.ts';

/** What a worker tells while it is at its job. */
export type Told = Exclude<FromWorker, { tell: 'ready' }>;

/** Gives a new worker a job as soon as it listens. */
export function hire(job: ToWorker, hear: (told: Told) => void): Worker {
  const worker = new Worker('worker.js', { type: 'module' });
  worker.onmessage = ({ data }: { data: FromWorker }) => {
    if (data.tell === 'ready') worker.postMessage(job);
    else hear(data);
  };
  worker.onerror = ({ message }) => hear({ tell: 'error', message });
  return worker;
}
