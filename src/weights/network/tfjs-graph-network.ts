// A graph model of TF.js as a network.

import { malformed } from '../../errors.ts';
import type { TfjsModel } from '../../formats/tfjs.ts';
import type { Known } from './draft.ts';
import type { LoadedNetwork } from './loaded-network.ts';

export interface GraphModelOptions {
  readonly outputs?: readonly string[] | undefined;
  readonly constants?: ReadonlyMap<string, Known> | undefined;
}

/**
 * Builds the network of a GraphDef: `model.topology` has its nodes, `model.tensors` their weights,
 * `model.signature` the names of inputs and outputs. Throws ERR_FORMAT.
 */
export function networkFromGraphModel(_model: TfjsModel, _options: GraphModelOptions): LoadedNetwork {
  throw malformed('TF.js', 'model.json', 'a layers model', 'a graph model', 0);
}
