/** Children end with their parent: an orphan would keep ports, locks and a vote that nobody knows of. */

/**
 * Calls `onLost` when the IPC channel to the parent closes, which the kernel does also when the parent was
 * killed. Without a channel (started by hand) it does nothing.
 */
export function endWithParent(onLost: () => void): void {
  if (process.send === undefined) return;
  if (!process.connected) {
    onLost();
    return;
  }
  process.once('disconnect', onLost);
}
