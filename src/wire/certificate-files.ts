/**
 * Certificate, key and authority of one side, read from files and read again while the process runs: a
 * renewed certificate is used by the connections that are made after it. A pair that does not fit together
 * (half written, or wrong) never replaces one that works.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { experimental } from '@grpc/grpc-js';
import { TidemarkError, isTidemarkError } from '../base/index.ts';

/** Paths of PEM files. */
export interface CertificatePaths {
  /** Who signs the certificates of the other side. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface CertificateFilesOptions {
  readonly paths: CertificatePaths;
  /** Told of files that cannot be used any more; what was read before stays in use. */
  readonly onProblem: (error: TidemarkError) => void;
  /** @default REFRESH_MS */
  readonly refreshMs?: number | undefined;
}

interface Contents {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

type CaListener = experimental.CaCertificateUpdateListener;
type IdentityListener = experimental.IdentityCertificateUpdateListener;

const REFRESH_MS = 1_000;

export class CertificateFiles implements experimental.CertificateProvider {
  readonly #options: CertificateFilesOptions;
  readonly #ca = new Set<CaListener>();
  readonly #identity = new Set<IdentityListener>();
  #contents: Contents;
  #timer: NodeJS.Timeout | undefined;
  #problem = '';

  /** @throws TidemarkError `FILE_UNREADABLE`, `CERTIFICATE_INVALID`. */
  constructor(options: CertificateFilesOptions) {
    this.#options = options;
    this.#contents = checked(options.paths, {
      ca: readNow(options.paths.ca),
      cert: readNow(options.paths.cert),
      key: readNow(options.paths.key),
    });
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
      const found: Contents = {
        ca: await read(paths.ca),
        cert: await read(paths.cert),
        key: await read(paths.key),
      };
      const { ca, cert, key } = this.#contents;
      this.#problem = '';
      if (found.ca.equals(ca) && found.cert.equals(cert) && found.key.equals(key)) return;
      this.#contents = checked(paths, found);
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

/** Refuses what would fail at every connection: another key, no certificate, one that is over. */
function checked(paths: CertificatePaths, contents: Contents): Contents {
  const authority = certificateIn(paths.ca, contents.ca);
  const own = certificateIn(paths.cert, contents.cert);
  for (const [path, { validTo }] of [[paths.ca, authority] as const, [paths.cert, own] as const]) {
    if (Date.parse(validTo) > Date.now()) continue;
    throw invalid(`${path} was valid until ${validTo}`, 'Renew the certificate.');
  }
  let fits: boolean;
  try {
    fits = own.checkPrivateKey(createPrivateKey(contents.key));
  } catch (cause) {
    throw invalid(`${paths.key} holds no private key`, 'Give the key in PEM, without a passphrase.', cause);
  }
  if (!fits) {
    throw invalid(`${paths.key} is not the key of ${paths.cert}`, 'Give a certificate and its own key.');
  }
  return contents;
}

function certificateIn(path: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw invalid(`${path} holds no certificate`, 'Give a certificate in PEM.', cause);
  }
}

function invalid(message: string, next: string, cause?: unknown): TidemarkError {
  return new TidemarkError('CERTIFICATE_INVALID', message, { next, cause });
}
