// Keras' files: `.keras` (a ZIP of a config and weights), `.weights.h5`, and the HDF5 files of tf.keras and Keras 3 (`.h5`). HDF5 is read by the
// optional peer h5wasm.
//
// Keras 3 writes variables by number, under groups named after the layer's class and a counter; names and numbers come together by the config, or, in
// a file of weights alone, by the class in the group's name. Sources: keras/src/saving/saving_lib.py, keras/src/legacy/saving/legacy_h5_format.py.

import { malformed, show } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import { type Hdf5Group, readHdf5, writeHdf5 } from '../formats/hdf5.ts';
import { asRecord, type Json, parseJson } from '../formats/json.ts';
import { isHdf5, recognized } from '../formats/recognize.ts';
import { readZip } from '../formats/zip.ts';
import type { Exported } from './exported.ts';

const FORMAT = 'Keras';

/** A layer as Keras' config describes it. */
export interface KerasLayer {
  readonly name: string;
  readonly className: string;
  readonly config: { readonly [key: string]: Json };
  /** Layers whose outputs it takes; undefined in a Sequential, where that is the one before. */
  readonly inbound: readonly string[] | undefined;
  /** Axes of its input, where that is known. */
  readonly rank: number | undefined;
}

export interface KerasFile {
  /** `layer/gamma`, `layer/kernel` …; `layer/vars/0` where nobody knows what it is. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** In order, layers of networks in networks among them; null in a file of weights alone. */
  readonly layers: readonly KerasLayer[] | null;
  /** Version of Keras that wrote it, if it says so. */
  readonly version: string | null;
}

/**
 * Reads a Keras file of any kind.
 *
 * @throws ERR_FORMAT for anything else, and without h5wasm
 */
export async function readKeras(file: Bytes): Promise<KerasFile> {
  const bytes = bytesFrom(FORMAT, file);
  if (isHdf5(bytes)) return readHdf5(FORMAT, bytes, fromHdf5);
  const members = new Map(archiveOf(bytes).map((member) => [member.name, member]));
  const part = async (name: string) => {
    const member = members.get(name);
    if (!member) throw malformed(FORMAT, '.keras archive', `a member '${name}'`, 'none', 0);
    return { bytes: await member.read(), offset: member.offset };
  };
  const config = await part('config.json');
  const metadata = await part('metadata.json');
  const layers = layersOf(parseJson(FORMAT, 'config.json', config.bytes, config.offset));
  const version = asRecord(parseJson(FORMAT, 'metadata.json', metadata.bytes, metadata.offset))?.keras_version;
  const weights = (await part('model.weights.h5')).bytes;
  const tensors = await readHdf5(FORMAT, weights, (root) => numbered(root, layers));
  return { tensors, layers, version: typeof version === 'string' ? version : null };
}

/** The members of a .keras archive. */
function archiveOf(bytes: Uint8Array) {
  const members = readZip(FORMAT, bytes);
  const known = members.some(({ name }) => name === 'config.json') ? undefined : recognized(bytes);
  if (known?.includes('pickle')) throw malformed(FORMAT, 'file', 'a .keras archive', known, 0);
  return members;
}

function fromHdf5(root: Hdf5Group): KerasFile {
  const config = textOf(root.attribute('model_config'));
  const layers =
    config === undefined ? null : layersOf(parseJson(FORMAT, 'model_config', new TextEncoder().encode(config)));
  const version = textOf(root.attribute('keras_version')) ?? null;
  const legacy = root.groups.get('model_weights') ?? (root.attribute('layer_names') === undefined ? undefined : root);
  return { tensors: legacy ? named(legacy) : numbered(root, layers), layers, version };
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : undefined;
}

/** tf.keras and `.h5`: a group for each layer, datasets under the variable's whole name (`bn/bn/gamma:0`). */
function named(root: Hdf5Group): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const [layer, group] of root.groups) {
    const walk = ({ groups, datasets }: Hdf5Group, path: readonly string[]) => {
      // the layer's own name, and that of the model around it, come again; layers inside of it are part of the name
      const inner = path.slice(path.lastIndexOf(layer) + 1);
      for (const [name, tensor] of datasets)
        add(tensors, [layer, ...inner, name.replace(/:\d+$/, '')].join('/'), tensor);
      for (const [key, next] of groups) walk(next, [...path, key]);
    };
    walk(group, []);
  }
  return tensors;
}

function add(tensors: Map<string, StoredTensor>, name: string, tensor: StoredTensor): void {
  if (tensors.has(name)) throw malformed(FORMAT, `variable ${quote(name)}`, 'each name once', 'it again', 0);
  tensors.set(name, tensor);
}

/** Keras 3: `layers/batch_normalization_1/vars/0`. */
function numbered(root: Hdf5Group, layers: readonly KerasLayer[] | null): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  const byPath = layers && new Map(pathsOf(layers).map(([path, layer]) => [path, layer]));
  const walk = (group: Hdf5Group, path: string, prefix: string) => {
    for (const [key, inner] of group.groups.get('layers')?.groups ?? []) {
      const at = path === '' ? key : `${path}/${key}`;
      const vars = inner.groups.get('vars');
      const layer = byPath?.get(at);
      const name = layer?.name ?? prefix + (textOf(vars?.attribute('name')) ?? key);
      const variables = [...(vars?.datasets ?? [])].sort(([a], [b]) => Number(a) - Number(b));
      const names = variableNames(layer?.className ?? classOf(key), layer?.config, variables.length);
      variables.forEach(([number, tensor], i) => {
        add(tensors, `${name}/${names?.[i] ?? `vars/${number}`}`, tensor);
      });
      walk(inner, at, `${name}/`);
    }
  };
  walk(root, '', '');
  return tensors;
}

/** Where each layer's group lies: its class in snake case, and a counter from the second on. */
function pathsOf(layers: readonly KerasLayer[]): [string, KerasLayer][] {
  const counts = new Map<string, number>();
  const folders = new Map<string, string>();
  return layers.map((layer) => {
    const cut = layer.name.lastIndexOf('/');
    const folder = cut < 0 ? '' : `${folders.get(layer.name.slice(0, cut))}/`;
    const key = folder + snake(layer.className);
    const count = counts.get(key) ?? 0;
    // a Sequential has no group for its input layer, and no counter of it
    counts.set(key, count + 1);
    const path = count ? `${key}_${count}` : key;
    folders.set(layer.name, path);
    return [path, layer];
  });
}

/** keras/src/utils/naming.py: BatchNormalization → batch_normalization, ReLU → re_lu. */
function snake(className: string): string {
  return className
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

function classOf(key: string): string {
  return key.replace(/_\d+$/, '');
}

/** The variables of a layer in the order of its file; undefined where that cannot be known. */
function variableNames(
  className: string,
  config: KerasLayer['config'] | undefined,
  count: number,
): string[] | undefined {
  const kind = snake(className);
  if (/^(dense|conv\d?d?|conv_?[123]_?d(_transpose)?|einsum_dense)$/.test(kind))
    return ['kernel', 'bias'].slice(0, count);
  if (kind !== 'batch_normalization') return undefined;
  const statistics = ['moving_mean', 'moving_variance'];
  const renorm = ['moving_stddev', 'renorm_mean', 'renorm_stddev'];
  if (config) {
    const learned = [...(config.scale === false ? [] : ['gamma']), ...(config.center === false ? [] : ['beta'])];
    return [...learned, ...statistics, ...renorm].slice(0, count);
  }
  if (count === 4 || count === 7) return ['gamma', 'beta', ...statistics, ...renorm].slice(0, count);
  return count === 2 ? statistics : undefined; // with three, gamma or beta: only a config knows
}

/** The layers of a config: `{ class_name, config: { layers } }`. Networks in networks come first, then their layers as `outer/inner`. */
export function layersOf(json: Json, prefix = '', depth = 0): KerasLayer[] {
  const model = asRecord(json);
  const config = asRecord(model?.config);
  const list = config?.layers ?? (Array.isArray(model?.config) ? model.config : undefined);
  if (!Array.isArray(list)) throw malformed(FORMAT, 'config', 'a network with layers', show(json), 0);
  if (depth > 16) throw malformed(FORMAT, 'config', 'at most 16 levels', 'more', 0);
  return list.flatMap((item) => {
    const entry = asRecord(item);
    const inner = asRecord(entry?.config);
    const name = inner?.name ?? entry?.name;
    if (!entry || !inner || typeof entry.class_name !== 'string' || typeof name !== 'string') {
      throw malformed(FORMAT, 'config', 'layers as { class_name, config: { name } }', show(item), 0);
    }
    const layer: KerasLayer = {
      name: prefix + name,
      className: entry.class_name,
      config: inner,
      inbound: entry.inbound_nodes === undefined ? undefined : inboundOf(entry.inbound_nodes),
      rank: rankOf(asRecord(entry.build_config)?.input_shape ?? inner.batch_shape ?? inner.batch_input_shape),
    };
    return Array.isArray(inner.layers) ? [layer, ...layersOf(entry, `${prefix}${name}/`, depth + 1)] : [layer];
  });
}

function rankOf(shape: Json | undefined): number | undefined {
  return Array.isArray(shape) && !shape.some(Array.isArray) ? shape.length : undefined;
}

/** Names of the layers that a layer's calls take: Keras 3 has `keras_history` in tensors, tf.keras `[name, node, tensor, kwargs]`. */
function inboundOf(nodes: Json): string[] {
  const names: string[] = [];
  const walk = (value: Json, depth: number) => {
    if (depth > 16) throw malformed(FORMAT, 'inbound_nodes', 'at most 16 levels', 'more', 0);
    if (Array.isArray(value)) {
      if (typeof value[0] === 'string' && typeof value[1] === 'number') names.push(value[0]);
      else for (const item of value) walk(item, depth + 1);
    } else {
      for (const item of Object.values(asRecord(value) ?? {})) walk(item, depth + 1);
    }
  };
  walk(nodes, 0);
  return names;
}

/** Order of variables in a file of Keras 3. */
const ORDER = ['kernel', 'gamma', 'bias', 'beta', 'moving_mean', 'moving_variance'];

/**
 * Writes a `.weights.h5` as Keras 3 reads it (`model.load_weights`): dense and batch normalization layers in the order of the tensors, which must be
 * the order of the model.
 *
 * @param tensors of `toKeras`
 * @throws ERR_FORMAT without h5wasm
 */
export async function writeKeras(tensors: ReadonlyMap<string, Exported>): Promise<Uint8Array<ArrayBuffer>> {
  const layers = new Map<string, [string, Exported][]>();
  for (const [full, tensor] of tensors) {
    const cut = full.lastIndexOf('/');
    const name = full.slice(0, Math.max(cut, 0));
    layers.set(name, [...(layers.get(name) ?? []), [full.slice(cut + 1), tensor]]);
  }
  const counts = new Map<string, number>();
  const datasets: { path: string; data: Float32Array; shape: readonly number[] }[] = [];
  const attributes: { path: string; name: string; value: string }[] = [];
  for (const [name, variables] of layers) {
    const kernel = variables.find(([leaf]) => leaf === 'kernel')?.[1];
    const kind = kernel
      ? kernel.shape.length === 2
        ? 'dense'
        : `conv${kernel.shape.length - 2}d`
      : 'batch_normalization';
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    const path = `layers/${kind}${count ? `_${count}` : ''}/vars`;
    attributes.push({ path, name: 'name', value: name });
    variables.sort(([a], [b]) => ORDER.indexOf(a) - ORDER.indexOf(b));
    variables.forEach(([, { data, shape }], i) => {
      datasets.push({ path: `${path}/${i}`, data: Float32Array.from(data), shape });
    });
  }
  return writeHdf5(FORMAT, { datasets, attributes, groups: ['vars'] });
}
