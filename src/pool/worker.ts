// The module that a worker runs: opens a network, then runs the batches it is sent, one after the
// other.

import type { Done, Job, Opened, Opening } from './messages.ts';
import { Serving } from './network.ts';

/** How a worker hears and answers, whichever kind the host has. */
interface Port {
  postMessage(message: Opened | Done, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: { data: Opening | Job }) => void): void;
  /** Node's ports wait for it. */
  start?(): void;
}

interface NodeHost {
  getBuiltinModule?(name: string): unknown;
}

const threads = (globalThis as { process?: NodeHost }).process?.getBuiltinModule?.('node:worker_threads') as
  | { parentPort: Port | null }
  | undefined;
const port = threads?.parentPort ?? (globalThis as unknown as Port);
let serving: Serving | undefined;

/** Takes a Web Lock, and keeps it until this worker is no more. */
const hold = (lock: string) =>
  new Promise<void>((resolve) => {
    void navigator.locks.request(lock, () => {
      resolve();
      return new Promise(() => {});
    });
  });

async function open(opening: Opening): Promise<void> {
  if (opening.lock !== undefined) await hold(opening.lock);
  const found = await Serving.open(opening);
  serving = found.serving;
  port.postMessage(found.opened, []);
}

function run(job: Job): void {
  if (!serving) return;
  const done = serving.answer(job);
  const buffers = done.answers.flatMap((answer) =>
    'outputs' in answer ? answer.outputs.map(({ data }) => data.buffer as ArrayBuffer) : [],
  );
  // two outputs may be one
  port.postMessage(done, [...new Set(buffers)]);
}

port.addEventListener('message', ({ data }) => {
  if ('source' in data) void open(data);
  else run(data);
});
port.start?.();
