import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * The command line's options, which `--help` prints; what is not one of them ends the program with
 * a sentence and exit code 2.
 */
export function readArguments<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>>['values'] {
  const { options = {} } = config;
  const known = Object.entries(options).map(([name, { type }]) => `--${name}${type === 'string' ? ' VALUE' : ''}`);
  const help = `options: ${known.join(', ')}`;
  if (!('help' in options) && process.argv.includes('--help')) {
    console.log(help);
    process.exit(0);
  }
  try {
    return parseArgs(config).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n${help}`);
    process.exit(2);
  }
}
