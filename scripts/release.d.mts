interface Manifest {
  readonly version: string;
  readonly repository?: string | { readonly url?: string };
}
export function refusals(manifest: Manifest, changelog: string, changes: string): string[];
export function withAddresses(readme: string, repository: Manifest['repository'], version: string): string;
export function published<M extends object>(manifest: M): Omit<M, 'scripts' | 'devDependencies'>;
