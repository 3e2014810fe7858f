// evenkeel convert IN OUT

import { basename, dirname, join } from 'node:path';
import { show, wrongValue } from '../errors.ts';
import { checkPair } from '../weights/fold-safetensors.ts';
import {
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
import { type Report, UsageError, type Values } from './command.ts';
import { writeFileWhole } from './files.ts';
import { FRAMEWORKS, type Framework, importAs, openWeights, type WeightsFile } from './weights-file.ts';

const FORMATS: readonly { readonly ends: string; readonly to: Framework }[] = [
  { ends: '.safetensors', to: 'torch' },
  { ends: '.npz', to: 'torch' },
  { ends: '.onnx', to: 'onnx' },
  { ends: '.h5', to: 'keras' },
  { ends: '.json', to: 'tfjs' },
];

export async function convert([input, output]: string[], { from, to, rename = [], progress }: Values): Promise<Report> {
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
      throw wrongValue('ERR_FORMAT', 'convert', basename(input), 'an ONNX or Keras file, which has a graph', file.kind);
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
    const metadata = { ...(target === 'torch' && { format: 'pt' }), ...withNorms(imported) };
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
