// One function per shard, and one result, whatever computed it.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { BatchNorm1d, Linear, RecurrentBatchNorm1d, Sequential } from '../../src/index.ts';
import {
  applyStatistics,
  directoryStore,
  inferenceTask,
  type Manifest,
  Moments,
  mergeShards,
  runIdOf,
  runShard,
  runShards,
  type ShardTask,
  statisticsTask,
} from '../../src/shards/index.ts';
import { readPart, writePart } from '../../src/shards/part.ts';
import { populationStatistics } from '../../src/stats/population.ts';
import { normals, worstDifference } from '../support/data.ts';
import { rejectionOf } from '../support/errors.ts';
import { batchesOf, CHANNELS, manifestOf, network } from '../support/shards.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
afterAll(() => rmSync(folder, { recursive: true }));
let stores = 0;
const newStore = () => directoryStore(join(folder, `store-${stores++}`));

const statistics = (rows?: number) =>
  statisticsTask({
    version: '1',
    net: network,
    batches: (input) => batchesOf((input as { seed: number }).seed, rows),
  });

/** A task that adds numbers. */
const sums = (change: Partial<ShardTask<number>> = {}): ShardTask<number> => ({
  name: 'sums',
  version: '1',
  shard: (input) => Uint8Array.of(input as number),
  async merge(results) {
    let sum = 0;
    for await (const { bytes } of results) sum += bytes[0];
    return sum;
  },
  encode: (sum) => Uint8Array.of(sum),
  ...change,
});
const three: Manifest = { shards: [1, 2, 3].map((input) => ({ key: `s${input}`, input })) };

describe('statistics over shards', () => {
  const task = statistics();

  test('24 shards whose means are 20,000 times the spread: every digit, and the same bytes by parts', async () => {
    const manifest = manifestOf(24);
    const found = await runShards(manifest, task);
    const all = new Moments(CHANNELS);
    for (let seed = 1; seed <= 24; seed++) for (const batch of batchesOf(seed)) all.add(batch);
    const { count, mean } = found.layers['0'];
    expect([count, found.batches, found.skipped]).toEqual([96_000, 192, 0]);
    const variance = found.layers['0'].variance();
    all.variance().forEach((value, c) => {
      // batches of f32 statistics: their rounding is that of the layer
      expect(Math.abs(variance[c] / value - 1)).toBeLessThan(1e-5);
      expect(Math.abs(mean[c] / all.mean[c] - 1)).toBeLessThan(1e-9);
    });
    const store = newStore();
    const order = [...Array(24).keys()].sort((a, b) => ((a * 7) % 24) - ((b * 7) % 24));
    for (const i of order) await runShard(manifest, i, task, store);
    // at least once: again, and at the same time
    await Promise.all([3, 3, 5].map((i) => runShard(manifest, i, task, store)));
    const merged = await mergeShards(manifest, task, store);
    expect(task.encode(merged)).toEqual(task.encode(found));
    const shuffled = { shards: [...manifest.shards].reverse() };
    expect(task.encode(await runShards(shuffled, task))).toEqual(task.encode(found));
  });

  test('are what populationStatistics finds, and go into the network', async () => {
    const found = await runShards(manifestOf(3), task);
    const net = network();
    const every = async function* () {
      for (const seed of [1, 2, 3]) yield* batchesOf(seed);
    };
    const { layers } = await populationStatistics(net, every());
    expect(worstDifference(found.layers['0'].mean, layers['0'].mean)).toBeLessThan(1e-6);
    applyStatistics(net, found);
    const [norm] = net.layers as BatchNorm1d[];
    expect(norm.runningMean).toEqual(Float32Array.from(found.layers['0'].mean));
    expect(norm.runningVar).toEqual(Float32Array.from(found.layers['0'].variance()));
    expect(norm.batchesTracked).toBe(24);
    const other = new Sequential(new BatchNorm1d(CHANNELS), new BatchNorm1d(CHANNELS));
    const before = other.stateDict();
    expect(() => applyStatistics(other, found)).toThrow(
      "applyStatistics: norm '1' expected statistics of 16 channels, got none",
    );
    expect(other.stateDict()).toEqual(before);
  });

  test('batches that are not finite are left out and counted; a shard of them alone is refused', async () => {
    const withNaN = (all: boolean) =>
      statisticsTask({
        version: '1',
        net: network,
        *batches(input: unknown) {
          const [first, second] = batchesOf((input as { seed: number }).seed, 1000);
          first.data[3] = Number.NaN;
          if (all) second.data[3] = Number.POSITIVE_INFINITY;
          yield first;
          yield second;
        },
      });
    const found = await runShards(manifestOf(2), withNaN(false));
    expect([found.batches, found.skipped]).toEqual([2, 2]);
    expect(await rejectionOf(runShards(manifestOf(2), withNaN(true)))).toEqual([
      'Error',
      'ERR_SHARD',
      "runShards: shard 'part-000' expected a result, got statisticsTask: batches expected at least 1 that is finite, got 2 that are not (part-000)",
    ]);
  });

  test('a partial with NaN, of other channels or of other norms is refused, and nothing is merged', async () => {
    const manifest = manifestOf(3);
    const run = await runIdOf(manifest, task);
    const store = newStore();
    for (let i = 0; i < 3; i++) await runShard(manifest, i, task, store);
    const name = `${run}/part-001.part`;
    const good = Uint8Array.from(await readPart('', (await store.get(name))!, run, 'part-001'));
    const replace = async (bytes: Uint8Array) => {
      await store.remove(name);
      await store.putIfAbsent(name, await writePart(run, 'part-001', bytes));
      return rejectionOf(mergeShards(manifest, task, store));
    };
    const bad = good.slice();
    new DataView(bad.buffer, bad.length - 8).setFloat64(0, Number.NaN, true);
    expect(await replace(bad)).toEqual([
      'RangeError',
      'ERR_NON_FINITE',
      expect.stringMatching(/^statisticsTask: 0\.m(ean|2) expected finite numbers.*, got NaN \(shard 'part-001'\)$/),
    ]);
    const encoded = (layers: Record<string, Moments>) => task.encode({ layers, batches: 1, skipped: 0 });
    expect(await replace(encoded({ 0: new Moments(4) }))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      "statisticsTask: norm '0' expected 16 channels, got 4 (shard 'part-001')",
    ]);
    expect(await replace(encoded({ 1: new Moments(16) }))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      "statisticsTask: norms expected ['0'], got ['1'] (shard 'part-001')",
    ]);
    expect((await replace(Uint8Array.of(1, 2, 3)))?.[1]).toBe('ERR_FORMAT');
  });

  test('what a task is made of is checked', async () => {
    expect(() => statisticsTask({ net: network, batches: () => [] } as never)).toThrow(
      'statisticsTask: version expected a text, got undefined',
    );
    const stepped = statisticsTask({
      version: '1',
      net: new RecurrentBatchNorm1d(3, { maxSteps: 2 }),
      batches: () => [],
    });
    expect((await rejectionOf(runShards(three, stepped)))?.[2]).toContain('one for each time step');
    const none = statisticsTask({ version: '1', net: new Linear(2, 2), batches: () => [] });
    expect((await rejectionOf(runShards(three, none)))?.[2]).toContain(
      'expected a norm that tracks statistics, got none',
    );
  });

  test('10,000 shards of 64 channels are merged in memory that stays small', async () => {
    const shards = Array.from({ length: 10_000 }, (_, i) => ({ key: `s-${i}`, input: i }));
    const many = statisticsTask({ version: '1', net: network, batches: () => [] });
    const one = new Moments(64).add({ data: normals(1, 640, 5), shape: [10, 64] });
    const bytes = many.encode({ layers: { bn: one }, batches: 1, skipped: 0 });
    const found = await runShards({ shards }, { ...many, shard: () => bytes });
    expect([found.layers.bn.count, found.batches]).toEqual([100_000, 10_000]);
    expect(worstDifference(found.layers.bn.mean, one.mean)).toBeLessThan(1e-12);
    expect(worstDifference(found.layers.bn.variance(), one.variance())).toBeLessThan(1e-11);
  });
});

describe('inference over shards', () => {
  test('joins outputs by sorted keys, of one output and of several', async () => {
    const run = new Sequential(new Linear(3, 2, { seed: 1 })).eval().compile();
    const x = (seed: number, rows: number) => ({ data: normals(seed, 3 * rows), shape: [rows, 3] });
    const task = inferenceTask({
      version: '1',
      run,
      batches: (input) => [x(input as number, 2), x((input as number) + 10, 1)],
    });
    const { output } = await runShards(three, task);
    const expected = [1, 2, 3].flatMap((seed) => [...run(x(seed, 2)).data, ...run(x(seed + 10, 1)).data]);
    expect(output).toEqual({ data: Float32Array.from(expected), shape: [9, 2] });
    const two = inferenceTask({
      version: '1',
      run: (input: number) => ({ a: { data: Float32Array.of(input), shape: [1] }, b: run(x(input, 1)) }),
      batches: (input) => [input as number],
    });
    const found = await runShards(three, two);
    expect(found.a).toEqual({ data: Float32Array.of(1, 2, 3), shape: [3] });
    expect(found.b.shape).toEqual([3, 2]);
    const store = newStore();
    for (const i of [2, 0, 1]) await runShard(three, i, two, store);
    expect(two.encode(await mergeShards(three, two, store))).toEqual(two.encode(found));
    const wrong = inferenceTask({ version: '1', run: () => 5, batches: () => [1] });
    expect((await runShards(three, wrong)).output).toBeUndefined();
    run.dispose();
  });
});

describe('a run', () => {
  test('has an id that follows from task, version and shards, whatever their order', async () => {
    const id = await runIdOf(three, sums());
    expect(id).toMatch(/^[\da-f]{64}$/);
    expect(await runIdOf({ shards: [...three.shards].reverse() }, sums())).toBe(id);
    const nested = (input: unknown) => runIdOf({ shards: [{ key: 'a', input }] }, sums());
    expect(await nested({ a: 1, b: [2] })).toBe(await nested({ b: [2], a: 1 }));
    expect(await nested({ a: 1, b: [2] })).not.toBe(await nested({ a: 1, b: [3] }));
    for (const other of [sums({ version: '2' }), sums({ name: 'other' })])
      expect(await runIdOf(three, other)).not.toBe(id);
  });

  test('tries a shard again where it is told to, reports, and stops', async () => {
    let failures = 2;
    const flaky = sums({
      shard(input) {
        if (input === 2 && failures-- > 0) throw new Error('flaky');
        return Uint8Array.of(input as number);
      },
    });
    const seen: number[] = [];
    expect(await runShards(three, flaky, { attempts: 3, progress: ({ done, all }) => seen.push(done / all) })).toBe(6);
    expect(seen).toEqual([1 / 3, 2 / 3, 1]);
    failures = 2;
    expect(await rejectionOf(runShards(three, flaky, { attempts: 2 }))).toEqual([
      'Error',
      'ERR_SHARD',
      "runShards: shard 's2' expected a result, got flaky (tried 2 times)",
    ]);
    await expect(runShards(three, sums(), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    );
    expect((await rejectionOf(runShards(three, sums({ shard: () => 5 as never }))))?.[2]).toBe(
      "runShards: shard 's1' expected a result, got runShards: the result of shard 's1' expected a Uint8Array, got 5",
    );
  });

  test('manifests and tasks that are none', async () => {
    const refusal = async (manifest: unknown, task: unknown = sums()) =>
      (await rejectionOf(runShards(manifest as Manifest, task as ShardTask)))?.[2];
    expect(await refusal({ shards: [] })).toBe('runShards: manifest.shards expected at least 1 shard, got []');
    expect(await refusal({ shards: [{ key: 'a/b' }] })).toBe(
      "runShards: manifest.shards[0].key expected 1 to 128 letters, digits, ., _ and -, got 'a/b'",
    );
    expect(await refusal({ shards: [{ key: 'a' }, { key: 'A' }] })).toBe(
      "runShards: manifest.shards[1].key expected one that no other shard has, got 'A'",
    );
    expect(await refusal(three, { name: 'x' })).toBe(
      'runShards: task expected { name, version, shard, merge, encode }, got Object',
    );
  });
});

describe('parts', () => {
  test('missing ones are named, and a manifest that changed is told apart', async () => {
    const store = newStore();
    const merge = (manifest = three, task = sums()) => rejectionOf(mergeShards(manifest, task, store));
    const run = (await runIdOf(three, sums())).slice(0, 12);
    expect(await merge()).toEqual([
      'Error',
      'ERR_PART',
      `mergeShards: run ${run}… expected 3 parts, got 0 (missing: 's1', 's2', 's3')`,
    ]);
    await runShard(three, 1, sums(), store);
    expect((await merge())?.[2]).toBe(`mergeShards: run ${run}… expected 3 parts, got 1 (missing: 's1', 's3')`);
    const changed = { shards: three.shards.map((shard, i) => (i ? shard : { ...shard, input: 9 })) };
    expect((await merge(changed))?.[2]).toContain(
      "got 0 (missing: 's1', 's2', 's3'; there are parts of other runs: the manifest or the task has changed)",
    );
    expect(await rejectionOf(runShard(three, 3, sums(), store))).toEqual([
      'RangeError',
      'ERR_OPTION',
      'runShard: index expected an integer from 0 to 2, got 3',
    ]);
  });

  test('of another run, of another shard, truncated and changed ones are refused, and computed anew', async () => {
    const path = join(folder, 'damaged');
    const store = directoryStore(path);
    const run = await runIdOf(three, sums());
    for (let i = 0; i < 3; i++) await runShard(three, i, sums(), store);
    expect((await runShard(three, 1, sums(), store)).wasThere).toBe(true);
    const file = join(path, run, 's2.part');
    const good = readFileSync(file);
    const refusal = async () => (await rejectionOf(mergeShards(three, sums(), store)))?.[2];
    const other = await writePart('f'.repeat(64), 's2', Uint8Array.of(2));
    const cases: [bytes: Uint8Array, message: RegExp][] = [
      [other, /^mergeShards: the part of shard 's2' expected one of run [\da-f]{12}…, got run f{12}…$/],
      [await writePart(run, 's1', Uint8Array.of(2)), /expected its own, got that of 's1'$/],
      [good.subarray(0, good.length - 1), /expected 1 bytes, got 0$/],
      [Uint8Array.from(good, (byte, i) => (i === good.length - 1 ? byte ^ 1 : byte)), /expected sha256 '/],
      [new Uint8Array(0), /expected a file of 'evenkeel-part 1', got an empty file$/],
      [Uint8Array.of(1, 2, 10, 3), /expected a file of 'evenkeel-part 1', got other bytes$/],
    ];
    for (const [bytes, message] of cases) {
      writeFileSync(file, bytes);
      expect(await refusal()).toMatch(message);
      expect((await runShard(three, 1, sums(), store)).wasThere).toBe(false);
      expect(await mergeShards(three, sums(), store)).toBe(6);
    }
    truncateSync(file, 3);
    expect(await refusal()).toContain('other bytes');
  });

  test('a folder puts a part once, whole, whoever comes first', async () => {
    const path = join(folder, 'once');
    const store = directoryStore(path);
    const put = await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.putIfAbsent('a/b.part', Uint8Array.of(i))),
    );
    expect(put.filter(Boolean).length).toBe(1);
    expect(await store.get('a/b.part')).toEqual(Buffer.from([put.indexOf(true)]));
    expect([await store.has('a/b.part'), await store.has('a/c.part'), await store.get('a/c.part')]).toEqual([
      true,
      false,
      undefined,
    ]);
    expect(readdirSync(join(path, 'a'))).toEqual(['b.part']);
    expect(await store.list('a/')).toEqual(['a/b.part']);
    await store.remove('a/b.part');
    await store.remove('a/b.part');
    expect(await store.list('')).toEqual(['a']);
  });
});

describe('the command line', () => {
  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
  const library = new URL('../../dist/shards/index.js', import.meta.url).href;
  const place = join(folder, 'array');
  const evenkeel = (...args: string[]) =>
    execFileSync(process.execPath, [cli, ...args], { cwd: place, encoding: 'utf8', stdio: 'pipe' });

  test('computes shards by their numbers, and merges them', async () => {
    mkdirSync(place);
    writeFileSync(
      join(place, 'task.mjs'),
      `import { inferenceTask } from '${library}';
       export default inferenceTask({ version: '1', run: (x) => ({ data: Float32Array.of(x), shape: [1] }), batches: (x) => [x] });`,
    );
    writeFileSync(join(place, 'manifest.json'), JSON.stringify({ task: './task.mjs', ...three }));
    for (const i of ['2', '0']) expect(evenkeel('shard', 'manifest.json', i)).toContain('is there now');
    expect(evenkeel('shard', 'manifest.json', '0')).toContain('was there');
    expect(() => evenkeel('merge', 'manifest.json')).toThrow("expected 3 parts, got 2 (missing: 's2')");
    evenkeel('shard', 'manifest.json', '1');
    const { sha256, out } = JSON.parse(evenkeel('merge', 'manifest.json', '--json'));
    expect([out, sha256.length]).toEqual(['manifest.json'.replace('.json', '.result'), 64]);
    const expected = await runShards(
      three,
      inferenceTask({
        version: '1',
        run: (x: number) => ({ data: Float32Array.of(x), shape: [1] }),
        batches: (x) => [x as number],
      }),
    );
    expect(expected.output.data).toEqual(Float32Array.of(1, 2, 3));
    const task = inferenceTask({ version: '1', run: () => {}, batches: () => [] });
    expect(Uint8Array.from(readFileSync(join(place, out)))).toEqual(task.encode(expected));
    expect(() => evenkeel('shard', 'manifest.json', 'x')).toThrow("INDEX is a whole number from 0, not 'x'");
    expect(() => evenkeel('shard', 'manifest.json', '3')).toThrow('index expected an integer from 0 to 2, got 3');
    writeFileSync(join(place, 'bad.json'), '{');
    expect(() => evenkeel('merge', 'bad.json')).toThrow('bad.json is no JSON');
    expect(() => evenkeel('worker', 'task.mjs')).toThrow('worker needs --connection');
  });
});
