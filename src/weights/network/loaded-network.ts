// A network from a file: a graph of layers and operations, and what became of the file.

import { wrongMoment } from '../../errors.ts';
import { quoteSome } from '../../formats/bytes.ts';
import { evaluated } from '../../nn/evaluated.ts';
import { GivenShape, Graph, type GraphBuilder, type Value } from '../../nn/graph.ts';
import type { Draft, Flow } from './draft.ts';

/** What became of a file that was loaded as a network. */
export interface NetworkReport {
  /** Can the network be trained? */
  readonly trainable: boolean;
  /** Why not: weights that several calls share; null where it can. */
  readonly reason: string | null;
  /** What became one: norms and activations that the file writes as several nodes. */
  readonly folded: readonly string[];
  /** What the file has and no output needs: inputs, initializers, nodes. */
  readonly unused: readonly string[];
  /** What the file does not say, or says otherwise, and was decided here. */
  readonly assumed: readonly string[];
}

/**
 * A network from a file, which `loadNetwork` returns: a `Graph` in evaluation mode. Inputs and
 * outputs have the names and the layout of the file, and shapes with their batch, in which null is
 * a length that is not fixed.
 *
 *     const net = await loadNetwork('model.onnx');
 *     net.inputs;   // [{ name: 'input', shape: [null, 3, 224, 224] }]
 *
 * @experimental
 */
export class LoadedNetwork extends Graph {
  /** The class's name, also where the library was minified. */
  static override readonly name: string = 'LoadedNetwork';
  /** What became of the file. */
  readonly report: NetworkReport;

  /** @internal */
  constructor(
    inputs: Readonly<Record<string, never>>,
    build: (g: GraphBuilder, inputs: Record<string, Value>) => Record<string, Value>,
    report: NetworkReport,
  ) {
    super(inputs, build as never);
    this.report = report;
    this.eval();
  }

  /** What errors call it. */
  override get subject(): string {
    return 'LoadedNetwork';
  }

  /**
   * Training mode, or with `false` evaluation mode. Returns the network.
   *
   * @throws ERR_MODE for training mode of a network that cannot be trained (`report.reason`)
   */
  override train(on = true): this {
    const { report } = this;
    if (on && report && !report.trainable) {
      throw wrongMoment('ERR_MODE', this.subject, 'train', 'a network that can be trained', report.reason!);
    }
    return super.train(on);
  }
}

/** What a reader made of a file, whatever it is to become. */
export interface Read {
  /** What messages call the file. */
  readonly format: string;
  readonly draft: Draft;
  /** What the outputs are called. */
  readonly names: readonly string[];
  readonly outputs: readonly Flow[];
  readonly report: Pick<NetworkReport, 'folded' | 'unused' | 'assumed'>;
  /** Why it cannot be trained. */
  readonly reasons: readonly string[];
}

/** Builds the network that a draft describes. */
export function buildNetwork({ draft, names, outputs, report, reasons }: Read): LoadedNetwork {
  const reason = reasons.length ? reasons.join('; ') : null;
  const kept = reason === null ? draft.untrained(outputs) : [];
  const assumed = kept.length
    ? [...report.assumed, `training leaves the weights of ${quoteSome(kept.slice(0, 8))} as they are`]
    : report.assumed;
  const entries = draft.inputs.map(({ name, flow }) => {
    const shape = flow.shape.map((length) => (Number.isNaN(length) ? null : length));
    return [name, new GivenShape(shape)] as const;
  });
  return new LoadedNetwork(
    Object.fromEntries(entries) as never,
    (g, inputs) => {
      const values = draft.build(
        g,
        draft.inputs.map(({ name }) => inputs[name]),
        outputs,
      );
      const own = new Set(Object.values(inputs));
      return Object.fromEntries(
        values.map((value, i) => {
          // an input, or a value that is put out twice, gets a node of its own
          if (!own.has(value)) return [names[i], value];
          const operation = evaluated({
            kind: 'shape-to',
            lengths: value.shape.map((_, axis) => ({ of: 0, axis })),
          } as never);
          return [names[i], g.operate(names[i], operation, [value])];
        }),
      );
    },
    { trainable: reason === null, reason, ...report, assumed },
  );
}
