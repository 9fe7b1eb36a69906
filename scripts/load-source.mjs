// Loads TypeScript sources for scripts that read the tables they declare, through the test runner's own
// loader.
import { fileURLToPath } from 'node:url';
import { createViteServer } from 'vitest/node';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Resolves with the exports of each module; paths are from the repository's root. */
export async function loadSources(paths) {
  const server = await createViteServer({
    root,
    configFile: false,
    logLevel: 'error',
    optimizeDeps: { noDiscovery: true },
    resolve: { alias: { '#test-build': `${root}src/base/test-build-inert.ts` } },
    server: { middlewareMode: true, hmr: false, watch: null, ws: false },
  });
  try {
    return await Promise.all(paths.map((path) => server.ssrLoadModule(`/${path}`)));
  } finally {
    await server.close();
  }
}
