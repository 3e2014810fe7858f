// Checkpoints: the state of everything that training depends on, in one safetensors file.

import { inFile, show, wrongKind, wrongValue } from '../errors.ts';
import { type Bytes, bytesFrom } from '../formats/bytes.ts';
import { readSafetensors, type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { Layer } from '../layers/layer.ts';
import { checkRecord, takeOptions } from '../named-options.ts';
import type { StateDict } from '../types.ts';
import type { Random } from './random.ts';

/**
 * Anything with a state: layers, networks, optimizers, schedules, `EMA`, `Random`, `batches`.
 *
 * @experimental
 */
export interface Stateful {
  /** Copies of the whole state. */
  stateDict(): StateDict;
  /** Takes a state: all of it, or after an error nothing. */
  loadStateDict(state: StateDict): void;
}

/**
 * What a checkpoint holds, under names of your own: `{ net, optimizer, schedule, random, data }`.
 *
 * @experimental
 */
export type CheckpointParts = Readonly<Record<string, Stateful>>;

/**
 * What `saveCheckpoint` writes besides states.
 *
 * @experimental
 */
export interface CheckpointOptions {
  /** Texts kept beside the tensors: an epoch, an accuracy. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * What `loadCheckpoint` says of a file.
 *
 * @experimental
 */
export interface LoadedCheckpoint {
  /** The texts that were saved beside the tensors. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Parts of the file that were not asked for. */
  readonly unused: readonly string[];
}

/**
 * A URL, as far as the library reads one, so that its types need neither a browser's nor Node's.
 */
export interface FileLocation {
  /** The whole URL: `file:///home/user/last.safetensors`. */
  readonly href: string;
}

const FORMAT = 'evenkeel checkpoint 1';
/** The names of the parts, a JSON list: a part without state is a part as well. */
const PARTS = 'evenkeel.parts';
const MARK = 'evenkeel.format';

/** A part with the generators of its layers: dropout's masks go on where they were. */
function statesOf(part: Stateful): Stateful {
  const generators = part instanceof Layer ? generatorsOf(part) : [];
  if (!generators.length) return part;
  const key = (layer: string) => `/generators/${layer}`;
  return {
    stateDict: () => ({
      ...part.stateDict(),
      ...Object.fromEntries(generators.map(([layer, { generator }]) => [key(layer), generator.stateDict().state])),
    }),
    loadStateDict: (state) => {
      const own: StateDict = {};
      const found = new Map<string, StateDict>();
      for (const [name, entry] of Object.entries(state)) {
        if (!generators.some(([layer]) => key(layer) === name)) own[name] = entry;
        else found.set(name, { state: entry });
      }
      for (const [layer] of generators) {
        if (!found.has(key(layer)))
          throw wrongValue('ERR_STATE', (part as Layer).subject, 'state', `an entry '${key(layer)}'`, 'none');
      }
      const before = generators.map(([, layer]) => layer.generator.stateDict());
      try {
        for (const [layer, { generator }] of generators) generator.loadStateDict(found.get(key(layer))!);
        part.loadStateDict(own);
      } catch (error) {
        generators.forEach(([, layer], i) => {
          layer.generator.loadStateDict(before[i]);
        });
        throw error;
      }
    },
  };
}

/** Layers that draw random numbers, by name. */
function generatorsOf(net: Layer): [name: string, layer: { readonly generator: Random }][] {
  return net.named().flatMap(([name, layer]): [string, { readonly generator: Random }][] => {
    const drawing = layer as unknown as { readonly generator?: Random };
    return drawing.generator ? [[name, drawing as { readonly generator: Random }]] : [];
  });
}

function readParts(subject: string, parts: CheckpointParts): [name: string, part: Stateful][] {
  checkRecord(subject, parts);
  return Object.entries(parts)
    .filter(([, part]) => part !== undefined)
    .map(([name, part]) => {
      if (typeof part?.stateDict !== 'function' || typeof part.loadStateDict !== 'function')
        throw wrongKind('ERR_TYPE', subject, name, 'an object with stateDict and loadStateDict', show(part));
      if (name === '' || name.includes('/'))
        throw wrongValue('ERR_OPTION', subject, 'parts', 'names without /', show(name));
      return [name, statesOf(part)];
    });
}

/**
 * The bytes of a checkpoint: a safetensors file with the entries of every part's state dict as
 * `part/entry`, in f32 and f64 as they are. Of networks it also has the generators of dropout. The
 * same state gives the same bytes.
 *
 *     const bytes = checkpointBytes({ net, optimizer });
 *
 * @param parts what to save, by name; names must not contain `/`
 * @throws ERR_TYPE for a part without a state; ERR_OPTION for a bad name or unknown options
 * @experimental
 */
export function checkpointBytes(parts: CheckpointParts, options: CheckpointOptions = {}): Uint8Array<ArrayBuffer> {
  return bytesOf('checkpointBytes', parts, options);
}

function bytesOf(subject: string, parts: CheckpointParts, options: CheckpointOptions): Uint8Array<ArrayBuffer> {
  const { metadata = {} } = takeOptions(subject, options, ['metadata']);
  for (const [name, text] of Object.entries(metadata)) {
    if (typeof text !== 'string') throw wrongKind('ERR_OPTION', subject, `metadata.${name}`, 'a text', show(text));
    if (name === PARTS || name === MARK)
      throw wrongValue('ERR_OPTION', subject, 'metadata', 'another name', show(name));
  }
  const states = readParts(subject, parts);
  const tensors = new Map<string, Writable>();
  for (const [part, state] of states)
    for (const [name, entry] of Object.entries(state.stateDict())) tensors.set(`${part}/${name}`, entry);
  const names = JSON.stringify(states.map(([name]) => name));
  return writeSafetensors(tensors, { [MARK]: FORMAT, [PARTS]: names, ...metadata });
}

/**
 * Writes a checkpoint to a file, whole or not at all: the new file is written beside the old one
 * and then takes its place. Training that goes on from it has the bits of training that was never
 * stopped.
 *
 *     const parts = { net, optimizer, schedule, data: train };
 *     await saveCheckpoint('last.safetensors', parts, { metadata: { epoch: '3' } });
 *
 * @param file a path or a URL
 * @throws as `checkpointBytes`; ERR_TYPE where the host has no files (`checkpointBytes` gives the
 *   bytes); the host's errors. The old file is then as it was
 * @experimental
 */
export async function saveCheckpoint(
  file: string | FileLocation,
  parts: CheckpointParts,
  options: CheckpointOptions = {},
): Promise<void> {
  const subject = 'saveCheckpoint';
  const host = hostFiles(subject, file);
  await host.write(bytesOf(subject, parts, options));
}

/**
 * Loads a checkpoint into parts that were made like those that were saved: all of them, or after an
 * error none.
 *
 *     const parts = { net, optimizer, schedule, data: train };
 *     const { metadata } = await loadCheckpoint('last.safetensors', parts);
 *
 * @param file a path or URL where there is a file system, or the bytes
 * @param parts where the states go, by the names they were saved under
 * @throws ERR_FORMAT for anything but a checkpoint; ERR_STATE for a part that the file does not
 *   have or whose state does not fit, with the part's name; ERR_TYPE, ERR_OPTION; the host's errors
 * @experimental
 */
export async function loadCheckpoint(
  file: string | FileLocation | Bytes,
  parts: CheckpointParts,
): Promise<LoadedCheckpoint> {
  const subject = 'loadCheckpoint';
  const wanted = readParts(subject, parts);
  const isBytes = ArrayBuffer.isView(file) || Object.prototype.toString.call(file) === '[object ArrayBuffer]';
  const host = isBytes ? undefined : hostFiles(subject, file as string | FileLocation);
  const bytes = bytesFrom(subject, (await host?.read()) ?? (file as Bytes));
  let saved: Saved;
  try {
    saved = savedIn(subject, bytes);
  } catch (error) {
    throw inFile(host?.path, error);
  }
  const { states, metadata } = saved;
  const names = [...states.keys()];
  for (const [name] of wanted) {
    if (!states.has(name))
      throw wrongValue('ERR_STATE', subject, 'file', `a part '${name}'`, names.map(show).join(', ') || 'none');
  }
  const undo: (() => void)[] = [];
  for (const [name, part] of wanted) {
    const before = part.stateDict();
    try {
      part.loadStateDict(states.get(name)!);
    } catch (error) {
      for (const back of undo.reverse()) back();
      if (error instanceof Error) error.message = `${subject}, ${name}: ${error.message}`;
      throw error;
    }
    undo.push(() => part.loadStateDict(before));
  }
  const asked = new Set(wanted.map(([name]) => name));
  return { metadata, unused: names.filter((name) => !asked.has(name)) };
}

/** What a checkpoint holds: the state of each part, and texts. */
interface Saved {
  readonly states: ReadonlyMap<string, StateDict>;
  readonly metadata: Readonly<Record<string, string>>;
}

function savedIn(subject: string, bytes: Uint8Array): Saved {
  const { tensors, metadata } = readSafetensors(bytes);
  const { [MARK]: mark, [PARTS]: list, ...own } = metadata;
  const fail = (argument: string, expected: string, got: string) =>
    wrongValue('ERR_FORMAT', subject, argument, expected, got);
  if (mark !== FORMAT) throw fail('file', `'${FORMAT}'`, mark === undefined ? 'another safetensors file' : show(mark));
  const names = namesIn(list);
  if (!names) throw fail(PARTS, 'a list of names', show(list));
  const states = new Map(names.map((name) => [name, {} as StateDict]));
  for (const [key, tensor] of tensors) {
    const at = key.indexOf('/');
    const state = states.get(key.slice(0, at));
    if (at < 0 || !state) throw fail('file', `tensors of ${names.join(', ') || 'no part'}`, show(key));
    Object.defineProperty(state, key.slice(at + 1), {
      value: { data: tensor.data, shape: tensor.shape },
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return { states, metadata: own };
}

function namesIn(list: string | undefined): string[] | undefined {
  try {
    const names = JSON.parse(list ?? '');
    const isList = Array.isArray(names) && names.every((name) => typeof name === 'string');
    return isList ? names : undefined;
  } catch {
    return undefined;
  }
}

interface Host {
  getBuiltinModule?(name: string): unknown;
}

interface OpenFile {
  writeFile(bytes: Uint8Array): Promise<void>;
  chmod(mode: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

interface FileSystem {
  readFile(path: string): Promise<Uint8Array>;
  open(path: string, flags: string): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { force: boolean }): Promise<void>;
  realpath(path: string): Promise<string>;
  stat(path: string): Promise<{ readonly mode: number }>;
}

interface HostFile {
  readonly path: string;
  read(): Promise<Uint8Array>;
  write(bytes: Uint8Array): Promise<void>;
}

/** The host's file at a path. */
function hostFiles(subject: string, file: string | FileLocation): HostFile {
  const isUrl = typeof file === 'object' && file !== null && typeof file.href === 'string';
  if (typeof file !== 'string' && !isUrl)
    throw wrongKind('ERR_TYPE', subject, 'file', 'a path, a URL or bytes', show(file));
  const host = (globalThis as { process?: Host }).process;
  const fs = host?.getBuiltinModule?.('node:fs/promises') as FileSystem | undefined;
  if (!fs) throw wrongKind('ERR_TYPE', subject, 'file', 'bytes, as this host has no files', show(String(file)));
  const url = host!.getBuiltinModule!('node:url') as { fileURLToPath(url: FileLocation): string };
  const given = typeof file === 'string' ? file : url.fileURLToPath(file);
  return {
    path: given,
    read: () => fs.readFile(given),
    write: async (bytes) => {
      // a link stays a link
      const path = await fs.realpath(given).catch((error: { code?: string }) => {
        if (error.code === 'ENOENT') return given;
        throw error;
      });
      const old = await fs.stat(path).catch(() => undefined);
      const crypto = host!.getBuiltinModule!('node:crypto') as { randomUUID(): string };
      const temporary = `${path}.${crypto.randomUUID()}`;
      try {
        const open = await fs.open(temporary, 'wx');
        try {
          if (old) await open.chmod(old.mode & 0o7777);
          await open.writeFile(bytes);
          await open.sync();
        } finally {
          await open.close();
        }
        await fs.rename(temporary, path);
      } catch (error) {
        await fs.rm(temporary, { force: true });
        // the host names a file that nobody has heard of
        const { message } = error as Error;
        throw Object.assign(error as Error, { message: message.replaceAll(temporary, given), path: given });
      }
    },
  };
}
