// The source everywhere else: inside the JavaScript, part by part.

export * from './generated/inline.ts';
