// A lint rule: who may know whom (design section 2), and that a folder's index.ts is its only door.
import { dirname, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../../src', import.meta.url));
const EVERYTHING = 'everything';

/** Folder of src -> the other folders that it may import. */
const MAY_KNOW = {
  base: [],
  ops: ['base'],
  wire: ['base'],
  leveldb: ['base'],
  backup: ['base'],
  certificates: ['base'],
  raft: ['base', 'wire', 'leveldb'],
  statemachine: ['base', 'leveldb'],
  scheduler: ['base', 'statemachine'],
  coordinator: ['base', 'leveldb', 'backup', 'ops', 'wire', 'raft', 'statemachine', 'scheduler', 'job'],
  sql: ['base'],
  job: ['base', 'sql'],
  executor: ['base', 'ops', 'wire', 'sql', 'job', 'collector'],
  collector: ['base', 'ops', 'wire', 'sql', 'job'],
  client: ['base', 'ops', 'wire', 'sql', 'job'],
  cli: EVERYTHING,
  dev: EVERYTHING,
};

/** Folders of src without clock, socket, disk, randomness, promise or timer. */
export const PURE_FOLDERS = ['raft/core', 'statemachine/commands', 'scheduler/planner'];

const place = (file) => relative(src, file).split(sep).join('/');

function problemOf(file, source) {
  const from = place(file);
  const pure = PURE_FOLDERS.find((folder) => from.startsWith(`${folder}/`));
  if (!source.startsWith('.')) {
    if (source === '#test-build')
      return from === 'base/test-build.ts' ? undefined : 'only base/test-build.ts imports #test-build';
    return pure === undefined ? undefined : `${pure} is pure: it imports no package and no part of Node`;
  }
  const to = place(resolve(dirname(file), source));
  if (to.startsWith('..')) return 'the product imports nothing outside of src';
  const [fromFolder, toFolder] = [from.split('/')[0], to.split('/')[0]];
  if (pure !== undefined && toFolder === 'wire') return `${pure} is pure: it does not know the wire`;
  if (fromFolder === toFolder) return undefined;
  if (to !== `${toFolder}/index.ts`) return `import ${toFolder} through its door: ${toFolder}/index.ts`;
  const allowed = MAY_KNOW[fromFolder];
  if (allowed === undefined) return `say in scripts/lint/import-directions.mjs what ${fromFolder} may know`;
  if (allowed === EVERYTHING || allowed.includes(toFolder)) return undefined;
  return `${fromFolder} may not know ${toFolder}`;
}

export const importDirections = {
  meta: { type: 'problem', schema: [], messages: { wrong: '{{problem}} (design section 2)' } },
  create(context) {
    const check = (node) => {
      if (typeof node.source?.value !== 'string') return;
      const problem = problemOf(context.filename, node.source.value);
      if (problem !== undefined) context.report({ node: node.source, messageId: 'wrong', data: { problem } });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    };
  },
};
