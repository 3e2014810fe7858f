// evenkeel inspect FILE

import { basename } from 'node:path';
import type { Report, Values } from './command.ts';
import { type NormReport, normReports, openWeights } from './weights-file.ts';

export async function inspect([path]: string[], { progress }: Values): Promise<Report> {
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
  const lines = [
    `${basename(path)}: ${file.kind}, ${file.framework} names, ${tensors.length} tensors, ${values.toLocaleString('en')} values`,
    '',
    ...columns([
      ['tensor', 'type', 'shape'],
      ...tensors.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
    ]),
    '',
    `${norms.length + file.otherNorms.length} normalization layer${norms.length + file.otherNorms.length === 1 ? '' : 's'}`,
    ...norms.flatMap((norm) => [
      `  ${norm.name || '(the whole file)'}: ${norm.kind}, ${norm.channels} channels${norm.kind === 'batch norm' ? optionsOf(norm) : ''}`,
      ...norm.findings.map((finding) => `    ! ${finding}`),
    ]),
    ...file.otherNorms.map((other) => `  ${other}`),
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
      otherNorms: file.otherNorms,
      missing: imported.missing,
      findings: wrong,
    },
  };
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
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join('  ')}`.trimEnd());
}
