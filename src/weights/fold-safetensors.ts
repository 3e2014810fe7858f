// Batch norm of a safetensors file, folded.

import { type EvenkeelError, show, wrongKind, wrongValue } from '../errors.ts';
import { type Bytes, quote, quoteSome } from '../formats/bytes.ts';
import { isQuantised } from '../formats/dtypes.ts';
import { type RawTensor, readSafetensors, type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { checkEps } from '../layers/options.ts';
import { checkNames, checkRecord } from '../named-options.ts';
import { preset } from '../norms/options.ts';
import { type FileFold, type FoldedNorm, type StoredFold, storedFold } from './fold-report.ts';
import { groupsOf } from './imported.ts';
import { type FileLayer, isInOrder, isSquare, type Pair, pairsOf } from './layer-pairs.ts';
import { joined, parted } from './names.ts';
import { normsIn, withoutNorms } from './stored-norms.ts';
import { fromTorch } from './torch.ts';
import { bareNames, TORCH_NORM } from './torch-names.ts';

/** Options of `foldSafetensors`. */
export interface SafetensorsFoldOptions {
  /** Norms and the layers they follow: `{ bn1: 'conv1' }`. Default: as names say. */
  pairs?: Readonly<Record<string, string>>;
  /**
   * A file of weights does not say eps, unless `npx evenkeel convert` wrote it. Default: what the
   * file says, else 1e-5, PyTorch's. One number for all norms, or one by name, with `*` for those
   * that are not named.
   */
  eps?: number | Readonly<Record<string, number>>;
  /** Layers that are transposed convolutions. */
  transposed?: readonly string[];
  /** Groups of convolutions, by layer: only transposed ones need them. */
  groups?: Readonly<Record<string, number>>;
  /** The shards that an index names, by name. */
  files?: ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>;
}

const SUBJECT = 'foldSafetensors';
/** Types that weights are folded in. */
const FLOATS = ['F64', 'F32', 'F16', 'BF16'];

/**
 * Folds every batch norm (PyTorch's names, Gluon's, Burn's) into the linear or convolution layer
 * that it follows. Tensors of those layers change, tensors of the norms go, everything else is
 * carried over byte for byte, in its order.
 *
 *     const { file, folded, kept, assumed } = foldSafetensors(await readFile('model.safetensors'));
 *
 * There is no graph in such a file. In a Sequential, indexes prove that `1` follows `0`. That `bn1`
 * follows `conv1` is taken from the names as long as nothing in the file speaks against it:
 * channels that do not fit, a norm before its layer, an activation between. Then such norms are
 * kept unless `pairs` says what they follow. What was taken for granted is listed in `assumed`.
 *
 * @param file bytes of a safetensors file, or of an index with `files`: the shards become one file
 * @throws ERR_FORMAT, ERR_STATE for a file that is wrong; ERR_FOLD for `pairs` that cannot be
 *   folded; ERR_OPTION
 */
export function foldSafetensors(file: Bytes, options: SafetensorsFoldOptions = {}): FileFold {
  checkNames(SUBJECT, options, ['pairs', 'eps', 'transposed', 'groups', 'files']);
  const { pairs = {}, eps = {}, transposed = [], groups = {}, files } = options;
  checkRecord(SUBJECT, pairs);
  checkRecord(SUBJECT, groups);
  const { tensors, metadata } = readSafetensors(file, files && { files });
  const layers = layersOf(tensors);
  const byName = new Map(
    [...layers.values()].flatMap((layer) => [[layer.bare, layer] as const, [layer.name, layer] as const]),
  );
  const norms = [...layers.values()].filter(({ tensors: own }) => own.has('running_mean') || own.has('running_var'));
  const said = namedNorms(pairs, byName, norms);
  const chosen = new Map([...said].map(([norm, name]) => [norm, layerNamed(name, norm, byName)]));
  namedNorms(typeof eps === 'object' ? eps : {}, byName, norms);
  const turned = new Set(namedLayers('transposed', transposed, byName));
  const grouped = new Map(Object.entries(groups).map(([name, count]) => [byName.get(name), count]));
  namedLayers('groups', Object.keys(groups), byName);

  const stored = normsIn(metadata);
  const own = <T>(record: Readonly<Record<string, T>>, name: string) =>
    Object.hasOwn(record, name) ? record[name] : undefined;
  const epsOf = ({ name, bare }: FileLayer) => {
    const given = typeof eps === 'number' ? eps : (own(eps, name) ?? own(eps, bare) ?? own(eps, '*'));
    const stated = given ?? own(stored, name)?.eps ?? own(stored, bare)?.eps;
    const value = stated ?? preset('torch').eps;
    checkEps(SUBJECT, value);
    return { value, stated: stated !== undefined };
  };
  const found = pairsOf({
    layers,
    norms,
    chosen,
    isTransposed: (layer) => turned.has(layer),
    inOrder: isInOrder(tensors),
  });
  const result = new Changes(tensors);
  for (const norm of norms) {
    const { value, stated } = epsOf(norm);
    const inTraining = (own(stored, norm.name) ?? own(stored, norm.bare))?.training;
    const pair = inTraining ? { reason: 'it is in training mode' } : found.get(norm)!;
    result.fold(norm, pair, { eps: value, stated, transposed: turned, groups: grouped });
  }
  const { folded, kept, assumed } = result;
  const left = withoutNorms(
    metadata,
    folded.map(({ norm }) => norm),
  );
  return { file: writeSafetensors(result.written(), left), folded, kept, assumed };
}

/** Tensors by layer, under bare names. */
function layersOf(tensors: ReadonlyMap<string, RawTensor>): Map<string, FileLayer> {
  const bare = bareNames(tensors.keys());
  const groups = groupsOf([...tensors], (full) => parted(bare.get(full)!));
  return new Map(
    groups.map(({ name, tensors: own }, at) => {
      const [[leaf, { full }]] = own;
      return [name, { name: full === leaf ? '' : full.slice(0, -leaf.length - 1), bare: name, tensors: own, at }];
    }),
  );
}

type ByName = ReadonlyMap<string, FileLayer>;

/** The norms that an option names, and what it says of them. */
function namedNorms<T>(
  given: Readonly<Record<string, T>>,
  byName: ByName,
  norms: readonly FileLayer[],
): Map<FileLayer, T> {
  const entries = Object.entries(given).filter(([name]) => name !== '*');
  return new Map(
    entries.map(([name, value]) => {
      const norm = byName.get(name);
      if (!norm || !norms.includes(norm)) {
        const names = quoteSome(norms.map((one) => one.name));
        throw wrongValue('ERR_OPTION', SUBJECT, 'a norm', names, quote(name));
      }
      return [norm, value];
    }),
  );
}

function namedLayers(option: string, names: readonly string[], byName: ByName): FileLayer[] {
  return names.map((name) => {
    const layer = byName.get(name);
    if (layer?.tensors.has('weight')) return layer;
    throw wrongValue('ERR_OPTION', SUBJECT, option, 'names of layers in the file', quote(name));
  });
}

function layerNamed(name: string, norm: FileLayer, byName: ByName): FileLayer {
  const layer = byName.get(name);
  if (layer?.tensors.has('weight')) return layer;
  const wanted = `a tensor ${quote(joined(name, 'weight'))}`;
  throw wrongValue('ERR_OPTION', SUBJECT, `the layer of ${quote(norm.name)}`, wanted, 'none');
}

interface Settings {
  readonly eps: number;
  readonly stated: boolean;
  readonly transposed: ReadonlySet<FileLayer>;
  readonly groups: ReadonlyMap<FileLayer | undefined, number>;
}

/** What becomes of a file, norm by norm. */
class Changes {
  readonly folded: FoldedNorm[] = [];
  readonly kept: { norm: string; reason: string }[] = [];
  readonly assumed: string[] = [];
  readonly #tensors: ReadonlyMap<string, RawTensor>;
  readonly #changed = new Map<string, Writable>();
  /** Biases that were not there, by the weights they come behind. */
  readonly #added = new Map<string, readonly [string, Writable]>();
  readonly #gone = new Set<string>();
  readonly #taken = new Map<FileLayer, FileLayer>();

  constructor(tensors: ReadonlyMap<string, RawTensor>) {
    this.#tensors = tensors;
  }

  fold(norm: FileLayer, pair: Pair, settings: Settings): void {
    const reason = 'reason' in pair ? pair.reason : (unknownIn(norm, TORCH_NORM) ?? unfoldable(pair.layer));
    if (reason !== undefined) {
      if ('by' in pair && pair.by === 'option')
        throw wrongValue('ERR_FOLD', SUBJECT, quote(norm.name), 'a layer to fold into', reason);
      this.kept.push({ norm: norm.name, reason });
      return;
    }
    const { layer, by } = pair as Exclude<Pair, { reason: string }>;
    const owner = this.#taken.get(layer);
    if (owner)
      throw wrongValue(
        'ERR_FOLD',
        SUBJECT,
        quote(norm.name),
        'a layer of its own',
        `${quote(layer.name)}, as ${quote(owner.name)}`,
      );
    try {
      this.#store(norm, layer, this.#folded(norm, layer, settings), settings, by);
    } catch (error) {
      if (by === 'option' || !['ERR_FOLD', 'ERR_SHAPE'].includes((error as EvenkeelError).code)) throw error;
      this.kept.push({ norm: norm.name, reason: (error as Error).message });
    }
  }

  #folded(norm: FileLayer, layer: FileLayer, { eps, transposed, groups }: Settings): StoredFold {
    const own = new Map([...norm.tensors.values()].map(({ full, tensor }) => [full, tensor]));
    const imported = Object.entries(fromTorch(own).state);
    const read = (leaf: string) => imported.find(([name]) => parted(name)[1] === leaf)?.[1].data;
    for (const leaf of ['running_mean', 'running_var'])
      if (!norm.tensors.has(leaf)) throw wrongKind('ERR_FOLD', SUBJECT, quote(norm.name), `a ${leaf}`, 'none');
    const statistics = {
      mean: read('runningMean')!,
      variance: read('runningVar')!,
      gamma: read('gamma'),
      beta: read('beta'),
      eps,
    };
    const { weight, bias } = this.#parts(layer);
    const plain = { weight: weight.data, bias: bias?.data, shape: weight.shape };
    const shaped = { ...plain, transposed: transposed.has(layer), groups: groups.get(layer) ?? 1 };
    const dtypes = { weight: weight.dtype, bias: bias?.dtype ?? weight.dtype };
    return storedFold(SUBJECT, weight.shape.length === 2 ? plain : shaped, statistics, false, dtypes);
  }

  #parts(layer: FileLayer): { weight: RawTensor; bias: RawTensor | undefined; weightName: string; biasName: string } {
    const weightName = layer.tensors.get('weight')!.full;
    const biasName = layer.tensors.get('bias')?.full ?? joined(layer.name, 'bias');
    return { weight: this.#tensors.get(weightName)!, bias: this.#tensors.get(biasName), weightName, biasName };
  }

  #store(
    norm: FileLayer,
    layer: FileLayer,
    result: StoredFold,
    { eps, stated, transposed }: Settings,
    by: string,
  ): void {
    const { weight, bias, weightName, biasName } = this.#parts(layer);
    const { outChannels: channels, rounding } = result;
    const newBias = { bytes: result.bias, shape: [channels], dtype: bias?.dtype ?? weight.dtype };
    this.#changed.set(weightName, { bytes: result.weight, shape: weight.shape, dtype: weight.dtype });
    if (bias) this.#changed.set(biasName, newBias);
    else this.#added.set(weightName, [biasName, newBias]);
    for (const { full } of norm.tensors.values()) this.#gone.add(full);
    this.#taken.set(layer, norm);
    const square = weight.shape.length > 2 && isSquare(layer) && !transposed.has(layer);
    const guesses: [string, boolean, string][] = [
      ['layer', by === 'names', `${norm.name}: it follows ${layer.name}, by their names: the file has no graph`],
      ['transposed', square, `${norm.name}: ${layer.name} is not transposed, with as many channels in as out`],
      ['eps', !stated, `${norm.name}: eps ${eps}, PyTorch's default: the file does not say`],
    ];
    const made = guesses.filter(([, is]) => is);
    this.assumed.push(...made.map(([, , sentence]) => sentence));
    this.folded.push({
      norm: norm.name,
      into: layer.name,
      side: 'behind',
      channels,
      eps,
      rounding,
      ...(made.length && { assumed: made.map(([what]) => what) }),
      ...(square && { note: 'as many channels in as out: taken for a convolution that is not transposed' }),
    });
  }

  /** All tensors in the order of the file; a bias that was not there comes behind its weight. */
  written(): Map<string, Writable> {
    const out = new Map<string, Writable>();
    for (const [name, tensor] of this.#tensors) {
      if (this.#gone.has(name)) continue;
      out.set(name, this.#changed.get(name) ?? tensor);
      const added = this.#added.get(name);
      if (added) out.set(...added);
    }
    return out;
  }
}

/** A tensor that nobody knows may mean anything to those beside it. */
function unknownIn({ tensors }: FileLayer, known: Readonly<Record<string, unknown>>): string | undefined {
  const leaves = [...tensors.keys()];
  const other = leaves.find((leaf) => !Object.hasOwn(known, leaf));
  if (other !== undefined) return `nobody knows what ${quote(tensors.get(other)!.full)} does`;
  for (const [one, two] of [
    ['weight', 'gamma'],
    ['bias', 'beta'],
  ])
    if (tensors.has(one) && tensors.has(two)) return `it has both ${quote(one)} and ${quote(two)}`;
  const odd = leaves.find(
    (leaf) => leaf !== 'num_batches_tracked' && isQuantised((tensors.get(leaf)!.tensor as RawTensor).dtype),
  );
  return odd === undefined ? undefined : `${quote(tensors.get(odd)!.full)} is quantised`;
}

/** Why nothing can be folded into a layer. */
function unfoldable(layer: FileLayer): string | undefined {
  for (const leaf of ['weight', 'bias']) {
    const found = layer.tensors.get(leaf);
    const dtype = (found?.tensor as RawTensor | undefined)?.dtype;
    if (dtype !== undefined && !FLOATS.includes(dtype))
      return `${quote(found!.full)} is ${dtype}: only floats can be folded into`;
  }
  return unknownIn(layer, { weight: true, bias: true });
}

/** Checks pairs as they come from a command line. */
export function checkPair(text: string): [norm: string, value: string] {
  const cut = text.indexOf('=');
  if (cut < 1 || cut === text.length - 1) {
    throw wrongValue('ERR_OPTION', SUBJECT, 'a pair', "'norm=layer'", show(text));
  }
  return [text.slice(0, cut), text.slice(cut + 1)];
}
