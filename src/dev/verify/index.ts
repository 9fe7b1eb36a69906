/** The verifier of `dev --verify`. Shares no code with what it verifies. */
export { compareReport, averageEquals, type Comparison, type WrongCell } from './compare.ts';
export { expectedReports, type ExpectedReport } from './expected-sql.ts';
export { verifyReports, type Verification } from './verifier.ts';
