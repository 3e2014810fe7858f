// A user's own function beside ours: `npm run bench -- --own FILE`.

import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { tensor, zeros } from '../src/index.ts';
import { type CaseGroup, type CaseWork, copyOf, layerFor } from './cases.ts';
import { refuse } from './options.ts';
import { type BenchLayout, storedShape } from './shapes.ts';
import { EPS, relativeDifference, TOLERANCE, Workload } from './workload.ts';

const OPS = ['eval', 'train', 'backward'] as const;

/** What a user's function is called with. Vectors have a value for each channel. */
export interface OwnArguments {
  /** The input, in the layout of the file. */
  readonly x: Float32Array;
  /** The gradient with respect to the output, for `backward`. */
  readonly dy: Float32Array;
  /** Where the result goes: the output, or for `backward` the gradient with respect to x. */
  readonly y: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  /** Running statistics for `eval`; statistics of this batch for `backward`. */
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly eps: number;
  /** As it lies in memory. */
  readonly shape: readonly number[];
  readonly layout: BenchLayout;
}

/** Reads FILE: a default export and `shape`, with `op`, `layout` and `name` where they differ. */
export async function ownGroup(file: string): Promise<CaseGroup> {
  const wrong = (expected: string, got: unknown): never =>
    refuse('--own', `${expected} in ${file}`, typeof got === 'function' ? 'a function' : `${JSON.stringify(got)}`);
  let given: Record<string, unknown>;
  try {
    given = await import(pathToFileURL(resolve(file)).href);
  } catch (error) {
    return refuse('--own', 'a module', `${file}: ${(error as Error).message.split('\n')[0]}`);
  }
  const { default: call, shape, op = 'eval', layout = 'channels-first', name = 'yours' } = given;
  if (typeof call !== 'function') wrong('a function as default export', call);
  const isLength = (length: unknown) => typeof length === 'number' && Number.isInteger(length) && length >= 1;
  if (!(Array.isArray(shape) && shape.length >= 2 && shape.every(isLength)))
    wrong('shape: [N, C, ...] with integers from 1', shape);
  if (!OPS.includes(op as never)) wrong(`op: one of ${OPS.join(', ')}`, op);
  if (layout !== 'channels-first' && layout !== 'channels-last')
    wrong('layout: channels-first or channels-last', layout);
  if (typeof name !== 'string') wrong('name: text', name);
  const dims = shape as number[];
  const values = dims.reduce((size, length) => size * length, 1);
  if (op !== 'eval' && values === dims[1]) wrong('a shape with two values per channel or more', shape);
  if (values > 2 ** 27) wrong('shape: at most 2^27 values', shape);
  const bench = { name: name as string, dims };
  const label = {
    op: op as string,
    layout: layout as string,
    shape: `${name} ${storedShape(bench, layout as BenchLayout).join('x')}`,
  };
  return {
    names: [label],
    make: () => ownWork(file, bench, op as Op, layout as BenchLayout, call as (data: OwnArguments) => unknown),
  };
}

type Op = (typeof OPS)[number];

function ownWork(
  file: string,
  bench: { name: string; dims: readonly number[] },
  op: Op,
  layout: BenchLayout,
  call: (data: OwnArguments) => unknown,
) {
  const work = new Workload(bench, layout);
  const { stored, x, dy, gamma, beta, runningMean, runningVar } = work;
  const [tx, tdy, ty] = [tensor(x, stored), tensor(dy, stored), zeros(stored)];
  const bn = layerFor(work);
  const data: OwnArguments = {
    ...{ x: x.slice(), dy: dy.slice(), y: new Float32Array(x.length), gamma: gamma.slice(), beta: beta.slice() },
    ...{ mean: runningMean.slice(), variance: runningVar.slice(), eps: EPS, shape: stored, layout },
  };
  const train = () => bn.train().forward(tx, { out: ty });
  if (op === 'backward') {
    work.train();
    data.mean.set(work.statistics.mean);
    data.variance.set(work.statistics.variance);
  }
  const ours = {
    eval: () => bn.eval().forward(tx, { out: ty }),
    train,
    backward: () => bn.backward(tdy, { out: ty }),
  }[op];
  const plain = { eval: () => work.evaluate(), train: () => work.train(), backward: () => work.backward() }[op];
  const before = () => {
    if (op !== 'backward') return;
    train();
    work.train();
  };
  const bytes = x.length * (op === 'backward' ? 12 : 8);
  const works: Record<string, CaseWork> = {
    [op]: {
      bytes,
      ours,
      plain,
      own: () => call(data),
      copy: copyOf(tx, ty, bytes),
      before,
      difference: () => {
        const own = relativeDifference(data.y, work.y);
        if (!(own < TOLERANCE)) {
          const expected = `y of ${op} within ${TOLERANCE} of batch norm's largest value in ${file}`;
          refuse(
            '--own',
            expected,
            Number.isFinite(own) ? `${own.toPrecision(3)} from it` : 'values that are not finite',
          );
        }
        return relativeDifference(ty.data, work.y);
      },
    },
  };
  return {
    works,
    dispose() {
      for (const held of [tx, tdy, ty, bn]) held.dispose();
    },
  };
}
