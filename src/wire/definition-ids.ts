/** The id of a report generation's definition, which leader and executors name it by: `report/7/1`. */

/** Makes the id. */
export function reportDefinition(reportId: number | bigint, generation: number | bigint): string {
  return `report/${reportId}/${generation}`;
}

/** Reads an id; undefined for any other text. */
export function readReportDefinition(
  id: string,
): { readonly reportId: number; readonly generation: number } | undefined {
  const match = /^report\/(\d{1,15})\/(\d{1,15})$/.exec(id);
  return match === null ? undefined : { reportId: Number(match[1]), generation: Number(match[2]) };
}
