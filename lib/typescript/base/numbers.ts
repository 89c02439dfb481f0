/**
 * The largest of `numbers`, at least `least`. There may be any number of them: a spread into
 * Math.max ends at some 100,000, where the stack does.
 */
export function highestOf(numbers: Iterable<number>, least = 0): number {
  let highest = least
  for (const number of numbers) if (number > highest) highest = number
  return highest
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
