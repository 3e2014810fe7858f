// A Keras file as a network.

import { malformed } from '../errors.ts';
import type { Sequential } from '../nn/sequential.ts';
import type { KerasFile } from './keras-file.ts';
import { kerasGroups } from './keras-groups.ts';
import type { LoadOptions } from './load-sequential.ts';
import { sequentialFromKeras } from './sequential-keras.ts';

/**
 * Throws ERR_FORMAT for weights alone, and by the layer's name where it is no chain of layers that
 * there are here.
 */
export function sequentialFromKerasFile(file: KerasFile, options: LoadOptions): Sequential {
  const { layers, tensors, kinds, outputs = null, version } = file;
  if (!layers) throw malformed('Keras', 'config', 'a network with layers', 'weights alone, or a class of its own', 0);
  const groups = kerasGroups([...tensors], { layers, kinds, scoped: false });
  return sequentialFromKeras({ format: 'Keras', layers, outputs, groups, version }, options);
}
