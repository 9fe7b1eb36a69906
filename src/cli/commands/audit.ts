import { EXIT } from '../../base/index.ts';
import type { AuditedDifference, AuditPiece } from '../../client/index.ts';
import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { formatTable, type Column } from '../table.ts';
import { connectWith } from './remote.ts';

/** What was compared: a report database, or the marks of row states. */
interface Compared {
  readonly kind: string;
  readonly name: string;
  /** Tasks, or marks, that were looked at; those of a second look count again. */
  compared: bigint;
  differences: number;
  more: boolean;
  error: { readonly code: string; readonly message: string } | null;
}

type Found = { readonly in: string } & AuditedDifference;

/** Exit code 0: no difference; 1: at least one; 2: something could not be compared. */
export const run: Run<Values<typeof remoteOptions>> = async ({ values, output }) => {
  const compared = new Map<string, Compared>();
  const found: Found[] = [];
  const client = connectWith(values);
  try {
    for await (const piece of client.audit()) note(piece, compared, found);
  } finally {
    client.close();
  }
  const looked = [...compared.values()];
  output.result({ compared: looked, differences: found }, () =>
    [formatTable(looked, COMPARED), ...(found.length === 0 ? [] : ['', formatTable(found, FOUND)])].join(
      '\n',
    ),
  );
  if (found.length > 0) return EXIT.failed;
  return looked.some(({ error }) => error !== null) ? EXIT.usage : EXIT.ok;
};

function note(piece: AuditPiece, compared: Map<string, Compared>, found: Found[]): void {
  const { kind, name, differences, done, more, errorCode, errorMessage } = piece;
  const key = `${kind} ${name}`;
  const known = compared.get(key) ?? { kind, name, compared: 0n, differences: 0, more: false, error: null };
  compared.set(key, known);
  known.compared += piece.compared;
  known.differences += differences.length;
  found.push(...differences.map((difference) => ({ in: name, ...difference })));
  if (!done) return;
  known.more = more;
  known.error = errorCode === '' ? null : { code: errorCode, message: errorMessage };
}

const COMPARED: readonly Column<Compared>[] = [
  { title: 'COMPARED', value: ({ name }) => name },
  { title: 'LOOKED AT', value: ({ compared }) => compared },
  {
    title: 'DIFFERENCES',
    value: ({ differences, more, error }) =>
      error === null ? `${differences}${more ? ' and more' : ''}` : `${error.code}: ${error.message}`,
  },
];

const FOUND: readonly Column<Found>[] = [
  { title: 'DIFFERENCE', value: ({ code }) => code },
  { title: 'IN', value: (found) => found.in },
  { title: 'REPORT', value: ({ report, generation }) => (report === '' ? '-' : `${report}/${generation}`) },
  { title: 'SOURCE', value: ({ source, shard }) => [source, shard].filter(Boolean).join(' on ') || '-' },
  {
    title: 'WINDOWS',
    value: ({ firstWindow, lastWindow }) => (lastWindow === 0n ? '-' : `${firstWindow}-${lastWindow}`),
  },
  { title: 'PART', value: ({ part }) => part },
  { title: 'THE LOG SAYS', value: ({ log }) => log },
  { title: 'THE DATABASE SAYS', value: ({ database }) => database },
];
