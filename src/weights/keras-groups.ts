// Variables of Keras and TF.js put together by layer.

import type { Foreign } from './imported.ts';
import { held, type KerasLayer, kindOf, ownName } from './keras-config.ts';
import { isKnownKind } from './keras-kinds.ts';
import { LayerIndex } from './keras-owner.ts';

export interface KerasGroup {
  /** Of the layer, with points. */
  readonly name: string;
  /** What the config says of it. */
  readonly known: KerasLayer | undefined;
  /** What kind of layer it is, if anybody says so. */
  readonly kind: string | undefined;
  readonly tensors: Map<string, { readonly full: string; readonly tensor: Foreign }>;
}

/** What is known of the layers beside their names. */
interface Known {
  readonly layers: readonly KerasLayer[] | null;
  readonly kinds?: ReadonlyMap<string, string>;
  /** Are names with scopes in them still to be led to their layers? */
  readonly scoped: boolean;
}

export function kerasGroups(
  entries: readonly (readonly [string, Foreign])[],
  { layers, kinds, scoped }: Known,
): KerasGroup[] {
  const index = layers && new LayerIndex(layers);
  const groups = new Map<string, KerasGroup>();
  for (const [full, tensor] of entries) {
    const scopes = full.replace(/:\d+$/, '').split('/');
    const leaf = scopes.pop()!;
    const written = scopes.join('/');
    const put = (group: Omit<KerasGroup, 'tensors'>) => {
      const found = groups.get(group.name) ?? { tensors: new Map(), ...group };
      if (found.tensors.has(leaf)) return false;
      groups.set(group.name, found);
      found.tensors.set(leaf, { full, tensor });
      return true;
    };
    const layer = index?.exact(written);
    const exact = layer && (isKnownKind(kindOf(held(layer).className)) ? held(layer) : layer);
    const found = scoped && !exact ? index?.find(scopes) : undefined;
    const plain = { name: scopes.join('.'), known: exact, kind: exact ? kindOf(exact.className) : kinds?.get(written) };
    const led = found && ledTo(found, index!);
    // two of one name: as they are written
    if (!(led && put(led)) && !put(plain)) put({ ...plain, name: `${plain.name}.${full}` });
  }
  return [...groups.values()];
}

function ledTo(
  { layer, inner }: { layer: KerasLayer; inner: readonly string[] },
  index: LayerIndex,
): Omit<KerasGroup, 'tensors'> {
  const kind = kindOf(layer.className);
  const name = index.isUnique(layer) ? ownName(layer) : layer.name;
  // what lies inside of a layer that is known is a scope; inside of another, a layer of its own
  if (inner.length && !isKnownKind(kind)) {
    return { name: [...name.split('/'), ...inner].join('.'), known: undefined, kind: undefined };
  }
  return { name: name.replaceAll('/', '.'), known: layer, kind };
}
