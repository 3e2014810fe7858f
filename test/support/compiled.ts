// Compiled networks as files, and their runs on small inputs: memory around every block is watched.

import { createHash } from 'node:crypto';
import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  Graph,
  GroupNorm,
  InstanceNorm2d,
  LayerNorm,
  Linear,
  LogSoftmax,
  ReLU,
  Residual,
  RMSNorm,
  Sequential,
  Softmax,
  Tanh,
  Tensor,
} from '../../src/index.ts';
import { type Compiled, load, merging, norms, softmax } from '../../src/infer/list.ts';
import { backend } from '../../src/kernels/backend.ts';
import { Dice } from '../fuzz/dice.ts';

const chain = () => new Sequential(new Linear(3, 4, { seed: 1 }), new BatchNorm1d(4), new Tanh());

const rows = () =>
  new Sequential(
    new Linear(3, 8, { seed: 1 }),
    new LayerNorm(8),
    new Residual(new RMSNorm(8), new Linear(8, 8, { seed: 2 })),
    new GroupNorm(2, 8, { layout: 'channels-last' }),
    new BatchNorm(8, { trackRunningStats: false, layout: 'channels-last' }),
    new Softmax(),
  );

const images = () =>
  new Sequential(
    new BatchNorm2d(4),
    new InstanceNorm2d(4, { affine: true }),
    new GroupNorm(2, 4, { affine: false }),
    new ReLU(),
    new LogSoftmax({ axis: 1 }),
  );

/**
 * Channels first in front of a linear layer: other weights for rows than for inputs of higher rank.
 */
const ranks = () => new Sequential(new BatchNorm(3), new Linear(3, 3, { seed: 4 }));

const graph = () =>
  new Graph({ a: [3], b: [4] }, (g, { a, b }) => {
    const wide = g.apply('wide', new Linear(3, 4, { seed: 1 }), a);
    const sum = g.add(wide, b);
    const scaled = g.multiply(g.apply('norm', new LayerNorm(4), sum), g.apply('one', new Linear(4, 1, { seed: 2 }), b));
    const all = g.concat([scaled, sum, a], -1);
    return { all, probabilities: g.apply('softmax', new Softmax(), scaled) };
  });

/** Files of networks with every operation, with one input and with several. */
export function compiledFiles(): readonly [name: string, bytes: Uint8Array][] {
  const networks = {
    '': chain(),
    ' of rows': rows(),
    ' of images': images(),
    ' of two ranks': ranks(),
    ' as a graph': graph(),
  };
  return Object.entries(networks).map(([name, net]) => [`a compiled network${name}`, net.eval().compile().save()]);
}

/** Bytes on either side of a block. */
const GUARD = 64;
/** Values of an input that is tried. */
const MOST_VALUES = 1 << 12;

/**
 * Does some work while every block of memory holds `fill`, with guards around it; it may take so
 * many bytes at once.
 */
function guarded<T>(fill: number, most: number, work: () => T): T {
  const { heap } = backend();
  const { alloc, free } = heap;
  const sizes = new Map<number, { size: number; bytes: number }>();
  let taken = 0;
  const wordsAt = (at: number, bytes: number) => heap.f32.subarray(at / 4, (at + bytes) / 4);
  heap.alloc = (bytes) => {
    const size = Math.ceil(bytes / GUARD) * GUARD;
    if (!(taken + size <= most)) throw Object.assign(new RangeError('no memory, for a trial'), { code: 'ERR_MEMORY' });
    const at = alloc.call(heap, size + 2 * GUARD) + GUARD;
    taken += size;
    sizes.set(at, { size, bytes: Math.ceil(bytes / 4) * 4 });
    wordsAt(at - GUARD, size + 2 * GUARD).fill(fill);
    return at;
  };
  let broken = 0;
  heap.free = (at) => {
    const block = sizes.get(at);
    if (!block) return free.call(heap, at);
    const { size, bytes } = block;
    sizes.delete(at);
    taken -= size;
    const around = [wordsAt(at - GUARD, GUARD), wordsAt(at + bytes, size + GUARD - bytes)];
    if (around.some((words) => words.some((value) => !Object.is(value, fill)))) broken++;
    return free.call(heap, at - GUARD);
  };
  try {
    return work();
  } finally {
    Reflect.deleteProperty(heap, 'alloc');
    Reflect.deleteProperty(heap, 'free');
    // biome-ignore lint/correctness/noUnsafeFinally: worse than whatever else went wrong
    if (broken) throw new Error(`${broken} blocks were written past their ends`);
  }
}

/**
 * Shapes that an input may have: those that the file declares, lengths that it leaves open at 2 and
 * at 1.
 */
function shapesOf({ inputs }: Compiled): number[][][] {
  const open = [
    [null, null],
    [null, 3],
    [null, 4, null, null],
    [null, null, 3],
  ];
  return open.flatMap((otherwise) =>
    [2, 1].map((length) => inputs.map(({ shape }) => (shape ?? otherwise).map((n) => n ?? length))),
  );
}

/**
 * Outputs of all runs: what their values come to, or the code of an error. A network may put out
 * much more than its file: values are not kept.
 */
function runsOf(run: Compiled): string[] {
  const found: string[] = [];
  for (const shapes of shapesOf(run)) {
    const sizes = shapes.map((shape) => shape.reduce((product, length) => product * length, 1));
    if (sizes.some((size) => size > MOST_VALUES)) continue;
    const dice = new Dice(7);
    const made: Tensor[] = [];
    try {
      const xs = shapes.map((shape, i) => {
        const x = new Tensor(shape);
        made.push(x);
        x.data.set(dice.normals(sizes[i]));
        return x;
      });
      const ys = run(Object.fromEntries(run.inputs.map(({ name }, i) => [name, xs[i]])));
      const outputs = (run.outputs.length === 1
        ? [ys]
        : run.outputs.map(({ name }) => ys[name])) as unknown as Tensor[];
      for (const y of outputs) found.push(digestOf(y.data));
      for (const y of outputs) y.dispose();
    } catch (error) {
      const { code } = error as { code?: string };
      if (!/^ERR_(SHAPE|MEMORY|SINGLE_VALUE|TYPE|OPTION)$/.test(code ?? '')) throw error;
      found.push(code!);
    } finally {
      for (const x of made) x.dispose();
    }
  }
  return found;
}

/** NaN are all alike. */
function digestOf(values: Float32Array): string {
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) values[i] = Number.NaN;
  return createHash('sha1').update(values).digest('hex');
}

/**
 * Loads a file and runs it. What it gives must not depend on what memory held, and nothing is
 * written outside of blocks: errors without a code say so.
 */
export function loadAndRun(bytes: Uint8Array): void {
  // memory may be in pieces: what is taken and what is given back do not share it
  const most = Math.max(32 << 20, 5 * bytes.length);
  const [first, second] = [0, Number.NaN].map((fill) =>
    guarded(fill, most, () => {
      using run = load(bytes, { operations: [norms, merging, softmax] });
      return runsOf(run);
    }),
  );
  first.forEach((values, i) => {
    if (values !== second[i]) throw new Error(`output ${i} depends on what memory held`);
  });
}
