/** The way out of a source whose log cannot be followed any more. */

/** A source that was captured keeps its place in its log, so only one of another name begins anew. */
export const DECLARE_AGAIN =
  'Replace the source and its reports by others of other names: a new source begins with a new snapshot.';
