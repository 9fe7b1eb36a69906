/** X.509 certificates for development: two authorities and what they sign. */
export { makeAuthority, makeCertificate, type Authority, type SignedCertificate } from './certificate.ts';
export { writeDevelopmentSet, type DevelopmentSet } from './development-set.ts';
