/** The sample source, its load, its job. */
export { seedDimensions } from './dimensions.ts';
export { sampleJobFile, type SampleDatabases } from './job-file.ts';
export { runLoad, type LoadTotals } from './load.ts';
export { seededRandom, type Random } from './random.ts';
export { SAMPLE_REPORTS, type SampleReport } from './reports.ts';
export { CAPTURED_TABLES, sampleSchema } from './schema.ts';
