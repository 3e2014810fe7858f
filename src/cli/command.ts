// What commands share.

/** A command that was given wrongly: exit code 2. */
export class UsageError extends Error {}

/** What a command says: as lines for people, as data for programs. */
export interface Report {
  readonly lines: readonly string[];
  readonly data: unknown;
  /** What is wrong with the file, where that leaves something to say of it. */
  readonly wrong?: Error;
}

/**
 * Runs what takes options of the command line: where one of them is refused, the command was wrong
 * and not the file.
 */
export async function withOptions<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_OPTION') throw new UsageError((error as Error).message);
    throw error;
  }
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
  readonly module?: boolean;
  readonly f16?: boolean;
  readonly input?: string[];
  readonly size?: string;
  readonly mean?: string;
  readonly std?: string;
  readonly layout?: string;
  readonly labels?: string;
  readonly top?: string;
  readonly profile?: boolean;
  readonly threads?: string;
  readonly store?: string;
  readonly out?: string;
  readonly connection?: string;
  readonly queue?: string;
  readonly lock?: string;
}
