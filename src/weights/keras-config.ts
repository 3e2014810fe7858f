// Keras' config of a network: its layers, what they take, and what kind each is.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { asRecord, type Json } from '../formats/json.ts';
import { showJson } from '../formats/show-json.ts';

const FORMAT = 'Keras';

/** With the names of networks around it, which every layer in them repeats. */
const LONGEST_NAME = 512;

/** More are nothing that anybody runs. */
const MOST_LAYERS = 10_000;

/** A layer as Keras' config describes it. */
export interface KerasLayer {
  /** The layer's name; of a layer in a network in a network `outer/inner`. */
  readonly name: string;
  /** Keras' class: `'Dense'`. */
  readonly className: string;
  /** The layer's settings, as Keras wrote them. */
  readonly config: { readonly [key: string]: Json };
  /** Layers whose outputs it takes; undefined in a Sequential, where that is the one before. */
  readonly inbound: readonly string[] | undefined;
  /** Does a call of it say `training=True`? */
  readonly isCalledInTraining?: boolean;
  /**
   * Is it called with `training=True`, or a network around it, whose calls pass it on to layers
   * that say nothing of their own?
   */
  readonly training?: boolean;
  /** Name of the network that it is in; none for the outermost. */
  readonly network?: string | null;
  /** Axes of its input, where that is known. */
  readonly rank: number | undefined;
}

/**
 * The layers of a config: `{ class_name, config: { layers } }`. Networks in networks come first,
 * then their layers as `outer/inner`.
 */
export function layersOf(
  json: Json,
  network: string | null = null,
  depth = 0,
  around: boolean | undefined = undefined,
  found: KerasLayer[] = [],
): KerasLayer[] {
  const list = listOf(json);
  if (!list) throw malformed(FORMAT, 'config', 'a network with layers', showJson(json), 0);
  if (depth > 16) throw malformed(FORMAT, 'config', 'at most 16 levels', 'more', 0);
  for (const item of list) {
    const entry = asRecord(item);
    const inner = asRecord(entry?.config);
    const name = inner?.name ?? entry?.name;
    if (!entry || !inner || typeof entry.class_name !== 'string' || typeof name !== 'string') {
      throw malformed(FORMAT, 'config', 'layers as { class_name, config: { name } }', showJson(item), 0);
    }
    const full = network === null ? name : `${network}/${name}`;
    if (full.length > LONGEST_NAME)
      throw malformed(
        FORMAT,
        `layer ${quote(name)}`,
        `names of at most ${LONGEST_NAME} characters`,
        `${full.length}`,
        0,
      );
    const said = trainingIn(entry.inbound_nodes ?? null);
    const training = said ?? around;
    const layer: KerasLayer = {
      name: full,
      className: entry.class_name,
      config: inner,
      inbound: entry.inbound_nodes === undefined ? undefined : namesIn(entry.inbound_nodes),
      training,
      isCalledInTraining: said === true,
      network,
      rank: rankOf(asRecord(entry.build_config)?.input_shape ?? inner.batch_shape ?? inner.batch_input_shape),
    };
    if (found.push(layer) > MOST_LAYERS) throw malformed(FORMAT, 'config', `at most ${MOST_LAYERS} layers`, 'more', 0);
    if (Array.isArray(inner.layers)) layersOf(entry, layer.name, depth + 1, training, found);
  }
  return found;
}

/**
 * The list of a network's layers; undefined for a model that is a class of its own, whose config
 * says nothing of layers.
 */
export function listOf(json: Json): readonly Json[] | undefined {
  const model = asRecord(json);
  const list = asRecord(model?.config)?.layers ?? model?.config;
  return Array.isArray(list) ? list : undefined;
}

/**
 * Names of the layers whose outputs are a network's; null in a Sequential, where that is the last.
 */
export function outputsOf(config: { readonly [key: string]: Json } | undefined): readonly string[] | null {
  return config?.output_layers === undefined ? null : namesIn(config.output_layers);
}

/** A layer's own name, without the networks around it. */
export function ownName({ name, network }: KerasLayer): string {
  return network == null ? name : name.slice(network.length + 1);
}

/** Lists of items by what they have in common. */
export function listed<T, K>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const lists = new Map<K, T[]>();
  for (const item of items) {
    const list = lists.get(keyOf(item));
    if (list) list.push(item);
    else lists.set(keyOf(item), [item]);
  }
  return lists;
}

/** Is it a network of layers that the config lists? */
export function isNetwork({ config }: KerasLayer): boolean {
  return Array.isArray(config.layers);
}

function rankOf(shape: Json | undefined): number | undefined {
  return Array.isArray(shape) && !shape.some(Array.isArray) ? shape.length : undefined;
}

/**
 * Names of the layers that calls take, or that are outputs: Keras 3 has `keras_history` in tensors,
 * tf.keras `[name, node, tensor, kwargs]`.
 */
function namesIn(nodes: Json): string[] {
  const names: string[] = [];
  const walk = (value: Json, depth: number) => {
    if (depth > 16) throw malformed(FORMAT, 'inbound_nodes', 'at most 16 levels', 'more', 0);
    if (Array.isArray(value)) {
      if (typeof value[0] === 'string' && typeof value[1] === 'number') names.push(value[0]);
      else for (const item of value) walk(item, depth + 1);
    } else {
      for (const item of Object.values(asRecord(value) ?? {})) walk(item, depth + 1);
    }
  };
  walk(nodes, 0);
  return names;
}

/** What calls say of `training`: true if one of them does; undefined where none says anything. */
function trainingIn(nodes: Json): boolean | undefined {
  if (Array.isArray(nodes)) {
    const said = nodes.map(trainingIn);
    return said.includes(true) || (said.includes(false) ? false : undefined);
  }
  const record = asRecord(nodes);
  if (!record) return undefined;
  const { training, kwargs } = record;
  if (training === true || training === 1) return true;
  return training === false || training === 0 ? false : trainingIn(kwargs ?? null);
}

/** What training changes: batch norms, and layers that draw random numbers. */
const CHANGED_BY_TRAINING = /^batch_normalization$|dropout|noise|random/;

/**
 * Names of the layers that run in training mode whoever calls the network: those whose calls say
 * so, and those in a network whose calls do.
 */
export function trainingLayers(layers: readonly KerasLayer[] | null): string[] {
  return (layers ?? [])
    .filter((layer) => layer.training && !isNetwork(layer) && layer.className !== 'InputLayer')
    .filter((layer) => layer.isCalledInTraining || CHANGED_BY_TRAINING.test(kindOf(held(layer).className)))
    .map(({ name }) => name);
}

/**
 * The layer that another one holds as an attribute, in whose config its own lies: TimeDistributed,
 * SpectralNormalization.
 */
export function wrapped(around: KerasLayer | undefined, attribute: string): KerasLayer | undefined {
  const inner = asRecord(around?.config[attribute]);
  const config = asRecord(inner?.config);
  if (!around || !config || typeof inner?.class_name !== 'string' || Array.isArray(config.layers)) return undefined;
  // the inner layer sees one time step after another
  const isSteps = kindOf(around.className) === 'time_distributed' && around.rank !== undefined;
  const rank = isSteps ? around.rank! - 1 : around.rank;
  return { ...around, name: `${around.name}/${attribute}`, className: inner.class_name, config, rank };
}

/** What a layer's own variables are those of: of the layer in it, where it is a wrapper. */
export function held(layer: KerasLayer): KerasLayer {
  const inner = wrapped(layer, 'layer');
  return inner ? { ...inner, name: layer.name } : layer;
}

/** keras/src/utils/naming.py: BatchNormalization → batch_normalization, ReLU → re_lu. */
export function snake(className: string): string {
  return className
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

/**
 * A layer's kind: its class in snake case, without a package; all that TensorFlow has called batch
 * normalization is one.
 */
export function kindOf(className: string): string {
  const kind = snake(className.slice(className.lastIndexOf('>') + 1));
  return /^(?:sync_)?batch_normalization(?:_?v[12])?(?:_base)?$/.test(kind) ? 'batch_normalization' : kind;
}
