// Members marked `@internal` leave the published types. TypeScript's stripInternal would leave
// those that a subclass overrides without saying it once more; here a mark holds for all classes
// below it.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const isInternal = (node) => ts.getJSDocTags(node).some(({ tagName }) => tagName.text === 'internal');
const parse = (name, text) => ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
/** A constructor has no name: a mark on it holds for itself alone. */
const nameOf = (member) => member.name?.getText();

/** Internal members by class, those of the classes above among them. */
export function internalMembers(folder) {
  const classes = new Map();
  const visit = (node) => {
    if (ts.isClassDeclaration(node) && node.name) {
      const above = node.heritageClauses?.find(({ token }) => token === ts.SyntaxKind.ExtendsKeyword);
      const own = node.members
        .filter(isInternal)
        .map(nameOf)
        .filter((name) => name !== undefined);
      classes.set(node.name.text, { base: above?.types[0].expression.getText(), own });
    }
    ts.forEachChild(node, visit);
  };
  for (const file of readdirSync(folder, { recursive: true }))
    if (file.endsWith('.ts')) visit(parse(file, readFileSync(join(folder, file), 'utf8')));
  const all = (name) => {
    const { base, own } = classes.get(name) ?? { own: [] };
    return base ? [...all(base), ...own] : own;
  };
  return new Map([...classes.keys()].map((name) => [name, new Set(all(name))]));
}

/** Declarations without internal members, and without those that only such members named. */
export function withoutInternal(code, members) {
  const gone = [];
  const visit = (node) => {
    if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) {
      // rollup numbers names that come twice
      const known = members.get(node.name.text.replace(/\$\d+$/, ''));
      for (const member of node.members) {
        if (isInternal(member) || known?.has(nameOf(member))) gone.push(member);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(parse('types.d.ts', code));
  return withoutUnused(cut(code, gone));
}

function cut(code, nodes) {
  return nodes.reduceRight((text, node) => text.slice(0, node.getFullStart()) + text.slice(node.getEnd()), code);
}

/** Without types that are not exported and named nowhere but in themselves. */
function withoutUnused(code) {
  const file = parse('types.d.ts', code);
  const own = file.statements.filter(
    (node) =>
      (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) &&
      !node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword),
  );
  const named = new Set();
  for (const statement of file.statements) {
    const visit = (node) => {
      if (ts.isIdentifier(node) && statement.name !== node && statement.name?.text !== node.text) named.add(node.text);
      ts.forEachChild(node, visit);
    };
    visit(statement);
  }
  const unused = own.filter(({ name }) => !named.has(name.text));
  return unused.length ? withoutUnused(cut(code, unused)) : code;
}
