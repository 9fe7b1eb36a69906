/** What a command is: a path of words, its options, and a function that is loaded only when it runs. */
import type { Options, Values } from './option.ts';
import type { Output } from './output.ts';

export interface CommandContext<V> {
  readonly values: V;
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Resolves to the exit code. */
export type Run<V> = (context: CommandContext<V>) => Promise<number>;

export interface Command {
  /** Noun, then verb: `['cluster', 'status']`. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly examples: readonly string[];
  readonly options: Options;
  /** Loads the code of the command: `--help` must not wait for gRPC and databases. */
  readonly load: () => Promise<Run<never>>;
}

/** Checks that a command's function takes exactly what its options give. */
export function command<O extends Options>(input: {
  readonly path: readonly string[];
  readonly summary: string;
  readonly examples?: readonly string[];
  readonly options: O;
  readonly load: () => Promise<Run<Values<O>>>;
}): Command {
  return { ...input, examples: input.examples ?? [] };
}
