import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { locate, makeLike } from '../tensors/call.ts';
import { shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import { listOf } from '../typed-arrays.ts';

/** Class indices: one integer per row. */
export type Labels = readonly number[] | Int32Array | Uint32Array | Uint8Array | Uint16Array | Int8Array | Int16Array;

const SUBJECT = 'crossEntropy';

/**
 * Softmax cross entropy, the mean over the batch: −1/N·Σₙ ln softmax(logits[n])[labels[n]], in f64.
 *
 * @param logits `[N, classes]`, N ≥ 1
 * @param labels N class indices
 * @returns `loss`, and `grad`: its gradient with respect to the logits, where they live. For logits in a Tensor, `grad` belongs to that
 *   tensor: it is disposed with it, and the next crossEntropy on it writes over it
 * @throws ERR_SHAPE, ERR_TYPE, ERR_LABEL, ERR_DISPOSED
 */
export function crossEntropy<X extends TensorLike>(logits: X, labels: Labels): { loss: number; grad: Result<X> } {
  const given = locate(SUBJECT, 'logits', logits);
  const shape = shapeOf(given);
  const [rows, classes] = shape;
  if (shape.length !== 2 || rows < 1 || classes < 1) {
    throw wrongValue('ERR_SHAPE', SUBJECT, 'logits', '[N, classes] with N of 1 or more', showShape(shape));
  }
  const classOf = readLabels(labels, rows, classes);
  const grad = logits instanceof Tensor ? (logits.companion as Result<X>) : makeLike(logits, shape);
  const x = given.data;
  const g = (grad as TensorLike).data;
  let loss = 0;
  for (let n = 0; n < rows; n++) {
    const start = n * classes;
    let most = x[start];
    for (let c = 1; c < classes; c++) if (!(x[start + c] <= most)) most = x[start + c];
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp(x[start + c] - most);
    loss += Math.log(sum) + most - x[start + classOf[n]];
    for (let c = 0; c < classes; c++)
      g[start + c] = (Math.exp(x[start + c] - most) / sum - (c === classOf[n] ? 1 : 0)) / rows;
  }
  return { loss: loss / rows, grad };
}

/** The labels, read once and checked. */
function readLabels(given: Labels, rows: number, classes: number): ArrayLike<number> {
  const labels = listOf(given) as ArrayLike<number> | undefined;
  if (!labels) throw wrongKind('ERR_TYPE', SUBJECT, 'labels', 'an array of class indices', show(given));
  if (labels.length !== rows) {
    throw wrongValue('ERR_SHAPE', SUBJECT, 'labels', `${rows} class indices, one per row`, `${labels.length}`);
  }
  for (let n = 0; n < rows; n++) {
    const label = labels[n];
    if (!Number.isInteger(label) || label < 0 || label >= classes) {
      throw wrongValue('ERR_LABEL', SUBJECT, `labels[${n}]`, `an integer from 0 to ${classes - 1}`, show(label));
    }
  }
  return labels;
}
