// The API report: `npm run api` writes what the published types declare to api/, one file per
// entry. With `--check` nothing is written, and a difference from the committed report is an error.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Name of the report, and the entry's types. */
const ENTRIES = {
  evenkeel: 'js.d.ts',
  infer: 'infer/index.d.ts',
  weights: 'weights/index.d.ts',
  models: 'models/index.d.ts',
  pool: 'pool/index.d.ts',
  shards: 'shards/index.d.ts',
  wasm: 'wasm/module.d.ts',
};

/** The report of one entry, written to `folder`. Returns its text. */
function reportOf(name, entry, folder) {
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable', 'dom'],
    module: 'nodenext',
    strict: true,
    types: [],
  };
  const file = join(root, 'dist', entry);
  if (!existsSync(file)) throw new Error(`${relative(root, file)} is missing: npm run build`);
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: file,
      compiler: { overrideTsconfig: { compilerOptions, files: [file] } },
      // types that are not exported are still part of the signatures that name them
      apiReport: {
        enabled: true,
        includeForgottenExports: true,
        reportFolder: folder,
        reportTempFolder: folder,
        reportFileName: `${name}.api.md`,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      newlineKind: 'lf',
      messages: {
        extractorMessageReporting: { default: { logLevel: 'none' } },
        tsdocMessageReporting: { default: { logLevel: 'none' } },
        compilerMessageReporting: { default: { logLevel: 'error' } },
      },
    },
    configObjectFullPath: join(root, 'api', 'api-extractor.json'),
    packageJsonFullPath: join(root, 'package.json'),
  });
  const { errorCount } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      // the report itself says what is new; only errors are shown
      message.handled = message.logLevel !== 'error';
    },
  });
  if (errorCount) throw new Error(`the types of ${entry} do not compile`);
  return readFileSync(join(folder, `${name}.api.md`), 'utf8');
}

const check = process.argv.includes('--check');
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-api-'));
try {
  for (const [name, entry] of Object.entries(ENTRIES)) {
    const text = reportOf(name, entry, folder);
    const committed = join(root, 'api', `${name}.api.md`);
    if (!check) {
      mkdirSync(dirname(committed), { recursive: true });
      writeFileSync(committed, text);
    } else if (!existsSync(committed) || readFileSync(committed, 'utf8') !== text) {
      process.exitCode = 1;
      console.error(`api/${name}.api.md differs from the published types; \`npm run api\` writes it anew:`);
      const old = existsSync(committed) ? committed : '/dev/null';
      try {
        execFileSync('git', ['diff', '--no-index', '--', old, join(folder, `${name}.api.md`)], { stdio: 'inherit' });
      } catch {
        // git reports a difference by its exit code
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
