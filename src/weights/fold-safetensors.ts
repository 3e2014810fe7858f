// Batch norm of a safetensors file, folded.

import { type EvenkeelError, show, wrongKind, wrongValue } from '../errors.ts';
import { type Bytes, Pool, quote, quoteSome } from '../formats/bytes.ts';
import { bytesPerValue, isQuantised, type Values } from '../formats/dtypes.ts';
import { type RawTensor, readSafetensors, type Writable, writeEntries } from '../formats/safetensors.ts';
import { checkEps } from '../layers/options.ts';
import { checkNames, checkRecord } from '../named-options.ts';
import { preset } from '../norms/options.ts';
import { type FileFold, type FoldedNorm, type StoredFold, storedFold } from './fold-report.ts';
import { groupsOf, unsoundAt } from './imported.ts';
import { FileLayer, isInOrder, isSquare, type Pair, pairsOf } from './layer-pairs.ts';
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
  const { layers, layerOf } = layersOf(tensors);
  const byName = namedIn(layers);
  const norms = [...layers.values()].filter(({ tensors: own }) => own.has('running_mean') || own.has('running_var'));
  const said = namedNorms(pairs, byName, norms);
  const chosen = new Map([...said].map(([norm, name]) => [norm, layerNamed(name, norm, byName)]));
  namedNorms(typeof eps === 'object' ? eps : {}, byName, norms);
  const turned = new Set(namedLayers('transposed', transposed, byName));
  const grouped = new Map(Object.entries(groups).map(([name, count]) => [byName(name), count]));
  namedLayers('groups', Object.keys(groups), byName);

  const stored = new Map(Object.entries(normsIn(metadata)));
  const epsBy = new Map(typeof eps === 'object' && eps ? Object.entries(eps) : [['*', eps]]);
  const epsOf = ({ name, bare }: FileLayer) => {
    const given = epsBy.get(name) ?? epsBy.get(bare) ?? epsBy.get('*');
    const stated = given ?? stored.get(name)?.eps ?? stored.get(bare)?.eps;
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
  const result = new Changes(tensors, layers.size);
  for (const [i, norm] of norms.entries()) {
    const { value, stated } = epsOf(norm);
    const inTraining = (stored.get(norm.name) ?? stored.get(norm.bare))?.training;
    const pair = inTraining ? { reason: 'it is in training mode' } : found[i];
    result.fold(norm, pair, { eps: value, stated, transposed: turned, groups: grouped }, norms);
  }
  const { folded, kept, assumed } = result;
  const left = withoutNorms(
    metadata,
    folded.map(({ norm }) => norm),
  );
  return { file: writeEntries(() => result.written(layerOf), left), folded, kept, assumed };
}

/** Tensors by layer, under bare names; and the layer of a tensor. */
function layersOf(tensors: ReadonlyMap<string, RawTensor>): {
  layers: ReadonlyMap<string, FileLayer>;
  layerOf: (name: string) => FileLayer;
} {
  const bare = bareNames(() => tensors.keys());
  const layers = groupsOf(
    tensors,
    (full) => parted(bare(full)),
    (...given) => new FileLayer(...given),
  );
  return { layers, layerOf: (full) => layers.get(parted(bare(full))[0])! };
}

type ByName = (name: string) => FileLayer | undefined;

/** Layers by the names that the file has, and by bare ones. */
function namedIn(layers: ReadonlyMap<string, FileLayer>): ByName {
  const full = new Map<string, FileLayer>();
  for (const layer of layers.values()) if (layer.name !== layer.bare) full.set(layer.name, layer);
  return (name) => full.get(name) ?? layers.get(name);
}

/** The norms that an option names, and what it says of them. */
function namedNorms<T>(
  given: Readonly<Record<string, T>>,
  byName: ByName,
  norms: readonly FileLayer[],
): Map<FileLayer, T> {
  const entries = Object.entries(given).filter(([name]) => name !== '*');
  return new Map(
    entries.map(([name, value]) => {
      const norm = byName(name);
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
    const layer = byName(name);
    if (layer?.tensors.has('weight')) return layer;
    throw wrongValue('ERR_OPTION', SUBJECT, option, 'names of layers in the file', quote(name));
  });
}

function layerNamed(name: string, norm: FileLayer, byName: ByName): FileLayer {
  const layer = byName(name);
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
  /**
   * By the number of a layer: that of the norm that was folded into it, or −1; is it a norm that
   * goes; channels, and places of the new weights and bias.
   */
  readonly #owners: Int32Array;
  readonly #gone: Uint8Array;
  readonly #channels: Uint32Array;
  readonly #weights: Float64Array;
  readonly #biases: Float64Array;
  readonly #pool = new Pool();
  #eps = { value: Number.NaN, text: '' };
  /** What reports say was assumed: few different lists. */
  readonly #lists = new Map<string, readonly string[]>();

  constructor(tensors: ReadonlyMap<string, RawTensor>, layers: number) {
    this.#tensors = tensors;
    this.#owners = new Int32Array(layers).fill(-1);
    this.#gone = new Uint8Array(layers);
    this.#channels = new Uint32Array(layers);
    this.#weights = new Float64Array(layers);
    this.#biases = new Float64Array(layers);
  }

  fold(norm: FileLayer, pair: Pair, settings: Settings, norms: readonly FileLayer[]): void {
    const reason = 'reason' in pair ? pair.reason : (unknownIn(norm, TORCH_NORM) ?? unfoldable(pair.layer));
    if (reason !== undefined) {
      if ('by' in pair && pair.by === 'option')
        throw wrongValue('ERR_FOLD', SUBJECT, quote(norm.name), 'a layer to fold into', reason);
      this.kept.push({ norm: norm.name, reason });
      return;
    }
    const { layer, by } = pair as Exclude<Pair, { reason: string }>;
    const owner = this.#owners[layer.at];
    if (owner >= 0) {
      const other = norms.find(({ at }) => at === owner)!;
      const got = `${quote(layer.name)}, as ${quote(other.name)}`;
      throw wrongValue('ERR_FOLD', SUBJECT, quote(norm.name), 'a layer of its own', got);
    }
    try {
      this.#store(norm, layer, this.#folded(norm, layer, settings), settings, by);
    } catch (error) {
      if (by === 'option' || !['ERR_FOLD', 'ERR_SHAPE'].includes((error as EvenkeelError).code)) throw error;
      this.kept.push({ norm: norm.name, reason: (error as Error).message });
    }
  }

  #folded(norm: FileLayer, layer: FileLayer, { eps, transposed, groups }: Settings): StoredFold {
    const state = stateOf(norm);
    const read = (ours: string) => state.get(ours);
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
    const shaped = { transposed: transposed.has(layer), groups: groups.get(layer) ?? 1, ...plain };
    const dtypes = { weight: weight.dtype, bias: bias?.dtype ?? weight.dtype };
    return storedFold(SUBJECT, weight.shape.length === 2 ? plain : shaped, statistics, false, dtypes);
  }

  #parts(layer: FileLayer): { weight: RawTensor; bias: RawTensor | undefined } {
    const [weight, bias] = ['weight', 'bias'].map((leaf) => layer.tensors.get(leaf)?.tensor as RawTensor | undefined);
    const name = joined(layer.name, 'bias');
    if (!bias && this.#tensors.has(name))
      throw wrongValue('ERR_FOLD', SUBJECT, quote(layer.name), 'a bias of its own', `${quote(name)} of another layer`);
    return { weight: weight!, bias };
  }

  #store(
    norm: FileLayer,
    layer: FileLayer,
    result: StoredFold,
    { eps, stated, transposed }: Settings,
    by: string,
  ): void {
    const { weight } = this.#parts(layer);
    const { outChannels: channels, rounding } = result;
    this.#owners[layer.at] = norm.at;
    this.#channels[layer.at] = channels;
    this.#weights[layer.at] = this.#pool.keep(result.weight);
    this.#biases[layer.at] = this.#pool.keep(result.bias);
    this.#gone[norm.at] = 1;
    const square = weight.shape.length > 2 && isSquare(layer) && !transposed.has(layer);
    const guesses: [string, boolean, () => string][] = [
      ['layer', by === 'names', () => `it follows ${layer.name}, by their names: the file has no graph`],
      ['transposed', square, () => `${layer.name} is not transposed, with as many channels in as out`],
      ['eps', !stated, () => this.#unsaid(eps)],
    ];
    const made = guesses.filter(([, is]) => is);
    for (const [, , sentence] of made) this.assumed.push(`${norm.name}: ${sentence()}`);
    const key = made.map(([what]) => what).join();
    if (made.length && !this.#lists.has(key)) this.#lists.set(key, Object.freeze(key.split(',')));
    const assumed = this.#lists.get(key);
    const { name } = norm;
    const into = layer.name;
    const report: FoldedNorm = assumed
      ? { norm: name, into, side: 'behind', channels, eps, rounding, assumed }
      : { norm: name, into, side: 'behind', channels, eps, rounding };
    this.folded.push(square ? { note: SQUARE, ...report } : report);
  }

  /** Texts of the same eps are one. */
  #unsaid(eps: number): string {
    if (this.#eps.value !== eps)
      this.#eps = { value: eps, text: `eps ${eps}, PyTorch's default: the file does not say` };
    return this.#eps.text;
  }

  /** All tensors in the order of the file; a bias that was not there comes behind its weight. */
  *written(layerOf: (name: string) => FileLayer): Iterable<readonly [string, Writable]> {
    for (const [name, tensor] of this.#tensors) {
      const layer = layerOf(name);
      const { at } = layer;
      if (this.#gone[at]) continue;
      if (this.#owners[at] < 0) {
        yield [name, tensor];
        continue;
      }
      // nobody folds into a layer that has anything else
      const isWeight = layer.tensors.get('weight')!.full === name;
      const { shape, dtype, bytes } = tensor;
      yield [
        name,
        { bytes: this.#pool.view((isWeight ? this.#weights : this.#biases)[at], bytes.length), shape, dtype },
      ];
      if (!isWeight || layer.tensors.has('bias')) continue;
      const channels = this.#channels[at];
      const added = this.#pool.view(this.#biases[at], channels * bytesPerValue(dtype)!);
      yield [joined(layer.name, 'bias'), { bytes: added, shape: [channels], dtype }];
    }
  }
}

/** A norm's tensors in our words. Throws ERR_STATE, as `fromTorch`. */
function stateOf({ tensors }: FileLayer): Map<string, Values> {
  const state = new Map<string, Values>();
  for (const [leaf, { tensor }] of tensors) {
    const { data } = tensor as RawTensor;
    const ours = TORCH_NORM[leaf];
    if (unsoundAt(ours, data) >= 0)
      fromTorch(new Map(Array.from(tensors.values(), ({ full, tensor }) => [full, tensor])));
    state.set(ours, data);
  }
  return state;
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

const SQUARE = 'as many channels in as out: taken for a convolution that is not transposed';

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
