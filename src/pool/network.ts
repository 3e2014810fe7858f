// A worker's side: the network, and the batches it runs.

import { isList, show, wrongKind } from '../errors.ts';
import {
  activations,
  arithmetic,
  configure,
  convolutions,
  indexing,
  load,
  merging,
  norms,
  pooling,
  recurrent,
  reshaping,
  softmax,
} from '../infer/index.ts';
import type { Compiled, Operations } from '../infer/list.ts';
import type { Program } from '../infer/program.ts';
import {
  type Answer,
  type Done,
  failureOf,
  GROUPS,
  type Job,
  type Opened,
  type Opening,
  type Output,
  type Source,
} from './messages.ts';

/** A compiled network, whichever copy of the library made it. */
type Network = Pick<Compiled, 'inputs' | 'outputs'> & {
  (x: unknown): unknown;
  readonly ranks?: Program['ranks'];
};

/** How far an output may lie from that of its request alone, over the largest value: rounding. */
const ROUNDING = 1e-5;

const GROUP: Readonly<Record<(typeof GROUPS)[number], Operations>> = {
  activations,
  arithmetic,
  convolutions,
  indexing,
  merging,
  norms,
  pooling,
  recurrent,
  reshaping,
  softmax,
};

const isNetwork = (value: unknown): value is Network =>
  typeof value === 'function' &&
  isList((value as Partial<Network>).inputs) &&
  isList((value as Partial<Network>).outputs);

/** The network that a module exports: compiled, to be compiled, or a function that gives either. */
async function networkOf(url: string): Promise<Network> {
  const { default: exported } = (await import([url][0])) as {
    default?: unknown;
  };
  const made = typeof exported === 'function' && !isNetwork(exported) ? await exported() : exported;
  if (isNetwork(made)) return made;
  const { compile } = (made ?? {}) as { compile?: unknown };
  const compiled: unknown = typeof compile === 'function' ? compile.call(made) : undefined;
  if (isNetwork(compiled)) return compiled;
  const expected = 'a compiled network, one with compile(), or a function that returns either';
  throw wrongKind('ERR_TYPE', 'pool', 'the default export', expected, show(made), url);
}

async function open(source: Source): Promise<Network> {
  if ('module' in source) return networkOf(source.module);
  const { file, operations } = source;
  const some = GROUPS.flatMap((name) =>
    operations && !operations.includes(name)
      ? GROUP[name].filter(({ kind }) => operations.includes(kind))
      : GROUP[name],
  );
  return load(file.slice(), { operations: [some] }) as unknown as Network;
}

/** A worker's network, ready to run batches. */
export class Serving {
  readonly #network: Network;

  constructor(network: Network) {
    this.#network = network;
  }

  static async open({ source, settings }: Opening): Promise<{ serving?: Serving; opened: Opened }> {
    try {
      configure(settings);
      const network = await open(source);
      // what came from a module may hold anything; ports are what is needed
      const ports = (list: Network['inputs']) => list.map(({ name, shape }) => ({ name, shape }));
      const { inputs, outputs, ranks } = network;
      return { serving: new Serving(network), opened: { inputs: ports(inputs), outputs: ports(outputs), ranks } };
    } catch (error) {
      return { opened: { error: failureOf(error) } };
    }
  }

  /** Runs a batch: all of it at once where rows are independent. */
  answer(job: Job): Done {
    const started = performance.now();
    const done = (answers: readonly Answer[], isBatchable?: boolean): Done => {
      return { id: job.id, answers, isBatchable, time: performance.now() - started };
    };
    const whole = this.#attempt(job.inputs);
    if (job.rows.length === 1) return done([whole]);
    if ('outputs' in whole && !job.isNew) return done([whole]);
    // one by one: to compare, or to find out whose error it is
    const alone = this.#each(job);
    if ('error' in whole) return done(alone);
    const verdict = job.isNew ? this.#verdict(job, whole.outputs, alone) : undefined;
    return verdict ? done([whole], true) : done(alone, verdict);
  }

  /** Are rows independent? Undefined where that cannot be told. */
  #verdict(job: Job, whole: readonly Output[], alone: readonly Answer[]): boolean | undefined {
    const verdict = independent(job, whole, alone);
    if (verdict !== undefined) return verdict;
    // all requests hold the same: the first one beside a variation of itself can tell
    const varied = variation(job);
    const joint = this.#attempt(varied.inputs);
    if ('error' in joint) return undefined;
    const apart = this.#each(varied);
    return apart.some((answer) => 'error' in answer) ? undefined : independent(varied, joint.outputs, apart);
  }

  #each({ inputs, rows }: Job): Answer[] {
    const total = rows.reduce((sum, count) => sum + count, 0);
    let at = 0;
    return rows.map((count) => {
      const from = at;
      at += count;
      return this.#attempt(
        inputs.map(({ data, shape: [, ...row] }) => {
          const size = data.length / total;
          return { data: data.subarray(from * size, at * size), shape: [count, ...row] };
        }),
      );
    });
  }

  #attempt(inputs: Job['inputs']): Answer {
    const network = this.#network;
    try {
      const { inputs: ins, outputs: outs } = network;
      const y = network(ins.length === 1 ? inputs[0] : Object.fromEntries(ins.map(({ name }, i) => [name, inputs[i]])));
      const named = (outs.length === 1 ? { [outs[0].name]: y } : y) as Record<string, unknown>;
      return { outputs: outs.map(({ name }) => outputOf(name, named[name])) };
    } catch (error) {
      return { error: failureOf(error) };
    }
  }
}

/** An output in memory of its own, which may be given away. */
function outputOf(name: string, y: unknown): Output {
  const { data, shape } = (y ?? {}) as { data?: unknown; shape?: unknown };
  if (!(data instanceof Float32Array && isList(shape))) {
    throw wrongKind('ERR_TYPE', 'pool', `output '${name}'`, '{ data: Float32Array, shape }', show(y));
  }
  const owned = data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength ? data : data.slice();
  return { data: owned, shape: Array.from(shape as number[]) };
}

/**
 * Does the batch hold what its requests give one by one? Undefined where the requests cannot tell,
 * as all of them hold the same.
 */
function independent({ inputs, rows }: Job, whole: readonly Output[], alone: readonly Answer[]): boolean | undefined {
  const total = rows.reduce((sum, count) => sum + count, 0);
  let at = 0;
  for (let i = 0; i < rows.length; i++) {
    const answer = alone[i];
    if ('error' in answer) return false;
    for (const [k, { data, shape }] of answer.outputs.entries()) {
      const { data: all, shape: joint } = whole[k];
      const isRow = shape.length > 0 && shape.length === joint.length;
      if (!isRow || shape[0] !== rows[i] || joint[0] !== total) return false;
      if (shape.some((length, axis) => axis > 0 && length !== joint[axis])) return false;
      const size = data.length / rows[i];
      if (!close(data, all.subarray(at * size, (at + rows[i]) * size))) return false;
    }
    at += rows[i];
  }
  return inputs.some(({ data }) => !repeats(data, data.length / total)) || undefined;
}

/** The first request of a batch, and behind it the same with other values, of the same size. */
function variation({ id, inputs, rows: [count, ...others] }: Job): Job {
  const total = others.reduce((sum, one) => sum + one, count);
  const varied = inputs.map(({ data, shape: [, ...row] }) => {
    const size = (data.length / total) * count;
    const values = new Float32Array(2 * size);
    values.set(data.subarray(0, size));
    let most = 0;
    for (const value of data) if (Math.abs(value) > most && Number.isFinite(value)) most = Math.abs(value);
    // steps of the golden ratio: no period, and no value far from the others
    for (let i = 0; i < size; i++) values[size + i] = 0.5 * data[i] + 0.5 * (most || 1) * ((i * 0.618034) % 1);
    return { data: values, shape: [2 * count, ...row] };
  });
  return { id, inputs: varied, rows: [count, count], isNew: true };
}

/** Are two lists the same within rounding, and NaN in the same places? */
function close(a: Float32Array, b: Float32Array): boolean {
  let most = 0;
  for (const value of a) if (Math.abs(value) > most) most = Math.abs(value);
  const tolerance = Number.isFinite(most) ? most * ROUNDING : 0;
  return a.every((value, i) => Object.is(value, b[i]) || value === b[i] || Math.abs(value - b[i]) <= tolerance);
}

/** Is every row the same as the first? */
function repeats(data: Float32Array, size: number): boolean {
  return data.every((value, i) => i < size || Object.is(value, data[i % size]));
}
