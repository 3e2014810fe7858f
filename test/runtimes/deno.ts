import { answerIn, type Host, sh } from './host.ts';
import { app, packages } from './install.ts';

export const deno: Host[] = [
  {
    name: 'Deno',
    backend: 'relaxed',
    run: async () => {
      const { deno } = { deno: `${await packages('deno', 'deno')}node_modules/.bin/deno` };
      return answerIn(await sh(deno, ['run', '--quiet', '--allow-read', '--allow-env', 'main.mjs'], { cwd: app }));
    },
  },
];
