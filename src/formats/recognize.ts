// What a file is, by its first bytes: for whoever gave it to the wrong reader.

const HDF5 = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

export function isHdf5(bytes: Uint8Array): boolean {
  return HDF5.every((byte, i) => bytes[i] === byte);
}

/** A file in a few words; undefined for one that nobody knows. */
export function recognized(bytes: Uint8Array): string | undefined {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 256));
  if (bytes[8] === 0x7b && bytes[7] === 0 && bytes[6] === 0) return 'a safetensors file, which has no graph';
  if (text.startsWith('{')) return 'JSON';
  if (text.startsWith('PK\u0003\u0004')) {
    if (/\/data\.pkl/.test(text))
      return 'a file of torch.save, which is a pickle: write safetensors with save_file(model.state_dict(), …)';
    return 'a ZIP archive: NPZ or .keras';
  }
  if (bytes[0] === 0x80 && bytes[1] >= 2 && bytes[1] <= 5)
    return 'a pickle: write safetensors with save_file(model.state_dict(), …)';
  if (isHdf5(bytes)) return 'an HDF5 file';
  if (bytes[0] === 0x93 && text.slice(1, 6) === 'NUMPY') return 'an NPY file';
  return undefined;
}
