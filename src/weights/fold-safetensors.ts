// Batch norm of a safetensors file, folded. There is no graph in such a file: names say which layer a norm follows.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { type Bytes, quote } from '../formats/bytes.ts';
import { type RawTensor, readSafetensors, type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { checkEps, preset } from '../layers/options.ts';
import { checkNames, checkRecord } from '../named-options.ts';
import { type FileFold, type FoldedNorm, storedFold } from './fold-report.ts';
import { joined, parted } from './names.ts';
import { normsIn } from './stored-norms.ts';
import { fromTorch } from './torch.ts';

export interface SafetensorsFoldOptions {
  /** Norms and the layers they follow: `{ bn1: 'conv1' }`. Default: as names say. */
  pairs?: Readonly<Record<string, string>>;
  /**
   * A file of weights does not say eps, unless `npx evenkeel convert` wrote it. Default then what it says, else 1e-5, PyTorch's; one for all, or by
   * norm, with `*` for those that are not named.
   */
  eps?: number | Readonly<Record<string, number>>;
  /** Layers that are transposed convolutions. */
  transposed?: readonly string[];
  /** Groups of convolutions, by layer: only transposed ones need them. */
  groups?: Readonly<Record<string, number>>;
}

const SUBJECT = 'foldSafetensors';
/** What norms and the layers before them are called. */
const NORM_WORDS = ['batch_norm', 'batchnorm', 'norm', 'bn'];
const LAYER_WORDS = ['conv', 'fc', 'linear', 'dense', 'proj', 'lin'];
const LOOKS_TRANSPOSED = /transpose|deconv|(?:^|[._])up(?:conv|sample)?\d*$/i;

/**
 * Folds every batch norm (PyTorch's names) into the linear or convolution layer that its name says it follows: `bn1` follows `conv1`, `1` follows `0`.
 * Tensors of those layers change, tensors of the norms go, everything else is carried over byte for byte, in its order.
 *
 * The names are all there is: a network that normalises before a layer of the same name must be told so by `pairs`, or not folded.
 *
 * @throws ERR_FORMAT, ERR_STATE for a file that is wrong; ERR_FOLD for pairs that cannot be folded; ERR_OPTION
 */
export function foldSafetensors(file: Bytes, options: SafetensorsFoldOptions = {}): FileFold {
  checkNames(SUBJECT, options, ['pairs', 'eps', 'transposed', 'groups']);
  const { pairs = {}, eps = {}, transposed = [], groups = {} } = options;
  checkRecord(SUBJECT, pairs);
  checkRecord(SUBJECT, groups);
  const { tensors, metadata } = readSafetensors(file);
  const norms = [...tensors.keys()].filter((name) => /(?:^|\.)running_mean$/.test(name)).map(layerOf);
  for (const name of [...Object.keys(pairs), ...(typeof eps === 'object' ? Object.keys(eps) : [])]) {
    if (name !== '*' && !norms.includes(name)) {
      throw wrongValue('ERR_OPTION', SUBJECT, 'a norm', norms.map(quote).join(', ') || 'none', quote(name));
    }
  }
  for (const [option, layers] of Object.entries({ transposed, groups: Object.keys(groups) })) {
    const unknown = layers.find((layer) => !tensors.has(joined(layer, 'weight')));
    if (unknown !== undefined) {
      throw wrongValue('ERR_OPTION', SUBJECT, option, 'names of layers in the file', quote(unknown));
    }
  }
  const said = normsIn(metadata);
  const folded: FoldedNorm[] = [];
  const kept: { norm: string; reason: string }[] = [];
  const assumed: string[] = [];
  const changed = new Map<string, Writable>();
  const gone = new Set<string>();
  const taken = new Map<string, string>();
  for (const norm of norms) {
    const layer = Object.hasOwn(pairs, norm) ? pairs[norm] : layerBefore(norm, tensors);
    if (typeof layer !== 'string') {
      kept.push({ norm, reason: layer.reason });
      continue;
    }
    const weight = tensors.get(joined(layer, 'weight'));
    if (!weight)
      throw wrongValue(
        'ERR_OPTION',
        SUBJECT,
        `the layer of ${quote(norm)}`,
        `a tensor ${quote(joined(layer, 'weight'))}`,
        'none',
      );
    if (!Object.hasOwn(pairs, norm) && LOOKS_TRANSPOSED.test(layer) && !transposed.includes(layer)) {
      kept.push({
        norm,
        reason: `${quote(layer)} looks like a transposed convolution, which a file of weights does not say: name it as transposed, or pair it`,
      });
      continue;
    }
    if (taken.has(layer)) {
      throw wrongValue(
        'ERR_FOLD',
        SUBJECT,
        quote(norm),
        'a layer of its own',
        `${quote(layer)}, as ${quote(taken.get(layer)!)}`,
      );
    }
    taken.set(layer, norm);
    const own = [...tensors].filter(([name]) => layerOf(name) === norm);
    const { state } = fromTorch(new Map(own.map(([name, tensor]) => [parted(name)[1], tensor])));
    const known = typeof eps === 'number' ? eps : (eps[norm] ?? eps['*'] ?? said[norm]?.eps);
    const mine = known ?? preset('torch').eps;
    checkEps(SUBJECT, mine);
    if (known === undefined) assumed.push(`${norm}: eps ${mine}, PyTorch's default: the file does not say`);
    if (!state.runningVar) {
      throw wrongKind('ERR_FOLD', SUBJECT, quote(norm), 'a running_var', 'none');
    }
    const statistics = {
      mean: state.runningMean.data,
      variance: state.runningVar.data,
      gamma: state.gamma?.data,
      beta: state.beta?.data,
      eps: mine,
    };
    const bias = tensors.get(joined(layer, 'bias'));
    const plain = { weight: weight.data, bias: bias?.data, shape: weight.shape };
    const shaped = { ...plain, transposed: transposed.includes(layer), groups: groups[layer] ?? 1 };
    const dtypes = { weight: weight.dtype, bias: bias?.dtype ?? weight.dtype };
    const result = storedFold(SUBJECT, weight.shape.length === 2 ? plain : shaped, statistics, false, dtypes);
    const { outChannels: channels, rounding } = result;
    changed.set(joined(layer, 'weight'), { bytes: result.weight, shape: weight.shape, dtype: dtypes.weight });
    changed.set(joined(layer, 'bias'), { bytes: result.bias, shape: [channels], dtype: dtypes.bias });
    for (const [name] of own) gone.add(name);
    const square = weight.shape.length > 2 && weight.shape[0] === weight.shape[1] && !transposed.includes(layer);
    folded.push({
      norm,
      into: layer,
      side: 'behind',
      channels,
      eps: mine,
      rounding,
      ...(known === undefined && { assumed: ['eps'] }),
      ...(square && { note: 'as many channels in as out: taken for a convolution that is not transposed' }),
    });
  }
  const out = new Map<string, Writable>();
  for (const [name, tensor] of tensors) {
    if (gone.has(name)) continue;
    out.set(name, changed.get(name) ?? tensor);
    const bias = joined(layerOf(name), 'bias');
    // a bias that was not there comes behind its weight
    if (name.endsWith('weight') && changed.has(name) && !tensors.has(bias)) out.set(bias, changed.get(bias)!);
  }
  return { file: writeSafetensors(out, metadata), folded, kept, assumed };
}

function layerOf(name: string): string {
  return parted(name)[0];
}

/** The layer that a norm follows, by name; or why there is none. */
function layerBefore(norm: string, tensors: ReadonlyMap<string, RawTensor>): string | { reason: string } {
  const channels = tensors.get(joined(norm, 'running_mean'))!.shape[0];
  const [parent, own] = parted(norm);
  const names: string[] = [];
  if (/^\d+$/.test(own)) names.push(`${Number(own) - 1}`);
  for (const word of NORM_WORDS) {
    if (own.includes(word)) {
      for (const layer of LAYER_WORDS) names.push(own.replace(word, layer));
      break;
    }
  }
  const found = [...new Set(names)]
    .map((name) => joined(parent, name))
    .filter((name) => name !== norm && (tensors.get(joined(name, 'weight'))?.shape.length ?? 0) >= 2);
  if (found.length === 0) return { reason: 'no layer of a name that it follows: pair it with one' };
  if (found.length > 1) return { reason: `it may follow ${found.map(quote).join(' or ')}: pair it with one` };
  const { shape } = tensors.get(joined(found[0], 'weight'))!;
  const gives = LOOKS_TRANSPOSED.test(found[0]) ? channels : shape[0];
  if (gives !== channels) return { reason: `${quote(found[0])} gives ${gives} channels, not ${channels}` };
  return found[0];
}

/** Checks pairs as they come from a command line. */
export function checkPair(text: string): [norm: string, value: string] {
  const cut = text.indexOf('=');
  if (cut < 1 || cut === text.length - 1) {
    throw wrongValue('ERR_OPTION', SUBJECT, 'a pair', "'norm=layer'", show(text));
  }
  return [text.slice(0, cut), text.slice(cut + 1)];
}
