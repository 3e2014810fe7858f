#!/usr/bin/env node
// npx evenkeel: looks into files of weights, folds their batch norm, converts them.

import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { show, wrongValue } from '../errors.ts';
import { checkPair } from '../weights/fold-safetensors.ts';
import {
  foldOnnx,
  foldSafetensors,
  loadSequential,
  toFlax,
  toKeras,
  toOnnx,
  toTfjs,
  toTorch,
  writeKeras,
  writeNpz,
  writeSafetensors,
  writeTfjs,
} from '../weights/index.ts';
import { withNorms } from '../weights/stored-norms.ts';
import { writeFileWhole } from './files.ts';
import { FRAMEWORKS, type Framework, importAs, normReports, openWeights, type WeightsFile } from './weights-file.ts';

const HELP = `evenkeel: batch norm in files of weights

  evenkeel inspect FILE          tensors and normalization layers, and statistics that look wrong
  evenkeel fold IN OUT           folds batch norm (safetensors, ONNX); the rest is carried over byte for byte
  evenkeel convert IN OUT        another format, by the name of OUT: .safetensors .npz .onnx .weights.h5 model.json

  FILE and IN: safetensors, NPZ, NPY, ONNX, TF.js (model.json), Keras (.keras, .h5; needs h5wasm)

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

exit codes: 0 done, 1 a file that is wrong or cannot be written, 2 a wrong command`;

class UsageError extends Error {}

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
} as const satisfies NonNullable<ParseArgsConfig['options']>;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

/** Which options each command takes, beside those that all do. */
const TAKES: Record<
  string,
  { files: number; options: readonly string[]; run: (files: string[], values: Values) => Promise<Report> }
> = {
  inspect: { files: 1, options: [], run: inspect },
  fold: { files: 2, options: ['pair', 'eps', 'transposed'], run: fold },
  convert: { files: 2, options: ['from', 'to', 'rename'], run: convert },
};

/** What a command says: as lines for people, as data for programs. */
interface Report {
  readonly lines: readonly string[];
  readonly data: unknown;
}

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
  const { lines, data } = await command.run(files, values);
  print(values.json ? JSON.stringify(data) : lines.map(cleaned).join('\n'));
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

async function inspect([path]: string[], { progress }: Values): Promise<Report> {
  const file = await openWeights(path, progress);
  const imported = file.import({ allowNonFinite: true, lenient: true });
  const norms = normReports(imported);
  const tensors = [...file.tensors].map(([name, tensor]) => ({
    name,
    dtype: tensor.dtype ?? 'F32',
    shape: tensor.shape,
  }));
  const values = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1), 0);
  const wrong = norms.reduce((sum, { findings }) => sum + findings.length, 0);
  const unread = file.framework === 'keras' ? imported.unused.filter((name) => /\/vars\/\d+$/.test(name)) : [];
  const assumed = file.saysOptions ? '' : ` (${file.framework} defaults: the file does not say)`;
  const lines = [
    `${basename(path)}: ${file.kind}, ${file.framework} names, ${tensors.length} tensors, ${values.toLocaleString('en')} values`,
    '',
    ...columns([
      ['tensor', 'type', 'shape'],
      ...tensors.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
    ]),
    '',
    `${norms.length} batch norm${norms.length === 1 ? '' : 's'}`,
    ...norms.flatMap(({ name, channels, options, findings }) => [
      `  ${name || '(the whole file)'}: ${channels} channels, eps ${options.eps}, momentum ${options.momentum}, ${options.runningVariance} variance${assumed}`,
      ...findings.map((finding) => `    ! ${finding}`),
    ]),
    ...imported.missing.map((name) => `  ! missing: ${name}`),
    ...unread.map((name) => `  ! not known what it is: ${name}`),
    wrong ? `${wrong} finding${wrong === 1 ? '' : 's'}` : 'statistics look sound',
  ];
  return {
    lines,
    data: {
      file: path,
      kind: file.kind,
      framework: file.framework,
      tensors,
      norms,
      missing: imported.missing,
      findings: wrong,
    },
  };
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join('  ')}`.trimEnd());
}

async function fold([input, output]: string[], { pair = [], eps = [], transposed, progress }: Values): Promise<Report> {
  const file = await openWeights(input, progress);
  if (file.kind !== 'safetensors' && file.kind !== 'ONNX') {
    throw wrongValue('ERR_FORMAT', {
      subject: 'fold',
      argument: basename(input),
      expected: 'a safetensors or ONNX file',
      got: file.kind,
    });
  }
  if (
    !output.endsWith(file.kind === 'ONNX' ? '.onnx' : '.safetensors') &&
    /\.(?:onnx|safetensors|npz|npy|h5|keras|json)$/.test(output)
  ) {
    throw new UsageError(`fold writes what it reads, here ${file.kind}: ${basename(output)} is another format`);
  }
  if (file.kind === 'ONNX' && (pair.length || eps.length || transposed))
    throw new UsageError('an ONNX model says itself what follows what, and its eps');
  const result =
    file.kind === 'ONNX'
      ? foldOnnx(file.bytes)
      : foldSafetensors(file.bytes, { pairs: Object.fromEntries(pair.map(checkPair)), eps: epsFrom(eps), transposed });
  await writeFileWhole(output, result.file, progress);
  const { folded, kept } = result;
  const lines = [
    ...folded.map(
      ({ norm, into, side, channels, eps: added, rounding, note }) =>
        `${norm} → ${into}: ${channels} channels, ${side} it, eps ${added}, rounding at most ${rounding.toExponential(1)} per unit of input${note ? `; ${note}` : ''}`,
    ),
    ...kept.map(({ norm, reason }) => `${norm} stays: ${reason}`),
    `${folded.length} folded, ${kept.length} left; ${file.bytes.length.toLocaleString('en')} → ${result.file.length.toLocaleString('en')} bytes`,
    ...(file.kind === 'safetensors' && folded.length
      ? ['names say which layer a norm follows: check the pairs above']
      : []),
  ];
  return {
    lines,
    data: { in: input, out: output, kind: file.kind, folded, kept, bytes: [file.bytes.length, result.file.length] },
  };
}

function epsFrom(given: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    given.map((text) => {
      const [norm, value] = text.includes('=') ? checkPair(text) : ['*', text];
      if (value.trim() === '' || !(Number(value) >= 0))
        throw new UsageError(`--eps takes a number of 0 or more, not ${show(value)}`);
      return [norm, Number(value)];
    }),
  );
}

const FORMATS: readonly { readonly ends: string; readonly to: Framework }[] = [
  { ends: '.safetensors', to: 'torch' },
  { ends: '.npz', to: 'torch' },
  { ends: '.onnx', to: 'onnx' },
  { ends: '.h5', to: 'keras' },
  { ends: '.json', to: 'tfjs' },
];

async function convert([input, output]: string[], { from, to, rename = [], progress }: Values): Promise<Report> {
  const format = FORMATS.find(({ ends }) => output.endsWith(ends));
  if (!format)
    throw new UsageError(
      `${basename(output)}: a name in ${FORMATS.map(({ ends }) => ends).join(', ')} says the format`,
    );
  const target = frameworkFrom('to', to) ?? format.to;
  const source = frameworkFrom('from', from);
  const file = await openWeights(input, progress);
  const names = Object.fromEntries(rename.map(checkPair));
  if (format.ends === '.onnx') {
    if (source || to || rename.length)
      throw new UsageError('a network becomes an ONNX model as a whole: no --from, --to or --rename');
    if (file.kind !== 'ONNX' && file.kind !== 'Keras') {
      throw wrongValue('ERR_FORMAT', {
        subject: 'convert',
        argument: basename(input),
        expected: 'an ONNX or Keras file, which has a graph',
        got: file.kind,
      });
    }
    const net = await loadSequential(file.bytes);
    await writeFileWhole(output, toOnnx(net), progress);
    return {
      lines: [`${net.layers.length} layers → ${output}`],
      data: { in: input, out: output, layers: net.layers.map(({ subject }) => subject) },
    };
  }
  if (target === 'onnx') throw new UsageError('only an .onnx file has ONNX names');
  if ((format.ends === '.h5' && target !== 'keras') || (format.ends === '.json' && target !== 'tfjs'))
    throw new UsageError(`a ${format.ends} file has ${format.to} names`);
  const imported =
    source && source !== file.framework && source !== 'onnx'
      ? importAs(source, file.tensors, { rename: names })
      : file.import({ rename: names });
  const { state, unused } = imported;
  const tensors = { torch: toTorch, keras: toKeras, flax: toFlax, tfjs: toTfjs }[target](state);
  if (format.ends === '.safetensors') {
    const metadata = { ...(target === 'torch' && { format: 'pt' }), ...withNorms(imported.norms) };
    await writeFileWhole(output, writeSafetensors(tensors, metadata), progress);
  } else if (format.ends === '.npz') await writeFileWhole(output, writeNpz(tensors), progress);
  else if (format.ends === '.h5') await writeFileWhole(output, await writeKeras(tensors), progress);
  else {
    const files = writeTfjs(tensors, null, `${basename(output, '.json')}.group1-shard1of1`);
    // the model last: it is what says that the shards are there
    for (const [name, bytes] of [...files].reverse())
      await writeFileWhole(name === 'model.json' ? output : join(dirname(output), name), bytes, progress);
  }
  return {
    lines: [
      `${tensors.size} tensors → ${output}, ${target} names`,
      ...widened(file.tensors),
      ...unused.map((name) => `not used: ${name}`),
    ],
    data: { in: input, out: output, to: target, tensors: [...tensors.keys()], unused, missing: imported.missing },
  };
}

/** Types that are written as others. */
function widened(tensors: WeightsFile['tensors']): string[] {
  const small = [...new Set([...tensors.values()].map(({ dtype }) => dtype))].filter(
    (dtype) => dtype === 'F16' || dtype === 'BF16',
  );
  return small.length ? [`${small.join(' and ')} became F32: the same values in more bytes`] : [];
}

function frameworkFrom(option: string, value: string | undefined): Framework | undefined {
  if (value === undefined) return undefined;
  const found = FRAMEWORKS.find((name) => name === value);
  if (!found) throw new UsageError(`--${option} takes ${FRAMEWORKS.join(', ')}, not ${show(value)}`);
  return found;
}

// a pipe that nobody reads any more (| head) is no error
process.stdout.on('error', () => process.exit(0));

main().catch((error: Error) => {
  process.stderr.write(`evenkeel: ${cleaned(error.message.split('\n')[0])}\n`);
  process.exitCode = error instanceof UsageError || (error as { code?: string }).code === 'ERR_OPTION' ? 2 : 1;
});
