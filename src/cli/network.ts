// Networks in files, and what they are run on: shared by run, bench and check.

import { basename, extname } from 'node:path';
import { readNpy } from '../formats/npy.ts';
import type { CompiledNetwork } from '../infer/compile.ts';
import type { Port } from '../infer/program.ts';
import { Random } from '../nn/random.ts';
import type { LoadedNetwork, NetworkReport } from '../weights/index.ts';
import { networkFromFiles } from '../weights/load-network.ts';
import { UsageError, type Values } from './command.ts';
import { readFileWhole } from './files.ts';
import { decodePicture, resizePicture } from './image.ts';
import { readKerasInTime } from './read-hdf5.ts';

export interface OpenNetwork {
  readonly run: CompiledNetwork;
  /** What became of the file. */
  readonly report: NetworkReport;
  /** Milliseconds of reading and compiling. */
  readonly loadMs: number;
  readonly compileMs: number;
}

/** The network of a file, whatever its graph; HDF5 is read by a thread that is ended in time. */
export function loadInTime(path: string): Promise<LoadedNetwork> {
  return networkFromFiles(path, {}, (bytes, config) => {
    return readKerasInTime(path, bytes as Uint8Array<ArrayBuffer>, config);
  });
}

/** A network from a file, compiled. Throws what loading and compiling throw. */
export async function openNetwork(path: string): Promise<OpenNetwork> {
  await readFileWhole(path); // for its errors, and so that reading from disk is not timed
  const start = performance.now();
  // the path, so that the files beside it are found
  const net = await loadInTime(path);
  const loaded = performance.now();
  const run = net.compile();
  return { run, report: net.report, loadMs: loaded - start, compileMs: performance.now() - loaded };
}

/** What `load` has to be given for a compiled network: a line, or none where it needs nothing. */
export const needsOf = (operations: readonly string[]): string[] =>
  operations.length ? [`load needs operations: [${operations.join(', ')}], from 'evenkeel/infer'`] : [];

export const showPort = ({ name, shape }: Port) =>
  `${name} ${shape ? `[${shape.map((length) => length ?? '?').join(', ')}]` : 'of any shape'}`;

interface Plain {
  data: Float32Array;
  shape: number[];
}

const IMAGES = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif', '.tif', '.tiff'];

/** Numbers of an option: `0.485,0.456,0.406`. */
function numbersOf(option: string, text: string | undefined, counts: readonly number[]): number[] | undefined {
  if (text === undefined) return undefined;
  const values = text.split(/[,x]/).map(Number);
  if (values.every(Number.isFinite) && counts.includes(values.length)) return values;
  throw new UsageError(`--${option} takes ${counts.join(' or ')} numbers, not '${text}'`);
}

/**
 * What the network is run on: of each input what `--input` says, or random numbers. What was not
 * said and is taken all the same goes into `assumed`.
 */
export async function inputsOf(
  run: CompiledNetwork,
  values: Values,
  assumed: string[],
): Promise<Record<string, Plain>> {
  const given = new Map<string, string>();
  for (const text of values.input ?? []) {
    const at = text.indexOf('=');
    const isNamed = at > 0 && run.inputs.some(({ name }) => name === text.slice(0, at));
    const name = isNamed ? text.slice(0, at) : run.inputs[0].name;
    if (given.has(name)) throw new UsageError(`--input is given twice for '${name}'`);
    if (!isNamed && run.inputs.length > 1) {
      throw new UsageError(
        `the network has several inputs: --input NAME=FILE, with ${run.inputs.map(({ name }) => name).join(', ')}`,
      );
    }
    given.set(name, isNamed ? text.slice(at + 1) : text);
  }
  const found: Record<string, Plain> = {};
  const random = new Random(1);
  for (const port of run.inputs) {
    const source = given.get(port.name) ?? 'random';
    if (!given.has(port.name)) assumed.push(`input '${port.name}': random numbers, as no --input is given for it`);
    if (source === 'random') {
      const shape = lengthsOf(port, values, assumed);
      const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
      found[port.name] = { data, shape };
    } else if (IMAGES.includes(extname(source).toLowerCase())) {
      found[port.name] = await pictureFor(port, source, values, assumed);
    } else if (source.endsWith('.npy')) {
      const { data, shape } = readNpy(await readFileWhole(source));
      found[port.name] = { data: Float32Array.from(data), shape: [...shape] };
    } else if (source.endsWith('.json')) {
      found[port.name] = fromJson(source, JSON.parse(new TextDecoder().decode(await readFileWhole(source))), port);
    } else throw new UsageError(`--input takes random, a picture, .npy or .json, not '${source}'`);
  }
  return found;
}

/** The lengths of an input, where those that are not fixed are 1, or an image's those of --size. */
function lengthsOf({ name, shape }: Port, values: Values, assumed: string[]): number[] {
  if (!shape) throw new UsageError(`the network does not say the shape of '${name}': --input FILE has it`);
  const size = numbersOf('size', values.size, [1, 2]);
  const layout = layoutOf(shape, values);
  return shape.map((length, axis) => {
    if (length !== null) return length;
    const place = layout && axis > 0 ? axis - (layout === 'nchw' ? 2 : 1) : -1;
    if (size && (place === 0 || place === 1)) return size[place] ?? size[0];
    assumed.push(
      `input '${name}': axis ${axis}, which is not fixed, is 1${place === 0 || place === 1 ? ' (--size says another)' : ''}`,
    );
    return 1;
  });
}

/** Where an image's channels lie; undefined for what is no image. */
function layoutOf(shape: readonly (number | null)[], values: Values): 'nchw' | 'nhwc' | undefined {
  if (values.layout !== undefined && values.layout !== 'nchw' && values.layout !== 'nhwc') {
    throw new UsageError(`--layout takes nchw or nhwc, not '${values.layout}'`);
  }
  if (shape.length !== 4) return undefined;
  const isColour = (length: number | null) => length === 1 || length === 3;
  return values.layout ?? (isColour(shape[1]) ? 'nchw' : isColour(shape[3]) ? 'nhwc' : 'nchw');
}

/** A picture as the network takes it: (value/255 − mean)/std. */
async function pictureFor(port: Port, path: string, values: Values, assumed: string[]): Promise<Plain> {
  const { shape } = port;
  const layout = shape && layoutOf(shape, values);
  if (!layout) throw new UsageError(`'${port.name}' takes no picture: ${showPort(port)}`);
  const picture = await decodePicture(basename(path), await readFileWhole(path));
  const [rows, columns] = layout === 'nchw' ? [2, 3] : [1, 2];
  const size = numbersOf('size', values.size, [1, 2]);
  const wanted = size && [size[0], size[1] ?? size[0]];
  const [height, width] = [rows, columns].map((axis, i) => {
    const fixed = shape[axis];
    if (fixed !== null && wanted && wanted[i] !== fixed)
      throw new UsageError(`--size: axis ${axis} of '${port.name}' is ${fixed}`);
    return fixed ?? wanted?.[i] ?? (i ? picture.width : picture.height);
  });
  if (![height, width].every((one) => Number.isInteger(one) && one > 0 && one <= 16384)) {
    throw new UsageError(`--size takes whole numbers of 1 or more, not '${values.size}'`);
  }
  const channels = shape[layout === 'nchw' ? 1 : 3] ?? 3;
  if (channels !== 1 && channels !== 3)
    throw new UsageError(`'${port.name}' takes ${channels} channels, and a picture has 1 or 3`);
  const mean = numbersOf('mean', values.mean, [1, 3]) ?? [0];
  const std = numbersOf('std', values.std, [1, 3]) ?? [1];
  if (std.includes(0)) throw new UsageError('--std takes numbers other than 0');
  if (!values.layout) assumed.push(`input '${port.name}': layout ${layout}, from its shape`);
  if (!values.mean && !values.std)
    assumed.push(`input '${port.name}': values from 0 to 1 (--mean and --std say others)`);
  if (picture.height !== height || picture.width !== width) {
    assumed.push(
      `input '${port.name}': resized from ${picture.height}×${picture.width} to ${height}×${width}, without keeping its proportions`,
    );
  }
  const { data: pixels } = resizePicture(picture, height, width);
  const area = height * width;
  const data = new Float32Array(area * channels);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < channels; c++) {
      const [r, g, b] = [pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]];
      // one channel: luminance of ITU-R BT.601
      const value = channels === 1 ? 0.299 * r + 0.587 * g + 0.114 * b : pixels[3 * i + c];
      const at = layout === 'nchw' ? c * area + i : i * channels + c;
      data[at] = (value / 255 - (mean[c] ?? mean[0])) / (std[c] ?? std[0]);
    }
  }
  return { data, shape: layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels] };
}

/** `{ data, shape }`, or lists in lists. */
function fromJson(path: string, json: unknown, port: Port): Plain {
  const wrong = () =>
    new Error(`${path} holds no numbers for ${showPort(port)}: { "data": […], "shape": […] }, or lists in lists`);
  const { data, shape } = (json ?? {}) as { data?: unknown; shape?: unknown };
  const lengths: number[] = [];
  const values: number[] = [];
  if (Array.isArray(data) && Array.isArray(shape)) {
    lengths.push(...(shape as number[]));
    for (const one of data) values.push(one as number);
  } else if (Array.isArray(json)) {
    for (let at: unknown = json; Array.isArray(at); [at] = at) lengths.push(at.length);
    for (const one of json.flat(64)) values.push(one as number);
  } else throw wrong();
  const size = lengths.reduce((product, length) => product * length, 1);
  if (size !== values.length || !values.every((one) => typeof one === 'number')) throw wrong();
  return { data: Float32Array.from(values), shape: lengths };
}

/** A run on what was given, with outputs by name. */
export function runOn(run: CompiledNetwork, inputs: Record<string, Plain>): Record<string, Plain> {
  const [first] = run.inputs;
  const y: unknown = run.inputs.length === 1 ? run(inputs[first.name]) : run(inputs);
  return run.outputs.length === 1 ? { [run.outputs[0].name]: y as Plain } : (y as Record<string, Plain>);
}
