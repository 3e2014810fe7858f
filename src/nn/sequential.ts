import { type CompiledNetwork, type CompileOptions, compile } from '../infer/compile.ts';
import type { Layer } from '../layers/layer.ts';
import type { NetworkNode } from './gradient-plan.ts';
import { checkLayers, Network } from './network.ts';

/** Layers in a row, as nodes. */
export function chainOf(layers: readonly Layer[]): NetworkNode[] {
  return layers.map((layer, i) => ({ name: `${i}`, layer, inputs: [i], outputs: [i + 1] }));
}

/**
 * Layers in a row: each takes what the one before it returns.
 *
 *     const hidden = [new Linear(784, 100), new BatchNorm1d(100), new ReLU()];
 *     const net = new Sequential(...hidden, new Linear(100, 10));
 *     net.backward(crossEntropy(net.forward(x), labels).grad);
 *     const run = net.eval().compile();
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
   * @param layers in their order; each may stand in one place only
   * @throws ERR_TYPE for anything but layers of this copy of the library; ERR_OPTION for a layer
   *   given twice
   */
  constructor(...layers: Layer[]) {
    super();
    checkLayers(this.subject, layers);
    this.layers = Object.freeze(layers);
    this.wire({ inputs: 1, nodes: chainOf(layers), outputs: [layers.length] });
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
