// A network in files, wherever they are: bytes, files by name, a path, an address on the web.

import { malformed, show, wrongKind, wrongMoment } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import type { TensorFiles } from '../formats/onnx-tensor.ts';
import { isInside } from '../formats/zip.ts';

/** Files by name, as a model names those beside it. */
export type Files = ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>;

/**
 * A URL, as far as the library reads one, so that its types need neither a browser's nor Node's.
 */
export interface FileUrl {
  /** The whole URL: `file:///home/user/model.onnx`. */
  readonly href: string;
}

function isUrl(file: object): file is FileUrl {
  return typeof (file as { href?: unknown }).href === 'string';
}

/** The file with the network, and how to find those beside it. */
export interface NetworkFiles {
  readonly bytes: Uint8Array;
  /** What the file is called; undefined for bytes. */
  readonly name: string | undefined;
  /** Where it lies, on a host with files. */
  readonly path: string | FileUrl | undefined;
  /** Files that were given with it, by name. */
  readonly given: TensorFiles | undefined;
  /** A file beside it; undefined where there is none. */
  beside(name: string): Promise<Bytes | undefined>;
  /** Names of the files beside it, where somebody says them. */
  names(): Promise<readonly string[]>;
}

/** Names of files that hold networks, in the order in which one of them is taken. */
const MODELS: readonly RegExp[] = [
  /\.onnx$/i,
  /(?:^|[/\\])model\.json$/i,
  /\.keras$/i,
  /(?<!weights)\.(?:h5|hdf5)$/i,
  /\.json$/i,
  /(?:^|[/\\])model[^/\\]*\.[cm]?js$/i,
];
const KINDS = "'*.onnx', 'model.json', '*.keras', '*.h5'";

/**
 * Opens a source.
 *
 * @throws ERR_TYPE for anything else; ERR_FORMAT for an address that gives no file
 */
export async function openNetworkFiles(
  subject: string,
  source: Bytes | string | FileUrl | Files,
  files: TensorFiles | undefined,
): Promise<NetworkFiles> {
  const isBytes = ArrayBuffer.isView(source) || Object.prototype.toString.call(source) === '[object ArrayBuffer]';
  if (isBytes || (typeof source !== 'string' && (typeof source !== 'object' || source === null))) {
    const bytes = bytesFrom(subject, source as Bytes);
    return { bytes, name: undefined, path: undefined, given: files, ...among(files) };
  }
  const address = typeof source === 'string' ? source : isUrl(source) ? source.href : undefined;
  if (address === undefined) return fromFiles(subject, source as Files, files);
  if (/^https?:\/\//i.test(address)) return fromWeb(subject, address, files);
  return fromDisk(subject, source as string | FileUrl, files);
}

function among(files: TensorFiles | undefined): Pick<NetworkFiles, 'beside' | 'names'> {
  return {
    async beside(name) {
      if (files instanceof Map) return files.get(name);
      if (typeof files === 'function') return files(name);
      return files && Object.hasOwn(files, name) ? (files as Record<string, Bytes>)[name] : undefined;
    },
    async names() {
      if (files === undefined || typeof files === 'function') return [];
      return files instanceof Map ? [...files.keys()] : Object.keys(files);
    },
  };
}

function fromFiles(subject: string, source: Files, files: TensorFiles | undefined): NetworkFiles {
  const names = [...(source instanceof Map ? source.keys() : Object.keys(source))] as string[];
  const found = MODELS.map((kind) => names.filter((name) => kind.test(name))).find((list) => list.length > 0) ?? [];
  if (found.length !== 1) {
    const got = found.length ? found : names.slice(0, 8);
    throw wrongKind(
      'ERR_TYPE',
      subject,
      'source',
      `bytes, a path, or files with one of ${KINDS} among them`,
      show(got),
    );
  }
  const [name] = found;
  const bytes = source instanceof Map ? source.get(name) : (source as Record<string, Bytes>)[name];
  const [own, others] = [among(source), among(files)];
  // names in a model are those of its own folder
  const folder = name.replace(/[^/\\]*$/, '');
  return {
    bytes: bytesFrom(subject, bytes as Bytes),
    name,
    path: undefined,
    given: source as TensorFiles,
    beside: async (file) => (await own.beside(file)) ?? (await own.beside(folder + file)) ?? others.beside(file),
    names: async () => names.filter((file) => file.startsWith(folder)).map((file) => file.slice(folder.length)),
  };
}

interface Response {
  readonly ok: boolean;
  readonly status: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}

async function fromWeb(subject: string, address: string, files: TensorFiles | undefined): Promise<NetworkFiles> {
  const { fetch, URL } = globalThis as unknown as {
    fetch?: (address: string) => Promise<Response>;
    URL: new (address: string, base?: string) => FileUrl & { readonly pathname: string };
  };
  if (!fetch) throw wrongKind('ERR_TYPE', subject, 'source', 'bytes, as this host has no fetch', quote(address));
  const read = async (from: string): Promise<Uint8Array | undefined> => {
    const response = await fetch(from);
    if (response.status === 404 || response.status === 410) return undefined;
    if (!response.ok) {
      throw wrongMoment('ERR_FORMAT', subject, quote(from), 'a file at this address', `status ${response.status}`);
    }
    return new Uint8Array(await response.arrayBuffer());
  };
  const bytes = await read(address);
  if (!bytes) throw wrongMoment('ERR_FORMAT', subject, quote(address), 'a file at this address', 'none');
  const { beside, names } = among(files);
  return {
    bytes,
    name: new URL(address).pathname.replace(/^.*\//, ''),
    path: undefined,
    given: files,
    async beside(name) {
      if (files !== undefined) return beside(name);
      checkInside(name);
      // a name is no address of its own, and a query belongs to the model's
      return read(new URL(name.split('/').map(encodeURIComponent).join('/'), address).href);
    },
    names,
  };
}

function checkInside(name: string): void {
  if (isInside(name)) return;
  throw malformed('network', `file ${quote(name)}`, 'a file beside the model', 'a path out of its folder', 0);
}

interface Host {
  getBuiltinModule?(name: string): unknown;
}

async function fromDisk(
  subject: string,
  source: string | FileUrl,
  files: TensorFiles | undefined,
): Promise<NetworkFiles> {
  const host = (globalThis as { process?: Host }).process;
  const fs = host?.getBuiltinModule?.('node:fs/promises') as
    | { readFile(path: string | FileUrl): Promise<Uint8Array>; readdir(path: string): Promise<string[]> }
    | undefined;
  if (!fs) {
    const got = show(typeof source === 'string' ? source : source.href);
    throw wrongKind('ERR_TYPE', subject, 'file', 'bytes, as this host has no files', got);
  }
  const { join, dirname, basename } = host!.getBuiltinModule!('node:path') as {
    join(...parts: string[]): string;
    dirname(path: string): string;
    basename(path: string): string;
  };
  const { fileURLToPath } = host!.getBuiltinModule!('node:url') as { fileURLToPath(url: FileUrl): string };
  const path = typeof source === 'string' ? source : fileURLToPath(source);
  const { beside, names } = among(files);
  return {
    bytes: await fs.readFile(source),
    name: basename(path),
    path: source,
    given: files,
    async beside(name) {
      if (files !== undefined) return beside(name);
      checkInside(name);
      return fs.readFile(join(dirname(path), name)).catch((error: { code?: string }) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
        throw error;
      });
    },
    names: async () => (files === undefined ? fs.readdir(dirname(path)) : names()),
  };
}
