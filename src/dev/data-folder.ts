/** The folder of a `dev` run: what has to stay the same when it is used again. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { TidemarkError } from '../base/index.ts';
import { z } from 'zod';
import { chooseFreePorts } from './free-ports.ts';

export const COORDINATORS = 3;
export const EXECUTORS = 2;

const FILE_FORMAT = 1;
const settingsSchema = z.object({
  format: z.literal(FILE_FORMAT),
  engine: z.enum(['embedded', 'mysql']),
  /** Listened on while a run uses the folder: the one lock that a killed process surely lets go of. */
  guardPort: z.number(),
  /** Databases on a server of the user's carry it in their names: two folders never share one. */
  id: z.string().regex(/^[0-9a-f]{8}$/),
  coordinators: z
    .array(z.object({ peerPort: z.number(), clientPort: z.number(), httpPort: z.number() }))
    .length(COORDINATORS),
  executors: z.array(z.object({ httpPort: z.number() })).length(EXECUTORS),
});
export type DevSettings = Readonly<z.infer<typeof settingsSchema>>;

export interface DataFolder {
  readonly path: string;
  readonly settings: DevSettings;
  /** True when an earlier run is continued. */
  readonly resumed: boolean;
  /** Lets another run use the folder. */
  unlock(): Promise<void>;
}

/**
 * Makes the folder, or opens it again. The members of a cluster know each other by address, so a folder keeps
 * its ports.
 * @throws TidemarkError `FORMAT_UNKNOWN`, `DATA_CORRUPT`, `CONFIG_INVALID` (made with the other engine),
 * `DATA_IN_USE`, `FILE_UNREADABLE`.
 */
export async function openDataFolder(
  folder: string,
  { engine, id }: { readonly engine: 'embedded' | 'mysql'; readonly id: string },
): Promise<DataFolder> {
  const path = resolve(folder);
  const file = join(path, 'dev.json');
  try {
    await mkdir(join(path, 'logs'), { recursive: true });
  } catch (cause) {
    throw new TidemarkError('FILE_UNREADABLE', `cannot make the folder ${path}`, {
      next: 'Choose another one with --data.',
      cause,
    });
  }
  const kept = await readSettings(file, folder);
  if (kept === undefined) {
    const settings = await newSettings({ engine, id });
    await writeFile(`${file}.new`, `${JSON.stringify(settings, null, 2)}\n`);
    await rename(`${file}.new`, file);
    return { path, settings, resumed: false, unlock: await lock(folder, settings.guardPort) };
  }
  if (kept.engine !== engine) {
    throw new TidemarkError('CONFIG_INVALID', `${folder} holds a run on ${kept.engine} databases`, {
      next: `Run it ${kept.engine === 'mysql' ? 'with' : 'without'} --mysql, or choose another folder.`,
    });
  }
  return { path, settings: kept, resumed: true, unlock: await lock(folder, kept.guardPort) };
}

async function lock(folder: string, port: number): Promise<() => Promise<void>> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new TidemarkError('DATA_IN_USE', `another run uses ${folder} (it holds port ${port} of 127.0.0.1)`, {
          next: 'Stop it, or choose another folder with --data.',
          cause,
        }),
      );
    });
    server.listen(port, '127.0.0.1', resolve);
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => {
        resolve();
      });
    });
}

async function readSettings(file: string, folder: string): Promise<DevSettings | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new TidemarkError('FILE_UNREADABLE', `cannot read ${file}`, { cause });
  }
  const next = `Remove ${folder}, or choose another folder with --data.`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TidemarkError('DATA_CORRUPT', `${file} is cut off or damaged`, { next, cause });
  }
  const parsed = settingsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const format = (value as { format?: unknown } | null)?.format;
  if (format !== FILE_FORMAT) {
    throw new TidemarkError('FORMAT_UNKNOWN', `${file} was written by another version of Tidemark`, { next });
  }
  throw new TidemarkError('DATA_CORRUPT', `${file} is damaged`, { next, cause: parsed.error });
}

async function newSettings(input: {
  readonly engine: 'embedded' | 'mysql';
  readonly id: string;
}): Promise<DevSettings> {
  const ports = await chooseFreePorts(1 + COORDINATORS * 3 + EXECUTORS);
  const next = (): number => ports.pop() ?? 0;
  return {
    format: FILE_FORMAT,
    engine: input.engine,
    id: input.id,
    guardPort: next(),
    coordinators: Array.from({ length: COORDINATORS }, () => ({
      peerPort: next(),
      clientPort: next(),
      httpPort: next(),
    })),
    executors: Array.from({ length: EXECUTORS }, () => ({ httpPort: next() })),
  };
}

export async function removeDataFolder(folder: DataFolder): Promise<void> {
  await rm(folder.path, { recursive: true, force: true });
}
