// Several threads give the bits of one, and whatever happens to a worker ends in an answer or an
// error.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  BatchNorm2d,
  close,
  info,
  LayerNorm,
  Linear,
  RMSNorm,
  setThreads,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { isVector, type Sizes } from '../../src/kernels/row.ts';
import { KERNEL_NAMES, rowOf, withAll } from '../../src/kernels/table.ts';
import { Random } from '../../src/nn/random.ts';
import { Cutter, MOST_PARTS } from '../../src/threads/parts.ts';
import { shareMemory } from '../../src/threads/shared-memory.ts';
import { WorkerTeam } from '../../src/threads/team.ts';
import { ARGUMENTS, MOST_ARGUMENTS, WORD } from '../../src/threads/worker.ts';
import { ends, tableBits, tablesFor } from '../support/conv-tables.ts';
import { bitsOf, lopsided, normals } from '../support/data.ts';
import { poolSizes, windowsFor } from '../support/pools.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Node 20 has relaxed SIMD behind a flag. */
const wasmFlags = process.execArgv.filter((flag) => flag.includes('wasm'));
const hasThreads = info().backend !== 'js';

interface NodeWorker {
  terminate(): Promise<number>;
  once(event: 'exit' | 'online', listener: () => void): void;
}
type WorkerClass = new (text: string, options: { workerData: { control: SharedArrayBuffer } }) => NodeWorker;

// every worker that the library starts, for the tests to kill
const threadsModule = process.getBuiltinModule('node:worker_threads') as unknown as { Worker: WorkerClass };
const NativeWorker = threadsModule.Worker;
let started: NodeWorker[] = [];
let controls: SharedArrayBuffer[] = [];

/** Resolves when the last team that was started is all at work. */
async function allReady(): Promise<void> {
  const word = new Int32Array(controls.at(-1)!);
  const workers = controls.filter((control) => control === controls.at(-1)).length;
  while (Atomics.load(word, WORD.ready) < workers) await new Promise((resolve) => setTimeout(resolve, 5));
}

beforeEach(() => {
  started = [];
  controls = [];
  threadsModule.Worker = class extends NativeWorker {
    constructor(...args: ConstructorParameters<WorkerClass>) {
      super(...args);
      started.push(this);
      controls.push(args[1].workerData.control);
    }
  };
});

afterEach(async () => {
  threadsModule.Worker = NativeWorker;
  await close();
});

const ended = (worker: NodeWorker) => new Promise<void>((resolve) => worker.once('exit', resolve));

/** Sizes for which each kernel's calls are cut, none of them a round number. */
function largeSizes(args: readonly { name: string }[]): Sizes {
  const has = (name: string) => args.some((arg) => arg.name === name);
  if (has('windows')) return poolSizes(7, 5, [61, 3, 2, 1, 1], [67, 3, 2, 1, 1]);
  if (has('taps')) {
    const sizes = { count: 2301, runs: 5, run: has('run') ? 7 : 37, cols: 37 };
    return { ...sizes, ...ends(tablesFor(sizes), 37, 37) };
  }
  if (has('kernelWidth')) {
    const image = { rows: 61, samples: 3, height: 21, width: 23, outHeight: 21, outWidth: 23, cols: 37 };
    return { ...image, kernelHeight: 3, kernelWidth: 5, strideHeight: 1, strideWidth: 1, top: 1, left: 2 };
  }
  if (has('share')) {
    const image = { samples: 2, height: 19, width: 23, outHeight: 19, outWidth: 21, top: 1, left: 0 };
    return { ...image, depth: 36, cols: 40, pixel: 48, share: 16, block: 20 };
  }
  if (has('toWidth')) {
    const outer = { first: 1, samples: 11, cols: 37, repeat: 1, depth: 2, height: 13, width: 17 };
    return { ...outer, toDepth: 3, toHeight: 15, toWidth: 20, front: 1, top: 1, left: 2 };
  }
  if (has('size')) return { size: 150_003 };
  if (has('inner'))
    return { outer: 3, channels: 37, inner: 1301, stride: 37 * 1301 + 5, sampleStep: 1301, channelStep: 0 };
  if (has('depth')) return { rows: 131, depth: 77, cols: 45, rowStride: 77, depthStride: 1 };
  return { rows: 3001, channels: 37, cols: 37, stride: has('stride') ? 41 : 37, segment: 384, segments: 8 };
}

if (hasThreads)
  describe('threads', () => {
    const cut = KERNEL_NAMES.filter((name) => rowOf(name).split);

    test('there are kernels whose calls are cut', () => {
      expect(cut.length).toBeGreaterThan(8);
      expect(Math.max(...cut.map((name) => rowOf(name).args.length))).toBeLessThanOrEqual(MOST_ARGUMENTS);
    });

    test.each(cut)('%s gives the same bits in parts', (name) => {
      const row = rowOf(name);
      const sizes = largeSizes(row.args);
      const random = new Random(3);
      const parameters: Record<string, number> = {
        kind: 7,
        alpha: 0.25,
        accumulate: 0,
        together: 1,
        bands: 1,
        plain: 0,
        low: 0,
        high: 6,
      };
      expect(setThreads(3)).toBe(3);
      const { heap, kernels, parallel } = withAll(backend());
      const blocks: { at: number; length: number; f64: boolean; out: boolean }[] = [];
      const values = row.args.map((arg) => {
        if (!isVector(arg)) return sizes[arg.name] ?? parameters[arg.name];
        const length = arg.length(sizes);
        const f64 = arg.type === 'f64';
        const at = heap.alloc(length * (f64 ? 8 : 4));
        blocks.push({ at, length, f64, out: arg.access === 'write' || arg.access === 'update' });
        if (['at', 'to', 'taps'].includes(arg.name))
          heap.f32.set(tableBits(tablesFor(sizes as never)[arg.name as 'at']), at >> 2);
        else if (arg.name === 'order') heap.f32.set(tableBits(Array.from({ length }, (_, row) => row)), at >> 2);
        else if (!f64)
          heap.f32.set(
            arg.name === 'windows'
              ? windowsFor(sizes, name.startsWith('avg'))
              : Float32Array.from({ length }, () => random.normal() + 0.5),
            at >> 2,
          );
        return at;
      });
      expect(new Cutter(row).cut(values, 3).length).toBeGreaterThan(1);
      const outputs = () =>
        blocks
          .filter(({ out }) => out)
          .map(({ at, length, f64 }) => Buffer.from(heap.buffer.slice(at, at + length * (f64 ? 8 : 4))));
      const clear = () => {
        for (const { at, length, f64, out } of blocks)
          if (out) new Uint8Array(heap.buffer, at, length * (f64 ? 8 : 4)).fill(0);
      };
      clear();
      kernels[name](...values);
      const alone = outputs();
      for (let round = 0; round < 20; round++) {
        clear();
        parallel[name](...values);
        expect(outputs().map((bytes, i) => bytes.equals(alone[i]))).toEqual(alone.map(() => true));
      }
      for (const { at } of blocks) heap.free(at);
    });

    test.each([
      ['layer norm', () => new LayerNorm(768)],
      ['RMS norm', () => new RMSNorm(768, { affine: true, activation: 'gelu' })],
    ])('a %s of 521 rows gives the same bits on one, two, three and four threads', async (_, make) => {
      const shape = [521, 768];
      const [x, dy] = [1, 2].map((seed) => tensor(lopsided(seed, shape), shape));
      const on = (threads: number) => {
        setThreads(threads);
        const layer = make();
        const results = [layer.forward(x), layer.backward(dy)].map((result) => Float32Array.from(result.data));
        return [...results, ...layer.parameters().map(({ grad }) => grad)];
      };
      const alone = on(1);
      for (const threads of [2, 3, 4]) expect(on(threads)).toEqual(alone);
      await close();
      for (const one of [x, dy]) one.dispose();
    });

    test('calls that are too small, or have nothing to share out, are left whole', () => {
      const cutter = new Cutter(rowOf('activate_f32'));
      expect(cutter.cut([64, 64, 1, 0, 1000], 4)).toEqual([]);
      expect(cutter.cut([64, 64, 1, 0, 1 << 20], 4)).toHaveLength(4);
      const planes = new Cutter(rowOf('affine_ncx_f32'));
      expect(planes.cut([64, 0, 64, 64, 0, 64, 0, 0, 8, 1, 100_000, 100_000], 4)).toEqual([]);
      expect(planes.cut([64, 0, 64, 64, 0, 64, 0, 0, 8, 3, 100_000, 300_000], 4)).toHaveLength(3);
    });

    test.each([
      ['channels-first', [7, 19, 33, 31]],
      ['channels-last', [7, 33, 31, 19]],
      ['channels-last', [2, 16, 16, 300]],
    ] as const)('a batch norm, %s %j, gives the same bits on one, two and four threads', async (layout, shape) => {
      const data = lopsided(1, shape, layout);
      const gradient = normals(2, data.length);
      const run = () => {
        const bn = new BatchNorm2d(layout === 'channels-first' ? shape[1] : shape[3], { layout, activation: 'relu' });
        const [x, dy] = [tensor(data, shape), tensor(gradient, shape)];
        const y = bn.forward(x);
        const dx = bn.backward(dy);
        const evaluated = bn.eval().forward(x);
        const arrays = [y.data, dx.data, evaluated.data, bn.gamma!.grad, bn.runningMean!, bn.runningVar!];
        const bits = arrays.map((values) => bitsOf(Float32Array.from(values)).join());
        for (const held of [x, dy, y, dx, evaluated, bn]) held.dispose();
        return bits;
      };
      const alone = run();
      for (const threads of [2, 4]) {
        expect(setThreads(threads)).toBe(threads);
        expect(run()).toEqual(alone);
      }
      await close();
      expect(run()).toEqual(alone);
    });

    test('a linear layer gives the same bits on two threads', () => {
      const linear = new Linear(300, 200, { seed: 1 });
      const x = tensor(normals(4, 100 * 300), [100, 300]);
      const alone = bitsOf(linear.forward(x).data);
      setThreads(2);
      expect(bitsOf(linear.forward(x).data)).toEqual(alone);
    });

    test('tensors made before are still there; views taken before are dead, as after growth', () => {
      // a memory of its own: that of other tests is shared already
      const text = execFileSync(
        process.execPath,
        [
          ...wasmFlags,
          '--input-type=module',
          '-e',
          `import { setThreads, tensor, zeros, info } from 'evenkeel';
         const x = tensor([1, 2, 3], [3]);
         const before = x.data;
         const threads = setThreads(2);
         const more = zeros([1 << 20]);
         console.log(JSON.stringify([threads, before.length, [...x.data], x.data.buffer instanceof SharedArrayBuffer, more.data.length, info()]));`,
        ],
        { cwd: root, encoding: 'utf8', timeout: 30_000 },
      );
      // and the process ended by itself
      const [threads, before, values, isShared, more, { threading }] = JSON.parse(text);
      expect([threads, before, values, isShared, more]).toEqual([2, 0, [1, 2, 3], true, 1 << 20]);
      expect(threading).toBe('asked for');
    });

    test('memory may grow while there are threads', () => {
      setThreads(2);
      const held: Tensor[] = [];
      const bn = new BatchNorm2d(5).eval();
      for (let size = 64; size <= 512; size *= 2) {
        const x = zeros([1, 5, size, size]);
        x.data.fill(size);
        const y = bn.forward(x);
        expect(y.data[0]).toBeCloseTo(size, 1);
        expect(y.data.at(-1)).toBe(y.data[0]);
        held.push(x, y);
      }
      for (const x of held) x.dispose();
    });

    test("'auto' takes a thread for each processor, at most eight", () => {
      const threads = setThreads('auto');
      expect(threads).toBe(Math.min(8, process.getBuiltinModule('node:os').availableParallelism()));
      expect(info().threads).toBe(threads);
      expect(info().threading).toMatch(/^\d+ processors$/);
    });

    test('asking again for the same number keeps the workers, another number replaces them, close() ends them', async () => {
      setThreads(3);
      expect(started).toHaveLength(2);
      setThreads(3);
      expect(started).toHaveLength(2);
      const first = started.map(ended);
      setThreads(2);
      expect(started).toHaveLength(3);
      await Promise.all(first);
      const last = ended(started[2]);
      await close();
      await last;
      expect([info().threads, info().threading]).toEqual([1, 'the default']);
      expect(backend().parallel).toBe(backend().kernels);
      expect(setThreads(1)).toBe(1);
      expect(started).toHaveLength(3);
    });

    const large = () => {
      const x = zeros([1, 8, 200, 200]);
      const y = new BatchNorm2d(8).eval().forward(x);
      const { length } = y.data;
      x.dispose();
      y.dispose();
      return length;
    };

    test('a worker that has died gives an error, then one thread goes on', async () => {
      setThreads(2);
      await allReady();
      expect(large()).toBe(320_000);
      const gone = ended(started[0]);
      await started[0].terminate();
      await gone;
      expect(() => large()).toThrow(
        /^threads: a call expected all workers at work, got an exit with code \d \(one thread from now on; setThreads starts new ones\)$/,
      );
      expect(large()).toBe(320_000);
      expect(info().threads).toBe(1);
      expect(info().threading).toMatch(/^a worker was lost: an exit with code \d$/);
      expect(setThreads(2)).toBe(2);
      expect(large()).toBe(320_000);
    });

    test('asking for threads again replaces a team that has lost a worker', async () => {
      setThreads(2);
      await allReady();
      const gone = ended(started[0]);
      await started[0].terminate();
      await gone;
      expect(setThreads(2)).toBe(2);
      expect(started).toHaveLength(2);
      expect(large()).toBe(320_000);
    });

    test('workers that are refused after they were made leave one thread and a reason, and no error', async () => {
      threadsModule.Worker = class extends NativeWorker {
        constructor(_: string, options: ConstructorParameters<WorkerClass>[1]) {
          super("throw new Error('not here')", options);
          started.push(this);
        }
      };
      expect(setThreads(2)).toBe(2);
      await ended(started[0]);
      expect(large()).toBe(320_000);
      expect(info()).toMatchObject({ threads: 1, threading: 'refused: Error: not here' });
    });

    test('a view from before memory grew is still known as one, though it lives on', () => {
      setThreads(2);
      const bn = new BatchNorm2d(2);
      const x = tensor(normals(5, 16), [2, 2, 2, 2]);
      const view = x.data;
      zeros([1 << 24]).dispose();
      expect(x.data).not.toBe(view);
      bn.forward(x, { out: { data: view, shape: [2, 2, 2, 2] } });
      expect(() => bn.backward({ data: new Float32Array(16).fill(1), shape: [2, 2, 2, 2] })).toThrow(
        'BatchNorm2d(2): backward expected the x of the last forward, got one that forward wrote over (out: x)',
      );
      x.dispose();
    });

    test('a worker that dies unnoticed costs time, not the result', () => {
      setThreads(2);
      void started[0].terminate();
      for (let i = 0; i < 50; i++) expect(large()).toBe(320_000);
    });

    test('a worker that takes a part and never answers gives an error, not a hang', async () => {
      const current = withAll(backend());
      setThreads(1); // memory may be shared already or not
      class Thief extends NativeWorker {
        constructor(_: string, options: ConstructorParameters<WorkerClass>[1]) {
          super(
            `const { control } = require('node:worker_threads').workerData;
           const word = new Int32Array(control);
           for (;;) if (Atomics.exchange(word, ${WORD.open + 1}, 0)) for (;;) Atomics.wait(word, ${WORD.stop}, 0);`,
            options,
          );
          started.push(this);
        }
      }
      threadsModule.Worker = Thief;
      const team = new WorkerTeam(current, shareMemory(current), 2, 'a test', 200);
      current.team = team;
      await new Promise<void>((resolve) => started[0].once('online', resolve));
      let error: unknown;
      const end = Date.now() + 60_000; // until the thief gets a turn, however busy the machine is
      while (!error && Date.now() < end) {
        try {
          large();
        } catch (thrown) {
          error = thrown;
        }
      }
      expect(error).toMatchObject({
        code: 'ERR_THREADS',
        message:
          'threads: a call expected all workers at work, got no answer for 0.2 s (one thread from now on; setThreads starts new ones)',
      });
      expect(large()).toBe(320_000);
      // words end before arguments begin
      expect(ARGUMENTS * 8).toBeGreaterThanOrEqual(4 * (WORD.open + MOST_PARTS));
    });

    test('where workers are refused, one thread remains, and the reason can be read', () => {
      threadsModule.Worker = class {
        constructor() {
          throw new Error('no more threads');
        }
      } as unknown as WorkerClass;
      expect(setThreads(2)).toBe(1);
      expect(info()).toMatchObject({ threads: 1, threading: 'refused: Error: no more threads' });
      expect(large()).toBe(320_000);
    });

    test('where there is no shared memory, one thread remains, and the reason can be read', () => {
      const text = execFileSync(
        process.execPath,
        [
          ...wasmFlags,
          '--input-type=module',
          '-e',
          "delete globalThis.SharedArrayBuffer; const k = await import('evenkeel'); console.log(JSON.stringify([k.setThreads(2), k.info().threading]))",
        ],
        { cwd: root, encoding: 'utf8' },
      );
      expect(JSON.parse(text)).toEqual([1, 'refused: Error: no SharedArrayBuffer']);
    });
  });

if (!hasThreads)
  test('the plain loops stay on one thread, and say so', () => {
    expect(setThreads(4)).toBe(1);
    expect(info()).toMatchObject({ threads: 1, threading: 'the plain loops run on one thread' });
  });

test.each([0, -1, 1.5, 65, Number.NaN, '2', null])('setThreads(%j) is refused, and nothing changes', (threads) => {
  const before = info();
  const shown = typeof threads === 'string' ? `'${threads}'` : String(threads);
  expect(() => setThreads(threads as number)).toThrow(
    `setThreads: threads expected an integer from 1 to 64, or 'auto', got ${shown}`,
  );
  expect(info()).toEqual(before);
});
