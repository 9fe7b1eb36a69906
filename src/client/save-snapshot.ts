/** A snapshot file of the cluster's state, from the first coordinator that has one to give. */
import { toTidemarkError, type TidemarkError } from '../base/index.ts';
import { ClientService } from '../wire/index.ts';
import type { Endpoints } from './endpoints.ts';

const SAVE_FORMAT = 1;

/**
 * Reads the bytes of the file. They are all of it only when this ends without an error.
 * @throws TidemarkError what the last endpoint answered, or the one that broke off.
 */
export async function* downloadSnapshot(endpoints: Endpoints): AsyncGenerator<Uint8Array, void, undefined> {
  let failure: TidemarkError | undefined;
  for (const address of endpoints.known) {
    let begun = false;
    try {
      const pieces = endpoints.download(address, ClientService.saveSnapshot, { format: SAVE_FORMAT });
      for await (const { data } of pieces) {
        begun = true;
        yield data;
      }
      return;
    } catch (error) {
      failure = toTidemarkError(error);
      if (begun) break;
    }
  }
  if (failure !== undefined) throw failure;
}
