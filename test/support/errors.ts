/** Name, code and message of what is thrown. */
export function errorOf(work: () => unknown) {
  try {
    work();
  } catch (error) {
    const { name, code, message } = error as Error & { code: string };
    return [name, code, message];
  }
  return undefined;
}
