/** Turns a reference to a database into an address, where it is used and only there (design section 8). */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { TidemarkError } from '../../base/index.ts';
import type { DatabaseAddress } from '../../sql/index.ts';
import type { DatabaseRef, SecretRef } from '../model.ts';

export interface ResolveOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What relative paths (embedded files, secret files) are relative to. */
  readonly baseFolder: string;
}

/** @throws TidemarkError `SECRET_MISSING`, which names the reference and never its value. */
export function resolveDatabase(database: DatabaseRef, options: ResolveOptions): DatabaseAddress {
  if ('embedded' in database) {
    return { kind: 'embedded', file: resolve(options.baseFolder, database.embedded.file) };
  }
  return { kind: 'mysql', url: resolveSecret(database.mysql.url, options) };
}

function resolveSecret(secret: SecretRef, options: ResolveOptions): string {
  if ('env' in secret) {
    const value = options.env[secret.env];
    if (value !== undefined && value !== '') return value;
    throw new TidemarkError('SECRET_MISSING', `the environment variable ${secret.env} is not set`, {
      next: 'Set it for the process that opens the database, then start that process again.',
    });
  }
  try {
    return readFileSync(resolve(options.baseFolder, secret.file), 'utf8').trim();
  } catch (cause) {
    throw new TidemarkError('SECRET_MISSING', `the secret file ${secret.file} cannot be read`, {
      next: 'Make it readable for the process that opens the database.',
      cause,
    });
  }
}
