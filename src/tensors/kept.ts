import { wrongMoment } from '../errors.ts';
import { locate, sameMemory } from './call.ts';
import type { ResolvedInputs } from './route.ts';
import type { TensorLike } from './tensor.ts';

/**
 * What a layer keeps of a forward for its backward: what it found out, the inputs, and which of
 * them has been written over since.
 */
export class Kept<P> {
  readonly pass: P;
  /** The inputs of the forward, by name; good after `check`. */
  readonly inputs: Partial<ResolvedInputs>;
  readonly #subject: string;
  #lost: { name: string; by: 'forward' | 'backward' } | undefined;

  constructor(subject: string, pass: P, inputs: Partial<ResolvedInputs>) {
    this.#subject = subject;
    this.pass = pass;
    this.inputs = inputs;
  }

  /** Notes an output that was written: an input in whose memory it lies is lost. */
  noteOutput(out: TensorLike, by: 'forward' | 'backward'): void {
    const { inputs } = this;
    for (const name in inputs) {
      const x = inputs[name as keyof ResolvedInputs];
      if (x && sameMemory(out, x) && x.data.length > 0) this.#lost ??= { name, by };
    }
  }

  /** Throws ERR_MODE if an input was written over, ERR_DISPOSED if one was disposed. */
  check(): void {
    if (this.#lost) {
      const { name, by } = this.#lost;
      throw wrongMoment(
        'ERR_MODE',
        this.#subject,
        'backward',
        `the ${name} of the last forward`,
        `one that ${by} wrote over (out: ${name})`,
      );
    }
    const { inputs } = this;
    for (const name in inputs) {
      const x = inputs[name as keyof ResolvedInputs];
      if (x) locate(this.#subject, `backward: the ${name} of the last forward`, x);
    }
  }
}

/** The error for a backward without a forward. */
export function noForward(subject: string): Error {
  return wrongMoment('ERR_MODE', subject, 'backward', 'a forward before it', 'none');
}
