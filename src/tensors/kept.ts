import { wrongMoment } from '../errors.ts';
import { locate } from './call.ts';
import type { TensorLike } from './tensor.ts';

/** What a layer keeps of a forward for its backward: the inputs, and which of them have been written over since. */
export class Kept<Name extends string> {
  readonly #subject: string;
  readonly #inputs: Readonly<Record<Name, TensorLike | undefined>>;
  #lost: { name: Name; by: 'forward' | 'backward' } | undefined;

  /** @param inputs located tensors, by name */
  constructor(subject: string, inputs: Readonly<Record<Name, TensorLike | undefined>>) {
    this.#subject = subject;
    this.#inputs = inputs;
  }

  /** Notes that an input was written over, if one was. */
  lose(name: Name | undefined, by: 'forward' | 'backward'): void {
    if (name !== undefined) this.#lost ??= { name, by };
  }

  /** Throws ERR_MODE if an input was written over, ERR_DISPOSED if one was disposed. */
  check(): void {
    if (this.#lost) {
      const { name, by } = this.#lost;
      throw wrongMoment('ERR_MODE', {
        subject: this.#subject,
        argument: 'backward',
        expected: `the ${name} of the last forward`,
        got: `one that ${by} wrote over (out: ${name})`,
      });
    }
    for (const name in this.#inputs) this.#find(name);
  }

  /** An input as it was given. */
  take(name: Name): TensorLike {
    return this.#find(name)!;
  }

  /** An input that there need not be. */
  takeOptional(name: Name): TensorLike | undefined {
    return this.#find(name);
  }

  #find(name: Name): TensorLike | undefined {
    const x = this.#inputs[name];
    return x === undefined ? undefined : locate(this.#subject, `backward: the ${name} of the last forward`, x);
  }
}

/** The inputs of the last forward, after checking that there was one and that they are still there. */
export function checkKept<Name extends string>(subject: string, kept: Kept<Name> | undefined): Kept<Name> {
  if (!kept) {
    throw wrongMoment('ERR_MODE', { subject, argument: 'backward', expected: 'the input of a forward', got: 'none' });
  }
  kept.check();
  return kept;
}
