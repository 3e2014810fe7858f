// A graph model of TF.js as a network: its nodes are brought into ONNX' words (tf-rules.ts), and
// run as an ONNX graph's, with converters of their own where they mean something else.

import { malformed, wrongValue } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import { asRecord, type Json } from '../../formats/json.ts';
import { showPart } from '../../formats/show-json.ts';
import type { TfjsModel } from '../../formats/tfjs.ts';
import { sizeOf } from '../onnx-constants.ts';
import type { Known } from './draft.ts';
import type { Read } from './loaded-network.ts';
import type { Converter } from './onnx-call.ts';
import { networkOf } from './onnx-network.ts';
import { TfGraph } from './tf-graph.ts';
import { tfLayers } from './tf-layers.ts';
import {
  checkOperators,
  FORMAT,
  lengthsIn,
  neededNodes,
  nodeOf,
  nodesOf,
  type TfNode,
  typeOf,
  valueName,
} from './tf-nodes.ts';
import { rules } from './tf-rules.ts';
import { tfShapes } from './tf-shapes.ts';

export interface GraphModelOptions {
  readonly outputs?: readonly string[] | undefined;
  readonly constants?: ReadonlyMap<string, Known> | undefined;
}

interface Named {
  /** As the network has it. */
  readonly name: string;
  /** The value in the graph. */
  readonly value: string;
  readonly shape: readonly (number | undefined)[] | undefined;
}

let table: Readonly<Record<string, Converter>> | undefined;

/**
 * Reads the network of a GraphDef: `model.topology` has its nodes, `model.tensors` their weights,
 * `model.signature` the names of inputs and outputs. Throws ERR_FORMAT.
 */
export function networkFromGraphModel(
  { topology, tensors, signature = null }: TfjsModel,
  { outputs: wanted, constants = new Map() }: GraphModelOptions,
): Read {
  const nodes = nodesOf(topology);
  if (nodes.size === 0) throw malformed(FORMAT, 'modelTopology', 'nodes', 'none', 0);
  const inputs = entriesOf(signature, 'inputs');
  const own = outputsOf(nodes, entriesOf(signature, 'outputs'));
  const outputs = wanted ? wanted.map((name) => outputNamed(name, nodes, own)) : own;
  const values = outputs.map(({ value }) => value);
  const needed = neededNodes(nodes, values);
  const isNeeded = new Set(needed);
  const isInput = new Map(inputs.map((one) => [one.value, one]));
  const given = (node: TfNode) =>
    node.op === 'Placeholder' || (node.op === 'PlaceholderWithDefault' && isInput.has(node.name));
  const there = rules();
  checkOperators(needed, (op) => Object.hasOwn(there, op));

  const graph = new TfGraph(nodes, needed, values, tensors);
  const names = new Map<string, string>();
  for (const { value, name } of inputs) {
    const node = nodes.get(value);
    if (!node) throw malformed(FORMAT, `signature.inputs ${quote(name)}`, 'a node of the graph', quote(value), 0);
    if (given(node)) readInput(node);
  }
  for (const node of nodes.values()) if (given(node) && !isInput.has(node.name)) readInput(node);

  for (const node of needed) {
    if (graph.taken.has(node) || given(node)) continue;
    if (node.op === 'Const') graph.constant(node);
    else there[node.op](graph, node);
  }
  const aliases = outputs.map(({ name, value }) => {
    const isTaken = name !== value && (nodes.has(nodeOf(name)) || graph.inputs.has(name));
    const free = isTaken ? value : name;
    if (isTaken && valueName(name) !== value) {
      graph.assumed.add(`output '${value}' keeps its name: '${name}', as the signature has it, is another node`);
    }
    if (free !== value) graph.emit(nodes.get(nodeOf(value))!, 'Identity', { inputs: [value], outputs: [free] });
    return free;
  });
  table ??= { ...tfLayers(), ...tfShapes() };
  const size = [...tensors.values()].reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
  // weights are named by themselves, and inputs as inputs
  const rest = [...nodes.values()].filter(
    (node) => !isNeeded.has(node) && !given(node) && !/^(?:Const|NoOp)$/.test(node.op),
  ).length;
  return networkOf(
    graph.model(aliases, size),
    { outputs: aliases, constants: constantsFor(constants, names) },
    {
      format: FORMAT,
      converters: table,
      folded: graph.folded,
      assumed: [...graph.assumed],
      unused: [
        ...graph.unusedWeights.map((name) => `weight '${name}'`),
        ...(rest > 0 ? [`${rest} node${rest === 1 ? '' : 's'} that no output needs`] : []),
      ],
    },
  );

  /** An input of the network, under the name that the signature gives it. */
  function readInput(node: TfNode): void {
    const entry = isInput.get(node.name);
    const isFree = entry && (entry.name === node.name || !nodes.has(nodeOf(entry.name)));
    const name = isFree ? entry.name : node.name;
    if (entry && !isFree && valueName(entry.name) !== node.name) {
      graph.assumed.add(
        `input '${node.name}' keeps its name: '${entry.name}', as the signature has it, is another node`,
      );
    }
    if (graph.inputs.has(name)) throw malformed(FORMAT, 'signature.inputs', 'each name once', quote(name), 0);
    if (isNeeded.has(node)) there[node.op](graph, node);
    const shape = node.shape('shape') ?? entry?.shape ?? followed(node);
    if (shape) graph.inputs.set(name, shape);
    else if (isNeeded.has(node)) throw node.fail('a shape, in the node or in the signature', 'none');
    else return;
    names.set(node.name, name);
    graph.types.set(name, node.type('dtype') ?? 'F32');
    if (name !== node.name) graph.emit(node, 'Identity', { inputs: [name], outputs: [node.name] });
  }

  /** The shape that nodes behind an input ask for, where nothing else says it. */
  function followed(node: TfNode): readonly (number | undefined)[] | undefined {
    const shape = shapeBehind(graph, node);
    if (shape) {
      const lengths = shape.map((length) => length ?? 'any').join(', ');
      graph.assumed.add(`input '${node.name}' has the shape [${lengths}] that the nodes behind it ask for`);
    }
    return shape;
  }
}

/** Operators that keep the rank of their first input, and its last axis. */
const KEEPING = /^(?:Identity|StopGradient|Relu6?|Sub|Mul|RealDiv|Div|Add(?:V2)?|Cast|Pad(?:V2)?|MaxPool|AvgPool)$/;

function shapeBehind(graph: TfGraph, from: TfNode): readonly (number | undefined)[] | undefined {
  const seen = new Set([from]);
  for (const node of seen) {
    for (const taker of graph.takersOf(node.name)) {
      const weight = graph.known(taker.inputs[1]);
      const isFirst = taker.inputs[0] === node.name;
      const isLast = taker.text('data_format', 'NHWC') === 'NHWC';
      if (
        isFirst &&
        weight &&
        /Conv2[dD]/.test(taker.op) &&
        !taker.op.includes('Backprop') &&
        weight.shape.length === 4 &&
        isLast
      ) {
        return [undefined, undefined, undefined, weight.shape[2]];
      }
      if (isFirst && weight && /MatMul$/.test(taker.op) && weight.shape.length === 2 && !taker.flag('transpose_a')) {
        return [undefined, weight.shape[taker.flag('transpose_b') ? 1 : 0]];
      }
      if (KEEPING.test(taker.op) && seen.size < 64) seen.add(taker);
    }
  }
  return undefined;
}

/** Inputs or outputs of the signature. */
function entriesOf(signature: Json, part: 'inputs' | 'outputs'): Named[] {
  const entries = asRecord(asRecord(signature)?.[part]);
  return Object.entries(entries ?? {}).map(([name, json]) => {
    const entry = asRecord(json);
    const label = `signature.${part} ${quote(name)}`;
    // what a resource gives is no tensor
    const value = entry?.name ?? name;
    if (typeof value !== 'string') throw malformed(FORMAT, label, 'the name of a value', showPart(json), 0);
    const dtype = entry?.dtype === undefined ? 'F32' : typeOf(entry.dtype);
    if (dtype === undefined || dtype === 'STRING' || dtype === 'C64') {
      throw malformed(FORMAT, label, 'numbers', showPart(entry?.dtype), 0);
    }
    return { name, value: valueName(value), shape: lengthsIn(entry?.tensorShape ?? entry?.tensor_shape) ?? undefined };
  });
}

/** The signature's outputs, or else the values that no node takes. */
function outputsOf(nodes: ReadonlyMap<string, TfNode>, named: readonly Named[]): Named[] {
  if (named.length) {
    for (const { name, value } of named) {
      if (nodes.has(nodeOf(value))) continue;
      throw malformed(FORMAT, `signature.outputs ${quote(name)}`, 'a node of the graph', quote(value), 0);
    }
    return [...named];
  }
  const taken = new Set([...nodes.values()].flatMap(({ inputs }) => inputs.map(nodeOf)));
  const open = [...nodes.values()].filter(
    ({ name, op }) => !taken.has(name) && !/^(?:NoOp|Const|Placeholder)$/.test(op),
  );
  if (open.length === 0) throw malformed(FORMAT, 'modelTopology', 'a node whose value no other takes', 'none', 0);
  return open.map(({ name }) => ({ name, value: name, shape: undefined }));
}

/** A value that was asked for by name: one of the outputs, or any other. */
function outputNamed(name: string, nodes: ReadonlyMap<string, TfNode>, own: readonly Named[]): Named {
  const found = own.find((one) => one.name === name);
  if (found) return found;
  const value = valueName(name);
  if (nodes.has(nodeOf(value))) return { name, value, shape: undefined };
  throw wrongValue('ERR_OPTION', 'loadNetwork', 'outputs', 'names of values of the graph', quote(name));
}

/** Constants by the names that inputs have; the names of nodes do as well. */
function constantsFor(given: ReadonlyMap<string, Known>, names: ReadonlyMap<string, string>): Map<string, Known> {
  return new Map([...given].map(([name, value]) => [names.get(name) ?? name, value]));
}
