// A route on Next's edge runtime, built and started as in production. Next alone is 340 MB.

import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type Host, sh } from './host.ts';
import { app, packages } from './install.ts';
import { answering, freePort, probed } from './workerd.ts';

export const next: Host[] = [
  {
    name: 'Next edge route',
    heavy: true,
    backend: 'simd',
    reason: /relaxed: Error: this host was not given relaxed\.wasm/,
    run: async () => {
      const folder = await packages('next', 'next', 'react', 'react-dom');
      rmSync(`${folder}node_modules/evenkeel`, { recursive: true, force: true });
      cpSync(`${app}node_modules/evenkeel`, `${folder}node_modules/evenkeel`, { recursive: true });
      cpSync(`${app}probe.mjs`, `${folder}probe.mjs`);
      mkdirSync(`${folder}app/probe`, { recursive: true });
      writeFileSync(`${folder}package.json`, JSON.stringify({ private: true, type: 'module' }));
      writeFileSync(`${folder}next.config.mjs`, `export default { turbopack: { root: '${folder}' } };\n`);
      writeFileSync(
        `${folder}app/layout.js`,
        'export default function Layout({ children }) { return <html><body>{children}</body></html>; }\n',
      );
      writeFileSync(`${folder}app/page.js`, 'export default function Page() { return <p>probe</p>; }\n');
      writeFileSync(
        `${folder}app/probe/route.js`,
        `import * as k from 'evenkeel';
import * as infer from 'evenkeel/infer';
import { probe } from '../../probe.mjs';
export const runtime = 'edge';
export const dynamic = 'force-dynamic';
export function GET() {
  return new Response(JSON.stringify(probe(k, infer)) + '\\n');
}
`,
      );
      const cli = `${folder}node_modules/next/dist/bin/next`;
      const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' } as NodeJS.ProcessEnv;
      await sh(process.execPath, [cli, 'build'], { cwd: folder, env, timeout: 300_000 });
      const port = await freePort();
      const server = spawn(process.execPath, [cli, 'start', '-p', `${port}`], {
        cwd: folder,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let said = '';
      for (const stream of [server.stdout, server.stderr])
        stream.on('data', (chunk) => {
          said += chunk;
        });
      try {
        await answering(`http://127.0.0.1:${port}/`, server, () => said);
        return await probed(`http://127.0.0.1:${port}/probe`);
      } finally {
        server.kill('SIGKILL');
      }
    },
  },
];
