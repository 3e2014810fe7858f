// Pooling: the largest value, or the average, of windows over one to three spatial axes.

import { show, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { PoolOperation } from '../graph/operations/pool.ts';
import { backend } from '../kernels/backend.ts';
import { avgPoolGrad, maxPoolGrad } from '../kernels/gradients/calls.ts';
import { avgPool, maxPool, type PoolExtent, poolScratch } from '../kernels/pool/calls.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { layout } from '../layers/options.ts';
import { integersOption, type PerAxis, readIntegers } from '../layers/per-axis.ts';
import { extentOf, type Pooling, pooledShape } from '../layers/windows.ts';
import { flag, readSchema } from '../named-options.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout } from '../types.ts';

/** Options of poolings whose windows follow from the number of outputs. */
export interface PoolLayoutOptions {
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
}

interface PoolOptions extends PoolLayoutOptions {
  /** Places from one window to the next: a number, or one per axis. Default `kernelSize`. */
  stride?: PerAxis;
  /**
   * Places before and behind the input, half a window at most: a number, or one per axis. `'same'`:
   * ceil(input/stride) outputs, and as many places as that takes, the odd one behind. Default 0.
   */
  padding?: PerAxis | 'same';
  /**
   * `true`: a last window that reaches beyond the padding counts as well, if it begins in the input
   * or the padding before it. Default `false`.
   */
  ceilMode?: boolean;
}

/** Options of `MaxPool1d`, `MaxPool2d` and `MaxPool3d`. */
export interface MaxPoolOptions extends PoolOptions {
  /** Places from one value of a window to the next: a number, or one per axis. Default 1. */
  dilation?: PerAxis;
}

/** Options of `AvgPool1d`, `AvgPool2d` and `AvgPool3d`. */
export interface AvgPoolOptions extends PoolOptions {
  /**
   * Are places of the padding counted, as zeros? Places that `ceilMode` adds beyond it never are.
   * Default `true`.
   */
  countIncludePad?: boolean;
}

interface PoolPass extends Pass {
  readonly extent: PoolExtent;
}

/** What all poolings share. */
abstract class PoolLayer<R extends number = number> extends LeafLayer<PoolPass, R> {
  readonly subject: string;
  /** Where the channels lie in input and output. */
  readonly layout: Layout;
  readonly #pooling: Pooling;

  constructor(subject: string, pooling: Pooling) {
    super();
    this.subject = subject;
    this.layout = pooling.layout;
    this.#pooling = pooling;
  }

  /**
   * @throws ERR_SHAPE for another rank, and for an axis shorter than one window with its padding
   */
  outputShape(shape: readonly number[]): readonly number[] {
    return pooledShape(this.subject, this.#pooling, shape);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const operation: PoolOperation = { kind: 'pool', ...this.#pooling };
    return graph.append(operation, [x]);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): PoolPass {
    const outShape = this.outputShape(shape);
    const extent = extentOf(this.subject, this.#pooling, shape);
    return { plan: { shape, size: countOf(shape) }, outShape, extent };
  }

  /** @internal Windows overlap. */
  protected override get aliasing(): 'apart' {
    return 'apart';
  }

  /** @internal An average's gradient does not depend on x. */
  protected override get needsInputs(): boolean {
    return this.#pooling.of === 'max';
  }

  /** @internal */
  protected override write(call: Call, { extent }: PoolPass, { x }: ResolvedInputs, out: TensorLike): void {
    const pool = this.#pooling.of === 'max' ? maxPool : avgPool;
    pool(backend(), extent, call.input(x), call.output(out), call.scratch(poolScratch(extent)));
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    { extent, plan }: PoolPass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    if (plan.size === 0) return;
    const from = call.input(dy);
    const scratch = call.scratch(poolScratch(extent));
    if (this.#pooling.of === 'avg') avgPoolGrad(backend(), extent, from, call.output(dx), scratch);
    else maxPoolGrad(backend(), extent, call.input(x), from, call.output(dx), scratch);
  }
}

/** Checks the options of a pooling with windows. */
function windowsFrom(
  kind: string,
  of: Pooling['of'],
  axes: number,
  kernelSize: PerAxis,
  options: MaxPoolOptions & AvgPoolOptions,
): [subject: string, pooling: Pooling] {
  const kernel = readIntegers(kind, 'kernelSize', kernelSize, axes, 1);
  const subject = `${kind}(${show(kernelSize)})`;
  const all = (value: number) => kernel.map(() => value);
  const schema = {
    stride: integersOption(kernel, 1),
    padding: {
      standard: all(0) as readonly number[] | 'same',
      read: (subject: string, name: string, value: unknown) =>
        value === 'same' ? value : readIntegers(subject, name, value, axes, 0),
    },
    dilation: integersOption(all(1), 1),
    countIncludePad: flag(true),
    ceilMode: flag(false),
    layout: layout(),
  };
  const { [of === 'max' ? 'countIncludePad' : 'dilation']: _, ...own } = schema;
  const read = readSchema(subject, options, own as typeof schema);
  const { stride, padding, ceilMode, dilation = all(1), countIncludePad = true } = read;
  if (padding === 'same' && ceilMode) {
    throw wrongValue('ERR_OPTION', subject, 'ceilMode', "false with padding 'same'", 'true');
  }
  if (padding !== 'same')
    padding.forEach((value, i) => {
      const most = Math.floor((dilation[i] * (kernel[i] - 1) + 1) / 2);
      if (value > most)
        throw wrongValue('ERR_OPTION', subject, 'padding', `half a window, ${most}, at most`, `${value}`);
    });
  const windows = { kernel, stride, padding, dilation, ceilMode, countIncludePad };
  return [subject, { of, layout: read.layout, windows, outputs: null }];
}

function adaptiveFrom(
  kind: string,
  of: Pooling['of'],
  axes: number,
  outputSize: number | readonly (number | null)[],
  options: PoolLayoutOptions,
): [subject: string, pooling: Pooling] {
  // null stands for the length that is there
  const known = Array.isArray(outputSize) ? outputSize.map((length) => length ?? 1) : outputSize;
  const lengths = readIntegers(kind, 'outputSize', known, axes, 1);
  const subject = `${kind}(${show(outputSize)})`;
  const { layout: own } = readSchema(subject, options, { layout: layout() });
  const outputs = lengths.map((length, i) => (Array.isArray(outputSize) && outputSize[i] === null ? null : length));
  return [subject, { of, layout: own, windows: null, outputs }];
}

/**
 * The largest value of each window of `[N, C, L]`; with `layout: 'channels-last'` of `[N, L, C]`.
 * Outputs by axis:
 *
 *   ⌊(input + 2·padding − dilation·(kernelSize − 1) − 1)/stride⌋ + 1
 *
 * rounded up with `ceilMode`. Padding is never the largest; a NaN wins its window. Backward gives
 * the gradient of each window to the first of its largest values. As PyTorch's MaxPool1d.
 *
 *     new MaxPool1d(2).outputShape([1, 8, 100]);   // [1, 8, 50]
 */
export class MaxPool1d extends PoolLayer<3> {
  static override readonly name: string = 'MaxPool1d';
  /**
   * @param kernelSize values of a window
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, a padding of more than half a
   *   window, or an unknown option
   */
  constructor(kernelSize: PerAxis, options: MaxPoolOptions = {}) {
    super(...windowsFrom('MaxPool1d', 'max', 1, kernelSize, options));
  }
}

/**
 * The largest value of each window of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W,
 * C]`. Sizes, padding, NaN and backward are those of `MaxPool1d`. As PyTorch's MaxPool2d.
 *
 *     new MaxPool2d(2, { stride: 2 }).outputShape([1, 64, 112, 112]);   // [1, 64, 56, 56]
 */
export class MaxPool2d extends PoolLayer<4> {
  static override readonly name: string = 'MaxPool2d';
  /**
   * @param kernelSize values of a window: a number for both axes, or `[kH, kW]`
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, a padding of more than half a
   *   window, or an unknown option
   */
  constructor(kernelSize: PerAxis, options: MaxPoolOptions = {}) {
    super(...windowsFrom('MaxPool2d', 'max', 2, kernelSize, options));
  }
}

/**
 * The largest value of each window of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D,
 * H, W, C]`. Sizes, padding, NaN and backward are those of `MaxPool1d`. As PyTorch's MaxPool3d.
 *
 *     new MaxPool3d(2).outputShape([1, 8, 16, 32, 32]);   // [1, 8, 8, 16, 16]
 */
export class MaxPool3d extends PoolLayer<5> {
  static override readonly name: string = 'MaxPool3d';
  /**
   * @param kernelSize values of a window: a number for all axes, or `[kD, kH, kW]`
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, a padding of more than half a
   *   window, or an unknown option
   */
  constructor(kernelSize: PerAxis, options: MaxPoolOptions = {}) {
    super(...windowsFrom('MaxPool3d', 'max', 3, kernelSize, options));
  }
}

/**
 * The average of each window of `[N, C, L]`; with `layout: 'channels-last'` of `[N, L, C]`. Outputs
 * by axis:
 *
 *   ⌊(input + 2·padding − kernelSize)/stride⌋ + 1
 *
 * rounded up with `ceilMode`. Sums in f64. As PyTorch's AvgPool1d.
 *
 *     new AvgPool1d(2).outputShape([1, 8, 100]);   // [1, 8, 50]
 */
export class AvgPool1d extends PoolLayer<3> {
  static override readonly name: string = 'AvgPool1d';
  /**
   * @param kernelSize values of a window
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, a padding of more than half a
   *   window, or an unknown option
   */
  constructor(kernelSize: PerAxis, options: AvgPoolOptions = {}) {
    super(...windowsFrom('AvgPool1d', 'avg', 1, kernelSize, options));
  }
}

/**
 * The average of each window of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W, C]`.
 * Sizes and padding are those of `AvgPool1d`. As PyTorch's AvgPool2d.
 *
 *     new AvgPool2d(2).outputShape([1, 64, 56, 56]);   // [1, 64, 28, 28]
 */
export class AvgPool2d extends PoolLayer<4> {
  static override readonly name: string = 'AvgPool2d';
  /**
   * @param kernelSize values of a window: a number for both axes, or `[kH, kW]`
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, a padding of more than half a
   *   window, or an unknown option
   */
  constructor(kernelSize: PerAxis, options: AvgPoolOptions = {}) {
    super(...windowsFrom('AvgPool2d', 'avg', 2, kernelSize, options));
  }
}

/**
 * The average of each window of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D, H, W,
 * C]`. Sizes and padding are those of `AvgPool1d`. As PyTorch's AvgPool3d.
 *
 *     new AvgPool3d(2).outputShape([1, 8, 16, 32, 32]);   // [1, 8, 8, 16, 16]
 */
export class AvgPool3d extends PoolLayer<5> {
  static override readonly name: string = 'AvgPool3d';
  /**
   * @param kernelSize values of a window: a number for all axes, or `[kD, kH, kW]`
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, a padding of more than half a
   *   window, or an unknown option
   */
  constructor(kernelSize: PerAxis, options: AvgPoolOptions = {}) {
    super(...windowsFrom('AvgPool3d', 'avg', 3, kernelSize, options));
  }
}

/**
 * The average of as many windows as are asked for, of `[N, C, L]`; with `layout: 'channels-last'`
 * of `[N, L, C]`. Output i of an axis covers ⌊i·input/outputSize⌋ up to, not including, ⌈(i +
 * 1)·input/outputSize⌉. As PyTorch's AdaptiveAvgPool1d.
 *
 *     new AdaptiveAvgPool1d(4).outputShape([1, 8, 100]);   // [1, 8, 4]
 */
export class AdaptiveAvgPool1d extends PoolLayer<3> {
  static override readonly name: string = 'AdaptiveAvgPool1d';
  /**
   * @param outputSize outputs by axis: a number, or one per axis, null for as many as there are
   *   inputs
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, or an unknown option
   */
  constructor(outputSize: number | readonly (number | null)[], options: PoolLayoutOptions = {}) {
    super(...adaptiveFrom('AdaptiveAvgPool1d', 'avg', 1, outputSize, options));
  }
}

/**
 * The average of as many windows as are asked for, of `[N, C, H, W]`; with `layout:
 * 'channels-last'` of `[N, H, W, C]`. Windows are those of `AdaptiveAvgPool1d` on each axis. As
 * PyTorch's AdaptiveAvgPool2d.
 *
 *     new AdaptiveAvgPool2d([1, null]).outputShape([1, 8, 14, 14]);   // [1, 8, 1, 14]
 */
export class AdaptiveAvgPool2d extends PoolLayer<4> {
  static override readonly name: string = 'AdaptiveAvgPool2d';
  /**
   * @param outputSize outputs by axis: a number, or one per axis, null for as many as there are
   *   inputs
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, or an unknown option
   */
  constructor(outputSize: number | readonly (number | null)[], options: PoolLayoutOptions = {}) {
    super(...adaptiveFrom('AdaptiveAvgPool2d', 'avg', 2, outputSize, options));
  }
}

/**
 * The largest value of as many windows as are asked for, of `[N, C, H, W]`; with `layout:
 * 'channels-last'` of `[N, H, W, C]`. Windows are those of `AdaptiveAvgPool1d` on each axis. As
 * PyTorch's AdaptiveMaxPool2d.
 *
 *     new AdaptiveMaxPool2d(7).outputShape([1, 8, 14, 14]);   // [1, 8, 7, 7]
 */
export class AdaptiveMaxPool2d extends PoolLayer<4> {
  static override readonly name: string = 'AdaptiveMaxPool2d';
  /**
   * @param outputSize outputs by axis: a number, or one per axis, null for as many as there are
   *   inputs
   * @throws ERR_OPTION for sizes that are not integers of 1 or more, or an unknown option
   */
  constructor(outputSize: number | readonly (number | null)[], options: PoolLayoutOptions = {}) {
    super(...adaptiveFrom('AdaptiveMaxPool2d', 'max', 2, outputSize, options));
  }
}

/**
 * The average over all spatial axes, which stay with length 1: `[N, C, H, W]` → `[N, C, 1, 1]`, of
 * any rank from 3 on. Sums in f64.
 *
 *     new GlobalAvgPool().outputShape([1, 512, 7, 7]);   // [1, 512, 1, 1]
 */
export class GlobalAvgPool extends PoolLayer {
  static override readonly name: string = 'GlobalAvgPool';
  /**
   * @param options `{ layout }`. Default `'channels-first'`
   * @throws ERR_OPTION for another layout, or an unknown option
   */
  constructor(options: PoolLayoutOptions = {}) {
    const { layout: own } = readSchema('GlobalAvgPool', options, { layout: layout() });
    super('GlobalAvgPool', { of: 'avg', layout: own, windows: null, outputs: null });
  }
}
