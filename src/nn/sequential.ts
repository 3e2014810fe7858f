import { show, wrongValue } from '../errors.ts';
import { type CompiledNetwork, type CompileOptions, compile } from '../infer/compile.ts';
import type { Layer } from '../layers/layer.ts';
import type { NetworkNode } from './gradient-plan.ts';
import { checkLayers, Network } from './network.ts';

/** Layers in a row, as nodes: under names of their own, or their places. */
export function chainOf(layers: readonly Layer[], names?: readonly string[]): NetworkNode[] {
  return layers.map((layer, i) => ({ name: names?.[i] ?? `${i}`, layer, inputs: [i], outputs: [i + 1] }));
}

/**
 * Layers in a row: each takes what the one before it returns.
 *
 *     const hidden = [new Linear(784, 100), new BatchNorm1d(100), new ReLU()];
 *     const net = new Sequential(...hidden, new Linear(100, 10));
 *     net.backward(crossEntropy(net.forward(x), labels).grad);
 *     const run = net.eval().compile();
 *
 * State has a layer's place in front ('0.weight'), or its name, where layers are given by name, as
 * the attributes of a PyTorch module are ('fc1.weight'):
 *
 *     new Sequential({ fc1: new Linear(784, 100), bn1: new BatchNorm1d(100), act: new ReLU() });
 *
 * Memory is planned at the first forward of a shape and reused: later steps take none, but for
 * scratch that they give back. If the input is a Tensor, so is the output, and it belongs to the
 * network: the next forward, of whatever shape, writes over it. It is disposed when a larger batch
 * moves the network's memory, or when its shape has not been seen for a while. If the input is a
 * plain array, the output is a plain array of its own.
 */
export class Sequential extends Network {
  static override readonly name: string = 'Sequential';
  /** The layers, in their order. */
  readonly layers: readonly Layer[];

  get subject(): string {
    return 'Sequential';
  }

  /**
   * @param layers in their order, one behind the other or by name; each may stand in one place only
   * @throws ERR_TYPE for anything but layers of this copy of the library; ERR_OPTION for a layer
   *   given twice, and for a name that is empty or a whole number (objects put those first)
   */
  constructor(...layers: Layer[] | [layers: Readonly<Record<string, Layer>>]) {
    super();
    const named = layers.length === 1 && isRecord(layers[0]) ? layers[0] : undefined;
    const list = named ? Object.values(named) : (layers as Layer[]);
    checkLayers(this.subject, list);
    const names = named && Object.keys(named);
    for (const name of names ?? []) {
      if (/^\d*$/.test(name)) throw wrongValue('ERR_OPTION', this.subject, 'name', 'a name', show(name));
    }
    this.layers = Object.freeze(list);
    this.wire({ inputs: 1, nodes: chainOf(list, names), outputs: [list.length] });
  }

  /**
   * The network in evaluation form as one function: batch norm folded into the linear layer before
   * or behind it, activations and residual additions fused, dropout dropped, weights packed,
   * buffers planned. Within rounding, it returns what `net.eval().forward(x)` returns. Later
   * changes of the network do not reach it.
   *
   *     const run = net.compile({ maxBatch: 64 });
   *     const y = run(x);
   *
   * @param options see `CompileOptions`
   * @throws ERR_MODE for a recurrent cell or norm; ERR_OPTION, ERR_MEMORY
   */
  compile(options: CompileOptions = {}): CompiledNetwork {
    return compile(
      {
        inputs: [{ name: 'x', shape: null }],
        outputNames: ['output'],
        trace: (graph, inputs) => this.traceAll(graph, inputs),
      },
      options,
    );
  }
}

/** Layers by name: an object that is nothing else, and not empty. */
function isRecord(value: unknown): value is Readonly<Record<string, Layer>> {
  const prototype = typeof value === 'object' && value !== null && Object.getPrototypeOf(value);
  return (prototype === Object.prototype || prototype === null) && Object.keys(value as object).length > 0;
}
