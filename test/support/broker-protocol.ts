/**
 * What test processes ask of the one process that outlives them all (vitest's global setup): a database
 * server and a build are made once for a run, and only if some test needs them.
 */
export interface BrokerRequest {
  readonly want: 'mariadb' | 'mariadb data' | 'build' | 'address';
}

export type BrokerReply =
  { readonly ok: true; readonly value: string } | { readonly ok: false; readonly message: string };

declare module 'vitest' {
  interface ProvidedContext {
    readonly brokerPort: number;
    readonly mariadb: 'present' | 'missing' | 'not wanted';
  }
}
