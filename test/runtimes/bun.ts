import { answerIn, type Host, sh } from './host.ts';
import { app, packages, work } from './install.ts';

const bun = async () => `${await packages('bun', 'bun')}node_modules/.bin/bun`;

export const buns: Host[] = [
  {
    name: 'Bun, run',
    backend: 'relaxed',
    run: async () => answerIn(await sh(await bun(), ['run', 'main.mjs'], { cwd: app })),
  },
  {
    name: 'Bun, build --compile',
    backend: 'relaxed',
    run: async () => {
      const file = `${work}bun/probe`;
      await sh(await bun(), ['build', '--compile', 'main.mjs', '--outfile', file], { cwd: app });
      return answerIn(await sh(file, []));
    },
  },
];
