/** Something that must hold did not. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
