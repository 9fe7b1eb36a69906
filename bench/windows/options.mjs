// The flags of bench:windows, and what its help says.
import { parseArgs } from 'node:util';

const HELP = `npm run bench:windows [-- FLAGS]

Reports over one busy source, all of it on this machine: source, store and reports in MariaDB (a server each),
three coordinators, two executors, the load, and readers of the reports. Per 20 reports 12 are grouped on one
table (half of them by 5,000 keys), 5 join a dimension, 2 join two changing inputs, 1 has min, max and
distinct; of ten row changes, one transaction, five are updates. At the end every cell is compared with plain
SQL over the source; exit code 1 if one is wrong or not all windows were merged.

  --reports N     reports in that mix (100)
  --rate N        row changes a second (3000)
  --window MS     length of windows (3000)
  --minutes M     how long it is measured (10); of each step of a search (2)
  --warm S        seconds at that rate before (20)
  --queries N     questions a second to the reports meanwhile (500)
  --naive         also: what the same reports cost over whole tables, and from which size of table on
                  Tidemark is 10 and 100 times cheaper
  --search        look for the highest rate at which freshness keeps to --fresh, from --rate on, and say what
                  limits it
  --fresh MS      the 99th percentile of freshness that a search allows (8000)
  --without-joins, --without-distinct    put grouped reports in the place of those
  --without-binlog                       no binary log in store and report databases: MariaDB's default, but
                                         not what one with replicas has

The figures that were asked for:
  npm run bench:windows -- --naive
  npm run bench:windows -- --reports 25 --rate 10000
  npm run bench:windows -- --search
  npm run bench:windows -- --reports 25 --rate 5000 --search
  npm run bench:windows -- --reports 10 --rate 1000 --window 1000 --minutes 5
`;

/** Flags as numbers and booleans; undefined after the help was shown. */
export function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    options: {
      reports: text('100'),
      rate: text('3000'),
      window: text('3000'),
      minutes: { type: 'string' },
      warm: text('20'),
      queries: text('500'),
      fresh: text('8000'),
      search: flag,
      naive: flag,
      'without-binlog': flag,
      'without-joins': flag,
      'without-distinct': flag,
      help: flag,
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return undefined;
  }
  const numbers = ['reports', 'rate', 'window', 'warm', 'queries', 'fresh'];
  return {
    ...values,
    ...Object.fromEntries(numbers.map((name) => [name, Number(values[name])])),
    minutes: Number(values.minutes ?? (values.search ? 2 : 10)),
  };
}
