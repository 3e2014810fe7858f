import { wrongMoment } from '../errors.ts';
import { locate, sameMemory } from './call.ts';
import type { TensorLike } from './tensor.ts';

/** What a layer keeps of a forward for its backward: the inputs, and which of them has been written over since. */
export class Kept<Inputs extends Readonly<Record<string, TensorLike | undefined>>> {
  /** Located tensors, by name; good after `check`. */
  readonly inputs: Inputs;
  readonly #subject: string;
  #lost: { name: string; by: 'forward' | 'backward' } | undefined;

  constructor(subject: string, inputs: Inputs) {
    this.#subject = subject;
    this.inputs = inputs;
  }

  /** Notes an output that was written: an input in whose memory it lies is lost. */
  noteOutput(out: TensorLike, by: 'forward' | 'backward'): void {
    for (const name in this.inputs) {
      const x = this.inputs[name];
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
    for (const name in this.inputs) {
      const x = this.inputs[name];
      if (x) locate(this.#subject, `backward: the ${name} of the last forward`, x);
    }
  }
}

/** The inputs of the last forward, after checking that there was one and that they are still there. */
export function checkKept<K extends { check(): void }>(subject: string, kept: K | undefined): K {
  if (!kept) throw noForward(subject);
  kept.check();
  return kept;
}

/** The error for a backward without a forward. */
export function noForward(subject: string): Error {
  return wrongMoment('ERR_MODE', subject, 'backward', 'a forward before it', 'none');
}
