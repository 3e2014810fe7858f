// evenkeel compile IN OUT [--module] [--f16]

import { basename } from 'node:path';
import { type Report, UsageError, type Values, withOptions } from './command.ts';
import { isStdout, writeFiles } from './files.ts';
import { needsOf, showPort } from './network.ts';
import { graphIn } from './weights-file.ts';

/** A network in a file becomes a compiled one, with `--module` beside a module that loads it. */
export async function compile([input, output]: string[], { module, f16 = false, progress }: Values): Promise<Report> {
  if (module && (isStdout(output) || /\.m?js$/.test(output)))
    throw new UsageError('--module writes a module beside OUT: OUT is a file, and no module');
  const net = await graphIn('compile', input, progress ?? false);
  using run = net.compile();
  const bytes = await withOptions(() => run.save({ f16 }));
  const beside = module ? `${output.replace(/\.[^./\\]*$/, '')}.mjs` : undefined;
  // the module last: it is what says that the network is there
  const files: [string, Uint8Array][] = [[output, bytes]];
  if (beside) files.push([beside, new TextEncoder().encode(moduleFor(basename(output), run.operations))]);
  await writeFiles(files, progress);
  const { steps, operations, inputs, outputs } = run;
  return {
    lines: [
      `${inputs.map(showPort).join(', ')} → ${outputs.map(showPort).join(', ')}, ${bytes.length.toLocaleString('en')} bytes → ${output}`,
      ...steps.map((step, i) => `  ${i}  ${step}`),
      ...(beside ? [`a module that loads it → ${beside}`] : needsOf(operations)),
    ],
    data: { in: input, out: output, module: beside ?? null, bytes: bytes.length, inputs, outputs, steps, operations },
  };
}

/**
 * A module that loads a compiled network from the file beside it, with the operations that it
 * needs.
 */
function moduleFor(file: string, operations: readonly string[]): string {
  const needed = operations.length ? `{ ...options, operations: [${operations.join(', ')}] }` : 'options';
  return `// Loads ${JSON.stringify(file)}, which lies beside this module. Written by evenkeel compile --module.

import { ${['load', ...operations].sort().join(', ')} } from 'evenkeel/infer';

export const url = new URL(${JSON.stringify(`./${encodeURIComponent(file)}`)}, import.meta.url);

/** The network in the bytes of the file. Options are those of load. */
export function network(bytes, options) {
  return load(bytes, ${needed});
}

/** Reads the file and loads the network. */
export default async function open(options) {
  const files = url.protocol === 'file:' ? globalThis.process?.getBuiltinModule?.('node:fs/promises') : undefined;
  if (files) return network(await files.readFile(url), options);
  const response = await fetch(url);
  if (!response.ok) throw new Error(\`\${url}: \${response.status} \${response.statusText}\`);
  return network(new Uint8Array(await response.arrayBuffer()), options);
}
`;
}
