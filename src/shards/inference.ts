// Inference over shards: one output part for each, joined by sorted keys.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.ts';
import { checkRecord } from '../named-options.ts';
import type { Batches } from '../stats/population.ts';
import type { ShardContext, ShardTask } from './task.ts';

/** Values of an output: plain, of f32. */
export interface InferenceOutput {
  /** Values, row-major. */
  readonly data: Float32Array;
  /** Length of each axis, outermost first. */
  readonly shape: readonly number[];
}

/** What `inferenceTask` is made of. */
export interface InferenceTaskOptions<B> {
  /** Part of the run's id: of the network, and of how batches are made. */
  version: string;
  /** Runs a batch: a compiled network, or what calls one. One output, or a record of several. */
  run: (batch: never) => unknown;
  /** The batches of a shard, always the same for the same input. */
  batches: (input: unknown, context: ShardContext) => Batches<B> | Promise<Batches<B>>;
}

const SUBJECT = 'inferenceTask';
const FORMAT = 'evenkeel-outputs';
/** The name of the output of a network that has one. */
const ONLY = 'output';

/** Pieces of each output, in the order of their rows. */
type Pieces = Map<string, InferenceOutput[]>;

function take(pieces: Pieces, name: string, { data, shape }: InferenceOutput, where: string): void {
  const before = pieces.get(name);
  const row = (of: readonly number[]) => show(of.slice(1));
  if (before && row(before[0].shape) !== row(shape)) {
    throw wrongValue(
      'ERR_SHAPE',
      SUBJECT,
      `output '${name}'`,
      `rows of shape ${row(before[0].shape)}`,
      row(shape),
      where,
    );
  }
  if (before) before.push({ data, shape });
  else pieces.set(name, [{ data, shape }]);
}

function joined(pieces: Pieces): Record<string, InferenceOutput> {
  return Object.fromEntries(
    [...pieces].map(([name, list]) => {
      const rows = list.reduce((sum, { shape }) => sum + shape[0], 0);
      const data = new Float32Array(list.reduce((sum, one) => sum + one.data.length, 0));
      let at = 0;
      for (const one of list) {
        data.set(one.data, at);
        at += one.data.length;
      }
      return [name, { data, shape: [rows, ...list[0].shape.slice(1)] }];
    }),
  );
}

const encode = (outputs: Readonly<Record<string, InferenceOutput>>) =>
  writeSafetensors(new Map(Object.entries(outputs)), { format: FORMAT });

function decode(bytes: Uint8Array, part: string): [string, InferenceOutput][] {
  const { tensors, metadata } = readSafetensors(bytes);
  if (metadata.format !== FORMAT) {
    throw wrongValue('ERR_FORMAT', SUBJECT, 'a part', `'${FORMAT}'`, show(metadata.format), part);
  }
  return [...tensors].map(([name, { dtype, shape, bytes: raw }]) => {
    if (dtype !== 'F32' || shape.length === 0) {
      throw wrongValue('ERR_FORMAT', SUBJECT, `output '${name}'`, 'rows of F32', `${dtype} ${show(shape)}`, part);
    }
    return [name, { data: new Float32Array(raw.slice().buffer), shape }];
  });
}

/**
 * A task for inference: runs the batches of each shard, and joins the outputs of all along axis 0,
 * by sorted keys.
 *
 *     export default inferenceTask({ version: 'net-7', run: load(file), batches: ({ file }) =>
 *     read(file) });
 *
 * @returns a task; its result is a record of outputs by their names, `output` where the network has
 *   one. NaN and infinities are values as any
 * @throws ERR_OPTION for options that are missing. Its shards throw ERR_TYPE for outputs that are
 * no
 *   tensors, ERR_SHAPE where rows differ in shape
 */
export function inferenceTask<B>(options: InferenceTaskOptions<B>): ShardTask<Record<string, InferenceOutput>> {
  checkRecord(SUBJECT, options);
  const { version, run, batches } = options;
  if (typeof version !== 'string' || !version) {
    throw wrongKind('ERR_OPTION', SUBJECT, 'version', 'a text', show(version));
  }
  for (const [name, value] of Object.entries({ run, batches })) {
    if (typeof value !== 'function') throw wrongKind('ERR_OPTION', SUBJECT, name, 'a function', show(value));
  }
  const isTensor = (y: unknown): y is InferenceOutput =>
    (y as Partial<InferenceOutput> | null)?.data instanceof Float32Array && Array.isArray((y as InferenceOutput).shape);
  return {
    name: 'evenkeel.inference',
    version,
    async shard(input, context) {
      const pieces: Pieces = new Map();
      for await (const batch of await batches(input, context)) {
        context.signal.throwIfAborted();
        const y = await run(batch as never);
        for (const [name, output] of Object.entries(isTensor(y) ? { [ONLY]: y } : ((y ?? {}) as object))) {
          if (!isTensor(output))
            throw wrongKind('ERR_TYPE', SUBJECT, `output '${name}'`, '{ data, shape }', show(output));
          // a run may write over what it gave before
          take(pieces, name, { data: output.data.slice(), shape: [...output.shape] }, context.key);
        }
      }
      return encode(joined(pieces));
    },
    async merge(results) {
      const pieces: Pieces = new Map();
      for await (const { key, bytes } of results) {
        for (const [name, output] of decode(bytes, `shard '${key}'`)) take(pieces, name, output, `shard '${key}'`);
      }
      return joined(pieces);
    },
    encode,
  };
}
