// Variables by name, as tf.keras has them in HDF5 files, and Keras 3 in `.h5`: a group for each
// layer, datasets under the variable's whole name (`bn/bn/gamma:0`), and the attribute
// `weight_names`, which says that the group is a layer's. Names may carry scopes: `X/X_1/gamma:0`.

import type { StoredTensor } from '../formats/dtypes.ts';
import type { Hdf5Group } from '../formats/hdf5.ts';
import { isNetwork, type KerasLayer, kindOf } from './keras-config.ts';
import type { Variables } from './keras-file.ts';
import { isKnownKind } from './keras-kinds.ts';
import { LayerIndex } from './keras-owner.ts';
import { Named } from './keras-variables.ts';

/** A variable of a layer's group: the groups between, its own name. */
interface Variable {
  readonly scopes: readonly string[];
  readonly leaf: string;
  readonly tensor: StoredTensor;
}

export function namedVariables(root: Hdf5Group, layers: readonly KerasLayer[] | null): Variables {
  const named = new Named();
  const index = layers && new LayerIndex(layers);
  const weights = root.groups.get('model_weights') ?? root;
  for (const { name, variables } of layerGroups(weights)) {
    const known = index?.exact(name);
    if (known) named.kind(known.name, kindOf(known.className));
    for (const [path, tensor] of pathsOf(name, variables, known, index)) named.add(path, tensor);
  }
  if (index) for (const layer of index.layers) named.kind(layer.name, kindOf(layer.className));
  if (weights === root) return named.variables;
  for (const [key, group] of root.groups) if (group !== weights) named.addTree(group, key);
  for (const [key, tensor] of root.datasets) named.add(key, tensor);
  return named.variables;
}

/**
 * The groups of layers: those with `weight_names`, at any depth, as names of layers may have
 * slashes; else those at the top.
 */
function layerGroups(root: Hdf5Group): { name: string; variables: Variable[] }[] {
  const found: { name: string; variables: Variable[] }[] = [];
  const enter = (group: Hdf5Group, name: string) => {
    const variables: Variable[] = [];
    found.push({ name, variables });
    const walk = (inner: Hdf5Group, scopes: readonly string[], path: string) => {
      for (const [key, tensor] of inner.datasets) variables.push({ scopes, leaf: key.replace(/:\d+$/, ''), tensor });
      for (const [key, next] of inner.groups) {
        const at = path === '' ? key : `${path}/${key}`;
        if (isLayer(next)) enter(next, at);
        else if (path === '') enter(next, at);
        else walk(next, [...scopes, key], at);
      }
    };
    walk(group, [], name);
  };
  enter(root, '');
  return found.filter(({ variables }) => variables.length > 0);
}

function isLayer(group: Hdf5Group): boolean {
  return group.attribute('weight_names') !== undefined || group.attribute('weight_names0') !== undefined;
}

function pathsOf(
  name: string,
  variables: readonly Variable[],
  known: KerasLayer | undefined,
  index: LayerIndex | null,
): (readonly [string, StoredTensor])[] {
  const isPlain = known !== undefined && !isNetwork(known) && isKnownKind(kindOf(known.className));
  const shorten = ({ scopes, leaf, tensor }: Variable) => {
    const inner = isPlain ? [] : behind(name, scopes);
    const owner = known && index && isNetwork(known) ? index.within(known, scopes) : undefined;
    const path = owner ? [owner.name, leaf] : [name, ...inner, leaf];
    return [path.filter((part) => part !== '').join('/'), tensor] as const;
  };
  const short = variables.map(shorten);
  // two of one name: the scopes are what tells them apart
  if (new Set(short.map(([path]) => path)).size === short.length) return short;
  return variables.map(({ scopes, leaf, tensor }) => [[name, ...scopes, leaf].join('/'), tensor] as const);
}

/**
 * What follows a layer's own name in the groups inside of its own: the names of models around it,
 * and counters of scopes, are no part of it.
 */
function behind(name: string, scopes: readonly string[]): readonly string[] {
  const own = name.split('/');
  const isOwn = (at: number) =>
    own.every((part, i) => scopes[at + i] === part || (scopes[at + i] ?? '').replace(/_\d+$/, '') === part);
  let cut = 0;
  for (let at = 0; at + own.length <= scopes.length; at++) if (isOwn(at)) cut = at + own.length;
  return scopes.slice(cut);
}
