// npm run fuzz [-- --what NAME|all] [--time SECONDS] [--seed N] [--count N] [--only TEXT] [--keras]
// [--all]: cases by their seeds, until the time is over or one fails; `--all` goes on, and prints
// each kind of failure once. A process of its own does the work; the first one notices when it
// ends or does not come back, and finds the case by going through the last ones one by one.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readArguments } from '../../scripts/arguments.ts';
import { files } from './files.ts';
import type { Fuzzer, Trial } from './fuzzer.ts';
import { readers } from './readers.ts';
import { stateful } from './stateful.ts';
import { threads } from './threads.ts';

const FUZZERS: Readonly<Record<string, Fuzzer>> = { files, readers, stateful, threads };

/** Milliseconds between two signs of life, at least; and how long one may stay away. */
const INTERVAL = 100;
const LONGEST = 30_000;

interface Task {
  readonly what: string;
  readonly from: number;
  /** Cases, at the most. */
  readonly count: number;
  readonly seconds: number;
  readonly only: string;
  readonly keras: boolean;
  /** Go on after a failure. */
  readonly all: boolean;
  /** What a case is made of is left behind, where it can be: for one that ends the process. */
  readonly keep: boolean;
  /** A sign of life before each case. */
  readonly oneByOne: boolean;
}

/** What the working process says. */
interface Sign {
  /** The next case. */
  readonly seed?: number;
  readonly failure?: string;
  readonly done?: { readonly of: string; readonly until: number };
}

async function work(task: Task): Promise<void> {
  const send = (sign: Sign) => new Promise((resolve) => process.send!(sign, undefined, {}, resolve));
  const trial = await FUZZERS[task.what].prepare(task);
  const end = Date.now() + task.seconds * 1000;
  let told = 0;
  let seed = task.from;
  for (; seed < task.from + task.count; seed++) {
    const now = Date.now();
    if (now >= end) break;
    if (trial.spent?.()) break;
    if (task.oneByOne || now >= told + INTERVAL) {
      await send({ seed });
      told = now;
    }
    const failure = await tried(trial, seed, task.keep);
    if (!failure) continue;
    await send({ failure: `${task.what}, seed ${seed}: ${failure}` });
    if (task.all) continue;
    seed++;
    break;
  }
  await send({ done: { of: trial.of, until: seed } });
  process.disconnect();
  process.exit(0); // whatever threads there are
}

async function tried(trial: Trial, seed: number, keep: boolean): Promise<string | undefined> {
  try {
    return await trial.run(seed, keep);
  } catch (error) {
    return `the fuzzer itself: ${(error as Error).stack}`;
  }
}

interface Outcome {
  /** Where the process ended or fell silent, and the first case that it may have been. */
  readonly lost?: { readonly why: string; readonly seed: number };
  readonly done?: Sign['done'];
}

/** Runs a task in a process of its own. */
function attempt(task: Task, told: (failure: string) => void): Promise<Outcome> {
  const { flags = [], env } = FUZZERS[task.what];
  const child = fork(fileURLToPath(import.meta.url), [], {
    execArgv: [...process.execArgv, ...flags],
    env: { ...process.env, ...env, EVENKEEL_FUZZ: JSON.stringify(task) },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  let said = '';
  child.stderr!.on('data', (chunk) => {
    said = (said + chunk).slice(0, 10_000);
  });
  return new Promise((resolve) => {
    let seed = task.from;
    let done: Sign['done'];
    let silent = false;
    const silence = () => {
      silent = true;
      child.kill('SIGKILL');
    };
    let watchdog = setTimeout(silence, LONGEST);
    child.on('message', (sign: Sign) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(silence, LONGEST);
      seed = sign.seed ?? seed;
      done = sign.done ?? done;
      if (sign.failure) told(sign.failure);
    });
    child.on('exit', (code, signal) => {
      clearTimeout(watchdog);
      const [last = ''] = /^.*(?:Error|ERROR):.*$/m.exec(said) ?? [];
      const why = silent ? `no answer for ${LONGEST / 1000} s` : `the process ended with ${code ?? signal} ${last}`;
      resolve({ done, ...(!done && { lost: { why, seed } }) });
    });
  });
}

async function watch(): Promise<void> {
  const { what, time, seed, count, list, ...rest } = readArguments({
    options: {
      what: { type: 'string', default: 'all' },
      time: { type: 'string', default: '60' },
      seed: { type: 'string', default: `${Date.now() % 1_000_000_000}` },
      count: { type: 'string', default: 'Infinity' },
      only: { type: 'string', default: '' },
      keras: { type: 'boolean', default: false },
      all: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  const names = Object.keys(FUZZERS);
  if (list) {
    for (const name of names) console.log(`${name.padEnd(10)} ${FUZZERS[name].about}`);
    return;
  }
  if (what !== 'all' && !names.includes(what)) {
    console.error(`--what expected one of all, ${names.join(', ')}, got '${what}'`);
    process.exit(2);
  }
  const chosen = what === 'all' ? names : [what];
  const [from, most, seconds] = [Number(seed), Number(count), Number(time) / chosen.length];
  for (const name of chosen) {
    const task = { what: name, from, count: most, seconds, ...rest, keep: false, oneByOne: false };
    if (!(await fuzz(task))) process.exitCode = 1;
  }
}

/** Goes through a task in as many processes as it takes. Returns whether nothing failed. */
async function fuzz(task: Task): Promise<boolean> {
  const { what, from, count, seconds, all } = task;
  console.log(`${what}: seed ${from}, ${seconds} s`);
  const start = Date.now();
  const elapsed = () => (Date.now() - start) / 1000;
  const kinds = new Set<string>();
  const tell = (failure: string) => {
    const kind = kindOf(failure);
    if (kinds.has(kind)) return;
    kinds.add(kind);
    console.error(`FAILED ${failure}`);
  };
  let next = from;
  let of = 'cases';
  while (elapsed() < seconds && next < from + count) {
    const rest = { from: next, count: from + count - next, seconds: seconds - elapsed() };
    const { lost, done } = await attempt({ ...task, ...rest }, tell);
    const before = next;
    of = done?.of ?? of;
    next = done?.until ?? (await locate(task, lost!, tell)) + 1;
    if ((kinds.size && !all) || next === before) break;
  }
  const many = next - from;
  const rate = Math.round(many / elapsed()).toLocaleString('en');
  console.log(
    `${many.toLocaleString('en')} ${of}, seeds ${from} to ${next - 1}, ${rate} a second: ${verdict(kinds.size)}`,
  );
  return kinds.size === 0;
}

/**
 * Finds the case at which a process ended or fell silent, and has what it is made of left behind.
 */
async function locate(task: Task, { why, seed }: NonNullable<Outcome['lost']>, tell: (failure: string) => void) {
  const again = await attempt({ ...task, from: seed, count: 1e6, seconds: 60, oneByOne: true }, tell);
  if (!again.lost) {
    tell(`${task.what}, seeds from ${seed} on: ${why}, once`);
    return seed;
  }
  tell(`${task.what}, seed ${again.lost.seed}: ${again.lost.why}`);
  await attempt({ ...task, from: again.lost.seed, count: 1, keep: true }, () => {});
  return again.lost.seed;
}

/** The first line of a failure without its numbers, names of layers and places in files. */
function kindOf(failure: string): string {
  const [line] = failure.replace(/^.*?: /, '').split('\n');
  return line
    .replace(/\(\/.*?\)/g, '')
    .replace(/(Sequential|Residual|\w*(Norm|Renorm|Cell|Layer)(\dd)?|Linear|Dropout)(\(.*?\))?/g, 'L')
    .replace(/[\d.e+-]+/g, '#');
}

function verdict(kinds: number): string {
  return kinds ? `${kinds} ${kinds === 1 ? 'kind' : 'kinds'} of failure` : 'all as they should be';
}

const task = process.env.EVENKEEL_FUZZ;
if (task) {
  const given = JSON.parse(task);
  void work({ ...given, count: given.count ?? Number.POSITIVE_INFINITY });
} else void watch();
