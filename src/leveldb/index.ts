/** What both databases, the log's and the state's, need of LevelDB beyond the library: its files checked. */
export { checkLevelFolder } from './check-folder.ts';
export { readLevelFolder } from './read-folder.ts';
export type { RowInFile } from './runs.ts';
export { scrubLevelFolder } from './scrub-folder.ts';
