// npm run fuzz [-- --time SECONDS] [--seed N] [--only TEXT] [--keras]: mutated files through every reader, until the time is over or one does what
// it must not. A process of its own does the reading; the first one notices when it does not come back.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readArguments } from '../../scripts/arguments.ts';
import { complaint, kerasCases, readerCases } from '../support/readers.ts';
import { mutate } from './mutate.ts';

/** Mutations between two signs of life, and how long one may stay away. */
const BATCH = 64;
const LONGEST = 20_000;

interface Task {
  readonly seconds: number;
  readonly seed: number;
  readonly only: string;
  readonly keras: boolean;
}

interface Sign {
  readonly seed?: number;
  readonly failure?: string;
  readonly done?: string;
}

async function work({ seconds, seed, only, keras }: Task): Promise<void> {
  const send = (sign: Sign) => new Promise((resolve) => process.send!(sign, undefined, {}, resolve));
  const all = (keras ? kerasCases() : readerCases()).filter(({ name }) => name.includes(only));
  if (!all.length) return void (await send({ failure: `no file whose name has '${only}' in it` }));
  const end = Date.now() + seconds * 1000;
  let next = seed;
  for (; Date.now() < end; next++) {
    if ((next - seed) % BATCH === 0) await send({ seed: next });
    const one = all[next % all.length];
    const wrong = await complaint(one, mutate(one.bytes, next));
    if (wrong) return void (await send({ failure: `${one.name}, seed ${next}: ${wrong}` }));
  }
  const tried = next - seed;
  await send({
    done: `${tried.toLocaleString('en')} mutations of ${all.length} files, seeds ${seed} to ${next - 1}: each was read or refused`,
  });
}

function watch(): void {
  const { time, seed, only, keras } = readArguments({
    options: {
      time: { type: 'string', default: '60' },
      seed: { type: 'string', default: `${Date.now() % 1_000_000_000}` },
      only: { type: 'string', default: '' },
      keras: { type: 'boolean', default: false },
    },
  });
  console.log(`seed ${seed}, ${time} s`);
  const task: Task = { seconds: Number(time), seed: Number(seed), only, keras };
  const child = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, EVENKEEL_FUZZ: JSON.stringify(task) },
  });
  let at = task.seed;
  let ended = false;
  const fail = (why: string) => {
    console.error(`FAILED ${why}`);
    child.kill('SIGKILL');
    process.exit(1);
  };
  const silence = () => fail(`seeds ${at} to ${at + BATCH - 1}: no answer for ${LONGEST / 1000} s`);
  let watchdog = setTimeout(silence, LONGEST);
  child.on('message', ({ seed: next, failure, done }: Sign) => {
    if (next !== undefined) at = next;
    clearTimeout(watchdog);
    if (failure) fail(failure);
    if (done) {
      ended = true;
      console.log(done);
      child.disconnect();
    } else watchdog = setTimeout(silence, LONGEST);
  });
  child.on('exit', (code) => {
    if (!ended) fail(`seeds ${at} to ${at + BATCH - 1}: the process ended with ${code}`);
  });
}

const task = process.env.EVENKEEL_FUZZ;
if (task) void work(JSON.parse(task));
else watch();
