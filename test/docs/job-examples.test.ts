import { describe, expect, it } from 'vitest';
import { parseJobFile } from '../../src/job/index.ts';
import { readFences } from '../support/fences.ts';

const PAGES = ['README.md', 'docs/reference/job-file.md', 'docs/tutorial/first-report.md'];

describe.each(PAGES)('job files in %s', (page) => {
  it('are accepted as they stand', async () => {
    const jobs = (await readFences(page)).filter(({ language }) => language === 'yaml');
    expect(jobs.length).toBeGreaterThan(0);
    for (const { text } of jobs) expect(() => parseJobFile(text)).not.toThrow();
  });
});
