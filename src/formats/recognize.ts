// biome-ignore-all lint/suspicious/noControlCharactersInRegex: what files begin with
// What a file is, by its first bytes: for errors of a reader that was given another kind of file,
// and for functions that read any kind.

import { quote } from './bytes.ts';

/** What there is a reader for here, or what names such files. */
export type FileKind =
  | 'safetensors'
  | 'NPY'
  | 'NPZ'
  | 'ONNX'
  | 'HDF5'
  | 'ZIP'
  | 'Keras'
  | 'TF.js'
  | 'index'
  | 'compiled';

export interface Recognized {
  /** undefined for what nothing here reads. */
  readonly kind: FileKind | undefined;
  /** What it is in a few words, and what to do with it. */
  readonly text: string;
}

/** Bytes as text, one character each: the first 4096, and more for a row that looks further. */
interface Content {
  readonly head: string;
  /** The first 16 MB. */
  whole(): string;
  /** The last megabyte. */
  tail(): string;
}

type Row = readonly [is: (content: Content) => boolean, text: string, kind?: FileKind];

const HDF5 = '\x89HDF\r\n\x1a\n';
const SAVE = 'write safetensors with save_file(model.state_dict(), …)';
const TO_ONNX = 'export the model as ONNX';
const UNPACK = 'unpack it first';

/** What scripts begin with, as bundlers write them. */
const SCRIPT = /^(?:\xef\xbb\xbf)?\s*(?:[!(;/]|["']use strict|(?:var|let|const|export|module|exports|window|define)\b)/;
/** Protobuf that begins with a version and a message, not a text as ONNX has it. */
const VERSIONED = /^\x08[\x01-\x0f]\x12(?:[\x80-\xff]*[\0-\x7f])\x0a/;

const starts =
  (magic: string, at = 0) =>
  ({ head }: Content) =>
    head.startsWith(magic, at);
const like =
  (pattern: RegExp) =>
  ({ head }: Content) =>
    pattern.test(head);
/** An archive by a name among its members: those stand at its end once more. */
const zipWith =
  (pattern: RegExp) =>
  ({ head, tail }: Content) =>
    head.startsWith('PK\x03\x04') && (pattern.test(head) || pattern.test(tail()));
const jsonWith =
  (first: RegExp, pattern: RegExp) =>
  ({ head, whole }: Content) =>
    first.test(head) && (pattern.test(head) || pattern.test(whole()));
/**
 * The first row that fits says it. Made by a function, so that a bundle without readers is without
 * it.
 */
const table = (): readonly Row[] => [
  [like(/^.{6}\0\0\{.*"evenkeel-compiled"/s), 'a compiled network of evenkeel: load() reads it', 'compiled'],
  [like(/^.{6}\0\0\{/s), 'a safetensors file', 'safetensors'],
  [starts('version https://git-lfs'), 'a Git LFS pointer, which stands for the file: fetch that with git lfs pull'],
  [like(/^(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)/i), 'a web page: download the file itself'],
  [like(/^(?:\xef\xbb\xbf)?\s*<(?:\?xml|net\b)/), `XML, as OpenVINO has it: ${TO_ONNX}`],
  [jsonWith(/^\s*\{/, /"weight_map"/), 'an index of safetensors shards', 'index'],
  [jsonWith(/^\s*\{/, /"(?:weightsManifest|modelTopology)"/), "TF.js' model.json", 'TF.js'],
  [jsonWith(/^\s*\[/, /"weights"/), "TF.js' weights_manifest.json", 'TF.js'],
  [jsonWith(/^\s*\{/, /"class_name"/), "Keras' config of a network, whose weights lie in another file"],
  [jsonWith(SCRIPT, /\b(?:weightsManifest|modelTopology)\b/), "a script with TF.js' model.json", 'TF.js'],
  [like(/^\s*[{[]/), 'JSON'],
  [zipWith(/\/constants\.pkl/), `a TorchScript archive: ${SAVE}`],
  [zipWith(/\/data\.pkl/), `a file of torch.save, which is a pickle: ${SAVE}`],
  [zipWith(/archive_format/), `an archive of torch.export: ${SAVE}`],
  [zipWith(/model\.weights\.h5/), 'a .keras archive', 'Keras'],
  [zipWith(/\.npy/), 'an NPZ file', 'NPZ'],
  [starts('PK\x05\x06'), 'an empty ZIP archive', 'NPZ'],
  [starts('PK\x03\x04'), 'a ZIP archive of something else', 'ZIP'],
  [like(/^\x80[\x02-\x05]/), `a pickle: ${SAVE}`],
  [like(/^(?:c[\w.]+\n\w+\n|\([dl]p?\d)/), `a pickle: ${SAVE}`],
  [starts(HDF5), 'an HDF5 file', 'HDF5'],
  [starts('\x93NUMPY'), 'an NPY file', 'NPY'],
  [starts('TFL3', 4), `a TensorFlow Lite model: ${TO_ONNX}, with tf2onnx`],
  [starts('ORTM', 4), 'an ONNX Runtime model (.ort), which has its own format: take the .onnx behind it'],
  [like(/^(?:GGUF|ggml|lmgg|tjgg|ggjt)/), 'a GGUF file of quantised weights: take the safetensors behind it'],
  [
    like(/^(?:[\x81-\x8f]|\xde..|\xdf.{4})(?:[\xa1-\xbf]|\xd9.)[\w.]{3}/s),
    'MessagePack, as Flax writes it: write NPZ or safetensors',
  ],
  [like(/^\x1f\x8b/), `gzip: ${UNPACK}`],
  [like(/^(?:BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!)/), `a compressed archive: ${UNPACK}`],
  [starts('ustar', 257), `a tar archive: ${UNPACK}`],
  [like(/^\x89PNG|^\xff\xd8\xff|^GIF8|^RIFF.{4}WEBP|^BM.{4}\0{4}/s), 'an image'],
  [starts('%PDF'), 'a PDF'],
  [starts('MATLAB '), 'a MATLAB file: save its arrays as NPZ'],
  [starts('\0asm'), 'a WebAssembly module'],
  [starts('7767517\n'), `an ncnn model: ${TO_ONNX}`],
  [starts('model_checkpoint_path:'), 'a note of TensorFlow about a checkpoint: save the model as .keras or .h5'],
  [
    (content) => VERSIONED.test(content.head) && /Placeholder|NoOp|VarHandle|serve/.test(content.head),
    `a TensorFlow SavedModel: ${TO_ONNX}`,
  ],
  [like(VERSIONED), `a Core ML model: ${TO_ONNX}`],
  [like(/^\x0a[\x80-\xff]*[\0-\x7f]\x0a.[ -~]+\x12.[A-Z]\w+/s), `a TensorFlow graph (.pb): ${TO_ONNX}, with tf2onnx`],
  [like(/^\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]/), 'an ONNX model', 'ONNX'],
];
const ROWS = /* @__PURE__ */ table();

export function isHdf5(bytes: Uint8Array): boolean {
  return latin1(bytes.subarray(0, 8)) === HDF5;
}

/** What a file is; undefined for an unknown kind. */
export function recognize(bytes: Uint8Array): Recognized | undefined {
  if (bytes.length === 0) return { kind: undefined, text: 'an empty file' };
  const head = latin1(bytes.subarray(0, 4096));
  const [whole, tail] = [bytes.subarray(0, 16 << 20), bytes.subarray(-(1 << 20))].map(once);
  const row = ROWS.find(([is]) => is({ head, whole, tail }));
  if (row) return { kind: row[2], text: row[1] };
  return /^[\t\n\r -~\x80-\xff]+$/.test(head.slice(0, 256)) && /^[\t\n\r -~]{4}/.test(head)
    ? { kind: undefined, text: `text that begins ${quote(head.trim().split(/\s*\n/)[0].slice(0, 40))}` }
    : undefined;
}

/** A file in a few words; undefined for an unknown kind. */
export function recognized(bytes: Uint8Array): string | undefined {
  return recognize(bytes)?.text;
}

/** Text that is made when it is first asked for. */
function once(bytes: Uint8Array): () => string {
  let text: string | undefined;
  return () => {
    text ??= latin1(bytes);
    return text;
  };
}

/** The Encoding Standard's latin1 is Windows-1252: as bytes it is not. */
function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
