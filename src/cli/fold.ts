// evenkeel fold IN OUT

import { basename } from 'node:path';
import { show, wrongValue } from '../errors.ts';
import { preset } from '../norms/options.ts';
import { checkPair } from '../weights/fold-safetensors.ts';
import { type FileFold, foldOnnx, foldSafetensors } from '../weights/index.ts';
import { WRITERS } from '../weights/registry.ts';
import { type Report, UsageError, type Values, withOptions } from './command.ts';
import { writeFileWhole } from './files.ts';
import { unknown } from './inspect.ts';
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
    (WRITERS.some(({ ends }) => output.endsWith(ends)) || /\.(?:npy|keras)$/.test(output))
  ) {
    throw new UsageError(`fold writes what it reads, here ${file.kind}: ${basename(output)} is another format`);
  }
  if (file.kind === 'ONNX' && (pair.length || eps.length || transposed))
    throw new UsageError('an ONNX model says itself what follows what, and its eps');
  const { kind, bytes, files } = file;
  const result =
    kind === 'ONNX'
      ? foldOnnx(bytes, { files })
      : await withOptions(() => {
          const pairs = Object.fromEntries(pair.map(checkPair));
          return foldSafetensors(bytes, { pairs, eps: epsFrom(eps), transposed, files });
        });
  const { folded, kept, assumed } = result;
  if (kind === 'safetensors' && folded.length + kept.length === 0) {
    const { state, unused } = file.import({ allowNonFinite: true, lenient: true });
    if (Object.keys(state).length === 0) throw unknown('fold', input, unused);
  }
  await writeFileWhole(output, result.file, progress);
  const before = bytes.length + [...(files?.values() ?? [])].reduce((sum, { length }) => sum + length, 0);
  const lines = [
    ...(files
      ? [kind === 'ONNX' ? inside(files) : `${files.size} shard${files.size === 1 ? '' : 's'} became one file`]
      : []),
    ...folded.map(
      ({ norm, into, side, channels, eps: added, assumed: own = [], rounding, note }) =>
        `${norm} → ${into}${own.includes('layer') ? ' (assumed)' : ''}: ${channels} channels, ${side} it, eps ${added}${own.includes('eps') ? ' (assumed)' : ''}, rounding at most ${rounding.toExponential(1)} per unit of input${note ? `; ${note}` : ''}`,
    ),
    ...kept.map(({ norm, reason }) => `${norm} stays: ${reason}`),
    folded.length + kept.length
      ? `${folded.length} folded, ${kept.length} left; ${before.toLocaleString('en')} → ${result.file.length.toLocaleString('en')} bytes`
      : `no batch norm${kind === 'ONNX' ? '' : " with PyTorch's names (running_mean, running_var)"}: everything is carried over as it is`,
    ...assumedIn(result),
  ];
  return {
    lines,
    data: { in: input, out: output, kind, folded, kept, assumed, bytes: [before, result.file.length] },
  };
}

/** External data is not external any more. */
function inside(files: ReadonlyMap<string, unknown>): string {
  const names = [...files.keys()];
  return `${names.join(', ')}: what the model takes of ${names.length === 1 ? 'it' : 'them'} is inside the new file`;
}

/** The last line: what the file does not say. */
function assumedIn({ folded, assumed }: FileFold): string[] {
  if (!assumed.length) return [];
  const known: Readonly<Record<string, (norms: string) => string>> = {
    layer: (norms) => `that ${norms} follow the layers of their names (--pair says what they follow)`,
    transposed: (norms) => `that the layers of ${norms} are not transposed (--transposed)`,
    inputs: (norms) => `that nobody gives other values for the weights of ${norms}, which are inputs of the model`,
    eps: (norms) => `eps ${preset('torch').eps} of ${norms} (--eps)`,
  };
  const parts = Object.entries(known).flatMap(([what, sentence]) => {
    const norms = folded.filter(({ assumed: own }) => own?.includes(what)).map(({ norm }) => norm);
    const named = norms.length > 3 ? `${norms.length} norms` : norms.join(', ');
    return norms.length ? [sentence(named)] : [];
  });
  return [`assumed, as the file does not say it: ${parts.length ? parts.join('; ') : assumed.join('; ')}`];
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
