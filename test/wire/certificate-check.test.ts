import { describe, expect, it } from 'vitest';
import { makeAuthority, makeCertificate, type Authority } from '../../src/certificates/index.ts';
import { checkCertificate } from '../../src/wire/certificate-check.ts';
import { rule } from '../support/rule.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
const PATHS = { ca: 'ca.pem', cert: 'cert.pem', key: 'cert.key' };

const days = (from: number, to: number) => ({
  notBefore: new Date(NOW_MS + from * DAY_MS),
  notAfter: new Date(NOW_MS + to * DAY_MS),
});
const current = makeAuthority('current', days(-10, 10));
const old = makeAuthority('old', days(-20, -1));
const other = makeAuthority('current', days(-10, 10));
const signedBy = (authority: Authority, validity = days(-1, 1)) =>
  makeCertificate(authority, { name: 'x', hosts: ['x'], uris: [], ...validity });

function check(authorities: readonly Authority[], own = signedBy(current), chain = ''): void {
  const contents = {
    ca: Buffer.from(authorities.map(({ certificate }) => certificate).join('')),
    cert: Buffer.from(own.certificate + chain),
    key: Buffer.from(own.key),
  };
  checkCertificate(PATHS, contents, NOW_MS);
}

const refused = (text: RegExp): unknown =>
  expect.objectContaining({ code: 'CERTIFICATE_INVALID', message: expect.stringMatching(text) });

describe('a certificate', () => {
  it('will do with one of several authorities that signed it, though others are over', () => {
    check([current]);
    check([old, current]);
    check([current, old]);
    check([other, current]);
  });

  rule('wire.authorityNotChecked', 'of an authority that is not in the file is refused', () => {
    for (const authorities of [[other], [old, other]]) {
      expect(() => {
        check(authorities);
      }).toThrow(refused(/not signed by an authority/));
    }
  });

  rule('wire.certificateDatesIgnored', 'that is over, or not valid yet, is refused', () => {
    const wrong = [
      { of: [current], own: signedBy(current, days(1, 2)), text: /cert\.pem is valid from/ },
      { of: [current], own: signedBy(current, days(-2, -1)), text: /cert\.pem is valid from/ },
      { of: [old], own: signedBy(old), text: /no authority that is valid now/ },
      { of: [old, other], own: signedBy(old), text: /not signed by an authority/ },
    ];
    for (const { of, own, text } of wrong) {
      expect(() => {
        check(of, own);
      }).toThrow(refused(text));
    }
  });

  it('may be followed by what leads to its authority', () => {
    const own = signedBy(other);
    check([other], own, current.certificate);
    expect(() => {
      check([old, current], own, old.certificate);
    }).toThrow(refused(/not signed/));
  });
});
