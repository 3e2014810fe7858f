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

/** The same of what a promise is rejected with. */
export async function rejectionOf(work: Promise<unknown>) {
  let error: unknown;
  await work.catch((reason) => {
    error = reason;
  });
  return errorOf(() => {
    if (error) throw error;
  });
}
