// A network of Keras layers, from Keras or TF.js: its calls in an order in which they can run, each
// brought into a draft by its converter.

import { malformed, wrongValue } from '../../errors.ts';
import { mostLayers, quote, quoteSome } from '../../formats/bytes.ts';
import type { StoredTensor } from '../../formats/dtypes.ts';
import { asRecord, type Json } from '../../formats/json.ts';
import { showJson } from '../../formats/show-json.ts';
import { type KerasLayer, kindOf } from '../keras-config.ts';
import {
  type Argument,
  isModel,
  type KerasEntry,
  type KerasModel,
  type KerasNode,
  modelFrom,
  type Ref,
  refsIn,
  refsOf,
} from '../keras-model.ts';
import { Draft, type Flow, type Known } from './draft.ts';
import { activationLayers, missingActivation } from './keras-activations.ts';
import {
  isQuantized,
  KerasCall,
  type KerasConverter,
  type KerasSettings,
  type KerasSurroundings,
  type Operand,
  policyOf,
} from './keras-call.ts';
import { kerasLayers } from './keras-layers.ts';
import { Masks, maskFor, overSteps, underMasks, withMasks } from './keras-masks.ts';
import { kerasOperations, missingOperation, operationKind } from './keras-operations.ts';
import { kerasRecurrents, missingGate } from './keras-recurrent.ts';
import { kerasShapes } from './keras-shapes.ts';
import { FileWeights, type LayerWeights } from './keras-weights.ts';
import type { Read } from './loaded-network.ts';
import { reshaped } from './onnx-layers.ts';
import { work } from './terms.ts';

/** A network in a file. */
export interface KerasSource {
  readonly format: 'Keras' | 'TF.js';
  readonly config: Json;
  readonly layers: readonly KerasLayer[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly version: string | undefined;
  /** What was decided on the way to it. */
  readonly assumed?: readonly string[];
}

export interface KerasNetworkOptions {
  readonly outputs?: readonly string[] | undefined;
  readonly constants?: ReadonlyMap<string, Known> | undefined;
}

let table: Readonly<Record<string, KerasConverter>> | undefined;

/**
 * Layers that there are here. Made when they are asked for, so that a bundle without networks has
 * none of them.
 */
export function kerasConverters(): Readonly<Record<string, KerasConverter>> {
  table ??= {
    ...kerasLayers(),
    ...activationLayers(),
    ...kerasShapes(),
    ...kerasRecurrents(),
    ...kerasOperations(),
  };
  return table;
}

/** Layers around others, which are read here. */
const WRAPPERS = ['time_distributed', 'spectral_normalization'];

/** Settings that name activations, and which kind of them. */
const ACTIVATIONS = ['activation', 'recurrent_activation'];

/** A class or an activation that there is not here. */
export interface MissingLayer {
  readonly what: string;
  readonly count: number;
  /** What the first such layer is called. */
  readonly first: string;
}

const found = /* @__PURE__ */ new WeakMap<object, readonly MissingLayer[]>();

/** What was missing, where an error says that something is. */
export const missingLayers = (error: object): readonly MissingLayer[] | undefined => found.get(error);

/** Reads the network. Throws ERR_FORMAT. */
export function networkFromKeras(source: KerasSource, options: KerasNetworkOptions): Read {
  return new Reading(source, options).network();
}

/** The kind of a layer or an operation. */
function kindFor(entry: KerasEntry): string {
  const kind = kindOf(entry.className);
  return operationKind(kind, entry, Object.hasOwn(kerasConverters(), kind)) ?? kind;
}

/** What a layer has that there is not here: its class, activations, layers in it. */
function missingIn(
  className: string,
  config: { readonly [key: string]: Json },
  depth = 0,
  kind = kindOf(className),
): string[] {
  const operation = missingOperation(kind, config);
  if (operation !== undefined) return operation;
  const inner = (key: string) => {
    const one = asRecord(config[key] ?? null);
    if (!one || typeof one.class_name !== 'string' || depth > 8) return [];
    if (isModel(one)) return entriesMissing(one, depth + 1);
    return missingIn(one.class_name, asRecord(one.config) ?? {}, depth + 1);
  };
  if (WRAPPERS.includes(kind)) return inner('layer');
  if (!Object.hasOwn(kerasConverters(), kind)) return [className];
  if (kind === 'bidirectional') return [...inner('layer'), ...inner('backward_layer')];
  const isRecurrent = Object.hasOwn(kerasRecurrents(), kind);
  return ACTIVATIONS.flatMap((key) => {
    const missing = isRecurrent ? missingGate(config[key]) : missingActivation(config[key]);
    return config[key] !== undefined && missing !== undefined ? [missing] : [];
  });
}

function entriesMissing(json: Json, depth: number): string[] {
  const list = asRecord(asRecord(json)?.config)?.layers ?? asRecord(json)?.config;
  return (Array.isArray(list) ? list : []).flatMap((item) => {
    const entry = asRecord(item);
    if (typeof entry?.class_name !== 'string' || entry.class_name === 'InputLayer') return [];
    if (isModel(entry)) return depth > 8 ? [] : entriesMissing(entry, depth + 1);
    return missingIn(entry.class_name, asRecord(entry.config) ?? {}, depth + 1);
  });
}

/** What training changes. */
const CHANGED_BY_TRAINING = /^batch_normalization$|dropout|noise/;

/** Called network by network: what its layers gave. */
type Values = Map<string, readonly Flow[]>;
type Place = { readonly model: KerasModel; readonly path: string; weightsOf(name: string): LayerWeights };

/** Networks that one layer may stand in. */
const MOST_PLACES = 64;

/** Places of layers that have a number, by that. */
function sharedPlaces(model: KerasModel): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, string[]>();
  const visit = ({ entries }: KerasModel, path: string) => {
    for (const { name, network, sharedId } of entries) {
      if (network) visit(network, `${path}${name}/`);
      else if (sharedId !== undefined) {
        const places = found.get(sharedId) ?? [];
        if (places.length < MOST_PLACES) places.push(path + name);
        found.set(sharedId, places);
      }
    }
  };
  visit(model, '');
  return found;
}

class Reading {
  readonly #source: KerasSource;
  readonly #model: KerasModel;
  readonly #weights: FileWeights;
  readonly #draft: Draft;
  readonly #outputs: readonly string[] | undefined;
  readonly #constants: ReadonlyMap<string, Known>;
  readonly #assumed: Set<string>;
  /** How often layers with weights were called. */
  readonly #calls = new Map<string, number>();
  #shared: ReadonlyMap<number, readonly string[]> | undefined;
  readonly #around: KerasSurroundings;
  readonly #needed = new Set<string>();
  #left: number;
  #spent = 0;

  constructor(source: KerasSource, { outputs, constants = new Map() }: KerasNetworkOptions) {
    this.#source = source;
    this.#outputs = outputs;
    this.#constants = constants;
    this.#model = modelFrom(source.format, source.config);
    this.#weights = new FileWeights(source.format, source.tensors, source.layers);
    this.#assumed = new Set(source.assumed);
    const stored = this.#weights.count;
    this.#draft = new Draft(Math.max(4 * stored, 1 << 20));
    this.#left = mostLayers(4 * stored);
    const most = Math.max(4 * stored, 1 << 24);
    this.#around = {
      format: source.format,
      version: source.version,
      draft: this.#draft,
      masks: new Masks(),
      assume: (what) => void this.#assumed.add(what),
      spend: (values) => {
        this.#spent += values;
        if (this.#spent <= most) return;
        throw this.#fail('network', `at most ${most} values of weights, as its size justifies`, 'more');
      },
      convert: (call) => this.#convert(call),
    };
  }

  #fail(part: string, expected: string, got: string): Error {
    return malformed(this.#source.format, part, expected, got, 0);
  }

  network(): Read {
    const top: Place = { model: this.#model, path: '', weightsOf: (name) => this.#weights.of(name) };
    const wanted = this.#wanted();
    this.#checkLayers(wanted.map(({ ref }) => ref));
    const values: Values = new Map();
    const flows = this.#model.isChain
      ? this.#chain(top, [this.#chainInput(top)], values)
      : this.#graph(
          top,
          undefined,
          wanted.map(({ ref }) => ref),
          values,
        );
    const outputs = this.#model.isChain ? this.#chainOutputs(wanted, values, flows) : flows;
    const shared = [...this.#calls].filter(([, count]) => count > 1);
    const reasons = shared.length
      ? [`weights that several calls share: ${quoteSome(shared.slice(0, 8).map(([name]) => name))}`]
      : [];
    return {
      format: this.#source.format,
      draft: this.#draft,
      names: unique(wanted.map(({ name }) => name)),
      outputs,
      report: { folded: [], unused: this.#unused(outputs), assumed: [...this.#assumed] },
      reasons,
    };
  }

  /** Which outputs are asked for: those of the file, or layers by name. */
  #wanted(): { name: string; ref: Ref }[] {
    const { byName, entries, outputs, isChain } = this.#model;
    if (this.#outputs) {
      return this.#outputs.map((name) => {
        if (byName.has(name)) return { name, ref: { layer: name, node: 0, tensor: 0 } };
        const got = quote(name);
        throw wrongValue('ERR_OPTION', 'loadNetwork', 'outputs', 'names of layers of the network', got);
      });
    }
    if (!isChain) return [...outputs];
    const last = entries[entries.length - 1];
    if (!last || entries.every(({ className }) => className === 'InputLayer'))
      throw this.#fail('config', 'layers', 'none');
    return [{ name: last.name, ref: { layer: last.name, node: 0, tensor: 0 } }];
  }

  #chainOutputs(wanted: readonly { name: string }[], values: Values, last: readonly Flow[]): readonly Flow[] {
    if (!this.#outputs) {
      if (last.length === 1) return last;
      throw this.#fail('config', 'one output of a chain', `${last.length}`);
    }
    return wanted.map(({ name }) => values.get(`${name}:0`)![0]);
  }

  /** All layers that outputs need and that there are not here, in one error. */
  #checkLayers(outputs: readonly Ref[]): void {
    const missing = new Map<string, { count: number; first: string }>();
    const visit = (model: KerasModel, path: string, entries: readonly KerasEntry[]) => {
      for (const entry of entries) {
        const name = path === '' ? entry.name : `${path}/${entry.name}`;
        if (entry.className === 'InputLayer') continue;
        if (entry.network) {
          visit(entry.network, name, entry.network.entries);
          continue;
        }
        for (const what of missingIn(entry.className, entry.config, 0, kindFor(entry))) {
          const found = missing.get(what);
          if (found) found.count++;
          else missing.set(what, { count: 1, first: name });
        }
      }
      return model;
    };
    const { entries, isChain, byName } = this.#model;
    let needed = entries;
    if (!isChain) {
      const names = new Set(this.#order(this.#model, '', outputs, new Set()).map(({ layer }) => layer));
      needed = entries.filter(({ name }) => names.has(name));
    } else if (this.#outputs) {
      const last = Math.max(...this.#outputs.map((name) => entries.indexOf(byName.get(name)!)));
      needed = entries.slice(0, last + 1);
    }
    visit(this.#model, '', needed);
    if (missing.size === 0) return;
    const list = [...missing].map(([what, { count, first }]) => ({ what: what.slice(0, 80), count, first }));
    const got = list.slice(0, 64).map(({ what, count, first }) => {
      return `${what} (${count} layer${count === 1 ? '' : 's'}, the first ${quote(first)})`;
    });
    const more = list.length > 64 ? ` and ${list.length - 64} more` : '';
    const way =
      'outputs: [name of a layer] ends the network before them; in Python they can be written as other layers';
    const { format } = this.#source;
    const text = got.join(', ') + more;
    const error = wrongValue('ERR_FORMAT', format, 'network', 'layers that there are here', text, way);
    found.set(error, list);
    throw error;
  }

  // ---- graphs

  /** The calls that some values need, each behind those whose values it takes. */
  #order(model: KerasModel, path: string, outputs: readonly Ref[], given: ReadonlySet<string>): Ref[] {
    const done = new Set<string>();
    const open = new Set<string>();
    const order: Ref[] = [];
    const stack: { ref: Ref; refs: readonly Ref[]; at: number }[] = [];
    const enter = (ref: Ref) => {
      const key = keyOf(ref);
      if (done.has(key)) return;
      const label = `layer ${quote(path === '' ? ref.layer : `${path}/${ref.layer}`)}`;
      if (open.has(key)) throw this.#fail(label, 'inputs that do not come of it', 'a cycle');
      const entry = model.byName.get(ref.layer);
      if (!entry) throw this.#fail(label, 'a layer of the network', 'none');
      open.add(key);
      const isInput = given.has(ref.layer) || entry.className === 'InputLayer';
      const refs = isInput ? [] : refsOf(this.#nodeOf(entry, ref, label));
      stack.push({ ref, refs, at: 0 });
    };
    for (const output of outputs) {
      enter(output);
      while (stack.length) {
        const top = stack[stack.length - 1];
        if (top.at < top.refs.length) enter(top.refs[top.at++]);
        else {
          stack.pop();
          open.delete(keyOf(top.ref));
          done.add(keyOf(top.ref));
          order.push(top.ref);
        }
      }
    }
    return order;
  }

  /** A call by its number. */
  #nodeOf({ nodes }: KerasEntry, { node }: Ref, label: string): KerasNode {
    const found = nodes[node];
    if (found) return found;
    throw this.#fail(label, `a call ${node}`, `${nodes.length} calls`);
  }

  #graph(place: Place, given: readonly Flow[] | undefined, outputs: readonly Ref[], values: Values): Flow[] {
    const { model, path } = place;
    const bound = new Set(given ? model.inputs.map(({ layer }) => layer) : []);
    if (given && given.length !== model.inputs.length) {
      throw this.#fail(`network ${quote(path)}`, `${model.inputs.length} inputs`, `${given.length}`);
    }
    model.inputs.forEach((ref, i) => {
      if (given) values.set(keyOf(ref), [given[i]]);
    });
    const order = this.#order(model, path, outputs, bound);
    // inputs in the order of the config
    if (!given) for (const { layer } of model.inputs) this.#declare(model.byName.get(layer), values);
    for (const ref of order) {
      const key = keyOf(ref);
      if (values.has(key)) continue;
      const entry = model.byName.get(ref.layer)!;
      if (entry.className === 'InputLayer') {
        if (given) throw this.#fail(`layer ${quote(ref.layer)}`, 'an input of the network', 'another InputLayer');
        this.#declare(entry, values);
        continue;
      }
      const label = `layer ${quote(ref.layer)}`;
      const node = this.#nodeOf(entry, ref, label);
      const at = (one: Ref): Flow => {
        const flow = values.get(keyOf(one))?.[one.tensor];
        if (flow) return flow;
        throw this.#fail(label, `output ${one.tensor} of ${quote(one.layer)}`, 'none');
      };
      const inputs = node.args.flatMap((one) => inOrder(one, entry.network)).map(at);
      const kwargs: Record<string, readonly Flow[]> = {};
      const named: Record<string, Operand> = {};
      for (const [name, one] of Object.entries(node.kwargs)) {
        const refs = refsIn(one);
        if (refs.length) kwargs[name] = refs.map(at);
        named[name] = operandOf(one, at);
      }
      const first = node.kwargs.inputs ? (kwargs.inputs ?? []) : [];
      const operands = node.args.map((one) => operandOf(one, at));
      values.set(
        key,
        this.#call(place, entry, [...inputs, ...first], { kwargs, given: operands, named }, isTraining(node)),
      );
    }
    return outputs.map((ref) => {
      const flow = values.get(keyOf(ref))?.[ref.tensor];
      if (flow) return flow;
      throw this.#fail(`layer ${quote(ref.layer)}`, `an output ${ref.tensor}`, 'none');
    });
  }

  /** An input of the outermost network. */
  #declare(entry: KerasEntry | undefined, values: Values): void {
    if (!entry || values.has(`${entry.name}:0`)) return;
    if (entry.className !== 'InputLayer')
      throw this.#fail(`layer ${quote(entry.name)}`, 'an InputLayer', entry.className);
    values.set(`${entry.name}:0`, [this.#input(entry.name, shapeIn(entry.config), entry.config)]);
  }

  #input(name: string, shape: Json | undefined, config: { readonly [key: string]: Json }): Flow {
    const fixed = this.#constants.get(name);
    if (fixed) return this.#draft.constant({ ...fixed });
    const lengths = Array.isArray(shape) ? shape : undefined;
    const isLength = (one: Json) => one === null || (Number.isSafeInteger(one) && (one as number) >= 1);
    if (!lengths?.length || !lengths.every(isLength)) {
      throw this.#fail(`input ${quote(name)}`, 'a shape', showJson(shape));
    }
    if (config.sparse === true || config.ragged === true)
      throw this.#fail(
        `input ${quote(name)}`,
        'a dense tensor',
        config.sparse === true ? 'a sparse one' : 'a ragged one',
      );
    const type = typeof config.dtype === 'string' ? config.dtype : 'float32';
    if (type === 'string') throw this.#fail(`input ${quote(name)}`, 'a tensor of numbers', 'texts');
    const dtype = /^u?int|^bool/.test(type) ? 'I32' : 'F32';
    return this.#draft.input(
      name,
      lengths.map((one) => (one === null ? Number.NaN : (one as number))),
      dtype,
    );
  }

  // ---- chains

  #chainInput({ model, path }: Place): Flow {
    const [first, second] = model.entries;
    if (first?.className === 'InputLayer') {
      return this.#input(first.name, shapeIn(first.config) ?? model.inputShape, first.config);
    }
    if (!first) throw this.#fail('config', 'layers', 'none');
    const name = `${first.name}_input`;
    const said = shapeIn(first.config) ?? model.inputShape ?? (first.network && networkShape(first.network));
    if (said !== undefined && said !== null) return this.#input(name, said, first.config);
    const guess = this.#guess(first, path);
    if (!guess) throw this.#fail('config', 'the shape of the input', `none at ${quote(first.name)}${second ? '' : ''}`);
    const shown = guess.map((one) => one ?? '?').join(', ');
    this.#assumed.add(`input '${name}' of shape [${shown}], from the weights of '${first.name}'`);
    return this.#input(name, guess, first.config);
  }

  /** The shape that the first layer's weights leave open but for the batch and its lengths. */
  #guess({ name, className, config }: KerasEntry, path: string): (number | null)[] | undefined {
    const kind = kindOf(className);
    const weights = this.#weights.of(path === '' ? name : `${path}/${name}`);
    const kernel = weights.find(kind.startsWith('depthwise') ? 'depthwise_kernel' : 'kernel', kind, config);
    const axes = /^(?:depthwise_)?conv([123])d$/.exec(kind)?.[1];
    if (kind === 'dense' && kernel?.shape.length === 2) return [null, kernel.shape[0]];
    if (axes && kernel?.shape.length === Number(axes) + 2 && config.data_format !== 'channels_first') {
      return [null, ...new Array<null>(Number(axes)).fill(null), kernel.shape[kernel.shape.length - 2]];
    }
    return undefined;
  }

  #chain(place: Place, given: readonly Flow[], values: Values): readonly Flow[] {
    let flows = given;
    const wanted = this.#outputs && place.path === '' ? new Set(this.#outputs) : undefined;
    const { entries } = place.model;
    const last = wanted ? Math.max(...entries.map(({ name }, i) => (wanted.has(name) ? i : -1))) : entries.length - 1;
    entries.slice(0, last + 1).forEach((entry) => {
      if (entry.className !== 'InputLayer') flows = this.#call(place, entry, flows, {}, false);
      values.set(`${entry.name}:0`, flows);
    });
    return flows;
  }

  // ---- calls

  #call(
    place: Place,
    entry: KerasEntry,
    inputs: readonly Flow[],
    rest: {
      readonly kwargs?: Readonly<Record<string, readonly Flow[]>>;
      readonly given?: readonly Operand[];
      readonly named?: Readonly<Record<string, Operand>>;
    },
    training: boolean,
  ): readonly Flow[] {
    const full = place.path === '' ? entry.name : `${place.path}/${entry.name}`;
    this.#needed.add(full);
    if (training && (entry.network || CHANGED_BY_TRAINING.test(kindFor(entry)))) {
      const label = `layer ${entry.className} ${quote(full)}`;
      throw this.#fail(label, 'inference', 'training=True, which a call in the model says');
    }
    if (entry.network)
      return this.#inside(entry.network, full, underMasks(this.#around, inputs, rest.named?.mask, full), (name) =>
        place.weightsOf(`${entry.name}/${name}`),
      );
    const settings = { name: full, className: entry.className, config: entry.config, kind: kindFor(entry) };
    const own = place.weightsOf(entry.name);
    const places = this.#placesOf(entry, full);
    // what stands in several networks is saved once
    const weights = own.size ? own : (places.map((path) => this.#weights.of(path)).find(({ size }) => size > 0) ?? own);
    if (weights.size > 0) this.#calls.set(places[0], (this.#calls.get(places[0]) ?? 0) + 1);
    const policy = policyOf(entry.config);
    if (/float(?:16|64)/.test(policy) && !isQuantized(policy))
      this.#assumed.add(`float32 where layers compute in ${policy}`);
    return this.#convert(new KerasCall(settings, this.#around, weights, inputs, rest));
  }

  /** Where a layer stands, by the names of networks around it: its own place, or all of them. */
  #placesOf({ sharedId }: KerasEntry, full: string): readonly string[] {
    if (sharedId === undefined) return [full];
    this.#shared ??= sharedPlaces(this.#model);
    return this.#shared.get(sharedId) ?? [full];
  }

  /** A network in a network, on values. */
  #inside(
    model: KerasModel,
    path: string,
    inputs: readonly Flow[],
    weightsOf: (name: string) => LayerWeights,
  ): readonly Flow[] {
    const place: Place = { model, path, weightsOf };
    if (model.isChain) return this.#chain(place, inputs, new Map());
    return this.#graph(
      place,
      inputs,
      model.outputs.map(({ ref }) => ref),
      new Map(),
    );
  }

  #convert(call: KerasCall): Flow[] {
    const { settings, kind } = call;
    if (this.#left-- <= 0) throw this.#fail('network', 'as many calls of layers as its size justifies', 'more');
    const convert = Object.hasOwn(kerasConverters(), kind) ? kerasConverters()[kind] : undefined;
    this.#draft.label = call.name;
    let flows: Flow[] = [];
    this.#guarded(call, () => {
      if (WRAPPERS.includes(kind)) flows = withMasks(call, this.#wrapped(call));
      else if (convert) flows = withMasks(call, [convert(call)].flat() as Flow[]);
      else throw call.fail('a layer that there is here', settings.className);
    });
    return flows;
  }

  /** A layer for each step, or one whose kernel is normalised when it is trained. */
  #wrapped(call: KerasCall): readonly Flow[] {
    const { settings, config, kind } = call;
    const record = asRecord(config.layer ?? null);
    const inner = { ...call.inner('layer', settings.name) } as KerasSettings;
    const name = typeof inner.config.name === 'string' ? inner.config.name : 'layer';
    const model = isModel(record ?? undefined) ? modelFrom(this.#source.format, record as Json) : undefined;
    const apply = (x: Flow): Flow => {
      const flows = model
        ? this.#inside(model, settings.name, [x], (own) => call.weights.of(own))
        : this.#convert(call.on([x], inner));
      if (flows.length === 1) return flows[0];
      throw call.fail('one output of the layer', `${flows.length} of ${quote(name)}`);
    };
    const { x } = call;
    if (kind !== 'time_distributed') return [apply(x)];
    const rank = x.shape.length;
    if (rank < 3) throw call.fail('an input of rank 3 or more', `rank ${rank}`);
    // layers that see the last axis alone see every step by itself
    if (!model && ALONG_LAST.test(kindOf(inner.className)) && isLast(inner.config.axis)) return [apply(x)];
    const { masks } = this.#around;
    const mask = maskFor(call);
    if (mask && !call.isNew && !Number.isNaN(x.shape[0]))
      throw call.fail('a batch of any size where there is a mask', `${x.shape[0]}`);
    const [n, steps, ...rest] = x.dims;
    const flat = reshaped(call, x, [work('mul', n, steps), ...rest]);
    if (mask?.flow && mask.flow.shape.length > 2) {
      const within = [flat.dims[0], ...mask.flow.dims.slice(2)];
      masks.mark(flat, { flow: reshaped(call, mask.flow, within), of: mask.of });
    }
    const y = apply(flat);
    const found = reshaped(call, y, [n, steps, ...y.dims.slice(1)]);
    overSteps(call, found, masks.of(y));
    return [found];
  }

  /** What goes wrong in a layer is said with its name. */
  #guarded(call: KerasCall, run: () => void): void {
    try {
      run();
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === undefined || code === 'ERR_FORMAT' || code === 'ERR_MEMORY') throw error;
      throw call.fail('what the layer takes', message.replaceAll('NaN', '?'));
    }
  }

  /** What of the file nobody needs. */
  #unused(outputs: readonly Flow[]): string[] {
    const needed = this.#draft.neededInputs(outputs);
    const inputs = this.#draft.inputs.filter(({ flow }) => !needed.has(flow)).map(({ name }) => `input '${name}'`);
    const layers = this.#model.entries
      .filter(({ className, name }) => className !== 'InputLayer' && !this.#needed.has(name))
      .map(({ name }) => `layer '${name}'`);
    const idle = new Set(this.#model.entries.filter(({ name }) => !this.#needed.has(name)).map(({ name }) => name));
    const variables = this.#weights.unused.filter((name) => !idle.has(name.split('/')[0]));
    const optimizer = variables.filter((name) => /^(?:optimizer|_?optimizer_weights|training)\b/.test(name));
    const others = variables.filter((name) => !optimizer.includes(name));
    return [
      ...inputs,
      ...layers,
      ...others.map((name) => `variable '${name}'`),
      ...(optimizer.length ? [`${optimizer.length} variables of the optimizer`] : []),
    ];
  }
}

/** Layers that treat all axes but the last as the batch. */
const ALONG_LAST = /^(?:dense|activation|re_lu|leaky_re_lu|elu|thresholded_re_lu|dropout|layer_normalization|softmax)$/;
const isLast = (axis: Json | undefined) =>
  axis === undefined || axis === -1 || (Array.isArray(axis) && axis.length === 1 && axis[0] === -1);

/** Does a call say training=True? */
function isTraining({ kwargs: { training } }: KerasNode): boolean {
  return training !== undefined && 'constant' in training && (training.constant === true || training.constant === 1);
}

/** An argument with the values that it names. */
function operandOf(argument: Argument, at: (ref: Ref) => Flow): Operand {
  if ('ref' in argument) return { flow: at(argument.ref) };
  if ('list' in argument) return { list: argument.list.map((one) => operandOf(one, at)) };
  if ('constant' in argument) return argument;
  return { record: Object.fromEntries(Object.entries(argument.record).map(([key, one]) => [key, operandOf(one, at)])) };
}

const keyOf = ({ layer, node }: Ref) => `${layer}:${node}`;

/** References in their order; those of a record by the names of the network's inputs. */
function inOrder(argument: Argument, network: KerasModel | undefined): Ref[] {
  if (!('record' in argument) || !network) return refsIn(argument);
  const { record } = argument;
  const names = network.inputs.map(({ layer }) => layer);
  if (!names.every((name) => Object.hasOwn(record, name))) return refsIn(argument);
  return names.flatMap((name) => refsIn(record[name]));
}

/** The shape of an input, with its batch. */
function shapeIn(config: { readonly [key: string]: Json }): Json | undefined {
  const whole = config.batch_shape ?? config.batch_input_shape;
  if (whole !== undefined && whole !== null) return whole;
  const own = config.shape ?? config.input_shape;
  return Array.isArray(own) ? [null, ...own] : undefined;
}

/** The shape of a network's one input. */
function networkShape(model: KerasModel): Json | undefined {
  const first = model.isChain ? model.entries[0] : model.byName.get(model.inputs[0]?.layer ?? '');
  if (!first) return undefined;
  return first.network ? networkShape(first.network) : shapeIn(first.config);
}

function unique(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return names.map((name) => {
    let free = name;
    for (let i = 1; seen.has(free); i++) free = `${name}_${i}`;
    seen.add(free);
    return free;
  });
}
