// evenkeel fold IN OUT

import { basename } from 'node:path';
import { show, wrongValue } from '../errors.ts';
import { checkPair } from '../weights/fold-safetensors.ts';
import { foldOnnx, foldSafetensors } from '../weights/index.ts';
import { type Report, UsageError, type Values } from './command.ts';
import { writeFileWhole } from './files.ts';
import { openWeights } from './weights-file.ts';

export async function fold(
  [input, output]: string[],
  { pair = [], eps = [], transposed, progress }: Values,
): Promise<Report> {
  const file = await openWeights(input, progress);
  if (file.kind !== 'safetensors' && file.kind !== 'ONNX') {
    throw wrongValue('ERR_FORMAT', 'fold', basename(input), 'a safetensors or ONNX file', file.kind);
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
  const { folded, kept, assumed } = result;
  const guessed = folded.filter((norm) => norm.assumed?.includes('eps'));
  const lines = [
    ...folded.map(
      ({ norm, into, side, channels, eps: added, assumed: own, rounding, note }) =>
        `${norm} → ${into}: ${channels} channels, ${side} it, eps ${added}${own?.includes('eps') ? ' (assumed)' : ''}, rounding at most ${rounding.toExponential(1)} per unit of input${note ? `; ${note}` : ''}`,
    ),
    ...kept.map(({ norm, reason }) => `${norm} stays: ${reason}`),
    `${folded.length} folded, ${kept.length} left; ${file.bytes.length.toLocaleString('en')} → ${result.file.length.toLocaleString('en')} bytes`,
    ...(file.kind === 'safetensors' && folded.length
      ? ['names say which layer a norm follows: check the pairs above']
      : []),
    ...(guessed.length
      ? [
          `assumed: eps ${guessed[0].eps} of ${guessed.map(({ norm }) => norm).join(', ')}, as the file does not say it: --eps does`,
        ]
      : []),
  ];
  return {
    lines,
    data: {
      in: input,
      out: output,
      kind: file.kind,
      folded,
      kept,
      assumed,
      bytes: [file.bytes.length, result.file.length],
    },
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
