import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { breaking } from './test/support/breaking.ts';
import { LongestFirst } from './test/support/longest-first.ts';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: breaking(),
  // Unit tests run the sources as the test build: failpoints and mutations are live.
  resolve: { alias: { '#test-build': at('./src/base/test-build-active.ts') } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // A process of its own per file: a mutation, a failpoint or a crash of one file never reaches another.
    pool: 'forks',
    // Of two cores, too: most files wait for processes, disks and databases half of their time.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    restoreMocks: true,
  },
});
