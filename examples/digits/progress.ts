/** One line on standard error that rewrites itself; silent where that is not a terminal. */
export class Progress {
  readonly #start = performance.now();
  readonly #isTerminal = process.stderr.isTTY === true;

  /** @param done share of all the work, 0 to 1 */
  show(text: string, done: number): void {
    if (!this.#isTerminal) return;
    const left = done > 0 ? ((performance.now() - this.#start) * (1 - done)) / done / 1000 : 0;
    const minutes = Math.floor(left / 60);
    const seconds = String(Math.round(left % 60)).padStart(2, '0');
    const line = `${(done * 100).toFixed(0).padStart(3)} %  ${text}  ${minutes}:${seconds} left`;
    process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns || 100) - 1)}`);
  }

  clear(): void {
    if (this.#isTerminal) process.stderr.write('\r\x1b[2K');
  }
}
