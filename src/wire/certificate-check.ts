/**
 * Whether a certificate, its key and the authorities beside it will do: refused is what would fail at every
 * connection that is made with them.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { TidemarkError, must, mutated } from '../base/index.ts';

/** Paths of PEM files. */
export interface CertificatePaths {
  /** Who signs the certificates of both sides; several while one authority follows another. */
  readonly ca: string;
  /** May be followed by the certificates that lead from it to its authority. */
  readonly cert: string;
  readonly key: string;
}

export interface CertificateContents {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const RENEW = 'Renew the certificate, or correct the clock of this machine.';

/**
 * Returns the contents if they fit together and are in date at `nowMs`, in milliseconds of the wall clock.
 * @throws TidemarkError `CERTIFICATE_INVALID`.
 */
export function checkCertificate(
  paths: CertificatePaths,
  contents: CertificateContents,
  nowMs: number,
): CertificateContents {
  const authorities = certificatesIn(paths.ca, contents.ca).filter((one) => isCurrent(one, nowMs));
  if (authorities.length === 0) throw invalid(`${paths.ca} holds no authority that is valid now`, RENEW);
  const [first, ...chain] = certificatesIn(paths.cert, contents.cert);
  const own = must(first, 'a certificate');
  if (!isCurrent(own, nowMs)) {
    throw invalid(`${paths.cert} is valid from ${own.validFrom} to ${own.validTo}`, RENEW);
  }
  const between = chain.filter((one) => isCurrent(one, nowMs));
  if (!leadsTo(authorities, own, between) && !mutated('wire.authorityNotChecked')) {
    const next = 'Give a certificate of an authority that the other sides accept, and both files of it.';
    throw invalid(`${paths.cert} is not signed by an authority in ${paths.ca}`, next);
  }
  checkKey(paths, contents, own);
  return contents;
}

function checkKey(paths: CertificatePaths, contents: CertificateContents, own: X509Certificate): void {
  let fits: boolean;
  try {
    fits = own.checkPrivateKey(createPrivateKey(contents.key));
  } catch (cause) {
    throw invalid(`${paths.key} holds no private key`, 'Give the key in PEM, without a passphrase.', cause);
  }
  if (!fits) {
    throw invalid(`${paths.key} is not the key of ${paths.cert}`, 'Give a certificate and its own key.');
  }
}

/** Follows the signatures from a certificate over those beside it. */
function leadsTo(
  authorities: readonly X509Certificate[],
  from: X509Certificate,
  between: readonly X509Certificate[],
): boolean {
  if (authorities.some((authority) => isSignedBy(from, authority))) return true;
  const next = between.find((one) => isSignedBy(from, one));
  return next !== undefined && leadsTo(
    authorities,
    next,
    between.filter((one) => one !== next),
  );
}

function isSignedBy(one: X509Certificate, signer: X509Certificate): boolean {
  return one.checkIssued(signer) && one.verify(signer.publicKey);
}

function isCurrent({ validFrom, validTo }: X509Certificate, nowMs: number): boolean {
  if (mutated('wire.certificateDatesIgnored')) return true;
  return Date.parse(validFrom) <= nowMs && nowMs < Date.parse(validTo);
}

/** At least one. */
function certificatesIn(path: string, pem: Buffer): X509Certificate[] {
  const blocks = pem.toString('latin1').match(BLOCK) ?? [];
  try {
    if (blocks.length === 0) throw new Error('no certificate in PEM was found');
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw invalid(`${path} holds no certificate`, 'Give a certificate in PEM.', cause);
  }
}

function invalid(message: string, next: string, cause?: unknown): TidemarkError {
  return new TidemarkError('CERTIFICATE_INVALID', message, { next, cause });
}
