#!/usr/bin/env node
// npx evenkeel: looks into files of weights, folds their batch norm, converts them.

import { readFileSync } from 'node:fs';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { READERS, WRITERS } from '../weights/registry.ts';
import { type Report, UsageError, type Values } from './command.ts';
import { compile } from './compile.ts';
import { convert } from './convert.ts';
import { isStdout } from './files.ts';
import { fold } from './fold.ts';
import { inspect } from './inspect.ts';
import { FRAMEWORKS } from './weights-file.ts';

const HELP = `evenkeel: batch norm in files of weights

  evenkeel inspect FILE          tensors and normalization layers, and statistics that look wrong
  evenkeel fold IN OUT           folds batch norm (safetensors, ONNX); the rest is carried over byte for byte
  evenkeel compile IN OUT        a network (ONNX, Keras, TF.js) in evaluation form, folded and fused, for load of evenkeel/infer
  evenkeel convert IN OUT        another format, by the name of OUT: ${WRITERS.map(({ ends, example = ends }) => example).join(' ')}

  FILE and IN: ${Object.keys(READERS).join(', ')}
  (of safetensors also *.safetensors.index.json, of TF.js model.json, with the shards beside it; Keras, .keras and .h5, needs h5wasm)

options
  --json                         prints one line of JSON
  --progress                     shows how far reading and writing are, whatever the size
  --help, --version

fold, for safetensors, which hold no graph
  --pair NORM=LAYER              the layer that a norm follows, where names do not say it (again and again)
  --eps NUMBER or NORM=NUMBER    what was added to the variance: 1e-5, unless told
  --transposed LAYER             a transposed convolution

convert
  --from, --to NAME              whose names: ${FRAMEWORKS.join(', ')}. By default as the file says, and as OUT's format has them
  --rename NAME=OURS             a layer's name in OUT

compile
  --module                       a module beside OUT that loads it with the operations it needs

exit codes: 0 done, 1 a file that is wrong or cannot be written, 2 a wrong command`;

const OPTIONS = {
  json: { type: 'boolean' },
  progress: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
  pair: { type: 'string', multiple: true },
  eps: { type: 'string', multiple: true },
  transposed: { type: 'string', multiple: true },
  from: { type: 'string' },
  to: { type: 'string' },
  rename: { type: 'string', multiple: true },
  module: { type: 'boolean' },
} as const satisfies NonNullable<ParseArgsConfig['options']>;

/** Which options each command takes, beside those that all do. */
const TAKES: Record<
  string,
  { files: number; options: readonly string[]; run: (files: string[], values: Values) => Promise<Report> }
> = {
  inspect: { files: 1, options: [], run: inspect },
  fold: { files: 2, options: ['pair', 'eps', 'transposed'], run: fold },
  compile: { files: 2, options: ['module'], run: compile },
  convert: { files: 2, options: ['from', 'to', 'rename'], run: convert },
};

async function main(): Promise<void> {
  const { values, positionals } = parse();
  if (values.version)
    return print(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version);
  if (values.help) return print(HELP);
  const [name, ...files] = positionals;
  if (name === undefined) throw new UsageError('which command? evenkeel --help lists them');
  const command = Object.hasOwn(TAKES, name) ? TAKES[name] : undefined;
  if (!command) throw new UsageError(`no command '${name}'; evenkeel --help lists them`);
  if (files.length !== command.files)
    throw new UsageError(`${name} takes ${command.files} file${command.files > 1 ? 's' : ''}, not ${files.length}`);
  const other = Object.keys(values).find((option) => !['json', 'progress', ...command.options].includes(option));
  if (other) throw new UsageError(`${name} takes no --${other}`);
  const { lines, data, wrong } = await command.run(files, values);
  const text = values.json ? JSON.stringify(data) : lines.map(cleaned).join('\n');
  // what is written to may be where lines go
  if (files.length > 1 && isStdout(files[1])) process.stderr.write(`${text}\n`);
  else print(text);
  if (wrong) throw wrong;
}

function parse() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.split('\n')[0]);
  }
}

/** Names in files may hold anything; a terminal is to see lines of ours alone. */
function cleaned(line: string): string {
  return Array.from(line, (c) => (c < ' ' || (c >= '\u007f' && c < '\u00a0') ? '?' : c)).join('');
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

// a pipe whose reader has ended (| head) is no error
process.stdout.on('error', () => process.exit(0));

main().catch((error: Error) => {
  process.stderr.write(`evenkeel: ${cleaned(error.message.split('\n')[0])}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
});
