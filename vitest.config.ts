import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const relaxedFlag = '--experimental-wasm-relaxed-simd';
const hasRelaxed = Number(process.versions.node.split('.')[0]) >= 22;

/**
 * Relaxed rounding is the processor's; the plain loops would touch all of the memory that the other
 * test only reserves.
 */
const EXCLUDED = {
  simd: [],
  relaxed: ['test/backends/bits.test.ts'],
  js: ['test/backends/large-memory.test.ts'],
};

/**
 * The same tests on one backend. Node 20 has relaxed SIMD behind a flag, which only this project's
 * workers get.
 */
const onBackend = (name: 'simd' | 'relaxed' | 'js') => ({
  extends: true as const,
  test: {
    name,
    include: ['test/backends/**/*.test.ts'],
    exclude: EXCLUDED[name],
    setupFiles: ['test/support/kernels.ts'],
    env: { EVENKEEL_BACKEND: name },
    execArgv: name === 'relaxed' && !hasRelaxed ? [relaxedFlag] : [],
  },
});

const report = process.env.EVENKEEL_TEST_REPORT;

export default defineConfig({
  resolve: {
    alias: { '#wasm': fileURLToPath(new URL('./src/wasm/inline.ts', import.meta.url)) },
  },
  test: {
    pool: 'forks',
    // .ci/run reads the counts from the runner's own report
    ...(report && { reporters: ['default', 'json'], outputFile: { json: report } }),
    // deadlines are there for what hangs, not for what a busy machine makes slow
    testTimeout: 600_000,
    hookTimeout: 600_000,
    projects: [
      onBackend('simd'),
      onBackend('relaxed'),
      onBackend('js'),
      { extends: true, test: { name: 'once', include: ['test/once/**/*.test.ts'] } },
    ],
  },
});
