// What tells one recurrent cell from another: its gates, and what it does with them.

/** One step, in linear memory: rows of the sequences that reach it. */
export interface CellStep {
  readonly rows: number;
  /** Rows of earlier steps. */
  readonly before: number;
  /** States before and after: h, and the cell's own values likewise. */
  readonly h: { readonly before: number; readonly after: number };
  readonly c: { readonly before: number; readonly after: number };
  /** What comes from the input, `[rows, gates·H]`; may be written over. */
  readonly input: number;
  /** Activated gates. */
  readonly gates: number;
  /** A row of H for each row. */
  readonly extra: number;
  /** Room for one more such, for the length of the step. */
  readonly spare: number;
  /** Works out what comes from the state before, with `added` to it, in `y`. */
  fromState(y: number, added: number): void;
}

/** One step back. */
export interface CellStepBack extends Omit<CellStep, 'fromState'> {
  /** dL/dh of the step. */
  readonly dh: number;
  /** Where dL/dc comes from the step behind, and goes to the step before. */
  readonly dc: number;
  /** Where dL/dh of the step before goes, so far as it does not come by the product. */
  readonly dhBefore: number;
  /** Gradients of what came from the input and of what came from the state, `[rows, gates·H]`. */
  readonly dInput: number;
  readonly dState: number;
}

/** A recurrent cell. */
export interface CellKind {
  /** Its name in errors. */
  readonly name: string;
  readonly gates: number;
  /** Has it a value of its own beside the hidden state? */
  readonly hasValue: boolean;
  /**
   * Gates of a step, and the states after it.
   *
   * @param normalize batch norm of the cell's own value, where there is one: from x to y
   */
  forward(step: CellStep, hiddenSize: number, normalize?: (x: number, y: number) => void): void;
  /** Their gradients. `normBack` takes the gradient at `dy` back through that norm. */
  backward(step: CellStepBack, hiddenSize: number, normBack?: (x: number, dy: number) => void): void;
}
