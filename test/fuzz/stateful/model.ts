// What a model of a subject says of a call before it is made.

import type { Call } from './calls.ts';
import type { Instance, Outcome } from './instance.ts';

export interface Expectation {
  /** The call must throw an error with one of these codes. */
  readonly codes?: readonly string[];
  /** What is wrong with what came of it. */
  readonly check?: (outcome: Outcome) => string | undefined;
  /** Called when the call has been judged: the model takes note of it. */
  readonly note?: () => void;
  /** The model does not know whether the call may throw. */
  readonly unsure?: boolean;
}

export interface Model {
  /** Asked before the call; `instance` is as it was. */
  expect(call: Call, instance: Instance): Expectation | undefined;
}
