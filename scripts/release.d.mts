interface Manifest {
  readonly version: string;
  readonly repository?: string | { readonly url?: string };
}
interface Checked {
  readonly manifest: Manifest;
  readonly changelog: string;
  readonly changes: string;
  readonly tags: string;
  readonly modules: Record<string, { readonly shipped: string | undefined; readonly built: readonly string[] }>;
}
export function refusals(checked: Checked): string[];
export function withAddresses(readme: string, repository: Manifest['repository'], version: string): string;
export function published<M extends object>(manifest: M): Omit<M, 'scripts' | 'devDependencies'>;
