import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * The command line's options; what is not one of them ends the program with a sentence and exit
 * code 2.
 */
export function readArguments<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>>['values'] {
  try {
    return parseArgs(config).values;
  } catch (error) {
    const known = Object.keys(config.options ?? {}).map((name) => `--${name}`);
    console.error(`${(error as Error).message}\noptions: ${known.join(', ')}`);
    process.exit(2);
  }
}
