// Functions that a model brings along, written out where they are called: exporters of PyTorch make
// one of each of its operators.

import { malformed } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import type { OnnxAttribute, OnnxFunction, OnnxGraph, OnnxModel, OnnxNode } from '../../formats/onnx.ts';
import { labelOf } from '../onnx-names.ts';

/** How deep functions call others, and how many nodes may come of them. */
const [MOST_DEPTH, MOST_NODES] = [32, 2 ** 18];

const written = /* @__PURE__ */ new WeakMap<OnnxModel, OnnxModel>();

/**
 * The model without functions. Throws ERR_FORMAT for functions that call themselves, that become
 * too many nodes, and that are written for another version of the operators.
 */
export function withoutFunctions(model: OnnxModel): OnnxModel {
  if (model.functions.length === 0) return model;
  const known = written.get(model);
  if (known) return known;
  const result = { ...model, functions: [], nodes: new Writing(model).nodes(model.nodes, 0) };
  written.set(model, result);
  return result;
}

const keyOf = (domain: string, name: string) => JSON.stringify([domain, name]);

class Writing {
  readonly #model: OnnxModel;
  readonly #functions: ReadonlyMap<string, OnnxFunction>;
  #left = MOST_NODES;
  #calls = 0;

  constructor(model: OnnxModel) {
    this.#model = model;
    this.#functions = new Map(model.functions.map((one) => [keyOf(one.domain, one.name), one]));
  }

  nodes(nodes: readonly OnnxNode[], depth: number): OnnxNode[] {
    return nodes.flatMap((node) => {
      if (--this.#left < 0) throw this.#fail(node, `fewer than ${MOST_NODES} nodes`, 'more');
      const found = this.#functions.get(keyOf(node.domain, node.op));
      if (found) return this.#call(node, found, depth);
      if (!node.graphs.length) return [node];
      const graphs = node.graphs.map(({ name, graph }) => ({
        name,
        graph: { ...graph, nodes: this.nodes(graph.nodes, depth) },
      }));
      return [changed(node, { graphs })];
    });
  }

  #fail({ op, offset, ...node }: OnnxNode, expected: string, got: string): Error {
    return malformed(
      'ONNX',
      `node ${op} ${quote(labelOf({ op, offset, ...node } as OnnxNode))}`,
      expected,
      got,
      offset,
    );
  }

  #call(node: OnnxNode, found: OnnxFunction, depth: number): OnnxNode[] {
    const { opset } = this.#model;
    if (depth === MOST_DEPTH) throw this.#fail(node, `functions in at most ${MOST_DEPTH} levels`, 'more');
    if (found.opset !== undefined && found.opset !== opset) {
      throw this.#fail(node, `a function for version ${opset} of the operators, as the model is`, `${found.opset}`);
    }
    const { inputs, outputs } = found;
    if (node.inputs.length > inputs.length || node.outputs.length > outputs.length) {
      const got = `${node.inputs.length} and ${node.outputs.length}`;
      throw this.#fail(node, `at most ${inputs.length} inputs and ${outputs.length} outputs`, got);
    }
    // the call is named once, however deep it lies
    const own = `${labelOf(node).replace(/^.*~\d+\//, '')}~${++this.#calls}/`;
    const names = new Map<string, string>();
    outputs.forEach((name, i) => {
      if (node.outputs[i]) names.set(name, node.outputs[i]);
    });
    inputs.forEach((name, i) => {
      names.set(name, node.inputs[i] ?? '');
    });
    const rename = (name: string) => (name === '' ? '' : (names.get(name) ?? own + name));
    const attributes = new Map([...found.defaults, ...node.attributes]);
    const body = this.nodes(
      found.nodes.map((one) => renamed(one, rename, attributes)),
      depth + 1,
    );
    // an input that is an output as well is handed on
    const passed = outputs.flatMap((name, i) =>
      inputs.includes(name) && node.outputs[i] ? [passing(node, rename(name), node.outputs[i])] : [],
    );
    return [...body, ...passed];
  }
}

const passing = (node: OnnxNode, from: string, to: string) =>
  changed(node, { op: 'Identity', domain: '', inputs: [from], outputs: [to], attributes: new Map(), graphs: [] });

/** A node with some of it changed; a spread would lose what getters give. */
const changed = (node: OnnxNode, changes: Partial<OnnxNode>): OnnxNode => ({
  op: node.op,
  domain: node.domain,
  name: node.name,
  inputs: node.inputs,
  outputs: node.outputs,
  attributes: node.attributes,
  texts: node.texts,
  references: node.references,
  graphs: node.graphs,
  captured: node.captured,
  offset: node.offset,
  raw: node.raw,
  ...changes,
});

function renamed(
  node: OnnxNode,
  rename: (name: string) => string,
  given: ReadonlyMap<string, OnnxAttribute>,
): OnnxNode {
  const attributes = new Map(node.attributes);
  for (const [name, reference] of node.references) {
    // an attribute that the call leaves out is none
    if (given.has(reference)) attributes.set(name, given.get(reference));
  }
  const graphs = node.graphs.map(({ name, graph }) => ({ name, graph: renamedGraph(graph, rename, given) }));
  return changed(node, {
    name: node.name && rename(node.name),
    inputs: node.inputs.map(rename),
    outputs: node.outputs.map(rename),
    captured: node.captured.map(rename),
    attributes,
    graphs,
  });
}

function renamedGraph(
  graph: OnnxGraph,
  rename: (name: string) => string,
  given: ReadonlyMap<string, OnnxAttribute>,
): OnnxGraph {
  return {
    ...graph,
    nodes: graph.nodes.map((node) => renamed(node, rename, given)),
    initializers: new Map([...graph.initializers].map(([name, tensor]) => [rename(name), tensor])),
    outputs: graph.outputs.map(rename),
  };
}
