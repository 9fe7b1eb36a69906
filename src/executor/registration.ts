/** What the server of a source says of the tables and of the reports of a job that is registered. */
import { existsSync } from 'node:fs';
import { isTidemarkError, LIMITS, mutated, must, TidemarkError } from '../base/index.ts';
import { inspectDimension, inspectSource } from '../collector/index.ts';
import { checkCost, checkReport, withDimensions } from '../job/index.ts';
import type { CapturedTable, ColumnSpec, CompiledReport, DatabaseRef, JobSource } from '../job/index.ts';
import type { Databases } from './databases.ts';

export interface UncheckedReport {
  /** Without the columns of its dimensions. */
  readonly report: CompiledReport;
  /** The captured tables of its source. */
  readonly tables: readonly CapturedTable[];
}

export class Registration {
  readonly #databases: Databases;
  /** By source and table; what several reports read is looked at once. */
  readonly #dimensions = new Map<string, readonly ColumnSpec[]>();
  /** Sources whose account for registration was looked at. */
  readonly #accounts = new Set<string>();

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  /** Reads the captured tables of a source. @throws TidemarkError as {@link inspectSource} does. */
  inspect(source: JobSource): Promise<readonly CapturedTable[]> {
    return asked(source, 'its tables', async () => {
      this.#checkExists(source);
      return await inspectSource(this.#databases.engine(source.database), { tables: source.tables });
    });
  }

  /**
   * Has the source say what it thinks of a report's SQL; returns the report with its dimensions.
   * @throws TidemarkError `SQL_*`, `MEASURE_TYPE`, `TABLE_MISSING`, `JOB_INVALID`, and those of the engine.
   */
  check(source: JobSource, { report, tables }: UncheckedReport): Promise<CompiledReport> {
    return asked(source, `report ${report.name}`, async () => {
      this.#checkExists(source);
      await this.#checkAccount(source);
      const whole = await this.#withDimensions(source, report);
      const engine = this.#databases.engine(registrationOf(source) ?? source.database);
      const connection = await engine.connect({
        purpose: 'validate',
        readOnly: !mutated('job.reportMayWrite'),
        selectMs: LIMITS.validateSelectMs,
      });
      try {
        const input = { connection, dialect: engine.dialect, report: whole, tables };
        await checkReport(input);
        await checkCost(input);
      } finally {
        await connection.close();
      }
      return whole;
    });
  }

  async #withDimensions(source: JobSource, report: CompiledReport): Promise<CompiledReport> {
    const key = (table: string): string => `${source.name}/${table}`;
    for (const { kind, table } of report.inputs) {
      if (kind !== 'dimension' || this.#dimensions.has(key(table))) continue;
      const engine = this.#databases.engine(source.database);
      this.#dimensions.set(key(table), await inspectDimension(engine, table));
    }
    return withDimensions(report, (table) => must(this.#dimensions.get(key(table)), `columns of ${table}`));
  }

  /** What another server, or another schema, says of a report's SQL proves nothing. */
  async #checkAccount(source: JobSource): Promise<void> {
    if (source.registration === undefined || this.#accounts.has(source.name)) return;
    this.#accounts.add(source.name);
    const places: string[] = [];
    for (const ref of [source.database, source.registration]) {
      const engine = this.#databases.engine(ref);
      const sql = `SELECT ${engine.dialect.serverIdentity}, DATABASE()`;
      const { rows } = await engine.use('validate', (connection) => connection.query(sql));
      places.push(JSON.stringify(rows[0]));
    }
    if (places[0] === places[1]) return;
    const where = `sources.${source.name}.registration`;
    throw new TidemarkError('JOB_INVALID', `${where} leads to another database than the source`, {
      next: 'Name the same server and schema there, under another account.',
    });
  }

  /** Opening an embedded source that is not there would make an empty one. */
  #checkExists(source: JobSource): void {
    const address = this.#databases.address(source.database);
    if (address.kind === 'mysql' || existsSync(address.file)) return;
    throw new TidemarkError('DB_UNREACHABLE', `there is no file ${address.file}`, {
      next: "Correct its path, which is relative to the executors' base folder.",
    });
  }
}

function registrationOf({ registration }: JobSource): DatabaseRef | undefined {
  return mutated('job.registrationIgnored') ? undefined : registration;
}

/** What a server says when it is away names neither the source nor what was asked for. */
async function asked<T>(source: JobSource, what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isTidemarkError(error, 'DB_UNREACHABLE', 'DB_BUSY', 'DB_ACCESS', 'TABLE_MISSING')) throw error;
    const message = `source ${source.name} cannot be asked about ${what}: ${error.message}`;
    const leave = 'What a job file leaves as it is declared needs no answer of its source.';
    const next = error.next === undefined ? leave : `${error.next} ${leave}`;
    throw new TidemarkError(error.code, message, { next, cause: error, details: error.details });
  }
}
