import { describe, expect, it } from 'vitest';
import { projectSources, type Source } from './sources.ts';
import { STYLE_RULES } from './style-rules.ts';

/** This file holds a breach of each rule. */
const sources = projectSources().filter(({ path }) => path !== 'test/tidy/style.test.ts');

describe('style', () => {
  it.each(Object.keys(STYLE_RULES))('%s', (name) => {
    const rule = STYLE_RULES[name]!;
    expect(sources.flatMap((source) => rule(source))).toEqual([]);
  });
});

/** What each rule must see; a rule that sees nothing would pass for ever. */
const BREACHES: Readonly<Record<string, { path: string; text: string }>> = {
  shortLines: { path: 'src/a.ts', text: 'x'.repeat(111) },
  shortFiles: { path: 'src/a.ts', text: '\n'.repeat(501) },
  kebabCase: { path: 'src/someFile.ts', text: '' },
  noGrabBags: { path: 'src/utils.ts', text: '' },
  nothingUnfinished: { path: 'src/a.ts', text: '// TODO: later' },
  noConsole: { path: 'src/a.ts', text: 'console.info(1)' },
  noFocusedTests: { path: 'test/a.test.ts', text: "it.only('x', () => {})" },
  noFixedSleep: { path: 'test/a.test.ts', text: 'await sleep(100)' },
  shortFunctions: { path: 'src/a.ts', text: `function f() {${'\n'.repeat(70)}}` },
  noEmptyCatch: { path: 'src/a.ts', text: 'try { f() } catch { /* nothing */ }' },
  noMachinePaths: { path: 'docs/a.md', text: 'see /root/tidemark' },
};

describe('each style rule', () => {
  it.each(Object.keys(STYLE_RULES))('%s sees a breach', (name) => {
    const { path, text } = BREACHES[name]!;
    const source: Source = { path, text, lines: text.split('\n') };
    expect(STYLE_RULES[name]!(source)).not.toEqual([]);
  });
});
