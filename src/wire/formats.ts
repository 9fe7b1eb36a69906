/** Versions of what two processes say to each other, for both sides: the other one's version is refused. */

/** Of the stream between an executor and its leader, in the first message of each side. */
export const EXECUTOR_FORMAT = 1;
/** Of `cluster init`, and of what its coordinator asks of the others. */
export const INIT_FORMAT = 1;
