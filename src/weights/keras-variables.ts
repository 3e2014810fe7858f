// What is gathered from a file of Keras: variables by name, and kinds of layers.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import type { Hdf5Group } from '../formats/hdf5.ts';
import type { Variables } from './keras-file.ts';

export class Named {
  readonly #tensors = new Map<string, StoredTensor>();
  readonly #kinds = new Map<string, string>();

  get variables(): Variables {
    return { tensors: this.#tensors, kinds: this.#kinds };
  }

  add(name: string, tensor: StoredTensor): void {
    if (this.#tensors.has(name)) throw malformed('Keras', `variable ${quote(name)}`, 'each name once', 'it again', 0);
    this.#tensors.set(name, tensor);
  }

  kind(layer: string, kind: string): void {
    this.#kinds.set(layer, kind);
  }

  /** Everything under a group that belongs to no layer, by its path. */
  addTree({ groups, datasets }: Hdf5Group, path: string): void {
    for (const [key, tensor] of datasets) this.add(`${path}/${key}`, tensor);
    for (const [key, group] of groups) this.addTree(group, `${path}/${key}`);
  }
}
