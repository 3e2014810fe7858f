import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { choice, number, type Option, optional, readSchema, required } from '../named-options.ts';
import { locate, makeLike } from '../tensors/call.ts';
import { countOf, sameShape, shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import { listOf } from '../typed-arrays.ts';

/** Class indices: one integer per row. */
export type Labels = readonly number[] | Int32Array | Uint32Array | Uint8Array | Uint16Array | Int8Array | Int16Array;

/** How the losses of a batch are returned: as their mean, as their sum, or one by one. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Options of every loss. */
export interface LossOptions<R extends Reduction = Reduction> {
  /**
   * `'mean'` (default), `'sum'` or `'none'`. With `'none'`, `loss` has one value per row or
   * element, and `grad` is the gradient of their sum.
   */
  reduction?: R;
}

/** A loss, and its gradient with respect to the first argument. */
export interface Loss<X extends TensorLike, R extends Reduction = 'mean'> {
  /** A number, or with `'none'` one per row (`crossEntropy`) or element. */
  loss: R extends 'none' ? Float64Array : number;
  /**
   * The gradient, where the first argument lives. The gradient of a Tensor belongs to that Tensor:
   * it is disposed with it, and the next loss of the same Tensor writes over it.
   */
  grad: Result<X>;
}

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions<R extends Reduction = Reduction> extends LossOptions<R> {
  /**
   * ε, from 0 to 1: the target is (1 − ε) times the label's distribution plus ε/classes for every
   * class. Default 0.
   */
  labelSmoothing?: number;
  /** A weight of 0 or more for each class. Default: 1 each. */
  classWeights?: readonly number[] | Float32Array | Float64Array;
  /**
   * Rows with this label have no part in loss and gradient. An integer. Default: every label
   * counts; PyTorch's default is −100.
   */
  ignoreIndex?: number;
}

const SUBJECT = 'crossEntropy';
const REDUCTIONS: readonly Reduction[] = ['mean', 'sum', 'none'];

const reductionOption = () => choice<Reduction>('mean', REDUCTIONS);

const ignoreIndexOption = () =>
  optional<number>(
    required((subject, name, value) => {
      if (!Number.isSafeInteger(value)) throw wrongValue('ERR_OPTION', subject, name, 'an integer', show(value));
    }),
  );

const crossEntropySchema = () => ({
  labelSmoothing: number(0, 'a number from 0 to 1', (value) => value >= 0 && value <= 1),
  // read with the number of classes
  classWeights: optional<NonNullable<CrossEntropyOptions['classWeights']>>(required(() => {})),
  ignoreIndex: ignoreIndexOption(),
  reduction: reductionOption(),
});

/**
 * Softmax cross entropy in f64, as torch.nn.functional.cross_entropy. With p = softmax(logits[n]),
 * y = labels[n] and class weights w, a row's loss is
 *
 *   lₙ = −w[y]·ln p[y]
 *
 * and the mean is Σ lₙ/Σ w[yₙ] over rows that are not ignored. With smoothing ε the row is −(1 −
 * ε)·w[y]·ln p[y] − ε/C·Σ_c w[c]·ln p[c], over the same denominator. With soft labels t it is −Σ_c
 * w[c]·t[c]·ln p[c], t smoothed first, and the mean is over the number of rows.
 *
 *     const { loss, grad } = crossEntropy(net.forward(x), labels);
 *     net.backward(grad);
 *
 * @param logits `[N, classes, ...]`, N ≥ 1; behind two axes every place is a row
 * @param labels a class index per row, in the order of `[N, ...]`; or soft labels, a tensor of the
 *   logits' shape with a distribution for each row: values of 0 to 1 whose sum is 1 within 1e-3
 * @throws ERR_LABEL for an index that is no class, for soft labels that are no distribution, and
 *   for a mean in which no row counts; ERR_SHAPE, ERR_TYPE, ERR_OPTION, ERR_DISPOSED
 */
export function crossEntropy<X extends TensorLike, R extends Reduction = 'mean'>(
  logits: X,
  labels: Labels | TensorLike,
  options: CrossEntropyOptions<R> = {},
): Loss<X, R> {
  const { labelSmoothing, classWeights, ignoreIndex, reduction } = readSchema(SUBJECT, options, crossEntropySchema());
  const given = locate(SUBJECT, 'logits', logits);
  const shape = shapeOf(given);
  const [batch, classes] = shape;
  const inner = countOf(shape.slice(2));
  const rows = batch * inner;
  if (!(shape.length >= 2 && rows >= 1 && classes >= 1)) {
    throw wrongValue('ERR_SHAPE', SUBJECT, 'logits', '[N, classes, ...] with N of 1 or more', showShape(shape));
  }
  const weights = classWeights === undefined ? undefined : readWeights(classWeights, classes);
  const list = listOf(labels) as ArrayLike<number> | undefined;
  const isSoft = !list && typeof labels === 'object' && labels !== null;
  if (isSoft && ignoreIndex !== undefined)
    throw wrongValue('ERR_OPTION', SUBJECT, 'ignoreIndex', 'class indices as labels', 'soft labels');
  const classOf = isSoft ? undefined : readLabels(labels, list, rows, classes, ignoreIndex);
  const located = isSoft ? readSoft(labels as TensorLike, shape, inner) : undefined;
  let count = rows;
  if (classOf && (weights || ignoreIndex !== undefined)) {
    count = 0;
    for (let n = 0; n < rows; n++) if (classOf[n] !== ignoreIndex) count += weights ? weights[classOf[n]] : 1;
    if (reduction === 'mean' && count === 0)
      throw wrongValue('ERR_LABEL', SUBJECT, 'labels', 'a mean over at least one row with a weight', 'none');
  }
  const divisor = reduction === 'mean' ? count : 1;
  const losses = new Float64Array(reduction === 'none' ? rows : 0);
  const grad = gradientOf(logits, shape);
  // views are asked for when no memory is taken any more
  const x = given.data;
  const soft = located?.data;
  const g = (grad as TensorLike).data;
  const uniform = labelSmoothing / classes;
  let loss = 0;
  for (let n = 0; n < rows; n++) {
    const start = Math.floor(n / inner) * classes * inner + (n % inner);
    const end = start + classes * inner;
    const label = classOf?.[n];
    if (label !== undefined && label === ignoreIndex) {
      for (let i = start; i < end; i += inner) g[i] = 0;
      continue;
    }
    let most = x[start];
    for (let i = start; i < end; i += inner) if (!(x[i] <= most)) most = x[i];
    let sum = 0;
    for (let i = start; i < end; i += inner) sum += Math.exp(x[i] - most);
    let row = 0;
    if (label !== undefined && !weights && labelSmoothing === 0) {
      row = Math.log(sum) + most - x[start + label * inner];
      for (let i = start, c = 0; c < classes; i += inner, c++)
        g[i] = (Math.exp(x[i] - most) / sum - (c === label ? 1 : 0)) / divisor;
    } else {
      // Σ_c t[c]·(ln Σ exp − x[c]), t being the weighted target; its gradient is p·Σt − t
      let total = 0;
      const target = (i: number, c: number) => {
        const weight = weights ? weights[c] : 1;
        if (soft) return weight * ((1 - labelSmoothing) * soft[i] + uniform);
        return (c === label ? (1 - labelSmoothing) * weight : 0) + uniform * weight;
      };
      const log = Math.log(sum) + most;
      for (let i = start, c = 0; c < classes; i += inner, c++) {
        const t = target(i, c);
        total += t;
        // a class without a target has no part, even at −∞
        if (t !== 0) row += t * (log - x[i]);
      }
      for (let i = start, c = 0; c < classes; i += inner, c++)
        g[i] = ((Math.exp(x[i] - most) / sum) * total - target(i, c)) / divisor;
    }
    loss += row;
    if (reduction === 'none') losses[n] = row;
  }
  return { loss: reduction === 'none' ? losses : loss / divisor, grad } as Loss<X, R>;
}

/**
 * Mean squared error in f64, as torch.nn.functional.mse_loss:
 *
 *   loss = Σ(x − target)²/count     grad = 2·(x − target)/count
 *
 *     const { loss, grad } = mse(net.forward(x), target);
 *
 * @param x predictions of any shape that is not empty
 * @param target a tensor of the same shape
 * @throws ERR_SHAPE for different or empty shapes; ERR_TYPE, ERR_OPTION, ERR_DISPOSED
 */
export function mse<X extends TensorLike, R extends Reduction = 'mean'>(
  x: X,
  target: TensorLike,
  options: LossOptions<R> = {},
): Loss<X, R> {
  const { reduction } = readSchema('mse', options, { reduction: reductionOption() });
  return elementwise('mse', x, target, reduction, (value, wanted, to) => {
    to[0] = (value - wanted) ** 2;
    to[1] = 2 * (value - wanted);
  });
}

/** Options of `huber`. */
export interface HuberOptions<R extends Reduction = Reduction> extends LossOptions<R> {
  /** Where the parabola becomes a line, above 0. Default 1. */
  delta?: number;
}

/**
 * Huber's loss (1964), the mean in f64 over d = x − target, as torch.nn.functional.huber_loss:
 *
 *   d²/2 where |d| ≤ delta, delta·(|d| − delta/2) elsewhere
 *
 *     const { loss, grad } = huber(net.forward(x), target, { delta: 0.5 });
 *
 * @param x predictions of any shape that is not empty
 * @param target a tensor of the same shape
 * @throws ERR_SHAPE for different or empty shapes; ERR_TYPE, ERR_OPTION, ERR_DISPOSED
 */
export function huber<X extends TensorLike, R extends Reduction = 'mean'>(
  x: X,
  target: TensorLike,
  options: HuberOptions<R> = {},
): Loss<X, R> {
  const { delta, reduction } = readSchema('huber', options, {
    delta: number(1, 'a finite number above 0', (value) => value > 0 && Number.isFinite(value)),
    reduction: reductionOption(),
  });
  return elementwise('huber', x, target, reduction, (value, wanted, to) => {
    const d = value - wanted;
    const isFar = Math.abs(d) > delta;
    to[0] = isFar ? delta * (Math.abs(d) - delta / 2) : (d * d) / 2;
    to[1] = isFar ? delta * Math.sign(d) : d;
  });
}

/** Options of `bceWithLogits`. */
export interface BceOptions<R extends Reduction = Reduction> extends LossOptions<R> {
  /**
   * Weight of what is positive: a number, or one for each place on the last axis; finite, 0 or
   * more. Default 1.
   */
  posWeight?: number | readonly number[] | Float32Array | Float64Array;
}

const bceSchema = () => ({
  posWeight: {
    standard: 1,
    read(subject, name, value) {
      if (typeof value !== 'number' && !listOf(value)) {
        throw wrongKind('ERR_OPTION', subject, name, 'a number or an array of numbers', show(value));
      }
      const weights = typeof value === 'number' ? [value] : Array.from(listOf(value)!);
      for (const weight of weights) {
        if (typeof weight !== 'number' || !(weight >= 0 && Number.isFinite(weight))) {
          throw wrongValue('ERR_OPTION', subject, name, 'finite numbers of 0 or more', show(weight));
        }
      }
      return typeof value === 'number' ? value : (weights as number[]);
    },
  } satisfies Option<number | readonly number[]>,
  reduction: reductionOption(),
});

/**
 * Binary cross entropy of logits, a mean in f64, as
 * torch.nn.functional.binary_cross_entropy_with_logits:
 *
 *   −posWeight·t·ln σ(x) − (1 − t)·ln(1 − σ(x))
 *
 * No digit is lost far from 0.
 *
 *     const { loss, grad } = bceWithLogits(net.forward(x), targets);
 *
 * @param x logits of any shape that is not empty
 * @param target a tensor of the same shape, values from 0 to 1
 * @throws ERR_LABEL for a target outside [0, 1]; ERR_SHAPE, ERR_TYPE, ERR_OPTION, ERR_DISPOSED
 */
export function bceWithLogits<X extends TensorLike, R extends Reduction = 'mean'>(
  x: X,
  target: TensorLike,
  options: BceOptions<R> = {},
): Loss<X, R> {
  const subject = 'bceWithLogits';
  const { posWeight, reduction } = readSchema(subject, options, bceSchema());
  const weights = typeof posWeight === 'number' ? [posWeight] : posWeight;
  const check = (shape: readonly number[], wanted: Float32Array) => {
    const last = shape.at(-1) ?? 1;
    if (typeof posWeight !== 'number' && weights.length !== last)
      throw wrongValue('ERR_SHAPE', subject, 'posWeight', `${last} numbers, as the last axis`, `${weights.length}`);
    const wrong = wanted.findIndex((t) => !(t >= 0 && t <= 1));
    if (wrong >= 0)
      throw wrongValue('ERR_LABEL', subject, `target[${wrong}]`, 'a number from 0 to 1', show(wanted[wrong]));
  };
  const work: Element = (value, t, to, i) => {
    const p = weights[i % weights.length];
    const small = Math.exp(-Math.abs(value));
    const scale = 1 + (p - 1) * t;
    to[0] = (1 - t) * value + scale * (Math.log1p(small) + Math.max(-value, 0));
    // σ(−x), from the exponential that does not overflow
    const rest = value >= 0 ? small / (1 + small) : 1 / (1 + small);
    to[1] = 1 - t - scale * rest;
  };
  return elementwise(subject, x, target, reduction, work, check);
}

/** The loss of the i-th element and its derivative. */
type Element = (value: number, target: number, to: Float64Array, i: number) => void;

/** A loss that is a sum over elements. */
function elementwise<X extends TensorLike, R extends Reduction>(
  subject: string,
  x: X,
  target: TensorLike,
  reduction: Reduction,
  element: Element,
  check?: (shape: readonly number[], target: Float32Array) => void,
): Loss<X, R> {
  const given = locate(subject, 'x', x);
  const wanted = locate(subject, 'target', target);
  const shape = shapeOf(given);
  const size = countOf(shape);
  if (size === 0) throw wrongValue('ERR_SHAPE', subject, 'x', 'at least one value', showShape(shape));
  if (!sameShape(shapeOf(wanted), shape))
    throw wrongValue('ERR_SHAPE', subject, 'target', `shape ${showShape(shape)}`, showShape(shapeOf(wanted)));
  check?.(shape, wanted.data);
  const losses = new Float64Array(reduction === 'none' ? size : 0);
  const to = new Float64Array(2);
  const divisor = reduction === 'mean' ? size : 1;
  // before the views below are asked for: making it may move memory
  const grad = gradientOf(x, shape);
  const [values, targets, g] = [given.data, wanted.data, (grad as TensorLike).data];
  let loss = 0;
  for (let i = 0; i < size; i++) {
    element(values[i], targets[i], to, i);
    loss += to[0];
    if (reduction === 'none') losses[i] = to[0];
    g[i] = to[1] / divisor;
  }
  return { loss: reduction === 'none' ? losses : loss / divisor, grad } as Loss<X, R>;
}

/** Where the gradient goes. */
function gradientOf<X extends TensorLike>(x: X, shape: readonly number[]): Result<X> {
  return x instanceof Tensor ? (x.companion as Result<X>) : makeLike(x, shape);
}

/** The class weights, read once and checked. */
function readWeights(given: unknown, classes: number): ArrayLike<number> {
  const weights = listOf(given) as ArrayLike<number> | undefined;
  if (!weights) throw wrongKind('ERR_OPTION', SUBJECT, 'classWeights', 'an array of numbers', show(given));
  if (weights.length !== classes)
    throw wrongValue('ERR_SHAPE', SUBJECT, 'classWeights', `${classes} numbers, one per class`, `${weights.length}`);
  for (let c = 0; c < classes; c++) {
    if (typeof weights[c] !== 'number' || !(weights[c] >= 0 && weights[c] < Number.POSITIVE_INFINITY))
      throw wrongValue('ERR_OPTION', SUBJECT, `classWeights[${c}]`, 'a finite number of 0 or more', show(weights[c]));
  }
  return weights;
}

/** Soft labels, checked: a distribution for each row. */
function readSoft(given: TensorLike, shape: readonly number[], inner: number): TensorLike {
  const located = locate(SUBJECT, 'labels', given);
  if (!sameShape(shapeOf(located), shape))
    throw wrongValue('ERR_SHAPE', SUBJECT, 'labels', `shape ${showShape(shape)}`, showShape(shapeOf(located)));
  const { data } = located;
  const [batch, classes] = shape;
  for (let n = 0; n < batch * inner; n++) {
    const start = Math.floor(n / inner) * classes * inner + (n % inner);
    let sum = 0;
    for (let c = 0; c < classes; c++) {
      const value = data[start + c * inner];
      if (!(value >= 0 && value <= 1.001))
        throw wrongValue('ERR_LABEL', SUBJECT, `labels of row ${n}`, 'numbers from 0 to 1', show(value));
      sum += value;
    }
    if (!(Math.abs(sum - 1) <= 1e-3))
      throw wrongValue('ERR_LABEL', SUBJECT, `labels of row ${n}`, 'a sum of 1', show(sum));
  }
  return located;
}

/** The labels, as they were read, checked. */
function readLabels(
  given: unknown,
  labels: ArrayLike<number> | undefined,
  rows: number,
  classes: number,
  ignored?: number,
): ArrayLike<number> {
  if (!labels) throw wrongKind('ERR_TYPE', SUBJECT, 'labels', 'an array of class indices', show(given));
  if (labels.length !== rows) {
    throw wrongValue('ERR_SHAPE', SUBJECT, 'labels', `${rows} class indices, one per row`, `${labels.length}`);
  }
  checkLabels(SUBJECT, labels, classes, ignored);
  return labels;
}

/** Checks that labels are classes. */
function checkLabels(subject: string, labels: ArrayLike<number>, classes: number, ignored?: number): void {
  for (let n = 0; n < labels.length; n++) {
    const label = labels[n];
    if (ignored !== undefined && label === ignored) continue;
    if (!Number.isInteger(label) || label < 0 || label >= classes) {
      const also = ignored === undefined ? '' : `, or ${ignored} to ignore`;
      throw wrongValue('ERR_LABEL', subject, `labels[${n}]`, `an integer from 0 to ${classes - 1}${also}`, show(label));
    }
  }
}

/** Options of `accuracy` and `topK`. */
export interface AccuracyOptions {
  /** Rows with this label are left out. An integer; default: every label counts. */
  ignoreIndex?: number;
}

/**
 * The share of rows whose largest logit is that of their label, 0 to 1. Of equal logits the first
 * counts, and a row with NaN is wrong.
 *
 *     const share = accuracy(net.eval().forward(x), labels);
 *
 * @param logits `[N, classes]`, or probabilities
 * @param labels a class index per row
 * @throws ERR_LABEL for an index that is no class, and where no row is left; ERR_SHAPE, ERR_TYPE,
 *   ERR_OPTION, ERR_DISPOSED
 */
export function accuracy(logits: TensorLike, labels: Labels, options: AccuracyOptions = {}): number {
  return share('accuracy', logits, labels, 1, options);
}

/**
 * The share of rows whose label is among the `k` largest logits, 0 to 1. Of equal logits the first
 * count, and a row with NaN is wrong.
 *
 *     const share = topK(net.eval().forward(x), labels, 5);
 *
 * @param logits `[N, classes]`, or probabilities
 * @param labels a class index per row
 * @param k 1 to the number of classes
 * @throws as `accuracy`
 */
export function topK(logits: TensorLike, labels: Labels, k: number, options: AccuracyOptions = {}): number {
  return share('topK', logits, labels, k, options);
}

function share(subject: string, logits: TensorLike, labels: Labels, k: number, options: AccuracyOptions): number {
  const { ignoreIndex } = readSchema(subject, options, { ignoreIndex: ignoreIndexOption() });
  const located = locate(subject, 'logits', logits);
  const shape = shapeOf(located);
  const [rows, classes] = shape;
  if (shape.length !== 2 || rows < 1 || classes < 1)
    throw wrongValue('ERR_SHAPE', subject, 'logits', '[N, classes] with N of 1 or more', showShape(shape));
  if (!Number.isInteger(k) || k < 1 || k > classes)
    throw wrongValue('ERR_OPTION', subject, 'k', `an integer from 1 to ${classes}`, show(k));
  const list = listOf(labels) as ArrayLike<number> | undefined;
  if (!list) throw wrongKind('ERR_TYPE', subject, 'labels', 'an array of class indices', show(labels));
  if (list.length !== rows)
    throw wrongValue('ERR_SHAPE', subject, 'labels', `${rows} class indices, one per row`, `${list.length}`);
  checkLabels(subject, list, classes, ignoreIndex);
  const { data } = located;
  let [right, counted] = [0, 0];
  for (let n = 0; n < rows; n++) {
    const label = list[n];
    if (ignoreIndex !== undefined && label === ignoreIndex) continue;
    counted++;
    const own = data[n * classes + label];
    let before = 0;
    for (let c = 0; c < classes; c++) {
      const value = data[n * classes + c];
      if (Number.isNaN(value)) before = classes;
      if (value > own || (value === own && c < label)) before++;
    }
    if (before < k) right++;
  }
  if (counted === 0) throw wrongValue('ERR_LABEL', subject, 'labels', 'at least one that counts', 'none');
  return right / counted;
}
