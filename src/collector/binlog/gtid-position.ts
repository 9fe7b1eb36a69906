/**
 * Positions of a binlog: a GTID position on MariaDB (`0-1-1234,1-3-45`), a GTID set on MySQL
 * (`uuid:1-5:7,...`). Both name whole transactions only.
 */
import { GtidSet, MariadbGtidPosition } from '@vlasky/zongji';

export type Flavour = 'mariadb' | 'mysql';

/** What has been read so far; grows transaction by transaction. */
export interface GtidTracker {
  add(gtid: string): void;
  toString(): string;
}

export function gtidTracker(flavour: Flavour, position: string): GtidTracker {
  if (flavour === 'mysql') {
    const set = GtidSet.parse(position);
    return {
      add: (gtid) => {
        set.add(gtid);
      },
      toString: () => set.toString(),
    };
  }
  const domains = MariadbGtidPosition.parse(position);
  const add = (gtid: string): void => {
    const [domainId = '', serverId = '', seqNo = ''] = gtid.split('-');
    domains.add({ domainId: Number(domainId), serverId: Number(serverId), seqNo });
  };
  return { add, toString: () => domains.toString() };
}

/** Whether `position` holds every transaction of `other`; false when their servers cannot be compared. */
export function gtidIncludes(flavour: Flavour, position: string, other: string): boolean {
  if (flavour === 'mysql') return setIncludes(position, other);
  const domains = MariadbGtidPosition.parse(position);
  return other === '' || other.split(',').every((gtid) => domains.covers(gtid));
}

type Intervals = readonly (readonly [bigint, bigint])[];

function setIncludes(position: string, other: string): boolean {
  const have = intervalsOf(position);
  return [...intervalsOf(other)].every(([source, wanted]) =>
    wanted.every(([from, to]) => (have.get(source) ?? []).some(([low, high]) => low <= from && to <= high)),
  );
}

/** Intervals by `uuid` or `uuid:tag`, merged by GtidSet's canonical form. */
function intervalsOf(text: string): Map<string, Intervals> {
  const result = new Map<string, Intervals>();
  const canonical = GtidSet.parse(text.replace(/\s/g, '')).toString();
  for (const block of canonical.split(',').filter((part) => part !== '')) {
    const [uuid = '', ...items] = block.split(':');
    let source = uuid;
    for (const item of items) {
      const range = /^(\d+)(?:-(\d+))?$/.exec(item);
      if (range === null) source = `${uuid}:${item}`;
      else {
        const from = BigInt(range[1] ?? 0);
        result.set(source, [...(result.get(source) ?? []), [from, BigInt(range[2] ?? from)]]);
      }
    }
  }
  return result;
}
