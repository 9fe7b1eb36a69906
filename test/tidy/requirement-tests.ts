/** Finds the tests that carry a requirement of test/raft/requirements.ts in their title. */
import { projectSources, type Source } from './sources.ts';

export interface RequirementTest {
  readonly path: string;
  readonly title: string;
}

const TAG = String.raw`\[(R\d+(?: R\d+)*)\]`;
/** At the end of a text, whose beginning is its title. */
const TITLE = new RegExp(String.raw`(['"\`])((?:(?!\1).)*) ${TAG}\1`, 'g');
const HEADER = new RegExp(String.raw`^# (.*) ${TAG}$`, 'm');

function found({ path, text }: Source): readonly (readonly [tags: string, test: RequirementTest])[] {
  if (path.endsWith('.test.ts')) {
    return [...text.matchAll(TITLE)].map(([, , title = '', tags = '']) => [tags, { path, title }]);
  }
  const [, title = '', tags = ''] = HEADER.exec(text) ?? [];
  return tags === '' ? [] : [[tags, { path, title }]];
}

/** Returns the tests of each number, by number, in the order of their paths. */
export function testsByRequirement(): ReadonlyMap<number, readonly RequirementTest[]> {
  const tests = new Map<number, RequirementTest[]>();
  const sources = projectSources('.ts', '.txt').filter(({ path }) => /^test\/.*\.(test\.ts|txt)$/.test(path));
  for (const source of sources) {
    for (const [tags, test] of found(source)) {
      for (const tag of tags.split(' ')) {
        const id = Number(tag.slice(1));
        tests.set(id, [...(tests.get(id) ?? []), test]);
      }
    }
  }
  return new Map([...tests].sort(([a], [b]) => a - b));
}
