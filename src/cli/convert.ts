// evenkeel convert IN OUT

import { basename, dirname, join } from 'node:path';
import { show, wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { isReadable, type Values as Numbers, naturalType } from '../formats/dtypes.ts';
import type { StateDict } from '../types.ts';
import { checkPair } from '../weights/fold-safetensors.ts';
import { type Foreign, readOnnx, toFlax, toKeras, toOnnx, toTfjs, toTorch } from '../weights/index.ts';
import { type Framework, type Output, WRITERS, type Writer } from '../weights/registry.ts';
import { withNorms } from '../weights/stored-norms.ts';
import { type Report, UsageError, type Values, withOptions } from './command.ts';
import { writeFiles, writeFileWhole } from './files.ts';
import { unknown } from './inspect.ts';
import { FRAMEWORKS, importAs, networkIn, openWeights, type WeightsFile } from './weights-file.ts';

export async function convert([input, output]: string[], { from, to, rename = [], progress }: Values): Promise<Report> {
  const format = WRITERS.find(({ ends }) => output.endsWith(ends));
  if (!format)
    throw new UsageError(
      `${basename(output)}: a name in ${WRITERS.map(({ ends }) => ends).join(', ')} says the format`,
    );
  const target = frameworkFrom('to', to) ?? format.names;
  const source = frameworkFrom('from', from);
  const file = await openWeights(input, progress);
  const names = Object.fromEntries(await withOptions(() => rename.map(checkPair)));
  if (!format.write) {
    if (source || to || rename.length)
      throw new UsageError('a network becomes an ONNX model as a whole: no --from, --to or --rename');
    const net = await networkIn('convert', input, file);
    const [shape] = file.kind === 'ONNX' ? readOnnx(file.bytes, { files: file.files }).inputs.values() : [];
    const row =
      shape && shape.length > 1 && shape.slice(1).every((length) => length !== undefined)
        ? (shape.slice(1) as number[])
        : undefined;
    await writeFileWhole(output, toOnnx(net, row && { inputShape: row }), progress);
    return {
      lines: [`${net.layers.length} layers → ${output}`],
      data: { in: input, out: output, layers: net.layers.map(({ subject }) => subject) },
    };
  }
  if (target === 'onnx') throw new UsageError('only an .onnx file has ONNX names');
  if (format.fixed && target !== format.names) throw new UsageError(`a ${format.ends} file has ${format.names} names`);
  const imported = await withOptions(() =>
    source && source !== file.framework && source !== 'onnx'
      ? importAs(source, file.tensors, { rename: names })
      : file.import({ rename: names }),
  );
  if (Object.keys(imported.state).length === 0 && file.kind !== 'NPY') throw unknown('convert', input, imported.unused);
  const { state, unused, missing, multipliers = {}, training = [] } = imported;
  const tensors: Map<string, Output> = { torch: toTorch, keras: toKeras, flax: toFlax, tfjs: toTfjs }[target](state, {
    multipliers,
  });
  const texts = unused.filter((name) => isText(file.tensors.get(name)));
  const isLeft = new Set(texts);
  const carried = carryOver(
    tensors,
    unused.filter((name) => !isLeft.has(name)),
    file.tensors,
    format,
  );
  const said = { ...(target === 'torch' && { format: 'pt' }), ...withNorms(imported) };
  const files = await format.write(tensors, { name: basename(output), metadata: said, kinds: file.kinds });
  await writeFiles(
    files.map(([name, bytes]) => [name === basename(output) ? output : join(dirname(output), name), bytes]),
    progress,
  );
  const uncounted = Object.keys(state).filter((name) => name.endsWith('batchesTracked') && target !== 'torch');
  const counted = uncounted.filter((name) => state[name].data[0] > 0);
  return {
    lines: [
      `${tensors.size} tensors → ${output}, ${target} names`,
      ...changedTypes(file.tensors, format, tensors),
      ...turned(file.framework, target, state),
      ...carried.map((name) => `carried over as it is, as nobody knows it: ${name}`),
      ...counted.map((name) => `left out, as ${target} counts no batches: ${name} ${state[name].data[0]}`),
      ...texts.map((name) => `left out, as these are texts: ${name}`),
      ...missing.map((name) => `missing: ${name}`),
      ...training.map((name) => `in training mode, which weights alone do not say: ${name}`),
    ],
    data: {
      in: input,
      out: output,
      to: target,
      tensors: [...tensors.keys()],
      unused,
      carried,
      leftOut: [...counted, ...texts],
      missing,
      training,
    },
  };
}

/**
 * Adds what nothing was made of under its own name, type and shape: a file loses nothing on its
 * way.
 */
function carryOver(
  out: Map<string, Output>,
  names: readonly string[],
  tensors: WeightsFile['tensors'],
  { ends, raw, integers }: Writer,
): string[] {
  for (const name of names) {
    const tensor = tensors.get(name) as
      | (Foreign & { readonly dtype?: string; readonly bytes?: Uint8Array })
      | undefined;
    const fail = (expected: string, got: string) =>
      wrongValue('ERR_FORMAT', 'convert', quote(name), expected, got, 'nothing in a file is dropped');
    if (!tensor) throw fail('a tensor', 'none');
    if (out.has(name)) throw fail('a name of its own', 'that of another tensor');
    const { dtype, shape, bytes } = tensor;
    if (raw && bytes && dtype) out.set(name, { bytes, shape, dtype });
    else {
      if (dtype !== undefined && !isReadable(dtype)) throw fail(`a type that a ${ends} file holds`, dtype);
      const whole = integers && dtype !== undefined && /^[IUB](?:\d|OOL)/.test(dtype);
      out.set(name, { data: tensor.data as Numbers, shape, ...(whole && { dtype }) });
    }
  }
  return [...names];
}

/** Texts beside weights, as TF.js and HDF5 have them: no file of tensors holds them. */
function isText(tensor: { readonly dtype?: string } | undefined): boolean {
  return tensor?.dtype === 'STRING' || tensor?.dtype === 'HDF5 class 3';
}

/** Types that are written as others. */
function changedTypes(
  before: WeightsFile['tensors'],
  { singles }: Writer,
  after: ReadonlyMap<string, Output>,
): string[] {
  const typesOf = (tensors: Iterable<{ readonly dtype?: string; readonly data?: ArrayLike<number> }>) =>
    // data are decoded when they are asked for, and some types cannot be
    new Set(Array.from(tensors, (tensor) => tensor.dtype ?? naturalType(tensor.data ?? [])));
  const now = singles
    ? new Set(['F32'])
    : typesOf(after.values() as Iterable<{ dtype?: string; data?: ArrayLike<number> }>);
  const gone = [...typesOf(before.values())].filter((dtype) => !now.has(dtype));
  return gone.length ? [`${gone.join(', ')} became ${[...now].join(', ')}`] : [];
}

/** Kernels that have other axes first. */
function turned(from: Framework, to: Framework, state: StateDict): string[] {
  const inputsFirst = (framework: Framework) => ['keras', 'flax', 'tfjs'].includes(framework);
  const kernels = Object.entries(state).filter(([name, { shape }]) => name.endsWith('weight') && shape.length > 1);
  if (!kernels.length || inputsFirst(from) === inputsFirst(to)) return [];
  const order = inputsFirst(to) ? 'inputs before outputs' : 'outputs before inputs';
  return [`shapes: ${kernels.length} weight${kernels.length === 1 ? '' : 's'} now with ${order}`];
}

function frameworkFrom(option: string, value: string | undefined): Framework | undefined {
  if (value === undefined) return undefined;
  const found = FRAMEWORKS.find((name) => name === value);
  if (!found) throw new UsageError(`--${option} takes ${FRAMEWORKS.join(', ')}, not ${show(value)}`);
  return found;
}
