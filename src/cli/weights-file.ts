// Any file of weights: which kind it is, by its first bytes, and what is in it.

import { basename, dirname, join } from 'node:path';
import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { isHdf5 } from '../formats/recognize.ts';
import { isInside } from '../formats/zip.ts';
import type { BatchNormOptions } from '../layers/options.ts';
import type { StateDict } from '../types.ts';
import {
  type Foreign,
  fromFlax,
  fromKeras,
  fromOnnx,
  fromTfjs,
  fromTorch,
  type Imported,
  type ImportOptions,
  readKeras,
  readNpy,
  readNpz,
  readOnnx,
  readSafetensors,
  readTfjs,
  tfjsShards,
} from '../weights/index.ts';
import { joined } from '../weights/names.ts';
import { normsIn } from '../weights/stored-norms.ts';
import { readFileWhole } from './files.ts';

export type Kind = 'safetensors' | 'NPZ' | 'NPY' | 'ONNX' | 'TF.js' | 'Keras';
export const FRAMEWORKS = ['torch', 'keras', 'flax', 'onnx', 'tfjs'] as const;
export type Framework = (typeof FRAMEWORKS)[number];

export interface WeightsFile {
  readonly kind: Kind;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tensors: ReadonlyMap<string, Foreign & { readonly dtype?: string }>;
  /** Whose names these are. */
  readonly framework: Framework;
  /** Normalization layers of other kinds, as far as the file says so: `LayerNormalization ln_1`. */
  readonly otherNorms: readonly string[];
  /** In our names. */
  import(options?: ImportOptions): Imported;
}

/** Reads a file of any kind. Throws ERR_FORMAT. */
export async function openWeights(path: string, always = false): Promise<WeightsFile> {
  const bytes = await readFileWhole(path, always);
  if (bytes.length === 0) throw malformed('file', basename(path), 'bytes', 'an empty file', 0);
  const starts = (...magic: number[]) => magic.every((byte, i) => bytes[i] === byte);
  if (starts(0x93, 0x4e, 0x55, 0x4d)) return of('NPY', bytes, new Map([['array', readNpy(bytes)]]));
  if (isHdf5(bytes) || (starts(0x50, 0x4b) && path.endsWith('.keras'))) {
    const file = await readKeras(bytes);
    return {
      kind: 'Keras',
      bytes,
      tensors: file.tensors,
      framework: 'keras',
      otherNorms: (file.layers ?? [])
        .filter(({ className }) => isOtherNorm(className))
        .map(({ className, name }) => `${className} ${name}`),
      import: (options) => fromKeras(file, options),
    };
  }
  if (starts(0x50, 0x4b)) return of('NPZ', bytes, await readNpz(bytes));
  if (starts(0x7b)) {
    const shards = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const shard of tfjsShards(bytes)) {
      if (!isInside(shard)) {
        throw malformed('TF.js', `shard ${quote(shard)}`, 'a file beside the model', 'a path out of its folder', 0);
      }
      shards.set(shard, await readFileWhole(join(dirname(path), shard), always));
    }
    const model = readTfjs(bytes, shards);
    return {
      kind: 'TF.js',
      bytes,
      tensors: model.tensors,
      framework: 'tfjs',
      otherNorms: [],
      import: (options) => fromTfjs(model, options),
    };
  }
  // a safetensors header begins with its length, below 2^56, and a brace
  if (bytes[8] === 0x7b && bytes[7] === 0) {
    const { tensors, metadata } = readSafetensors(bytes);
    return of('safetensors', bytes, tensors, normsIn(metadata));
  }
  if (path.endsWith('.safetensors')) readSafetensors(bytes); // for its error
  const model = readOnnx(bytes);
  return {
    kind: 'ONNX',
    bytes,
    tensors: model.initializers,
    framework: 'onnx',
    otherNorms: model.nodes
      .filter(({ op }) => isOtherNorm(op))
      .map(({ op, name, outputs }) => `${op} ${name || outputs[0]}`),
    import: (options) => fromOnnx(model, options),
  };
}

function of(
  kind: Kind,
  bytes: Uint8Array<ArrayBuffer>,
  tensors: ReadonlyMap<string, Foreign>,
  said: Readonly<Record<string, BatchNormOptions>> = {},
): WeightsFile {
  const framework = frameworkOf([...tensors.keys()]);
  const read = (options?: ImportOptions): Imported => {
    const imported = importAs(framework, tensors, options);
    const norms = Object.entries(imported.norms).map(([name, standard]) => [name, { ...standard, ...said[name] }]);
    const assumed = Object.entries(imported.assumed).map(
      ([name, options]) => [name, options.filter((option) => said[name]?.[option] === undefined)] as const,
    );
    return {
      ...imported,
      norms: Object.fromEntries(norms),
      assumed: Object.fromEntries(assumed.filter(([, options]) => options.length > 0)),
    };
  };
  return { kind, bytes, tensors, framework, otherNorms: [], import: read };
}

/** LayerNormalization and its kin, in ONNX' and Keras' words. */
function isOtherNorm(kind: string): boolean {
  return /Norm/.test(kind) && kind !== 'BatchNormalization';
}

/** Tensors in the words of a framework, in ours. */
export function importAs(
  framework: Framework,
  tensors: ReadonlyMap<string, Foreign>,
  options?: ImportOptions,
): Imported {
  if (framework === 'keras') return fromKeras(tensors, options);
  if (framework === 'tfjs') return fromTfjs(tensors, options);
  return framework === 'flax' ? fromFlax(tensors, options) : fromTorch(tensors, options);
}

/** Whose words these are. */
function frameworkOf(names: readonly string[]): Framework {
  if (names.some((name) => /moving_(?:mean|variance)/.test(name))) return 'keras';
  if (names.some((name) => /^(?:params|batch_stats)[./]/.test(name))) return 'flax';
  return names.some((name) => /(?:^|\/)kernel(?::0)?$/.test(name)) ? 'keras' : 'torch';
}

/** A norm in a file. */
export interface NormReport {
  readonly name: string;
  /** Without statistics it may be of any kind: layer, group or instance norm, or a batch norm that tracks none. */
  readonly kind: 'batch norm' | 'norm without statistics';
  readonly channels: number;
  readonly options: BatchNormOptions;
  /** Options that the file does not say. */
  readonly assumed: readonly string[];
  /** What looks wrong, in sentences. */
  readonly findings: readonly string[];
}

/** Scales beyond this, by which a channel multiplies what comes in, are nothing that training does on purpose. */
const EXPLODING = 1e3;
const DEAD = 1e-8;

/** The norms of some weights, and what looks wrong with their statistics. */
export function normReports({
  state,
  norms,
  assumed,
}: {
  state: StateDict;
  norms: Imported['norms'];
  assumed: Imported['assumed'];
}): NormReport[] {
  return Object.entries(norms).map(([name, options]) => {
    const read = (leaf: string) => state[joined(name, leaf)]?.data;
    const [gamma, mean, variance] = [read('gamma'), read('runningMean'), read('runningVar')];
    const eps = options.eps ?? 1e-5;
    const channels = (gamma ?? variance ?? mean ?? read('beta'))?.length ?? 0;
    const all = Array.from({ length: channels }, (_, c) => c);
    const findings: string[] = [];
    const note = (what: string, found: readonly number[]) => {
      if (found.length)
        findings.push(
          `${what}: ${found.length} of ${channels} channels (${found.slice(0, 8).join(', ')}${found.length > 8 ? ', …' : ''})`,
        );
    };
    for (const leaf of ['gamma', 'beta', 'runningMean', 'runningVar']) {
      const data = read(leaf);
      if (data)
        note(
          `${leaf} is not finite`,
          all.filter((c) => !Number.isFinite(data[c])),
        );
    }
    if (variance) {
      note(
        'variance below 0',
        all.filter((c) => variance[c] < 0),
      );
      note(
        'dead: the variance is 0, nothing comes in',
        all.filter((c) => variance[c] >= 0 && variance[c] < DEAD),
      );
      note(
        'exploding: the channel is multiplied by more than 1,000',
        all.filter(
          (c) => variance[c] >= DEAD && Math.abs(gamma ? gamma[c] : 1) / Math.sqrt(variance[c] + eps) > EXPLODING,
        ),
      );
    }
    if (gamma)
      note(
        'dead: gamma is 0, nothing goes out',
        all.filter((c) => Math.abs(gamma[c]) < DEAD),
      );
    if (variance && mean && all.length && all.every((c) => variance[c] === 1 && mean[c] === 0))
      findings.push('statistics as at the beginning: it was never trained');
    const kind = mean || variance ? 'batch norm' : 'norm without statistics';
    return { name, kind, channels, options, assumed: assumed[name] ?? [], findings };
  });
}
