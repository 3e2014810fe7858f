// evenkeel inspect FILE

import { basename } from 'node:path';
import { wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { Report, Values } from './command.ts';
import { type NormReport, normReports } from './norm-reports.ts';
import { openWeights, type WeightsFile } from './weights-file.ts';

/** What is understood without names: a graph, an array alone. */
const NAMELESS: readonly string[] = ['ONNX', 'NPY'];

const TRAINING = 'in training mode: it takes the statistics of each batch, not these';

/** How many names a list shows to people; programs get all. */
const MOST_NAMES = 20;

export async function inspect([path]: string[], { progress }: Values): Promise<Report> {
  const file = await openWeights(path, progress);
  if (file.isCompiled) return inspectCompiled(path, file);
  const imported = file.import({ allowNonFinite: true, lenient: true });
  const { missing, unused } = imported;
  const other = new Set(
    file.otherNorms.map((text) =>
      text
        .slice(text.indexOf(' ') + 1)
        .replace(/ \(.*\)$/, '')
        .replaceAll('/', '.'),
    ),
  );
  const training = new Set(imported.training);
  const norms = normReports(imported)
    // one with statistics may share its name with a norm inside another node
    .filter(({ name, kind }) => kind === 'batch norm' || !other.has(name))
    .map((norm) =>
      training.has(norm.name) && norm.kind === 'batch norm'
        ? { ...norm, findings: [...norm.findings, TRAINING] }
        : norm,
    );
  const marked = new Set(norms.flatMap(({ name, kind }) => (kind === 'batch norm' ? [name] : [])));
  const others = [...training].filter((name) => !marked.has(name));
  const tensors = tensorsOf(file);
  const wrong = norms.reduce((sum, { findings }) => sum + findings.length, others.length);
  const count = norms.length + file.otherNorms.length;
  const lines = [
    ...tableOf(`${basename(path)}: ${file.kind}${filesOf(file)}, ${file.framework} names`, tensors),
    '',
    plural(count, 'normalization layer'),
    ...norms.flatMap((norm) => [
      `  ${norm.name || '(the whole file)'}: ${norm.kind}, ${norm.channels} channels${norm.kind === 'batch norm' ? optionsOf(norm) : ''}`,
      ...norm.findings.map((finding) => `    ! ${finding}`),
    ]),
    ...file.otherNorms.map((one) => `  ${one}`),
    ...missing.map((name) => `  ! missing: ${name}`),
    ...listed(others, 'in training mode'),
    ...listed(unused, 'not known what it is'),
    verdict(norms, wrong, missing.length, unused.length),
  ];
  const { kind, framework, otherNorms } = file;
  const understood = count > 0 || Object.keys(imported.state).length > 0 || NAMELESS.includes(kind);
  return {
    lines,
    data: {
      file: path,
      kind,
      framework,
      tensors,
      norms,
      otherNorms,
      missing,
      unused,
      training: [...training],
      findings: wrong,
    },
    ...(!understood && { wrong: unknown('inspect', path, unused) }),
  };
}

interface Row {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

const tensorsOf = ({ tensors }: WeightsFile): Row[] =>
  [...tensors].map(([name, { dtype = 'F32', shape }]) => ({ name, dtype, shape }));

/** Tensors as a table, below what the file is. */
function tableOf(head: string, tensors: readonly Row[]): string[] {
  const values = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1), 0);
  return [
    `${head}, ${plural(tensors.length, 'tensor')}, ${values.toLocaleString('en')} values`,
    '',
    ...columns([
      ['tensor', 'type', 'shape'],
      ...tensors.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
    ]),
  ];
}

/** A compiled network: steps with folded weights, of which none is a layer or a norm any more. */
function inspectCompiled(path: string, file: WeightsFile): Report {
  const tensors = tensorsOf(file);
  const head = `${basename(path)}: ${file.kind}, a compiled network of evenkeel: load() of evenkeel/infer runs it`;
  return { lines: tableOf(head, tensors), data: { file: path, kind: file.kind, compiled: true, tensors } };
}

/** The files that belong to a file, after its kind. */
function filesOf({ kind, files }: WeightsFile): string {
  if (!files) return '';
  return kind === 'ONNX' ? ` with ${[...files.keys()].join(', ')}` : ` in ${plural(files.size, 'shard')}`;
}

/** A file in which nothing has a name that is known. */
export function unknown(command: string, path: string, names: readonly string[]): Error {
  const some = names.slice(0, 4).map(quote).join(', ');
  const got = names.length > 4 ? `${some}, …` : some;
  return wrongValue('ERR_FORMAT', command, basename(path), 'names of layers and norms that are known', got || 'none');
}

/** Statistics are sound only where there are some, all of them, and nothing is wrong with one. */
function verdict(norms: readonly NormReport[], wrong: number, missing: number, unused: number): string {
  const found = [...(wrong ? [plural(wrong, 'finding')] : []), ...(missing ? [`${missing} missing`] : [])];
  if (found.length) return found.join(', ');
  if (!norms.some(({ kind }) => kind === 'batch norm')) return 'no statistics to look at';
  return unused ? 'statistics of what is known look sound' : 'statistics look sound';
}

function listed(names: readonly string[], what: string): string[] {
  const shown = names.slice(0, MOST_NAMES).map((name) => `  ! ${what}: ${name}`);
  const rest = names.length - shown.length;
  return rest > 0 ? [...shown, `  ! … and ${rest} more: --json lists them`] : shown;
}

function plural(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}

/** The options of a norm; those that the file does not say are marked. */
function optionsOf({ options: { eps, momentum, runningVariance, layout }, assumed }: NormReport): string {
  const mark = (option: string) => (assumed.includes(option) ? ' (assumed)' : '');
  return [
    `, eps ${eps}${mark('eps')}`,
    `, momentum ${momentum}${mark('momentum')}`,
    `, ${runningVariance} variance${mark('runningVariance')}`,
    `, ${layout}${mark('layout')}`,
  ].join('');
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, i) => rows.reduce((most, row) => Math.max(most, row[i].length), 0));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join('  ')}`.trimEnd());
}
