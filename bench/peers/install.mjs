// Installs the peers where they are missing. Their install scripts would download what a CPU does
// not need.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const packages = ['onnxruntime-node', '@tensorflow/tfjs-converter'];
if (!packages.every((name) => existsSync(`${folder}node_modules/${name}`))) {
  console.log('installing the peers into bench/peers (about 500 MB)');
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder, stdio: 'inherit' });
}
