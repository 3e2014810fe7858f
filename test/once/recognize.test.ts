// Files that are something else are named for what they are, by every reader alike.

import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { recognize } from '../../src/formats/recognize.ts';
import { Linear, Sequential } from '../../src/index.ts';
import { loadSequential, readNpy, readNpz, readSafetensors } from '../../src/weights/index.ts';
import { fixture } from '../support/weights.ts';

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const zip = (...names: string[]) => bytes(`PK\x03\x04${names.join('PK')}`);
const SAVE = 'write safetensors with save_file(model.state_dict(), …)';
const TO_ONNX = 'export the model as ONNX';

describe('files that are something else', () => {
  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'an empty file'],
    [
      'a pointer of Git LFS',
      bytes('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 102530333\n'),
      'a Git LFS pointer, which stands for the file: fetch that with git lfs pull',
    ],
    ['a page', bytes('\n<!DOCTYPE html>\n<html class="">'), 'a web page: download the file itself'],
    ['a page in capitals', bytes('<HTML><HEAD>'), 'a web page: download the file itself'],
    ['an answer of a server', bytes('Entry not found'), "text that begins 'Entry not found'"],
    ['OpenVINO', bytes('<?xml version="1.0"?>\n<net name="x">'), `XML, as OpenVINO has it: ${TO_ONNX}`],
    ['torch.save', fixture('torch/net.pt'), `a file of torch.save, which is a pickle: ${SAVE}`],
    [
      'TorchScript',
      zip('net/data.pkl', 'net/code/__torch__.py', 'net/constants.pkl'),
      `a TorchScript archive: ${SAVE}`,
    ],
    ['torch.save of old', bytes('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'), `a pickle: ${SAVE}`],
    ['a pickle in text', bytes('ccollections\nOrderedDict\np0\n'), `a pickle: ${SAVE}`],
    ['a pickle of protocol 5', bytes('\x80\x05\x95\x0b'), `a pickle: ${SAVE}`],
    ['a JAR', zip('META-INF/'), 'a ZIP archive of something else'],
    ['TensorFlow Lite', bytes('\x1c\0\0\0TFL3\x14\0'), `a TensorFlow Lite model: ${TO_ONNX}, with tf2onnx`],
    [
      'ORT',
      bytes('\x18\0\0\0ORTM\0\0'),
      'an ONNX Runtime model (.ort), which has its own format: take the .onnx behind it',
    ],
    [
      'a frozen graph',
      bytes('\n9\n\x05input\x12\x0bPlaceholder*\x0b\n\x05dtype'),
      `a TensorFlow graph (.pb): ${TO_ONNX}, with tf2onnx`,
    ],
    ['a SavedModel', bytes('\x08\x01\x12\xaf\xb1\x02\nF\x12;\n\x0e\n\x04NoOp'), `a TensorFlow SavedModel: ${TO_ONNX}`],
    ['Core ML', bytes('\x08\x04\x12\x9c\x01\n\x1a\n\x05image\x1a'), `a Core ML model: ${TO_ONNX}`],
    ['GGUF', bytes('GGUF\x03\0\0\0'), 'a GGUF file of quantised weights: take the safetensors behind it'],
    ['Flax', bytes('\x81\xa6params\x83'), 'MessagePack, as Flax writes it: write NPZ or safetensors'],
    ['gzip', gzipSync('weights'), 'gzip: unpack it first'],
    ['Zstandard', bytes('\x28\xb5\x2f\xfd\x04'), 'a compressed archive: unpack it first'],
    ['tar', bytes(`net.pth${'\0'.repeat(250)}ustar\x00`), 'a tar archive: unpack it first'],
    ['PNG', bytes('\x89PNG\r\n\x1a\n\0\0'), 'an image'],
    ['JPEG', bytes('\xff\xd8\xff\xe0\0\x10JFIF'), 'an image'],
    ['PDF', bytes('%PDF-1.7'), 'a PDF'],
    ['MATLAB', bytes('MATLAB 5.0 MAT-file'), 'a MATLAB file: save its arrays as NPZ'],
    ['WebAssembly', bytes('\0asm\x01\0\0\0'), 'a WebAssembly module'],
    ['JSON of something else', bytes('{"hidden_size": 768}'), 'JSON'],
  ])('%s', async (_, file, text) => {
    expect(recognize(file)).toEqual({ kind: text.includes('ZIP') ? 'ZIP' : undefined, text });
    const got = (format: string, wanted: string) => `${format}: file expected ${wanted}, got ${text} (offset 0)`;
    expect(() => readSafetensors(file)).toThrow(got('safetensors', 'a safetensors file'));
    expect(() => readNpy(file)).toThrow(got('NPY', 'an NPY file'));
    await expect(loadSequential(file)).rejects.toThrow(got('loadSequential', 'an ONNX, Keras or TF.js file'));
    if (!text.includes('ZIP')) await expect(readNpz(file)).rejects.toThrow(got('NPZ', 'an NPZ file'));
  });

  test('files that there is a reader for', () => {
    const compiled = new Sequential(new Linear(2, 2)).eval().compile().save();
    const kinds = {
      safetensors: fixture('torch/net.f32.safetensors'),
      NPY: fixture('numpy/f4.npy'),
      NPZ: fixture('numpy/stored.npz'),
      ONNX: fixture('torch/net.onnx'),
      HDF5: fixture('keras/chain.new.h5'),
      Keras: fixture('keras/chain.new.keras'),
      'TF.js': fixture('tfjs/plain.json'),
      index: bytes('{"metadata": {}, "weight_map": {"a": "b.safetensors"}}'),
      compiled,
    };
    for (const [kind, file] of Object.entries(kinds)) expect(recognize(file)?.kind).toBe(kind);
    expect(recognize(fixture('numpy/deflated.npz'))?.kind).toBe('NPZ');
    expect(recognize(fixture('onnx/half.onnx'))?.kind).toBe('ONNX');
    expect(recognize(Uint8Array.of(7, 200, 3, 1))).toBeUndefined();
  });
});
