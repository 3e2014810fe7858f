// A layers model of TF.js as a network.

import { malformed } from '../errors.ts';
import type { Bytes } from '../formats/bytes.ts';
import { asRecord } from '../formats/json.ts';
import type { Sequential } from '../nn/sequential.ts';
import { tfjsLayers } from './keras.ts';
import { outputsOf } from './keras-config.ts';
import { kerasGroups } from './keras-groups.ts';
import type { LoadOptions } from './load-sequential.ts';
import { sequentialFromKeras } from './sequential-keras.ts';
import { readTfjsFiles } from './tfjs-files.ts';
import { isGraph } from './tfjs-graph.ts';

/** Throws ERR_FORMAT, by the layer's name, where it is no chain of layers that there are here. */
export async function sequentialFromTfjs(
  bytes: Uint8Array,
  beside: (name: string) => Promise<Bytes | undefined>,
  options: LoadOptions,
): Promise<Sequential> {
  const { tensors, topology } = await readTfjsFiles(bytes, beside);
  if (isGraph(topology)) throw malformed('TF.js', 'model.json', 'a layers model', 'a graph model', 0);
  const layers = tfjsLayers(topology);
  if (!layers) throw malformed('TF.js', 'model.json', 'a network with layers', 'weights alone', 0);
  const model = asRecord(topology);
  const outputs = outputsOf(asRecord(asRecord(model?.model_config ?? topology)?.config));
  const groups = kerasGroups([...tensors], { layers, scoped: true });
  return sequentialFromKeras({ format: 'TF.js', layers, outputs, groups, version: null }, options);
}
