// A network of Keras layers, from Keras or TF.js.

import { malformed } from '../../errors.ts';
import type { Known } from './draft.ts';
import type { LoadedNetwork } from './loaded-network.ts';

export interface KerasNetworkOptions {
  readonly outputs?: readonly string[] | undefined;
  readonly constants?: ReadonlyMap<string, Known> | undefined;
}

export function networkFromKeras(_file: unknown, _options: KerasNetworkOptions): LoadedNetwork {
  throw malformed('Keras', 'network', 'a reader', 'none', 0);
}
