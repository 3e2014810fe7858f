// Variables by number, as Keras writes them from 2.12 on: `layers/batch_normalization_1/vars/0`.
// Groups are attributes of the model; those in lists are named after the layer's class and a
// counter. Keras 2.13 and 2.14 have `_layer_checkpoint_dependencies` for `layers`, and on Windows
// backslashes in the names of groups. Names and numbers come together by the config, or, in a file
// of weights alone, by what Keras calls the group or the layer.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import type { Hdf5Group } from '../formats/hdf5.ts';
import { type KerasLayer, kindOf, listed, ownName, snake, wrapped } from './keras-config.ts';
import { textOf, type Variables } from './keras-file.ts';
import { isKnownKind, kindNamed, variableNames } from './keras-kinds.ts';
import { Named } from './keras-variables.ts';

/** A group and what is in it; a group's name with backslashes stands for several. */
interface Node {
  readonly children: Map<string, Node>;
  readonly datasets: Map<string, StoredTensor>;
  /** The attribute `name`, of Keras 3.10 and later. */
  name: string | undefined;
}

/** Levels in one name, on Windows. */
const MOST_PARTS = 32;

/** The kind of such a model, whose layers are no list. */
const OWN_CLASS = 'class_of_its_own';

const CONTAINERS = ['layers', '_layer_checkpoint_dependencies'];

export function numberedVariables(root: Hdf5Group, layers: readonly KerasLayer[] | null): Variables {
  const named = new Named();
  const inside = listed(layers ?? [], ({ network }) => network ?? null);
  /** A group that is a layer, a model, an optimizer, or a list of them. */
  const walk = (node: Node, name: string, key: string, known: KerasLayer | undefined) => {
    const vars = node.children.get('vars');
    const kind = vars && addVariables(named, vars, name, key, known);
    if (kind !== undefined && name !== '') named.kind(name, kind);
    addDatasets(named, node, name);
    const network = known ? known.name : name === '' ? null : undefined;
    for (const [child, next] of node.children) {
      if (next === vars) continue;
      if (CONTAINERS.includes(child)) {
        if (name !== '') named.kind(name, known ? kindOf(known.className) : counted(key).className);
        const owners = ownersOf(next, network === undefined ? [] : (inside.get(network) ?? []));
        addDatasets(named, next, joined(name, child));
        for (const [entry, layer] of next.children) {
          const owner = owners.get(entry);
          const own = owner ? owner.name : joined(name, layer.children.get('vars')?.name ?? entry);
          walk(layer, own, entry, owner);
        }
      } else walk(next, joined(name, child), child, wrapped(known, child));
    }
  };
  const tree = treeOf(root);
  // a model that is a class of its own has its layers as attributes
  if (!CONTAINERS.some((key) => tree.children.has(key))) named.kind('', OWN_CLASS);
  walk(tree, '', '', undefined);
  return named.variables;
}

function joined(name: string, key: string): string {
  return name === '' ? key : `${name}/${key}`;
}

function treeOf(root: Hdf5Group): Node {
  const fill = (node: Node, group: Hdf5Group) => {
    node.name ??= textOf(group.attribute('name'));
    for (const [key, tensor] of group.datasets) node.datasets.set(key, tensor);
    for (const [key, inner] of group.groups) {
      let at = node;
      const parts = key.split('\\');
      if (parts.length > MOST_PARTS)
        throw malformed('Keras', `group ${quote(key)}`, `at most ${MOST_PARTS} levels`, 'more', 0);
      for (const part of parts) {
        const next = at.children.get(part) ?? empty();
        at.children.set(part, next);
        at = next;
      }
      fill(at, inner);
    }
    return node;
  };
  const empty = (): Node => ({ children: new Map(), datasets: new Map(), name: undefined });
  return fill(empty(), root);
}

function addDatasets(named: Named, { datasets }: Node, name: string): void {
  for (const [key, tensor] of datasets) named.add(joined(name, key), tensor);
}

/** Adds a layer's own variables, and says its kind. */
function addVariables(
  named: Named,
  vars: Node,
  name: string,
  key: string,
  known: KerasLayer | undefined,
): string | undefined {
  const variables = [...vars.datasets].sort(([a], [b]) => Number(a) - Number(b));
  const tensors = variables.map(([, tensor]) => tensor);
  const kind =
    known && isKnownKind(kindOf(known.className)) ? kindOf(known.className) : kindNamed([vars.name, key], tensors);
  const names = variableNames(kind, known?.config, variables.length);
  variables.forEach(([number, tensor], i) => {
    named.add(joined(name, names?.[i] ?? `vars/${number}`), tensor);
  });
  for (const [child, node] of vars.children) {
    addDatasets(named, node, joined(name, `vars/${child}`));
  }
  return kind ?? (known && kindOf(known.className));
}

/**
 * Whose group is whose: by the layer's name, where the group says it; else by class and counter.
 * Keras 2.13 counts layers with weights twice, so that where there are as many groups of a class as
 * layers, their order decides.
 */
function ownersOf(container: Node, layers: readonly KerasLayer[]): Map<string, KerasLayer> {
  const owners = new Map<string, KerasLayer>();
  const byName = new Map(layers.map((layer) => [ownName(layer), layer]));
  const classes = listed(layers, ({ className }) => snake(className));
  const unsaid = [...container.children].flatMap(([key, node]) => {
    const said = node.children.get('vars')?.name;
    const layer = said === undefined ? undefined : byName.get(said);
    if (layer) owners.set(key, layer);
    return layer ? [] : [{ key, ...(classes.has(key) ? { className: key, counter: 0 } : counted(key)) }];
  });
  for (const [className, groups] of listed(unsaid, (group) => group.className)) {
    const list = classes.get(className) ?? [];
    const inOrder = [...groups].sort((a, b) => a.counter - b.counter);
    inOrder.forEach(({ key, counter }, i) => {
      const layer = inOrder.length === list.length ? list[i] : list[counter];
      if (layer) owners.set(key, layer);
    });
  }
  return owners;
}

function counted(key: string): { className: string; counter: number } {
  const cut = key.lastIndexOf('_');
  const counter = Number(key.slice(cut + 1));
  return cut > 0 && Number.isSafeInteger(counter)
    ? { className: key.slice(0, cut), counter }
    : { className: key, counter: 0 };
}
