import { isList, show, wrongKind, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { PadOperation } from '../graph/operations/pad.ts';
import { backend } from '../kernels/backend.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { layout } from '../layers/options.ts';
import { PAD_MODES, type Padding, paddedShape, paddingMaps } from '../layers/padding.ts';
import { choice, number, optional, readSchema, type Schema } from '../named-options.ts';
import { type AxisMaps, gatherer, scatter } from '../tensors/axis-maps.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout } from '../types.ts';
import { indexOf } from '../wasm/views.ts';

/** Options of `Pad`. */
export interface PadOptions {
  /**
   * What is there: a constant; the image mirrored at its edge, without the edge (`'reflect'`); or
   * the edge itself (`'replicate'`). Default `'constant'`.
   */
  mode?: 'constant' | 'reflect' | 'replicate';
  /** The constant. Default 0. */
  value?: number;
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
}

interface PadPass extends Pass {
  readonly maps: AxisMaps;
}

const padSchema = (): Schema<Required<Omit<PadOptions, 'value'>> & Pick<PadOptions, 'value'>> => ({
  mode: choice('constant', PAD_MODES),
  value: optional(number(0, 'a number', () => true)),
  layout: layout(),
});

/**
 * Places before and behind the spatial axes of `[N, C, ...]`; with `layout: 'channels-last'` of
 * `[N, ..., C]`. As PyTorch's ConstantPad, ReflectionPad and ReplicationPad, but `padding` names
 * the axes in their order.
 *
 *     new Pad([1, 2]).outputShape([1, 3, 10, 10]);   // [1, 3, 12, 14]
 */
export class Pad extends LeafLayer<PadPass> {
  static override readonly name: string = 'Pad';
  readonly subject: string;
  readonly #padding: Padding;

  /**
   * @param padding places on either side: a number for all axes, one per axis, or `[before, after]`
   *   per axis
   * @throws ERR_OPTION for a padding of anything but integers of 0 or more, a mode that there is
   *   not, a value in another mode than `'constant'`, or an unknown option
   */
  constructor(
    padding: number | readonly number[] | readonly (readonly [before: number, after: number])[],
    options: PadOptions = {},
  ) {
    super();
    const pads = readPads(padding);
    this.subject = `Pad(${show(padding)})`;
    const { mode, value, layout } = readSchema(this.subject, options, padSchema());
    if (value !== undefined && mode !== 'constant') {
      throw wrongValue('ERR_OPTION', this.subject, 'value', "mode 'constant' with it", show(mode));
    }
    this.#padding = { layout, mode, value: Math.fround(value ?? 0), pads };
  }

  /** @throws ERR_SHAPE for another rank, and for axes shorter than what is reflected */
  outputShape(shape: readonly number[]): readonly number[] {
    return paddedShape(this.subject, this.#padding, shape);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const operation: PadOperation = { kind: 'pad', ...this.#padding };
    return graph.append(operation, [x]);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): PadPass {
    const outShape = this.outputShape(shape);
    const maps = paddingMaps(this.subject, this.#padding, shape);
    return { plan: { shape, size: countOf(shape) }, outShape, maps };
  }

  /** @internal */
  protected override get aliasing(): 'apart' {
    return 'apart';
  }

  /** @internal */
  protected override get needsInputs(): boolean {
    return false;
  }

  /** @internal */
  protected override write(call: Call, { maps }: PadPass, { x }: ResolvedInputs, out: TensorLike): void {
    const from = indexOf(call.input(x!));
    const to = indexOf(call.output(out));
    const { f32 } = backend().heap;
    gatherer(maps, this.#padding.value)(f32, from, f32, to);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    { maps, plan }: PadPass,
    _: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    if (plan.size === 0) return;
    const from = indexOf(call.input(dy));
    const to = indexOf(call.output(dx));
    const { f32 } = backend().heap;
    scatter(maps, f32, from, f32, to);
  }
}

function readPads(given: unknown): Padding['pads'] {
  const expected = 'integers of 0 or more: one, one per axis, or [before, after] per axis';
  const isPad = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
  if (typeof given !== 'number' && !isList(given))
    throw wrongKind('ERR_OPTION', 'Pad', 'padding', expected, show(given));
  if (isPad(given)) return given;
  const axes = isList(given) ? Array.from(given) : [];
  const pads = axes.map((axis) => (isPad(axis) ? [axis, axis] : isList(axis) ? Array.from(axis) : []));
  const isNested = axes.some(isList);
  const fits = pads.every((pair, i) => pair.length === 2 && pair.every(isPad) && isList(axes[i]) === isNested);
  if (!pads.length || !fits) throw wrongValue('ERR_OPTION', 'Pad', 'padding', expected, show(given));
  return pads as unknown as Padding['pads'];
}
