/**
 * Shows an error: what failed, why, and what to do next. Three lines for people, one document for programs.
 */
import { AssertionError, ERRORS, toTidemarkError } from '../base/index.ts';
import { toJson, type OutputFormat } from './output.ts';

export function renderError(error: unknown, format: OutputFormat): string {
  if (error instanceof AssertionError) return renderMistake(error);
  const known = toTidemarkError(error);
  if (known.code === 'INTERNAL') return renderMistake(known.cause instanceof Error ? known.cause : known);
  const why = ERRORS[known.code].meaning;
  if (format === 'json') {
    const { code, message, next, retry, details } = known;
    return toJson({ format: 1, error: { code, message, why, next: next ?? null, retry, details } });
  }
  const next = known.next ?? adviceFor(known.retry);
  return [`error ${known.code}: ${known.message}`, `why   ${why}`, `next  ${next}`].join('\n');
}

function adviceFor(retry: string): string {
  if (retry === 'later' || retry === 'another-node') return 'Try again in a moment.';
  if (retry === 'same-request-id') return 'Look whether the change took effect before you repeat it.';
  return 'See docs/reference/errors.md.';
}

/** A mistake of ours: the stack is what whoever mends it needs. */
function renderMistake(error: Error): string {
  return [
    `error INTERNAL: ${error.message}`,
    `why   ${ERRORS.INTERNAL.meaning}`,
    'next  Report it with these lines:',
    error.stack ?? '(no stack)',
  ].join('\n');
}
