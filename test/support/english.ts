// English in texts that are to be Chinese.

/** Names of code, of people and of things, which stay as they are. */
const NAMES =
  /onNonFinite|Intel\(R\) Xeon\(R\) Processor|'[\w-]+'|\b(?:PyTorch|ReLU|relu|He|ResNet|ImageNet|Wu|Santurkar|LSTM|dropout|tanh|sigmoid|gamma|beta|eps|keep|log10|evenkeel|Node|JavaScript|AMD|EPYC|English)\b/g;

/** Words of two letters or more that are no names. */
export const englishIn = (text: string): string[] => text.replace(NAMES, '').match(/[a-z]{2,}/gi) ?? [];
