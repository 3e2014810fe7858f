// node peak.mjs: folds files with more parts than bytes, and prints for each by how many MB memory
// was larger at its peak than before, as Linux counts it. Each file in a process of its own,
// without flags.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const own = fileURLToPath(import.meta.url);
const [, , work] = process.argv;
const WORK = ['norms', 'header'];

if (!work) {
  const found = WORK.map((name) => [name, Number(execFileSync(process.execPath, [own, name], { encoding: 'utf8' }))]);
  console.log(JSON.stringify(Object.fromEntries(found)));
} else {
  const { foldSafetensors, readSafetensors } = await import(new URL('../../dist/weights/index.js', import.meta.url));
  const count = 16_000;
  const entries = [];
  const values = [];
  const put = (name, shape, value) => {
    const at = values.length * 4;
    entries.push(`"${name}":{"dtype":"F32","shape":[${shape}],"data_offsets":[${at},${at + 4}]}`);
    values.push(value);
  };
  for (let i = 0; i < count; i++) {
    put(`${2 * i}.weight`, [1, 1], 2);
    put(`${2 * i + 1}.running_mean`, [1], -1);
    put(`${2 * i + 1}.running_var`, [1], 1);
  }
  const header = new TextEncoder().encode(`{${entries.join()}}`);
  const file = new Uint8Array(8 + header.length + values.length * 4);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  file.set(new Uint8Array(Float32Array.from(values).buffer), 8 + header.length);
  const kilobytes = (key) => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]);
  const before = kilobytes('VmHWM');
  if (work === 'norms') foldSafetensors(file);
  else readSafetensors(file);
  console.log(Math.round((kilobytes('VmHWM') - before) / 1024));
}
