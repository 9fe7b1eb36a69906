/**
 * What a Raft must keep to: the mistakes of others, one line each. A test that shows requirement N carries
 * `[RN]` at the end of its title; docs/reference/raft-requirements.md lists them, and
 * `npx vitest run -t 'R3\b'` runs those of one. A scenario carries it in its first line.
 */
export interface Requirement {
  readonly id: number;
  readonly text: string;
}

export interface RequirementGroup {
  readonly name: string;
  readonly requirements: readonly Requirement[];
}

const group = (name: string, rows: readonly (readonly [id: number, text: string])[]): RequirementGroup => ({
  name,
  requirements: rows.map(([id, text]) => ({ id, text })),
});

export const REQUIREMENTS: readonly RequirementGroup[] = [
  group('Elections and terms', [
    [1, 'Term and vote are on disk before an answer of that term to a vote or an append leaves the node.'],
    [2, 'There is one vote a term, also when the process is killed between the vote and its answer.'],
    [3, 'A vote needs a log that ends as late: the term is compared first, then the index.'],
    [
      4,
      'The election timer begins anew only by the current leader, by a vote that is granted, by campaigning.',
    ],
    [5, 'The timeout is drawn from [T, 2T) at every reset, and no two nodes draw from one seed.'],
    [6, 'A pre-vote changes nothing on the voter: not its term, its vote, its timer or its lease.'],
    [7, 'A pre-vote is granted with the term asked for, and refused with the own term, which is adopted.'],
    [8, 'Old appends and heartbeats are answered with the later term, so that the old leader learns of it.'],
    [9, 'A pre-vote of an old term is refused aloud.'],
    [10, 'Who heard a leader within T refuses votes and pre-votes, unless that leader itself hands over.'],
    [11, 'A member that was removed or cut off never raises the term of the others when it is back.'],
    [12, 'Five members that meet in one of them only keep one leader.'],
    [13, 'A member that can send and not receive does not unseat the leader.'],
    [14, 'A leader that hears no majority gives way within T; learners do not count, both joint halves do.'],
    [15, 'Nobody campaigns with a configuration that is out of date though a later one stands in its log.'],
    [16, 'A learner that was promoted without knowing it still answers votes.'],
    [17, 'A single voter is elected at once, and still syncs before it answers.'],
    [
      18,
      'A follower that stood still for seconds does not campaign over heartbeats that wait in its socket.',
    ],
  ]),
  group('Log and commit', [
    [19, 'Only entries of the own term are committed by counting; older ones follow (figure 8).'],
    [
      20,
      'A new leader appends a no-op; before it is committed nothing is served, dispatched, read or changed.',
    ],
    [21, 'The term of an entry is on disk no later than the entry.'],
    [22, 'A follower deletes on a conflict of terms only: a late, shorter append takes nothing away.'],
    [23, 'A follower commits no further than what the append at hand proved to be equal.'],
    [24, 'A heartbeat tells a follower to commit no more than it is known to hold.'],
    [25, 'An append is acknowledged up to what is on disk; answers may be joined but are never ahead.'],
    [26, 'A write of an older term that ends late vouches for nothing that was written since.'],
    [
      27,
      'The own acknowledgement comes after the own sync; what was answered survives a loss of power of all.',
    ],
    [28, 'A sync that fails, or a short write, ends the process: never again, never on.'],
    [
      29,
      'A torn end is cut off at the start; damage in the middle does not start, drops nothing in silence.',
    ],
    [30, 'A refusal skips whole terms: 100,000 entries that differ are passed in less than 20 round trips.'],
    [31, 'Each follower has one window in flight, new with each leader; a probe is one message at a time.'],
    [32, 'Answers that are doubled, out of order or of an earlier life never advance what a follower holds.'],
    [33, 'What is not committed is bounded in bytes when the quorum is lost; then proposals fail fast.'],
    [34, 'What a follower holds only grows while one leader leads, and the next entry lies after it.'],
  ]),
  group('Apply and snapshots', [
    [
      35,
      'Data, applied index and term, sessions, leases and digest change in one batch; a crash replays to it.',
    ],
    [36, 'Applying is deterministic; the leader stamps the time, and that never goes back.'],
    [37, 'Nothing is applied that is not committed, and each entry once, over restarts and snapshots.'],
    [38, 'A snapshot is a cut at one index: sessions, members, leases, tokens, digest, cluster id, version.'],
    [39, 'The log is cut only after the state that replaces it is on disk and was checked.'],
    [40, 'Taking over a snapshot is all or nothing: a crash leaves the old or the new, never a mix.'],
    [
      41,
      'A log that conflicts at the last entry of a snapshot goes as a whole; one that agrees keeps its end.',
    ],
    [42, 'A snapshot of what is committed here is passed over, and answered with what this node holds.'],
    [43, 'A leader compacts while it streams, and a follower that needs snapshots does not do so for ever.'],
    [44, 'Pieces carry term, stream, offset and checksum; another leader or stream begins cleanly.'],
  ]),
  group('Members', [
    [46, 'One change of members at a time; a new leader waits for what its log may hold.'],
    [47, 'No change of members before an entry of the own term is committed.'],
    [48, 'A configuration is in force from append on, and truncation rolls it back.'],
    [
      49,
      'While joint, a majority of both halves decides; a leader that dies does not leave it joint for ever.',
    ],
    [50, 'A leader that is removed leads until that is committed, does not count itself, then steps down.'],
    [51, 'A removed id is refused for ever; an emptied disk comes back under a new id.'],
    [52, 'A voter whose folder is empty does not vote.'],
    [53, 'A dead member that is added stays a learner; three with one dead can still replace it.'],
    [54, 'Cluster and member are checked before any message of a peer is taken.'],
    [55, 'A restored or forced cluster gets a new id and drops all old members.'],
  ]),
  group('Reads and transfer', [
    [
      56,
      'A read index lies at or after the first commit of the own term; its round begins after the request.',
    ],
    [
      57,
      'Ids of reads never repeat, older rounds never confirm newer reads, another leader or term ends all.',
    ],
    [58, 'A read returns when the node that serves it has applied its index.'],
    [59, 'A lease counts from the sending of the round that was answered, and ends at equality.'],
    [
      60,
      'A pause, a suspended host or a jump of the clock ends the standing before the next read is served.',
    ],
    [
      61,
      'A hand-over stops proposals and reads, to one that has everything; given up, a new round comes first.',
    ],
    [62, 'An old leader serves no read and dispatches nothing after the first commit of its successor.'],
    [63, 'Sessions and executors end by committed entries alone; those of a deposed proposer do nothing.'],
  ]),
  group('Clients and operation', [
    [
      65,
      'A request of a session takes effect once, with its first answer, over leader, snapshot and restart.',
    ],
    [66, 'Answers are dropped when the client has them; an ended session is told so, nothing runs again.'],
    [67, 'Sessions end by log time, equally on all members.'],
    [68, 'A timeout is an unknown outcome; what was dropped before it was appended is told as refused.'],
    [73, 'A state that differs in one byte is found by comparing digests, and the index is told.'],
    [75, 'What only a leader does ends in the turn in which it steps down; after an await it looks again.'],
  ]),
];

/** Nothing to show, and why. */
export const WITHOUT_TEST: Readonly<Record<number, string>> = {
  59: 'There are no lease reads.',
};
