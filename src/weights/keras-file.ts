// Keras' files: `.keras` (a ZIP of a config and weights), `.weights.h5`, and the HDF5 files of
// tf.keras and Keras 3 (`.h5`). HDF5 is read by the optional peer h5wasm.
//
// Sources: keras/src/saving/saving_lib.py, keras/src/legacy/saving/legacy_h5_format.py.

import { malformed } from '../errors.ts';
import { type Bytes, bytesFrom } from '../formats/bytes.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import { type Hdf5Group, readHdf5 } from '../formats/hdf5.ts';
import { asRecord, type Json, parseJson } from '../formats/json.ts';
import { isHdf5, recognized } from '../formats/recognize.ts';
import { showJson } from '../formats/show-json.ts';
import { readZip } from '../formats/zip.ts';
import { type KerasLayer, layersOf, listOf, outputsOf } from './keras-config.ts';
import { namedVariables } from './keras-named.ts';
import { numberedVariables } from './keras-numbered.ts';

const FORMAT = 'Keras';

/** What a Keras file holds. */
export interface KerasFile {
  /**
   * `layer/gamma`, `layer/kernel` …; `layer/vars/0` for a variable whose meaning the file does not
   * show.
   */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /**
   * Layers in order, those of networks in networks among them; null in a file of weights alone, and
   * of a model that is a class of its own.
   */
  readonly layers: readonly KerasLayer[] | null;
  /**
   * Names of the layers whose outputs are the network's; null where that is the last layer, or
   * where the file does not say.
   */
  readonly outputs?: readonly string[] | null;
  /** The network as Keras describes it; none in a file of weights alone. */
  readonly config?: Json;
  /** Kinds of layers by name, where the file shows them: `conv2d`, `batch_normalization`. */
  readonly kinds?: ReadonlyMap<string, string>;
  /** The version of Keras that wrote the file; null where the file does not say. */
  readonly version: string | null;
}

/** Variables by name, and the kinds of their layers. */
export type Variables = Required<Pick<KerasFile, 'tensors' | 'kinds'>>;

/**
 * Reads a Keras file: `.keras`, `.h5`, or `.weights.h5`. It needs the package h5wasm.
 *
 *     const { tensors, layers } = await readKeras(await readFile('model.keras'));
 *
 * @param file bytes of the file
 * @throws ERR_FORMAT for anything else, and without h5wasm
 */
export async function readKeras(file: Bytes): Promise<KerasFile> {
  return readKerasWith(file);
}

/** @internal As `readKeras`, with a config for HDF5 files that have none. */
export async function readKerasWith(file: Bytes, given?: Json): Promise<KerasFile> {
  const bytes = bytesFrom(FORMAT, file);
  if (isHdf5(bytes)) return readHdf5(FORMAT, bytes, (root) => fromHdf5(root, given));
  const members = new Map(archiveOf(bytes).map((member) => [member.name, member]));
  const part = async (name: string) => {
    const member = members.get(name);
    if (!member) throw malformed(FORMAT, '.keras archive', `a member '${name}'`, 'none', 0);
    return { bytes: await member.read(), offset: member.offset };
  };
  const config = await part('config.json');
  const metadata = await part('metadata.json');
  const network = networkIn(parseJson(FORMAT, 'config.json', config.bytes, config.offset));
  const version = asRecord(parseJson(FORMAT, 'metadata.json', metadata.bytes, metadata.offset))?.keras_version;
  const weights = (await part('model.weights.h5')).bytes;
  const variables = await readHdf5(FORMAT, weights, (root) => numberedVariables(root, network.layers), bytes.length);
  return { ...variables, ...network, version: typeof version === 'string' ? version : null };
}

/** The members of a .keras archive. */
function archiveOf(bytes: Uint8Array) {
  const members = readZip(FORMAT, bytes);
  const known = members.some(({ name }) => name === 'config.json') ? undefined : recognized(bytes);
  if (known?.includes('pickle')) throw malformed(FORMAT, 'file', 'a .keras archive', known, 0);
  return members;
}

/** A model that is a class of its own has a config of which only that class knows what it means. */
function networkIn(config: Json): Pick<KerasFile, 'layers' | 'outputs' | 'config'> {
  const record = asRecord(config);
  if (typeof record?.class_name !== 'string' || asRecord(record.config) === undefined) {
    if (!listOf(config)) throw malformed(FORMAT, 'config', 'a network as { class_name, config }', showJson(config), 0);
  }
  return { layers: listOf(config) ? layersOf(config) : null, outputs: outputsOf(asRecord(record?.config)), config };
}

function fromHdf5(root: Hdf5Group, given: Json | undefined): KerasFile {
  const text = textOf(root.attribute('model_config'));
  const own = text === undefined ? undefined : parseJson(FORMAT, 'model_config', new TextEncoder().encode(text));
  const config = given ?? own;
  const network = config === undefined ? { layers: null, outputs: null } : networkIn(config);
  const version = textOf(root.attribute('keras_version')) ?? null;
  const isNamed = root.groups.has('model_weights') || root.attribute('layer_names') !== undefined;
  const variables = isNamed ? namedVariables(root, network.layers) : numberedVariables(root, network.layers);
  return { ...variables, ...network, version };
}

export function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : undefined;
}
