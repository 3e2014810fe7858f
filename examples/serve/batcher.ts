import { type Compiled, type Tensor, zeros } from 'evenkeel';
import { CLASSES, PIXELS } from './model.ts';

interface Waiting {
  readonly image: Float32Array;
  readonly resolve: (logits: Float32Array) => void;
  readonly reject: (error: Error) => void;
}

/** A server that is asked for more than it can do says so. */
export class Overloaded extends Error {}

/**
 * Runs images that wait at the same time as one batch. Requests gather while the event loop reads
 * them from their sockets; one alone does not wait for company.
 */
export class Batcher {
  readonly #run: Compiled;
  readonly #mostRows: number;
  readonly #mostWaiting: number;
  /**
   * Input and output of every batch size, over the same memory as the largest: nothing is made
   * while requests are served.
   */
  readonly #inputs: readonly Tensor[];
  readonly #outputs: readonly Tensor[];
  #queue: Waiting[] = [];
  #scheduled = false;
  batches = 0;
  images = 0;

  constructor(run: Compiled, mostRows: number, mostWaiting = 1024) {
    this.#run = run;
    this.#mostRows = mostRows;
    this.#mostWaiting = mostWaiting;
    const sizes = Array.from({ length: mostRows }, (_, i) => i + 1);
    this.#inputs = sizes.map((rows) => zeros([rows, PIXELS]));
    this.#outputs = sizes.map((rows) => zeros([rows, CLASSES]));
  }

  /** The logits of one image, `[784]`. */
  predict(image: Float32Array): Promise<Float32Array> {
    if (this.#queue.length >= this.#mostWaiting) return Promise.reject(new Overloaded('too many images are waiting'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ image, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // after the sockets that have something to read now
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const batch = this.#queue.splice(0, this.#mostRows);
    const input = this.#inputs[batch.length - 1];
    const output = this.#outputs[batch.length - 1];
    try {
      batch.forEach(({ image }, i) => {
        input.data.set(image, i * PIXELS);
      });
      this.#run(input, { out: output });
      this.batches++;
      this.images += batch.length;
      const { data } = output;
      batch.forEach(({ resolve }, i) => {
        resolve(data.slice(i * CLASSES, (i + 1) * CLASSES));
      });
    } catch (error) {
      for (const { reject } of batch) reject(error as Error);
    }
    if (this.#queue.length) this.#schedule();
  }
}
