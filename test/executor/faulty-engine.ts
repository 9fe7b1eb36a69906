/** An engine whose first transaction meets a fault; what comes after meets none. */
import { TidemarkError } from '../../src/base/index.ts';
import type { SqlConnection, SqlEngine } from '../../src/sql/index.ts';

/** A COMMIT that was carried out, or was not; or the connection is killed before the given statement. */
export type Fault = 'answer lost' | 'commit lost' | { readonly killedBefore: number };

export function faultyEngine(
  engine: SqlEngine,
  fault: Fault,
): { engine: SqlEngine; happened: () => boolean } {
  let happened = false;
  let begun = false;
  let statements = 0;
  const commit = async (connection: SqlConnection): Promise<void> => {
    if (happened || typeof fault === 'object') return connection.commit();
    happened = true;
    if (fault === 'answer lost') await connection.commit();
    connection.destroy();
    throw new TidemarkError('DB_OUTCOME_UNKNOWN', 'the connection was lost during COMMIT');
  };
  const query = async (
    connection: SqlConnection,
    ...statement: Parameters<SqlConnection['query']>
  ): ReturnType<SqlConnection['query']> => {
    if (begun) statements += 1;
    if (!happened && typeof fault === 'object' && statements === fault.killedBefore) {
      happened = true;
      await engine.kill(connection.id);
    }
    return connection.query(...statement);
  };
  const faulty = (connection: SqlConnection): SqlConnection =>
    new Proxy(connection, {
      get(target, name) {
        if (name === 'commit') return () => commit(target);
        if (name === 'begin') {
          begun = true;
          return (mode: 'write' | 'snapshot') => target.begin(mode);
        }
        if (name === 'query') {
          return (...statement: Parameters<SqlConnection['query']>) => query(target, ...statement);
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  const wrapped: SqlEngine = {
    kind: engine.kind,
    dialect: engine.dialect,
    connect: (options) => engine.connect(options),
    kill: (id) => engine.kill(id),
    close: () => engine.close(),
    read: (purpose, work, signal) => engine.read(purpose, work, signal),
    endpoints: engine.endpoints,
    use: (purpose, work, signal) => engine.use(purpose, (connection) => work(faulty(connection)), signal),
  };
  return { engine: wrapped, happened: () => happened };
}
