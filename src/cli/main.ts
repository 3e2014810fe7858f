#!/usr/bin/env node
// npx evenkeel: looks into files of weights, folds their batch norm, converts them.

import { readFileSync } from 'node:fs';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { READERS, WRITERS } from '../weights/registry.ts';
import { bench } from './bench.ts';
import { check } from './check.ts';
import { type Report, UsageError, type Values } from './command.ts';
import { compile } from './compile.ts';
import { convert } from './convert.ts';
import { isStdout } from './files.ts';
import { fold } from './fold.ts';
import { inspect } from './inspect.ts';
import { run } from './run.ts';
import { merge, shard, worker } from './shards.ts';
import { FRAMEWORKS } from './weights-file.ts';

const HELP = `evenkeel: batch norm in files of weights, and the networks around it

  evenkeel inspect FILE          tensors and normalization layers, and statistics that look wrong
  evenkeel fold IN OUT           folds batch norm (safetensors, ONNX); the rest is carried over byte for byte
  evenkeel compile IN OUT        a network (ONNX, Keras, TF.js) in evaluation form, folded and fused, for load of evenkeel/infer
  evenkeel check FILE            does a network run here? Operators and layers that are missing, weights, multiply-adds
  evenkeel run FILE              a network on a picture, an array or random numbers
  evenkeel bench FILE            how long a run takes: median, spread, per second
  evenkeel convert IN OUT        another format, by the name of OUT: ${WRITERS.map(({ ends, example = ends }) => example).join(' ')}
  evenkeel shard MANIFEST INDEX  one shard of a run: its part goes into a store
  evenkeel merge MANIFEST        all parts of a run as one result
  evenkeel worker TASK           computes shards of a queue (BullMQ), until SIGTERM

  FILE and IN: ${Object.keys(READERS).join(', ')}
  (of safetensors also *.safetensors.index.json, of TF.js model.json, with the shards beside it; Keras, .keras and .h5, needs h5wasm;
  for check, run, bench and compile also Keras' JSON config with its weights beside it, and scripts with TF.js models)

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
  --f16                          weights in half precision: half the size, worked with in float32

run and bench
  --input FILE or NAME=FILE      .png (others with sharp), .npy, .json, or random: what an input is given
  --size HEIGHTxWIDTH            of an image whose size is not fixed
  --mean, --std NUMBER or R,G,B  of a picture: (value/255 - mean)/std; 0 and 1, unless told
  --layout nchw or nhwc          where the channels of a picture lie: by the shape of the input, unless told
  --labels FILE, --top NUMBER    run: names of classes, one a line; how many of the largest are shown, 5 unless told
  --profile                      run: the time of each step
  --threads NUMBER or auto       bench: 1, unless told

shard, merge and worker
  --store FOLDER                 where parts lie: 'parts' beside MANIFEST, unless told; of worker, results of more than 64 kB
  --out FILE                     merge: the result; MANIFEST.result, unless told
  --connection URL               worker: redis://HOST:PORT or postgres://USER@HOST/DATABASE
  --queue NAME                   worker: evenkeel, unless told
  --threads NUMBER               worker: shards at a time: 1, unless told
  --lock MILLISECONDS            worker: without a sign of life for so long, a shard goes to another: 30000, unless told

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
  f16: { type: 'boolean' },
  input: { type: 'string', multiple: true },
  size: { type: 'string' },
  mean: { type: 'string' },
  std: { type: 'string' },
  layout: { type: 'string' },
  labels: { type: 'string' },
  top: { type: 'string' },
  profile: { type: 'boolean' },
  threads: { type: 'string' },
  store: { type: 'string' },
  out: { type: 'string' },
  connection: { type: 'string' },
  queue: { type: 'string' },
  lock: { type: 'string' },
} as const satisfies NonNullable<ParseArgsConfig['options']>;

/** Options of what is run on something. */
const INPUTS = ['input', 'size', 'mean', 'std', 'layout'];

/** Which options each command takes, beside those that all do. */
const TAKES: Record<
  string,
  { takes: string; options: readonly string[]; run: (files: string[], values: Values) => Promise<Report> }
> = {
  inspect: { takes: 'FILE', options: [], run: inspect },
  fold: { takes: 'IN OUT', options: ['pair', 'eps', 'transposed'], run: fold },
  compile: { takes: 'IN OUT', options: ['module', 'f16'], run: compile },
  check: { takes: 'FILE', options: [], run: check },
  run: { takes: 'FILE', options: [...INPUTS, 'labels', 'top', 'profile'], run },
  bench: { takes: 'FILE', options: [...INPUTS, 'threads'], run: bench },
  convert: { takes: 'IN OUT', options: ['from', 'to', 'rename'], run: convert },
  shard: { takes: 'MANIFEST INDEX', options: ['store'], run: shard },
  merge: { takes: 'MANIFEST', options: ['store', 'out'], run: merge },
  worker: { takes: 'TASK', options: ['connection', 'queue', 'store', 'threads', 'lock'], run: worker },
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
  const { length } = command.takes.split(' ');
  if (files.length !== length) throw new UsageError(`${name} takes ${command.takes}: ${length}, not ${files.length}`);
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
