import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../src/base/index.ts';
import { address, duration, flag, list, memberList } from '../../src/cli/option.ts';

describe('option values', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
  ])('reads the duration %s', (text, expected) => {
    expect(duration('').parse(text)).toBe(expected);
  });

  it.each(['30', '0s', 's', '1.5s', '-1s', '1d', ''])('refuses the duration %j', (text) => {
    expect(() => duration('').parse(text)).toThrow(TidemarkError);
  });

  it.each([
    ['127.0.0.1:7401', '127.0.0.1:7401'],
    ['db.example:1', 'db.example:1'],
    ['[::1]:7401', '[::1]:7401'],
  ])('reads the address %s', (text, expected) => {
    expect(address('').parse(text)).toBe(expected);
  });

  it.each(['7401', 'host', '::1:7401', 'host:70000', 'host:'])('refuses the address %j', (text) => {
    expect(() => address('').parse(text)).toThrow(TidemarkError);
  });

  it('reads members by both of their addresses', () => {
    expect(memberList('').parse('a:1/a:2, [::1]:3/b:4,')).toEqual([
      { peerAddress: 'a:1', clientAddress: 'a:2' },
      { peerAddress: '[::1]:3', clientAddress: 'b:4' },
    ]);
    for (const text of ['a:1', 'a:1/', 'a:1/a:2/a:3', 'a/b']) {
      expect(() => memberList('').parse(text)).toThrow(TidemarkError);
    }
  });

  it('reads switches and lists', () => {
    expect(flag('').parse('true')).toBe(true);
    expect(flag('').parse('0')).toBe(false);
    expect(() => flag('').parse('yes')).toThrow(TidemarkError);
    expect(list('').parse(' a , ,b')).toEqual(['a', 'b']);
  });
});
