// Runs over BullMQ, on Redis and on PostgreSQL: the bytes of a run in this process, whatever fails.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  directoryStore,
  runOnBullMQ,
  runShards,
  type ShardStatistics,
  type ShardTask,
} from '../../src/shards/index.ts';
import { type Broker, missing, startPostgres, startRedis } from '../support/brokers.ts';
import { rejectionOf } from '../support/errors.ts';
import { startWorker, type WorkerProcess, writeTask } from '../support/shard-run.ts';
import { manifestOf } from '../support/shards.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
afterAll(() => rmSync(folder, { recursive: true }));

const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time));

describe.each([
  ['Redis', startRedis],
  ['PostgreSQL', startPostgres],
] as const)('on %s', (name, start) => {
  const why = missing(name);
  if (why) {
    test.skip(why, () => {});
    return;
  }
  let broker: Broker;
  let path: string;
  let task: ShardTask<ShardStatistics>;
  let expected: Uint8Array;
  const manifest = manifestOf(12);
  const workers: WorkerProcess[] = [];
  let queues = 0;
  let queue = '';

  beforeAll(async () => {
    broker = await start();
    path = writeTask(folder, { delay: 150 });
    ({ default: task } = await import(/* @vite-ignore */ pathToFileURL(path).href));
    expected = task.encode(await runShards(manifest, task));
  });
  afterAll(async () => {
    await broker?.stop();
  });
  afterEach(async () => {
    for (const worker of workers.splice(0)) {
      worker.kill('SIGCONT');
      worker.kill('SIGKILL');
      await worker.ended;
    }
  });

  const work = async (...options: string[]) => {
    const lock = options.includes('--lock') ? [] : ['--lock', '2000'];
    const worker = await startWorker(path, broker.connection, '--queue', queue, ...lock, ...options);
    workers.push(worker);
    return worker;
  };
  const ask = (change: object = {}) =>
    runOnBullMQ({ connection: broker.connection, manifest, task, queue, deadline: 120_000, ...change });
  const newQueue = () => {
    queue = `q${queues++}`;
  };

  test('gives the same bytes as in this process, and says how far it is', async () => {
    newQueue();
    await work('--threads', '2');
    const seen: number[] = [];
    const found = await ask({ progress: ({ done }: { done: number }) => seen.push(done) });
    expect(task.encode(found)).toEqual(expected);
    expect(seen.at(-1)).toBe(12);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    // asked for once more: everything is there
    const started = performance.now();
    expect(task.encode(await ask())).toEqual(expected);
    expect(performance.now() - started).toBeLessThan(60_000);
  });

  test('kill −9 of a worker at work: its shard goes to another', async () => {
    newQueue();
    const first = await work();
    const found = ask();
    await pause(400);
    first.kill('SIGKILL');
    await work();
    expect(task.encode(await found)).toEqual(expected);
  });

  test('a worker that is stopped past its lock and goes on changes nothing', async () => {
    newQueue();
    const first = await work();
    const found = ask();
    await pause(400);
    first.kill('SIGSTOP');
    await work();
    const result = await found;
    first.kill('SIGCONT');
    await pause(500);
    expect(task.encode(result)).toEqual(expected);
    expect(task.encode(await ask())).toEqual(expected);
  });

  test('the broker is killed and started anew', async () => {
    newQueue();
    await work();
    const found = ask();
    // the append-only file is written every second
    await pause(1500);
    await broker.kill();
    await pause(500);
    await broker.start();
    expect(task.encode(await found)).toEqual(expected);
  });

  test('two coordinators at once, and one that comes after the first was lost', async () => {
    newQueue();
    await work();
    const controller = new AbortController();
    const lost = ask({ signal: controller.signal });
    await pause(300);
    const [a, b] = await Promise.all([ask(), ask()]);
    expect([task.encode(a), task.encode(b)]).toEqual([expected, expected]);
    await lost;
  });

  test('a shard that fails is named, with how often it was tried; the run can be asked for anew', async () => {
    newQueue();
    await work();
    const bad = {
      shards: manifest.shards.map((shard, i) =>
        i === 4 ? { key: shard.key, input: { seed: 5, fail: 'no data' } } : shard,
      ),
    };
    for (let round = 0; round < 2; round++) {
      expect(await rejectionOf(ask({ manifest: bad, attempts: 2 }))).toEqual([
        'Error',
        'ERR_SHARD',
        "runOnBullMQ: shard 'part-004' expected a result, got no data (tried 2 times)",
      ]);
    }
  });

  test('no worker until the deadline, an abort, and a worker with other code', async () => {
    newQueue();
    expect(await rejectionOf(ask({ deadline: 1500 }))).toEqual([
      'Error',
      'ERR_TIMEOUT',
      'runOnBullMQ: the run expected to end within 1500 ms, got 0 of 12 shards',
    ]);
    const controller = new AbortController();
    const found = ask({ signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 300);
    await expect(found).rejects.toThrow('enough');
    const other = await startWorker(writeTask(folder, { version: '2' }), broker.connection, '--queue', queue);
    workers.push(other);
    const [, code, message] = (await rejectionOf(ask({ attempts: 1 })))!;
    expect(code).toBe('ERR_SHARD');
    expect(message).toContain(
      "expected task 'evenkeel.statistics' in version '1', got 'evenkeel.statistics' in version '2'",
    );
  });

  test('results of more than 64 kB go through a store, and without one are an error', async () => {
    newQueue();
    const store = join(folder, `store-${name}`);
    const wide = join(folder, 'wide.mjs');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(
      wide,
      `export default {
        name: 'wide', version: '1',
        shard: (input) => new Uint8Array(100_000).fill(input),
        async merge(results) { let sum = 0; for await (const { bytes } of results) for (const byte of bytes) sum += byte; return sum; },
        encode: (sum) => new TextEncoder().encode(String(sum)),
      };`,
    );
    const three = { shards: [1, 2, 3].map((input) => ({ key: `s${input}`, input })) };
    const run = (change: object) => ask({ manifest: three, task: wide, attempts: 1, ...change });
    workers.push(await startWorker(wide, broker.connection, '--queue', queue));
    const without = (await rejectionOf(run({})))?.[2];
    expect(without).toMatch(
      /^runOnBullMQ: shard 's\d' expected a result, got workOnBullMQ: shard 's\d' expected a store for more than 64 kB, got none \(100\d{3} bytes\)$/,
    );
    workers.pop()!.kill('SIGTERM');
    newQueue();
    workers.push(await startWorker(wide, broker.connection, '--queue', queue, '--store', store));
    expect((await rejectionOf(run({})))?.[1]).toBe('ERR_PART');
    expect(await run({ store: directoryStore(store) })).toBe(600_000);
    expect(readdirSync(store).length).toBe(1);
  });
});

describe('what a run refuses', () => {
  const task: ShardTask = {
    name: 't',
    version: '1',
    shard: () => new Uint8Array(1),
    merge: () => 0,
    encode: () => new Uint8Array(1),
  };
  const refusal = (connection: unknown, change: object = {}) =>
    rejectionOf(runOnBullMQ({ connection, manifest: manifestOf(2), task, connectTimeout: 800, ...change } as never));

  test('brokers that do not answer', async () => {
    for (const connection of [
      'redis://127.0.0.1:1',
      'postgres://user:secret@127.0.0.1:1/x',
      { host: '127.0.0.1', port: 1 },
    ]) {
      const [name, code, message] = (await refusal(connection))!;
      expect([name, code]).toEqual(['Error', 'ERR_BROKER']);
      expect(message).toMatch(/^runOnBullMQ: .*127\.0\.0\.1:1.* expected to answer within 800 ms, got .*ECONNREFUSED/);
      expect(message).not.toContain('secret');
    }
  });

  test('options', async () => {
    expect(await refusal('http://x')).toEqual([
      'TypeError',
      'ERR_OPTION',
      "runOnBullMQ: connection expected 'redis://…', 'postgres://…' or options of a connection, got 'http://x'",
    ]);
    expect((await refusal('redis://x', { queue: 'a:b' }))?.[1]).toBe('ERR_OPTION');
    expect((await refusal('redis://x', { attempts: 0 }))?.[1]).toBe('ERR_OPTION');
    expect((await refusal('redis://x', { store: {} }))?.[2]).toBe(
      'runOnBullMQ: store expected a store of parts, got Object',
    );
    expect((await refusal('redis://x', { manifest: {} }))?.[1]).toBe('ERR_OPTION');
    expect((await refusal('redis://x', { task: {} }))?.[1]).toBe('ERR_TYPE');
  });
});
