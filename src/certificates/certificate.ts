/**
 * X.509 certificates (RFC 5280) on the curve P-256: an authority, and what it signs. No more than a
 * development set needs; certificates for production come from the authority of the house.
 */
import {
  X509Certificate,
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto';
import { isIP } from 'node:net';
import {
  bits,
  boolean,
  implicit,
  integer,
  objectId,
  octets,
  sequence,
  set,
  time,
  utf8,
  wrapped,
} from './der.ts';

export interface SignedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8, not encrypted. */
  readonly key: string;
}

export interface Authority extends SignedCertificate {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface Subject extends Validity {
  /** For people; what is checked are the other names. */
  readonly name: string;
  /** Names and addresses under which it is dialled. */
  readonly hosts: readonly string[];
  readonly uris: readonly string[];
}

const ECDSA_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'));
const COMMON_NAME = '2.5.4.3';
const SUBJECT_KEY_ID = '2.5.29.14';
const KEY_USAGE = '2.5.29.15';
const ALTERNATIVE_NAMES = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const AUTHORITY_KEY_ID = '2.5.29.35';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const CERTIFICATE_SIGN = Buffer.from([0x04]);
const DIGITAL_SIGNATURE = Buffer.from([0x80]);

/** Takes up an authority that was made before. @throws Error when one of the two cannot be read. */
export function loadAuthority(files: SignedCertificate): Authority {
  const { publicKey, subject } = new X509Certificate(files.certificate);
  const privateKey = createPrivateKey(files.key);
  return { ...files, name: subject.replace(/^CN=/, ''), publicKey, privateKey };
}

/** Makes an authority that signs itself. */
export function makeAuthority(name: string, validity: Validity): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = signed({
    issuer: name,
    subject: name,
    validity,
    publicKey,
    signer: privateKey,
    extensions: [
      extension(BASIC_CONSTRAINTS, sequence(boolean(true)), true),
      extension(KEY_USAGE, bits(CERTIFICATE_SIGN, 2), true),
      extension(SUBJECT_KEY_ID, octets(keyId(publicKey))),
    ],
  });
  return { name, publicKey, privateKey, certificate, key: pemOf(privateKey) };
}

/** Makes a certificate for both sides of a connection, with a key of its own. */
export function makeCertificate(authority: Authority, subject: Subject): SignedCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const names = [...subject.hosts.map(hostName), ...subject.uris.map((uri) => implicit(6, Buffer.from(uri)))];
  const certificate = signed({
    issuer: authority.name,
    subject: subject.name,
    validity: subject,
    publicKey,
    signer: authority.privateKey,
    extensions: [
      extension(BASIC_CONSTRAINTS, sequence(), true),
      extension(KEY_USAGE, bits(DIGITAL_SIGNATURE, 7), true),
      extension(EXTENDED_KEY_USAGE, sequence(objectId(SERVER_AUTH), objectId(CLIENT_AUTH))),
      extension(SUBJECT_KEY_ID, octets(keyId(publicKey))),
      extension(AUTHORITY_KEY_ID, sequence(implicit(0, keyId(authority.publicKey)))),
      ...(names.length === 0 ? [] : [extension(ALTERNATIVE_NAMES, sequence(...names))]),
    ],
  });
  return { certificate, key: pemOf(privateKey) };
}

interface Unsigned {
  readonly issuer: string;
  readonly subject: string;
  readonly validity: Validity;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly extensions: readonly Buffer[];
}

function signed(parts: Unsigned): string {
  const body = sequence(
    wrapped(0, integer(Buffer.from([2]))),
    integer(serialNumber()),
    ECDSA_SHA256,
    nameOf(parts.issuer),
    sequence(time(parts.validity.notBefore), time(parts.validity.notAfter)),
    nameOf(parts.subject),
    parts.publicKey.export({ type: 'spki', format: 'der' }),
    wrapped(3, sequence(...parts.extensions)),
  );
  const der = sequence(body, ECDSA_SHA256, bits(sign('sha256', body, parts.signer)));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

/** Random, positive, and never zero (RFC 5280, 4.1.2.2). */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function nameOf(commonName: string): Buffer {
  return sequence(set(sequence(objectId(COMMON_NAME), utf8(commonName))));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(objectId(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function hostName(host: string): Buffer {
  return isIP(host) === 0 ? implicit(2, Buffer.from(host)) : implicit(7, ipBytes(host));
}

/** The last 65 bytes of a P-256 key's encoding are the point itself (RFC 5280, 4.2.1.2, method 1). */
function keyId(key: KeyObject): Buffer {
  const point = key.export({ type: 'spki', format: 'der' }).subarray(-65);
  return createHash('sha1').update(point).digest();
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** 4 or 16 bytes. The URL parser writes out what an IPv6 address leaves away, but for its longest zeros. */
function ipBytes(host: string): Buffer {
  if (isIP(host) === 4) return Buffer.from(host.split('.').map(Number));
  const [left = '', right] = new URL(`http://[${host}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0);
  return Buffer.from([...head, ...zeros, ...tail].flatMap((group) => [group >> 8, group & 0xff]));
}
