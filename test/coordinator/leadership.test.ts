import { beforeEach, describe, expect, test } from 'vitest';
import { clusterId, logIndex, memberId, term } from '../../src/base/index.ts';
import { Leadership } from '../../src/coordinator/leadership.ts';
import type { RaftStatus } from '../../src/raft/index.ts';
import { membershipOf } from '../raft/support/membership.ts';

let told: string[];
let leadership: Leadership;

const status = (over: {
  role?: RaftStatus['role'];
  term?: number;
  leading?: boolean;
  leader?: number;
}): RaftStatus => ({
  clusterId: clusterId('00'.repeat(16)),
  memberId: memberId(1),
  role: over.role ?? 'follower',
  term: term(over.term ?? 1),
  leaderId: over.leader === undefined ? undefined : memberId(over.leader),
  leading: over.leading ?? false,
  commitIndex: logIndex(0),
  appliedIndex: logIndex(0),
  lastIndex: logIndex(0),
  ...membershipOf([]),
  leaderContactMs: undefined,
});

const begin = (first: RaftStatus): void => {
  leadership.begin(first, {
    onLeader: (in_) => told.push(`leader ${in_}`),
    onPaused: () => told.push('paused'),
    onFollower: () => told.push('follower'),
  });
};

beforeEach(() => {
  told = [];
  leadership = new Leadership();
});

describe('leadership', () => {
  test('begins only when it is proved, and ends with the role [R75]', () => {
    begin(status({}));
    leadership.follow(status({ role: 'candidate', term: 2 }));
    leadership.follow(status({ role: 'leader', term: 2 }));
    expect(told).toEqual([]);
    leadership.follow(status({ role: 'leader', term: 2, leading: true }));
    leadership.follow(status({ role: 'leader', term: 2, leading: true }));
    expect(leadership.leads).toBe(true);
    leadership.follow(status({ term: 3 }));
    expect(told).toEqual(['leader 2', 'paused', 'follower']);
    expect(leadership.leads).toBe(false);
  });

  test('only pauses while the node proves itself again in the same term', () => {
    begin(status({ role: 'leader', term: 2, leading: true }));
    leadership.follow(status({ role: 'leader', term: 2 }));
    expect(leadership.leads).toBe(false);
    leadership.follow(status({ role: 'leader', term: 2, leading: true }));
    expect(told).toEqual(['leader 2', 'paused', 'leader 2']);
  });

  test('of one term ends before that of the next begins, though nothing was heard between', () => {
    begin(status({ role: 'leader', term: 2, leading: true }));
    leadership.follow(status({ role: 'leader', term: 4, leading: true }));
    expect(told).toEqual(['leader 2', 'paused', 'follower', 'leader 4']);
  });

  test('that was won but never proved ends too', () => {
    begin(status({ role: 'leader', term: 2 }));
    leadership.follow(status({ term: 3 }));
    expect(told).toEqual(['follower']);
  });

  test('counts each leader that it hears of', () => {
    begin(status({ leader: 2 }));
    leadership.follow(status({ leader: 2 }));
    leadership.follow(status({}));
    leadership.follow(status({ leader: 2 }));
    leadership.follow(status({ leader: 3 }));
    expect(leadership.changes).toBe(2);
  });
});
