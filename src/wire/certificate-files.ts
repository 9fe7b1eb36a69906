/**
 * Certificate, key and authority of one side, read from files and read again while the process runs: a
 * renewed certificate is used by the connections that are made after it. Files that do not fit together (half
 * written, or wrong) or are not in date never replace what works.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { experimental } from '@grpc/grpc-js';
import { TidemarkError, isTidemarkError, mutated } from '../base/index.ts';
import { checkCertificate, type CertificateContents, type CertificatePaths } from './certificate-check.ts';

export interface CertificateFilesOptions {
  readonly paths: CertificatePaths;
  /** Told of files that cannot be used any more; what was read before stays in use. */
  readonly onProblem: (error: TidemarkError) => void;
  /** @default REFRESH_MS */
  readonly refreshMs?: number | undefined;
}

type CaListener = experimental.CaCertificateUpdateListener;
type IdentityListener = experimental.IdentityCertificateUpdateListener;

const REFRESH_MS = 1_000;

export class CertificateFiles implements experimental.CertificateProvider {
  readonly #options: CertificateFilesOptions;
  readonly #ca = new Set<CaListener>();
  readonly #identity = new Set<IdentityListener>();
  #contents: CertificateContents;
  #timer: NodeJS.Timeout | undefined;
  #problem = '';

  /** @throws TidemarkError `FILE_UNREADABLE`, `CERTIFICATE_INVALID`. */
  constructor(options: CertificateFilesOptions) {
    this.#options = options;
    const contents = {
      ca: readNow(options.paths.ca),
      cert: readNow(options.paths.cert),
      key: readNow(options.paths.key),
    };
    this.#contents = checkCertificate(options.paths, contents, Date.now());
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#ca.add(listener);
    this.#watch();
    later(() => {
      if (this.#ca.has(listener)) listener({ caCertificate: this.#contents.ca });
    });
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#ca.delete(listener);
    this.#watch();
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identity.add(listener);
    this.#watch();
    later(() => {
      if (!this.#identity.has(listener)) return;
      listener({ certificate: this.#contents.cert, privateKey: this.#contents.key });
    });
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identity.delete(listener);
    this.#watch();
  }

  /** Files are looked at only while a server or a channel uses them. */
  #watch(): void {
    const used = this.#ca.size + this.#identity.size > 0;
    if (used && this.#timer === undefined) {
      this.#timer = setInterval(() => void this.#refresh(), this.#options.refreshMs ?? REFRESH_MS);
      this.#timer.unref();
    } else if (!used) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  async #refresh(): Promise<void> {
    const { paths, onProblem } = this.#options;
    try {
      const found: CertificateContents = {
        ca: await read(paths.ca),
        cert: await read(paths.cert),
        key: await read(paths.key),
      };
      const { ca, cert, key } = this.#contents;
      const unchanged = found.ca.equals(ca) && found.cert.equals(cert) && found.key.equals(key);
      if (mutated('wire.complaintRepeated')) this.#problem = '';
      if (!unchanged) this.#contents = checkCertificate(paths, found, Date.now());
      this.#problem = '';
      if (unchanged) return;
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      if (error.message !== this.#problem) onProblem(error);
      this.#problem = error.message;
      return;
    }
    this.#publish();
  }

  #publish(): void {
    const { ca, cert, key } = this.#contents;
    for (const listener of this.#ca) listener({ caCertificate: ca });
    for (const listener of this.#identity) listener({ certificate: cert, privateKey: key });
  }
}

/** A server passes on only what it is told after it has listed itself, which it does last. */
function later(tell: () => void): void {
  queueMicrotask(tell);
}

function readNow(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): TidemarkError {
  return new TidemarkError('FILE_UNREADABLE', `cannot read ${path}`, {
    next: 'Correct the path, or make a development set with: tidemark certs create --out FOLDER',
    cause,
  });
}
