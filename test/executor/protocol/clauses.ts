/**
 * The clauses of design 6.7-6.12 that the model can leave out. With each goes the first seed whose world
 * shows that it is needed: a search begins there, so that the tests are quick. After a change of the model it
 * takes longer, and is not wrong.
 */
export const SEEN_FROM = {
  // The merge transaction.
  epochEquality: 23,
  epochNotAtLeast: 23,
  serverChecked: 2,
  foldMarkChecked: 12,
  sameTokenOnce: 3,
  floorChecked: 1,
  floorRaised: 1,
  oldContributionRemoved: 3,
  ledgerBySource: 1,
  // Skip.
  skipRemovesContribution: 2,
  skipUnderNewVersion: 182,
  // Spans.
  spanOfFreshWindows: 128,
  // Fold.
  foldStopsAtUnsettled: 3,
  // Watermark.
  watermarkFromLedger: 4,
  watermarkStopsAtGap: 3,
  watermarkCutBack: 25,
  // A fresh epoch.
  epochOncePerTry: 11,
  retractUnknown: 34,
  retractBelowSeal: 913,
  doneComparedWithLedger: 6,
  skippedComparedWithLedger: 4,
  foldMarksAdopted: 8,
  foldOnKnownChain: 88,
  unknownGenerationRebuilt: 1,
  lossProbed: 4,
  // Restore.
  restoreDropsCollectors: 478,
  restoreRaisesTerm: 838,
} as const;

/**
 * Clauses that a million steps without them do not miss, since another one stands behind each:
 * - clusterChecked: the term of a restored cluster is higher, so its epochs equal no other cluster's; the id
 *   is there to tell people whose database it is.
 * - foldChecksEpoch: what a late fold finds in the ledger is settled there; folding stops at the first span
 *   that is not, and a mark of another chain has the generation rebuilt (foldOnKnownChain).
 * - retractSkipped: a hole that is not there has its skip done again (skippedComparedWithLedger), which takes
 *   the contribution away; retracting it at once makes that time shorter.
 * - retractedFloor: a late merge that the floor would stop carries an older epoch (epochEquality).
 * - assignedGetNewVersion, doneOfCurrentVersion, answerOfCurrentEpoch: of "the answer is of another version",
 *   "it is of another epoch" and "the version is another one under each epoch" each two stand for the third.
 */
export const BACKED = [
  'clusterChecked',
  'foldChecksEpoch',
  'retractSkipped',
  'retractedFloor',
  'assignedGetNewVersion',
  'doneOfCurrentVersion',
  'answerOfCurrentEpoch',
] as const;

export type Clause = keyof typeof SEEN_FROM | (typeof BACKED)[number];

/** Which clauses are in force. */
export type Rules = (clause: Clause) => boolean;

export const ALL_RULES: Rules = () => true;

export const without =
  (...left: readonly Clause[]): Rules =>
  (clause) =>
    !left.includes(clause);
