import { describe, expect, it } from 'vitest';
import { FAILPOINTS, MUTATIONS } from '../../src/base/test-build-names.ts';
import { projectSources, type Source } from './sources.ts';

const NAMES = 'src/base/test-build-names.ts';
const all = projectSources('.ts').filter(({ path }) => path !== NAMES);
const product = all.filter(({ path }) => path.startsWith('src/'));
const tests = all.filter(({ path }) => path.startsWith('test/'));

const unnamedIn = (files: readonly Source[], names: readonly string[], call: string): string[] =>
  names.filter((name) => {
    const pattern = new RegExp(`${call}['"]${name.replaceAll('.', '\\.')}['"]`);
    return !files.some(({ text }) => pattern.test(text));
  });

describe('names of the test build', () => {
  it('has a place in the product for every failpoint', () => {
    expect(unnamedIn(product, FAILPOINTS, String.raw`failpoint(?:Sync)?\(\s*`)).toEqual([]);
  });

  it('has a rule in the product for every mutation', () => {
    expect(unnamedIn(product, MUTATIONS, String.raw`mutated\(\s*`)).toEqual([]);
  });

  it('has a test for every mutation', () => {
    expect(unnamedIn(tests, MUTATIONS, '')).toEqual([]);
  });
});
