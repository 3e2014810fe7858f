// What commands share.

/** A command that was given wrongly: exit code 2. */
export class UsageError extends Error {}

/** What a command says: as lines for people, as data for programs. */
export interface Report {
  readonly lines: readonly string[];
  readonly data: unknown;
}

/** Options as the command line gives them. */
export interface Values {
  readonly progress?: boolean;
  readonly pair?: string[];
  readonly eps?: string[];
  readonly transposed?: string[];
  readonly from?: string;
  readonly to?: string;
  readonly rename?: string[];
}
