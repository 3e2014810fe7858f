// Compiled networks in worker threads.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  type CompiledNetwork,
  Conv2d,
  Graph,
  Linear,
  ReLU,
  Sequential,
  Softmax,
  tensor,
} from '../../src/index.ts';
import { convolutions } from '../../src/infer/index.ts';
import { Random } from '../../src/nn/random.ts';
import type { Measurement, Pool, PoolOptions } from '../../src/pool/index.ts';
import { soak } from '../soak/soak.ts';
import { lopsided, normals } from '../support/data.ts';
import { rejectionOf } from '../support/errors.ts';
import { type Pools, pools } from '../support/pool.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
let workers: Pools;
const opened: Pool[] = [];

beforeAll(async () => {
  workers = await pools();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
  expect(workers.alive).toBe(0);
});
afterAll(() => {
  workers.remove();
  rmSync(folder, { recursive: true });
});

async function pool(source: Parameters<Pools['pool']>[0], options?: PoolOptions): Promise<Pool> {
  const one = await workers.pool(source, options);
  opened.push(one);
  return one;
}

const net = new Sequential(new Linear(6, 16), new BatchNorm1d(16), new ReLU(), new Linear(16, 3));
net.forward({ data: lopsided(1, [32, 6]), shape: [32, 6] });
net.eval();
const compiled: CompiledNetwork = net.compile();
const file = compiled.save();
const rows = (seed: number, count = 1) => ({ data: normals(seed, count * 6), shape: [count, 6] });
const answerOf = (x: { data: Float32Array; shape: number[] }) => compiled(x);

/** A module whose network does what the first value of each row says. */
const HOSTILE = `
const run = ({ data, shape }) => {
  for (let i = 0; i < data.length; i += 2) {
    const what = data[i];
    if (what === 666) process.exit(7);
    if (what === 13) throw new RangeError('thirteen');
    if (what >= 1000) for (const end = performance.now() + what - 1000; performance.now() < end; );
  }
  return { data: data.map((value) => 2 * value), shape };
};
export default Object.assign(run, {
  inputs: [{ name: 'x', shape: [null, 2] }],
  outputs: [{ name: 'output', shape: [null, 2] }],
});
`;
const moduleOf = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return pathToFileURL(path);
};
const hostile = moduleOf('hostile.mjs', HOSTILE);
const two = (what: number, other = 1) => ({ data: Float32Array.of(what, other), shape: [1, 2] });

describe('a pool', () => {
  test('gives what the compiled network gives, to whom it belongs, and leaves inputs alone', async () => {
    const p = await pool(file, { workers: 2, maxBatch: 8 });
    expect(p.inputs).toEqual([{ name: 'x', shape: [null, 6] }]);
    expect(p.outputs).toEqual([{ name: 'output', shape: [null, 3] }]);
    const inputs = Array.from({ length: 100 }, (_, i) => rows(i + 1, 1 + (i % 3)));
    const kept = inputs.map(({ data }) => data.slice());
    const answers = await Promise.all(inputs.map((x) => p.run(x)));
    answers.forEach((answer, i) => {
      expect(answer).toEqual(answerOf(inputs[i]));
      expect(inputs[i].data).toEqual(kept[i]);
    });
    const { requests, batches, queued, running, workers: each } = p.stats();
    expect([requests.completed, queued, running]).toEqual([100, 0, 0]);
    expect(batches.count).toBeLessThan(60);
    const sizes = Object.entries(batches.sizes);
    expect(sizes.reduce((sum, [size, count]) => sum + Number(size) * count, 0)).toBe(100);
    expect(Math.max(...sizes.map(([size]) => Number(size)))).toBeLessThanOrEqual(8);
    expect(each.map(({ id }) => id)).toEqual([0, 1]);
    expect(each.reduce((sum, one) => sum + one.requests, 0)).toBe(100);
  });

  test('takes a path, a URL, an ArrayBuffer and a Tensor, and names shapes as the input does', async () => {
    const path = join(folder, 'net.safetensors');
    writeFileSync(path, file);
    const x = rows(3);
    for (const source of [path, pathToFileURL(path), pathToFileURL(path).href, file.buffer]) {
      const p = await pool(source, { workers: 1 });
      expect(await p.run({ data: x.data, dims: x.shape })).toEqual({ data: answerOf(x).data, dims: [1, 3] });
      const inside = tensor(x.data, x.shape);
      expect(await p.run(inside)).toEqual(answerOf(x));
      inside.dispose();
    }
  });

  test('the values are copied when run is called', async () => {
    const p = await pool(file, { workers: 1 });
    const x = rows(5);
    const expected = answerOf(x);
    const answer = p.run(x);
    x.data.fill(0);
    expect(await answer).toEqual(expected);
  });

  test('a module may export a compiled network, one to be compiled, or a function that gives one', async () => {
    const root = fileURLToPath(new URL('../../dist/index.js', import.meta.url));
    const inferred = fileURLToPath(new URL('../../dist/infer/index.js', import.meta.url));
    const path = join(folder, 'net.safetensors');
    writeFileSync(path, file);
    const sources = {
      'compiled.mjs': `import { readFileSync } from 'node:fs'; import { load } from '${inferred}'; export default load(readFileSync('${path}'));`,
      'made.mjs': `import { readFileSync } from 'node:fs'; import { load } from '${inferred}'; export default async () => load(readFileSync('${path}'));`,
      'sequential.mjs': `import { Sequential, ReLU, Linear } from '${root}'; export default new Sequential(new Linear(6, 3, { seed: 1 }), new ReLU());`,
    };
    for (const [name, text] of Object.entries(sources)) {
      const p = await pool(moduleOf(name, text), { workers: 1 });
      const { data, shape } = await p.run(rows(2));
      expect(shape).toEqual([1, 3]);
      if (name !== 'sequential.mjs') expect(data).toEqual(answerOf(rows(2)).data);
    }
  });

  test('networks of several inputs and outputs, batched and not', async () => {
    const graph = new Graph({ a: [2], b: [3] }, (g, { a, b }) => {
      const joined = g.concat([a, b], 1);
      return { joined, left: g.apply('relu', new ReLU(), a) };
    });
    const run = graph.eval().compile();
    const p = await pool(run.save(), { workers: 1, operations: run.operations });
    const inputs = Array.from({ length: 5 }, (_, i) => ({
      a: { data: normals(i + 1, 4), shape: [2, 2] },
      b: { data: normals(i + 9, 6), shape: [2, 3] },
    }));
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(inputs.map((x) => p.run(x)));
      answers.forEach((answer, i) => {
        expect(answer).toEqual(run(inputs[i]));
      });
    }
    expect(await rejectionOf(p.run({ a: inputs[0].a }))).toEqual([
      'TypeError',
      'ERR_TYPE',
      'pool: b expected a Tensor or { data, shape }, got undefined',
    ]);
    expect(await rejectionOf(p.run({ ...inputs[0], c: inputs[0].a }))).toEqual([
      'TypeError',
      'ERR_OPTION',
      "pool: inputs expected 'a' or 'b', got 'c'",
    ]);
    expect(await rejectionOf(p.run({ ...inputs[0], b: { data: normals(1, 3), shape: [1, 3] } }))).toEqual(
      expect.arrayContaining(['ERR_SHAPE']),
    );
    run.dispose();
  });

  test('rows that depend on each other are never run as one batch', async () => {
    const coupled = `
      const run = ({ data, shape }) => {
        const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
        return { data: data.map((value) => value - mean), shape };
      };
      export default Object.assign(run, { inputs: [{ name: 'x', shape: [null, 2] }], outputs: [{ name: 'y', shape: [null, 2] }] });`;
    const p = await pool(moduleOf('coupled.mjs', coupled), { workers: 1, maxBatch: 8 });
    // all the same: their mean is that of each
    for (const answer of await Promise.all(Array.from({ length: 20 }, () => p.run(two(1, 3)))))
      expect([...answer.data]).toEqual([-1, 1]);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => p.run(two(i, i + 2))));
    for (const { data } of answers) expect([...data]).toEqual([-1, 1]);
    expect(p.stats().requests.completed).toBe(60);
  });

  test('requests that all hold the same become batches as others do', async () => {
    const p = await pool(file, { workers: 1, maxBatch: 8 });
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(Array.from({ length: 16 }, () => p.run(rows(1))));
      for (const answer of answers) expect(answer).toEqual(answerOf(rows(1)));
    }
    // where they were found to be independent: a request joins what waits
    expect(p.stats().batches.sizes).toEqual({ 8: 4 });
    const zeros = () => ({ data: new Float32Array(6), shape: [1, 6] });
    for (const answer of await Promise.all(Array.from({ length: 8 }, () => p.run(zeros()))))
      expect(answer).toEqual(answerOf(zeros()));
  });

  test('softmax over the batch, which keeps the shape, is found out as well', async () => {
    const graph = new Graph({ x: [4] }, (g, { x }) => g.apply('softmax', new Softmax({ axis: 0 }), x));
    const run = graph.eval().compile();
    const p = await pool(run.save(), { workers: 1 });
    const inputs = Array.from({ length: 12 }, (_, i) => ({ data: normals(i + 1, 12), shape: [3, 4] }));
    const answers = await Promise.all(inputs.map((x) => p.run(x)));
    answers.forEach((answer, i) => {
      expect(answer).toEqual(run(inputs[i]));
    });
    run.dispose();
  });

  test('NaN stays in its row', async () => {
    const p = await pool(file, { workers: 1 });
    const bad = rows(1);
    bad.data[2] = Number.NaN;
    const inputs = [rows(2), bad, rows(3), rows(4)];
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(inputs.map((x) => p.run(x)));
      answers.forEach((answer, i) => {
        expect(answer).toEqual(answerOf(inputs[i]));
      });
      expect(answers[1].data.some(Number.isNaN)).toBe(true);
    }
  });

  test('a wrong shape is refused before it waits, and others are unharmed', async () => {
    const p = await pool(file, { workers: 1 });
    const good = [rows(1), rows(2)].map((x) => p.run(x));
    expect(await rejectionOf(p.run({ data: normals(1, 7), shape: [1, 7] }))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      'pool: x expected shape [null, 6], got [1, 7]',
    ]);
    expect(await rejectionOf(p.run({ data: normals(1, 6), shape: [6] }))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      'pool: x expected rank 2 to 3, got rank 1 (shape [6])',
    ]);
    expect(await rejectionOf(p.run({ data: normals(1, 5), shape: [1, 6] }))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      'pool: x.data expected 6 values, got 5 (shape [1, 6])',
    ]);
    expect(await rejectionOf(p.run([1] as never))).toEqual([
      'TypeError',
      'ERR_TYPE',
      'pool: x expected a Tensor or { data, shape }, got [1]',
    ]);
    expect((await Promise.all(good)).map(({ shape }) => shape)).toEqual([
      [1, 3],
      [1, 3],
    ]);
    // what only the network can know
    const [, code] = (await rejectionOf(p.run({ data: normals(1, 14), shape: [1, 2, 7] })))!;
    expect(code).toBe('ERR_SHAPE');
    expect(p.stats().requests).toEqual({ completed: 2, failed: 1, aborted: 0, timedOut: 0, refused: 0 });
  });

  test('requests of other shapes are batches of their own', async () => {
    const conv = new Sequential(new Conv2d(2, 3, 3, { padding: 1 }), new ReLU()).eval();
    const run = conv.compile();
    const p = await pool(run.save(), { workers: 2, operations: [convolutions], maxBatch: 4 });
    const inputs = Array.from({ length: 24 }, (_, i) => {
      const size = 3 + (i % 3);
      return { data: normals(i + 1, 2 * size * size), shape: [1, 2, size, size] };
    });
    const answers = await Promise.all(inputs.map((x) => p.run(x)));
    answers.forEach((answer, i) => {
      expect(answer).toEqual(run(inputs[i]));
    });
    run.dispose();
  });

  test('an error of the network goes to whom it belongs', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 8 });
    await Promise.all([p.run(two(1)), p.run(two(2))]);
    const answers = [1, 13, 2, 3].map((what) => p.run(two(what)));
    expect(await rejectionOf(answers[1])).toEqual(['RangeError', undefined, 'thirteen']);
    for (const i of [0, 2, 3]) expect((await answers[i]).data[1]).toBe(2);
    expect(p.stats().requests).toMatchObject({ completed: 5, failed: 1 });
  });

  test('more than maxQueue requests are refused, with the number of those that wait', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 1, maxQueue: 3 });
    const busy = [p.run(two(1100)), p.run(two(1)), p.run(two(2))];
    const error = await p.run(two(3)).catch((reason) => reason);
    expect([error.code, error.queued, error.message]).toEqual([
      'ERR_BUSY',
      3,
      'pool: run expected fewer than 3 requests waiting, got 3',
    ]);
    await Promise.all(busy);
    expect((await p.run(two(4))).data[0]).toBe(8);
    expect(p.stats().requests).toMatchObject({ completed: 4, refused: 1 });
  });

  test('a request is aborted, and never begun if it was not', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 4 });
    await p.run(two(1));
    const controller = new AbortController();
    const first = p.run(two(1080));
    await new Promise((resolve) => setTimeout(resolve, 20));
    // would end the worker if it was begun
    const bad = p.run(two(666), { signal: controller.signal });
    const good = p.run(two(5));
    controller.abort(new Error('enough'));
    await expect(bad).rejects.toThrow('enough');
    expect((await good).data[0]).toBe(10);
    await first;
    await expect(p.run(two(1), { signal: controller.signal })).rejects.toThrow('enough');
    const stats = p.stats();
    expect(stats.requests).toMatchObject({ completed: 3, aborted: 2, failed: 0 });
    expect(stats.workers[0].restarts).toBe(0);
    const other = new AbortController();
    const text = p.run(two(1050), { signal: other.signal });
    other.abort('a word');
    await expect(text).rejects.toBe('a word');
  });

  test('a request that takes too long is ERR_TIMEOUT, whether it waits or runs', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 1, timeout: 10_000 });
    await p.run(two(1));
    const slow = p.run(two(1300), { timeout: 100 });
    const waiting = p.run(two(1300), { timeout: 100 });
    const third = p.run(two(666), { timeout: 100 });
    for (const one of [slow, waiting, third]) {
      const [name, code, message] = (await rejectionOf(one))!;
      expect([name, code]).toEqual(['Error', 'ERR_TIMEOUT']);
      expect(message).toMatch(/^pool: run expected an answer within 100 ms, got none(, and \d requests waiting)?$/);
    }
    expect((await p.run(two(7))).data[0]).toBe(14);
    expect(p.stats().requests).toMatchObject({ completed: 2, timedOut: 3 });
  });

  test('a worker that dies is replaced; what it had is run once more, each alone, then ERR_WORKER', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 8 });
    await Promise.all([p.run(two(1)), p.run(two(2))]);
    const answers = [1, 666, 3, 4].map((what) => p.run(two(what)));
    expect(await rejectionOf(answers[1])).toEqual([
      'Error',
      'ERR_WORKER',
      'pool: run expected a worker that answers, got an exit with code 7',
    ]);
    for (const i of [0, 2, 3]) expect((await answers[i]).data[1]).toBe(2);
    expect(p.stats().workers[0].restarts).toBe(2);
    expect(p.stats().requests).toMatchObject({ completed: 5, failed: 1 });
  });

  test('kills at random lose nothing and double nothing', async () => {
    const p = await pool(file, { workers: 2, maxBatch: 4, maxQueue: 5000 });
    const expected = Array.from({ length: 50 }, (_, i) => answerOf(rows(i + 1)));
    let answered = 0;
    for (let round = 0; round < 20; round++) {
      const isStarting = () => p.stats().workers.some(({ state }) => state === 'starting');
      while (isStarting()) await new Promise((resolve) => setTimeout(resolve, 2));
      const answers = Array.from({ length: 100 }, (_, i) => p.run(rows((i % 50) + 1)));
      if (round % 2) setImmediate(() => workers.kill(round % 3 ? 1 : 0));
      for (const [i, answer] of (await Promise.all(answers)).entries()) {
        expect(answer).toEqual(expected[i % 50]);
        answered++;
      }
    }
    const { requests, workers: each } = p.stats();
    expect([answered, requests.completed, requests.failed]).toEqual([2000, 2000, 0]);
    expect(each.reduce((sum, { restarts }) => sum + restarts, 0)).toBe(10);
  });

  test('clients that ask again and again while workers are killed all get their own answers', async () => {
    const random = new Random(4);
    const found = await soak({
      workers,
      net,
      features: 6,
      requests: 20_000,
      kills: 8,
      clients: 100,
      random: () => random.uniform(),
    });
    expect(found).toMatchObject({ asked: 20_000, answered: 20_000, wrong: 0, failed: 0 });
    expect(found.restarts).toBe(found.kills);
    expect(found.kills).toBeGreaterThan(0);
  });

  test('map keeps order with bounded memory, and ends with its consumer', async () => {
    const p = await pool(file, { workers: 2, maxBatch: 4, maxQueue: 10 });
    let [taken, open, ended] = [0, 0, false];
    let most = 0;
    async function* source(count: number) {
      try {
        for (let i = 0; i < count; i++) {
          taken++;
          most = Math.max(most, ++open);
          yield rows(i + 1);
        }
      } finally {
        ended = true;
      }
    }
    let next = 0;
    for await (const y of p.map(source(300))) {
      open--;
      expect(y).toEqual(answerOf(rows(++next)));
    }
    expect([next, ended]).toEqual([300, true]);
    expect(most).toBeLessThanOrEqual(12);
    [taken, ended] = [0, false];
    for await (const _ of p.map(source(300))) if (taken > 20) break;
    expect(ended).toBe(true);
    expect(taken).toBeLessThan(60);
    const sync = [rows(1), rows(2)];
    const seen = [];
    for await (const y of p.map(sync)) seen.push(y);
    expect(seen).toEqual(sync.map(answerOf));
    await expect(p.map(5 as never).next()).rejects.toThrow(
      'pool: inputs expected an iterable or async iterable, got 5',
    );
  });

  test('map waits where others fill the queue, passes errors on, and is aborted', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 1, maxQueue: 2 });
    const others = [p.run(two(1030)), p.run(two(1030))];
    const seen: number[] = [];
    for await (const { data } of p.map([two(1), two(2), two(3)])) seen.push(data[0]);
    expect(seen).toEqual([2, 4, 6]);
    await Promise.all(others);
    const results = p.map([two(1), two(13), two(3)]);
    expect((await results.next()).value?.data[0]).toBe(2);
    await expect(results.next()).rejects.toThrow('thirteen');
    expect(await results.next()).toEqual({ done: true, value: undefined });
    const controller = new AbortController();
    const never: AsyncIterable<ReturnType<typeof two>> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    const waiting = p.map(never, { signal: controller.signal }).next();
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  test('close answers what was asked for, then ends the workers; later requests are ERR_CLOSED', async () => {
    const p = await pool(hostile, { workers: 2, maxBatch: 2, maxDelay: 60_000 });
    const answers = Array.from({ length: 7 }, (_, i) => p.run(two(1000 + i)));
    const closed = p.close();
    expect(await rejectionOf(p.run(two(1)))).toEqual([
      'Error',
      'ERR_CLOSED',
      'pool: run expected an open pool, got one that was closed',
    ]);
    expect((await Promise.all(answers)).map(({ data }) => data[0])).toEqual(
      [0, 1, 2, 3, 4, 5, 6].map((i) => 2000 + 2 * i),
    );
    await closed;
    await p.close();
    expect(workers.alive).toBe(0);
    let inner: Pool;
    {
      await using q = await workers.pool(file, { workers: 1 });
      inner = q;
      await q.run(rows(1));
    }
    await expect(inner.run(rows(1))).rejects.toThrow('got one that was closed');
  });

  test('requests wait for company as long as maxDelay says', async () => {
    const p = await pool(hostile, { workers: 1, maxBatch: 4, maxDelay: 100 });
    const answers: Promise<unknown>[] = [];
    for (let i = 0; i < 4; i++) {
      answers.push(p.run(two(i)));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(answers);
    expect(p.stats().batches.sizes).toEqual({ 4: 1 });
    await p.run(two(5));
    expect(p.stats().batches.sizes).toEqual({ 1: 1, 4: 1 });
  });

  test('statistics and measurements say the same', async () => {
    const seen: Measurement[] = [];
    const p = await pool(hostile, { workers: 1, metrics: (one) => seen.push(one) });
    expect(p.stats().latency).toEqual({ p50: Number.NaN, p95: Number.NaN, p99: Number.NaN });
    await p.run(two(1020));
    await p.run(two(13)).catch(() => {});
    const { latency, workers: each } = p.stats();
    expect(latency.p99).toBeGreaterThanOrEqual(20);
    expect(latency.p50).toBeLessThanOrEqual(latency.p99);
    expect(each[0].busy).toBeGreaterThanOrEqual(20);
    const of = (name: string) => seen.filter((one) => one.name === `evenkeel.pool.${name}`);
    expect(of('request.duration').map(({ attributes }) => attributes)).toEqual([{}, { 'error.type': 'RangeError' }]);
    expect(of('request.duration')[0]).toMatchObject({ instrument: 'histogram', unit: 's' });
    expect(of('request.duration')[0].value).toBeGreaterThanOrEqual(0.02);
    expect(of('batch.size').map(({ value }) => value)).toEqual([1, 1]);
    expect(of('pending_requests').map(({ value }) => value)).toEqual([1, 0, 1, 0]);
    expect(of('batch.duration')[0].attributes).toEqual({ 'evenkeel.worker.id': 0 });
  });
});

describe('what a pool refuses', () => {
  const refusal = (source: unknown, options?: object) => rejectionOf(workers.pool(source as never, options as never));

  test('options', async () => {
    expect(await refusal(file, { worker: 2 })).toEqual([
      'TypeError',
      'ERR_OPTION',
      "pool: options expected 'workers', 'maxBatch', 'maxDelay', 'maxQueue', 'timeout', 'operations' or 'metrics', got 'worker'",
    ]);
    expect(await refusal(file, { workers: 0 })).toEqual([
      'RangeError',
      'ERR_OPTION',
      "pool: workers expected an integer from 1 to 256, or 'auto', got 0",
    ]);
    for (const [name, value, expected] of [
      ['maxBatch', 0, 'a whole number of 1 or more'],
      ['maxQueue', 1.5, 'a whole number of 1 or more'],
      ['maxDelay', -1, 'milliseconds from 0 to 2147483647'],
      ['timeout', Number.NaN, 'milliseconds from 0 to 2147483647'],
    ] as const) {
      expect(await refusal(file, { [name]: value })).toEqual([
        'RangeError',
        'ERR_OPTION',
        `pool: ${name} expected ${expected}, got ${value}`,
      ]);
    }
    expect(await refusal(file, { operations: ['conv'] })).toEqual([
      'TypeError',
      'ERR_OPTION',
      "pool: operations expected groups of 'evenkeel/infer', or their names, got ['conv']",
    ]);
    expect((await refusal(hostile, { operations: ['norms'] }))?.[1]).toBe('ERR_OPTION');
    const p = await pool(hostile, { workers: 1 });
    expect(await rejectionOf(p.run(two(1), { signal: {} as never }))).toEqual([
      'TypeError',
      'ERR_OPTION',
      'pool: signal expected an AbortSignal, got Object',
    ]);
  });

  test('sources', async () => {
    expect(await refusal(5)).toEqual(['TypeError', 'ERR_TYPE', 'pool: source expected bytes, a path or a URL, got 5']);
    expect((await refusal(new Uint8Array(9)))?.slice(0, 2)).toEqual(['RangeError', 'ERR_FORMAT']);
    expect((await refusal(join(folder, 'missing.safetensors')))?.[1]).toBe('ENOENT');
    const conv = new Sequential(new Conv2d(2, 3, 3)).eval().compile();
    const [, code, message] = (await refusal(conv.save(), { workers: 2, operations: [] }))!;
    expect(code).toBe('ERR_FORMAT');
    expect(message).toContain('operations: [convolutions]');
    conv.dispose();
    const empty = moduleOf('empty.mjs', 'export default { a: 1 };');
    expect(await refusal(empty)).toEqual([
      'TypeError',
      'ERR_TYPE',
      `pool: the default export expected a compiled network, one with compile(), or a function that returns either, got Object (${empty.href})`,
    ]);
    const broken = moduleOf('broken.mjs', 'throw new Error("broken");');
    expect((await refusal(broken, { workers: 1 }))?.[2]).toBe('broken');
    const exits = moduleOf('exits.mjs', 'process.exit(3);');
    expect(await refusal(exits, { workers: 1 })).toEqual([
      'Error',
      'ERR_WORKER',
      'pool: a worker expected to start, got an exit with code 3',
    ]);
  });

  test('workers that can no longer be started: requests are ERR_WORKER', async () => {
    const flag = join(folder, 'gone');
    const once = `import { existsSync } from 'node:fs'; if (existsSync(${JSON.stringify(flag)})) throw new Error('gone');\n${HOSTILE}`;
    const p = await pool(moduleOf('once.mjs', once), { workers: 1 });
    writeFileSync(flag, '');
    const [, code, message] = (await rejectionOf(p.run(two(666))))!;
    expect([code, message]).toEqual(['ERR_WORKER', 'pool: run expected a worker, got none (gone)']);
    expect((await rejectionOf(p.run(two(1))))?.[1]).toBe('ERR_WORKER');
    expect(p.stats().workers[0].state).toBe('failed');
  });
});

test('an open pool lets the process end, and answers first', () => {
  const script = join(folder, 'ends.mjs');
  const library = new URL('../../dist/pool/index.js', import.meta.url).href;
  writeFileSync(
    script,
    `import { pool } from '${library}';
     const p = await pool(new URL('${hostile.href}'), { workers: 2 });
     p.run({ data: Float32Array.of(1050, 2), shape: [1, 2] }).then(({ data }) => console.log(data[1]));`,
  );
  expect(execFileSync(process.execPath, [script], { encoding: 'utf8', timeout: 60_000 }).trim()).toBe('4');
  const typed = execFileSync(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { pool } from '${library}'; const p = await pool(new URL('${hostile.href}'), { workers: 1 }); console.log(p.inputs[0].name);`,
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  expect(typed.trim()).toBe('x');
});
