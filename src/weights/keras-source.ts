// Networks of Keras in files: a file by itself, a config beside a file of weights, a TF.js model.

import { malformed } from '../errors.ts';
import { bytesFrom, quote, quoteSome } from '../formats/bytes.ts';
import { asRecord, type Json, parseJson } from '../formats/json.ts';
import type { TfjsModel } from '../formats/tfjs.ts';
import { tfjsLayers } from './keras.ts';
import { layersOf, listOf } from './keras-config.ts';
import type { KerasFile } from './keras-file.ts';
import type { KerasSource } from './network/keras-network.ts';
import type { NetworkFiles } from './network-source.ts';

/** A Keras file with its config. Throws ERR_FORMAT for weights alone. */
export function kerasSource({ config, layers, tensors, version }: KerasFile): KerasSource {
  if (!config || !layers) {
    const way = "{ 'config.json': …, 'model.weights.h5': … } gives weights a config";
    const got = config ? 'a class of its own, of which only its Python says what it does' : `weights alone (${way})`;
    throw malformed('Keras', 'config', 'a network with layers', got, 0);
  }
  return { format: 'Keras', config, layers, tensors, version: version ?? undefined };
}

/** A layers model of TF.js. Throws ERR_FORMAT for weights alone. */
export function tfjsSource({ topology, tensors }: TfjsModel): KerasSource {
  const record = asRecord(topology);
  const config = record?.model_config ?? topology;
  const layers = tfjsLayers(topology);
  if (!layers) throw malformed('TF.js', 'model.json', 'a network with layers', 'weights alone', 0);
  const version = typeof record?.keras_version === 'string' ? record.keras_version : undefined;
  return { format: 'TF.js', config, layers, tensors, version };
}

/** Is it a config as `model.to_json()` writes it, or a `.keras` archive has it? */
export function isKerasConfig(bytes: Uint8Array): boolean {
  return /^\s*\{/.test(new TextDecoder().decode(bytes.subarray(0, 64))) && configOf(bytes) !== undefined;
}

function configOf(bytes: Uint8Array): Json | undefined {
  try {
    const json = parseJson('Keras', 'config', bytes);
    return typeof asRecord(json)?.class_name === 'string' && listOf(json) ? json : undefined;
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_FORMAT') return undefined;
    throw error;
  }
}

/** What files of weights beside a config are called: `{}` is the config's own name. */
const BESIDE = ['{}.weights.h5', '{}.h5', '{}.hdf5', '{}_weights.h5', 'model.weights.h5', 'weights.h5', 'model.h5'];

/**
 * A config, and the weights beside it: under one of the usual names, or the one HDF5 file that
 * there is.
 */
export async function kerasBeside(
  { bytes, name, beside, names }: NetworkFiles,
  read: (bytes: Uint8Array, config: Json) => Promise<KerasFile>,
): Promise<KerasSource> {
  const config = configOf(bytes)!;
  const stem = (name ?? 'model.json').replace(/\.json$/i, '');
  const wanted = BESIDE.map((one) => one.replace('{}', stem));
  let found: string | undefined;
  let weights: Uint8Array | undefined;
  for (const one of wanted) {
    const given = await beside(one);
    if (!given) continue;
    [found, weights] = [one, bytesFrom('Keras', given)];
    break;
  }
  if (!weights) {
    const others = (await names()).filter((one) => /\.(?:h5|hdf5)$/i.test(one));
    if (others.length === 1) {
      const given = await beside(others[0]);
      if (given) [found, weights] = [others[0], bytesFrom('Keras', given)];
    }
    if (!weights) {
      const got = others.length ? quoteSome(others) : 'none';
      throw malformed(
        'Keras',
        'config',
        `its weights in one of the files ${wanted.slice(0, 4).map(quote).join(', ')}`,
        got,
        0,
      );
    }
  }
  const file = await read(weights, config);
  return {
    format: 'Keras',
    config,
    layers: layersOf(config),
    tensors: file.tensors,
    version: versionIn(config) ?? file.version ?? undefined,
    assumed: [`weights of the file ${quote(found!)}`],
  };
}

function versionIn(config: Json): string | undefined {
  const version = asRecord(config)?.keras_version;
  return typeof version === 'string' ? version : undefined;
}
