import { readFile, stat } from 'node:fs/promises';
import { LIMITS, TidemarkError, isTidemarkError } from '../../base/index.ts';
import type { Run } from '../command.ts';
import type { applyOptions } from '../commands.ts';
import { parseJobFile } from '../../job/index.ts';
import type { Values } from '../option.ts';
import { formatTable } from '../table.ts';
import { withClient } from './remote.ts';

/** Checks the job file here, so that a wrong one is told without a cluster, and declares it. */
export const run: Run<Values<typeof applyOptions>> = async ({ values, output }) => {
  const text = await readJob(values.file);
  try {
    parseJobFile(text);
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    throw new TidemarkError(error.code, `${values.file}: ${error.message}`, {
      next: error.next ?? `Correct ${values.file}; docs/reference/job-file.md describes it.`,
      details: error.details,
      cause: error,
    });
  }
  return withClient(values, async (client) => {
    const items = await client.apply(text, { dryRun: values.dryRun });
    output.result({ dryRun: values.dryRun, items }, () =>
      [
        formatTable(items, [
          { title: 'KIND', value: (item) => item.kind },
          { title: 'NAME', value: (item) => item.name },
          { title: 'GENERATION', value: (item) => (item.generation === 0n ? '-' : String(item.generation)) },
          { title: 'ACTION', value: (item) => item.action },
          { title: 'DETAIL', value: (item) => item.detail || '-' },
        ]),
        ...(values.dryRun ? ['nothing was changed (--dry-run)'] : []),
      ].join('\n'),
    );
  });
};

async function readJob(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > LIMITS.jobFileBytesMax) {
      throw new TidemarkError(
        'JOB_INVALID',
        `${file} has ${size} bytes; at most ${LIMITS.jobFileBytesMax} are read`,
      );
    }
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (isTidemarkError(cause)) throw cause;
    throw new TidemarkError('FILE_UNREADABLE', `cannot read the job file ${file}`, {
      next: 'Give the path of a job file with -f.',
      cause,
    });
  }
}
