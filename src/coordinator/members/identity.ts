/**
 * Who this coordinator is: a small file, written when it is admitted to a cluster. Without it a node never
 * votes; with a damaged one, or one that says that it was removed, it does not start. The file carries a
 * checksum, so that a flipped bit is not another member.
 */
import { createHash } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError, clusterId, isTidemarkError, memberId, must } from '../../base/index.ts';
import type { ClusterId, MemberId } from '../../base/index.ts';
import type { Member } from '../../raft/index.ts';

export const IDENTITY_FORMAT = 2;
export const IDENTITY_FILE = 'identity.json';
/** What `cluster init` intends while it asks the others; makes an interrupted init repeatable. */
export const PENDING_FILE = 'identity.pending.json';

export interface Identity {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /**
   * The members of `cluster init`: the configuration before the log's first entry. On a member that joined
   * later only whom it may hear from before its log says it.
   */
  readonly members: readonly Member[];
  /** Added to a running cluster: who belongs to it is in the log. */
  readonly joined: boolean;
  /** True once this member's log was made: from then on a missing log is a lost one, and never votes. */
  readonly started: boolean;
  /** True once this member has heard that it was removed. Its id is never used again. */
  readonly removed: boolean;
}

/** Returns the member of an identity that is this node itself. */
export function ownMember(identity: Identity): Member {
  return must(
    identity.members.find((member) => member.id === identity.memberId),
    'this node among its members',
  );
}

/**
 * Reads an identity; undefined if there is none.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `STORAGE_FAILED`.
 */
export async function readIdentity(folder: string, file = IDENTITY_FILE): Promise<Identity | undefined> {
  const path = join(folder, file);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new TidemarkError('STORAGE_FAILED', `cannot read ${path}: ${String(error)}`, { cause: error });
  }
  return parseIdentity(text, path);
}

/** Writes an identity so that after a crash either the old file or the whole new one is there. */
export async function writeIdentity(folder: string, identity: Identity, file = IDENTITY_FILE): Promise<void> {
  const path = join(folder, file);
  const body = { format: IDENTITY_FORMAT, ...identity };
  const text = `${JSON.stringify({ ...body, checksum: checksumOf(body) }, undefined, 2)}\n`;
  try {
    const handle = await open(`${path}.new`, 'w');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
    await syncFolder(folder);
  } catch (error) {
    throw new TidemarkError('STORAGE_FAILED', `cannot write ${path}: ${String(error)}`, { cause: error });
  }
}

export async function removePending(folder: string): Promise<void> {
  await rm(join(folder, PENDING_FILE), { force: true });
  await syncFolder(folder);
}

/** A rename is durable only when its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function checksumOf(body: Readonly<Record<string, unknown>>): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

function parseIdentity(text: string, path: string): Identity {
  const value = parseJson(text, path);
  const { checksum, ...body } = value;
  if (typeof body['format'] === 'number' && body['format'] !== IDENTITY_FORMAT) {
    throw new TidemarkError(
      'FORMAT_UNKNOWN',
      `${path} has format ${body['format']}; this program reads format ${IDENTITY_FORMAT}`,
      { next: 'Use the version of Tidemark that wrote it, or upgrade.' },
    );
  }
  if (checksum !== checksumOf(body)) throw corrupt(path, 'its checksum does not fit its content');
  try {
    const identity: Identity = {
      clusterId: clusterId(String(body['clusterId'])),
      memberId: memberId(Number(body['memberId'])),
      members: (body['members'] as Member[]).map((member) => ({
        id: memberId(member.id),
        peerAddress: member.peerAddress,
        clientAddress: member.clientAddress,
      })),
      joined: body['joined'] === true,
      started: body['started'] === true,
      removed: body['removed'] === true,
    };
    ownMember(identity);
    return identity;
  } catch (error) {
    throw corrupt(path, String(error), error);
  }
}

function parseJson(text: string, path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (error) {
    throw corrupt(path, 'it is cut off or not JSON', error);
  }
  throw corrupt(path, 'it does not hold an object');
}

function corrupt(path: string, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `${path} is damaged: ${why}`, {
    next: 'Restore the file from a backup of this member. Without one, do not start it on this folder.',
    cause,
  });
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT' && !isTidemarkError(error);
}
