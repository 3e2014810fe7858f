// Layers that are made once the first input says how many features there are.

import { wrongMoment } from '../errors.ts';

/**
 * What a layer throws that has nothing learned yet, since nobody has said how many features its
 * inputs have.
 */
export function notBuilt(subject: string, argument: string): never {
  throw wrongMoment('ERR_MODE', subject, argument, 'build(shape) or a forward before them', 'neither');
}
