// Every reader of foreign bytes, with files that it reads: what hostile bytes are tried on.

import { readdirSync } from 'node:fs';
import {
  foldOnnx,
  foldSafetensors,
  fromFlax,
  fromKeras,
  fromOnnx,
  fromTfjs,
  fromTorch,
  loadSequential,
  readKeras,
  readNpy,
  readNpz,
  readOnnx,
  readSafetensors,
  readTfjs,
  type StoredTensor,
} from '../../src/weights/index.ts';
import { compiledFiles, loadAndRun } from './compiled.ts';
import { fixture, fixturePath } from './weights.ts';

export interface ReaderCase {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Reads all there is: every tensor's values, names, folds. */
  read(bytes: Uint8Array): Promise<void>;
}

const touch = (tensors: ReadonlyMap<string, StoredTensor>) => {
  for (const { data } of tensors.values()) void data.length;
};

const files = (folder: string, ...ends: string[]) =>
  readdirSync(fixturePath(folder))
    .filter((name) => ends.some((end) => name.endsWith(end)))
    .map((name) => `${folder}/${name}`);

let shards: [name: string, bytes: Uint8Array][] | undefined;

/** The shards that the models of TF.js name. */
export function tfjsShardFiles(): readonly [name: string, bytes: Uint8Array][] {
  shards ??= files('tfjs', '.bin').map((name) => [name.replace('tfjs/', ''), fixture(name)]);
  return shards;
}

const cases = (names: readonly string[], read: ReaderCase['read']): ReaderCase[] =>
  names.map((name) => ({ name, bytes: fixture(name), read }));

const compiled = (): ReaderCase[] =>
  compiledFiles().map(([name, bytes]) => ({ name, bytes, read: async (changed) => loadAndRun(changed) }));

/** Without HDF5, whose library is not ours. */
export const readerCases = (): ReaderCase[] => [
  ...cases([...files('torch', '.safetensors'), ...files('flax', '.safetensors')], async (bytes) => {
    const { tensors } = readSafetensors(bytes);
    touch(tensors);
    fromTorch(tensors);
    fromFlax(tensors);
    foldSafetensors(bytes);
  }),
  ...cases(files('numpy', '.npy'), async (bytes) => void readNpy(bytes).data.length),
  ...cases(
    ['numpy/stored.npz', 'numpy/deflated.npz', ...files('torch', '.npz'), ...files('flax', '.npz')],
    async (bytes) => {
      touch(await readNpz(bytes));
    },
  ),
  ...cases([...files('onnx', '.onnx'), 'torch/net.onnx'], async (bytes) => {
    const options = { files: { 'outside.data': fixture('onnx/outside.data') } };
    const model = readOnnx(bytes, options);
    touch(model.initializers);
    fromOnnx(model);
    foldOnnx(bytes, options);
    await loadSequential(bytes, { dropSoftmax: true });
  }),
  ...cases(['tfjs/plain.json', 'tfjs/uint8.json', 'tfjs/float16.json'], async (bytes) => {
    const model = readTfjs(bytes, Object.fromEntries(tfjsShardFiles()));
    touch(model.tensors);
    fromTfjs(model);
  }),
  ...cases(
    ['chain', 'graph', 'manifest'].map((name) => `tfjs-networks/${name}.json`),
    async (bytes) => {
      const shards = networkShards();
      const model = readTfjs(bytes, shards);
      for (const tensor of model.tensors.values()) if (tensor.dtype !== 'STRING') void tensor.data;
      fromTfjs(model);
      await loadSequential({ 'model.json': bytes, ...shards });
    },
  ),
  ...compiled(),
];

let networks: Record<string, Uint8Array> | undefined;

/** The shards of test/fixtures/weights/tfjs-networks, read once. */
function networkShards(): Record<string, Uint8Array> {
  networks ??= Object.fromEntries(
    files('tfjs-networks', '.bin').map((name) => [name.replace('tfjs-networks/', ''), fixture(name)]),
  );
  return networks;
}

export const kerasCases = (): ReaderCase[] =>
  cases(
    [...files('keras', '.keras', '.h5'), ...files('tfkeras', '.keras', 'mlp-scoped.h5'), 'keras-kinds/custom.keras'],
    async (bytes) => {
      const file = await readKeras(bytes);
      touch(file.tensors);
      fromKeras(file);
      await loadSequential(bytes, { dropSoftmax: true });
    },
  );

/** What a reader may throw. */
export const CODES = ['ERR_FORMAT', 'ERR_STATE', 'ERR_FOLD', 'ERR_SHAPE', 'ERR_OPTION', 'ERR_TYPE', 'ERR_MEMORY'];

/**
 * What is wrong with how a reader took some bytes; undefined if it read them or refused them
 * properly.
 */
export async function complaint({ read }: ReaderCase, bytes: Uint8Array): Promise<string | undefined> {
  const before = process.memoryUsage().arrayBuffers;
  const start = process.cpuUsage();
  try {
    await read(bytes);
  } catch (error) {
    const { code, message, stack } = error as Error & { code?: string };
    if (!code || !CODES.includes(code)) return `${code ?? 'no code'}: ${stack ?? message}`;
    if (message.includes('\n') || message.length > 1000)
      return `a message of ${message.length} characters: ${message.slice(0, 200)}`;
  }
  // the processor's time, which other programs do not take
  const { user, system } = process.cpuUsage(start);
  const taken = (user + system) / 1000;
  if (taken > 2000) return `${Math.round(taken)} ms`;
  // what was allocated is still there: nothing has collected it
  const held = process.memoryUsage().arrayBuffers - before;
  return held > 100 * bytes.length + (16 << 20) ? `${held} bytes for a file of ${bytes.length}` : undefined;
}
